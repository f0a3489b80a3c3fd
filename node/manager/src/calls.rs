//! Questions of local programs: each is answered once, at the latest when its time is over.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost_contract::{Event, Request};
use prost_kbr::{AppId, Failure, Time};
use prost_package::Locator;

use crate::app::{Answer, Waiting};
use crate::io::{CallFailure, Output};
use crate::node::Node;

/// How long a local call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Local calls under way at once.
const MAX_CALLS: usize = 4096;

/// The calls that are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls {
    open: BTreeMap<u64, (AppId, Time)>,
    due: BTreeSet<(Time, u64)>,
}

impl Calls {
    fn open(&mut self, call: u64, app: AppId, deadline: Time) {
        self.due.insert((deadline, call));
        self.open.insert(call, (app, deadline));
    }

    /// Says whether it was open.
    fn close(&mut self, call: u64) -> bool {
        let Some((_, deadline)) = self.open.remove(&call) else { return false };
        self.due.remove(&(deadline, call))
    }

    pub(crate) fn is_of(&self, call: u64, app: &AppId) -> bool {
        self.open.get(&call).is_some_and(|(owner, _)| owner == app)
    }

    pub(crate) fn all_of(&self, app: &AppId) -> Vec<u64> {
        self.open.iter().filter(|(_, (owner, _))| owner == app).map(|(call, _)| *call).collect()
    }

    fn overdue(&self, now: Time) -> Option<u64> {
        self.due.first().filter(|(deadline, _)| *deadline <= now).map(|(_, call)| *call)
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first().map(|(deadline, _)| *deadline)
    }
}

impl Node {
    pub(crate) fn start_call(&mut self, call: u64, name: &str, method: String, body: Bytes) {
        if self.calls.open.contains_key(&call) {
            // The call of that number is answered once, and this one with it.
            return;
        }
        let refuse = |failure| Output::Respond { call, outcome: Err(failure) };
        if self.calls.open.len() >= MAX_CALLS {
            return self.outbox.push_back(refuse(CallFailure::Failed(Failure::Overloaded)));
        }
        let id = match self.resolve(name) {
            Ok(id) => id,
            Err(failure) => return self.outbox.push_back(refuse(failure)),
        };
        self.calls.open(call, id.clone(), self.now + CALL_DEADLINE);
        let event = Event::Serve(Request { id: call, method, body });
        self.dispatch(&id, Waiting { event, answer: Answer::Call(call) }, &[], &Locator::None);
    }

    /// The application that a local program means: a full id, or the name of the one of that name that is here.
    pub(crate) fn resolve(&self, name: &str) -> Result<AppId, CallFailure> {
        if let Ok(id) = name.parse::<AppId>() {
            return Ok(id);
        }
        let mut named = self.apps.values().filter(|app| app.code.is_some() && app.id.name.as_str() == name);
        match (named.next(), named.next()) {
            (Some(app), None) => Ok(app.id.clone()),
            (Some(_), Some(_)) => Err(CallFailure::Ambiguous(name.to_owned())),
            (None, _) => Err(CallFailure::NotInstalled(name.to_owned())),
        }
    }

    /// Answers a call, unless that has been done.
    pub(crate) fn respond(&mut self, call: u64, outcome: Result<Bytes, CallFailure>) {
        if self.calls.close(call) {
            self.outbox.push_back(Output::Respond { call, outcome });
        }
    }

    pub(crate) fn expire_calls(&mut self) {
        while let Some(call) = self.calls.overdue(self.now) {
            self.respond(call, Err(CallFailure::Failed(Failure::Deadline)));
        }
    }
}
