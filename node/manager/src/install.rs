//! From a message for an application to the application running: policy, code, compiler, `init`.

use core::time::Duration;

use bytes::Bytes;
use prost_contract::{CONTRACT, Event, LogLevel, Message, Start};
use prost_kbr::{AppId, Dispatch, Handling, Header, NodeId, Peer, Purpose, Refusal, Routed};
use prost_package::{Decision, Grant, Locator, Manifest, Package, Policy};
use serde_bytes::ByteBuf;

use crate::app::{Answer, App, Code, Phase, Waiting};
use crate::code::CodeMessage;
use crate::fetch::{self, Fetch, Progress};
use crate::io::{CallFailure, InstallFailure, Output};
use crate::node::Node;
use crate::status::{Installation, Source};

/// Applications that a node knows at once, the failed ones included.
const MAX_APPS: usize = 256;
/// Fetches under way at once.
const MAX_FETCHES: usize = 8;
/// How long an application that could not be had or started is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl Node {
    /// A message has arrived here.
    pub(crate) fn on_deliver(&mut self, routed: Routed, previous: Peer) {
        let answer = Answer::Delivery { origin: routed.envelope.origin.id, id: routed.envelope.id };
        let Some(header) = self.read_header(&routed.header) else {
            return self.refuse(answer, Refusal::BadPackage);
        };
        if self.leaving {
            return self.refuse(answer, Refusal::Leaving);
        }
        let sources = self.sources(previous, routed.envelope.origin);
        let event = Event::Deliver(message(&routed, previous.id));
        self.dispatch(&header.app, Waiting { event, answer }, sources);
    }

    /// A message of type 0 passes through here.
    pub(crate) fn on_forward(&mut self, routed: Routed, previous: Peer, next: NodeId) {
        let answer = Answer::Passage { origin: routed.envelope.origin.id, id: routed.envelope.id };
        let Some(header) = self.read_header(&routed.header) else {
            return self.refuse(answer, Refusal::BadPackage);
        };
        let sources = self.sources(previous, routed.envelope.origin);
        let event = Event::Forward { message: message(&routed, previous.id), next };
        self.dispatch(&header.app, Waiting { event, answer }, sources);
    }

    fn read_header(&mut self, header: &Bytes) -> Option<Header> {
        let header = Header::decode(header);
        self.stats.bad_headers += u64::from(header.is_none());
        header
    }

    /// Whom to ask for the code: the previous hop (ANTS, OPENARCH 1998), then the origin, then the neighbours.
    fn sources(&self, previous: Peer, origin: Peer) -> Vec<(Peer, Source)> {
        let me = self.me();
        let mut sources = vec![(previous, Source::PreviousHop)];
        sources.extend([(origin, Source::Overlay)].into_iter().chain(self.neighbour_sources()));
        let mut seen = std::collections::BTreeSet::from([me]);
        sources.retain(|(peer, _)| seen.insert(peer.id));
        sources
    }

    /// Queues an event for an application, which is installed first where it is missing.
    pub(crate) fn dispatch(&mut self, id: &AppId, waiting: Waiting, sources: Vec<(Peer, Source)>) {
        let now = self.now;
        let app = self.apps.get(id);
        match app.map(|app| &app.phase) {
            Some(Phase::Failed { refusal, until }) if *until > now => {
                let refusal = *refusal;
                self.refuse(waiting.answer, refusal);
            }
            Some(Phase::Failed { .. }) if app.is_some_and(|app| app.code.is_some()) => {
                self.park(id, waiting);
                self.start_compile(id);
            }
            Some(Phase::Failed { .. }) | None => self.start_fetch(id, waiting, sources),
            Some(Phase::Fetching(_) | Phase::Compiling | Phase::Starting | Phase::Running) => {
                self.park(id, waiting);
                self.ready.insert(id.clone());
            }
        }
    }

    fn park(&mut self, id: &AppId, waiting: Waiting) {
        let Some(app) = self.apps.get_mut(id) else { return };
        if let Err(waiting) = app.enqueue(waiting) {
            self.refuse(waiting.answer, Refusal::QueueFull);
        }
    }

    fn start_fetch(&mut self, id: &AppId, waiting: Waiting, sources: Vec<(Peer, Source)>) {
        if let Decision::Deny { .. } = self.policy.decide_app(id) {
            return self.refuse(waiting.answer, Refusal::Denied);
        }
        let fetching = self.apps.values().filter(|app| matches!(app.phase, Phase::Fetching(_))).count();
        if fetching >= MAX_FETCHES || !self.make_room(id) {
            return self.refuse(waiting.answer, Refusal::QueueFull);
        }
        let fetch = Fetch::new(id.clone(), sources, self.now);
        let mut app = App::new(id.clone(), Phase::Fetching(Box::new(fetch)), self.now);
        let parked = app.enqueue(waiting);
        debug_assert!(parked.is_ok(), "an empty queue has room");
        self.apps.insert(id.clone(), app);
        self.ask_next_source(id);
    }

    /// Whether one more application can be known here; forgets failed ones where that helps.
    fn make_room(&mut self, id: &AppId) -> bool {
        let now = self.now;
        if self.apps.len() >= MAX_APPS {
            self.apps.retain(|_, app| {
                !matches!(app.phase, Phase::Failed { until, .. } if until <= now) || app.code.is_some()
            });
        }
        self.apps.len() < MAX_APPS || self.apps.contains_key(id)
    }

    fn ask_next_source(&mut self, id: &AppId) {
        let request = self.take_request();
        let mut frames = Vec::new();
        let Some(fetch) = self.apps.get_mut(id).and_then(fetch_of) else { return };
        let progress = fetch.ask_next(request, self.now, &mut |peer, frame| frames.push((peer, frame)));
        let failure = fetch.failure();
        self.send_frames(frames);
        if let Progress::Exhausted = progress {
            self.fail(id, failure, "no node that was asked had its code".to_owned());
        }
    }

    fn send_frames(&mut self, frames: Vec<(Peer, CodeMessage)>) {
        for (to, frame) in frames {
            self.ring.handle(self.now, prost_kbr::Input::SendUpper { to, payload: frame.encode() });
        }
    }

    /// A frame of the code protocol.
    pub(crate) fn on_code_frame(&mut self, from: Peer, payload: &Bytes) {
        match CodeMessage::decode(payload) {
            Some(CodeMessage::GetManifest { request, app }) => {
                let code = self.apps.get(&app).and_then(|app| app.code.as_ref());
                let envelope = code.map(|code| ByteBuf::from(code.package.manifest.bytes().to_vec()));
                self.send_frames(vec![(from, CodeMessage::Manifest { request, envelope })]);
            }
            Some(CodeMessage::GetChunk { request, digest, offset }) => {
                let code = self.apps.values().filter_map(|app| app.code.as_ref());
                let mut having = code.filter(|code| code.package.manifest.manifest().component.digest == digest);
                let chunk = having.next().and_then(|code| fetch::chunk(&code.package.component, offset));
                let bytes = chunk.map(|chunk| ByteBuf::from(chunk.to_vec()));
                self.send_frames(vec![(from, CodeMessage::Chunk { request, offset, bytes })]);
            }
            Some(CodeMessage::Manifest { request, envelope }) => {
                let Some(id) = self.fetching_from(from.id) else { return };
                let fetch = self.apps.get_mut(&id).and_then(fetch_of);
                let progress = fetch.and_then(|fetch| fetch.on_manifest(from.id, request, envelope));
                self.on_progress(&id, progress);
            }
            Some(CodeMessage::Chunk { request, offset, bytes }) => {
                let Some(id) = self.fetching_request(request) else { return };
                let mut frames = Vec::new();
                let chunk = (request, offset, bytes);
                let fetch = self.apps.get_mut(&id).and_then(fetch_of);
                let mut send = |peer, frame| frames.push((peer, frame));
                let progress = fetch.and_then(|fetch| fetch.on_chunk(from.id, chunk, self.now, &mut send));
                self.send_frames(frames);
                self.on_progress(&id, progress);
            }
            None => self.stats.bad_code_frames += 1,
        }
    }

    fn on_progress(&mut self, id: &AppId, progress: Option<Progress>) {
        match progress {
            None | Some(Progress::Waiting) => {}
            Some(Progress::Exhausted) => self.ask_next_source(id),
            Some(Progress::Manifest(manifest)) => match self.judge(manifest.manifest()) {
                Err((refusal, line)) => self.fail(id, refusal, line),
                Ok(_) => {
                    let mut frames = Vec::new();
                    if let Some(fetch) = self.apps.get_mut(id).and_then(fetch_of) {
                        fetch.accept(manifest, self.now, &mut |peer, frame| frames.push((peer, frame)));
                    }
                    self.send_frames(frames);
                }
            },
            Some(Progress::Complete(package, peer, source)) => self.take_package(id, *package, source, Some(peer.id)),
        }
    }

    /// Policy and admission, before any byte of code is asked for.
    fn judge(&self, manifest: &Manifest) -> Result<Grant, (Refusal, String)> {
        let grant = match self.policy.decide(manifest) {
            Decision::Deny { rule } => return Err((Refusal::Denied, format!("denied by {rule}"))),
            Decision::Allow { grant, .. } => grant,
        };
        if let Some(missing) = manifest.capabilities.keys().find(|asked| !grant.capabilities.contains(asked)) {
            return Err((Refusal::MissingCapability, format!("asks for '{missing}', which is not granted")));
        }
        if manifest.world != CONTRACT {
            return Err((Refusal::BadPackage, format!("is built for {}, this node has {CONTRACT}", manifest.world)));
        }
        if manifest.expires.is_some_and(|expires| expires <= self.now_ms() / 1000) {
            return Err((Refusal::BadPackage, "its manifest has expired".to_owned()));
        }
        Ok(grant)
    }

    /// The operator installs a package.
    pub(crate) fn start_install(&mut self, request: u64, package: Package) {
        let manifest = package.manifest.manifest();
        let id = manifest.app();
        let answer = |result| Output::Installed { request, result };
        if let Some(app) = self.apps.get_mut(&id) {
            if let (Some(code), false) = (&app.code, matches!(app.phase, Phase::Failed { .. })) {
                let installed = code.package.manifest.manifest();
                if installed.sequence > manifest.sequence {
                    let result = Err(InstallFailure::Older { installed: installed.version.to_string() });
                    return self.outbox.push_back(answer(result));
                }
                if installed.component.digest == manifest.component.digest {
                    match app.phase {
                        Phase::Running => self.outbox.push_back(answer(Ok(id))),
                        _ => app.installs.push(request),
                    }
                    return;
                }
            }
            if matches!(app.phase, Phase::Compiling | Phase::Starting) {
                return self.outbox.push_back(answer(Err(InstallFailure::Busy)));
            }
        }
        if let Err((refusal, detail)) = self.judge(manifest) {
            self.count(refusal);
            return self.outbox.push_back(answer(Err(InstallFailure::Refused { refusal, detail })));
        }
        if !self.make_room(&id) {
            let detail = format!("{MAX_APPS} applications are known here already");
            let refusal = Refusal::QueueFull;
            return self.outbox.push_back(answer(Err(InstallFailure::Refused { refusal, detail })));
        }
        let app = self.apps.entry(id.clone()).or_insert_with(|| App::new(id.clone(), Phase::Compiling, self.now));
        app.installs.push(request);
        app.recorded = false;
        app.wanted_since = self.now;
        self.take_package(&id, package, Source::Local, None);
    }

    /// A package that was installed before this node was started again.
    pub(crate) fn start_restore(&mut self, package: Package) {
        let id = package.manifest.manifest().app();
        match self.judge(package.manifest.manifest()) {
            Ok(_) => {
                self.apps.insert(id.clone(), App::new(id.clone(), Phase::Compiling, self.now));
                self.take_package(&id, package, Source::Local, None);
            }
            Err((refusal, line)) => {
                self.count(refusal);
                self.log(&id, LogLevel::Warn, format!("not started again ({refusal}): {line}"));
            }
        }
    }

    /// All is here: to the compiler. The policy may have changed since the manifest was judged.
    fn take_package(&mut self, id: &AppId, package: Package, source: Source, from: Option<NodeId>) {
        let grant = match self.judge(package.manifest.manifest()) {
            Ok(grant) => grant,
            Err((refusal, line)) => return self.fail(id, refusal, line),
        };
        let locator = Locator::Digest(package.manifest.manifest().component.digest).to_string();
        let header = Header { app: id.clone(), locator }.encode();
        let Some(app) = self.apps.get_mut(id) else { return };
        app.set_code(Code { package, grant, header, source, from }, self.now);
        self.start_compile(id);
    }

    pub(crate) fn start_compile(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = &app.code else { return };
        app.phase = Phase::Compiling;
        self.outbox.push_back(Output::Compile {
            app: id.clone(),
            manifest: code.package.manifest.clone(),
            component: code.package.component.clone(),
            grant: code.grant.clone(),
        });
    }

    /// The compiler has answered.
    pub(crate) fn on_compiled(&mut self, id: &AppId, result: Result<(), (Refusal, String)>) {
        let Some(app) = self.apps.get_mut(id).filter(|app| matches!(app.phase, Phase::Compiling)) else { return };
        if let Err((refusal, line)) = result {
            return self.fail(id, refusal, line);
        }
        app.phase = Phase::Starting;
        push_init(app);
        self.ready.insert(id.clone());
    }

    /// `init` has returned well.
    pub(crate) fn on_started(&mut self, id: &AppId) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        app.phase = Phase::Running;
        app.restarts = 0;
        for request in std::mem::take(&mut app.installs) {
            self.outbox.push_back(Output::Installed { request, result: Ok(id.clone()) });
        }
        let Some(code) = app.code.as_ref().filter(|_| !app.recorded) else { return };
        app.recorded = true;
        let record = Installation {
            app: id.clone(),
            source: code.source,
            peer: code.from,
            bytes: code.package.manifest.bytes().len() as u64 + code.package.component.len() as u64,
            millis: u64::try_from(now.since(app.wanted_since).as_millis()).unwrap_or(u64::MAX),
        };
        self.outbox.push_back(Output::SavePackage(code.package.clone()));
        self.remember(record);
    }

    /// The application cannot be had or started: everything that waits for it is refused.
    pub(crate) fn fail(&mut self, id: &AppId, refusal: Refusal, line: String) {
        let until = self.now + RETRY_AFTER;
        let Some(app) = self.apps.get_mut(id) else { return };
        app.phase = Phase::Failed { refusal, until };
        let waiting = app.take_all();
        let installs = std::mem::take(&mut app.installs);
        if refusal == Refusal::Denied {
            self.apps.remove(id);
        }
        self.log(id, LogLevel::Warn, format!("refused ({refusal}): {line}"));
        for request in installs {
            let result = Err(InstallFailure::Refused { refusal, detail: line.clone() });
            self.outbox.push_back(Output::Installed { request, result });
        }
        waiting.into_iter().for_each(|waiting| self.refuse(waiting.answer, refusal));
    }

    /// This node will not run the application for whoever waits.
    pub(crate) fn refuse(&mut self, answer: Answer, refusal: Refusal) {
        match answer {
            Answer::None | Answer::Start => {}
            Answer::Delivery { origin, id } => {
                self.count(refusal);
                let handling = Handling::Refused(refusal);
                self.ring.handle(self.now, prost_kbr::Input::Handled { origin, id, handling });
            }
            Answer::Passage { origin, id } => {
                self.count(refusal);
                let verdict = prost_kbr::Verdict::Pass;
                self.ring.handle(self.now, prost_kbr::Input::Verdict { origin, id, verdict });
            }
            Answer::Call(call) => {
                self.count(refusal);
                self.respond(call, Err(CallFailure::Refused(refusal)));
            }
        }
    }

    fn count(&mut self, refusal: Refusal) {
        *self.stats.refusals.entry(refusal).or_default() += 1;
    }

    /// The operator removes an application.
    pub(crate) fn on_remove(&mut self, request: u64, name: &str) {
        let found = self.resolve(name).and_then(|id| {
            if self.apps.contains_key(&id) { Ok(id) } else { Err(CallFailure::NotInstalled(name.to_owned())) }
        });
        if let Ok(id) = &found {
            self.stop(id, Refusal::Leaving);
            self.outbox.push_back(Output::Forget(id.clone()));
        }
        self.outbox.push_back(Output::Removed { request, result: found });
    }

    /// The operator's policy has changed: what it denies stops, what it grants otherwise starts anew.
    pub(crate) fn on_policy(&mut self, policy: std::sync::Arc<Policy>) {
        self.policy = policy;
        let installed: Vec<AppId> =
            self.apps.values().filter(|app| app.code.is_some()).map(|app| app.id.clone()).collect();
        for id in installed {
            let code = self.apps[&id].code.as_ref().expect("only applications with code were taken");
            match self.judge(code.package.manifest.manifest()) {
                Err((refusal, line)) => {
                    self.log(&id, LogLevel::Warn, format!("stopped ({refusal}): {line}"));
                    self.stop(&id, refusal);
                }
                Ok(grant) if grant != code.grant => {
                    self.outbox.push_back(Output::Stop(id.clone()));
                    self.regrant(&id, grant);
                }
                Ok(_) => {}
            }
        }
    }

    fn regrant(&mut self, id: &AppId, grant: Grant) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let under_way: Vec<Waiting> = std::mem::take(&mut app.under_way).into();
        app.put_back(under_way.into_iter().filter(|waiting| waiting.answer != Answer::Start));
        if let Some(code) = &mut app.code {
            code.grant = grant;
        }
        self.start_compile(id);
    }

    /// Ends an application here: its instance, its queue, its timers. Its records stay.
    fn stop(&mut self, id: &AppId, refusal: Refusal) {
        let Some(mut app) = self.apps.remove(id) else { return };
        self.outbox.push_back(Output::Stop(id.clone()));
        let waiting = std::mem::take(&mut app.under_way).into_iter().chain(app.take_all());
        waiting.for_each(|waiting| self.refuse(waiting.answer, refusal));
        for uncommitted in std::mem::take(&mut app.uncommitted) {
            self.refuse(uncommitted.end.into_answer(), refusal);
        }
        self.timers.retain(|_, (owner, _)| owner != id);
        let timers = &self.timers;
        self.timer_index.retain(|timer, at| timers.contains_key(&(*at, *timer)));
        self.sent.retain(|_, owner| owner != id);
        let open: Vec<u64> = self.calls.iter().filter(|(_, (owner, _))| owner == id).map(|(call, _)| *call).collect();
        open.into_iter().for_each(|call| self.respond(call, Err(CallFailure::Refused(refusal))));
        app.watching.iter().for_each(|node| self.ring.unwatch(*node));
    }

    /// The connection to a node is gone: whoever was being fetched from it goes on with the next.
    pub(crate) fn on_source_lost(&mut self, node: NodeId) {
        if let Some(id) = self.fetching_from(node) {
            self.ask_next_source(&id);
        }
    }

    /// Nodes that were silent for too long are given up.
    pub(crate) fn expire_fetches(&mut self) {
        let now = self.now;
        let late: Vec<AppId> = self
            .apps
            .values()
            .filter(|app| matches!(&app.phase, Phase::Fetching(fetch) if fetch.is_late(now)))
            .map(|app| app.id.clone())
            .collect();
        late.iter().for_each(|id| self.ask_next_source(id));
    }

    fn fetching_from(&self, node: NodeId) -> Option<AppId> {
        let asks = |app: &&App| matches!(&app.phase, Phase::Fetching(fetch) if fetch.asks(node));
        self.apps.values().find(asks).map(|app| app.id.clone())
    }

    fn fetching_request(&self, request: u64) -> Option<AppId> {
        let asked = |app: &&App| matches!(&app.phase, Phase::Fetching(fetch) if fetch.request() == request);
        self.apps.values().find(asked).map(|app| app.id.clone())
    }
}

/// Puts `init` before everything that waits.
pub(crate) fn push_init(app: &mut App) {
    let Some(code) = &app.code else { return };
    let start = Start {
        version: code.package.manifest.manifest().version.to_string(),
        upgraded_from: app.upgraded_from.clone(),
        settings: Vec::new(),
    };
    app.put_back([Waiting { event: Event::Init(start), answer: Answer::Start }].into_iter());
}

fn fetch_of(app: &mut App) -> Option<&mut Fetch> {
    match &mut app.phase {
        Phase::Fetching(fetch) => Some(fetch),
        Phase::Compiling | Phase::Starting | Phase::Running | Phase::Failed { .. } => None,
    }
}

fn message(routed: &Routed, previous: NodeId) -> Message {
    Message {
        id: routed.envelope.id,
        key: routed.envelope.key,
        dispatch: match routed.envelope.purpose {
            Purpose::App(dispatch) => dispatch,
            Purpose::Lookup => Dispatch::EndNode,
        },
        origin: routed.envelope.origin.id,
        previous,
        hops: u32::from(routed.envelope.hops),
        payload: routed.payload.clone(),
    }
}
