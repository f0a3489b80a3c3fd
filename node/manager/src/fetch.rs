//! Fetching one application: its manifest, then its code, from one node after the other.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost_kbr::{AppId, NodeId, Peer, Refusal, Time};
use prost_package::{Manifest, Package, SignedManifest};
use serde_bytes::ByteBuf;

use crate::code::{CHUNK, CodeMessage};
use crate::download::Urls;
use crate::status::Source;

/// Nodes asked for one application before it is given up.
const MAX_SOURCES: usize = 12;
/// Chunks asked for at once.
const WINDOW: usize = 8;
/// How long one node may be silent before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may bring nothing before it is given up: the messages that wait must have time to go elsewhere.
const STALLED: Duration = Duration::from_secs(5);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The progress of one fetch. Nodes are asked in turn, each for the manifest and then for the chunks that are missing:
/// what came from one that fell silent is kept where the next has the same code.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    app: AppId,
    sources: VecDeque<(Peer, Source)>,
    asked: usize,
    current: Option<(Peer, Source)>,
    request: u64,
    awaits_manifest: bool,
    /// The manifest that was judged well.
    manifest: Option<SignedManifest>,
    chunks: BTreeMap<u64, Bytes>,
    /// Whether some chunks came from a node before the current one.
    mixed: bool,
    next_offset: u64,
    outstanding: usize,
    quiet_since: Time,
    /// When something of use came last.
    useful: Time,
    give_up: Time,
    /// Someone has sent what is not this application's code.
    bad: bool,
    /// Where else the code can be had, after all nodes.
    pub(crate) urls: Urls,
}

/// What an answer led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More is to be asked for: [`Fetch::ask_chunks`].
    Going,
    /// A manifest is here: judge it, then call [`Fetch::accept`] or ask the next node.
    Manifest(Box<SignedManifest>),
    /// All is here and the digest is right.
    Complete(Box<Package>, Peer, Source),
    /// This node has no more to give: ask the next one.
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
            awaits_manifest: false,
            manifest: None,
            chunks: BTreeMap::new(),
            mixed: false,
            next_offset: 0,
            outstanding: 0,
            quiet_since: now,
            useful: now,
            give_up: now + LIMIT,
            bad: false,
            urls: Urls::default(),
        }
    }

    /// The question to the next node; none where no more are to be asked.
    pub(crate) fn ask_next(&mut self, request: u64, now: Time) -> Option<(Peer, CodeMessage)> {
        self.current = None;
        if self.asked >= MAX_SOURCES || now >= self.end() {
            return None;
        }
        let (peer, source) = self.sources.pop_front()?;
        self.asked += 1;
        self.current = Some((peer, source));
        self.request = request;
        self.awaits_manifest = true;
        self.mixed = !self.chunks.is_empty();
        self.outstanding = 0;
        self.next_offset = 0;
        self.quiet_since = now;
        Some((peer, CodeMessage::GetManifest { request, app: self.app.clone() }))
    }

    /// An answer to a manifest question; `None` for answers that were not asked for, or not from this node.
    pub(crate) fn on_manifest(
        &mut self,
        from: NodeId,
        request: u64,
        envelope: Option<ByteBuf>,
        now: Time,
    ) -> Option<Progress> {
        if !self.expects(from, request) || !self.awaits_manifest {
            return None;
        }
        self.awaits_manifest = false;
        self.quiet_since = now;
        let Some(envelope) = envelope else { return Some(Progress::Exhausted) };
        let verified = SignedManifest::verify(envelope.into_vec().into());
        let Some(manifest) = verified.ok().filter(|manifest| manifest.manifest().app() == self.app) else {
            self.bad = true;
            return Some(Progress::Exhausted);
        };
        let known = self.manifest.as_ref() == Some(&manifest);
        Some(if known { Progress::Going } else { Progress::Manifest(Box::new(manifest)) })
    }

    /// The manifest was judged well. Chunks of other code are of no use any more.
    pub(crate) fn accept(&mut self, manifest: SignedManifest) {
        let digest = |manifest: &SignedManifest| manifest.manifest().component.digest;
        if self.manifest.as_ref().map(digest) != Some(digest(&manifest)) {
            self.chunks.clear();
            self.mixed = false;
        }
        self.manifest = Some(manifest);
    }

    /// The manifest whose code is being fetched.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.signed_manifest().map(SignedManifest::manifest)
    }

    /// The same, as its provider signed it.
    pub(crate) fn signed_manifest(&self) -> Option<&SignedManifest> {
        self.manifest.as_ref()
    }

    /// Someone has sent what is of no use.
    pub(crate) fn note_bad(&mut self) {
        self.bad = true;
    }

    /// A piece of the code; `None` for pieces that were not asked for.
    pub(crate) fn on_chunk(
        &mut self,
        from: NodeId,
        request: u64,
        offset: u64,
        bytes: Option<ByteBuf>,
        now: Time,
    ) -> Option<Progress> {
        if !self.expects(from, request) || self.awaits_manifest || offset >= self.next_offset {
            return None;
        }
        let size = self.manifest.as_ref()?.manifest().component.size;
        let Some(bytes) = bytes else { return Some(Progress::Exhausted) };
        let wanted = size.checked_sub(offset)?.min(CHUNK as u64);
        if !offset.is_multiple_of(CHUNK as u64) || bytes.len() as u64 != wanted {
            self.bad = true;
            return Some(Progress::Exhausted);
        }
        if self.chunks.contains_key(&offset) {
            return None;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        self.chunks.insert(offset, bytes.into_vec().into());
        self.quiet_since = now;
        self.useful = now;
        Some(if self.chunks.len() as u64 == size.div_ceil(CHUNK as u64) { self.assemble() } else { Progress::Going })
    }

    /// Questions for the chunks that are missing, as many as the window has room for.
    pub(crate) fn ask_chunks(&mut self) -> Vec<(Peer, CodeMessage)> {
        let (Some(manifest), Some((peer, _))) = (&self.manifest, self.current) else { return Vec::new() };
        let component = &manifest.manifest().component;
        let mut questions = Vec::new();
        while self.outstanding < WINDOW && self.next_offset < component.size {
            let offset = self.next_offset;
            self.next_offset += CHUNK as u64;
            if !self.chunks.contains_key(&offset) {
                self.outstanding += 1;
                let (request, digest) = (self.request, component.digest);
                questions.push((peer, CodeMessage::GetChunk { request, digest, offset }));
            }
        }
        questions
    }

    /// Whether the node or the URL being asked has been silent for too long.
    pub(crate) fn is_late(&self, now: Time) -> bool {
        now >= self.deadline()
    }

    /// When the node or the URL being asked will have been silent for too long.
    pub(crate) fn deadline(&self) -> Time {
        self.urls.deadline().unwrap_or_else(|| (self.quiet_since + PATIENCE).min(self.end()))
    }

    /// When all of it is given up, unless something comes.
    fn end(&self) -> Time {
        (self.useful + STALLED).min(self.give_up)
    }

    /// Why it came to nothing.
    pub(crate) fn failure(&self) -> (Refusal, &'static str) {
        if self.bad {
            (Refusal::BadPackage, "what other nodes sent is not its code")
        } else if self.urls.were_asked() {
            (Refusal::FetchFailed, "neither nodes nor the URL of its message gave its code")
        } else {
            (Refusal::FetchFailed, "no node that was asked gave its code")
        }
    }

    /// The number of the question under way.
    pub(crate) fn request(&self) -> u64 {
        self.request
    }

    /// Whether any node or URL was asked.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked > 0 || self.urls.were_asked()
    }

    /// Whether this node is being asked.
    pub(crate) fn asks(&self, node: NodeId) -> bool {
        self.current.is_some_and(|(peer, _)| peer.id == node)
    }

    fn expects(&self, from: NodeId, request: u64) -> bool {
        request == self.request && self.asks(from)
    }

    /// Joins the chunks. Where they are not the code and came from several nodes, nobody knows whose is wrong: the
    /// current one is asked for all of it.
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
                if self.mixed {
                    self.sources.push_front((peer, source));
                }
                Progress::Exhausted
            }
        }
    }
}

/// The chunk of `component` that starts at `offset`; none where it has no such chunk.
pub(crate) fn chunk(component: &Bytes, offset: u64) -> Option<Bytes> {
    let start = usize::try_from(offset).ok().filter(|start| *start < component.len())?;
    Some(component.slice(start..component.len().min(start.saturating_add(CHUNK))))
}
