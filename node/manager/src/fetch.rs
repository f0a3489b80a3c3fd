//! Fetching one application: its manifest, then its code, from one node after the other, or from the ring's store of code.
//!
//! Whoever gives the manifest gives the values of the component's chunks too, which must lead to the digest in it. From
//! then on a wrong chunk is found as it comes, and chunks of several sources fit together.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost_kbr::{AppId, NodeId, Peer, Refusal, Time};
use prost_package::{Chunks, Digest, Manifest, Package, SignedManifest};
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
/// How often a fetch looks for what another one was to bring.
const LOOK: Duration = Duration::from_millis(100);
/// How long the store may be silent, in which several nodes are asked for each piece.
const STORE_PATIENCE: Duration = Duration::from_secs(4);
/// How long it may bring nothing before it is given up: the messages that wait must have time to go elsewhere.
const STALLED: Duration = Duration::from_secs(5);
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Who may give the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Supplier {
    Node(Peer, Source),
    /// The ring's store of code.
    Store,
}

/// Whom to ask next.
#[derive(Debug)]
pub(crate) enum Asked {
    Node(Peer, CodeMessage),
    /// The store, for the package with this component.
    Store(Digest),
}

/// The progress of one fetch. Nodes are asked in turn, each for the manifest and then for the chunks that are missing:
/// what came from one that fell silent is kept where the next has the same code.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    app: AppId,
    sources: VecDeque<Supplier>,
    /// What the message says that the code is.
    digest: Option<Digest>,
    asked: usize,
    current: Option<Supplier>,
    request: u64,
    awaits_manifest: bool,
    /// The manifest that was judged well.
    manifest: Option<SignedManifest>,
    /// The values of its component's chunks.
    list: Option<Chunks>,
    /// Those that came with a manifest that is not judged yet, and of which component they are.
    offered: Option<(Digest, Chunks)>,
    chunks: BTreeMap<u64, Bytes>,
    next_offset: u64,
    outstanding: usize,
    quiet_since: Time,
    /// When something of use came last.
    useful: Time,
    give_up: Time,
    /// Another fetch brings the same component: nothing is asked for meanwhile.
    waits: bool,
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
    /// All is here and the digest is right. The node is the one that gave the rest of it.
    Complete(Box<Package>, Option<NodeId>, Source),
    /// This node has no more to give: ask the next one.
    Exhausted,
}

impl Fetch {
    pub(crate) fn new(app: AppId, sources: Vec<Supplier>, digest: Option<Digest>, now: Time) -> Fetch {
        Fetch {
            app,
            sources: sources.into(),
            digest,
            asked: 0,
            current: None,
            request: 0,
            awaits_manifest: false,
            manifest: None,
            list: None,
            offered: None,
            chunks: BTreeMap::new(),
            next_offset: 0,
            outstanding: 0,
            quiet_since: now,
            useful: now,
            give_up: now + LIMIT,
            waits: false,
            bad: false,
            urls: Urls::default(),
        }
    }

    /// The question to the next node; none where no more are to be asked.
    pub(crate) fn ask_next(&mut self, request: u64, now: Time) -> Option<Asked> {
        self.current = None;
        if self.asked >= MAX_SOURCES || now >= self.end() {
            return None;
        }
        let known = self.digest.or_else(|| self.component());
        loop {
            let supplier = self.sources.pop_front()?;
            let asked = match (supplier, known) {
                (Supplier::Node(peer, _), _) => {
                    Asked::Node(peer, CodeMessage::GetManifest { request, app: self.app.clone() })
                }
                (Supplier::Store, Some(digest)) => Asked::Store(digest),
                (Supplier::Store, None) => continue,
            };
            self.asked += 1;
            self.current = Some(supplier);
            self.request = request;
            self.awaits_manifest = true;
            self.waits = false;
            self.outstanding = 0;
            self.next_offset = 0;
            self.quiet_since = now;
            return Some(asked);
        }
    }

    /// An answer to a manifest question; `None` for answers that were not asked for, or not from this node.
    pub(crate) fn on_manifest(
        &mut self,
        from: NodeId,
        request: u64,
        offer: Option<(ByteBuf, ByteBuf)>,
        now: Time,
    ) -> Option<Progress> {
        if !self.expects(from, request) || !self.awaits_manifest {
            return None;
        }
        let Some((envelope, list)) = offer else { return Some(Progress::Exhausted) };
        let verified = SignedManifest::verify(envelope.into_vec().into()).ok();
        let manifest = verified.filter(|manifest| manifest.manifest().app() == self.app);
        let offer = manifest.and_then(|manifest| {
            let chunks = Chunks::verify(&list, &manifest.manifest().component)?;
            Some((manifest, chunks))
        });
        let Some((manifest, chunks)) = offer else {
            self.bad = true;
            return Some(Progress::Exhausted);
        };
        Some(self.on_offer(manifest, chunks, now))
    }

    /// A manifest of this application, with the values of its component's chunks, both checked.
    pub(crate) fn on_offer(&mut self, manifest: SignedManifest, chunks: Chunks, now: Time) -> Progress {
        self.awaits_manifest = false;
        self.quiet_since = now;
        if self.manifest.as_ref() == Some(&manifest) {
            self.list = Some(chunks);
            return Progress::Going;
        }
        self.offered = Some((manifest.manifest().component.digest, chunks));
        Progress::Manifest(Box::new(manifest))
    }

    /// The manifest was judged well. Chunks of other code are of no use any more.
    pub(crate) fn accept(&mut self, manifest: SignedManifest) {
        let digest = |manifest: &SignedManifest| manifest.manifest().component.digest;
        let accepted = digest(&manifest);
        if self.manifest.as_ref().map(digest) != Some(accepted) {
            self.chunks.clear();
            self.list = None;
        }
        if let Some((_, chunks)) = self.offered.take().filter(|(offered, _)| *offered == accepted) {
            self.list = Some(chunks);
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

    /// Whether this is the manifest of the code that the message names.
    pub(crate) fn is_named(&self, manifest: &SignedManifest) -> bool {
        self.digest == Some(manifest.manifest().component.digest)
    }

    /// The component whose chunks are wanted, where it is known.
    pub(crate) fn component(&self) -> Option<Digest> {
        self.manifest().map(|manifest| manifest.component.digest)
    }

    /// Whether it waits for another one to bring what it wants.
    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    /// When it was of use last, where others may wait for it to bring this component.
    pub(crate) fn brings(&self, component: Digest, now: Time) -> Option<Time> {
        let goes_on = !self.waits && !self.urls.are_asked() && now < self.useful + PATIENCE;
        (goes_on && self.component() == Some(component)).then_some(self.useful)
    }

    /// Another fetch brings the same component: this one has as much time as that one.
    pub(crate) fn wait_for(&mut self, other: Time, now: Time) {
        self.waits = true;
        self.quiet_since = now;
        self.useful = self.useful.max(other);
    }

    /// Nobody else brings it any more.
    pub(crate) fn go_on(&mut self, now: Time) {
        self.waits = false;
        self.quiet_since = now;
    }

    /// The component is here, for another application or another version.
    pub(crate) fn complete(&self, component: Bytes, peer: Option<NodeId>, source: Source) -> Option<Progress> {
        let package = Package::new(self.manifest.clone()?, component).ok()?;
        Some(Progress::Complete(Box::new(package), peer, source))
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
        let Some(bytes) = bytes else { return Some(Progress::Exhausted) };
        let index = usize::try_from(offset / CHUNK as u64).ok()?;
        if !offset.is_multiple_of(CHUNK as u64) || !self.list.as_ref()?.is_chunk(index, &bytes) {
            self.bad = true;
            return Some(Progress::Exhausted);
        }
        if self.chunks.contains_key(&offset) {
            return None;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(self.take(index, bytes.into_vec().into(), now))
    }

    /// A chunk that has the value that it should have.
    pub(crate) fn take(&mut self, index: usize, bytes: Bytes, now: Time) -> Progress {
        self.chunks.insert((index * CHUNK) as u64, bytes);
        self.quiet_since = now;
        self.useful = now;
        let whole = self.list.as_ref().is_some_and(|list| self.chunks.len() == list.count());
        if whole { self.assemble() } else { Progress::Going }
    }

    /// What the store is to give, where it is asked: the number of the question, the chunks, and those that are missing.
    pub(crate) fn wanted_of_store(&self) -> Option<(u64, Chunks, Vec<usize>)> {
        let (Some(Supplier::Store), Some(list)) = (self.current, &self.list) else { return None };
        let missing = |index: &usize| !self.chunks.contains_key(&((index * CHUNK) as u64));
        Some((self.request, list.clone(), (0..list.count()).filter(missing).collect()))
    }

    /// Questions for the chunks that are missing, as many as the window has room for.
    pub(crate) fn ask_chunks(&mut self) -> Vec<(Peer, CodeMessage)> {
        let (Some(manifest), Some(Supplier::Node(peer, _))) = (&self.manifest, self.current) else { return Vec::new() };
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
        let patience = match self.current {
            _ if self.waits => LOOK,
            Some(Supplier::Store) => STORE_PATIENCE,
            Some(Supplier::Node(..)) | None => PATIENCE,
        };
        self.urls.deadline().unwrap_or_else(|| (self.quiet_since + patience).min(self.end()))
    }

    /// Whether all of it is given up.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        now >= self.end()
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
        matches!(self.current, Some(Supplier::Node(peer, _)) if peer.id == node)
    }

    fn expects(&self, from: NodeId, request: u64) -> bool {
        request == self.request && self.asks(from)
    }

    /// Joins the chunks.
    fn assemble(&mut self) -> Progress {
        let (Some(manifest), Some(supplier)) = (self.manifest.clone(), self.current) else {
            return Progress::Exhausted;
        };
        let mut component = Vec::with_capacity(self.chunks.values().map(Bytes::len).sum());
        std::mem::take(&mut self.chunks).values().for_each(|chunk| component.extend_from_slice(chunk));
        match Package::new(manifest, component.into()) {
            Ok(package) => {
                let (peer, source) = match supplier {
                    Supplier::Node(peer, source) => (Some(peer.id), source),
                    Supplier::Store => (None, Source::ContentStore),
                };
                Progress::Complete(Box::new(package), peer, source)
            }
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
    Some(component.slice(start..component.len().min(start.saturating_add(CHUNK))))
}
