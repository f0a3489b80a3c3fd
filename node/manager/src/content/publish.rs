//! Bringing a package to the ring: each of its pieces to the nodes of its key's replica set.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_contract::{Kept, Point};
use prost_kbr::{AppId, NodeId, Outcome, Refusal, RingState, Time};
use prost_package::piece::{chunk_key, head_key, shelf};
use prost_package::{Chunks, Package, Piece};

use super::part::{Asked, Part};
use super::{COPIES, NAME};
use crate::io::Output;
use crate::node::Node;
use crate::records::{Ask, NotStored, Record, RecordFrame, Tell};

/// Packages that are published at once.
const MAX_PUBLISHING: usize = 4;
/// Pieces of one package on their way at once.
const WINDOW: usize = 8;
/// How long a replica may take to make a piece durable.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long all of it may take: what is left of the time that a local program waits, and more than the largest package
/// takes over a line of fifty megabits a second.
const LIMIT: Duration = Duration::from_secs(30);

/// A package that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The application.
    pub app: AppId,
    /// Pieces: the chunks of the component, and the head.
    pub pieces: usize,
    /// Copies of the piece that has the fewest. Where that is less than three, so few nodes would take it.
    pub copies: usize,
}

/// Why a package is not in the store. Pieces of it may be, until they are a day old.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// Nobody would take it: its manifest has expired or is longer than pieces can carry.
    #[error("not published: {0}")]
    BadPackage(String),
    /// Too much is being published from here.
    #[error("too many packages are being published at once")]
    Busy,
    /// This node is no member of the ring.
    #[error("the node is not a member of the ring")]
    NotJoined,
    /// All nodes that could keep a piece have no room for it.
    #[error("the nodes that should keep it have no room left")]
    Full,
    /// All nodes that could keep a piece refuse to.
    #[error("the nodes that should keep it refuse it: {0}")]
    Refused(Refusal),
    /// No node that could keep a piece answered in time.
    #[error("the nodes that should keep it did not answer in time")]
    Unreachable,
}

/// A package on its way.
#[derive(Debug, Clone)]
pub(super) struct Publishing {
    /// Who waits for it; nobody where it is published again.
    request: Option<u64>,
    package: Package,
    chunks: Chunks,
    /// Its pieces are those of this application.
    shelf: AppId,
    /// The pieces on their way, by number; the head's is that of the chunks.
    placing: BTreeMap<usize, Placing>,
    next: usize,
    fewest: usize,
    until: Time,
}

/// A piece on its way.
#[derive(Debug, Clone)]
struct Placing {
    part: Part,
    record: Record,
    having: usize,
    why: Option<NotStored>,
}

impl Publishing {
    pub(super) fn wake(&self) -> Time {
        self.placing.values().filter_map(|placing| placing.part.wake()).min().unwrap_or(self.until).min(self.until)
    }

    /// Where a piece belongs, and what it says; none where there is no such piece.
    fn piece(&self, number: usize) -> Option<(prost_kbr::Key, bytes::Bytes)> {
        let (manifest, chunks) = (&self.package.manifest, &self.chunks);
        if number == chunks.count() {
            let digest = manifest.manifest().component.digest;
            return Some((head_key(&digest), Piece::head(manifest, chunks)));
        }
        let value = chunks.value(number)?;
        Some((chunk_key(&value), Piece::chunk(manifest, chunks, &self.package.component, number)?))
    }
}

impl Node {
    /// A local program has a package published.
    pub(crate) fn start_publish(&mut self, request: Option<u64>, package: Package) {
        if let Err(failure) = self.begin_publish(request, package) {
            self.end_publish(request, Err(failure));
        }
    }

    fn begin_publish(&mut self, request: Option<u64>, package: Package) -> Result<(), PublishFailure> {
        let manifest = package.manifest.manifest();
        if manifest.is_expired(self.now_ms() / 1000) {
            return Err(PublishFailure::BadPackage("its manifest has expired".to_owned()));
        }
        let (Some(shelf), true) = (shelf(&manifest.app()), Piece::fits(&package.manifest)) else {
            return Err(PublishFailure::BadPackage("its manifest is too long".to_owned()));
        };
        if self.leaving || self.ring.ring_state() == RingState::Left {
            return Err(PublishFailure::NotJoined);
        }
        if self.content.publishing.len() >= MAX_PUBLISHING {
            return Err(PublishFailure::Busy);
        }
        let chunks = Chunks::of(&package.component);
        let until = self.now + LIMIT;
        let (placing, fewest) = (BTreeMap::new(), COPIES);
        let publishing = Publishing { request, package, chunks, shelf, placing, next: 0, fewest, until };
        let number = self.records.number();
        self.content.publishing.insert(number, publishing);
        self.advance_publish(number);
        Ok(())
    }

    fn end_publish(&mut self, request: Option<u64>, result: Result<Published, PublishFailure>) {
        self.content.stats.published += u64::from(result.is_ok());
        if let Some(request) = request {
            self.outbox.push_back(Output::Published { request, result });
        }
    }

    /// Begins with the pieces that there is room for; the head comes when all chunks are where they belong, so that it
    /// promises nothing that is not there.
    fn advance_publish(&mut self, number: u64) {
        let me = self.ring.view().me.id;
        while let Some(publishing) = self.content.publishing.get(&number) {
            let (next, last) = (publishing.next, publishing.chunks.count());
            let room = if next == last { 0 } else { WINDOW - 1 };
            if next > last || publishing.placing.len() > room {
                break;
            }
            let Some((key, value)) = publishing.piece(next) else { break };
            let now_ms = self.now_ms();
            let version = self.records.next_version(now_ms, me);
            let point = Point { key, name: NAME.to_vec() };
            let record = Record::new(point, &Kept { version, value: Some(value), expires: None });
            let mut part = Part::new(key);
            self.find_holders(&mut part);
            if let Some(publishing) = self.content.publishing.get_mut(&number) {
                publishing.next += 1;
                publishing.placing.insert(next, Placing { part, record, having: 0, why: None });
            }
        }
        let over = self.content.publishing.get(&number).is_some_and(|publishing| publishing.placing.is_empty());
        if let Some(publishing) = over.then(|| self.content.publishing.remove(&number)).flatten() {
            let (app, pieces) = (publishing.package.manifest.manifest().app(), publishing.chunks.count() + 1);
            self.end_publish(publishing.request, Ok(Published { app, pieces, copies: publishing.fewest }));
        }
    }

    /// Asks as many holders as copies are missing. Where nobody is left to ask, the piece is done, or the whole failed.
    fn advance_placing(&mut self, number: u64, piece: usize) {
        let now = self.now;
        loop {
            let request = self.records.number();
            let Some(publishing) = self.content.publishing.get_mut(&number) else { return };
            let Some(placing) = publishing.placing.get_mut(&piece) else { return };
            if placing.having + placing.part.asked.len() >= COPIES {
                break;
            }
            let Some(peer) = placing.part.rest.pop_front() else { break };
            placing.part.asked.push(Asked { request, peer: peer.id, until: now + PATIENCE });
            let ask = Ask::Store { app: publishing.shelf.clone(), records: vec![placing.record.clone()] };
            self.send_records(peer, &RecordFrame::Ask { request, ask });
        }
        let Some(publishing) = self.content.publishing.get_mut(&number) else { return };
        let Some(placing) = publishing.placing.get_mut(&piece) else { return };
        if placing.having < COPIES && !placing.part.is_spent() {
            return;
        }
        if placing.having > 0 {
            publishing.fewest = publishing.fewest.min(placing.having);
            publishing.placing.remove(&piece);
            return self.advance_publish(number);
        }
        if placing.why.is_none() && placing.part.may_look_again() {
            let mut part = placing.part.clone();
            self.find_holders(&mut part);
            let again = self.content.publishing.get_mut(&number).and_then(|one| one.placing.get_mut(&piece));
            return again.into_iter().for_each(|placing| placing.part = part.clone());
        }
        let failure = match placing.why {
            Some(NotStored::Full) => PublishFailure::Full,
            Some(NotStored::Refused(refusal)) => PublishFailure::Refused(refusal),
            _ => PublishFailure::Unreachable,
        };
        self.fail_publish(number, failure);
    }

    fn fail_publish(&mut self, number: u64, failure: PublishFailure) {
        if let Some(publishing) = self.content.publishing.remove(&number) {
            self.end_publish(publishing.request, Err(failure));
        }
    }

    /// The pieces of which this holds.
    fn placing(&self, which: impl Fn(&Part) -> bool) -> Vec<(u64, usize)> {
        let pieces = self.content.publishing.iter().flat_map(|(number, publishing)| {
            publishing.placing.iter().map(move |(piece, placing)| (*number, *piece, placing))
        });
        pieces.filter(|(.., placing)| which(&placing.part)).map(|(number, piece, _)| (number, piece)).collect()
    }

    fn part_of(&mut self, (number, piece): (u64, usize)) -> Option<&mut Placing> {
        self.content.publishing.get_mut(&number)?.placing.get_mut(&piece)
    }

    pub(super) fn on_place_found(&mut self, outcome: &Outcome) -> bool {
        let Some(at) = self.placing(|part| part.looks_by(outcome.id)).first().copied() else { return false };
        if let Some(placing) = self.part_of(at) {
            placing.part.found(outcome);
        }
        self.advance_placing(at.0, at.1);
        true
    }

    pub(super) fn on_placed(&mut self, from: NodeId, request: u64, tell: Tell) -> Option<Tell> {
        let asked = |part: &Part| part.asked.iter().any(|asked| asked.request == request && asked.peer == from);
        let Some(at) = self.placing(asked).first().copied() else { return Some(tell) };
        let placing = self.part_of(at)?;
        placing.part.answered(from, request);
        match tell {
            Tell::Stored(Ok(())) => placing.having += 1,
            // That there is no room is said before anything else that is in the way: it can be helped.
            Tell::Stored(Err(why)) if placing.why != Some(NotStored::Full) => placing.why = Some(why),
            _ => {}
        }
        self.advance_placing(at.0, at.1);
        None
    }

    pub(super) fn on_place_lost(&mut self, node: NodeId) {
        for at in self.placing(|part| part.asked.iter().any(|asked| asked.peer == node)) {
            if let Some(placing) = self.part_of(at) {
                placing.part.lose(node);
            }
            self.advance_placing(at.0, at.1);
        }
    }

    pub(super) fn tend_publishing(&mut self) {
        let now = self.now;
        for at in self.placing(|part| part.wake().is_some_and(|at| at <= now)) {
            if let Some(placing) = self.part_of(at) {
                placing.part.expire(now);
            }
            self.advance_placing(at.0, at.1);
        }
        let late = self.content.publishing.iter().filter(|(_, publishing)| publishing.until <= now);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().for_each(|number| self.fail_publish(number, PublishFailure::Unreachable));
    }
}
