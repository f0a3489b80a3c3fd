//! One application on this node: its code, its queue, what it has under way.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use prost_contract::{Effect, Event, Start, Verdict};
use prost_kbr::{AppId, NodeId, Refusal, Time};
use prost_package::{Chunks, Grant, Manifest, Package};

use crate::fetch::Fetch;
use crate::ledger::{Allowance, LogBudget, Recent, Usage};
use crate::saving::Saved;
use crate::status::Source;
use crate::upgrade::Upgrade;

/// Messages that wait for an application to be installed.
const MAX_PARKED: usize = 1024;
/// Payload bytes that wait for an application.
const MAX_QUEUED_BYTES: usize = 16 << 20;
/// Places in the queue, beyond those for messages and calls, for changes of the neighbourhood and refused sends.
const MAX_NEWS: usize = 1024;
/// Messages of one application whose outcome is not known to it yet: a quarter of what the routing layer has room for.
pub(crate) const MAX_IN_FLIGHT: usize = 16_384;
/// Events handed to the sandbox at once.
const BATCH: u64 = 32;
/// Events whose effects wait for the disk, and their bytes: from there on nothing more is run.
const MAX_UNCOMMITTED: usize = 256;
const MAX_UNCOMMITTED_BYTES: usize = 16 << 20;
/// The first pause of an application that fails again and again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// How often the pause doubles: ten seconds in the end.
const MAX_DOUBLINGS: u32 = 9;

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

/// The effects of an event that has run, until its writes are durable. In order for an application.
#[derive(Debug, Clone)]
pub(crate) struct Uncommitted {
    /// The commit to wait for; none where nothing was written, or it is durable.
    pub(crate) commit: Option<u64>,
    /// Keyed writes that other replicas must have first.
    pub(crate) spreads: BTreeSet<u64>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) end: End,
    bytes: usize,
}

impl Uncommitted {
    pub(crate) fn new(written: usize, effects: Vec<Effect>, end: End) -> Uncommitted {
        let bytes = written + effects.iter().map(effect_bytes).sum::<usize>();
        Uncommitted { commit: None, spreads: BTreeSet::new(), effects, end, bytes }
    }
}

/// What is told once the effects may leave.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The handler returned.
    Done(Answer),
    /// `forward` returned.
    Verdict(Answer, Verdict),
    /// The handler returned an error, with one line.
    Refused(Answer, String),
    /// The handler did not return.
    Trapped(Answer, String),
}

impl End {
    pub(crate) fn answer(&mut self) -> &mut Answer {
        match self {
            End::Done(answer) | End::Verdict(answer, _) | End::Refused(answer, _) | End::Trapped(answer, _) => answer,
        }
    }

    pub(crate) fn into_answer(mut self) -> Answer {
        std::mem::replace(self.answer(), Answer::None)
    }
}

/// How far an application is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Its manifest or code is on the way.
    Fetching(Box<Fetch>),
    /// The compiler has it.
    Compiling,
    /// `init` waits, runs, or waits for its writes to be durable.
    Starting,
    /// It runs.
    Running,
    /// It cannot run; not tried again before this.
    Failed { refusal: Refusal, until: Time },
}

/// The code of an application.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) package: Package,
    /// What others need to check each chunk of it.
    pub(crate) chunks: Chunks,
    pub(crate) grant: Grant,
    /// The header that its messages carry, encoded once.
    pub(crate) header: Bytes,
    pub(crate) source: Source,
    pub(crate) from: Option<NodeId>,
    /// Whether it will be there after a restart.
    pub(crate) saved: Saved,
    /// Whether its installation has been recorded.
    pub(crate) recorded: bool,
}

impl Code {
    pub(crate) fn manifest(&self) -> &Manifest {
        self.package.manifest.manifest()
    }
}

/// One application on this node.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) phase: Phase,
    pub(crate) code: Option<Code>,
    /// The code that ran before an upgrade, until the new one has started.
    pub(crate) previous: Option<Code>,
    pub(crate) upgraded_from: Option<String>,
    queue: VecDeque<Waiting>,
    queued_bytes: usize,
    /// Handed to the sandbox, in order; empty when none is under way.
    pub(crate) under_way: VecDeque<Waiting>,
    uncommitted: VecDeque<Uncommitted>,
    uncommitted_bytes: usize,
    pub(crate) usage: Usage,
    pub(crate) recent_fuel: Recent,
    pub(crate) log: LogBudget,
    pub(crate) fuel: Allowance,
    pub(crate) messages: Allowance,
    pub(crate) bytes: Allowance,
    /// Bytes that its events may write.
    written: Allowance,
    /// Events of its own making that it may still be given.
    own_events: Allowance,
    /// Messages it has sent whose outcome it does not know yet.
    pub(crate) in_flight: usize,
    pub(crate) watching: BTreeSet<NodeId>,
    /// Install requests of the operator that wait for it.
    pub(crate) installs: Vec<u64>,
    pub(crate) wanted_since: Time,
    /// Failures since an event last ran well: traps, failed starts, lost writes.
    pub(crate) restarts: u32,
    /// Not run before this: the fuel budget must refill, or a failing application is given time.
    pub(crate) paused_until: Time,
    /// Whether the code has ever started on this node.
    pub(crate) started: bool,
    /// Whether the records that it keeps at the keys of this node's range are still on their way here.
    pub(crate) settling: bool,
    pub(crate) upgrade: Upgrade,
}

impl App {
    pub(crate) fn new(id: AppId, phase: Phase, now: Time) -> App {
        App {
            id,
            phase,
            code: None,
            previous: None,
            upgraded_from: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            under_way: VecDeque::new(),
            uncommitted: VecDeque::new(),
            uncommitted_bytes: 0,
            usage: Usage::default(),
            recent_fuel: Recent::default(),
            log: LogBudget::new(now),
            fuel: Allowance::new(0, now),
            messages: Allowance::new(0, now),
            bytes: Allowance::new(0, now),
            written: Allowance::of_writes(0, now),
            own_events: Allowance::of_own_events(now),
            in_flight: 0,
            watching: BTreeSet::new(),
            installs: Vec::new(),
            wanted_since: now,
            restarts: 0,
            paused_until: now,
            started: false,
            settling: false,
            upgrade: Upgrade::default(),
        }
    }

    /// What is being fetched for it: its code, or that of a later version.
    pub(crate) fn fetch(&self) -> Option<&Fetch> {
        match &self.phase {
            Phase::Fetching(fetch) => Some(fetch),
            _ => self.upgrade.fetch.as_deref(),
        }
    }

    pub(crate) fn fetch_mut(&mut self) -> Option<&mut Fetch> {
        match &mut self.phase {
            Phase::Fetching(fetch) => Some(fetch),
            _ => self.upgrade.fetch.as_deref_mut(),
        }
    }

    /// Tried anew, it goes on with the account of the attempt that failed.
    pub(crate) fn take_account(&mut self, failed: App) {
        (self.usage, self.recent_fuel, self.log) = (failed.usage, failed.recent_fuel, failed.log);
    }

    /// Gives the application its code. What has run until now is kept until this has started.
    pub(crate) fn set_code(&mut self, code: Code, now: Time) {
        let old = self.code.replace(code).filter(|_| self.started);
        if let Some(old) = old {
            let same = self.code.as_ref().is_some_and(|code| code.package.manifest == old.package.manifest);
            self.upgraded_from = (!same).then(|| old.manifest().version.to_string());
            self.previous = Some(old);
        }
        self.started = false;
        self.restarts = 0;
        self.refill(now);
    }

    /// Begins the budgets of the grant anew.
    pub(crate) fn refill(&mut self, now: Time) {
        let Some(code) = &self.code else { return };
        let budgets = &code.grant.budgets;
        self.fuel = Allowance::new(budgets.fuel_per_second, now);
        self.messages = Allowance::new(budgets.messages_per_second, now);
        self.bytes = Allowance::new(budgets.bytes_per_second, now);
        self.written = Allowance::of_writes(budgets.written_bytes_per_second, now);
        self.paused_until = now;
    }

    /// Whether it has code that runs or is about to.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Compiling | Phase::Starting | Phase::Running)
    }

    /// Events that wait or run.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len() + self.under_way.len()
    }

    /// Queues a message or a call; where the queue is full, says who waits for it.
    pub(crate) fn enqueue(&mut self, waiting: Waiting) -> Result<(), Answer> {
        self.push(waiting, self.queue_limit())
    }

    /// Queues news; says whether there was room. Messages cannot crowd it out.
    pub(crate) fn enqueue_news(&mut self, event: Event) -> bool {
        self.push(Waiting { event, answer: Answer::None }, self.queue_limit() + MAX_NEWS).is_ok()
    }

    /// Queues an outcome or a timer; says whether there was room. As both count as under way until the application has
    /// been told, there is.
    pub(crate) fn enqueue_due(&mut self, event: Event) -> bool {
        let timers = self.code.as_ref().map_or(0, |code| code.grant.budgets.timers as usize);
        let most = self.queue_limit() + MAX_NEWS + MAX_IN_FLIGHT + timers + BATCH as usize;
        self.push(Waiting { event, answer: Answer::None }, most).is_ok()
    }

    /// The application has been told, or never will be: what the event stood for is over.
    pub(crate) fn told(&mut self, event: &Event) {
        match event {
            Event::Failed { .. } => self.in_flight = self.in_flight.saturating_sub(1),
            Event::Fired { .. } => self.usage.timers = self.usage.timers.saturating_sub(1),
            Event::Init(_) | Event::Deliver(_) | Event::Forward { .. } | Event::Update(_) | Event::Serve(_) => {}
        }
    }

    /// An event has run that burnt and wrote so much: where that was more than it may, the next one waits.
    pub(crate) fn charge(&mut self, event: &Event, fuel: u64, written: u64, now: Time) {
        self.recent_fuel.add(fuel, now);
        self.fuel.charge(fuel, now);
        self.own_events.charge(u64::from(matches!(event, Event::Fired { .. } | Event::Failed { .. })), now);
        self.written.charge(written, now);
        let wait = self.fuel.wait().max(self.own_events.wait()).max(self.written.wait());
        self.paused_until = self.paused_until.max(now + wait);
    }

    fn queue_limit(&self) -> usize {
        self.code.as_ref().map_or(MAX_PARKED, |code| code.grant.budgets.queue as usize)
    }

    fn push(&mut self, waiting: Waiting, most: usize) -> Result<(), Answer> {
        let bytes = event_bytes(&waiting.event);
        if self.queue.len() >= most || bytes > 0 && self.queued_bytes + bytes > MAX_QUEUED_BYTES {
            return Err(waiting.answer);
        }
        self.queued_bytes += bytes;
        self.queue.push_back(waiting);
        Ok(())
    }

    /// When it can run what waits: perhaps at once; none where something else must happen first.
    pub(crate) fn runnable_at(&self) -> Option<Time> {
        let waits = match self.phase {
            Phase::Running => !self.queue.is_empty() && !self.settling,
            Phase::Starting => self.init_waits(),
            Phase::Fetching(_) | Phase::Compiling | Phase::Failed { .. } => false,
        };
        (waits && self.under_way.is_empty() && !self.is_congested()).then_some(self.paused_until)
    }

    /// Too much waits for the disk.
    fn is_congested(&self) -> bool {
        self.uncommitted.len() >= MAX_UNCOMMITTED || self.uncommitted_bytes >= MAX_UNCOMMITTED_BYTES
    }

    fn init_waits(&self) -> bool {
        self.queue.front().is_some_and(|waiting| waiting.answer == Answer::Start)
    }

    /// Takes the next events to run: `init` alone, as nothing may run before it has succeeded; otherwise as many as
    /// the fuel that is left covers should each use all it may, and one at least.
    pub(crate) fn take_batch(&mut self, now: Time) -> Vec<Waiting> {
        let most = if self.init_waits() {
            1
        } else {
            let fuel = self.code.as_ref().map_or(1, |code| code.grant.budgets.fuel_per_event.max(1));
            (self.fuel.left(now) / fuel).clamp(1, BATCH) as usize
        };
        let count = self.queue.len().min(most);
        let batch: Vec<Waiting> = self.queue.drain(..count).collect();
        self.queued_bytes -= batch.iter().map(|waiting| event_bytes(&waiting.event)).sum::<usize>();
        batch
    }

    /// Puts events back that did not run, before all others.
    pub(crate) fn put_back(&mut self, batch: impl DoubleEndedIterator<Item = Waiting>) {
        for waiting in batch.rev() {
            self.queued_bytes += event_bytes(&waiting.event);
            self.queue.push_front(waiting);
        }
    }

    /// Takes everything that waits.
    pub(crate) fn take_all(&mut self) -> Vec<Waiting> {
        self.queued_bytes = 0;
        self.queue.drain(..).collect()
    }

    /// Puts `init` before everything that waits.
    pub(crate) fn push_init(&mut self) {
        let Some(code) = &self.code else { return };
        let start = Start {
            version: code.manifest().version.to_string(),
            upgraded_from: self.upgraded_from.clone(),
            settings: Vec::new(),
        };
        self.queue.push_front(Waiting { event: Event::Init(start), answer: Answer::Start });
    }

    /// The instance is gone: an `init` that waits or has run was not for the next one.
    pub(crate) fn drop_init(&mut self) {
        self.queue.retain(|waiting| waiting.answer != Answer::Start);
        for entry in &mut self.uncommitted {
            if *entry.end.answer() == Answer::Start {
                *entry.end.answer() = Answer::None;
            }
        }
    }

    /// Something has failed again: the next attempt waits, longer each time.
    pub(crate) fn back_off(&mut self, now: Time) {
        self.restarts = self.restarts.saturating_add(1);
        if self.restarts > 1 {
            let pause = FIRST_PAUSE * 2u32.pow((self.restarts - 2).min(MAX_DOUBLINGS));
            self.paused_until = self.paused_until.max(now + pause);
        }
    }

    pub(crate) fn push_uncommitted(&mut self, entry: Uncommitted) {
        self.uncommitted_bytes += entry.bytes;
        self.uncommitted.push_back(entry);
    }

    /// This commit is durable.
    pub(crate) fn committed(&mut self, commit: u64) {
        if let Some(entry) = self.uncommitted.iter_mut().find(|entry| entry.commit == Some(commit)) {
            entry.commit = None;
        }
    }

    /// Enough replicas have what this spread brought them.
    pub(crate) fn spread(&mut self, number: u64) {
        for entry in &mut self.uncommitted {
            entry.spreads.remove(&number);
        }
    }

    /// Takes the first event whose effects wait for nothing any more, and for no other's.
    pub(crate) fn pop_durable(&mut self) -> Option<Uncommitted> {
        self.uncommitted.front().filter(|entry| entry.commit.is_none() && entry.spreads.is_empty())?;
        let entry = self.uncommitted.pop_front()?;
        self.uncommitted_bytes -= entry.bytes;
        Some(entry)
    }

    /// Takes the first event of which this holds and all that ran after it.
    pub(crate) fn take_from(&mut self, lost: impl Fn(&Uncommitted) -> bool) -> VecDeque<Uncommitted> {
        let at = self.uncommitted.iter().position(lost);
        let taken = self.uncommitted.split_off(at.unwrap_or(self.uncommitted.len()));
        self.uncommitted_bytes -= taken.iter().map(|entry| entry.bytes).sum::<usize>();
        taken
    }

    /// Takes everything that waits for the disk.
    pub(crate) fn take_uncommitted(&mut self) -> VecDeque<Uncommitted> {
        self.uncommitted_bytes = 0;
        std::mem::take(&mut self.uncommitted)
    }
}

fn event_bytes(event: &Event) -> usize {
    match event {
        Event::Deliver(message) | Event::Forward { message, .. } => message.payload.len(),
        Event::Serve(request) => request.body.len() + request.method.len(),
        Event::Init(_) | Event::Update(_) | Event::Fired { .. } | Event::Failed { .. } => 0,
    }
}

fn effect_bytes(effect: &Effect) -> usize {
    match effect {
        Effect::Route { payload, .. } | Effect::Send { payload, .. } => payload.len(),
        Effect::Respond { outcome, .. } => outcome.as_ref().map_or_else(String::len, Bytes::len),
        Effect::Push { item, .. } => item.len(),
        Effect::Log { line, .. } => line.len(),
        Effect::Watch(_) | Effect::Unwatch(_) | Effect::SetTimer { .. } | Effect::CancelTimer(_) => 0,
    }
}
