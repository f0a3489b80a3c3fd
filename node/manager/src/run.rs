//! Running events: batches to the sandbox, writes to the store, and only then effects to the world.

use core::time::Duration;

use prost_contract::{Context, Execution, LogLevel, Outcome};
use prost_kbr::{AppId, Failure, Handling, Verdict};

use crate::app::{Answer, End, Phase, Uncommitted, Waiting};
use crate::io::{CallFailure, NotDurable, Output, RunEvent};
use crate::node::Node;

/// How long an application whose writes were not taken is given for the disk to catch up.
const DISK_PAUSE: Duration = Duration::from_millis(500);

/// Why an instance cannot go on.
enum Fault {
    /// `init` failed, with one line.
    Init { line: String, gone: bool },
    /// Another handler trapped.
    Trap,
}

impl Node {
    /// Hands the application's next events to the sandbox, if none are under way.
    pub(crate) fn run_next(&mut self, id: &AppId) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        if app.runnable_at().is_none_or(|at| at > now) {
            return;
        }
        let batch = app.take_batch(now);
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
                first_id: self.take_ids(limits.effects),
                storage_used: used,
            };
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
        let mut fault = None;
        for execution in executions {
            let Some(waiting) = under_way.pop_front() else { break };
            self.charge(id, &waiting, &execution);
            fault = self.on_executed(id, waiting, execution);
            if fault.is_some() {
                break;
            }
        }
        if let Some(app) = self.apps.get_mut(id) {
            app.put_back(under_way.into_iter());
        }
        match fault {
            None => {}
            Some(Fault::Init { line, gone }) => self.on_start_failed(id, line, gone),
            Some(Fault::Trap) => {
                let now = self.now;
                if let Some(app) = self.apps.get_mut(id) {
                    app.back_off(now);
                }
                self.restart(id);
            }
        }
        self.release(id);
        self.ready.insert(id.clone());
    }

    fn charge(&mut self, id: &AppId, waiting: &Waiting, execution: &Execution) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        app.told(&waiting.event);
        app.usage.calls += 1;
        app.usage.fuel += execution.receipt.fuel;
        app.usage.micros += execution.receipt.micros;
        app.usage.memory_bytes = execution.receipt.memory_bytes;
        app.recent_fuel.add(execution.receipt.fuel, now);
        app.fuel.charge(execution.receipt.fuel, now);
        app.paused_until = app.paused_until.max(now + app.fuel.wait());
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
        if waiting.answer != Answer::Start && !matches!(execution.outcome, Outcome::Trapped(_)) {
            app.restarts = 0;
        }
        let key = (id.clone(), waiting.event.name(), outcome);
        *self.stats.executions.entry(key).or_default() += 1;
    }

    /// One event has run: its writes go to the store, and its end waits until they, and all before them, are durable.
    fn on_executed(&mut self, id: &AppId, waiting: Waiting, run: Execution) -> Option<Fault> {
        let (name, answer) = (waiting.event.name(), waiting.answer);
        let end = match (run.outcome, answer) {
            (Outcome::Trapped(trap), answer) => {
                let line = format!("{}: {}", trap.kind.name(), trap.message);
                if answer == Answer::Start {
                    return Some(Fault::Init { line, gone: true });
                }
                self.note(id, LogLevel::Warn, format!("{name} trapped: {line}"));
                self.push_uncommitted(id, Uncommitted::new(None, &[], Vec::new(), End::Trapped(answer, line)));
                return Some(Fault::Trap);
            }
            (Outcome::Refused(line), Answer::Start) => return Some(Fault::Init { line, gone: false }),
            (Outcome::Refused(line), answer) => {
                self.push_uncommitted(id, Uncommitted::new(None, &[], Vec::new(), End::Refused(answer, line)));
                return None;
            }
            (Outcome::Verdict(verdict), answer @ Answer::Passage { .. }) => End::Verdict(answer, verdict),
            (Outcome::Done | Outcome::Verdict(_), answer) => End::Done(answer),
        };
        let commit = (!run.writes.is_empty()).then(|| self.take_commit(id));
        self.push_uncommitted(id, Uncommitted::new(commit, &run.writes, run.effects, end));
        if let Some(commit) = commit {
            self.outbox.push_back(Output::Commit { commit, app: id.clone(), writes: run.writes });
        }
        None
    }

    fn push_uncommitted(&mut self, id: &AppId, entry: Uncommitted) {
        if let Some(app) = self.apps.get_mut(id) {
            app.push_uncommitted(entry);
        }
    }

    /// The store has answered.
    pub(crate) fn on_committed(&mut self, commit: u64, result: Result<u64, NotDurable>) {
        let Some(id) = self.commits.remove(&commit) else { return };
        let Some(app) = self.apps.get_mut(&id) else { return };
        match result {
            Ok(used) => {
                app.usage.storage_bytes = used;
                app.committed(commit);
            }
            Err(NotDurable) => self.on_not_durable(&id, commit),
        }
        self.release(&id);
        self.ready.insert(id);
    }

    /// Writes are lost. The event that made them has not happened, nor has any that ran after it and may have read
    /// them; the instance remembers them and goes too.
    fn on_not_durable(&mut self, id: &AppId, commit: u64) {
        let until = self.now + DISK_PAUSE;
        let Some(app) = self.apps.get_mut(id) else { return };
        let lost = app.take_from(commit);
        app.paused_until = app.paused_until.max(until);
        let runs = matches!(app.phase, Phase::Running | Phase::Starting);
        self.outbox.retain(|output| !matches!(output, Output::Commit { app, .. } if app == id));
        let mut starting = false;
        for mut entry in lost {
            if let Some(commit) = entry.commit {
                self.commits.remove(&commit);
            }
            starting |= *entry.end.answer() == Answer::Start;
            self.end(id, entry.end.into_answer(), Err(Failure::NotDurable));
        }
        if starting {
            self.on_start_failed(id, Failure::NotDurable.to_string(), false);
        } else if runs {
            self.halt(id);
            self.start_compile(id);
        }
    }

    /// Lets the effects go that wait for nothing any more, in order.
    fn release(&mut self, id: &AppId) {
        while let Some(entry) = self.apps.get_mut(id).and_then(crate::app::App::pop_durable) {
            self.apply_all(id, entry.effects);
            match entry.end {
                End::Done(Answer::Start) => self.on_started(id),
                End::Done(answer) => self.end(id, answer, Ok(())),
                End::Verdict(answer, verdict) => self.end_passage(answer, verdict),
                End::Refused(Answer::Call(call), line) => self.respond(call, Err(CallFailure::Application(line))),
                End::Refused(answer, line) | End::Trapped(answer, line) => {
                    self.end(id, answer, Err(Failure::HandlerFailed(line)));
                }
            }
        }
    }

    /// Tells whoever waits for an event how it ended.
    fn end(&mut self, id: &AppId, answer: Answer, result: Result<(), Failure>) {
        match answer {
            Answer::None | Answer::Start => {
                if let Err(failure) = result {
                    self.note(id, LogLevel::Warn, failure.to_string());
                }
            }
            Answer::Delivery { origin, id } => {
                let handling = result.map_or_else(Handling::Failed, |()| Handling::Done);
                self.ring.handle(self.now, prost_kbr::Input::Handled { origin, id, handling });
            }
            Answer::Passage { .. } => self.end_passage(answer, Verdict::Pass),
            Answer::Call(call) => {
                if let Err(failure) = result {
                    self.respond(call, Err(CallFailure::Failed(failure)));
                }
            }
        }
    }

    fn end_passage(&mut self, answer: Answer, verdict: Verdict) {
        let Answer::Passage { origin, id } = answer else { return };
        self.ring.handle(self.now, prost_kbr::Input::Verdict { origin, id, verdict });
    }
}
