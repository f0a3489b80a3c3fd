//! A range that has come to this node, or an application that has, until its records have too.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_kbr::planted::Bug;
use prost_kbr::{AppId, Change, Interval, NodeId, Peer, Refusal, Routed, Time};
use prost_package::Decision;

use super::session::Mode;
use super::{Reason, keeps_records};
use crate::app::Answer;
use crate::node::Node;

/// How long successors have to hand over what they have, until the range is served without it.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a message waits for that; then it is refused, and goes to the next replica, which has the records.
const HOLD: Duration = Duration::from_secs(2);
/// Messages that may wait, and their bytes.
const MAX_HELD: usize = 1024;
const MAX_HELD_BYTES: usize = 8 << 20;

/// One such range.
#[derive(Debug, Clone)]
pub(super) struct Settling {
    pub(super) range: Interval,
    /// The application whose records are wanted; none for all.
    pub(super) app: Option<AppId>,
    since: Time,
    /// Successors that have been asked for everything.
    done: BTreeSet<NodeId>,
}

/// A message that waits.
#[derive(Debug, Clone)]
pub(super) struct Held {
    app: AppId,
    routed: Routed,
    previous: Peer,
    until: Time,
}

impl Node {
    /// Responsibility has come here; the applications are told when the records have.
    pub(crate) fn on_gained(&mut self, range: Interval) {
        self.records.settling.push(Settling { range, app: None, since: self.now, done: BTreeSet::new() });
        self.records.compare_at.clear();
        self.records.dirty = true;
    }

    /// An application can keep records here that could not before. Others have kept those of this node's range, which
    /// have to be here before it runs.
    pub(crate) fn settle_app(&mut self, id: &AppId) {
        if self.ring.has_planted(Bug::ServedBeforeHandOver) {
            return;
        }
        let view = self.ring.view();
        let known = self.records.settling.iter().any(|settling| settling.app.as_ref() == Some(id));
        let Some(app) = self.apps.get_mut(id).filter(|app| keeps_records(app)) else { return };
        // A node that is no member yet takes all of its range when it is one.
        let Some(range) = view.range(view.me.id, 0).filter(|_| view.joined && !view.successors.is_empty()) else {
            return;
        };
        app.settling = true;
        if !known {
            let settling = Settling { range, app: Some(id.clone()), since: self.now, done: BTreeSet::new() };
            self.records.settling.push(settling);
        }
        self.records.dirty = true;
    }

    /// Keeps a message until the records of its key are here. Gives it back where it need not wait.
    pub(crate) fn hold(&mut self, routed: Routed, previous: Peer, app: &AppId) -> Option<(Routed, Peer)> {
        let key = routed.envelope.key.filter(|_| routed.envelope.refused.is_empty());
        let stateless = self.apps.get(app).is_some_and(|app| app.is_up() && !keeps_records(app));
        let denied = matches!(self.policy.decide_app(app), Decision::Deny { .. });
        if stateless || denied || key.is_none_or(|key| !self.records.is_settling(app, key)) {
            return Some((routed, previous));
        }
        let bytes: usize = self.records.held.iter().map(|held| held.routed.payload.len()).sum();
        if self.records.held.len() >= MAX_HELD || bytes + routed.payload.len() > MAX_HELD_BYTES {
            self.refuse(answer(&routed), Refusal::Settling);
        } else {
            self.records.held.push_back(Held { app: app.clone(), routed, previous, until: self.now + HOLD });
            self.records.dirty = true;
        }
        None
    }

    pub(super) fn tend_settling(&mut self) {
        let targets = self.settle_targets();
        let now = self.now;
        let (settled, open): (Vec<Settling>, Vec<Settling>) =
            std::mem::take(&mut self.records.settling).into_iter().partition(|settling| {
                settling.since + LIMIT <= now || targets.iter().all(|target| settling.done.contains(&target.id))
            });
        self.records.settling = open;
        for settling in settled {
            let whole = targets.iter().all(|target| settling.done.contains(&target.id));
            self.records.stats.unsettled += u64::from(!whole);
            self.records.dirty = true;
            if let Some(id) = settling.app {
                self.on_app_settled(&id);
            } else if let Some(range) = self.still_owned(settling.range) {
                self.tell_change(Change::Gained(range));
            }
        }
        let wanted: Vec<(Interval, Option<AppId>, Peer)> = self
            .records
            .settling
            .iter()
            .flat_map(|settling| {
                let missing = targets.iter().filter(|target| !settling.done.contains(&target.id));
                missing.map(|target| (settling.range, settling.app.clone(), *target))
            })
            .collect();
        for (range, app, peer) in wanted {
            let apps = app.clone().map(|app| BTreeSet::from([app]));
            self.start_session(peer, range, Mode::PULL, apps, Reason::Settle(range, app));
        }
    }

    fn on_app_settled(&mut self, id: &AppId) {
        if let Some(app) = self.apps.get_mut(id) {
            app.settling = false;
            self.ready.insert(id.clone());
        }
    }

    /// The successors that may have records of this node's range.
    fn settle_targets(&self) -> Vec<Peer> {
        let view = self.ring.view();
        if !view.joined {
            return Vec::new();
        }
        view.successors.iter().take(self.reach() - 1).copied().collect()
    }

    /// The part of a range that this node is still responsible for.
    fn still_owned(&self, range: Interval) -> Option<Interval> {
        let view = self.ring.view();
        let own = view.range(view.me.id, 0)?;
        if !own.contains(range.upto()) {
            return None;
        }
        let after =
            if own.contains(range.after()) && range.after() != own.upto() { range.after() } else { own.after() };
        Some(Interval::open_closed(after, range.upto()))
    }

    pub(super) fn on_settle_ended(&mut self, range: Interval, app: Option<&AppId>, peer: NodeId, good: bool) {
        if good {
            let same = |settling: &&mut Settling| settling.range == range && settling.app.as_ref() == app;
            for settling in self.records.settling.iter_mut().filter(same) {
                settling.done.insert(peer);
            }
        }
        self.records.dirty = true;
    }

    /// Lets the messages go whose time has come.
    pub(super) fn tend_held(&mut self) {
        let held = std::mem::take(&mut self.records.held);
        for held in held {
            let settles = held.routed.envelope.key.is_some_and(|key| self.records.is_settling(&held.app, key));
            if !settles {
                self.on_deliver(held.routed, held.previous);
            } else if held.until <= self.now {
                self.refuse(answer(&held.routed), Refusal::Settling);
            } else {
                self.records.held.push_back(held);
            }
        }
    }

    /// Nothing is waited for any more.
    pub(super) fn refuse_held(&mut self, refusal: Refusal) {
        let held = std::mem::take(&mut self.records.held);
        held.iter().for_each(|held| self.refuse(answer(&held.routed), refusal));
    }

    pub(super) fn settle_wake(&self) -> Option<Time> {
        let held = self.records.held.iter().map(|held| held.until);
        held.chain(self.records.settling.iter().map(|settling| settling.since + LIMIT)).min()
    }
}

fn answer(routed: &Routed) -> Answer {
    Answer::Delivery { origin: routed.envelope.origin.id, id: routed.envelope.id }
}
