//! Looking at one node.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost_contract::{Event as Told, Outcome};
use prost_kbr::{AppId, Failure, Refusal, Time};
use prost_manager::{AppState, AppStatus, CallFailure, Installation};

use super::{Code, Host, Seen, name};

impl Host {
    pub(crate) fn status(&self, app: &AppId) -> Option<AppStatus> {
        self.node.apps().into_iter().find(|status| status.app == *app)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive
    }

    pub(crate) fn runs(&self, app: &AppId) -> bool {
        self.status(app).is_some_and(|status| status.state == AppState::Running)
    }

    pub(crate) fn seen(&self, which: impl Fn(&Seen) -> bool) -> usize {
        self.journal.iter().filter(|(_, seen)| which(seen)).count()
    }

    pub(crate) fn compiled(&self) -> usize {
        self.seen(|seen| matches!(seen, Seen::Compile(_)))
    }

    /// Questions for manifests and chunks that it has asked.
    pub(crate) fn asked(&self) -> usize {
        self.seen(|seen| matches!(seen, Seen::Asked(_, Code::GetManifest { .. } | Code::GetChunk { .. })))
    }

    /// Every event that ran, with how it ended.
    pub(crate) fn events(&self) -> Vec<(&Told, &Outcome)> {
        let ran = |(_, seen): &'_ (Time, Seen)| matches!(seen, Seen::Ran(..));
        let each = self.journal.iter().filter(|entry| ran(entry));
        each.filter_map(|(_, seen)| if let Seen::Ran(_, told, outcome) = seen { Some((told, outcome)) } else { None })
            .collect()
    }

    /// The names of the handlers that ran, and the scripts of the messages.
    pub(crate) fn handlers(&self) -> Vec<String> {
        self.events().into_iter().map(|(told, _)| name(told)).collect()
    }

    /// What the applications here were told of messages that came to nothing.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let reasons = self.events().into_iter().filter_map(|(told, _)| match told {
            Told::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        reasons.collect()
    }

    pub(crate) fn installations(&self) -> Vec<Installation> {
        self.node.installations().cloned().collect()
    }

    pub(crate) fn has_record(&self, app: &AppId, name: &str) -> bool {
        self.records.get(app).is_some_and(|records| records.contains(name.as_bytes()))
    }

    /// The names of an application's records on the disk.
    pub(crate) fn records_of(&mut self, app: &AppId) -> &mut BTreeSet<Vec<u8>> {
        self.records.entry(app.clone()).or_default()
    }

    pub(crate) fn refusals(&self, refusal: Refusal) -> u64 {
        self.node.stats().refusals.get(&refusal).copied().unwrap_or(0)
    }

    /// Where in the journal this happened, first.
    pub(crate) fn when(&self, which: impl Fn(&Seen) -> bool) -> Option<usize> {
        self.journal.iter().position(|(_, seen)| which(seen))
    }

    pub(crate) fn answer(&self, call: u64) -> Option<Result<Bytes, CallFailure>> {
        self.journal.iter().find_map(|(_, seen)| match seen {
            Seen::Responded(number, outcome) if *number == call => Some(outcome.clone()),
            _ => None,
        })
    }
}
