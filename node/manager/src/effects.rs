//! What handlers asked for, once it may leave.

use core::time::Duration;

use bytes::Bytes;
use prost_contract::{Effect, Event, LogLevel};
use prost_kbr::{AppId, Dispatch, Failure, Key, NodeId, RingState, RouteRequest};

use crate::app::MAX_IN_FLIGHT;
use crate::io::{CallFailure, Output};
use crate::ledger::LOG_LINES_AN_EVENT;
use crate::node::Node;

/// Longest time ahead that a timer can be set.
const MAX_TIMER: Duration = Duration::from_secs(30 * 24 * 3600);
/// Nodes that one application can watch: a quarter of what the routing layer has room for.
const MAX_WATCHING: usize = 256;

impl Node {
    /// What one event asked for. Of its lines for the log only so many are taken.
    pub(crate) fn apply_all(&mut self, id: &AppId, effects: Vec<Effect>) {
        let mut lines = 0;
        for effect in effects {
            lines += usize::from(matches!(effect, Effect::Log { .. }));
            if lines > LOG_LINES_AN_EVENT && matches!(effect, Effect::Log { .. }) {
                self.drop_line(id);
            } else {
                self.apply(id, effect);
            }
        }
    }

    fn apply(&mut self, id: &AppId, effect: Effect) {
        match effect {
            Effect::Route { id: message, key, payload, dispatch, hint } => {
                self.send(id, message, Some(key), payload, dispatch, hint);
            }
            Effect::Send { id: message, to, payload } => {
                self.send(id, message, None, payload, Dispatch::EndNode, Some(to));
            }
            Effect::Watch(node) => self.watch(id, node),
            Effect::Unwatch(node) => self.unwatch(id, node),
            Effect::SetTimer { timer, after_ms, tag } => self.set_timer(id, timer, after_ms, tag),
            Effect::CancelTimer(timer) => self.cancel_timer(id, timer),
            Effect::Respond { request, outcome } => {
                if self.calls.is_of(request, id) {
                    self.respond(request, outcome.map_err(CallFailure::Application));
                }
            }
            Effect::Push { request, item } => {
                if self.calls.is_of(request, id) {
                    self.outbox.push_back(Output::Push { call: request, item });
                }
            }
            Effect::Log { level, line } => self.note(id, level, line),
        }
    }

    fn send(
        &mut self,
        id: &AppId,
        message: u64,
        key: Option<Key>,
        payload: Bytes,
        dispatch: Dispatch,
        hint: Option<NodeId>,
    ) {
        let now = self.now;
        let bytes = payload.len() as u64;
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = &app.code else { return };
        let header = code.header.clone();
        let room = app.in_flight < MAX_IN_FLIGHT && app.messages.has(1, now) && app.bytes.has(bytes, now);
        app.in_flight += 1;
        if !room {
            app.usage.over_budget += 1;
            return self.tell_news(id, Event::Failed { message, reason: Failure::Overloaded });
        }
        if self.ring.ring_state() == RingState::Left {
            return self.tell_news(id, Event::Failed { message, reason: Failure::NotJoined });
        }
        app.messages.charge(1, now);
        app.bytes.charge(bytes, now);
        app.usage.messages += 1;
        app.usage.bytes_sent += bytes;
        self.sent.insert(message, id.clone());
        let request = RouteRequest { id: message, key, dispatch, header, payload, hint, deadline: None };
        self.ring.handle(now, prost_kbr::Input::Route(request));
    }

    fn watch(&mut self, id: &AppId, node: NodeId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        if app.watching.contains(&node) {
            return;
        }
        if app.watching.len() < MAX_WATCHING && self.ring.watch(node) {
            app.watching.insert(node);
        } else {
            app.usage.over_budget += 1;
            let line = format!("{} is not watched: too many nodes are", node.short());
            self.note(id, LogLevel::Warn, line);
        }
    }

    pub(crate) fn unwatch(&mut self, id: &AppId, node: NodeId) {
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
            return self.note(id, LogLevel::Warn, format!("a timer was dropped: {most} are set already"));
        }
        app.usage.timers += u64::from(self.timers.set(id, timer, at, tag));
    }

    fn cancel_timer(&mut self, id: &AppId, timer: u64) {
        if self.timers.cancel(id, timer)
            && let Some(app) = self.apps.get_mut(id)
        {
            app.usage.timers = app.usage.timers.saturating_sub(1);
        }
    }

    pub(crate) fn fire_timers(&mut self) {
        while let Some(fired) = self.timers.overdue(self.now) {
            self.tell_due(&fired.app, Event::Fired { timer: fired.timer, tag: fired.tag });
        }
    }
}
