//! The range that this node is responsible for, compared with its successors now and then.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use prost_kbr::planted::Bug;
use prost_kbr::{AppId, Interval, NodeId, Peer, RingView, Time};

use super::session::Mode;
use super::{MAX_UNWILLING, Reason};
use crate::content;
use crate::node::Node;

/// How often a range is compared with each successor that holds it too, where nothing happens.
const PERIOD: Duration = Duration::from_secs(60);
/// How often a node is offered what is kept here of the code of its range: before what it last said of it is forgotten.
const OFFER_PERIOD: Duration = Duration::from_secs(45);
/// How soon where one came to nothing.
const SOON: Duration = Duration::from_secs(5);

impl Node {
    /// Starts the comparisons that are due.
    pub(super) fn tend_upkeep(&mut self) {
        let view = self.ring.view();
        if self.ring.has_planted(Bug::NotRepaired) {
            return;
        }
        if !view.joined || !self.records.settling.is_empty() || self.records.farewell.is_some() {
            return;
        }
        self.records.compare_at.retain(|node, _| view.successors.iter().any(|peer| peer.id == *node));
        let reach = self.reach() - 1 + MAX_UNWILLING;
        self.note_nearer(&view, reach);
        let keepers = self.keepers();
        for (rank, peer) in view.successors.iter().enumerate().take(reach) {
            let due = self.records.compare_at.get(&peer.id).is_none_or(|at| *at <= self.now);
            if due {
                for (range, apps) in self.shared_with(&keepers, rank + 1, *peer) {
                    self.records.compare_at.insert(peer.id, self.now + PERIOD);
                    // Without records of applications there is nothing that it would want more of.
                    let mode = if apps.iter().all(|app| app.name.is_reserved()) { Mode::CODE } else { Mode::BOTH };
                    self.start_session(*peer, range, mode, Some(apps), Reason::Upkeep);
                }
            }
        }
        self.offer_code(&view);
    }

    /// Whoever is nearer than before may have to hold more than what was compared with it.
    fn note_nearer(&mut self, view: &RingView, reach: usize) {
        let nearest: Vec<NodeId> = view.successors.iter().take(reach).map(|peer| peer.id).collect();
        let before = std::mem::replace(&mut self.records.nearest, nearest);
        for (rank, node) in self.records.nearest.iter().enumerate() {
            if before.iter().position(|other| other == node).is_some_and(|before| before > rank) {
                self.records.compare_at.remove(node);
            }
        }
    }

    /// Offers the nodes before this one what it keeps of the code of their ranges: those that will not keep it say so, and
    /// then this node takes care of it in their place.
    fn offer_code(&mut self, view: &RingView) {
        let mut shelves: BTreeSet<AppId> = self.content.shelves().cloned().collect();
        self.content.offered.retain(|node, _| view.predecessors.iter().any(|peer| peer.id == *node));
        for (peer, before) in view.predecessors.iter().zip(view.predecessors.iter().skip(1)).take(MAX_UNWILLING) {
            if shelves.is_empty() {
                return;
            }
            if self.content.offered.get(&peer.id).is_none_or(|at| *at <= self.now) {
                self.content.offered.insert(peer.id, self.now + OFFER_PERIOD);
                let range = Interval::open_closed(before.id, peer.id);
                self.start_session(*peer, range, Mode::PUSH, Some(shelves.clone()), Reason::Offer);
            }
            shelves.retain(|shelf| !self.is_willing(shelf, peer.id));
        }
    }

    /// The applications of which this successor should hold copies, by the range in which this node is the first that
    /// runs them.
    fn shared_with(
        &self,
        keepers: &BTreeMap<AppId, usize>,
        rank: usize,
        peer: Peer,
    ) -> Vec<(Interval, BTreeSet<AppId>)> {
        let view = self.ring.view();
        let mut ranges: Vec<(Interval, BTreeSet<AppId>)> = Vec::new();
        for (app, copies) in keepers {
            let before = view.successors.iter().take(rank - 1).filter(|other| !self.is_willing(app, other.id)).count();
            let unwilling = view.predecessors.iter().take_while(|other| !self.is_willing(app, other.id)).count();
            let Some(after) = view.predecessors.get(unwilling) else { continue };
            if rank - before < *copies && self.is_willing(app, peer.id) {
                let range = Interval::open_closed(after.id, view.me.id);
                match ranges.iter_mut().find(|(known, _)| *known == range) {
                    Some((_, apps)) => drop(apps.insert(app.clone())),
                    None => ranges.push((range, BTreeSet::from([app.clone()]))),
                }
            }
        }
        // Of code there may be something at the peer that this node does not know of.
        if self.content.keeps_any()
            && rank < content::COPIES
            && let Some(own) = view.range(view.me.id, 0)
            && ranges.iter().all(|(range, _)| *range != own)
        {
            ranges.push((own, BTreeSet::new()));
        }
        ranges
    }

    /// A comparison came to nothing: it is due again soon.
    pub(super) fn compare_again(&mut self, peer: NodeId) {
        self.records.compare_at.insert(peer, self.now + SOON);
    }

    pub(super) fn upkeep_wake(&self) -> Option<Time> {
        self.records.compare_at.values().chain(self.content.offered.values()).copied().min()
    }
}
