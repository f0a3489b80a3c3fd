//! Puts and removes, at the node responsible: stored here, then on the other replicas, then answered.

use std::collections::{BTreeMap, VecDeque};

use prost_dht_api::Refusal;
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Failure, Key, NodeId};

use crate::dht::{Dht, PER_TICK, ticks};
use crate::host::Host;
use crate::message::{Answer, Direct, encode};
use crate::record::{Meta, Record, Stamp, TOMBSTONE_MS};
use crate::store;

/// Most writes open at a time.
const MAX_OPEN: usize = 512;
/// Most finished writes that are remembered, to answer another attempt at one without writing again.
const MAX_DONE: usize = 1024;
/// After this long a write is answered as soon as enough nodes have it, without waiting for the rest.
const PATIENCE: u64 = ticks(2_000);
/// After this long a write that too few nodes have is given up. The record stays; repair goes on trying.
const DEADLINE: u64 = ticks(9_000);
/// How often a write that turns out to be older than a copy elsewhere is stamped again.
const MAX_RESTAMPS: u32 = 3;
/// A write is acknowledged when this many nodes have it, or all that there are.
const ENOUGH: u32 = 2;

/// The writes that this node coordinates, by ticket.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    open: BTreeMap<u64, Write>,
    done: VecDeque<(NodeId, u64, Answer)>,
}

#[derive(Debug)]
struct Write {
    origin: NodeId,
    request: u64,
    key: Key,
    name: Bytes,
    stamp: Stamp,
    /// Nodes that have not answered yet, with the message to each.
    waiting: Vec<(NodeId, u64)>,
    /// Other nodes that have the record.
    holding: Vec<NodeId>,
    /// Nodes to turn to where another fails, nearest first.
    spares: VecDeque<NodeId>,
    /// Other nodes that could hold the record, as far as is known.
    others: u32,
    restamps: u32,
    answer_at: u64,
    deadline: u64,
}

impl Writes {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn waits_for(&mut self, message: u64) -> Option<(u64, NodeId)> {
        self.open.iter_mut().find_map(|(ticket, write)| {
            let at = write.waiting.iter().position(|(_, sent)| *sent == message)?;
            Some((*ticket, write.waiting.swap_remove(at).0))
        })
    }
}

impl Write {
    fn enough(&self) -> u32 {
        ENOUGH.min(1 + self.others)
    }

    fn replicas(&self) -> u32 {
        1 + self.holding.len() as u32
    }
}

impl Dht {
    /// Writes a value, or its removal, as the node responsible for the key.
    #[expect(clippy::too_many_arguments, reason = "the parts of one operation, unpacked once")]
    pub(crate) fn start_write(
        &mut self,
        host: &mut dyn Host,
        origin: NodeId,
        request: u64,
        key: Key,
        name: Bytes,
        value: Option<Bytes>,
        expires_at: Option<u64>,
    ) {
        if self.writes.open.values().any(|write| (write.origin, write.request) == (origin, request)) {
            return;
        }
        if let Some((.., stored)) = self.writes.done.iter().find(|done| (done.0, done.1) == (origin, request)) {
            let stored = stored.clone();
            return self.answer(host, origin, request, Ok(stored));
        }
        if self.writes.open.len() >= MAX_OPEN {
            return self.answer(host, origin, request, Err(Refusal::Busy));
        }
        let now = host.now_ms();
        let written = store::meta(host, key, &name).and_then(|held| {
            let stamp = Stamp::after(held.map(|meta| meta.stamp), now, host.myself());
            let live = value.is_some();
            let expires_at = if live { expires_at } else { Some(now.saturating_add(TOMBSTONE_MS)) };
            let record = Record { meta: Meta { stamp, live, expires_at }, value: value.unwrap_or_default() };
            store::write(host, key, &name, &record).map(|()| record)
        });
        let Ok(record) = written else {
            return self.answer(host, origin, request, Err(Refusal::Storage));
        };
        let others = self.others(host, key);
        let write = Write {
            origin,
            request,
            key,
            name,
            stamp: record.meta.stamp,
            waiting: Vec::new(),
            holding: Vec::new(),
            others: if self.settings.replicas > 1 { others.len() as u32 } else { 0 },
            spares: others,
            restamps: 0,
            answer_at: self.tick + PATIENCE,
            deadline: self.tick + DEADLINE,
        };
        let ticket = self.next_ticket();
        self.writes.open.insert(ticket, write);
        self.replicate(host, ticket, &record);
    }

    /// A replica tells what it holds now.
    pub(crate) fn on_replicated(&mut self, host: &mut dyn Host, from: NodeId, ticket: u64, newest: Option<Stamp>) {
        let Some(write) = self.writes.open.get_mut(&ticket) else { return };
        let Some(at) = write.waiting.iter().position(|(node, _)| *node == from) else { return };
        write.waiting.swap_remove(at);
        match newest {
            None => return self.replicate_stored(host, ticket),
            Some(stamp) if stamp > write.stamp && write.restamps < MAX_RESTAMPS => {
                return self.restamp(host, ticket, stamp);
            }
            Some(stamp) if stamp >= write.stamp => write.holding.push(from),
            Some(_) => {}
        }
        self.finish_if_done(host, ticket);
    }

    /// Another node asks this one to hold a record. None where the record makes no sense.
    pub(crate) fn on_replicate(
        &mut self,
        host: &mut dyn Host,
        from: NodeId,
        ticket: u64,
        key: Key,
        name: &[u8],
        record: &Record,
    ) -> Option<()> {
        if !record.is_plausible(host.now_ms()) {
            return None;
        }
        let newest = store::adopt(host, key, name, record).ok();
        if newest.is_none() {
            host.log(&format!("could not store a copy from {}", from.short()));
        }
        if ticket != 0 {
            host.send(from, &encode(&Direct::Replicated { ticket, newest }));
        }
        Some(())
    }

    /// The replica that the failed message was for, where it was one of a write's.
    pub(crate) fn write_failed(&mut self, host: &mut dyn Host, message: u64, reason: Failure) -> Option<NodeId> {
        let (ticket, node) = self.writes.waits_for(message)?;
        if reason == Failure::NoWillingNode
            && let Some(write) = self.writes.open.get_mut(&ticket)
        {
            write.others = write.others.saturating_sub(1);
        }
        self.replicate_stored(host, ticket);
        Some(node)
    }

    /// Answers what has waited long enough.
    pub(crate) fn tick_writes(&mut self, host: &mut dyn Host) {
        let now = self.tick;
        let due = self.writes.open.iter().filter(|(_, write)| {
            now >= write.deadline || (now >= write.answer_at && write.replicas() >= write.enough())
        });
        let due: Vec<u64> = due.map(|(ticket, _)| *ticket).take(PER_TICK).collect();
        for ticket in due {
            self.finish(host, ticket);
        }
    }

    /// Sends the record to as many nodes as are still wanted.
    fn replicate(&mut self, host: &mut dyn Host, ticket: u64, record: &Record) {
        let Some(write) = self.writes.open.get_mut(&ticket) else { return };
        let message = Direct::Replicate { ticket, key: write.key, name: write.name.clone(), record: record.clone() };
        let payload = encode(&message);
        let wanted = self.settings.replicas as usize - 1;
        while write.waiting.len() + write.holding.len() < wanted {
            let Some(node) = write.spares.pop_front() else { break };
            if let Some(message) = host.send(node, &payload) {
                write.waiting.push((node, message));
            }
        }
        self.finish_if_done(host, ticket);
    }

    /// Sends the record again from the store, if it is still this write's.
    fn replicate_stored(&mut self, host: &mut dyn Host, ticket: u64) {
        match self.stored(host, ticket) {
            Some(record) => self.replicate(host, ticket, &record),
            None => self.finish_if_done(host, ticket),
        }
    }

    /// A copy elsewhere is newer, as its writer's clock was ahead: this write comes after it, so its stamp must too.
    fn restamp(&mut self, host: &mut dyn Host, ticket: u64, newest: Stamp) {
        let record = self.stored(host, ticket);
        let Some(mut write) = self.writes.open.remove(&ticket) else { return };
        let stamp = Stamp::after(Some(newest), host.now_ms(), host.myself());
        let rewritten = record.and_then(|mut record| {
            record.meta.stamp = stamp;
            store::write(host, write.key, &write.name, &record).ok().map(|()| record)
        });
        let Some(record) = rewritten else {
            // A later write at this node has taken the place of this one.
            write.restamps = MAX_RESTAMPS;
            self.writes.open.insert(ticket, write);
            return self.finish_if_done(host, ticket);
        };
        write.stamp = stamp;
        write.restamps += 1;
        write.waiting.clear();
        write.holding.clear();
        write.spares = self.others(host, write.key);
        // Answers to the first round must not count for this one.
        let ticket = self.next_ticket();
        self.writes.open.insert(ticket, write);
        self.replicate(host, ticket, &record);
    }

    fn stored(&self, host: &dyn Host, ticket: u64) -> Option<Record> {
        let write = self.writes.open.get(&ticket)?;
        let record = store::record(host, write.key, &write.name, None).ok()??;
        (record.meta.stamp == write.stamp).then_some(record)
    }

    fn finish_if_done(&mut self, host: &mut dyn Host, ticket: u64) {
        if self.writes.open.get(&ticket).is_some_and(|write| write.waiting.is_empty()) {
            self.finish(host, ticket);
        }
    }

    fn finish(&mut self, host: &mut dyn Host, ticket: u64) {
        let Some(write) = self.writes.open.remove(&ticket) else { return };
        if write.replicas() < write.enough() {
            return self.answer(host, write.origin, write.request, Err(Refusal::TooFewReplicas));
        }
        let stored = Answer::Stored { version: write.stamp.version, replicas: write.replicas() };
        if self.writes.done.len() >= MAX_DONE {
            self.writes.done.pop_front();
        }
        self.writes.done.push_back((write.origin, write.request, stored.clone()));
        self.answer(host, write.origin, write.request, Ok(stored));
    }
}
