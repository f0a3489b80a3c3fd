//! Pieces that are too old go; those that are not are known to be here from then on.

use core::time::Duration;
use std::collections::VecDeque;

use prost_contract::{Change, Entry, Point};
use prost_kbr::{AppId, Interval, Key, Time};

use super::{Content, is_live};
use crate::node::{Committing, Node};
use crate::records::{Found, Look};

/// How often they are looked for.
const PERIOD: Duration = Duration::from_secs(600);
/// Pieces looked at in one go.
const PAGE: usize = 512;

/// The search for them, one shelf after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Sweep {
    next: Option<Time>,
    /// Whether all shelves have been looked at since the start: what is not known to be here is not here from then on.
    pub(super) has_seen_all: bool,
    todo: VecDeque<AppId>,
    /// The question to the store that is open, the shelf, and since when.
    look: Option<(u64, AppId)>,
}

impl Sweep {
    pub(super) fn wake(&self, content: &Content) -> Option<Time> {
        Some(self.next.unwrap_or_default()).filter(|_| !content.held.is_empty())
    }
}

impl Node {
    pub(super) fn tend_sweep(&mut self) {
        let now = self.now;
        let sweep = &mut self.content.sweep;
        if sweep.next.is_none_or(|next| next <= now) {
            sweep.next = Some(now + PERIOD);
            sweep.look = None;
            sweep.todo = self.content.held.keys().cloned().collect();
            self.sweep_next(None);
        }
    }

    fn sweep_next(&mut self, after: Option<(AppId, Point)>) {
        let (id, after) = match after {
            Some((id, point)) => (id, Some(point)),
            None => {
                let Some(id) = self.content.sweep.todo.pop_front() else {
                    self.content.sweep.has_seen_all = true;
                    return;
                };
                (id, None)
            }
        };
        let range = Interval::open_closed(Key::ZERO, Key::ZERO);
        let look = self.ask_store(Look::Entries { app: id.clone(), range, after, upto: None, max: PAGE });
        self.content.sweep.look = Some((look, id));
    }

    /// The store has answered; says whether it was asked for what is too old.
    pub(crate) fn on_sweep_found(&mut self, look: u64, found: &Found) -> bool {
        let Some((_, id)) = self.content.sweep.look.take_if(|(asked, _)| *asked == look) else { return false };
        let Found::Entries { entries, more } = found else { return true };
        let now_ms = self.now_ms();
        let (live, old): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| is_live(entry.version, now_ms));
        self.content.note_known(&id, live.iter().map(|entry| entry.point.key));
        self.content.forget_known(&id, old.iter().map(|entry| &entry.point.key));
        let changes: Vec<Change> = old.iter().map(|entry| Change::Drop(entry.point.clone(), entry.version)).collect();
        if !changes.is_empty() {
            self.commit(&id, Committing::Sweep { app: id.clone() }, changes);
        }
        let last = entries.last().filter(|_| *more).map(|entry| (id, entry.point.clone()));
        self.sweep_next(last);
        true
    }
}
