//! The timers of all applications.

use std::collections::BTreeMap;

use prost_kbr::{AppId, Time};

/// A table of timers, by time and by number. The budgets of the applications bound it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    due: BTreeMap<(Time, u64), (AppId, u64)>,
    index: BTreeMap<u64, Time>,
}

/// A timer that has run out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fired {
    pub(crate) app: AppId,
    pub(crate) timer: u64,
    pub(crate) tag: u64,
}

impl Timers {
    /// Sets a timer; says whether its number is new.
    pub(crate) fn set(&mut self, app: &AppId, timer: u64, at: Time, tag: u64) -> bool {
        if self.index.contains_key(&timer) {
            return false;
        }
        self.index.insert(timer, at);
        self.due.insert((at, timer), (app.clone(), tag));
        true
    }

    /// Cancels a timer of this application; says whether it was set.
    pub(crate) fn cancel(&mut self, app: &AppId, timer: u64) -> bool {
        let Some(at) = self.index.get(&timer).copied() else { return false };
        if self.due.get(&(at, timer)).is_none_or(|(owner, _)| owner != app) {
            return false;
        }
        self.index.remove(&timer);
        self.due.remove(&(at, timer));
        true
    }

    /// Takes one timer that has run out.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Fired> {
        let first = self.due.first_entry().filter(|entry| entry.key().0 <= now)?;
        let ((_, timer), (app, tag)) = first.remove_entry();
        self.index.remove(&timer);
        Some(Fired { app, timer, tag })
    }

    /// Forgets all timers of an application.
    pub(crate) fn forget(&mut self, app: &AppId) {
        let index = &mut self.index;
        self.due.retain(|(_, timer), (owner, _)| {
            let keep = owner != app;
            if !keep {
                index.remove(timer);
            }
            keep
        });
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }
}
