//! Getting the code of an application that is not here, and giving it to others.

use core::time::Duration;
use std::collections::BTreeSet;

use bytes::Bytes;
use prost_contract::LogLevel;
use prost_kbr::{AppId, NodeId, Peer, Refusal};
use prost_package::{Chunks, Decision, Digest, Locator, Resources, SignedManifest};
use serde_bytes::ByteBuf;

use crate::app::{Answer, App, Code, Phase, Waiting};
use crate::code::CodeMessage;
use crate::content::Want;
use crate::fetch::{self, Asked, Fetch, Progress, Supplier};
use crate::node::Node;
use crate::status::Source;

/// Applications that a node knows at once, the failed ones included.
pub(crate) const MAX_APPS: usize = Resources::MAX_APPLICATIONS as usize;
/// Fetches under way at once.
const MAX_FETCHES: usize = 8;

impl Node {
    /// Begins to fetch an application. `waiting` is what waits for it, where something does.
    pub(crate) fn start_fetch(&mut self, id: &AppId, waiting: Option<Waiting>, way: &[Peer], locator: &Locator) {
        let asks_nodes = |app: &&App| matches!(&app.phase, Phase::Fetching(fetch) if !fetch.urls.are_asked());
        let fetching = self.apps.values().filter(asks_nodes).count();
        let refusal = match self.policy.decide_app(id) {
            Decision::Deny { .. } => Some(Refusal::Denied),
            // Nobody can sign a package of such a name.
            Decision::Allow { .. } if id.name.is_reserved() => Some(Refusal::BadPackage),
            Decision::Allow { .. } if fetching >= MAX_FETCHES || !self.make_room(id) => Some(Refusal::QueueFull),
            Decision::Allow { .. } => None,
        };
        if let Some(refusal) = refusal {
            return self.refuse(waiting.map_or(Answer::None, |waiting| waiting.answer), refusal);
        }
        let digest = if let Locator::Digest(digest) = locator { Some(*digest) } else { None };
        let fetch = Fetch::new(id.clone(), self.sources(way, digest.is_some()), digest, self.now);
        let mut app = App::new(id.clone(), Phase::Fetching(Box::new(fetch)), self.now);
        if let Some(Err(answer)) = waiting.map(|waiting| app.enqueue(waiting)) {
            return self.refuse(answer, Refusal::QueueFull);
        }
        if let Some(failed) = self.apps.remove(id) {
            app.take_account(failed);
        }
        self.apps.insert(id.clone(), app);
        self.offer_locator(id, locator);
        self.ask_next_source(id);
    }

    /// Whether one more application can be known here. Where all places are taken, the one that failed first and has
    /// no code is forgotten.
    pub(crate) fn make_room(&mut self, id: &AppId) -> bool {
        if self.apps.len() < MAX_APPS || self.apps.contains_key(id) {
            return true;
        }
        let failed = self.apps.values().filter_map(|app| match app.phase {
            Phase::Failed { until, .. } if app.code.is_none() => Some((until, app.id.clone())),
            _ => None,
        });
        let Some((_, oldest)) = failed.min() else { return false };
        self.forget(&oldest);
        true
    }

    /// Whom to ask for the code: the previous hop (ANTS, OPENARCH 1998), then the origin, then those connected, the
    /// nearest in round-trip time first. The ring's store of code comes before these where the message says what it is,
    /// and after them where only a manifest can.
    pub(crate) fn sources(&self, way: &[Peer], is_named: bool) -> Vec<Supplier> {
        let view = self.ring.view();
        let mut known: Vec<Peer> =
            view.successors.iter().chain(&view.predecessors).chain(&view.fingers).copied().collect();
        known.sort_by_key(|peer| (view.round_trip(peer.id).unwrap_or(Duration::MAX), peer.id));
        let mut seen = BTreeSet::from([view.me.id]);
        let way = way.iter().copied().zip([Source::PreviousHop, Source::Overlay]);
        let mut new = |(peer, source): (Peer, Source)| seen.insert(peer.id).then_some(Supplier::Node(peer, source));
        let mut sources: Vec<Supplier> = way.filter_map(&mut new).collect();
        let at = sources.len();
        sources.extend(known.into_iter().map(|peer| (peer, Source::Overlay)).filter_map(new));
        sources.insert(if is_named { at } else { sources.len() }, Supplier::Store);
        sources
    }

    pub(crate) fn ask_next_source(&mut self, id: &AppId) {
        if self.take_component(id) {
            return;
        }
        let (request, now) = (self.take_request(), self.now);
        let Some(fetch) = self.fetch_of(id) else { return };
        match fetch.ask_next(request, now) {
            Some(Asked::Node(to, question)) => self.send_code(to, &question),
            Some(Asked::Store(digest)) => {
                if !self.start_retrieval(request, Want::Code, id, digest) {
                    self.ask_next_source(id);
                }
            }
            None => self.ask_next_url(id),
        }
    }

    fn send_code(&mut self, to: Peer, message: &CodeMessage) {
        self.ring.handle(self.now, prost_kbr::Input::SendUpper { to, payload: message.encode() });
    }

    /// A frame of the code protocol.
    pub(crate) fn on_code_frame(&mut self, from: Peer, payload: &Bytes) {
        match CodeMessage::decode(payload) {
            Some(CodeMessage::GetManifest { request, app }) => {
                let code = self.apps.get(&app).and_then(|app| app.code.as_ref());
                let envelope = code.map(|code| ByteBuf::from(code.package.manifest.bytes().to_vec()));
                let chunks = code.map(|code| ByteBuf::from(code.chunks.encode()));
                self.send_code(from, &CodeMessage::Manifest { request, envelope, chunks });
            }
            Some(CodeMessage::GetChunk { request, digest, offset }) => {
                let chunk = self.code_of(digest).and_then(|code| fetch::chunk(&code.package.component, offset));
                let bytes = chunk.map(|chunk| ByteBuf::from(chunk.to_vec()));
                self.send_code(from, &CodeMessage::Chunk { request, offset, bytes });
            }
            Some(CodeMessage::Manifest { request, envelope, chunks }) => {
                self.on_manifest(from, request, envelope.zip(chunks));
            }
            Some(CodeMessage::Chunk { request, offset, bytes }) => self.on_chunk(from, request, offset, bytes),
            None => self.stats.bad_code_frames += 1,
        }
    }

    fn on_manifest(&mut self, from: Peer, request: u64, offer: Option<(ByteBuf, ByteBuf)>) {
        let Some(id) = self.fetch_asking(request) else { return };
        let now = self.now;
        let bytes = offer.as_ref().map_or(0, |(envelope, chunks)| (envelope.len() + chunks.len()) as u64);
        let progress = self.fetch_of(&id).and_then(|fetch| fetch.on_manifest(from.id, request, offer, now));
        self.charge_download(&id, bytes, progress.is_some());
        self.on_progress(&id, progress);
    }

    fn on_chunk(&mut self, from: Peer, request: u64, offset: u64, bytes: Option<ByteBuf>) {
        let Some(id) = self.fetch_asking(request) else { return };
        let now = self.now;
        let length = bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let progress = self.fetch_of(&id).and_then(|fetch| fetch.on_chunk(from.id, request, offset, bytes, now));
        self.charge_download(&id, length, progress.is_some());
        self.on_progress(&id, progress);
    }

    /// The store has the head of what is being fetched.
    pub(crate) fn on_stored_head(&mut self, request: u64, manifest: SignedManifest, chunks: Chunks) {
        let Some(id) = self.fetch_asking(request) else { return };
        let now = self.now;
        self.charge_download(&id, (manifest.bytes().len() + chunks.encode().len()) as u64, true);
        let progress = self.fetch_of(&id).map(|fetch| fetch.on_offer(manifest, chunks, now));
        self.on_progress(&id, progress);
    }

    /// The store has a chunk of what is being fetched.
    pub(crate) fn on_stored_chunk(&mut self, request: u64, index: usize, bytes: Bytes) {
        let Some(id) = self.fetch_asking(request) else { return };
        let now = self.now;
        self.charge_download(&id, bytes.len() as u64, true);
        let progress = self.fetch_of(&id).map(|fetch| fetch.take(index, bytes, now));
        self.on_progress(&id, progress);
    }

    /// The store does not have all of what is being fetched.
    pub(crate) fn on_store_exhausted(&mut self, request: u64) {
        if let Some(id) = self.fetch_asking(request) {
            self.ask_next_source(&id);
        }
    }

    /// What was asked for is charged to the application, whether it was of use or not; what others send unasked is not.
    pub(crate) fn charge_download(&mut self, id: &AppId, bytes: u64, asked: bool) {
        if let Some(app) = self.apps.get_mut(id).filter(|_| asked) {
            app.usage.downloaded_bytes = app.usage.downloaded_bytes.saturating_add(bytes);
        }
    }

    fn on_progress(&mut self, id: &AppId, progress: Option<Progress>) {
        match progress {
            None => {}
            Some(Progress::Going) => self.ask_chunks(id),
            Some(Progress::Exhausted) => self.ask_next_source(id),
            Some(Progress::Manifest(manifest)) => self.on_new_manifest(id, *manifest),
            Some(Progress::Complete(package, peer, source)) => self.on_fetched(id, *package, source, peer),
        }
    }

    /// What this node does not grant is refused at once. A manifest that has expired or is for another contract may be
    /// an old one, and so may one that does not come after what runs: another node may have a better one. Nobody has a
    /// better one than that of the code which the message names.
    fn on_new_manifest(&mut self, id: &AppId, manifest: SignedManifest) {
        let compared = self.compare(id, manifest.manifest());
        let judged = compared.and_then(|()| self.judge_new(manifest.manifest()));
        match judged.and_then(|grant| self.admit_new(id, grant)) {
            Ok(_) => {
                if let Some(fetch) = self.fetch_of(id) {
                    fetch.accept(manifest);
                }
                self.ask_chunks(id);
            }
            Err((Refusal::BadPackage, line)) => {
                if let Some(fetch) = self.fetch_of(id) {
                    fetch.note_bad();
                }
                self.log(id, LogLevel::Warn, format!("a manifest was passed over: {line}"));
                self.ask_next_source(id);
            }
            Err((Refusal::FetchFailed, _)) if !self.fetch_of(id).is_some_and(|fetch| fetch.is_named(&manifest)) => {
                self.ask_next_source(id);
            }
            Err((refusal, line)) => self.end_fetch(id, refusal, line),
        }
    }

    /// The code with this component, of whatever application.
    fn code_of(&self, component: Digest) -> Option<&Code> {
        let mut code = self.apps.values().filter_map(|app| app.code.as_ref());
        code.find(|code| code.manifest().component.digest == component)
    }

    /// Takes the component from an application that has the same one; says whether there is such.
    fn take_component(&mut self, id: &AppId) -> bool {
        let Some(component) = self.apps.get(id).and_then(|app| app.fetch()?.component()) else { return false };
        let Some(Code { package, from, source, .. }) = self.code_of(component) else { return false };
        let (component, from, source) = (package.component.clone(), *from, *source);
        let progress = self.fetch_of(id).and_then(|fetch| fetch.complete(component, from, source));
        let is_complete = progress.is_some();
        self.on_progress(id, progress);
        is_complete
    }

    /// Waits for a fetch that brings the same component; says whether there is such.
    fn await_component(&mut self, id: &AppId) -> bool {
        let Some(component) = self.apps.get(id).and_then(|app| app.fetch()?.component()) else { return false };
        let now = self.now;
        let mut others = self.apps.values().filter(|app| app.id != *id).filter_map(App::fetch);
        let useful = others.find_map(|fetch| fetch.brings(component, now));
        if let (Some(useful), Some(fetch)) = (useful, self.fetch_of(id)) {
            fetch.wait_for(useful, now);
        }
        useful.is_some()
    }

    fn ask_chunks(&mut self, id: &AppId) {
        // What is the same comes once.
        if self.take_component(id) || self.await_component(id) {
            return;
        }
        if let Some((request, chunks, wanted)) = self.fetch_of(id).and_then(|fetch| fetch.wanted_of_store()) {
            return self.retrieve_chunks(request, &chunks, wanted);
        }
        let questions = self.fetch_of(id).map(Fetch::ask_chunks).unwrap_or_default();
        for (to, question) in questions {
            self.send_code(to, &question);
        }
    }

    /// The connection to a node is gone: what was being fetched from it comes from the next.
    pub(crate) fn on_source_lost(&mut self, node: NodeId) {
        for id in self.fetching(|fetch| fetch.asks(node)) {
            self.ask_next_source(&id);
        }
    }

    /// Nodes and URLs that were silent for too long are given up.
    pub(crate) fn expire_fetches(&mut self) {
        let now = self.now;
        for id in self.fetching(|fetch| fetch.is_late(now) && fetch.urls.are_asked()) {
            self.on_url_late(&id);
        }
        for id in self.fetching(|fetch| fetch.is_late(now) && !fetch.urls.are_asked()) {
            match self.fetch_of(&id).filter(|fetch| fetch.waits() && !fetch.is_over(now)) {
                Some(fetch) => {
                    fetch.go_on(now);
                    self.ask_chunks(&id);
                }
                None => self.ask_next_source(&id),
            }
        }
    }

    fn fetching(&self, which: impl Fn(&Fetch) -> bool) -> Vec<AppId> {
        let chosen = self.apps.values().filter(|app| app.fetch().is_some_and(&which));
        chosen.map(|app| app.id.clone()).collect()
    }

    pub(crate) fn fetch_asking(&self, request: u64) -> Option<AppId> {
        let asked = |app: &&App| app.fetch().is_some_and(|fetch| fetch.request() == request);
        self.apps.values().find(asked).map(|app| app.id.clone())
    }

    fn fetch_of(&mut self, id: &AppId) -> Option<&mut Fetch> {
        self.apps.get_mut(id)?.fetch_mut()
    }
}
