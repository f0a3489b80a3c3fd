//! Driving one node: what it is given, and what it wants done.

use std::sync::Arc;

use prost_kbr::{Input as Ring, RingView};
use prost_manager::{Input, Output};

use super::host::Recent;
use super::queue::{Event, Told};
use super::{Index, Seen, World};
use crate::trace::Mark;

impl World {
    /// Gives a node something, and does what it wants then.
    pub(super) fn give(&mut self, index: Index, input: Input) {
        if !self.hosts[index as usize].is_alive() {
            return;
        }
        if self.config.remember > 0 || self.trace.is_written() {
            self.remember(index, Recent::Input(input.clone()));
        }
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        let local = host.clock.show(now);
        host.keep_busy(now);
        if let Some(node) = &mut host.node {
            node.handle(local, input);
        }
        self.drain(index);
    }

    /// A node's timer is due.
    pub(super) fn wake(&mut self, index: Index) {
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        host.wake = None;
        let local = host.clock.show(now);
        let Some(node) = &mut host.node else { return };
        let due = node.poll_timeout().filter(|(at, _)| *at <= local);
        if let Some((_, kind)) = due {
            node.handle_timeout(local);
            host.keep_busy(now);
            if self.config.remember > 0 || self.trace.is_written() {
                self.remember(index, Recent::Woken(kind));
            }
            self.trace.note(now, index, Mark::Woken, 0, &[]);
        }
        self.drain(index);
    }

    /// Does what the node wants, until it wants nothing more.
    fn drain(&mut self, index: Index) {
        while let Some(output) = self.hosts[index as usize].node.as_mut().and_then(|node| node.poll_output()) {
            self.on_output(index, output);
        }
        self.arm(index);
        self.look(index);
    }

    /// Sees to it that the node is woken in time.
    fn arm(&mut self, index: Index) {
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        let Some((due, _)) = host.node.as_ref().and_then(|node| node.poll_timeout()) else { return };
        let at = host.clock.when(due, now);
        if host.wake.is_none_or(|wake| at < wake) {
            host.wake = Some(at);
            self.queue.push(at, Event::Wake { node: index, at });
        }
    }

    /// Notes whether membership or lists have changed.
    fn look(&mut self, index: Index) {
        let host = &mut self.hosts[index as usize];
        let Some(node) = &host.node else { return };
        let view = node.view();
        if host.view.as_ref().is_some_and(|before| Arc::ptr_eq(before, &view)) {
            return;
        }
        let joined = view.joined;
        let (was, same) = match &host.view {
            Some(before) => (before.joined, is_same(before, &view)),
            None => (false, !joined && view.successors.is_empty() && view.predecessors.is_empty()),
        };
        host.view = Some(view);
        let id = host.peer.id;
        if self.clones.contains_key(&index) {
            // The process that had the key first stands for both.
        } else if joined && !was {
            self.members.insert(id, index);
        } else if was && !joined {
            self.members.remove(&id);
        }
        if !same {
            self.mark(index);
        }
    }

    /// Puts a node on the list of those that have changed.
    pub(super) fn mark(&mut self, index: Index) {
        let host = &mut self.hosts[index as usize];
        if !std::mem::replace(&mut host.changed, true) {
            self.changed.push(index);
        }
    }

    fn on_output(&mut self, index: Index, output: Output) {
        match output {
            Output::Dial(addr) => self.dial_addr(index, addr),
            Output::Send { to, message } => self.send(index, to, message),
            Output::Keep(peers) => self.keep(index, &peers),
            Output::Release(id) => self.release(index, id),
            Output::Joined => self.seen.push(Seen::Joined { node: index }),
            Output::Left => {
                self.close_all(index);
                self.end_process(index);
                self.seen.push(Seen::Left { node: index });
            }
            Output::LookedUp { request, outcome } => {
                self.seen.push(Seen::LookedUp { node: index, request, outcome });
            }
            // Nobody asks.
            Output::Neighbours { .. } | Output::Removed { .. } => {}
            Output::Compile { .. }
            | Output::Run { .. }
            | Output::Stop(_)
            | Output::Commit { .. }
            | Output::Look { .. }
            | Output::Download { .. }
            | Output::DownloadRest { .. }
            | Output::CancelDownload(_)
            | Output::SavePackage { .. }
            | Output::Forget(_)
            | Output::Respond { .. }
            | Output::Push { .. }
            | Output::Installed { .. }
            | Output::Published { .. }
            | Output::Routed { .. }
            | Output::Log { .. } => self.on_app_output(index, output),
        }
    }

    /// Tells a node something about the ring in so many microseconds, if it still lives then.
    pub(super) fn tell_later(&mut self, node: Index, after_us: u64, input: Ring) {
        self.input_later(node, after_us, Input::Ring(input));
    }

    pub(super) fn input_later(&mut self, node: Index, after_us: u64, input: Input) {
        self.answer_later(node, 0, after_us, input);
    }

    /// The same for what the compiler or the sandbox answers about one start of an application.
    pub(super) fn answer_later(&mut self, node: Index, start: u32, after_us: u64, input: Input) {
        let life = self.hosts[node as usize].life;
        let slot = self.queue.told.put(Told { life, start, input });
        self.queue.push(self.after_us(after_us), Event::Told { node, slot });
    }

    pub(super) fn on_told(&mut self, node: Index, slot: u32) {
        let Some(Told { life, start, input }) = self.queue.told.take(slot) else { return };
        if self.hosts[node as usize].life != life || !self.still_matters(node, start, &input) {
            return;
        }
        if let Input::Ring(input) = &input {
            self.note(node, input);
        }
        self.give(node, input);
    }

    /// Puts what a node is told into the trace. Frames are there already.
    pub(super) fn note(&mut self, node: Index, input: &Ring) {
        let now = self.now;
        let mut note = |kind, bytes: &[u8]| self.trace.note(now, node, Mark::Told, kind, &[bytes]);
        match input {
            Ring::Join { known } => {
                for addr in known {
                    note(1, addr.to_string().as_bytes());
                }
            }
            Ring::Connected { peer } => note(2, peer.id.as_bytes()),
            Ring::Disconnected { id } => note(3, id.as_bytes()),
            Ring::DialFailed { addr } => note(4, addr.to_string().as_bytes()),
            Ring::RoundTrip { id, rtt } => note(5 + rtt.as_micros() as u64 * 256, id.as_bytes()),
            Ring::Leave => note(6, &[]),
            _ => note(7, &[]),
        }
    }

    fn remember(&mut self, index: Index, recent: Recent) {
        let now = self.now;
        if self.trace.is_written() {
            let id = self.hosts[index as usize].peer.id;
            let micros = now.as_micros();
            let (s, us) = (micros / 1_000_000, micros % 1_000_000);
            self.trace.line(format_args!("{s}.{us:06} {index} {id:?} {recent}"));
        }
        let host = &mut self.hosts[index as usize];
        host.recent.push_back((now, recent));
        while host.recent.len() > self.config.remember {
            host.recent.pop_front();
        }
    }
}

fn is_same(one: &RingView, other: &RingView) -> bool {
    one.joined == other.joined && one.successors == other.successors && one.predecessors == other.predecessors
}
