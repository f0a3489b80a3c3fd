//! Copies that should be elsewhere too, or are: every node walks over what it holds and offers it to those that should
//! hold it. Only what is lacking is sent.
//!
//! A node that is responsible for a key offers to the key's other holders; one that is not offers to the responsible one.
//! So a node that joins gets its records, and after a failure each record has its number of copies again.

use std::collections::{BTreeMap, VecDeque};

use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Key, NodeId};

use crate::dht::Dht;
use crate::host::Host;
use crate::message::{Direct, Entry, MAX_ENTRIES, encode};
use crate::store;

/// How long a change is let settle. Changes come in groups: a node that fails changes several ranges.
const DEBOUNCE_MS: u64 = 300;
/// Between two pages of a walk, and between two batches of records sent.
const PACE_MS: u64 = 20;
/// Between two walks where nothing changes: what got lost on the way is found again. About as much again is added at
/// random, so that nodes that started together do not walk together.
const PERIOD_MS: u64 = 30_000;
const JITTER_MS: u64 = 10_000;
/// Most keys in one page of a walk.
const KEYS: u32 = 32;
/// Most records that wait to be sent; what is beyond is offered again by a later walk.
const MAX_WANTED: usize = 2048;
/// Most records, and most bytes, that one batch sends: 12 MiB a second with [`PACE_MS`].
const BATCH: usize = 16;
const BATCH_BYTES: usize = 256 << 10;
/// Most offers whose failure is told apart.
const MAX_OFFERS: usize = 256;

/// Where the walk is, and what others want.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    /// Of the timer that counts; earlier ones are void.
    generation: u64,
    walk: Option<Cursor>,
    /// A change came during the walk.
    is_stale: bool,
    /// A walk is about to start.
    is_due: bool,
    wanted: VecDeque<(NodeId, Key, Bytes)>,
    pace_is_set: bool,
    offers: VecDeque<(u64, NodeId)>,
}

/// How far a walk has come.
#[derive(Debug, Clone, Default)]
struct Cursor {
    /// All keys up to this one are done.
    after: Option<Key>,
    /// All names up to this one are done, at the key after that.
    within: Option<(Key, Bytes)>,
}

impl Repair {
    /// The node that an offer was sent to in this message.
    pub(crate) fn offered_in(&self, message: u64) -> Option<NodeId> {
        self.offers.iter().find(|(sent, _)| *sent == message).map(|(_, node)| *node)
    }

    fn note_offer(&mut self, message: u64, node: NodeId) {
        if self.offers.len() >= MAX_OFFERS {
            self.offers.pop_front();
        }
        self.offers.push_back((message, node));
    }
}

impl Dht {
    /// Has a walk start soon.
    pub(crate) fn schedule_repair(&mut self, host: &mut dyn Host) {
        if self.repair.walk.is_some() {
            self.repair.is_stale = true;
        } else if !self.repair.is_due {
            self.repair.is_due = true;
            self.wake_repair(host, DEBOUNCE_MS);
        }
    }

    /// The timer of the walk has run out.
    pub(crate) fn on_repair_due(&mut self, host: &mut dyn Host, generation: u64) {
        if generation != self.repair.generation {
            return;
        }
        self.repair.is_due = false;
        let cursor = self.repair.walk.take().unwrap_or_default();
        match self.offer_page(host, cursor) {
            Some(cursor) => {
                self.repair.walk = Some(cursor);
                self.wake_repair(host, PACE_MS);
            }
            None if core::mem::take(&mut self.repair.is_stale) => self.schedule_repair(host),
            None => {
                let jitter = self.draw(host) % JITTER_MS;
                self.wake_repair(host, PERIOD_MS + jitter);
            }
        }
    }

    /// Another node has these: asks for those that this one should have and lacks, and offers what it has newer.
    pub(crate) fn on_offer(&mut self, host: &mut dyn Host, from: NodeId, entries: Vec<Entry>) {
        let (mut lacking, mut newer) = (Vec::new(), Vec::new());
        for Entry { key, name, stamp } in entries {
            let Ok(held) = store::meta(host, key, &name) else { continue };
            match held.map(|meta| meta.stamp) {
                Some(held) if held == stamp => {}
                Some(held) if held > stamp => newer.push(Entry { key, name, stamp: held }),
                _ if self.candidates(host, key).contains(&host.myself()) => lacking.push((key, name)),
                _ => {}
            }
        }
        if !lacking.is_empty() {
            host.send(from, &encode(&Direct::Want { entries: lacking }));
        }
        if !newer.is_empty() {
            host.send(from, &encode(&Direct::Offer { entries: newer }));
        }
    }

    /// Another node asks for what it was offered.
    pub(crate) fn on_want(&mut self, host: &mut dyn Host, from: NodeId, entries: Vec<(Key, Bytes)>) {
        for (key, name) in entries {
            if self.repair.wanted.len() < MAX_WANTED {
                self.repair.wanted.push_back((from, key, name));
            }
        }
        self.set_pace(host);
    }

    /// Sends a batch of what others want.
    pub(crate) fn send_wanted(&mut self, host: &mut dyn Host) {
        self.repair.pace_is_set = false;
        let mut bytes = 0;
        for _ in 0..BATCH {
            let Some((to, key, name)) = self.repair.wanted.pop_front() else { break };
            let Ok(Some(record)) = store::record(host, key, &name, None) else { continue };
            let payload = encode(&Direct::Replicate { ticket: 0, key, name, record });
            host.send(to, &payload);
            bytes += payload.len();
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        self.set_pace(host);
    }

    fn set_pace(&mut self, host: &mut dyn Host) {
        if !self.repair.wanted.is_empty() && !self.repair.pace_is_set {
            self.repair.pace_is_set = self.set_pace_timer(host, PACE_MS);
        }
    }

    fn wake_repair(&mut self, host: &mut dyn Host, after_ms: u64) {
        self.repair.generation += 1;
        let generation = self.repair.generation;
        if !self.set_repair_timer(host, after_ms, generation) {
            host.log("no timer for repair: it waits for the next change of the ring");
        }
    }

    /// Offers one page of records. Returns where the next one starts; none after the last.
    fn offer_page(&mut self, host: &mut dyn Host, cursor: Cursor) -> Option<Cursor> {
        let (offers, next) = self.read_page(host, cursor);
        for (node, entries) in offers {
            if let Some(message) = host.send(node, &encode(&Direct::Offer { entries })) {
                self.repair.note_offer(message, node);
            }
        }
        next
    }

    fn read_page(&self, host: &dyn Host, mut cursor: Cursor) -> (BTreeMap<NodeId, Vec<Entry>>, Option<Cursor>) {
        let mut offers: BTreeMap<NodeId, Vec<Entry>> = BTreeMap::new();
        let mut room = MAX_ENTRIES as u32;
        let Ok(keys) = host.keys(cursor.after, KEYS) else { return (offers, None) };
        let is_full = keys.len() >= KEYS as usize;
        for key in keys {
            if room == 0 {
                return (offers, Some(cursor));
            }
            let within = cursor.within.take().filter(|(at, _)| *at == key).map(|(_, name)| name);
            let Ok(page) = store::page(host, key, &[], within.as_deref(), room) else {
                return (offers, None);
            };
            room -= page.names.len() as u32;
            let receivers = self.receivers(host, key);
            for (name, meta) in page.names {
                for node in &receivers {
                    let entry = Entry { key, name: name.clone(), stamp: meta.stamp };
                    offers.entry(*node).or_default().push(entry);
                }
            }
            if let Some(name) = page.next {
                cursor.within = Some((key, name));
                return (offers, Some(cursor));
            }
            cursor.after = Some(key);
        }
        (offers, is_full.then_some(cursor))
    }

    /// To whom this node offers records at a key.
    fn receivers(&self, host: &dyn Host, key: Key) -> Vec<NodeId> {
        let holders = self.holders(host, key);
        match holders.split_first() {
            Some((root, others)) if *root == host.myself() => others.to_vec(),
            Some((root, _)) => vec![*root],
            None => Vec::new(),
        }
    }
}
