//! Threads that compile components and run their events, so that the driver never waits for either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use bytes::Bytes;
use prost_contract::{Execution, Limits};
use prost_kbr::{AppId, Refusal};
use prost_manager::RunEvent;
use prost_package::Grant;
use prost_sandbox::{Compiled, Engine, EngineError, EngineOptions, SharedRecords, Signer, Ticker};
use tokio::sync::mpsc::Sender;

use crate::actor::Actor;
use crate::compiler::{Compiler, Work};

/// Jobs that may wait for one thread. The manager has at most one batch of an application under way, and knows at most
/// 256 applications: the queue is never full.
const QUEUE: usize = 1024;

/// What a thread has done.
#[derive(Debug)]
pub enum Done {
    /// A component has been compiled and is ready to run, or not.
    Compiled {
        /// The application.
        app: AppId,
        /// Which start of it.
        generation: u64,
        /// What that took.
        work: Work,
        /// If not, why.
        result: Result<(), (Refusal, String)>,
    },
    /// A batch has run, up to its first trap.
    Ran {
        /// The application.
        app: AppId,
        /// Which start of it.
        generation: u64,
        /// In order.
        executions: Vec<Execution>,
    },
}

/// Makes the signer of an application.
pub type Signers = Arc<dyn Fn(&AppId) -> Arc<dyn Signer> + Send + Sync>;

enum Job {
    Load { app: AppId, generation: u64, compiled: Box<Compiled>, limits: Limits, signer: Arc<dyn Signer> },
    Run { app: AppId, generation: u64, events: Vec<RunEvent>, records: SharedRecords, used: u64 },
    Drop { app: AppId, generation: u64 },
}

struct Compile {
    app: AppId,
    generation: u64,
    component: Bytes,
    grant: Grant,
    worker: usize,
}

/// The compiler's thread and the threads on which peerlets run: an application always on the same one.
pub struct Workers {
    compiler: SyncSender<Compile>,
    threads: Vec<SyncSender<Job>>,
    generations: BTreeMap<AppId, u64>,
    _ticker: Ticker,
}

impl Workers {
    /// Starts `count` threads for peerlets and one for the compiler. They end when this is dropped.
    pub fn start(
        count: usize,
        compiler: Compiler,
        signers: Signers,
        done: Sender<Done>,
    ) -> Result<Workers, EngineError> {
        let engine = Engine::new(EngineOptions::default())?;
        let ticker = engine.start_ticker()?;
        let threads: Vec<SyncSender<Job>> = (0..count.max(1))
            .map(|number| {
                let (jobs, queue) = sync_channel(QUEUE);
                let done = done.clone();
                spawn(format!("peerlets-{number}"), move || run_jobs(&queue, &done));
                jobs
            })
            .collect();
        let (components, queue) = sync_channel(QUEUE);
        let workers = threads.clone();
        spawn("compiler".to_owned(), move || compile_all(compiler, &engine, &queue, &workers, &signers, &done));
        Ok(Workers { compiler: components, threads, generations: BTreeMap::new(), _ticker: ticker })
    }

    /// Compiles a component; answered by [`Done::Compiled`].
    pub fn compile(&mut self, app: AppId, component: Bytes, grant: Grant) {
        let worker = self.worker(&app);
        let generation = self.generation(&app);
        self.compiler.send(Compile { app, generation, component, grant, worker }).expect("the compiler's thread lives");
    }

    /// Runs a batch; answered by [`Done::Ran`]. `used` is what the application's records take now.
    pub fn run(&mut self, app: AppId, events: Vec<RunEvent>, records: SharedRecords, used: u64) {
        let generation = self.generation(&app);
        let worker = self.worker(&app);
        self.send(worker, Job::Run { app, generation, events, records, used });
    }

    /// Drops an application's instance and code. What it has under way is no longer current.
    pub fn stop(&mut self, app: AppId) {
        let generation = self.generation(&app);
        self.generations.insert(app.clone(), generation + 1);
        self.discard(app, generation);
    }

    /// Drops what one start of an application has left: a component that was still being compiled when it was stopped.
    pub fn discard(&self, app: AppId, generation: u64) {
        let worker = self.worker(&app);
        self.send(worker, Job::Drop { app, generation });
    }

    /// Whether a result still counts.
    pub fn is_current(&self, app: &AppId, generation: u64) -> bool {
        self.generation(app) == generation
    }

    fn generation(&self, app: &AppId) -> u64 {
        self.generations.get(app).copied().unwrap_or(0)
    }

    fn send(&self, worker: usize, job: Job) {
        self.threads[worker].send(job).expect("a worker's thread lives");
    }

    fn worker(&self, app: &AppId) -> usize {
        let digest = blake3::hash(app.to_string().as_bytes());
        usize::from(digest.as_bytes()[0]) % self.threads.len()
    }
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name).spawn(body).expect("a thread can be started")
}

fn compile_all(
    mut compiler: Compiler,
    engine: &Engine,
    queue: &Receiver<Compile>,
    workers: &[SyncSender<Job>],
    signers: &Signers,
    done: &Sender<Done>,
) {
    while let Ok(Compile { app, generation, component, grant, worker }) = queue.recv() {
        let (compiled, work) = compiler.compile(engine, &component, &grant);
        let result = match compiled {
            Ok(compiled) => {
                let (compiled, limits, signer) = (Box::new(compiled), grant.limits(), signers(&app));
                let load = Job::Load { app: app.clone(), generation, compiled, limits, signer };
                if workers[worker].send(load).is_err() {
                    return;
                }
                Ok(())
            }
            Err(error) => Err((error.refusal(), error.to_string())),
        };
        if done.blocking_send(Done::Compiled { app, generation, work, result }).is_err() {
            return;
        }
    }
}

/// One application's code on its worker.
struct Slot {
    generation: u64,
    actor: Actor,
}

fn run_jobs(queue: &Receiver<Job>, done: &Sender<Done>) {
    let mut slots: BTreeMap<AppId, Slot> = BTreeMap::new();
    while let Ok(job) = queue.recv() {
        match job {
            Job::Load { app, generation, compiled, limits, signer } => {
                slots.insert(app, Slot { generation, actor: Actor::new(*compiled, limits, signer) });
            }
            Job::Drop { app, generation } => {
                if slots.get(&app).is_some_and(|slot| slot.generation == generation) {
                    slots.remove(&app);
                }
            }
            Job::Run { app, generation, events, records, used } => {
                let Some(slot) = slots.get_mut(&app) else { continue };
                let executions = slot.actor.run(events, records, used);
                if done.blocking_send(Done::Ran { app, generation, executions }).is_err() {
                    return;
                }
            }
        }
    }
}
