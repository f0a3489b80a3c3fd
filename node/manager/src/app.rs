//! One application on this node: its code, its queue, what it has under way.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use prost_contract::{Effect, Event};
use prost_kbr::{AppId, NodeId, Refusal, Time};
use prost_package::{Grant, Package};

use crate::fetch::Fetch;
use crate::ledger::{Allowance, Usage};
use crate::status::Source;

/// Messages that wait for an application to be installed.
pub(crate) const MAX_PARKED: usize = 1024;
/// Payload bytes that wait for an application to be installed.
pub(crate) const MAX_PARKED_BYTES: usize = 16 << 20;
/// Events handed to the sandbox at once.
pub(crate) const BATCH: usize = 32;

/// Whom the end of an event is told to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nobody.
    None,
    /// `init`: the application starts to run.
    Start,
    /// Routing: a delivered message.
    Delivery { origin: NodeId, id: u64 },
    /// Routing: a message that passes through.
    Passage { origin: NodeId, id: u64 },
    /// A local program.
    Call(u64),
}

/// An event that waits or runs.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    pub(crate) event: Event,
    pub(crate) answer: Answer,
}

/// The effects of an event that ran well, until its writes are durable. In order for an application.
#[derive(Debug)]
pub(crate) struct Uncommitted {
    /// The commit to wait for; none where nothing was written.
    pub(crate) commit: Option<u64>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) end: End,
}

/// What is told once the effects may leave.
#[derive(Debug)]
pub(crate) enum End {
    /// The handler returned.
    Done(Answer),
    /// `forward` returned.
    Verdict(Answer, prost_contract::Verdict),
    /// The handler failed, with one line.
    Failed(Answer, String),
}

/// How far an application is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Its manifest or code is on the way.
    Fetching(Box<Fetch>),
    /// The compiler has it.
    Compiling,
    /// `init` runs or waits to.
    Starting,
    /// It runs.
    Running,
    /// It cannot run; not tried again before this.
    Failed { refusal: Refusal, until: Time },
}

/// The code of an application.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) package: Package,
    pub(crate) grant: Grant,
    /// The header that its messages carry, encoded once.
    pub(crate) header: Bytes,
    pub(crate) source: Source,
    pub(crate) from: Option<NodeId>,
}

/// One application on this node.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) phase: Phase,
    pub(crate) code: Option<Code>,
    pub(crate) upgraded_from: Option<String>,
    /// Waits for the application to run.
    pub(crate) queue: VecDeque<Waiting>,
    pub(crate) queued_bytes: usize,
    /// Handed to the sandbox, in order; empty when none is under way.
    pub(crate) under_way: VecDeque<Waiting>,
    pub(crate) uncommitted: VecDeque<Uncommitted>,
    pub(crate) usage: Usage,
    pub(crate) fuel: Allowance,
    pub(crate) messages: Allowance,
    pub(crate) bytes: Allowance,
    pub(crate) watching: BTreeSet<NodeId>,
    /// Install requests of the operator that wait for it.
    pub(crate) installs: Vec<u64>,
    pub(crate) wanted_since: Time,
    /// Starts in a row that failed or trapped.
    pub(crate) restarts: u32,
    /// Not run before this: the fuel budget must refill.
    pub(crate) paused_until: Time,
    /// Whether this run of the node has recorded its installation.
    pub(crate) recorded: bool,
}

impl App {
    pub(crate) fn new(id: AppId, phase: Phase, now: Time) -> App {
        App {
            id,
            phase,
            code: None,
            upgraded_from: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            under_way: VecDeque::new(),
            uncommitted: VecDeque::new(),
            usage: Usage::default(),
            fuel: Allowance::new(0, now),
            messages: Allowance::new(0, now),
            bytes: Allowance::new(0, now),
            watching: BTreeSet::new(),
            installs: Vec::new(),
            wanted_since: now,
            restarts: 0,
            paused_until: now,
            recorded: false,
        }
    }

    /// Gives the application its code and the budgets it was granted.
    pub(crate) fn set_code(&mut self, code: Code, now: Time) {
        let budgets = &code.grant.budgets;
        self.fuel = Allowance::new(budgets.fuel_per_second, now);
        self.messages = Allowance::new(budgets.messages_per_second, now);
        self.bytes = Allowance::new(budgets.bytes_per_second, now);
        self.upgraded_from = self.code.take().map(|old| old.package.manifest.manifest().version.to_string());
        self.code = Some(code);
    }

    /// Queues an event; gives it back where the queue is full.
    pub(crate) fn enqueue(&mut self, waiting: Waiting) -> Result<(), Waiting> {
        let bytes = payload_bytes(&waiting.event);
        let most = self.code.as_ref().map_or(MAX_PARKED, |code| code.grant.budgets.queue as usize);
        if self.queue.len() >= most || self.queued_bytes + bytes > MAX_PARKED_BYTES {
            return Err(waiting);
        }
        self.queued_bytes += bytes;
        self.queue.push_back(waiting);
        Ok(())
    }

    /// Takes the next events to run.
    pub(crate) fn take_batch(&mut self) -> Vec<Waiting> {
        let count = self.queue.len().min(BATCH);
        let batch: Vec<Waiting> = self.queue.drain(..count).collect();
        self.queued_bytes -= batch.iter().map(|waiting| payload_bytes(&waiting.event)).sum::<usize>();
        batch
    }

    /// Puts events back that did not run, before all others.
    pub(crate) fn put_back(&mut self, batch: impl DoubleEndedIterator<Item = Waiting>) {
        for waiting in batch.rev() {
            self.queued_bytes += payload_bytes(&waiting.event);
            self.queue.push_front(waiting);
        }
    }

    /// Takes everything that waits.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        self.queued_bytes = 0;
        self.queue.drain(..).collect()
    }
}

fn payload_bytes(event: &Event) -> usize {
    match event {
        Event::Deliver(message) | Event::Forward { message, .. } => message.payload.len(),
        Event::Serve(request) => request.body.len() + request.method.len(),
        Event::Init(_) | Event::Update(_) | Event::Fired { .. } | Event::Failed { .. } => 0,
    }
}
