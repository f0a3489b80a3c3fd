//! A package from the store, piece by piece: the head first, then the chunks, each from any node that keeps it.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost_contract::{Point, Version};
use prost_kbr::{AppId, Key, NodeId, Outcome, Time};
use prost_package::chunks::Chunks;
use prost_package::piece::{Content as Held, chunk_key, head_key, shelf};
use prost_package::{Digest, Piece, SignedManifest};

use super::NAME;
use super::part::{Asked, Part};
use crate::node::Node;
use crate::records::{Ask, Record, RecordFrame, Tell};

/// Packages that are looked for at once: those that are being fetched, and a few that are looked at.
const MAX_RETRIEVALS: usize = 16;
/// Pieces of one package asked for at once.
const WINDOW: usize = 8;
/// How long a node may take to give a piece before the next is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a retrieval may go on: no fetch takes as long.
const LIMIT: Duration = Duration::from_secs(30);
/// The number of the head among the pieces.
const HEAD: usize = usize::MAX;

/// Why a package is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// To be installed: a fetch asks, by this number.
    Code,
    /// To see how old it is.
    Age,
}

/// A package that is looked for.
#[derive(Debug, Clone)]
pub(super) struct Retrieval {
    want: Want,
    app: AppId,
    shelf: AppId,
    digest: Digest,
    /// What its chunks are, once that is known.
    chunks: Option<Chunks>,
    todo: VecDeque<usize>,
    parts: BTreeMap<usize, Part>,
    until: Time,
}

impl Retrieval {
    pub(super) fn wake(&self) -> Time {
        self.parts.values().filter_map(Part::wake).min().unwrap_or(self.until).min(self.until)
    }

    fn key(&self, piece: usize) -> Option<Key> {
        if piece == HEAD {
            return Some(head_key(&self.digest));
        }
        self.chunks.as_ref()?.value(piece).map(|value| chunk_key(&value))
    }
}

/// What a node gave.
enum Gave {
    Head(Box<SignedManifest>, Chunks, Version),
    Chunk(usize, Bytes),
}

impl Node {
    /// Begins to look for a package; says whether there was room. What comes of it goes to who asked by this number.
    pub(crate) fn start_retrieval(&mut self, request: u64, want: Want, app: &AppId, digest: Digest) -> bool {
        self.forget_retrievals();
        let Some(shelf) = shelf(app).filter(|_| self.content.retrievals.len() < MAX_RETRIEVALS) else { return false };
        let retrieval = Retrieval {
            want,
            app: app.clone(),
            shelf,
            digest,
            chunks: None,
            todo: VecDeque::from([HEAD]),
            parts: BTreeMap::new(),
            until: self.now + LIMIT,
        };
        self.content.retrievals.insert(request, retrieval);
        self.advance_retrieval(request);
        true
    }

    /// Has these chunks come, and no others.
    pub(crate) fn retrieve_chunks(&mut self, request: u64, chunks: &Chunks, wanted: Vec<usize>) {
        let Some(retrieval) = self.content.retrievals.get_mut(&request) else { return };
        if retrieval.chunks.is_none() {
            retrieval.chunks = Some(chunks.clone());
            retrieval.todo = wanted.into();
            self.advance_retrieval(request);
        }
    }

    /// Those whose fetch has ended or asks elsewhere are of no use any more.
    fn forget_retrievals(&mut self) {
        let asking = |request: &u64| self.fetch_asking(*request).is_some();
        let of_no_use = |(request, retrieval): (&u64, &Retrieval)| retrieval.want == Want::Code && !asking(request);
        let gone: Vec<u64> =
            self.content.retrievals.iter().filter(|one| of_no_use(*one)).map(|(request, _)| *request).collect();
        gone.iter().for_each(|request| drop(self.content.retrievals.remove(request)));
    }

    /// Begins with the pieces that there is room for.
    fn advance_retrieval(&mut self, request: u64) {
        loop {
            let Some(retrieval) = self.content.retrievals.get_mut(&request) else { return };
            if retrieval.parts.len() >= WINDOW {
                return;
            }
            let Some(piece) = retrieval.todo.pop_front() else { return };
            let Some(key) = retrieval.key(piece) else { continue };
            let mut part = Part::new(key);
            self.find_holders(&mut part);
            if let Some(retrieval) = self.content.retrievals.get_mut(&request) {
                retrieval.parts.insert(piece, part);
            }
        }
    }

    /// Asks the next holder of a piece, if none is being asked. Where nobody is left, the package cannot be had here.
    fn advance_part(&mut self, request: u64, piece: usize) {
        let (now, number) = (self.now, self.records.number());
        let Some(retrieval) = self.content.retrievals.get_mut(&request) else { return };
        let Some(part) = retrieval.parts.get_mut(&piece) else { return };
        if part.asked.is_empty()
            && let Some(peer) = part.rest.pop_front()
        {
            part.asked.push(Asked { request: number, peer: peer.id, until: now + PATIENCE });
            let points = vec![Point { key: part.key, name: NAME.to_vec() }];
            let ask = Ask::Records { app: retrieval.shelf.clone(), points };
            return self.send_records(peer, &RecordFrame::Ask { request: number, ask });
        }
        if part.may_look_again() {
            let mut part = part.clone();
            self.find_holders(&mut part);
            if let Some(retrieval) = self.content.retrievals.get_mut(&request) {
                retrieval.parts.insert(piece, part);
            }
        } else if part.is_spent() {
            self.end_retrieval(request, None);
        }
    }

    /// A retrieval is over; `age` is the version of the head, where that was wanted and found.
    fn end_retrieval(&mut self, request: u64, age: Option<Version>) {
        let Some(retrieval) = self.content.retrievals.remove(&request) else { return };
        match retrieval.want {
            Want::Code => self.on_store_exhausted(request),
            Want::Age => self.on_age(&retrieval.app, age),
        }
    }

    /// The pieces of which this holds.
    fn parts(&self, which: impl Fn(&Part) -> bool) -> Vec<(u64, usize)> {
        let pieces =
            self.content.retrievals.iter().flat_map(|(request, retrieval)| {
                retrieval.parts.iter().map(move |(piece, part)| (*request, *piece, part))
            });
        pieces.filter(|(.., part)| which(part)).map(|(request, piece, _)| (request, piece)).collect()
    }

    fn part_at(&mut self, (request, piece): (u64, usize)) -> Option<&mut Part> {
        self.content.retrievals.get_mut(&request)?.parts.get_mut(&piece)
    }

    pub(super) fn on_part_found(&mut self, outcome: &Outcome) -> bool {
        let Some(at) = self.parts(|part| part.looks_by(outcome.id)).first().copied() else { return false };
        if let Some(part) = self.part_at(at) {
            part.found(outcome);
        }
        self.advance_part(at.0, at.1);
        true
    }

    pub(super) fn on_part_told(&mut self, from: NodeId, number: u64, tell: Tell) -> Option<Tell> {
        let asked = |part: &Part| part.asked.iter().any(|asked| asked.request == number && asked.peer == from);
        let Some(at @ (request, piece)) = self.parts(asked).first().copied() else { return Some(tell) };
        self.part_at(at)?.answered(from, number);
        let records = if let Tell::Records(records) = tell { records } else { Vec::new() };
        let retrieval = self.content.retrievals.get_mut(&request)?;
        match records.into_iter().next().map(|record| check(retrieval, piece, record)) {
            Some(Some(gave)) => {
                retrieval.parts.remove(&piece);
                self.on_gave(request, gave);
            }
            Some(None) => {
                self.content.stats.bad += 1;
                self.advance_part(request, piece);
            }
            None => self.advance_part(request, piece),
        }
        None
    }

    fn on_gave(&mut self, request: u64, gave: Gave) {
        let want = self.content.retrievals.get(&request).map(|retrieval| retrieval.want);
        match (want, gave) {
            (Some(Want::Age), Gave::Head(_, _, version)) => self.end_retrieval(request, Some(version)),
            (Some(Want::Code), Gave::Head(manifest, chunks, _)) => self.on_stored_head(request, *manifest, chunks),
            (Some(Want::Code), Gave::Chunk(index, bytes)) => {
                self.advance_retrieval(request);
                self.on_stored_chunk(request, index, bytes);
            }
            _ => {}
        }
        self.forget_retrievals();
    }

    pub(super) fn on_part_lost(&mut self, node: NodeId) {
        for at in self.parts(|part| part.asked.iter().any(|asked| asked.peer == node)) {
            if let Some(part) = self.part_at(at) {
                part.lose(node);
            }
            self.advance_part(at.0, at.1);
        }
    }

    pub(super) fn tend_retrievals(&mut self) {
        let now = self.now;
        self.forget_retrievals();
        for at in self.parts(|part| part.wake().is_some_and(|at| at <= now)) {
            if let Some(part) = self.part_at(at) {
                part.expire(now);
            }
            self.advance_part(at.0, at.1);
        }
        let late = self.content.retrievals.iter().filter(|(_, retrieval)| retrieval.until <= now);
        let late: Vec<u64> = late.map(|(request, _)| *request).collect();
        late.into_iter().for_each(|request| self.end_retrieval(request, None));
    }
}

/// What a record holds, if it is the piece that was asked for.
fn check(retrieval: &Retrieval, piece: usize, record: Record) -> Option<Gave> {
    let version = record.version();
    if piece == HEAD {
        let head = Piece::decode(record.value()?)?;
        let manifest = head.manifest.manifest();
        let is_it = manifest.app() == retrieval.app && manifest.component.digest == retrieval.digest;
        let Held::Head(chunks) = head.content else { return None };
        return is_it.then_some(Gave::Head(Box::new(head.manifest), chunks, version));
    }
    // Its value says whether it is the right one; whose signature came with it does not matter.
    let bytes = Piece::chunk_of(record.value()?)?;
    retrieval.chunks.as_ref()?.is_chunk(piece, &bytes).then_some(Gave::Chunk(piece, bytes))
}
