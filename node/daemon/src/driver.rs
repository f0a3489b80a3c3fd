//! The one owner of the machine: gives it what happens, does what it says.
//!
//! A turn: wait for something, take everything that is there, hand it over, drain the machine, write once to each peer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_contract::LogLevel;
use prost_kbr::{AppId, Outcome, Time};
use prost_manager::{
    CallFailure, DownloadFailure, Found, Input, InstallFailure, Node, NotDurable, Output, PublishFailure, Published,
    Space,
};
use prost_package::Policy;
use tokio::sync::{mpsc, oneshot};

use crate::admin::ask::{Ask, Lists};
use crate::download::{Downloader, Reply};
use crate::looker::{Looked, Looker};
use crate::metrics::Metrics;
use crate::status;
use crate::store::{Batch, Store, StoreError};
use crate::transport::{Arrival, Transport};
use crate::workers::{Done, Workers};

/// Arrivals, results and questions taken in one turn, each.
const TURN: usize = 1024;
/// How often gauges are brought up to date.
const GAUGES: Duration = Duration::from_secs(1);
/// How long a node that leaves waits for its last frames to go out.
const FAREWELL: Duration = Duration::from_secs(2);

/// The driver's clock: monotonic time for the machine, wall time for records.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    wall_origin_ms: u64,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_origin_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Clock { origin: Instant::now(), wall_origin_ms }
    }

    /// The machine's time now.
    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall clock at [`Time::ZERO`], milliseconds since 1970.
    pub fn wall_origin_ms(&self) -> u64 {
        self.wall_origin_ms
    }

    fn instant(&self, at: Time) -> Instant {
        self.origin + Duration::from_micros(at.as_micros())
    }

    fn wall_ms(&self, at: Time) -> u64 {
        self.wall_origin_ms + at.as_micros() / 1000
    }
}

/// What can reach a driver besides the network.
pub struct Inboxes {
    /// From the administration interface.
    pub asks: mpsc::Receiver<Ask>,
    /// From the workers.
    pub done: mpsc::Receiver<Done>,
    /// From the store.
    pub committed: mpsc::Receiver<Batch>,
    /// What was looked up in it.
    pub looked: mpsc::Receiver<Looked>,
    /// What comes of downloads.
    pub downloads: mpsc::Receiver<Reply>,
    /// A policy that has been read anew.
    pub policies: mpsc::Receiver<Arc<Policy>>,
    /// Ends the node: it leaves the ring first.
    pub stop: oneshot::Receiver<()>,
}

/// The parts that a driver owns.
pub struct Parts {
    /// The machine.
    pub node: Node,
    /// Its connections.
    pub transport: Transport,
    /// Its disk.
    pub store: Store,
    /// Who looks things up in it.
    pub looker: Looker,
    /// Who gets code from URLs.
    pub downloader: Downloader,
    /// Its sandbox.
    pub workers: Workers,
    /// Its time.
    pub clock: Clock,
    /// Its counters.
    pub metrics: Arc<Metrics>,
    /// The name of its ring, for status.
    pub ring: String,
}

/// Who waits for answers.
#[derive(Default)]
struct Replies {
    next: u64,
    lookups: HashMap<u64, (oneshot::Sender<Outcome>, Instant)>,
    neighbours: HashMap<u64, oneshot::Sender<Option<Lists>>>,
    installs: HashMap<u64, oneshot::Sender<Result<AppId, InstallFailure>>>,
    publications: HashMap<u64, oneshot::Sender<Result<Published, PublishFailure>>>,
    removals: HashMap<u64, oneshot::Sender<Result<AppId, CallFailure>>>,
    calls: HashMap<u64, oneshot::Sender<Result<Bytes, CallFailure>>>,
    messages: HashMap<u64, oneshot::Sender<Outcome>>,
}

/// Why a driver ended, other than by being told to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The disk failed: what is not durable must not be promised.
    #[error("the store failed, so the node has left the ring: {0}")]
    Store(StoreError),
}

/// The driver.
pub struct Driver {
    parts: Parts,
    inboxes: Inboxes,
    replies: Replies,
    /// The applications whose commits the machine waits for.
    commits: BTreeMap<u64, AppId>,
    started: Instant,
    gauges_due: Instant,
    left: bool,
    failure: Option<StoreError>,
    /// The room on the disk, as the machine was told.
    space: Space,
}

impl Driver {
    /// A driver that has not done anything yet.
    pub fn new(parts: Parts, inboxes: Inboxes) -> Driver {
        let started = Instant::now();
        Driver {
            parts,
            inboxes,
            replies: Replies::default(),
            commits: BTreeMap::new(),
            started,
            gauges_due: started,
            left: false,
            failure: None,
            space: Space::default(),
        }
    }

    /// Gives the machine an input before the first turn: packages to restore, the ring to join.
    pub fn handle(&mut self, input: Input) {
        self.parts.node.handle(self.parts.clock.now(), input);
        self.drain();
    }

    /// Runs until told to stop, or until the disk fails; leaves the ring in both cases.
    pub async fn run(mut self) -> Result<(), DriverError> {
        let mut arrivals = Vec::with_capacity(TURN);
        let mut stopping = false;
        while !self.left {
            self.parts.transport.flush();
            let deadline = self.deadline();
            tokio::select! {
                biased;
                _ = &mut self.inboxes.stop, if !stopping => {
                    stopping = true;
                    self.leave();
                }
                () = self.parts.transport.next(&mut arrivals) => {}
                Some(batch) = self.inboxes.committed.recv() => self.on_batch(batch),
                Some(done) = self.inboxes.done.recv() => self.on_done(done),
                Some(looked) = self.inboxes.looked.recv() => self.on_looked(looked),
                Some(reply) = self.inboxes.downloads.recv() => self.on_download(reply),
                Some(ask) = self.inboxes.asks.recv() => self.on_ask(ask),
                Some(policy) = self.inboxes.policies.recv() => self.give(Input::SetPolicy(policy)),
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            self.turn(&mut arrivals);
        }
        self.parts.transport.close(FAREWELL).await;
        self.failure.map_or(Ok(()), |error| Err(DriverError::Store(error)))
    }

    /// Takes all that is there, and drains the machine once.
    fn turn(&mut self, arrivals: &mut Vec<Arrival>) {
        for arrival in arrivals.drain(..) {
            self.on_arrival(arrival);
        }
        for _ in 0..TURN {
            let Ok(batch) = self.inboxes.committed.try_recv() else { break };
            self.on_batch(batch);
        }
        for _ in 0..TURN {
            let Ok(done) = self.inboxes.done.try_recv() else { break };
            self.on_done(done);
        }
        for _ in 0..TURN {
            let Ok(looked) = self.inboxes.looked.try_recv() else { break };
            self.on_looked(looked);
        }
        for _ in 0..TURN {
            let Ok(ask) = self.inboxes.asks.try_recv() else { break };
            self.on_ask(ask);
        }
        let now = self.parts.clock.now();
        let measures = Instant::now() >= self.gauges_due;
        // What is measured over the last seconds is so up to now.
        if measures || self.parts.node.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.parts.node.handle_timeout(now);
        }
        self.drain();
        if measures {
            self.gauges_due = Instant::now() + GAUGES;
            let space = self.parts.store.space();
            if space != self.space {
                self.space = space;
                self.give(Input::SetSpace(space));
                self.drain();
            }
            status::measure(&self.parts);
        }
    }

    fn deadline(&self) -> Instant {
        let machine = self.parts.node.poll_timeout().map(|(at, _)| self.parts.clock.instant(at));
        machine.unwrap_or(self.gauges_due).min(self.gauges_due)
    }

    fn give(&mut self, input: Input) {
        self.parts.node.handle(self.parts.clock.now(), input);
    }

    fn leave(&mut self) {
        self.give(Input::Ring(prost_kbr::Input::Leave));
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        let input = match arrival {
            Arrival::Connected { peer } => prost_kbr::Input::Connected { peer },
            Arrival::Disconnected { id } => prost_kbr::Input::Disconnected { id },
            Arrival::DialFailed { addr } => prost_kbr::Input::DialFailed { addr },
            Arrival::Received { from, message } => prost_kbr::Input::Received { from, message },
            Arrival::RoundTrip { id, rtt } => {
                self.parts.metrics.observe_round_trip(rtt);
                prost_kbr::Input::RoundTrip { id, rtt }
            }
        };
        self.give(Input::Ring(input));
    }

    fn on_batch(&mut self, batch: Batch) {
        self.parts.metrics.observe_commit(batch.took, batch.writes, batch.bytes);
        for commit in batch.commits {
            if let Some(app) = self.commits.remove(&commit) {
                let result = if batch.result.is_ok() { Ok(self.parts.store.used(&app)) } else { Err(NotDurable) };
                self.give(Input::Committed { commit, result });
            }
        }
        if let Err(error) = batch.result {
            self.fail(error);
        }
    }

    /// The disk has failed: no promise can be kept any more, so the node goes.
    fn fail(&mut self, error: StoreError) {
        if self.failure.is_none() {
            tracing::error!(%error, "the store failed; leaving the ring");
            self.failure = Some(error);
            self.leave();
        }
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Compiled { app, generation, work, result } => {
                self.parts.metrics.observe_compile(work);
                let micros = work.micros();
                if self.parts.workers.is_current(&app, generation) {
                    let result = result.map(|actor| self.parts.workers.load(&app, *actor));
                    self.give(Input::Compiled { app, micros, result });
                }
            }
            Done::Ran { app, generation, executions } => {
                if self.parts.workers.is_current(&app, generation) {
                    self.give(Input::Ran { app, executions });
                }
            }
        }
    }

    fn on_looked(&mut self, Looked { look, found }: Looked) {
        self.give(Input::Looked { look, found });
    }

    fn on_download(&mut self, reply: Reply) {
        self.give(match reply {
            Reply::Head { download, envelope } => Input::DownloadHead { download, envelope },
            Reply::End { download, bytes, result } => Input::Downloaded { download, bytes, result },
        });
    }

    fn on_ask(&mut self, ask: Ask) {
        self.replies.next += 1;
        let request = self.replies.next;
        let input = match ask {
            Ask::Status(reply) => {
                // A client that has gone needs no answer; that holds for each reply below too.
                let _ = reply.send(Box::new(status::status(&self.parts, self.started.elapsed())));
                return;
            }
            Ask::Lookup(key, search, reply) => {
                self.replies.lookups.insert(request, (reply, Instant::now()));
                Input::Lookup { request, key, search }
            }
            Ask::Neighbours(peer, reply) => {
                self.replies.neighbours.insert(request, reply);
                Input::Ring(prost_kbr::Input::AskNeighbours { request, peer })
            }
            Ask::Install(package, reply) => {
                self.replies.installs.insert(request, reply);
                Input::Install { request, package: *package }
            }
            Ask::Publish(package, reply) => {
                self.replies.publications.insert(request, reply);
                Input::Publish { request, package: *package }
            }
            Ask::Remove(app, reply) => {
                self.replies.removals.insert(request, reply);
                Input::Remove { request, app }
            }
            Ask::Call { app, method, body, reply } => {
                self.replies.calls.insert(request, reply);
                Input::Call { call: request, app, method, body }
            }
            Ask::Send { header, key, dispatch, payload, reply } => {
                self.replies.messages.insert(request, reply);
                Input::Route { request, header, key, dispatch, payload }
            }
        };
        self.give(input);
    }

    fn drain(&mut self) {
        while let Some(output) = self.parts.node.poll_output() {
            self.on_output(output);
        }
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Dial(addr) => self.parts.transport.dial(addr),
            Output::Send { to, message } => self.parts.transport.send(to, message),
            Output::Keep(peers) => self.parts.transport.keep(peers),
            Output::Release(id) => self.parts.transport.release(id),
            Output::Joined => tracing::info!("joined the ring"),
            Output::Left => self.left = true,
            Output::LookedUp { request, outcome } => {
                if let Some((reply, asked)) = self.replies.lookups.remove(&request) {
                    self.parts.metrics.observe_lookup(asked.elapsed(), outcome.hops);
                    let _ = reply.send(outcome);
                }
            }
            Output::Routed { request, outcome } => {
                if let Some(reply) = self.replies.messages.remove(&request) {
                    let _ = reply.send(outcome);
                }
            }
            Output::Neighbours { request, neighbours } => {
                if let Some(reply) = self.replies.neighbours.remove(&request) {
                    let _ = reply.send(neighbours);
                }
            }
            Output::Compile { app, component, grant, .. } => self.parts.workers.compile(app, component, grant),
            Output::Run { app, events } => {
                let now_ms = self.parts.clock.wall_ms(self.parts.clock.now());
                let records = self.parts.store.records(&app, now_ms);
                let used = self.parts.store.used(&app);
                self.parts.workers.run(&app, events, records, used);
            }
            Output::Stop(app) => self.parts.workers.stop(&app),
            Output::Commit { commit, app, changes } => {
                let taken = self.parts.store.submit(&app, commit, changes);
                self.await_commit(commit, app, taken);
            }
            Output::Look { look, at } => {
                if !self.parts.looker.ask(look, at) {
                    self.give(Input::Looked { look, found: Found::Unavailable });
                }
            }
            Output::Download { download, url } => {
                if !self.parts.downloader.begin(download, url) {
                    let result = Err(DownloadFailure::Overloaded);
                    self.give(Input::Downloaded { download, bytes: 0, result });
                }
            }
            Output::DownloadRest { download, bytes } => self.parts.downloader.go_on(download, bytes),
            Output::CancelDownload(download) => self.parts.downloader.cancel(download),
            Output::SavePackage { commit, package } => {
                let app = package.manifest.manifest().app();
                let taken = self.parts.store.save_package(&app, commit, package.encode().into());
                self.await_commit(commit, app, taken);
            }
            Output::Forget(app) => {
                let removed = self.parts.store.remove_package(&app);
                if let Err(error) = removed.and_then(|()| self.parts.store.remove_app(&app)) {
                    tracing::warn!(%app, %error, "an application could not be forgotten");
                }
            }
            Output::Respond { call, outcome } => {
                if let Some(reply) = self.replies.calls.remove(&call) {
                    let _ = reply.send(outcome);
                }
            }
            // A call over HTTP has one answer; items in between have nowhere to go.
            Output::Push { .. } => {}
            Output::Installed { request, result } => {
                if let Some(reply) = self.replies.installs.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Output::Published { request, result } => {
                if let Some(reply) = self.replies.publications.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Output::Removed { request, result } => {
                if let Some(reply) = self.replies.removals.remove(&request) {
                    let _ = reply.send(result);
                }
            }
            Output::Log { app, level, line } => log(&app, level, &line),
        }
    }

    fn await_commit(&mut self, commit: u64, app: AppId, taken: Result<(), StoreError>) {
        match taken {
            Ok(()) => {
                self.commits.insert(commit, app);
            }
            Err(error) => {
                tracing::warn!(%app, %error, "writes were not taken");
                self.give(Input::Committed { commit, result: Err(NotDurable) });
            }
        }
    }
}

fn log(app: &AppId, level: LogLevel, line: &str) {
    match level {
        LogLevel::Debug => tracing::debug!(peerlet = %app.name, "{line}"),
        LogLevel::Info => tracing::info!(peerlet = %app.name, "{line}"),
        LogLevel::Warn => tracing::warn!(peerlet = %app.name, "{line}"),
        LogLevel::Error => tracing::error!(peerlet = %app.name, "{line}"),
    }
}
