//! The slow reading of all keyed records, which finds those that the disk has spoiled before someone asks for them.

use core::time::Duration;

use prost_contract::Point;
use prost_kbr::planted::Bug;
use prost_kbr::{AppId, Time};

use super::look::{Found, Look};
use crate::node::Node;

/// How often some are read.
const PERIOD: Duration = Duration::from_secs(10);
/// How long it may take to read all.
const ROUND: Duration = Duration::from_secs(24 * 3600);
/// Records that are read at a time: where there are few, a round is over soon.
const MIN_RECORDS: u64 = 64;
/// The same, where there are very many: a round then takes longer.
const MAX_RECORDS: u64 = 4096;
/// How long the store may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the reading is.
#[derive(Debug, Clone, Default)]
pub(super) struct Scrub {
    next: Option<Time>,
    /// The question under way, and how long its answer is waited for.
    asked: Option<(u64, Time)>,
    /// What was read last.
    after: Option<(AppId, Point)>,
    /// Keyed records on this node.
    total: u64,
}

impl Node {
    pub(super) fn tend_scrub(&mut self) {
        if self.ring.has_planted(Bug::RotNotRepaired) || self.keepers().is_empty() {
            return;
        }
        let now = self.now;
        let scrub = &mut self.records.scrub;
        if scrub.asked.is_some_and(|(_, until)| until <= now) {
            scrub.asked = None;
        }
        let next = *scrub.next.get_or_insert(now + PERIOD);
        if scrub.asked.is_some() || next > now {
            return;
        }
        scrub.next = Some(now + PERIOD);
        let share = scrub.total.saturating_mul(PERIOD.as_secs()).div_ceil(ROUND.as_secs());
        let max = share.clamp(MIN_RECORDS, MAX_RECORDS) as usize;
        let after = scrub.after.clone();
        let look = self.ask_store(Look::Check { after, max });
        self.records.scrub.asked = Some((look, now + LIMIT));
    }

    /// The store has answered; says whether this was what it was asked for.
    pub(super) fn on_checked(&mut self, look: u64, found: &Found) -> bool {
        let scrub = &mut self.records.scrub;
        if scrub.asked.is_none_or(|(asked, _)| asked != look) {
            return false;
        }
        scrub.asked = None;
        self.records.dirty = true;
        let Found::Checked { records, total, last, damaged } = found else { return true };
        scrub.total = *total;
        scrub.after.clone_from(last);
        self.records.stats.checked += records;
        self.records.stats.damaged = damaged.len() as u64;
        self.repair(damaged);
        true
    }

    pub(super) fn scrub_wake(&self) -> Option<Time> {
        let scrub = &self.records.scrub;
        scrub.asked.map(|(_, until)| until).or(scrub.next.filter(|_| !self.keepers().is_empty()))
    }
}
