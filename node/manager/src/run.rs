//! Running events: batches to the sandbox, writes to the store, and only then effects to the world.

use core::time::Duration;
use std::sync::Arc;

use prost_contract::{Change, Context, Execution, LogLevel, Outcome, Write};
use prost_kbr::{AppId, Failure, Handling, Interval, Verdict};

use crate::app::{Answer, End, Phase, Uncommitted, Waiting};
use crate::io::{CallFailure, NotDurable, Output, RunEvent, Space};
use crate::node::{Committing, Node};

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
        let settling: Arc<[Interval]> = self.records.settling(id).collect();
        let mut events = Vec::with_capacity(batch.len());
        for waiting in batch {
            let context = Context {
                view: view.clone(),
                settling: settling.clone(),
                now_ms: self.now_ms(),
                monotonic_ns: now.as_micros().saturating_mul(1000),
                seed: self.event_seed(),
                first_id: self.take_ids(limits.effects),
                storage_used: used,
                storage_full: self.space == Space::Full,
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
        let written = execution.writes.iter().map(Write::bytes).sum::<usize>() as u64;
        app.usage.bytes_written += written;
        app.charge(&waiting.event, execution.receipt.fuel, written, now);
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
                self.push_uncommitted(id, Uncommitted::new(0, Vec::new(), End::Trapped(answer, line)));
                return Some(Fault::Trap);
            }
            (Outcome::Refused(line), Answer::Start) => return Some(Fault::Init { line, gone: false }),
            (Outcome::Refused(line), answer) => {
                self.push_uncommitted(id, Uncommitted::new(0, Vec::new(), End::Refused(answer, line)));
                return None;
            }
            (Outcome::Verdict(verdict), answer @ Answer::Passage { .. }) => End::Verdict(answer, verdict),
            (Outcome::Done | Outcome::Verdict(_), answer) => End::Done(answer),
        };
        let (changes, spreads) = self.stamp(id, run.writes);
        let mut entry = Uncommitted::new(changes.iter().map(Change::bytes).sum(), run.effects, end);
        entry.spreads = spreads;
        entry.commit = (!changes.is_empty()).then(|| self.commit(id, Committing::Event(id.clone()), changes));
        self.push_uncommitted(id, entry);
        None
    }

    fn push_uncommitted(&mut self, id: &AppId, entry: Uncommitted) {
        if let Some(app) = self.apps.get_mut(id) {
            app.push_uncommitted(entry);
        }
    }

    /// The store has answered.
    pub(crate) fn on_committed(&mut self, commit: u64, result: Result<u64, NotDurable>) {
        let Some(committing) = self.commits.remove(&commit) else { return };
        let id = committing.app().clone();
        match (result, self.apps.get_mut(&id)) {
            (Ok(used), Some(app)) => app.usage.storage_bytes = used,
            (Ok(used), None) => self.note_pieces(&id, used),
            (Err(NotDurable), _) => {}
        }
        if let Committing::Package { installs, .. } = committing {
            return self.on_package_saved(&id, commit, installs, result.is_ok());
        }
        let Committing::Event(_) = committing else { return self.on_records_committed(committing, result.is_ok()) };
        match result {
            Ok(_) => {
                if let Some(app) = self.apps.get_mut(&id) {
                    app.committed(commit);
                }
            }
            Err(NotDurable) => self.on_not_durable(&id, |entry| entry.commit == Some(commit)),
        }
        self.release(&id);
        self.ready.insert(id);
    }

    /// Replicas have acknowledged what an event wrote, or too few of them in time.
    pub(crate) fn on_spread(&mut self, id: &AppId, number: u64, good: bool) {
        if !good {
            self.on_not_durable(id, |entry| entry.spreads.contains(&number));
        } else if let Some(app) = self.apps.get_mut(id) {
            app.spread(number);
        }
        self.release(id);
        self.ready.insert(id.clone());
    }

    /// Writes are lost, or not safe. The event that made them has not happened, nor has any that ran after it and may
    /// have read them; the instance remembers them and goes too.
    fn on_not_durable(&mut self, id: &AppId, which: impl Fn(&Uncommitted) -> bool) {
        let until = self.now + DISK_PAUSE;
        let Some(app) = self.apps.get_mut(id) else { return };
        let lost = app.take_from(which);
        app.paused_until = app.paused_until.max(until);
        let runs = matches!(app.phase, Phase::Running | Phase::Starting);
        let withdrawn = self.withdraw_commits(id);
        let mut starting = false;
        for mut entry in lost {
            self.forget_spreads(entry.spreads.iter().copied());
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
        withdrawn.into_iter().for_each(|committing| self.on_records_committed(committing, false));
    }

    /// Takes back what the store has not been told yet; gives those commits that are no event's.
    fn withdraw_commits(&mut self, id: &AppId) -> Vec<Committing> {
        let of_app = |output: &Output| match output {
            Output::Commit { app, commit, .. } if app == id => Some(*commit),
            _ => None,
        };
        let withdrawn: Vec<u64> = self.outbox.iter().filter_map(of_app).collect();
        self.outbox.retain(|output| of_app(output).is_none());
        let is_event = |commit: &u64| matches!(self.commits.get(commit), Some(Committing::Event(_)));
        let others: Vec<u64> = withdrawn.into_iter().filter(|commit| !is_event(commit)).collect();
        others.iter().filter_map(|commit| self.commits.remove(commit)).collect()
    }

    /// Lets the effects go that wait for nothing any more, in order.
    fn release(&mut self, id: &AppId) {
        while let Some(entry) = self.apps.get_mut(id).and_then(crate::app::App::pop_durable) {
            self.apply_all(id, entry.effects);
            match entry.end {
                End::Done(Answer::Start) => {
                    // Its records are looked after from now on.
                    self.records.dirty = true;
                    self.on_started(id);
                }
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
