//! An event's keyed writes on their way to the other replicas.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use prost_contract::{Change, Kept, Place, Point, TOMBSTONE_MS, Write};
use prost_kbr::planted::Bug;
use prost_kbr::{AppId, Key, NodeId, Time};
use prost_package::Acknowledgement;

use super::frame::{Ask, MAX_BYTES, MAX_RECORDS, NotStored, Record, RecordFrame};
use super::{copies, keeps_records};
use crate::node::Node;

/// How long replicas have to acknowledge. A message's origin has given up later than that.
const LIMIT: Duration = Duration::from_secs(10);
/// How long a replica may be silent before it is asked again; each further time twice as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long after a replica has said that it cannot yet it is asked again.
const AGAIN: Duration = Duration::from_millis(400);
/// Writes under way that no event waits for any more. What there is no room for is copied by the next comparison.
const MAX_UNWAITED: usize = 1024;

/// Writes of one event at one key, on their way.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    app: AppId,
    key: Key,
    records: Vec<(Point, Kept)>,
    copies: usize,
    acknowledgement: Acknowledgement,
    until: Time,
    asked: BTreeMap<NodeId, Asked>,
    acknowledged: BTreeSet<NodeId>,
    /// Whether an event still waits for it.
    waited: bool,
}

#[derive(Debug, Clone)]
struct Asked {
    request: u64,
    again_at: Time,
    times: u32,
}

impl Spread {
    /// Acknowledgements that it takes, this node's included, where so many nodes hold the record.
    fn needed(&self, holders: usize) -> usize {
        match self.acknowledgement {
            Acknowledgement::One => 1,
            Acknowledgement::Majority => holders / 2 + 1,
            Acknowledgement::All => holders,
        }
    }

    /// When those that have not answered are to be asked again.
    fn wake(&self) -> Time {
        let open = self.asked.iter().filter(|(node, _)| !self.acknowledged.contains(node));
        open.map(|(_, asked)| asked.again_at).min().unwrap_or(self.until).min(self.until)
    }
}

impl Node {
    /// What the store is told of an event's writes, each keyed one with a version, and the spreads that the event waits for.
    pub(crate) fn stamp(&mut self, app: &AppId, writes: Vec<Write>) -> (Vec<Change>, BTreeSet<u64>) {
        let mut changes = Vec::with_capacity(writes.len());
        let mut keyed: BTreeMap<Key, BTreeMap<Point, Kept>> = BTreeMap::new();
        let (now_ms, me) = (self.now_ms(), self.ring.view().me.id);
        for Write { place, name, value } in writes {
            match place {
                Place::Node => changes.push(Change::Node { name, value }),
                Place::At(key) => {
                    let version = self.records.clock.next(now_ms, me);
                    let (value, expires) = match value {
                        Some((value, expires)) => (Some(value), expires),
                        None => (None, Some(now_ms.saturating_add(TOMBSTONE_MS))),
                    };
                    let kept = Kept { version, value, expires };
                    let point = Point { key, name };
                    changes.push(Change::Keep(point.clone(), kept.clone()));
                    keyed.entry(key).or_default().insert(point, kept);
                }
            }
        }
        let mut waits = BTreeSet::new();
        for (key, records) in keyed {
            for records in batches(records) {
                waits.extend(self.start_spread(app, key, records));
            }
        }
        (changes, waits)
    }

    /// None where nothing is to be waited for.
    fn start_spread(&mut self, id: &AppId, key: Key, records: Vec<(Point, Kept)>) -> Option<u64> {
        let app = self.apps.get(id).filter(|app| keeps_records(app))?;
        let manifest = app.code.as_ref()?.manifest();
        let (copies, acknowledgement) = (copies(app), manifest.acknowledgement);
        let spread = Spread {
            app: id.clone(),
            key,
            records,
            copies,
            acknowledgement,
            until: self.now + LIMIT,
            asked: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            waited: true,
        };
        if self.ring.has_planted(Bug::AcknowledgedAlone) {
            return None;
        }
        let number = self.records.number();
        self.records.spreads.insert(number, spread);
        self.advance_spread(number);
        self.records.spreads.get(&number).is_some_and(|spread| spread.waited).then_some(number)
    }

    /// Asks whoever should be asked, and ends what is over.
    fn advance_spread(&mut self, number: u64) {
        let now = self.now;
        let Some(spread) = self.records.spreads.get(&number) else { return };
        let (app, waited, over) = (spread.app.clone(), spread.waited, spread.until <= now);
        let holders = self.holders(&app, spread.key, spread.copies);
        let me = self.ring.view().me.id;
        let missing: Vec<NodeId> =
            holders.iter().copied().filter(|node| *node != me && !spread.acknowledged.contains(node)).collect();
        let enough = holders.len() - missing.len() >= spread.needed(holders.len());
        if missing.is_empty() || over {
            self.records.spreads.remove(&number);
        } else {
            // Nodes that are no replicas any more are not asked again.
            if let Some(spread) = self.records.spreads.get_mut(&number) {
                spread.asked.retain(|node, _| missing.contains(node) || spread.acknowledged.contains(node));
            }
            missing.into_iter().for_each(|node| self.ask_to_keep(number, node));
            let wake = self.records.spreads.get(&number).map(Spread::wake);
            self.records.wake_by(wake);
        }
        if enough && waited {
            if let Some(spread) = self.records.spreads.get_mut(&number) {
                spread.waited = false;
            }
            self.on_spread(&app, number, true);
        } else if over && waited {
            self.records.stats.unacknowledged += 1;
            self.on_spread(&app, number, false);
        }
    }

    fn ask_to_keep(&mut self, number: u64, node: NodeId) {
        let now = self.now;
        let (request, peer) = (self.records.number(), self.neighbour(node));
        let Some(spread) = self.records.spreads.get_mut(&number) else { return };
        let times = spread.asked.get(&node).map_or(0, |asked| asked.times);
        let (true, Some(peer)) = (spread.asked.get(&node).is_none_or(|asked| asked.again_at <= now), peer) else {
            return;
        };
        let again_at = now + PATIENCE * 2u32.pow(times.min(4));
        spread.asked.insert(node, Asked { request, again_at, times: times + 1 });
        let records = spread.records.iter().map(|(point, kept)| Record::new(point.clone(), kept)).collect();
        let ask = Ask::Store { app: spread.app.clone(), records };
        self.send_records(peer, &RecordFrame::Ask { request, ask });
    }

    /// A replica has answered; says whether the answer was to a spread.
    pub(super) fn on_spread_told(&mut self, from: NodeId, request: u64, result: Result<(), NotStored>) -> bool {
        let now = self.now;
        let asked = |spread: &Spread| spread.asked.get(&from).is_some_and(|asked| asked.request == request);
        let Some((number, spread)) = self.records.spreads.iter_mut().find(|(_, spread)| asked(spread)) else {
            return false;
        };
        let (number, app) = (*number, spread.app.clone());
        match result {
            Ok(()) => {
                spread.acknowledged.insert(from);
            }
            Err(NotStored::NotYet | NotStored::NotDurable | NotStored::NotHere) => {
                if let Some(asked) = spread.asked.get_mut(&from) {
                    asked.again_at = now + AGAIN;
                }
            }
            Err(NotStored::Refused(_) | NotStored::Full | NotStored::Malformed) => self.note_unwilling(&app, from),
        }
        self.advance_spread(number);
        true
    }

    pub(super) fn tend_spreads(&mut self) {
        let numbers: Vec<u64> = self.records.spreads.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.advance_spread(number));
        let unwaited: Vec<u64> =
            self.records.spreads.iter().filter(|(_, spread)| !spread.waited).map(|(number, _)| *number).collect();
        let too_many = unwaited.len().saturating_sub(MAX_UNWAITED);
        unwaited[..too_many].iter().for_each(|number| drop(self.records.spreads.remove(number)));
    }

    pub(super) fn spreads_wake(&self) -> Option<Time> {
        self.records.spreads.values().map(Spread::wake).min()
    }

    /// Whether an event still waits for replicas.
    pub(super) fn is_spreading(&self) -> bool {
        self.records.spreads.values().any(|spread| spread.waited)
    }

    /// The application is gone: what it wrote need not go on, nor need its records come.
    pub(crate) fn forget_records_of(&mut self, app: &AppId) {
        self.records.spreads.retain(|_, spread| spread.app != *app);
        self.records.settling.retain(|settling| settling.app.as_ref() != Some(app));
    }

    /// Nobody waits for these any more.
    pub(crate) fn forget_spreads(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            if let Some(spread) = self.records.spreads.get_mut(&number) {
                spread.waited = false;
            }
        }
    }
}

/// As many records as fit in a frame.
fn batches(records: BTreeMap<Point, Kept>) -> Vec<Vec<(Point, Kept)>> {
    let (mut batches, mut bytes) = (vec![Vec::new()], 0);
    for (point, kept) in records {
        let size = point.name.len() + kept.value.as_ref().map_or(0, bytes::Bytes::len);
        let last = batches.last_mut().expect("there is always one");
        if !last.is_empty() && (bytes + size > MAX_BYTES || last.len() == MAX_RECORDS) {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        batches.last_mut().expect("there is always one").push((point, kept));
    }
    batches
}
