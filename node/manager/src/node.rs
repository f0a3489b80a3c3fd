//! The whole node as one machine.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use prost_contract::LogLevel;
use prost_kbr::{
    AppId, Change, Failure, Machine, NodeId, Outcome, Output as Ring, Peer, RingView, RouteRequest, Time, TimerKind,
};
use prost_package::Policy;

use crate::app::{Answer, App, Phase, Waiting};
use crate::io::{CallFailure, Input, Output};
use crate::status::{AppState, AppStatus, Installation, Stats};

/// Installations remembered for status.
const MAX_INSTALLATIONS: usize = 256;
/// How long a local call may take.
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Local calls under way at once.
const MAX_CALLS: usize = 4096;

/// Settings of a [`Node`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The routing layer's.
    pub ring: prost_kbr::Config,
    /// The operator's policy.
    pub policy: Arc<Policy>,
    /// Wall clock at [`Time::ZERO`], milliseconds since 1970.
    pub wall_origin_ms: u64,
}

/// The whole node: routing and applications. See the crate's documentation for how it is driven.
#[derive(Debug)]
pub struct Node {
    pub(crate) now: Time,
    pub(crate) ring: Machine,
    pub(crate) policy: Arc<Policy>,
    pub(crate) wall_origin_ms: u64,
    pub(crate) seed: [u8; 32],
    pub(crate) apps: BTreeMap<AppId, App>,
    /// Applications that may have something to run.
    pub(crate) ready: BTreeSet<AppId>,
    /// Messages sent by applications whose outcome is not known yet.
    pub(crate) sent: BTreeMap<u64, AppId>,
    pub(crate) lookups: BTreeMap<u64, u64>,
    pub(crate) calls: BTreeMap<u64, (AppId, Time)>,
    pub(crate) timers: BTreeMap<(Time, u64), (AppId, u64)>,
    pub(crate) timer_index: BTreeMap<u64, Time>,
    pub(crate) commits: BTreeMap<u64, AppId>,
    pub(crate) next_id: u64,
    pub(crate) next_request: u64,
    pub(crate) next_commit: u64,
    pub(crate) outbox: VecDeque<Output>,
    pub(crate) installations: VecDeque<Installation>,
    pub(crate) stats: Stats,
    pub(crate) leaving: bool,
}

impl Node {
    /// A node that is not part of a ring yet. `seed` must differ from every earlier start of the same node: message
    /// ids begin at a number drawn from it.
    pub fn new(me: Peer, settings: Settings, seed: [u8; 32], now: Time) -> Node {
        let first = blake3::derive_key("prost 2026 first message id v1", &seed);
        let (head, _) = first.split_first_chunk::<8>().expect("a digest has eight bytes");
        Node {
            now,
            ring: Machine::new(me, settings.ring, seed, now),
            policy: settings.policy,
            wall_origin_ms: settings.wall_origin_ms,
            seed,
            apps: BTreeMap::new(),
            ready: BTreeSet::new(),
            sent: BTreeMap::new(),
            lookups: BTreeMap::new(),
            calls: BTreeMap::new(),
            timers: BTreeMap::new(),
            timer_index: BTreeMap::new(),
            commits: BTreeMap::new(),
            next_id: u64::from_be_bytes(*head) >> 1,
            next_request: 0,
            next_commit: 0,
            outbox: VecDeque::new(),
            installations: VecDeque::new(),
            stats: Stats::default(),
            leaving: false,
        }
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Ring(input) => {
                self.on_ring_input(&input);
                self.ring.handle(self.now, input);
            }
            Input::Install { request, package } => self.start_install(request, package),
            Input::Restore(package) => self.start_restore(package),
            Input::Remove { request, app } => self.on_remove(request, &app),
            Input::Call { call, app, method, body } => self.start_call(call, &app, method, body),
            Input::Lookup { request, key } => {
                let id = self.take_id();
                self.lookups.insert(id, request);
                self.ring.handle(self.now, prost_kbr::Input::Lookup { id, key });
            }
            Input::Compiled { app, result } => self.on_compiled(&app, result),
            Input::Ran { app, executions } => self.on_ran(&app, executions),
            Input::Committed { commit, result } => self.on_committed(commit, result),
            Input::SetPolicy(policy) => self.on_policy(policy),
        }
        self.settle();
    }

    /// Handles all timers that are due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.ring.handle_timeout(self.now);
        self.fire_timers();
        self.expire_calls();
        self.expire_fetches();
        let paused: Vec<AppId> =
            self.apps.values().filter(|app| !app.queue.is_empty()).map(|app| app.id.clone()).collect();
        self.ready.extend(paused);
        self.settle();
    }

    /// The next thing to do; none when the node is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When the node wants to be woken next, and why: the routing layer's reason, none where an application or a
    /// fetch is the reason.
    pub fn poll_timeout(&self) -> Option<(Time, Option<TimerKind>)> {
        let ring = self.ring.poll_timeout().map(|(at, kind)| (at, Some(kind)));
        let timer = self.timers.first_key_value().map(|((at, _), _)| (*at, None));
        let call = self.calls.first_key_value().map(|(_, (_, deadline))| (*deadline, None));
        let apps = self.apps.values().filter_map(|app| match &app.phase {
            Phase::Fetching(fetch) => Some((fetch.deadline(), None)),
            Phase::Running | Phase::Starting if !app.queue.is_empty() && app.paused_until > self.now => {
                Some((app.paused_until, None))
            }
            Phase::Running | Phase::Starting | Phase::Compiling | Phase::Failed { .. } => None,
        });
        ring.into_iter().chain(timer).chain(call).chain(apps).min_by_key(|(at, _)| *at)
    }

    /// What this node knows of the ring now.
    pub fn view(&self) -> Arc<RingView> {
        self.ring.view()
    }

    /// The routing layer, to look at.
    pub fn ring(&self) -> &Machine {
        &self.ring
    }

    /// The applications on this node.
    pub fn apps(&self) -> Vec<AppStatus> {
        self.apps.values().map(status).collect()
    }

    /// The latest installations, oldest first.
    pub fn installations(&self) -> impl Iterator<Item = &Installation> {
        self.installations.iter()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Lets routing and applications act on each other until both have nothing more to do.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.ring.poll_output() {
                self.on_ring_output(output);
            }
            let Some(app) = self.ready.pop_first() else { break };
            self.run_next(&app);
        }
    }

    fn on_ring_input(&mut self, input: &prost_kbr::Input) {
        match input {
            prost_kbr::Input::Leave => self.leaving = true,
            prost_kbr::Input::Disconnected { id } => self.on_source_lost(*id),
            _ => {}
        }
    }

    fn on_ring_output(&mut self, output: Ring) {
        match output {
            Ring::Dial { addr } => self.outbox.push_back(Output::Dial(addr)),
            Ring::Send { to, message } => self.outbox.push_back(Output::Send { to, message }),
            Ring::Keep(peers) => self.outbox.push_back(Output::Keep(peers)),
            Ring::Joined => self.outbox.push_back(Output::Joined),
            Ring::Left => self.outbox.push_back(Output::Left),
            Ring::Neighbours { request, neighbours } => {
                self.outbox.push_back(Output::Neighbours { request, neighbours });
            }
            Ring::Forward { routed, previous, next } => self.on_forward(routed, previous, next),
            Ring::Deliver { routed, previous } => self.on_deliver(routed, previous),
            Ring::Ended(outcome) => self.on_ended(outcome),
            Ring::Update(change) => self.on_change(change),
            Ring::Upper { from, payload } => self.on_code_frame(from, &payload),
        }
    }

    fn on_ended(&mut self, outcome: Outcome) {
        if let Some(request) = self.lookups.remove(&outcome.id) {
            self.outbox.push_back(Output::LookedUp { request, outcome });
            return;
        }
        let Some(app) = self.sent.remove(&outcome.id) else { return };
        if let Err(reason) = outcome.result {
            self.tell(&app, prost_contract::Event::Failed { message: outcome.id, reason });
        }
    }

    fn on_change(&mut self, change: Change) {
        let told: Vec<AppId> = self
            .apps
            .values_mut()
            .filter(|app| matches!(app.phase, Phase::Running | Phase::Starting))
            .filter(|app| match &change {
                Change::WatchedDown(node) => app.watching.contains(node),
                Change::Joined(_) | Change::Left(_) | Change::Gained(_) | Change::Lost(_) => true,
            })
            .map(|app| app.id.clone())
            .collect();
        for app in told {
            if let (Change::WatchedDown(node), Some(app)) = (&change, self.apps.get_mut(&app)) {
                app.watching.remove(node);
            }
            self.tell(&app, prost_contract::Event::Update(change.clone()));
        }
    }

    /// Queues an event that nobody waits for; a full queue drops it and says so in the log.
    pub(crate) fn tell(&mut self, id: &AppId, event: prost_contract::Event) {
        let Some(app) = self.apps.get_mut(id) else { return };
        if app.enqueue(Waiting { event, answer: Answer::None }).is_err() {
            app.usage.over_budget += 1;
            self.log(id, LogLevel::Warn, "an event was dropped: the queue is full".to_owned());
        }
        self.ready.insert(id.clone());
    }

    pub(crate) fn log(&mut self, app: &AppId, level: LogLevel, line: String) {
        self.outbox.push_back(Output::Log { app: app.clone(), level, line });
    }

    pub(crate) fn respond(&mut self, call: u64, outcome: Result<bytes::Bytes, CallFailure>) {
        if self.calls.remove(&call).is_some() {
            self.outbox.push_back(Output::Respond { call, outcome });
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.wall_origin_ms + self.now.as_micros() / 1000
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn take_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    pub(crate) fn remember(&mut self, installation: Installation) {
        *self.stats.installs.entry(installation.source).or_default() += 1;
        if self.installations.len() == MAX_INSTALLATIONS {
            self.installations.pop_front();
        }
        self.installations.push_back(installation);
    }

    pub(crate) fn route(&mut self, app: &AppId, request: RouteRequest) {
        self.sent.insert(request.id, app.clone());
        self.ring.handle(self.now, prost_kbr::Input::Route(request));
    }

    fn start_call(&mut self, call: u64, name: &str, method: String, body: bytes::Bytes) {
        let refuse = |failure| Output::Respond { call, outcome: Err(failure) };
        if self.calls.len() >= MAX_CALLS {
            self.outbox.push_back(refuse(CallFailure::Failed(Failure::Overloaded)));
            return;
        }
        let id = match self.resolve(name) {
            Ok(id) => id,
            Err(failure) => return self.outbox.push_back(refuse(failure)),
        };
        self.calls.insert(call, (id.clone(), self.now + CALL_DEADLINE));
        let request = prost_contract::Request { id: call, method, body };
        let sources = self.neighbour_sources();
        self.dispatch(
            &id,
            Waiting { event: prost_contract::Event::Serve(request), answer: Answer::Call(call) },
            sources,
        );
    }

    /// The application that a local program means: a full id, or the name of the one of that name that is here.
    pub(crate) fn resolve(&self, name: &str) -> Result<AppId, CallFailure> {
        if let Ok(id) = name.parse::<AppId>() {
            return Ok(id);
        }
        let mut named = self.apps.values().filter(|app| app.code.is_some() && app.id.name.as_str() == name);
        match (named.next(), named.next()) {
            (Some(app), None) => Ok(app.id.clone()),
            (Some(_), Some(_)) => Err(CallFailure::Ambiguous(name.to_owned())),
            (None, _) => Err(CallFailure::NotInstalled(name.to_owned())),
        }
    }

    fn expire_calls(&mut self) {
        let late: Vec<u64> =
            self.calls.iter().filter(|(_, (_, deadline))| *deadline <= self.now).map(|(call, _)| *call).collect();
        for call in late {
            self.respond(call, Err(CallFailure::Failed(Failure::Deadline)));
        }
    }

    fn fire_timers(&mut self) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let ((_, timer), (app, tag)) = entry.remove_entry();
            self.timer_index.remove(&timer);
            if let Some(app) = self.apps.get_mut(&app) {
                app.usage.timers = app.usage.timers.saturating_sub(1);
            }
            self.tell(&app, prost_contract::Event::Fired { timer, tag });
        }
    }

    /// Nodes that may have any application: those connected, the nearest in round-trip time first.
    pub(crate) fn neighbour_sources(&self) -> Vec<(Peer, crate::Source)> {
        let view = self.ring.view();
        let mut peers: Vec<Peer> =
            view.successors.iter().chain(&view.predecessors).chain(&view.fingers).copied().collect();
        peers.sort_by_key(|peer| (view.round_trips.get(&peer.id).copied().unwrap_or(Duration::MAX), peer.id));
        peers.dedup_by_key(|peer| peer.id);
        peers.retain(|peer| peer.id != view.me.id);
        peers.into_iter().map(|peer| (peer, crate::Source::Overlay)).collect()
    }

    pub(crate) fn me(&self) -> NodeId {
        self.ring.view().me.id
    }
}

fn status(app: &App) -> AppStatus {
    AppStatus {
        app: app.id.clone(),
        version: app.code.as_ref().map(|code| code.package.manifest.manifest().version.to_string()),
        state: match &app.phase {
            Phase::Fetching(_) => AppState::Fetching,
            Phase::Compiling | Phase::Starting => AppState::Starting,
            Phase::Running => AppState::Running,
            Phase::Failed { refusal, .. } => AppState::Failed(*refusal),
        },
        usage: app.usage.clone(),
        queued: app.queue.len() + app.under_way.len(),
    }
}
