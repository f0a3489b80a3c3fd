//! What peers ask of this node's keyed records.

use prost_contract::{Change, LogLevel, MAX_COPIES};
use prost_kbr::{AppId, NodeId, Peer, Refusal};
use prost_package::{Decision, Locator};

use super::frame::{Ask, MAX_ENTRIES, NotStored, Record, RecordFrame, Tell};
use super::look::{Found, Look};
use super::{Readiness, keeps_records};
use crate::app::Phase;
use crate::io::{Output, Space};
use crate::node::{Committing, Node};

/// Questions of peers that wait for the store.
const MAX_SERVING: usize = 64;

impl Node {
    /// A frame of this protocol has come.
    pub(crate) fn on_record_frame(&mut self, from: Peer, payload: &[u8]) {
        match RecordFrame::decode(payload) {
            Some(RecordFrame::Ask { request, ask }) => self.on_asked(from, request, ask),
            Some(RecordFrame::Tell { request, tell }) => self.on_told(from.id, request, tell),
            None => self.records.stats.bad_frames += 1,
        }
    }

    pub(crate) fn send_records(&mut self, to: Peer, frame: &RecordFrame) {
        if to.id == self.ring.view().me.id {
            // Who publishes code, or fetches it, may be one of those that keep it.
            return self.on_record_frame(to, &frame.encode());
        }
        self.ring.handle(self.now, prost_kbr::Input::SendUpper { to, payload: frame.encode() });
    }

    fn tell_peer(&mut self, to: Peer, request: u64, tell: Tell) {
        self.send_records(to, &RecordFrame::Tell { request, tell });
    }

    /// Asks the store; the number that its answer will have.
    pub(crate) fn ask_store(&mut self, look: Look) -> u64 {
        let number = self.records.number();
        self.outbox.push_back(Output::Look { look: number, at: look });
        number
    }

    fn on_asked(&mut self, from: Peer, request: u64, ask: Ask) {
        let look = match ask {
            Ask::Store { app, records } => return self.on_store(from, request, &app, records),
            // Only who may have to hold a copy is given values. Code is for everyone.
            Ask::Records { app, .. } if !app.name.is_reserved() && self.neighbour(from.id).is_none() => return,
            // What will not be kept here is said before any of it comes.
            Ask::Split { app, .. } | Ask::Entries { app, .. }
                if app.name.is_reserved()
                    && let Err(why) = self.may_keep(&app) =>
            {
                return self.tell_peer(from, request, Tell::Stored(Err(why)));
            }
            Ask::Records { app, points } => Look::Records { app, points },
            Ask::Summary { range } => Look::Summary(range.into()),
            Ask::Split { app, range } => Look::Split { app, range: range.into() },
            Ask::Entries { app, range, after } => {
                Look::Entries { app, range: range.into(), after, upto: None, max: MAX_ENTRIES }
            }
        };
        if self.records.serving.len() >= MAX_SERVING {
            return self.tell_peer(from, request, Tell::Busy);
        }
        let number = self.ask_store(look);
        self.records.serving.insert(number, (from, request));
    }

    /// The store has answered what a peer asked.
    pub(super) fn on_served(&mut self, to: Peer, request: u64, found: Found) {
        let tell = match found {
            // Those of applications that do not run here any more are nobody's.
            Found::Summary(mut apps) => {
                let keepers = self.keepers();
                apps.retain(|(app, _)| keepers.contains_key(app));
                Tell::Summary(apps)
            }
            Found::Parts(parts) => Tell::Parts(parts),
            Found::Entries { entries, more } => Tell::Entries { entries, more },
            Found::Records(records) => {
                let there = records.into_iter().filter_map(|(point, kept)| Some(Record::new(point, &kept?)));
                Tell::Records(there.collect())
            }
            Found::Sums(_) | Found::Checked { .. } | Found::Unavailable => Tell::Busy,
        };
        self.tell_peer(to, request, tell);
    }

    /// A peer wants records to be kept here.
    fn on_store(&mut self, from: Peer, request: u64, app: &AppId, records: Vec<Record>) {
        match self.try_store(from, app, records) {
            Ok(changes) => {
                let records = changes.len() as u64;
                let committing = Committing::Store { app: app.clone(), from, request, records };
                self.commit(app, committing, changes);
            }
            Err(why) => self.tell_peer(from, request, Tell::Stored(Err(why))),
        }
    }

    fn try_store(&mut self, from: Peer, app: &AppId, records: Vec<Record>) -> Result<Vec<Change>, NotStored> {
        if self.leaving {
            return Err(NotStored::Refused(Refusal::Leaving));
        }
        if app.name.is_reserved() {
            let is_here = |record: &Record| self.content.is_known(app, record.point.key);
            match self.may_keep(app) {
                // What is here already takes no room.
                Err(NotStored::Full) if records.iter().all(is_here) => {}
                judged => judged?,
            }
        } else {
            match self.readiness(app, from) {
                Readiness::Ready => {}
                Readiness::Pending => return Err(NotStored::NotYet),
                Readiness::Refused(refusal) => return Err(NotStored::Refused(refusal)),
            }
        }
        let now_ms = self.now_ms();
        let mut changes = Vec::with_capacity(records.len());
        for record in records {
            let (point, kept) = record.into_kept(app, now_ms).ok_or(NotStored::Malformed)?;
            let view = self.ring.view();
            if !view.replica_set(point.key, MAX_COPIES).nodes.contains(&view.me.id) {
                return Err(NotStored::NotHere);
            }
            if app.name.is_reserved() {
                self.judge_piece(app, &point, &kept)?;
            }
            if !self.records.clock.observe(kept.version, now_ms) {
                return Err(NotStored::Malformed);
            }
            changes.push(Change::Keep(point, kept));
        }
        self.admit_records(app, &changes).map(|()| changes)
    }

    /// Whether the application has storage left for these, were they all new.
    fn admit_records(&mut self, id: &AppId, changes: &[Change]) -> Result<(), NotStored> {
        if id.name.is_reserved() {
            return self.admit_pieces(id, changes);
        }
        let taken: u64 = changes.iter().map(taken).sum();
        let grows = |change: &Change| matches!(change, Change::Keep(_, kept) if kept.value.is_some());
        if self.space == Space::Full && changes.iter().any(grows) {
            return Err(NotStored::Full);
        }
        let Some(app) = self.apps.get_mut(id) else { return Err(NotStored::NotYet) };
        let most = app.code.as_ref().map_or(0, |code| code.grant.budgets.storage_bytes);
        if app.usage.storage_bytes.saturating_add(taken) <= most {
            return Ok(());
        }
        app.usage.over_budget += 1;
        self.note(id, LogLevel::Warn, "a copy of its records was not taken: its storage is used up".to_owned());
        Err(NotStored::Full)
    }

    /// What was to be kept for a peer is durable, or not.
    pub(crate) fn on_stored(&mut self, from: Peer, request: u64, durable: bool) {
        let result = if durable { Ok(()) } else { Err(NotStored::NotDurable) };
        self.tell_peer(from, request, Tell::Stored(result));
    }

    /// Whether an application can keep records here. Where it is not here yet, it is fetched, if policy lets it.
    pub(super) fn readiness(&mut self, id: &AppId, from: Peer) -> Readiness {
        if id.name.is_reserved() {
            return self.may_keep(id).map_or(Readiness::Refused(Refusal::Denied), |()| Readiness::Ready);
        }
        if let Decision::Deny { .. } = self.policy.decide_app(id) {
            return Readiness::Refused(Refusal::Denied);
        }
        let now = self.now;
        let Some(app) = self.apps.get(id) else { return self.begin_fetch(id, from) };
        match &app.phase {
            Phase::Compiling | Phase::Starting | Phase::Running if keeps_records(app) => Readiness::Ready,
            Phase::Compiling | Phase::Starting | Phase::Running => Readiness::Refused(Refusal::MissingCapability),
            Phase::Fetching(_) => Readiness::Pending,
            Phase::Failed { refusal, until } if *until > now => Readiness::Refused(*refusal),
            Phase::Failed { .. } if app.code.is_some() => {
                self.start_compile(id);
                Readiness::Pending
            }
            Phase::Failed { .. } => self.begin_fetch(id, from),
        }
    }

    fn begin_fetch(&mut self, id: &AppId, from: Peer) -> Readiness {
        self.start_fetch(id, None, &[from], &Locator::None);
        Readiness::Pending
    }

    /// A peer has answered.
    fn on_told(&mut self, from: NodeId, request: u64, tell: Tell) {
        let Some(tell) = self.on_piece_told(from, request, tell) else { return };
        if let Tell::Stored(result) = &tell
            && self.on_spread_told(from, request, *result)
        {
            return;
        }
        if !self.on_repair_told(from, request, &tell) {
            self.on_session_told(from, request, tell);
        }
    }
}

/// Bytes that a record takes, were it new.
pub(crate) fn taken(change: &Change) -> u64 {
    match change {
        Change::Keep(point, kept) => {
            prost_contract::record_bytes(point.name.len(), kept.value.as_ref().map_or(0, bytes::Bytes::len))
        }
        Change::Node { .. } | Change::Drop(..) => 0,
    }
}
