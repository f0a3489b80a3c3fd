//! A node that leaves gives its range away first.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_kbr::planted::Bug;
use prost_kbr::{NodeId, Refusal, Time};

use super::Reason;
use super::session::Mode;
use crate::node::Node;

/// How long that may take: an orderly end has ten seconds in all.
const LIMIT: Duration = Duration::from_secs(5);

/// A leave under way.
#[derive(Debug, Clone)]
pub(super) struct Farewell {
    until: Time,
    /// Successors that have all, or could not be given it.
    done: BTreeSet<NodeId>,
}

impl Node {
    /// The node is to leave; says whether that must wait for its records.
    pub(crate) fn start_farewell(&mut self) -> bool {
        if self.ring.has_planted(Bug::LeavesWithRecords) {
            return false;
        }
        if self.keepers().is_empty() || self.ring.view().successors.is_empty() || self.records.farewell.is_some() {
            return false;
        }
        self.records.farewell = Some(Farewell { until: self.now + LIMIT, done: BTreeSet::new() });
        self.records.dirty = true;
        true
    }

    pub(super) fn tend_farewell(&mut self) {
        let Some(farewell) = &self.records.farewell else { return };
        let view = self.ring.view();
        let keepers = self.keepers();
        let reach = keepers.values().copied().max().unwrap_or(0);
        let after = view.successors.iter().take(reach).enumerate();
        let missing: Vec<_> = after.filter(|(_, peer)| !farewell.done.contains(&peer.id)).collect();
        let over = farewell.until <= self.now || (missing.is_empty() && !self.is_spreading());
        if over || !view.joined {
            self.records.farewell = None;
            self.refuse_held(Refusal::Leaving);
            return self.ring.handle(self.now, prost_kbr::Input::Leave);
        }
        let Some(range) = view.range(view.me.id, 0) else { return };
        for (rank, peer) in missing {
            let apps = keepers.iter().filter(|(_, copies)| **copies > rank).map(|(app, _)| app.clone()).collect();
            self.start_session(*peer, range, Mode::PUSH, Some(apps), Reason::Farewell);
        }
    }

    pub(super) fn on_farewell_ended(&mut self, peer: NodeId) {
        if let Some(farewell) = &mut self.records.farewell {
            farewell.done.insert(peer);
        }
        self.records.dirty = true;
    }

    pub(super) fn farewell_wake(&self) -> Option<Time> {
        self.records.farewell.as_ref().map(|farewell| farewell.until)
    }
}
