//! The whole node as one machine.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{Event, LogLevel, Point};
use prost_kbr::planted::Bug;
use prost_kbr::{
    AppId, Change, Dispatch, Failure, Header, Key, Machine, Outcome, Output as Ring, Peer, Purpose, RingState,
    RingView, RouteRequest, Time, TimerKind,
};
use prost_package::Policy;

use crate::admission::Admission;
use crate::app::{App, Phase};
use crate::calls::Calls;
use crate::content::{Content, ContentSettings};
use crate::download::Downloads;
use crate::fetch::Fetch;
use crate::io::{Input, Output, Search, Space};
use crate::ledger::{Line, Usage, cut};
use crate::records::{RecordFrame, RecordStats, Records};
use crate::status::{AppState, AppStatus, Installation, Stats};
use crate::timers::Timers;

/// Installations remembered for status.
const MAX_INSTALLATIONS: usize = 256;

/// Outputs that room is kept for while there are none, as in [`Machine`].
const IDLE_OUTBOX: usize = 8;

/// Settings of a [`Node`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// The routing layer's.
    pub ring: prost_kbr::Config,
    /// The operator's policy.
    pub policy: Arc<Policy>,
    /// Wall clock at [`Time::ZERO`], milliseconds since 1970.
    pub wall_origin_ms: u64,
    /// The newest version among the keyed records in the node's store, [`Version::at`](prost_contract::Version::at); zero
    /// where it has none. What this node writes is newer.
    pub newest_version: u64,
    /// What it keeps of the code of others.
    pub content: ContentSettings,
}

/// What a commit is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Committing {
    /// An event's writes.
    Event(AppId),
    /// Records that a comparison with a peer has brought.
    Session { app: AppId, number: u64, records: u64 },
    /// Records that a peer wants to be kept here.
    Store { app: AppId, from: Peer, request: u64, records: u64 },
    /// Copies that are not needed here any more.
    Drop { app: AppId },
    /// Pieces of code that are too old.
    Sweep { app: AppId },
    /// A good copy in the place of a damaged one.
    Repair { app: AppId, point: Point },
    /// A package, and the requests of the operator that wait for it.
    Package { app: AppId, installs: Vec<u64> },
}

impl Committing {
    pub(crate) fn app(&self) -> &AppId {
        let (Committing::Event(app)
        | Committing::Session { app, .. }
        | Committing::Store { app, .. }
        | Committing::Drop { app }
        | Committing::Sweep { app }
        | Committing::Repair { app, .. }
        | Committing::Package { app, .. }) = self;
        app
    }
}

/// The whole node: routing and applications. See the crate's documentation for how it is driven.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) now: Time,
    pub(crate) ring: Machine,
    pub(crate) policy: Arc<Policy>,
    pub(crate) wall_origin_ms: u64,
    pub(crate) seed: [u8; 32],
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) admission: Admission,
    /// Applications that may have something to run.
    pub(crate) ready: BTreeSet<AppId>,
    /// Messages sent by applications whose outcome is not known yet.
    pub(crate) sent: BTreeMap<u64, AppId>,
    lookups: BTreeMap<u64, u64>,
    /// Messages of local programs, by number, with the request that each answers.
    routes: BTreeMap<u64, u64>,
    pub(crate) calls: Calls,
    pub(crate) timers: Timers,
    /// Commits that are not answered yet.
    pub(crate) commits: BTreeMap<u64, Committing>,
    pub(crate) records: Records,
    pub(crate) downloads: Downloads,
    pub(crate) content: Content,
    pub(crate) next_id: u64,
    next_request: u64,
    next_commit: u64,
    pub(crate) outbox: VecDeque<Output>,
    pub(crate) installations: VecDeque<Installation>,
    pub(crate) stats: Stats,
    pub(crate) leaving: bool,
    /// The room on the disk.
    pub(crate) space: Space,
}

impl Node {
    /// A node that is not part of a ring yet. `seed` must differ from every earlier start of the same node: message
    /// ids begin at a number drawn from it.
    pub fn new(me: Peer, settings: Settings, seed: [u8; 32], now: Time) -> Node {
        let first = blake3::derive_key("prost 2026 first message id v1", &seed);
        let (head, _) = first.split_first_chunk::<8>().expect("a digest has eight bytes");
        let mut node = Node {
            now,
            ring: Machine::new(me, settings.ring, seed, now),
            admission: Admission::new(settings.policy.totals()),
            policy: settings.policy,
            wall_origin_ms: settings.wall_origin_ms,
            seed,
            apps: BTreeMap::new(),
            ready: BTreeSet::new(),
            sent: BTreeMap::new(),
            lookups: BTreeMap::new(),
            routes: BTreeMap::new(),
            calls: Calls::default(),
            timers: Timers::default(),
            commits: BTreeMap::new(),
            records: Records::new(settings.newest_version),
            downloads: Downloads::default(),
            content: Content::new(settings.content),
            next_id: u64::from_be_bytes(*head) >> 1,
            next_request: 0,
            next_commit: 0,
            outbox: VecDeque::new(),
            installations: VecDeque::new(),
            stats: Stats::default(),
            leaving: false,
            space: Space::default(),
        };
        node.forget_denied();
        node
    }

    /// Handles one event.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Ring(input) => self.on_ring_input(input),
            Input::Install { request, package } => self.start_install(request, package),
            Input::Restore(package) => self.start_restore(package),
            Input::Publish { request, package } => self.start_publish(Some(request), package),
            Input::Remove { request, app } => self.on_remove(request, &app),
            Input::Call { call, app, method, body } => self.start_call(call, &app, method, body),
            Input::Route { request, header, key, dispatch, payload } => {
                self.start_route(request, &header, key, dispatch, payload);
            }
            Input::Lookup { request, key, search } => self.start_lookup(request, key, search),
            Input::Compiled { app, micros, result } => self.on_compiled(&app, micros, result),
            Input::Ran { app, executions } => self.on_ran(&app, executions),
            Input::Committed { commit, result } => self.on_committed(commit, result),
            Input::Looked { look, found } => self.on_looked(look, found),
            Input::DownloadHead { download, envelope } => self.on_download_head(download, envelope),
            Input::Downloaded { download, bytes, result } => self.on_downloaded(download, bytes, result),
            Input::SetPolicy(policy) => self.on_policy(policy),
            Input::SetSpace(space) => self.space = space,
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
        self.tend_content();
        let due = |app: &&App| app.runnable_at().is_some_and(|at| at <= self.now);
        let rested: Vec<AppId> = self.apps.values().filter(due).map(|app| app.id.clone()).collect();
        self.ready.extend(rested);
        self.settle();
    }

    /// The next thing to do; none when the node is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outbox.pop_front();
        if output.is_none() && self.outbox.capacity() > IDLE_OUTBOX {
            self.outbox.shrink_to(IDLE_OUTBOX);
        }
        output
    }

    /// When the node wants to be woken next, and why: the routing layer's reason, none where an application or a
    /// fetch is the reason.
    pub fn poll_timeout(&self) -> Option<(Time, Option<TimerKind>)> {
        let ring = self.ring.poll_timeout().map(|(at, kind)| (at, Some(kind)));
        let apps = self.apps.values().flat_map(|app| [app.fetch().map(Fetch::deadline), app.runnable_at()]).flatten();
        let others = apps
            .chain(self.timers.earliest())
            .chain(self.calls.earliest())
            .chain(self.records.wake())
            .chain(self.content.wake());
        let others = others.min().map(|at| (at, None));
        ring.into_iter().chain(others).min_by_key(|(at, _)| *at)
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
        self.apps.values().map(|app| self.status(app)).collect()
    }

    /// What the applications on this node have used together.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        self.apps.values().for_each(|app| sum.add(&self.usage_of(app)));
        sum
    }

    fn usage_of(&self, app: &App) -> Usage {
        let fuel_rate = app.recent_fuel.per_second(self.now);
        Usage { fuel_rate, queued: app.queued() as u64, ..app.usage.clone() }
    }

    fn status(&self, app: &App) -> AppStatus {
        AppStatus {
            app: app.id.clone(),
            version: app.code.as_ref().map(|code| code.manifest().version.to_string()),
            state: match &app.phase {
                Phase::Fetching(_) => AppState::Fetching,
                Phase::Compiling | Phase::Starting => AppState::Starting,
                Phase::Running => AppState::Running,
                Phase::Failed { refusal, .. } => AppState::Failed(*refusal),
            },
            usage: self.usage_of(app),
            reserved: self.admission.share(&app.id),
        }
    }

    /// The latest installations, oldest first.
    pub fn installations(&self) -> impl Iterator<Item = &Installation> {
        self.installations.iter()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Counters of keyed records.
    pub fn record_stats(&self) -> &RecordStats {
        &self.records.stats
    }

    /// Whether the records of some keys that this node is responsible for are still on their way here.
    pub fn is_settling(&self) -> bool {
        self.records.is_any_settling()
    }

    /// Lets routing and applications act on each other until both have nothing more to do.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.ring.poll_output() {
                self.on_ring_output(output);
            }
            match self.ready.pop_first() {
                Some(app) => self.run_next(&app),
                None if self.tend_records() || self.tend_downloads() => {}
                None => break,
            }
        }
        #[cfg(debug_assertions)]
        self.check_admission();
    }

    fn on_ring_input(&mut self, input: prost_kbr::Input) {
        match input {
            prost_kbr::Input::Leave if !std::mem::replace(&mut self.leaving, true) && self.start_farewell() => return,
            prost_kbr::Input::Disconnected { id } => {
                self.on_source_lost(id);
                self.on_holder_lost(id);
            }
            _ => {}
        }
        self.ring.handle(self.now, input);
    }

    fn on_ring_output(&mut self, output: Ring) {
        match output {
            Ring::Dial { addr } => self.outbox.push_back(Output::Dial(addr)),
            Ring::Send { to, message } => self.outbox.push_back(Output::Send { to, message }),
            Ring::Keep(peers) => self.outbox.push_back(Output::Keep(peers)),
            Ring::Release(id) => self.outbox.push_back(Output::Release(id)),
            Ring::Joined => self.outbox.push_back(Output::Joined),
            Ring::Left => self.outbox.push_back(Output::Left),
            Ring::Neighbours { request, neighbours } => {
                self.outbox.push_back(Output::Neighbours { request, neighbours });
            }
            Ring::Forward { routed, previous, next } => self.on_forward(routed, previous, next),
            Ring::Deliver { routed, previous } => self.on_deliver(routed, previous),
            Ring::Ended(outcome) => self.on_ended(outcome),
            Ring::Update(change) => self.on_change(change),
            Ring::Upper { from, payload } if RecordFrame::is_meant(&payload) => self.on_record_frame(from, &payload),
            Ring::Upper { from, payload } => self.on_code_frame(from, &payload),
        }
    }

    fn start_lookup(&mut self, request: u64, key: Key, search: Search) {
        let id = self.take_ids(1);
        if self.ring.ring_state() == RingState::Left {
            let outcome = Outcome::failed(id, Purpose::Lookup, Failure::NotJoined);
            return self.outbox.push_back(Output::LookedUp { request, outcome });
        }
        self.lookups.insert(id, request);
        let input = match search {
            Search::Owner => prost_kbr::Input::Lookup { id, key, replicas: 0 },
            Search::Replicas(replicas) => prost_kbr::Input::Lookup { id, key, replicas },
            Search::Paths(paths) => prost_kbr::Input::LookupRedundant { id, key, paths },
        };
        self.ring.handle(self.now, input);
    }

    fn start_route(&mut self, request: u64, header: &Header, key: Key, dispatch: Dispatch, payload: Bytes) {
        let id = self.take_ids(1);
        if self.ring.ring_state() == RingState::Left {
            let outcome = Outcome::failed(id, Purpose::App(dispatch), Failure::NotJoined);
            return self.outbox.push_back(Output::Routed { request, outcome });
        }
        self.routes.insert(id, request);
        let header = header.encode();
        let route = RouteRequest { id, key: Some(key), dispatch, header, payload, hint: None, deadline: None };
        self.ring.handle(self.now, prost_kbr::Input::Route(route));
    }

    fn on_ended(&mut self, outcome: Outcome) {
        if self.on_strays_owner(&outcome) || self.on_piece_found(&outcome) {
            return;
        }
        if let Some(request) = self.routes.remove(&outcome.id) {
            self.outbox.push_back(Output::Routed { request, outcome });
            return;
        }
        if let Some(request) = self.lookups.remove(&outcome.id) {
            self.outbox.push_back(Output::LookedUp { request, outcome });
            return;
        }
        let Some(id) = self.sent.remove(&outcome.id) else { return };
        if let Err(reason) = outcome.result {
            self.tell_due(&id, Event::Failed { message: outcome.id, reason });
        } else if let Some(app) = self.apps.get_mut(&id) {
            app.in_flight = app.in_flight.saturating_sub(1);
        }
    }

    fn on_change(&mut self, change: Change) {
        self.records.dirty = true;
        match change {
            Change::Gained(_) if self.ring.has_planted(Bug::ServedBeforeHandOver) => {}
            Change::Gained(range) if self.policy.allows_anything() => return self.on_gained(range),
            Change::Lost(_) => self.on_lost(),
            _ => {}
        }
        self.tell_change(change);
    }

    /// Tells the applications of a change.
    pub(crate) fn tell_change(&mut self, change: Change) {
        let told: Vec<AppId> = self
            .apps
            .values_mut()
            .filter(|app| app.is_up())
            .filter_map(|app| match &change {
                Change::WatchedDown(node) => app.watching.remove(node).then(|| app.id.clone()),
                Change::Joined(_) | Change::Left(_) | Change::Gained(_) | Change::Lost(_) => Some(app.id.clone()),
            })
            .collect();
        for app in told {
            self.tell_news(&app, Event::Update(change.clone()));
        }
    }

    /// Tells an application what it can do without: where its queue is full, the log says so instead.
    pub(crate) fn tell_news(&mut self, id: &AppId, event: Event) {
        self.tell(id, event, App::enqueue_news);
    }

    /// Tells an application of the end of a message, or of a timer.
    pub(crate) fn tell_due(&mut self, id: &AppId, event: Event) {
        self.tell(id, event, App::enqueue_due);
    }

    fn tell(&mut self, id: &AppId, event: Event, enqueue: fn(&mut App, Event) -> bool) {
        let Some(app) = self.apps.get_mut(id).filter(|app| app.is_up()) else { return };
        if enqueue(app, event.clone()) {
            self.ready.insert(id.clone());
        } else {
            app.told(&event);
            app.usage.over_budget += 1;
            self.note(id, LogLevel::Warn, format!("'{}' was not told: the queue is full", event.name()));
        }
    }

    /// A line for the log that an application wrote, or that it caused and could cause again and again.
    pub(crate) fn note(&mut self, id: &AppId, level: LogLevel, line: String) {
        let line = cut(line);
        let Some(app) = self.apps.get_mut(id) else { return };
        match app.log.charge(line.len(), self.now) {
            Line::Written => {
                app.usage.log_lines += 1;
                self.log(id, level, line);
            }
            Line::FirstDropped => {
                self.drop_line(id);
                self.log(
                    id,
                    LogLevel::Warn,
                    "it writes too much: its lines are dropped until a minute is over".to_owned(),
                );
            }
            Line::Dropped => self.drop_line(id),
        }
    }

    pub(crate) fn drop_line(&mut self, id: &AppId) {
        if let Some(app) = self.apps.get_mut(id) {
            app.usage.dropped_log_lines += 1;
        }
    }

    /// A line for the log. What others wrote of it may hold characters that would rule a terminal.
    pub(crate) fn log(&mut self, app: &AppId, level: LogLevel, line: String) {
        let line = if line.contains(char::is_control) { line.replace(char::is_control, " ") } else { line };
        self.outbox.push_back(Output::Log { app: app.clone(), level, line });
    }

    /// A time of at most so long, other on each node and each time.
    pub(crate) fn jitter(&mut self, most: Duration) -> Duration {
        let number = self.take_request();
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(b"jitter").update(&number.to_be_bytes());
        let digest = hasher.finalize();
        let (head, _) = digest.as_bytes().split_first_chunk::<4>().expect("a digest has four bytes");
        most.mul_f64(f64::from(u32::from_be_bytes(*head)) / f64::from(u32::MAX))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.wall_origin_ms + self.now.as_micros() / 1000
    }

    /// Takes as many numbers in a row for messages and timers; gives the first.
    pub(crate) fn take_ids(&mut self, count: u32) -> u64 {
        let first = self.next_id;
        self.next_id = self.next_id.wrapping_add(u64::from(count.max(1)));
        first
    }

    pub(crate) fn take_request(&mut self) -> u64 {
        self.next_request += 1;
        self.next_request
    }

    /// Has these changes made durable; the number of the commit.
    pub(crate) fn commit(&mut self, app: &AppId, committing: Committing, changes: Vec<prost_contract::Change>) -> u64 {
        let commit = self.take_commit(committing);
        self.outbox.push_back(Output::Commit { commit, app: app.clone(), changes });
        commit
    }

    pub(crate) fn take_commit(&mut self, committing: Committing) -> u64 {
        self.next_commit += 1;
        self.commits.insert(self.next_commit, committing);
        self.next_commit
    }

    pub(crate) fn remember(&mut self, installation: Installation) {
        *self.stats.installs.entry(installation.source).or_default() += 1;
        if self.installations.len() == MAX_INSTALLATIONS {
            self.installations.pop_front();
        }
        self.installations.push_back(installation);
    }
}
