//! Running events: batches to the sandbox, writes to the store, and only then effects to the world.

use core::time::Duration;

use bytes::Bytes;
use prost_contract::{Context, Effect, Event, Execution, LogLevel, Outcome, Write};
use prost_kbr::{AppId, Dispatch, Failure, Handling, Refusal, RouteRequest};

use crate::app::{Answer, End, Phase, Uncommitted, Waiting};
use crate::install::push_init;
use crate::io::{CallFailure, NotDurable, Output, RunEvent};
use crate::node::Node;

/// Starts in a row that may fail before an application is left alone for a while.
const MAX_RESTARTS: u32 = 5;
/// Longest time ahead that a timer can be set.
const MAX_TIMER: Duration = Duration::from_secs(30 * 24 * 3600);

impl Node {
    /// Hands the application's next events to the sandbox, if none are under way.
    pub(crate) fn run_next(&mut self, id: &AppId) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        let runs = matches!(app.phase, Phase::Running | Phase::Starting);
        if !runs || !app.under_way.is_empty() || app.queue.is_empty() || app.paused_until > now {
            return;
        }
        let batch = app.take_batch();
        let limits = app.code.as_ref().map(|code| code.grant.limits()).unwrap_or_default();
        let used = app.usage.storage_bytes;
        app.under_way = batch.iter().cloned().collect();
        let view = self.ring.view();
        let mut events = Vec::with_capacity(batch.len());
        for waiting in batch {
            let context = Context {
                view: view.clone(),
                now_ms: self.now_ms(),
                monotonic_ns: now.as_micros().saturating_mul(1000),
                seed: self.event_seed(),
                first_id: self.next_id + 1,
                storage_used: used,
            };
            self.next_id += u64::from(limits.effects);
            events.push(RunEvent { event: waiting.event, context });
        }
        self.outbox.push_back(Output::Run { app: id.clone(), events });
    }

    fn event_seed(&self) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(&self.seed);
        hasher.update(&self.next_id.to_be_bytes());
        let digest = hasher.finalize();
        let (head, _) = digest.as_bytes().split_first_chunk::<8>().expect("a digest has eight bytes");
        u64::from_be_bytes(*head)
    }

    /// The sandbox has run a batch, or the part of it before a trap.
    pub(crate) fn on_ran(&mut self, id: &AppId, executions: Vec<Execution>) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let mut under_way = std::mem::take(&mut app.under_way);
        let mut writes = Vec::new();
        let mut trapped = false;
        let commit = self.next_commit + 1;
        for execution in executions {
            let Some(waiting) = under_way.pop_front() else { break };
            trapped |= matches!(execution.outcome, Outcome::Trapped(_));
            self.charge(id, &waiting, &execution);
            self.on_executed(id, waiting, execution, commit, &mut writes);
        }
        if let Some(app) = self.apps.get_mut(id) {
            app.put_back(under_way.into_iter());
        }
        if !writes.is_empty() {
            self.next_commit = commit;
            self.commits.insert(commit, id.clone());
            self.outbox.push_back(Output::Commit { commit, app: id.clone(), writes });
        }
        if trapped {
            self.restart(id);
        }
        self.release(id);
        self.ready.insert(id.clone());
    }

    fn charge(&mut self, id: &AppId, waiting: &Waiting, execution: &Execution) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        app.usage.calls += 1;
        app.usage.fuel += execution.receipt.fuel;
        app.usage.micros += execution.receipt.micros;
        app.usage.memory_bytes = execution.receipt.memory_bytes;
        app.fuel.charge(execution.receipt.fuel, now);
        app.paused_until = now + app.fuel.wait();
        let outcome = match &execution.outcome {
            Outcome::Done | Outcome::Verdict(_) => "ok",
            Outcome::Refused(_) => {
                app.usage.refusals += 1;
                "error"
            }
            Outcome::Trapped(trap) => {
                app.usage.traps += 1;
                trap.kind.name()
            }
        };
        let key = (id.clone(), waiting.event.name(), outcome);
        *self.stats.executions.entry(key).or_default() += 1;
    }

    /// One event has run: its end waits until what it wrote, and all before it, is durable.
    fn on_executed(&mut self, id: &AppId, waiting: Waiting, run: Execution, commit: u64, writes: &mut Vec<Write>) {
        let answer = waiting.answer;
        let end = match run.outcome {
            Outcome::Done => End::Done(answer),
            Outcome::Verdict(verdict) => End::Verdict(answer, verdict),
            Outcome::Refused(line) => End::Failed(answer, line),
            Outcome::Trapped(trap) => {
                let line = format!("{}: {}", trap.kind.name(), trap.message);
                self.log(id, LogLevel::Warn, format!("{} trapped: {line}", waiting.event.name()));
                End::Failed(answer, line)
            }
        };
        let wrote = !run.writes.is_empty();
        writes.extend(run.writes);
        if let Some(app) = self.apps.get_mut(id) {
            let commit = wrote.then_some(commit);
            app.uncommitted.push_back(Uncommitted { commit, effects: run.effects, end });
        }
    }

    /// After a trap the instance is gone: a new one starts from storage, later each time.
    fn restart(&mut self, id: &AppId) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        if !matches!(app.phase, Phase::Running | Phase::Starting) {
            return;
        }
        app.usage.memory_bytes = 0;
        app.upgraded_from = None;
        app.restarts += 1;
        app.phase = Phase::Starting;
        app.queue.retain(|waiting| waiting.answer != Answer::Start);
        push_init(app);
        if app.restarts > 1 {
            let pause = Duration::from_millis(10) * 2u32.saturating_pow(app.restarts.min(10));
            app.paused_until = app.paused_until.max(now + pause);
        }
    }

    /// The store has answered.
    pub(crate) fn on_committed(&mut self, commit: u64, result: Result<u64, NotDurable>) {
        let Some(id) = self.commits.remove(&commit) else { return };
        let Some(app) = self.apps.get_mut(&id) else { return };
        match result {
            Ok(used) => {
                app.usage.storage_bytes = used;
                for uncommitted in app.uncommitted.iter_mut().filter(|entry| entry.commit == Some(commit)) {
                    uncommitted.commit = None;
                }
            }
            Err(NotDurable) => {
                for entry in std::mem::take(&mut app.uncommitted) {
                    self.end(&id, entry.end.into_answer(), Err(Failure::NotDurable));
                }
            }
        }
        self.release(&id);
    }

    /// Lets the effects go that wait for nothing any more, in order.
    fn release(&mut self, id: &AppId) {
        loop {
            let Some(app) = self.apps.get_mut(id) else { return };
            if app.uncommitted.front().is_none_or(|entry| entry.commit.is_some()) {
                return;
            }
            let Some(entry) = app.uncommitted.pop_front() else { return };
            entry.effects.into_iter().for_each(|effect| self.apply(id, effect));
            match entry.end {
                End::Done(Answer::Start) => self.on_started(id),
                End::Done(answer) => self.end(id, answer, Ok(())),
                End::Verdict(answer, verdict) => self.end_passage(answer, verdict),
                End::Failed(Answer::Start, line) => self.on_start_failed(id, line),
                End::Failed(answer, line) => self.end(id, answer, Err(Failure::HandlerFailed(line))),
            }
        }
    }

    fn on_start_failed(&mut self, id: &AppId, line: String) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let first = !app.recorded;
        if first || app.restarts > MAX_RESTARTS {
            self.outbox.push_back(Output::Stop(id.clone()));
            self.fail(id, Refusal::InitFailed, line);
        } else {
            app.phase = Phase::Starting;
            app.queue.retain(|waiting| waiting.answer != Answer::Start);
            push_init(app);
        }
    }

    /// Tells whoever waits for an event how it ended.
    fn end(&mut self, id: &AppId, answer: Answer, result: Result<(), Failure>) {
        match answer {
            Answer::None | Answer::Start => {
                if let Err(Failure::HandlerFailed(line)) = result {
                    self.log(id, LogLevel::Warn, line);
                }
            }
            Answer::Delivery { origin, id } => {
                let handling = result.map_or_else(Handling::Failed, |()| Handling::Done);
                self.ring.handle(self.now, prost_kbr::Input::Handled { origin, id, handling });
            }
            Answer::Passage { .. } => self.end_passage(answer, prost_contract::Verdict::Pass),
            Answer::Call(call) => match result {
                Ok(()) => {}
                Err(Failure::HandlerFailed(line)) => self.respond(call, Err(CallFailure::Application(line))),
                Err(failure) => self.respond(call, Err(CallFailure::Failed(failure))),
            },
        }
    }

    fn end_passage(&mut self, answer: Answer, verdict: prost_contract::Verdict) {
        let Answer::Passage { origin, id } = answer else { return };
        let verdict = match verdict {
            prost_contract::Verdict::Pass => prost_kbr::Verdict::Pass,
            prost_contract::Verdict::Stop => prost_kbr::Verdict::Stop,
            prost_contract::Verdict::Rewrite { key, payload, next } => {
                prost_kbr::Verdict::Rewrite { key, payload, next }
            }
        };
        self.ring.handle(self.now, prost_kbr::Input::Verdict { origin, id, verdict });
    }

    fn apply(&mut self, id: &AppId, effect: Effect) {
        match effect {
            Effect::Route { id: message, key, payload, dispatch, hint } => {
                self.send(id, message, Some(key), payload, dispatch, hint);
            }
            Effect::Send { id: message, to, payload } => {
                self.send(id, message, None, payload, Dispatch::EndNode, Some(to));
            }
            Effect::Watch(node) => {
                if let Some(app) = self.apps.get_mut(id) {
                    app.watching.insert(node);
                    self.ring.watch(node);
                }
            }
            Effect::Unwatch(node) => self.unwatch(id, node),
            Effect::SetTimer { timer, after_ms, tag } => self.set_timer(id, timer, after_ms, tag),
            Effect::CancelTimer(timer) => self.cancel_timer(id, timer),
            Effect::Respond { request, outcome } => {
                if self.owns_call(id, request) {
                    self.respond(request, outcome.map_err(CallFailure::Application));
                }
            }
            Effect::Push { request, item } => {
                if self.owns_call(id, request) {
                    self.outbox.push_back(Output::Push { call: request, item });
                }
            }
            Effect::Log { level, line } => self.log(id, level, line),
        }
    }

    fn send(
        &mut self,
        id: &AppId,
        message: u64,
        key: Option<prost_kbr::Key>,
        payload: Bytes,
        dispatch: Dispatch,
        hint: Option<prost_kbr::NodeId>,
    ) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = &app.code else { return };
        let header = code.header.clone();
        if !(app.messages.take(1, now) && app.bytes.take(payload.len() as u64, now)) {
            app.usage.over_budget += 1;
            return self.tell(id, Event::Failed { message, reason: Failure::Overloaded });
        }
        app.usage.messages += 1;
        app.usage.bytes_sent += payload.len() as u64;
        self.route(id, RouteRequest { id: message, key, dispatch, header, payload, hint, deadline: None });
    }

    fn unwatch(&mut self, id: &AppId, node: prost_kbr::NodeId) {
        if let Some(app) = self.apps.get_mut(id) {
            app.watching.remove(&node);
        }
        if !self.apps.values().any(|app| app.watching.contains(&node)) {
            self.ring.unwatch(node);
        }
    }

    fn set_timer(&mut self, id: &AppId, timer: u64, after_ms: u64, tag: u64) {
        let at = self.now + Duration::from_millis(after_ms.max(1)).min(MAX_TIMER);
        let Some(app) = self.apps.get_mut(id) else { return };
        let most = app.code.as_ref().map_or(0, |code| u64::from(code.grant.budgets.timers));
        if app.usage.timers >= most {
            app.usage.over_budget += 1;
            return self.log(id, LogLevel::Warn, format!("a timer was dropped: {most} are set already"));
        }
        app.usage.timers += 1;
        self.timers.insert((at, timer), (id.clone(), tag));
        self.timer_index.insert(timer, at);
    }

    fn cancel_timer(&mut self, id: &AppId, timer: u64) {
        let Some(at) = self.timer_index.get(&timer).copied() else { return };
        if self.timers.get(&(at, timer)).is_some_and(|(owner, _)| owner == id) {
            self.timers.remove(&(at, timer));
            self.timer_index.remove(&timer);
            if let Some(app) = self.apps.get_mut(id) {
                app.usage.timers = app.usage.timers.saturating_sub(1);
            }
        }
    }

    fn owns_call(&self, id: &AppId, call: u64) -> bool {
        self.calls.get(&call).is_some_and(|(owner, _)| owner == id)
    }
}

impl End {
    pub(crate) fn into_answer(self) -> Answer {
        match self {
            End::Done(answer) | End::Verdict(answer, _) | End::Failed(answer, _) => answer,
        }
    }
}
