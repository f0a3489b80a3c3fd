//! Threads that compile components and run their events, so that the driver never waits for either.
//!
//! Each application has a thread of its own, so that the system divides the processors among them and none waits for
//! the end of another's event. An application whose events are long runs behind all others (`lane.rs`).

mod lane;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use bytes::Bytes;
use prost_contract::Execution;
use prost_contract::SharedRecords;
use prost_kbr::{AppId, Refusal};
use prost_manager::RunEvent;
use prost_package::Grant;
use prost_sandbox::{Engine, EngineError, EngineOptions, Signer, Ticker};
use tokio::sync::mpsc::Sender;

use crate::actor::Actor;
use crate::compiler::{Compiler, Work};
use lane::{Batch, Lane};

/// Components that may wait for the compiler. The manager has one of an application compiled at a time, and knows at
/// most 256 applications: the queue is never full.
const QUEUE: usize = 1024;

/// What a thread has done.
pub enum Done {
    /// A component has been compiled and is ready to run, or not.
    Compiled {
        /// The application.
        app: AppId,
        /// Which start of it.
        generation: u64,
        /// What that took.
        work: Work,
        /// What to give to [`Workers::load`]; if not, why.
        result: Result<Box<Actor>, (Refusal, String)>,
    },
    /// A batch has run, up to its first trap or to the end of its slice.
    Ran {
        /// The application.
        app: AppId,
        /// Which start of it.
        generation: u64,
        /// In order.
        executions: Vec<Execution>,
    },
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, app, generation) = match self {
            Done::Compiled { app, generation, .. } => ("Compiled", app, generation),
            Done::Ran { app, generation, .. } => ("Ran", app, generation),
        };
        f.debug_struct(name).field("app", app).field("generation", generation).finish_non_exhaustive()
    }
}

/// Makes the signer of an application.
pub type Signers = Arc<dyn Fn(&AppId) -> Arc<dyn Signer> + Send + Sync>;

struct Compile {
    app: AppId,
    generation: u64,
    component: Bytes,
    grant: Grant,
}

/// One application between its start and its stop.
struct Running {
    generation: u64,
    lane: Option<Lane>,
}

/// The compiler's thread and the threads on which peerlets run, one an application.
pub struct Workers {
    compiler: SyncSender<Compile>,
    running: BTreeMap<AppId, Running>,
    /// Lanes of applications that have been stopped, until their last event has ended.
    ending: BTreeMap<AppId, Lane>,
    last_generation: u64,
    done: Sender<Done>,
    _ticker: Ticker,
}

impl Workers {
    /// Starts the compiler's thread; those for peerlets follow with them. They end when this is dropped.
    pub fn start(compiler: Compiler, signers: Signers, done: Sender<Done>) -> Result<Workers, EngineError> {
        let engine = Engine::new(EngineOptions::default())?;
        let ticker = engine.start_ticker()?;
        let (components, queue) = sync_channel(QUEUE);
        let results = done.clone();
        lane::spawn("compiler", move || compile_all(compiler, &engine, &queue, &signers, &results));
        Ok(Workers {
            compiler: components,
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            last_generation: 0,
            done,
            _ticker: ticker,
        })
    }

    /// Compiles a component; answered by [`Done::Compiled`].
    pub fn compile(&mut self, app: AppId, component: Bytes, grant: Grant) {
        let last = &mut self.last_generation;
        let running = self.running.entry(app.clone()).or_insert_with(|| {
            *last += 1;
            Running { generation: *last, lane: None }
        });
        let compile = Compile { app, generation: running.generation, component, grant };
        self.compiler.send(compile).expect("the compiler's thread lives");
    }

    /// Takes what [`Done::Compiled`] brought, if it [is current](Workers::is_current).
    pub fn load(&mut self, app: &AppId, actor: Actor) {
        let Some(running) = self.running.get_mut(app) else { return };
        // What still runs of it holds memory that is this one's.
        let before = running.lane.take().or_else(|| self.ending.remove(app));
        running.lane = Some(Lane::start(app.clone(), running.generation, actor, before, self.done.clone()));
    }

    /// Runs a batch; answered by [`Done::Ran`]. `used` is what the application's records take now.
    pub fn run(&mut self, app: &AppId, events: Vec<RunEvent>, records: SharedRecords, used: u64) {
        let Some(lane) = self.running.get_mut(app).and_then(|running| running.lane.as_mut()) else { return };
        lane.run(Batch { events, records, used }, Instant::now());
    }

    /// Drops an application's instance and code, at the latest when the event under way has ended. What it has under way
    /// is no longer current.
    pub fn stop(&mut self, app: &AppId) {
        self.ending.retain(|_, lane| !lane.has_ended());
        if let Some(mut lane) = self.running.remove(app).and_then(|running| running.lane) {
            lane.stop(self.ending.remove(app));
            self.ending.insert(app.clone(), lane);
        }
    }

    /// Whether a result still counts.
    pub fn is_current(&self, app: &AppId, generation: u64) -> bool {
        self.running.get(app).is_some_and(|running| running.generation == generation)
    }
}

fn compile_all(
    mut compiler: Compiler,
    engine: &Engine,
    queue: &Receiver<Compile>,
    signers: &Signers,
    done: &Sender<Done>,
) {
    while let Ok(Compile { app, generation, component, grant }) = queue.recv() {
        let (compiled, work) = compiler.compile(engine, &component, &grant);
        let result = match compiled {
            Ok(compiled) => Ok(Box::new(Actor::new(compiled, grant.limits(), signers(&app)))),
            Err(error) => Err((error.refusal(), error.to_string())),
        };
        if done.blocking_send(Done::Compiled { app, generation, work, result }).is_err() {
            return;
        }
    }
}
