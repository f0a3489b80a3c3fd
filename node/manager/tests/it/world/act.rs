//! What tests do to a world.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_kbr::{AppId, Input as Ring, NodeId};
use prost_manager::{CallFailure, Input, InstallFailure};
use prost_package::{Package, Policy};

use super::{Event, Seen, World};
use crate::guest::hex;
use crate::packages::app_of;

impl World {
    pub(crate) fn ring_input(&mut self, node: NodeId, input: Ring) {
        self.input(node, Input::Ring(input));
    }

    pub(crate) fn give(&mut self, at: usize, input: Input) {
        self.input(self.id(at), input);
    }

    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&node).filter(|host| host.alive) else { return };
        host.node.handle(now, input);
        self.drain(node);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn set_policy(&mut self, at: usize, policy: Arc<Policy>) {
        self.give(at, Input::SetPolicy(policy));
    }

    pub(crate) fn start_install(&mut self, at: usize, package: &Package) -> u64 {
        let request = self.number();
        self.give(at, Input::Install { request, package: package.clone() });
        request
    }

    /// Installs a package and gives the one answer.
    pub(crate) fn install(&mut self, at: usize, package: &Package) -> Result<AppId, InstallFailure> {
        let request = self.start_install(at, package);
        self.run_for(Duration::from_secs(5));
        let mut answers = self.host(at).journal.iter().filter_map(|(_, seen)| match seen {
            Seen::Installed(number, result) if *number == request => Some(result.clone()),
            _ => None,
        });
        let answer = answers.next().expect("an answer");
        assert_eq!(answers.next(), None, "one answer");
        answer
    }

    /// Installs a package where that must work.
    pub(crate) fn publish(&mut self, at: usize, package: &Package) {
        assert_eq!(self.install(at, package), Ok(app_of(package)));
    }

    pub(crate) fn remove(&mut self, at: usize, app: &str) -> Result<AppId, CallFailure> {
        let request = self.number();
        self.give(at, Input::Remove { request, app: app.to_owned() });
        let last = self.host(at).journal.iter().rev().find_map(|(_, seen)| match seen {
            Seen::Removed(number, result) if *number == request => Some(result.clone()),
            _ => None,
        });
        last.expect("an answer")
    }

    /// A call that is given to the node by hand may be answered.
    pub(crate) fn expect_call(&mut self, at: usize, call: u64) {
        self.host_mut(at).open_calls.insert(call);
    }

    /// A local program has an application run a script.
    pub(crate) fn start_call(&mut self, at: usize, app: &str, script: &str) -> u64 {
        let call = self.number();
        self.host_mut(at).open_calls.insert(call);
        let (app, method) = (app.to_owned(), script.to_owned());
        self.give(at, Input::Call { call, app, method, body: Bytes::new() });
        call
    }

    /// A local program has an application run a script; the one answer.
    pub(crate) fn call(&mut self, at: usize, app: &str, script: &str) -> Result<Bytes, CallFailure> {
        let call = self.start_call(at, app, script);
        assert!(self.run_until(Duration::from_secs(60), |world| world.host(at).answer(call).is_some()), "no answer");
        self.host(at).answer(call).expect("an answer")
    }

    /// An application sends a message of type 1 to the node at `to`, by its key.
    pub(crate) fn route(&mut self, from: usize, app: &str, to: usize, script: &str) {
        let key = hex(self.key_of(to));
        assert_eq!(self.call(from, app, &format!("reply; route {key} {script}")), Ok(Bytes::new()));
    }

    /// The same, of type 0.
    pub(crate) fn pass(&mut self, from: usize, app: &str, to: usize, script: &str) {
        let key = hex(self.key_of(to));
        assert_eq!(self.call(from, app, &format!("reply; pass {key} {script}")), Ok(Bytes::new()));
    }

    /// The process dies; its peers notice after a while.
    pub(crate) fn crash(&mut self, id: NodeId) {
        self.hosts.get_mut(&id).expect("a node").alive = false;
        let peers: Vec<(NodeId, NodeId)> =
            self.connections.keys().filter(|(a, b)| *a == id || *b == id).copied().collect();
        for (a, b) in peers {
            self.connections.remove(&(a, b));
            let peer = if a == id { b } else { a };
            self.at_time(Duration::from_millis(5), Event::Ring(peer, Ring::Disconnected { id }));
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.events.first_key_value().is_some_and(|((time, _), _)| *time <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done`; says whether that came in time.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if self.now >= end || !self.step() {
                return done(self);
            }
        }
        true
    }
}
