//! Records that are damaged on this node's disk: the other nodes that should hold them are asked for exactly these, and
//! the newest of what they have takes their place.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_contract::{Change, Kept, Point};
use prost_kbr::{AppId, NodeId, Peer, Time};

use super::frame::{Ask, Record, RecordFrame, Tell};
use super::{copies, keeps_records};
use crate::node::{Committing, Node};

/// Repairs under way at once.
const MAX_REPAIRS: usize = 32;
/// How long the others have to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often those that have not answered are asked; then what the others have will do.
const ATTEMPTS: u32 = 3;
/// How long the store may take.
const STORE_LIMIT: Duration = Duration::from_secs(30);
/// How long after a repair that came to nothing the next one begins.
const AGAIN: Duration = Duration::from_secs(60);
/// Most of these that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// One record's repair.
#[derive(Debug, Clone)]
pub(super) struct Repair {
    /// Who has been asked, and the number of the question; none where it has been answered.
    asked: BTreeMap<NodeId, Option<u64>>,
    newest: Option<Kept>,
    attempts: u32,
    until: Time,
    committing: bool,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Repairs {
    under_way: BTreeMap<(AppId, Point), Repair>,
    /// Those that came to nothing, until when nobody is asked again.
    in_vain: BTreeMap<(AppId, Point), Time>,
}

impl Node {
    /// These are damaged.
    pub(super) fn repair(&mut self, damaged: &[(AppId, Point)]) {
        let now = self.now;
        self.records.repairs.in_vain.retain(|_, until| *until > now);
        for record in damaged {
            let repairs = &self.records.repairs;
            if repairs.under_way.len() >= MAX_REPAIRS {
                return;
            }
            if !repairs.under_way.contains_key(record) && !repairs.in_vain.contains_key(record) {
                let repair =
                    Repair { asked: BTreeMap::new(), newest: None, attempts: 0, until: now, committing: false };
                self.records.repairs.under_way.insert(record.clone(), repair);
                self.ask_others(record);
            }
        }
    }

    /// The other nodes that should hold a record.
    fn others(&self, (app, point): &(AppId, Point)) -> Vec<Peer> {
        let Some(copies) = self.apps.get(app).filter(|app| keeps_records(app)).map(copies) else { return Vec::new() };
        // One more than its copies: this node may be none of those that should have it.
        let holders = self.holders(app, point.key, copies + 1);
        holders.into_iter().filter_map(|node| self.neighbour(node)).collect()
    }

    /// Asks those that have not answered.
    fn ask_others(&mut self, record: &(AppId, Point)) {
        let now = self.now;
        for peer in self.others(record) {
            let request = self.records.number();
            let Some(repair) = self.records.repairs.under_way.get_mut(record) else { return };
            if repair.asked.get(&peer.id).is_some_and(Option::is_none) {
                continue;
            }
            repair.asked.insert(peer.id, Some(request));
            let (app, point) = record.clone();
            self.send_records(peer, &RecordFrame::Ask { request, ask: Ask::Records { app, points: vec![point] } });
        }
        let Some(repair) = self.records.repairs.under_way.get_mut(record) else { return };
        repair.attempts += 1;
        repair.until = now + PATIENCE;
        if repair.asked.values().all(Option::is_none) {
            self.end_asking(record);
        }
    }

    /// A peer has answered; says whether it was asked for a repair.
    pub(super) fn on_repair_told(&mut self, from: NodeId, request: u64, tell: &Tell) -> bool {
        let asked = |repair: &Repair| repair.asked.get(&from) == Some(&Some(request));
        let found = self.records.repairs.under_way.iter().find(|(_, repair)| asked(repair));
        let Some(record) = found.map(|(record, _)| record.clone()) else { return false };
        // Whoever is busy is asked again.
        let Tell::Records(records) = tell else { return true };
        let now_ms = self.now_ms();
        let kept = records.first().cloned().and_then(|found| Record::into_kept(found, &record.0, now_ms));
        let kept = kept.filter(|(point, _)| *point == record.1).map(|(_, kept)| kept);
        let Some(repair) = self.records.repairs.under_way.get_mut(&record) else { return true };
        repair.asked.insert(from, None);
        if let Some(kept) = kept
            && repair.newest.as_ref().is_none_or(|newest| newest.version < kept.version)
        {
            repair.newest = Some(kept);
        }
        if repair.asked.values().all(Option::is_none) {
            self.end_asking(&record);
        }
        true
    }

    /// All have answered, or will not.
    fn end_asking(&mut self, record: &(AppId, Point)) {
        let (now, now_ms) = (self.now, self.now_ms());
        let Some(repair) = self.records.repairs.under_way.get_mut(record) else { return };
        let newest = repair.newest.clone();
        match newest.filter(|kept| self.records.clock.observe(kept.version, now_ms)) {
            Some(kept) => {
                repair.committing = true;
                repair.until = now + STORE_LIMIT;
                let (app, point) = record.clone();
                let committing = Committing::Repair { app: app.clone(), point: point.clone() };
                self.commit(&app, committing, vec![Change::Keep(point, kept)]);
            }
            None => self.end_repair(record, false),
        }
    }

    fn end_repair(&mut self, record: &(AppId, Point), good: bool) {
        self.records.dirty = true;
        if self.records.repairs.under_way.remove(record).is_none() {
            return;
        }
        if good {
            self.records.stats.repaired += 1;
        } else if self.records.repairs.in_vain.len() < MAX_REMEMBERED {
            self.records.repairs.in_vain.insert(record.clone(), self.now + AGAIN);
        }
    }

    /// The good copy is durable, or not.
    pub(super) fn on_repaired(&mut self, app: AppId, point: Point, durable: bool) {
        self.end_repair(&(app, point), durable);
    }

    pub(super) fn tend_repairs(&mut self) {
        let now = self.now;
        let due = self.records.repairs.under_way.iter().filter(|(_, repair)| repair.until <= now);
        let due: Vec<(AppId, Point)> = due.map(|(record, _)| record.clone()).collect();
        for record in due {
            let Some(repair) = self.records.repairs.under_way.get(&record) else { continue };
            if repair.committing {
                self.end_repair(&record, false);
            } else if repair.attempts >= ATTEMPTS {
                self.end_asking(&record);
            } else {
                self.ask_others(&record);
            }
        }
    }

    pub(super) fn repairs_wake(&self) -> Option<Time> {
        self.records.repairs.under_way.values().map(|repair| repair.until).min()
    }
}
