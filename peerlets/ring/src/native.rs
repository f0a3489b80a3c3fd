//! The simulator's runtime for a peerlet that is a Rust type.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prost_contract::{Event, Execution, Limits, Outcome, Overlay, Receipt, SharedRecords, Trap, TrapKind, Turn};
use prost_kbr::{NodeId, Refusal};
use prost_manager::RunEvent;
use prost_package::Grant;
use prost_peerlet::native::with;
use prost_peerlet::{Peerlet, Request, Start};
use prost_sim::apps::{Guest, Home, Program, Runtime};

use crate::convert::{change, failure, id, message, verdict};
use crate::host;

/// Fuel that an event is said to take: fifty microseconds of virtual time.
const FUEL: u64 = 50_000;
/// Memory that an instance is said to have.
const MEMORY: u64 = 1 << 20;
/// Kinds of problems, and lines, that are remembered.
const REMEMBERED: usize = 1_000;

/// The instances on all nodes, by node.
pub(crate) struct Instances<P>(Arc<Mutex<BTreeMap<NodeId, Arc<Mutex<P>>>>>);

impl<P> Clone for Instances<P> {
    fn clone(&self) -> Instances<P> {
        Instances(Arc::clone(&self.0))
    }
}

impl<P> Default for Instances<P> {
    fn default() -> Instances<P> {
        Instances(Arc::default())
    }
}

impl<P> Instances<P> {
    pub(crate) fn with<T>(&self, node: NodeId, look: impl FnOnce(&P) -> T) -> Option<T> {
        let instance = lock(&self.0).get(&node).cloned()?;
        let instance = lock(&instance);
        Some(look(&instance))
    }
}

/// What went wrong in handlers, and what they logged.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    counts: Mutex<BTreeMap<String, u64>>,
    lines: Mutex<VecDeque<(prost_peerlet::NodeId, String)>>,
}

impl Problems {
    pub(crate) fn list(&self) -> BTreeMap<String, u64> {
        lock(&self.counts).clone()
    }

    pub(crate) fn lines(&self) -> VecDeque<(prost_peerlet::NodeId, String)> {
        lock(&self.lines).clone()
    }

    fn count(&self, problem: String) {
        let mut counts = lock(&self.counts);
        if counts.len() < REMEMBERED || counts.contains_key(&problem) {
            *counts.entry(problem).or_default() += 1;
        }
    }

    fn note(&self, node: NodeId, written: Vec<String>) {
        let mut lines = lock(&self.lines);
        lines.extend(written.into_iter().map(|line| (id(node), line)));
        let excess = lines.len().saturating_sub(REMEMBERED);
        lines.drain(..excess);
    }
}

/// Compiles whatever it is given to the one peerlet.
pub(crate) struct Native<P> {
    instances: Instances<P>,
    problems: Arc<Problems>,
}

impl<P> Native<P> {
    pub(crate) fn new(instances: Instances<P>, problems: Arc<Problems>) -> Native<P> {
        Native { instances, problems }
    }
}

impl<P: Peerlet + Default + Send + 'static> Runtime for Native<P> {
    fn compile(&mut self, _: &Bytes, _: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)> {
        Ok(Arc::new(Native { instances: self.instances.clone(), problems: Arc::clone(&self.problems) }))
    }
}

impl<P: Peerlet + Default + Send + 'static> Program for Native<P> {
    fn load(&self, home: &Home, grant: &Grant) -> Box<dyn Guest> {
        let instance = Arc::new(Mutex::new(P::default()));
        lock(&self.instances.0).insert(home.node, Arc::clone(&instance));
        let problems = Arc::clone(&self.problems);
        Box::new(Resident { instance, limits: grant.limits(), node: home.node, problems })
    }
}

/// The peerlet on one node.
struct Resident<P> {
    instance: Arc<Mutex<P>>,
    limits: Limits,
    node: NodeId,
    problems: Arc<Problems>,
}

impl<P: Peerlet + Default + Send + 'static> Guest for Resident<P> {
    fn run(&mut self, events: Vec<RunEvent>, records: SharedRecords, used: u64) -> Vec<Execution> {
        let mut overlay = Overlay::new(records);
        let mut executions = Vec::with_capacity(events.len());
        for RunEvent { event, mut context } in events {
            context.storage_used = used;
            let mut turn = Turn::new(self.limits.clone(), context.clone());
            turn.begin(context, overlay);
            let mut peerlet = lock(&self.instance);
            let (mut host, outcome) = with(host::Event::new(turn), || handle(&mut *peerlet, &event));
            drop(peerlet);
            let outcome = self.settle(&event, &host, outcome);
            let well = matches!(outcome, Outcome::Done | Outcome::Verdict(_));
            let (effects, writes);
            (overlay, effects, writes) = host.turn.end(well);
            if well {
                self.problems.note(self.node, host.lines);
            }
            let trapped = matches!(outcome, Outcome::Trapped(_));
            let receipt = Receipt { fuel: FUEL, memory_bytes: MEMORY, micros: 0 };
            executions.push(Execution { outcome, effects, writes, receipt });
            if trapped {
                *lock(&self.instance) = P::default();
                break;
            }
        }
        executions
    }
}

impl<P> Resident<P> {
    /// What the handler's return comes to, after all.
    fn settle(&self, event: &Event, host: &host::Event, outcome: Outcome) -> Outcome {
        let outcome = match host.excess {
            Some(excess) => {
                Outcome::Trapped(Trap { kind: TrapKind::TooManyEffects, message: excess.message().to_owned() })
            }
            None if host.turn.store_failed() => Outcome::Refused("the store failed".to_owned()),
            None => outcome,
        };
        match &outcome {
            Outcome::Refused(reason) => self.problems.count(format!("{} refused: {reason}", event.name())),
            Outcome::Trapped(trap) => self.problems.count(format!("{} trapped: {}", event.name(), trap.message)),
            Outcome::Done | Outcome::Verdict(_) => {}
        }
        outcome
    }
}

/// Gives the peerlet an event. `init` comes to one that has just been made.
fn handle<P: Peerlet + Default>(peerlet: &mut P, event: &Event) -> Outcome {
    let returned = match event {
        Event::Init(start) => {
            *peerlet = P::default();
            peerlet.init(Start {
                version: start.version.clone(),
                upgraded_from: start.upgraded_from.clone(),
                settings: start.settings.clone(),
            })
        }
        Event::Deliver(delivered) => peerlet.deliver(message(delivered)),
        Event::Serve(request) => {
            let (method, body) = (request.method.clone(), request.body.to_vec());
            peerlet.serve(Request { id: request.id, method, body })
        }
        Event::Forward { message: passing, next } => {
            return Outcome::Verdict(verdict(peerlet.forward(message(passing), id(*next))));
        }
        Event::Update(changed) => {
            peerlet.update(change(changed));
            Ok(())
        }
        Event::Fired { timer, tag } => {
            peerlet.fired(*timer, *tag);
            Ok(())
        }
        Event::Failed { message, reason } => {
            peerlet.failed(*message, failure(reason));
            Ok(())
        }
    };
    returned.map_or_else(|error| Outcome::Refused(String::from(error)), |()| Outcome::Done)
}

/// A test that panicked while it looked has its own message.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
