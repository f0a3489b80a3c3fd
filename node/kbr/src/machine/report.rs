//! Telling the layer above what has changed, each change once.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::table::Table;
use super::{Machine, Membership};
use crate::id::{Interval, NodeId};
use crate::io::{Change, Output};
use crate::message::Peer;
use crate::time::Time;
use crate::view::RingView;

/// Neighbours on each side whose coming and going makes rounds of stabilisation follow quickly. In a ring that is shorter
/// than the lists each node's does: rounds are cheap there, and everybody is in everybody's lists.
const NEAREST: usize = 2;
/// How old the round-trip times of a view may become.
const VIEW_AGE: Duration = Duration::from_secs(4);

/// What the layer above has been told.
#[derive(Debug, Clone)]
pub(super) struct Reported {
    membership: Membership,
    successors: Vec<Peer>,
    predecessors: Vec<Peer>,
    ring_changes: u64,
    link_changes: u64,
    near: Vec<NodeId>,
    kept: Vec<Peer>,
    /// The start of the range of keys that this node is responsible for.
    after: Option<NodeId>,
    viewed: Time,
}

impl Reported {
    pub(super) fn new(now: Time) -> Reported {
        Reported {
            membership: Membership::Outside,
            successors: Vec::new(),
            predecessors: Vec::new(),
            ring_changes: 0,
            link_changes: 0,
            near: Vec::new(),
            kept: Vec::new(),
            after: None,
            viewed: now,
        }
    }

    fn neighbours(&self) -> BTreeSet<NodeId> {
        self.successors.iter().chain(&self.predecessors).map(|peer| peer.id).collect()
    }
}

/// What a node knows that is not part of a ring.
pub(super) fn outside(me: Peer) -> RingView {
    RingView {
        me,
        joined: false,
        predecessors: Vec::new(),
        successors: Vec::new(),
        fingers: Vec::new(),
        backpointers: Vec::new(),
        round_trips: Vec::new(),
    }
}

impl Machine {
    pub(super) fn report(&mut self) {
        let ring = self.ring.changes() != self.reported.ring_changes || self.membership != self.reported.membership;
        let link_changes = self.fingers.changes() + self.backpointers.changes() + self.book.connections();
        let links = link_changes != self.reported.link_changes;
        self.reported.ring_changes = self.ring.changes();
        self.reported.link_changes = link_changes;
        if ring {
            self.report_neighbours();
        }
        if ring || links {
            self.report_kept();
        }
        if ring || links || self.now.since(self.reported.viewed) >= VIEW_AGE {
            self.reported.viewed = self.now;
            self.renew_view();
            self.renew_table();
        }
    }

    fn renew_table(&mut self) {
        let near: Vec<Peer> = self.near();
        let others: Vec<Peer> = self.fingers.peers().chain(self.backpointers.peers()).collect();
        let successors = self.ring.successors();
        let farthest = successors.last().map(|peer| (peer.id, successors.len()));
        self.table = Table::new(self.me.id, self.config.connections, &near, &others, farthest, |id| {
            match self.view.round_trip(id) {
                Some(time) => (Some(time), true),
                None => self.book.link(id),
            }
        });
    }

    fn report_neighbours(&mut self) {
        let before = self.reported.neighbours();
        self.reported.membership = self.membership;
        self.reported.successors = self.ring.successors().to_vec();
        self.reported.predecessors = self.ring.predecessors().to_vec();
        let after = self.reported.neighbours();
        for node in after.difference(&before) {
            self.outbox.push_back(Output::Update(Change::Joined(*node)));
        }
        for node in before.difference(&after) {
            self.outbox.push_back(Output::Update(Change::Left(*node)));
        }
        self.report_range();
        // What waits may have waited for this.
        self.held.release(self.now);
        let count = if self.ring.is_short() { usize::MAX } else { NEAREST };
        let nearest = |list: &[Peer]| list.iter().take(count).map(|peer| peer.id).collect::<Vec<NodeId>>();
        let near = [nearest(self.ring.successors()), nearest(self.ring.predecessors())].concat();
        if near != self.reported.near {
            self.reported.near = near;
            if self.is_member() {
                self.on_neighbours_changed();
            }
        }
    }

    /// While the predecessor is unknown, responsibility is where it was.
    fn report_range(&mut self) {
        let me = self.me.id;
        let after = match self.ring.predecessor() {
            Some(predecessor) => predecessor.id,
            None if self.ring.is_alone() && self.is_member() => me,
            None => return,
        };
        let change = match self.reported.after.replace(after) {
            None => Change::Gained(Interval::open_closed(after, me)),
            Some(before) if before == after => return,
            Some(before) if Interval::open(before, me).contains(after) => {
                Change::Lost(Interval::open_closed(before, after))
            }
            Some(before) => Change::Gained(Interval::open_closed(after, before)),
        };
        self.outbox.push_back(Output::Update(change));
    }

    fn report_kept(&mut self) {
        let kept = self.kept();
        if kept != self.reported.kept {
            let pinned = kept.iter().copied().chain(self.ring.neighbours()).chain(self.backpointers.peers());
            self.book.pin(pinned.map(|peer| peer.id));
            self.reported.kept.clone_from(&kept);
            self.outbox.push_back(Output::Keep(kept));
        }
    }

    fn renew_view(&mut self) {
        let fingers = self.fingers.peers().filter(|finger| {
            let mut successors = self.ring.successors().iter();
            !successors.any(|peer| peer.id == finger.id)
        });
        self.view = Arc::new(RingView {
            me: self.me,
            joined: self.is_member(),
            predecessors: self.ring.predecessors().to_vec(),
            successors: self.ring.successors().to_vec(),
            fingers: fingers.collect(),
            backpointers: self.backpointers.peers().collect(),
            round_trips: self.book.round_trips(),
        });
    }
}
