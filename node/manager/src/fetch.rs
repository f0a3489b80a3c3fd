//! Fetching one application: its manifest, then its code, from one node after the other.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use core::time::Duration;
use prost_kbr::{AppId, NodeId, Peer, Refusal, Time};
use prost_package::{Package, SignedManifest};
use serde_bytes::ByteBuf;

use crate::code::{CHUNK, CodeMessage};
use crate::status::Source;

/// Nodes asked for one application before it is given up.
pub(crate) const MAX_SOURCES: usize = 12;
/// Chunks asked for at once.
const WINDOW: usize = 8;
/// How long one node may be silent before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The progress of one fetch. Time and questions come from outside; what to send goes out through `send`.
#[derive(Debug)]
pub(crate) struct Fetch {
    app: AppId,
    sources: VecDeque<(Peer, Source)>,
    asked: usize,
    current: Option<(Peer, Source)>,
    request: u64,
    manifest: Option<SignedManifest>,
    chunks: BTreeMap<u64, Bytes>,
    next_offset: u64,
    outstanding: usize,
    quiet_since: Time,
    give_up: Time,
    bad: bool,
}

/// What a step of a fetch led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Something was asked, or nothing happened.
    Waiting,
    /// The manifest is here: judge it, then call [`Fetch::accept`] or drop the fetch.
    Manifest(SignedManifest),
    /// All is here and the digest is right.
    Complete(Box<Package>, Peer, Source),
    /// This node has no more to give: ask the next one, with [`Fetch::ask_next`]; from there, that there is none.
    Exhausted,
}

impl Fetch {
    pub(crate) fn new(app: AppId, sources: Vec<(Peer, Source)>, now: Time) -> Fetch {
        Fetch {
            app,
            sources: sources.into(),
            asked: 0,
            current: None,
            request: 0,
            manifest: None,
            chunks: BTreeMap::new(),
            next_offset: 0,
            outstanding: 0,
            quiet_since: now,
            give_up: now + LIMIT,
            bad: false,
        }
    }

    /// Asks the next node, from where the last one stopped.
    pub(crate) fn ask_next(&mut self, request: u64, now: Time, send: &mut dyn FnMut(Peer, CodeMessage)) -> Progress {
        let next = if self.asked < MAX_SOURCES && now < self.give_up { self.sources.pop_front() } else { None };
        let Some((peer, source)) = next else { return Progress::Exhausted };
        self.asked += 1;
        self.current = Some((peer, source));
        self.request = request;
        self.quiet_since = now;
        self.outstanding = 0;
        if self.manifest.is_none() {
            send(peer, CodeMessage::GetManifest { request, app: self.app.clone() });
        } else {
            self.ask_chunks(send);
        }
        Progress::Waiting
    }

    /// The manifest was judged well: asks for the code.
    pub(crate) fn accept(&mut self, manifest: SignedManifest, now: Time, send: &mut dyn FnMut(Peer, CodeMessage)) {
        self.manifest = Some(manifest);
        self.quiet_since = now;
        self.ask_chunks(send);
    }

    /// An answer to a manifest question; `None` for answers that were not asked for, or not from this node.
    pub(crate) fn on_manifest(&mut self, from: NodeId, request: u64, envelope: Option<ByteBuf>) -> Option<Progress> {
        if !self.expects(from, request) || self.manifest.is_some() {
            return None;
        }
        let verified = envelope.and_then(|bytes| SignedManifest::verify(bytes.into_vec().into()).ok());
        match verified {
            Some(manifest) if manifest.manifest().app() == self.app => Some(Progress::Manifest(manifest)),
            _ => Some(Progress::Exhausted),
        }
    }

    /// A piece of the code.
    pub(crate) fn on_chunk(
        &mut self,
        from: NodeId,
        chunk: (u64, u64, Option<ByteBuf>),
        now: Time,
        send: &mut dyn FnMut(Peer, CodeMessage),
    ) -> Option<Progress> {
        let (request, offset, bytes) = chunk;
        if !self.expects(from, request) {
            return None;
        }
        let size = self.size()?;
        let Some(bytes) = bytes else { return Some(Progress::Exhausted) };
        let wanted = (size.checked_sub(offset)?).min(CHUNK as u64);
        if !offset.is_multiple_of(CHUNK as u64) || bytes.len() as u64 != wanted || wanted == 0 {
            return Some(Progress::Exhausted);
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        self.chunks.insert(offset, bytes.into_vec().into());
        self.quiet_since = now;
        self.ask_chunks(send);
        Some(if self.chunks.len() as u64 == size.div_ceil(CHUNK as u64) { self.assemble() } else { Progress::Waiting })
    }

    /// Whether the node being asked has been silent for too long.
    pub(crate) fn is_late(&self, now: Time) -> bool {
        now >= self.deadline()
    }

    /// When the node being asked will have been silent for too long.
    pub(crate) fn deadline(&self) -> Time {
        (self.quiet_since + PATIENCE).min(self.give_up)
    }

    /// Why it came to nothing: someone sent code that is not the manifest's, or nobody had any.
    pub(crate) fn failure(&self) -> Refusal {
        if self.bad { Refusal::BadPackage } else { Refusal::FetchFailed }
    }

    /// The number of the question under way.
    pub(crate) fn request(&self) -> u64 {
        self.request
    }

    /// Whether this node is being asked.
    pub(crate) fn asks(&self, node: NodeId) -> bool {
        self.current.is_some_and(|(peer, _)| peer.id == node)
    }

    fn expects(&self, from: NodeId, request: u64) -> bool {
        request == self.request && self.asks(from)
    }

    fn size(&self) -> Option<u64> {
        self.manifest.as_ref().map(|manifest| manifest.manifest().component.size)
    }

    /// Fills the window, from the first chunk that is missing on.
    fn ask_chunks(&mut self, send: &mut dyn FnMut(Peer, CodeMessage)) {
        let (Some(manifest), Some((peer, _))) = (&self.manifest, self.current) else { return };
        let component = &manifest.manifest().component;
        if self.outstanding == 0 {
            self.next_offset = 0;
        }
        while self.outstanding < WINDOW && self.next_offset < component.size {
            let offset = self.next_offset;
            self.next_offset += CHUNK as u64;
            if !self.chunks.contains_key(&offset) {
                self.outstanding += 1;
                send(peer, CodeMessage::GetChunk { request: self.request, digest: component.digest, offset });
            }
        }
    }

    fn assemble(&mut self) -> Progress {
        let (Some(manifest), Some((peer, source))) = (self.manifest.clone(), self.current) else {
            return Progress::Exhausted;
        };
        let mut component = Vec::with_capacity(self.chunks.values().map(Bytes::len).sum());
        std::mem::take(&mut self.chunks).values().for_each(|chunk| component.extend_from_slice(chunk));
        match Package::new(manifest, component.into()) {
            Ok(package) => Progress::Complete(Box::new(package), peer, source),
            Err(_) => {
                self.bad = true;
                Progress::Exhausted
            }
        }
    }
}

/// The chunk of `component` that starts at `offset`; none where it has no such chunk.
pub(crate) fn chunk(component: &Bytes, offset: u64) -> Option<Bytes> {
    let start = usize::try_from(offset).ok().filter(|start| *start < component.len())?;
    Some(component.slice(start..component.len().min(start + CHUNK)))
}
