//! Copies of records that this node is no replica of: they go to those nodes that are, and then from here.

use core::time::Duration;
use std::collections::VecDeque;

use prost_contract::{Change, Entry};
use prost_kbr::planted::Bug;
use prost_kbr::{AppId, Id, Interval, Key, Outcome, Peer, Time};

use super::look::{Found, Look};
use super::session::Mode;
use super::{MAX_UNWILLING, Reason};
use crate::node::{Committing, Node};

/// How often a node looks for them.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon after responsibility has moved: the new owner first takes what it lacks by itself.
const SOON: Duration = Duration::from_secs(5);
/// Records dealt with at once.
const PAGE: usize = 256;

/// The search for strays, one application and one owner at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Strays {
    next: Option<Time>,
    /// Applications that are still to be looked at in this round.
    todo: VecDeque<AppId>,
    stage: Stage,
}

#[derive(Debug, Clone, Default)]
enum Stage {
    #[default]
    Idle,
    /// The store is asked which there are.
    Looking { look: u64, app: AppId },
    /// The ring is asked whose they are.
    Asking { lookup: u64, app: AppId, entries: Vec<Entry> },
    /// They are compared with one replica after the other.
    Giving(Box<Giving>),
    /// They go.
    Dropping,
}

#[derive(Debug, Clone)]
struct Giving {
    app: AppId,
    entries: Vec<Entry>,
    range: Interval,
    copies: usize,
    /// Replicas that have all of them.
    having: usize,
    replicas: VecDeque<Peer>,
}

impl Node {
    /// Responsibility has moved.
    pub(crate) fn on_lost(&mut self) {
        let soon = self.now + SOON;
        self.records.strays.next = Some(self.records.strays.next.map_or(soon, |next| next.min(soon)));
        self.records.dirty = true;
    }

    pub(super) fn tend_strays(&mut self) {
        let planted = self.ring.has_planted(Bug::StraysKept);
        if planted || !matches!(self.records.strays.stage, Stage::Idle) || self.records.farewell.is_some() {
            return;
        }
        let keepers: VecDeque<AppId> = self.keepers().into_keys().collect();
        let strays = &mut self.records.strays;
        let next = *strays.next.get_or_insert(self.now + PERIOD);
        if strays.todo.is_empty() && next <= self.now {
            strays.next = Some(self.now + PERIOD);
            strays.todo = keepers;
        }
        while let Some(app) = self.records.strays.todo.pop_front() {
            if self.look_for_strays(app) {
                return;
            }
        }
    }

    /// Says whether the store has been asked.
    fn look_for_strays(&mut self, app: AppId) -> bool {
        let Some(range) = self.beyond(&app) else { return false };
        let look = self.ask_store(Look::Entries { app: app.clone(), range, after: None, upto: None, max: PAGE });
        self.records.strays.stage = Stage::Looking { look, app };
        true
    }

    /// The keys of which this node is no replica; none where it cannot tell, or is one of all.
    fn beyond(&self, app: &AppId) -> Option<Interval> {
        let copies = self.copies_of(app)?;
        let view = self.ring.view();
        // The furthest key that it holds a copy of.
        let first = view.range(view.me.id, copies - 1)?;
        let closes = view.joined && first.after() != view.me.id;
        closes.then(|| Interval::open_closed(view.me.id, first.after()))
    }

    /// The store has answered; says whether it was asked for strays.
    pub(super) fn on_strays_found(&mut self, look: u64, found: &Found) -> bool {
        let Stage::Looking { look: asked, app } = &self.records.strays.stage else { return false };
        if *asked != look {
            return false;
        }
        let app = app.clone();
        self.records.strays.stage = Stage::Idle;
        self.records.dirty = true;
        let Found::Entries { entries, .. } = found else { return true };
        let Some(first) = entries.first() else { return true };
        let lookup = self.take_ids(1);
        let replicas = self.copies_of(&app).unwrap_or(1) + MAX_UNWILLING;
        let key = first.point.key;
        self.records.strays.stage = Stage::Asking { lookup, app, entries: entries.clone() };
        let replicas = u8::try_from(replicas).unwrap_or(u8::MAX);
        self.ring.handle(self.now, prost_kbr::Input::Lookup { id: lookup, key, replicas });
        true
    }

    /// A lookup has ended; says whether it was one for strays.
    pub(crate) fn on_strays_owner(&mut self, outcome: &Outcome) -> bool {
        let Stage::Asking { lookup, .. } = &self.records.strays.stage else { return false };
        if *lookup != outcome.id {
            return false;
        }
        let Stage::Asking { app, mut entries, .. } = std::mem::take(&mut self.records.strays.stage) else {
            return true;
        };
        self.records.dirty = true;
        let Ok(owner) = outcome.result else { return true };
        let me = self.ring.view().me.id;
        let owned = Interval::open_closed(me, owner.id);
        entries.truncate(entries.iter().take_while(|entry| owned.contains(entry.point.key)).count());
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return true };
        let range = Interval::open_closed(before(first.point.key), last.point.key);
        let mut replicas: VecDeque<Peer> = outcome.replicas.iter().copied().collect();
        if replicas.front() != Some(&owner) {
            replicas.push_front(owner);
        }
        let copies = self.copies_of(&app).unwrap_or(1);
        let giving = Giving { app, entries, range, copies, having: 0, replicas };
        self.records.strays.stage = Stage::Giving(Box::new(giving));
        self.give_strays();
        true
    }

    /// Compares them with the next replica.
    fn give_strays(&mut self) {
        let me = self.ring.view().me.id;
        let Stage::Giving(giving) = &mut self.records.strays.stage else { return };
        if giving.having == giving.copies {
            return self.drop_strays();
        }
        match giving.replicas.pop_front().filter(|peer| peer.id != me) {
            Some(peer) => {
                let (range, app) = (giving.range, giving.app.clone());
                self.start_session(peer, range, Mode::PUSH, Some([app].into()), Reason::Stray);
            }
            // So few will have them that this node is one of the replicas, or nobody knows enough of these.
            None => self.records.strays.stage = Stage::Idle,
        }
    }

    /// `good`: the replica has them all. Else, where it will not run the application, the next one should have them.
    pub(super) fn on_stray_given(&mut self, good: bool, refused: bool) {
        self.records.dirty = true;
        let Stage::Giving(giving) = &mut self.records.strays.stage else { return };
        giving.having += usize::from(good);
        if good || refused {
            self.give_strays();
        } else {
            self.records.strays.stage = Stage::Idle;
        }
    }

    fn drop_strays(&mut self) {
        let Stage::Giving(giving) = std::mem::replace(&mut self.records.strays.stage, Stage::Dropping) else { return };
        self.records.stats.dropped += giving.entries.len() as u64;
        self.content.forget_known(&giving.app, giving.entries.iter().map(|entry| &entry.point.key));
        let changes = giving.entries.into_iter().map(|entry| Change::Drop(entry.point, entry.version)).collect();
        self.commit(&giving.app, Committing::Drop { app: giving.app.clone() }, changes);
    }

    /// They are gone, or the disk did not do it. There may be more of the same application.
    pub(super) fn on_strays_dropped(&mut self, app: &AppId, durable: bool) {
        self.records.strays.stage = Stage::Idle;
        if durable {
            self.records.strays.todo.push_front(app.clone());
        }
        self.records.dirty = true;
    }

    pub(super) fn strays_wake(&self) -> Option<Time> {
        match self.records.strays.stage {
            Stage::Idle if !self.keepers().is_empty() => self.records.strays.next,
            _ => None,
        }
    }
}

/// The key just before this one.
fn before(key: Key) -> Key {
    key.plus(Id::from_bytes([u8::MAX; Id::LEN]))
}
