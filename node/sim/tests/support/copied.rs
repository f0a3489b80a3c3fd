//! What the copying of records weighs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost_contract::Place;
use prost_kbr::{Key, Message};
use prost_manager::RecordStats;
use prost_sim::Index;

use crate::shelves::{Shelves, names};
use crate::support::run;

/// Bytes sent about records, by sender and receiver: all of them, and those in large frames.
#[derive(Debug, Default)]
pub(crate) struct Copied(BTreeMap<(Index, Index), (u64, u64)>);

impl Copied {
    pub(crate) fn total(&self) -> u64 {
        self.0.values().map(|(bytes, _)| bytes).sum()
    }

    pub(crate) fn large(&self) -> u64 {
        self.0.values().map(|(_, large)| large).sum()
    }

    /// Connections over which at least so much went, either way.
    pub(crate) fn pairs(&self, least: u64) -> usize {
        let mut pairs: BTreeMap<(Index, Index), u64> = BTreeMap::new();
        for ((from, to), (bytes, _)) in &self.0 {
            *pairs.entry((*from.min(to), *from.max(to))).or_default() += bytes;
        }
        pairs.values().filter(|bytes| **bytes >= least).count()
    }
}

/// What weighing a ring's records needs.
impl Shelves {
    /// Writes so many records with values of so many bytes, and waits until all are acknowledged.
    pub(crate) fn fill(&mut self, count: usize, bytes: usize) {
        const AT_ONCE: usize = 1000;
        let all = names(count);
        for (turn, names) in all.chunks(AT_ONCE).enumerate() {
            let node = (turn % self.world.count() as usize) as Index;
            let mut open = BTreeSet::new();
            for name in names {
                let value = name.repeat(bytes.div_ceil(name.len()));
                let value = &value[..bytes];
                open.insert(self.ask(node, "put", &format!("{name} {value}")));
                self.possible.insert(name.clone(), vec![Some(value.to_owned())]);
            }
            for _ in 0..600 {
                run(&mut self.world, Duration::from_millis(100));
                for (request, outcome) in self.answers() {
                    assert_eq!(outcome, Ok(Bytes::new()), "request {request}");
                    open.remove(&request);
                }
                if open.is_empty() {
                    break;
                }
            }
            assert!(open.is_empty(), "{} writes are not acknowledged", open.len());
        }
    }

    /// The records that a node has, and what their names and values weigh.
    pub(crate) fn kept_at(&self, node: Index) -> (usize, usize) {
        let (mut records, mut bytes) = (0, 0);
        for name in self.possible.keys() {
            let place = Place::At(Key::hash(name.as_bytes()));
            if let Some(value) = self.world.record(node, &self.app, place, name.as_bytes()) {
                records += 1;
                bytes += name.len() + value.len();
            }
        }
        (records, bytes)
    }

    /// Lets that many seconds pass, and weighs the frames about records.
    pub(crate) fn watch_copies(&mut self, seconds: u64) -> Copied {
        const LARGE: u64 = 4 << 10;
        let copied = Arc::new(Mutex::new(Copied::default()));
        let seen = copied.clone();
        self.world.observe(Box::new(move |_, from, to, message| {
            let Message::Upper(payload) = message else { return };
            let mut copied = seen.lock().expect("nobody panics");
            let (bytes, large) = copied.0.entry((from, to)).or_default();
            let length = payload.len() as u64;
            *bytes += length;
            *large += if length >= LARGE { length } else { 0 };
        }));
        self.pass(seconds);
        self.world.observe(Box::new(|_, _, _, _| {}));
        let mut copied = copied.lock().expect("nobody panics");
        std::mem::take(&mut *copied)
    }

    /// The records that a node got from others since it started, as it counts them.
    pub(crate) fn got(&self, node: Index) -> u64 {
        let stats = self.world.node(node).expect("it lives").record_stats();
        stats.stored + stats.pulled
    }

    fn record_stats(&self, of: fn(&RecordStats) -> u64) -> u64 {
        let nodes = (0..self.world.count()).filter_map(|node| self.world.node(node));
        nodes.map(|node| of(node.record_stats())).sum()
    }

    pub(crate) fn given_and_pulled(&self) -> u64 {
        self.record_stats(|stats| stats.given + stats.pulled)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.record_stats(|stats| stats.dropped)
    }
}
