//! What is done to nodes from outside.

use core::time::Duration;

use prost_kbr::{Input as Ring, Time};
use prost_manager::{Input, Node, Settings};

use super::clock::Clock;
use super::host::address;
use super::queue::Event;
use super::{Act, Index, World};
use crate::trace::Mark;

impl World {
    /// Does something now. What makes no sense, like the crash of a dead node, does nothing.
    pub(super) fn perform(&mut self, act: Act) {
        match act {
            Act::Network(network) => self.change_network(*network),
            Act::Turn { node, deceit: Some(deceit) } => drop(self.liars.insert(node, deceit)),
            Act::Turn { node, deceit: None } => drop(self.liars.remove(&node)),
            Act::Break { a, b } => self.break_connection(a, b),
            Act::Rebind { node } if self.is_alive(node) => self.rebind(node),
            Act::HalfOpen { node, gone_at } => self.half_open(node, gone_at),
            Act::Start { node, known } => {
                self.wipe(node);
                self.start(node, &known);
            }
            Act::Restart { node, known } => self.start(node, &known),
            Act::Crash { node } if self.is_alive(node) => {
                self.trace.note(self.now, node, Mark::Process, 0, &[]);
                self.end_process(node);
            }
            Act::Leave { node } if self.is_alive(node) => self.tell_later(node, 0, Ring::Leave),
            Act::Pause { node, time } if self.is_alive(node) => {
                let until = self.now + time;
                let host = &mut self.hosts[node as usize];
                host.paused_until = host.paused_until.max(until);
            }
            Act::Slow { node, each } => {
                if let Some(host) = self.hosts.get_mut(node as usize) {
                    host.each_us = each.as_micros() as u64;
                }
            }
            Act::Clock { node, jump, drift } if self.is_alive(node) => self.set_clock(node, jump, drift),
            Act::Lookup { node, request, key, search } if self.is_alive(node) => {
                self.input_later(node, 0, Input::Lookup { request, key, search });
            }
            Act::Install { node, request, package } if self.is_alive(node) => {
                self.input_later(node, 0, Input::Install { request, package: *package });
            }
            Act::Publish { node, request, package } if self.is_alive(node) => {
                self.input_later(node, 0, Input::Publish { request, package: *package });
            }
            Act::SetPolicy { node, policy } if self.is_alive(node) => {
                self.input_later(node, 0, Input::SetPolicy(policy))
            }
            Act::Call { node, request, app, method, body } if self.is_alive(node) => {
                self.input_later(node, 0, Input::Call { call: request, app, method, body });
            }
            Act::Route { node, request, route } if self.is_alive(node) => {
                let crate::world::Route { header, key, dispatch, payload } = *route;
                self.input_later(node, 0, Input::Route { request, header, key, dispatch, payload });
            }
            Act::Crash { .. }
            | Act::Leave { .. }
            | Act::Pause { .. }
            | Act::Clock { .. }
            | Act::Rebind { .. }
            | Act::Lookup { .. }
            | Act::Install { .. }
            | Act::Publish { .. }
            | Act::SetPolicy { .. }
            | Act::Call { .. }
            | Act::Route { .. } => {}
        }
    }

    fn start(&mut self, index: Index, known: &[Index]) {
        let (now, seed) = (self.now, self.config.seed);
        let content = if (index as usize) < self.hosts.len() { self.content_settings(index) } else { return };
        let Some(host) = self.hosts.get_mut(index as usize).filter(|host| !host.is_alive()) else { return };
        host.life += 1;
        host.clock = Clock::new(now);
        let mut hasher = blake3::Hasher::new();
        for number in [seed, u64::from(index), u64::from(host.life)] {
            hasher.update(&number.to_be_bytes());
        }
        let settings = Settings {
            ring: self.config.routing.clone(),
            policy: self.policy.clone(),
            wall_origin_ms: WALL_ORIGIN_MS,
            newest_version: host.apps.as_ref().map_or(0, |apps| apps.newest_version()),
            content,
        };
        host.node = Some(Box::new(Node::new(host.peer, settings, *hasher.finalize().as_bytes(), now)));
        self.trace.note(now, index, Mark::Process, 1, &[]);
        self.mark(index);
        self.restore_apps(index);
        let known = known.iter().map(|number| address(*number)).collect();
        self.tell_later(index, 0, Ring::Join { known });
    }

    /// The process is gone.
    pub(super) fn end_process(&mut self, index: Index) {
        self.end_apps(index);
        let host = &mut self.hosts[index as usize];
        let id = host.peer.id;
        let backlog = host.die();
        self.queue.discard_all(backlog);
        if !self.clones.contains_key(&index) {
            self.members.remove(&id);
        }
        self.mark(index);
    }

    fn set_clock(&mut self, index: Index, jump: i64, drift: i32) {
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        host.clock.show(now);
        host.clock.set(now, jump, drift);
        // Timers stand where the old clock put them.
        let due = host.node.as_ref().and_then(|node| node.poll_timeout());
        if let Some((due, _)) = due {
            let at = host.clock.when(due, now);
            host.wake = Some(at);
            self.queue.push(at, Event::Wake { node: index, at });
        }
    }

    /// Puts an event off until its node goes on.
    pub(super) fn postpone(&mut self, index: Index, event: Event) {
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        if host.backlog.len() >= super::host::MAX_BACKLOG {
            return self.queue.discard(event);
        }
        host.backlog.push_back(event);
        if host.resume.is_none() {
            let at = host.ready_at().max(now);
            host.resume = Some(at);
            self.queue.push(at, Event::Resume { node: index, at });
        }
    }

    /// A node goes on with what has waited.
    pub(super) fn resume(&mut self, index: Index, at: Time) {
        if self.hosts[index as usize].resume != Some(at) {
            return;
        }
        loop {
            let now = self.now;
            let host = &mut self.hosts[index as usize];
            let ready = host.ready_at();
            if host.backlog.is_empty() {
                host.resume = None;
                return;
            }
            if ready > now {
                host.resume = Some(ready);
                self.queue.push(ready, Event::Resume { node: index, at: ready });
                return;
            }
            if let Some(event) = host.backlog.pop_front() {
                self.happen(event);
            }
        }
    }
}

impl super::host::Host {
    /// An event takes its time.
    pub(super) fn keep_busy(&mut self, now: Time) {
        if self.each_us > 0 {
            self.busy_until = self.busy_until.max(now) + Duration::from_micros(self.each_us);
        }
    }
}

/// The wall clock at the world's origin: the start of 2026.
pub(super) const WALL_ORIGIN_MS: u64 = 1_767_225_600_000;
