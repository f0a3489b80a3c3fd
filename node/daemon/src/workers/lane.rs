//! The thread of one application.
//!
//! It has the same weight as the node's other threads while its events are short: then it is soon done, and others wait
//! for no more than that. From the first long event on it is one that the system runs behind all others, and it becomes
//! an ordinary one again after a while without any. An ordinary user cannot raise a thread's priority again, so that the
//! instance then goes on in a new thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use prost_contract::Execution;
use prost_contract::SharedRecords;
use prost_kbr::AppId;
use prost_manager::RunEvent;
use tokio::sync::mpsc::Sender;

use super::Done;
use crate::actor::Actor;

/// Batches that may wait. The manager has at most one of an application under way.
const QUEUE: usize = 2;
/// Fuel after which a batch ends, at the next end of an event; the rest of it waits for its turn. Some ten milliseconds.
const SLICE: u64 = 20_000_000;
/// Effects and writes after which it ends too: the driver carries them out in one go, as many as one event may have.
const SLICE_EFFECTS: usize = 256;
/// Fuel of a long event: some two milliseconds, about what the system lets an ordinary thread run while others wait.
const LONG: u64 = 4_000_000;
/// How long an application runs behind others after its last long event: with the longest that a policy usually grants,
/// 200 million, one that times them well has less than two hundredths of a processor as an ordinary one.
const BEHIND_FOR: Duration = Duration::from_secs(10);
/// The nice value of a thread that runs behind others: a tenth of an ordinary one's weight.
const BEHIND: i32 = 10;

/// Events to run, on these records.
pub(super) struct Batch {
    pub(super) events: Vec<RunEvent>,
    pub(super) records: SharedRecords,
    pub(super) used: u64,
}

/// One application's thread, as its owner has it.
pub(super) struct Lane {
    app: AppId,
    generation: u64,
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<Option<Actor>>>,
    shared: Arc<Shared>,
    done: Sender<Done>,
    /// When it was last seen to run behind others on account of a long event.
    behind_since: Option<Instant>,
}

/// What thread and owner tell each other.
#[derive(Default)]
struct Shared {
    /// The rest of the batch is not to be run.
    stopped: AtomicBool,
    /// An event was a long one, since the owner looked last.
    was_long: AtomicBool,
}

impl Lane {
    /// Starts an application's thread, which waits until the one before it has ended.
    pub(super) fn start(app: AppId, generation: u64, actor: Actor, before: Option<Lane>, done: Sender<Done>) -> Lane {
        let before = before.and_then(|mut lane| {
            lane.stop(None);
            lane.thread.take()
        });
        let mut lane =
            Lane { app, generation, batches: None, thread: None, shared: Arc::default(), done, behind_since: None };
        lane.go_on(move || {
            before.map(JoinHandle::join);
            Some(actor)
        });
        lane
    }

    /// A new thread, with the instance that `from` comes to.
    fn go_on(&mut self, from: impl FnOnce() -> Option<Actor> + Send + 'static) {
        let (sender, batches) = sync_channel(QUEUE);
        let (app, generation, done, shared) =
            (self.app.clone(), self.generation, self.done.clone(), self.shared.clone());
        let name = format!("peerlet-{}", self.app.name);
        let body =
            move || from().map(|actor| Worker { app, generation, actor, done, shared, behind: false }.run(&batches));
        self.thread = Some(spawn(&name, body));
        self.batches = Some(sender);
    }

    /// Has a batch run.
    pub(super) fn run(&mut self, batch: Batch, now: Instant) {
        if self.shared.was_long.swap(false, Ordering::Relaxed) {
            self.behind_since = Some(now);
        }
        if self.behind_since.is_some_and(|since| now.saturating_duration_since(since) >= BEHIND_FOR) {
            self.behind_since = None;
            self.batches = None;
            if let Some(thread) = self.thread.take() {
                // A thread that panicked has no instance left.
                self.go_on(move || thread.join().ok().flatten());
            }
        }
        if let Some(batches) = &self.batches {
            batches.send(batch).expect("a peerlet's thread lives as long as its lane");
        }
    }

    /// Ends the thread after the event under way, and after the thread of `other`.
    pub(super) fn stop(&mut self, other: Option<Lane>) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.batches = None;
        let Some(other) = other.and_then(|mut other| other.thread.take()).filter(|other| !other.is_finished()) else {
            return;
        };
        if let Some(thread) = self.thread.take() {
            self.thread = Some(spawn("peerlet-ending", move || {
                // How they ended says nothing any more.
                let _ = (other.join(), thread.join());
                None
            }));
        }
    }

    /// Whether nothing of it runs any more.
    pub(super) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// The other side.
struct Worker {
    app: AppId,
    generation: u64,
    actor: Actor,
    done: Sender<Done>,
    shared: Arc<Shared>,
    behind: bool,
}

impl Worker {
    /// Runs batches until there are no more, and gives the instance back.
    fn run(mut self, batches: &Receiver<Batch>) -> Actor {
        while let Ok(Batch { events, records, used }) = batches.recv() {
            let mut slice = Slice::default();
            let (shared, behind) = (&self.shared, &mut self.behind);
            let executions = self.actor.run(events, records, used, |execution| {
                if slice.add(execution) {
                    shared.was_long.store(true, Ordering::Relaxed);
                    if !std::mem::replace(behind, true) {
                        run_behind();
                    }
                }
                slice.goes_on() && !shared.stopped.load(Ordering::Relaxed)
            });
            if self.shared.stopped.load(Ordering::Relaxed) {
                break;
            }
            let ran = Done::Ran { app: self.app.clone(), generation: self.generation, executions };
            if self.done.blocking_send(ran).is_err() {
                break;
            }
        }
        self.actor
    }
}

/// What a batch has come to so far.
#[derive(Debug, Default)]
struct Slice {
    fuel: u64,
    effects: usize,
}

impl Slice {
    /// Another event has run; says whether it was a long one.
    fn add(&mut self, execution: &Execution) -> bool {
        self.fuel = self.fuel.saturating_add(execution.receipt.fuel);
        self.effects += execution.effects.len() + execution.writes.len();
        execution.receipt.fuel >= LONG
    }

    fn goes_on(&self) -> bool {
        self.fuel < SLICE && self.effects < SLICE_EFFECTS
    }
}

/// The calling thread runs when no other wants to. Where the system has no priorities of threads, all are alike.
fn run_behind() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(BEHIND) {
        tracing::warn!(%error, "a peerlet's thread cannot be made to run behind others");
    }
}

/// Starts a thread.
pub(super) fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).expect("a thread can be started")
}
