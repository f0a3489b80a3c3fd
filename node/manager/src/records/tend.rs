//! The sessions that are under way, and the one place that looks after everything about keyed records.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_contract::Change;
use prost_kbr::{AppId, Interval, NodeId, Peer, Time};

use super::frame::{NotStored, RecordFrame, Tell};
use super::look::Found;
use super::session::{Do, Got, Mode, Session};
use super::{Readiness, Reason, Running, Waits};
use crate::io::InstallFailure;
use crate::node::{Committing, Node};

/// Comparisons under way at once.
const MAX_SESSIONS: usize = 8;
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it is looked whether an application is there by now, and how long at most.
const READY_PERIOD: Duration = Duration::from_millis(200);
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(30);

impl Node {
    /// Does what is due. Says whether anything was.
    pub(crate) fn tend_records(&mut self) -> bool {
        if !self.records.dirty && self.records.wake.is_none_or(|at| at > self.now) {
            return false;
        }
        self.records.dirty = false;
        if self.records.is_idle() && !self.policy.allows_anything() {
            self.records.wake = None;
            return false;
        }
        self.tend_spreads();
        self.tend_sessions();
        self.tend_settling();
        self.tend_held();
        self.tend_upkeep();
        self.tend_strays();
        self.tend_scrub();
        self.tend_repairs();
        self.tend_farewell();
        self.records.wake = self.next_wake();
        true
    }

    fn next_wake(&self) -> Option<Time> {
        let sessions = self.records.sessions.values().map(|running| match running.waits {
            Waits::App { next, .. } => next,
            Waits::Peer { until, .. }
            | Waits::Pause { until }
            | Waits::Store { until, .. }
            | Waits::Commit { until } => until,
        });
        let others = [
            self.spreads_wake(),
            self.settle_wake(),
            self.upkeep_wake(),
            self.strays_wake(),
            self.scrub_wake(),
            self.repairs_wake(),
            self.farewell_wake(),
        ];
        // What is due and could not be done waits for something else, which will say so.
        sessions.chain(others.into_iter().flatten()).filter(|at| *at > self.now).min()
    }

    /// Compares with a peer, unless that is being done.
    pub(super) fn start_session(
        &mut self,
        peer: Peer,
        range: Interval,
        mode: Mode,
        apps: Option<BTreeSet<AppId>>,
        reason: Reason,
    ) {
        let same = |running: &Running| {
            running.session.peer.id == peer.id && running.session.range == range && running.reason == reason
        };
        if self.records.sessions.len() >= MAX_SESSIONS || self.records.sessions.values().any(same) {
            // What there is no room for is due again when another session ends.
            if reason == Reason::Upkeep {
                self.records.compare_at.remove(&peer.id);
            }
            if reason == Reason::Stray {
                self.on_stray_given(false, false);
            }
            return;
        }
        let (session, first) = Session::new(peer, range, mode, apps);
        let number = self.records.number();
        let waits = Waits::Pause { until: self.now };
        self.records.sessions.insert(number, Running { session, reason, waits });
        self.perform(number, first);
    }

    /// Does what a session wants done.
    fn perform(&mut self, number: u64, what: Do) {
        let now = self.now;
        let Some(running) = self.records.sessions.get(&number) else { return };
        let peer = running.session.peer;
        let waits = match what {
            Do::Ask(ask) => {
                let request = self.records.number();
                self.send_records(peer, &RecordFrame::Ask { request, ask });
                Waits::Peer { request, until: now + PATIENCE }
            }
            Do::Look(look) => Waits::Store { look: self.ask_store(look), until: now + STORE_LIMIT },
            Do::Need(app) => return self.await_app(number, app, now + READY_LIMIT),
            Do::Keep { changes, .. } if !self.believe(&changes) => return self.end_session(number, false),
            Do::Keep { app, changes } if app.name.is_reserved() => return self.keep_pieces(number, app, changes),
            Do::Keep { app, changes } => {
                self.commit_session(number, &app, changes);
                Waits::Commit { until: now + STORE_LIMIT }
            }
            Do::Pause(span) => Waits::Pause { until: now + span },
            Do::End(good) => return self.end_session(number, good),
        };
        if let Some(running) = self.records.sessions.get_mut(&number) {
            running.waits = waits;
        }
    }

    fn commit_session(&mut self, number: u64, app: &AppId, changes: Vec<Change>) {
        let committing = Committing::Session { app: app.clone(), number, records: changes.len() as u64 };
        self.commit(app, committing, changes);
    }

    fn keep_pieces(&mut self, number: u64, app: AppId, changes: Vec<Change>) {
        let changes = self.choose_pieces(&app, changes);
        if changes.is_empty() {
            return self.continue_session(number, Got::Kept(true));
        }
        self.commit_session(number, &app, changes);
        if let Some(running) = self.records.sessions.get_mut(&number) {
            running.waits = Waits::Commit { until: self.now + STORE_LIMIT };
        }
    }

    /// Whether the versions of these are not from the future.
    fn believe(&mut self, changes: &[Change]) -> bool {
        let now_ms = self.now_ms();
        changes.iter().all(|change| match change {
            Change::Keep(_, kept) => self.records.clock.observe(kept.version, now_ms),
            Change::Node { .. } | Change::Drop(..) => true,
        })
    }

    fn await_app(&mut self, number: u64, app: AppId, until: Time) {
        let Some(running) = self.records.sessions.get(&number) else { return };
        match self.readiness(&app, running.session.peer) {
            Readiness::Ready => self.continue_session(number, Got::Ready(true)),
            Readiness::Refused(_) => self.continue_session(number, Got::Ready(false)),
            Readiness::Pending if until <= self.now => self.continue_session(number, Got::Ready(false)),
            Readiness::Pending => {
                let next = self.now + READY_PERIOD;
                if let Some(running) = self.records.sessions.get_mut(&number) {
                    running.waits = Waits::App { app, until, next };
                }
            }
        }
    }

    fn continue_session(&mut self, number: u64, got: Got) {
        let now_ms = self.now_ms();
        let Some(running) = self.records.sessions.get_mut(&number) else { return };
        let next = running.session.on(got, now_ms);
        self.records.dirty = true;
        self.perform(number, next);
    }

    fn end_session(&mut self, number: u64, good: bool) {
        let Some(Running { session, reason, .. }) = self.records.sessions.remove(&number) else { return };
        self.records.dirty = true;
        let stats = &mut self.records.stats;
        stats.given += session.given;
        *(if good { &mut stats.compared } else { &mut stats.failed }) += 1;
        let peer = session.peer.id;
        let mut unwilling = false;
        for (app, why) in &session.refused {
            if let NotStored::Refused(_) | NotStored::Full = why {
                unwilling = true;
                self.note_unwilling(app, peer);
            }
        }
        match reason {
            Reason::Settle(range, app) => self.on_settle_ended(range, app.as_ref(), peer, good),
            // A peer that did not answer is asked again soon, if it is still there.
            Reason::Upkeep if !good && !unwilling => self.compare_again(peer),
            Reason::Upkeep | Reason::Offer => {}
            Reason::Stray => self.on_stray_given(good, unwilling),
            Reason::Farewell => self.on_farewell_ended(peer),
        }
    }

    fn tend_sessions(&mut self) {
        let now = self.now;
        let numbers: Vec<u64> = self.records.sessions.keys().copied().collect();
        for number in numbers {
            let Some(running) = self.records.sessions.get(&number) else { continue };
            match running.waits.clone() {
                Waits::Peer { until, .. } if until <= now => self.continue_session(number, Got::Silence),
                Waits::Pause { until } if until <= now => self.continue_session(number, Got::Woken),
                Waits::App { app, until, next } if next <= now => self.await_app(number, app, until),
                // The application is gone, and what was under way for it.
                Waits::Store { until, .. } | Waits::Commit { until } if until <= now => self.end_session(number, false),
                _ => {}
            }
        }
    }

    pub(super) fn on_session_told(&mut self, from: NodeId, request: u64, tell: Tell) {
        let asked = |running: &Running| {
            running.session.peer.id == from
                && matches!(running.waits, Waits::Peer { request: asked, .. } if asked == request)
        };
        let Some((number, _)) = self.records.sessions.iter().find(|(_, running)| asked(running)) else { return };
        self.continue_session(*number, Got::Tell(tell));
    }

    /// The store has answered a question about keyed records.
    pub(crate) fn on_looked(&mut self, look: u64, found: Found) {
        if let Some((peer, request)) = self.records.serving.remove(&look) {
            return self.on_served(peer, request, found);
        }
        if self.on_strays_found(look, &found) || self.on_sweep_found(look, &found) || self.on_checked(look, &found) {
            return;
        }
        let asked = |running: &Running| matches!(running.waits, Waits::Store { look: asked, .. } if asked == look);
        let Some((number, _)) = self.records.sessions.iter().find(|(_, running)| asked(running)) else { return };
        self.continue_session(*number, Got::Found(found));
    }

    /// What a comparison had kept or dropped is durable, or not.
    pub(crate) fn on_records_committed(&mut self, committing: Committing, durable: bool) {
        match committing {
            Committing::Event(_) | Committing::Sweep { .. } => {}
            Committing::Package { installs, .. } => self.answer_installs(installs, &Err(InstallFailure::NotDurable)),
            Committing::Session { number, records, .. } => {
                self.records.stats.pulled += if durable { records } else { 0 };
                self.continue_session(number, Got::Kept(durable));
            }
            Committing::Store { from, request, records, .. } => {
                self.records.stats.stored += if durable { records } else { 0 };
                self.on_stored(from, request, durable);
            }
            Committing::Drop { app } => self.on_strays_dropped(&app, durable),
            Committing::Repair { app, point } => self.on_repaired(app, point, durable),
        }
    }
}
