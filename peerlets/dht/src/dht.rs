//! One instance of the application: what it remembers, and where each event goes.

use std::collections::{BTreeMap, VecDeque};

use prost_dht_api::{Refusal, Settings};
use prost_peerlet::{Change, Failure, Id, Key, KeyRange, Message, NodeId, Request};

use crate::api;
use crate::client::Clients;
use crate::host::Host;
use crate::message::{self, Action, Answer, Direct, encode};
use crate::reads::Reads;
use crate::repair::Repair;
use crate::settling::Settling;
use crate::writes::Writes;

/// Nodes asked beyond the replicas, in case that some of these refuse the application.
const SPARES: u32 = 2;
/// How long a node that refuses the application is passed over.
const REFUSED_MS: u64 = 60_000;
/// Most refusing nodes that are remembered.
const MAX_REFUSED: usize = 64;
/// How often open operations are looked at while there are any. Their deadlines count in these.
const TICK_MS: u64 = 250;
/// Open operations that one tick brings forward at most, so that an event stays within its limits.
pub(crate) const PER_TICK: usize = 32;
/// Most nodes that hold a value.
const MAX_REPLICAS: u32 = 8;

/// Ticks in this many milliseconds.
pub(crate) const fn ticks(ms: u64) -> u64 {
    ms.div_ceil(TICK_MS)
}

/// What a timer was set for. Its low bits in a tag; the rest is the timer's generation.
const TAG_TICK: u64 = 0;
const TAG_REPAIR: u64 = 1;
const TAG_PACE: u64 = 2;
const TAG_BITS: u32 = 2;

/// The dht on one node.
#[derive(Debug, Default)]
pub(crate) struct Dht {
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
    pub(crate) writes: Writes,
    pub(crate) reads: Reads,
    pub(crate) repair: Repair,
    pub(crate) settling: Settling,
    /// Ticks so far; time as far as deadlines are concerned.
    pub(crate) tick: u64,
    tick_is_set: bool,
    refused: BTreeMap<NodeId, u64>,
    last_ticket: u64,
    drawn: u64,
}

impl Dht {
    /// The instance starts. An error refuses to.
    pub(crate) fn handle_init(&mut self, host: &mut dyn Host, settings: &[u8]) -> Result<(), String> {
        if !settings.is_empty() {
            self.settings = api::settings(settings).map_err(|error| format!("settings: {error}"))?;
        }
        if !(1..=MAX_REPLICAS).contains(&self.settings.replicas) {
            return Err(format!("settings: replicas must be from 1 to {MAX_REPLICAS}"));
        }
        self.settling.gained(KeyRange::WHOLE, host.now_ms());
        self.schedule_repair(host);
        Ok(())
    }

    /// A local program asks.
    pub(crate) fn handle_serve(&mut self, host: &mut dyn Host, request: Request) {
        self.start_request(host, request);
        self.set_tick(host);
    }

    /// A message has arrived. What makes no sense is dropped.
    pub(crate) fn handle_deliver(&mut self, host: &mut dyn Host, message: Message) {
        let understood = match message.key {
            Some(key) => self.on_operation(host, key, &message),
            None => self.on_direct(host, &message),
        };
        if understood.is_none() {
            host.log(&format!("dropped a message from {} that makes no sense", message.previous.short()));
        }
        self.set_tick(host);
    }

    /// The neighbourhood has changed: some records may now be missing here or there.
    pub(crate) fn handle_update(&mut self, host: &mut dyn Host, change: Change) {
        match change {
            Change::Gained(range) => self.settling.gained(range, host.now_ms()),
            Change::Joined(_) | Change::Left(_) | Change::Lost(_) => {}
            Change::WatchedDown(_) => return,
        }
        self.schedule_repair(host);
    }

    /// A timer has run out.
    pub(crate) fn handle_fired(&mut self, host: &mut dyn Host, tag: u64) {
        let generation = tag >> TAG_BITS;
        match tag & ((1 << TAG_BITS) - 1) {
            TAG_TICK => {
                self.tick += 1;
                self.tick_is_set = false;
                self.tick_requests(host);
                self.tick_writes(host);
                self.tick_reads(host);
                self.set_tick(host);
            }
            TAG_REPAIR => self.on_repair_due(host, generation),
            TAG_PACE => self.send_wanted(host),
            _ => {}
        }
    }

    /// A message of this node came to nothing.
    pub(crate) fn handle_failed(&mut self, host: &mut dyn Host, message: u64, reason: Failure) {
        if self.request_failed(message, reason) {
            return self.set_tick(host);
        }
        let node = self
            .write_failed(host, message, reason)
            .or_else(|| self.read_failed(host, message, reason))
            .or_else(|| self.repair.offered_in(message));
        if let (Some(node), Failure::NoWillingNode) = (node, reason) {
            self.note_refusal(node, host.now_ms());
        }
        self.set_tick(host);
    }

    /// The nodes that should hold records at a key, in order, and spare ones behind them. Those that refuse the
    /// application are left out.
    pub(crate) fn candidates(&self, host: &dyn Host, key: Key) -> Vec<NodeId> {
        let now = host.now_ms();
        let mut nodes = host.replica_set(key, self.settings.replicas + SPARES);
        nodes.retain(|node| self.refused.get(node).is_none_or(|until| *until <= now));
        nodes
    }

    /// The nodes that should hold records at a key, in order.
    pub(crate) fn holders(&self, host: &dyn Host, key: Key) -> Vec<NodeId> {
        let mut nodes = self.candidates(host, key);
        nodes.truncate(self.settings.replicas as usize);
        nodes
    }

    /// The candidates but this node.
    pub(crate) fn others(&self, host: &dyn Host, key: Key) -> VecDeque<NodeId> {
        let mut others = VecDeque::from(self.candidates(host, key));
        others.retain(|node| *node != host.myself());
        others
    }

    /// Tells the origin of an operation how it ended.
    pub(crate) fn answer(
        &mut self,
        host: &mut dyn Host,
        origin: NodeId,
        request: u64,
        outcome: Result<Answer, Refusal>,
    ) {
        if origin == host.myself() {
            self.on_answer(host, request, outcome);
        } else {
            // Where it cannot be sent, the origin tries again or gives up at its deadline.
            let outcome = outcome.map_err(|refusal| refusal.to_string());
            host.send(origin, &encode(&Direct::Answer { request, outcome }));
        }
    }

    /// A number for a write or a read that this node coordinates; never zero.
    pub(crate) fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// A number that other nodes cannot well guess, and that differs from those of earlier instances.
    pub(crate) fn draw(&mut self, host: &dyn Host) -> u64 {
        self.drawn += 1;
        let seed = [&host.myself().to_bytes()[..], &host.now_ms().to_be_bytes(), &self.drawn.to_be_bytes()].concat();
        Id::hash(&seed).high
    }

    pub(crate) fn set_repair_timer(&mut self, host: &mut dyn Host, after_ms: u64, generation: u64) -> bool {
        host.set_timer(after_ms, generation << TAG_BITS | TAG_REPAIR)
    }

    pub(crate) fn set_pace_timer(&mut self, host: &mut dyn Host, after_ms: u64) -> bool {
        host.set_timer(after_ms, TAG_PACE)
    }

    fn on_operation(&mut self, host: &mut dyn Host, key: Key, message: &Message) -> Option<()> {
        let operation = message::decode_operation(&message.payload)?;
        let (origin, request) = (message.origin, operation.request);
        match operation.action {
            Action::Put { name, value, expires_in } => {
                let expires_at = expires_in.map(|seconds| host.now_ms().saturating_add(seconds * 1000));
                self.start_write(host, origin, request, key, name, Some(value), expires_at);
            }
            Action::Remove { name } => self.start_write(host, origin, request, key, name, None, None),
            Action::Get { name } => self.start_get(host, origin, request, key, name),
            Action::List { prefix, after, max } => self.start_list(host, origin, request, key, prefix, after, max),
        }
        Some(())
    }

    fn on_direct(&mut self, host: &mut dyn Host, message: &Message) -> Option<()> {
        // The origin is a claim; the connection proves the previous hop, and a direct message has only one.
        let from = message.previous;
        match message::decode_direct(&message.payload)? {
            Direct::Answer { request, outcome } => {
                let outcome = match outcome {
                    Ok(answer) => Ok(answer),
                    Err(text) => Err(text.parse().ok()?),
                };
                self.on_answer(host, request, outcome);
            }
            Direct::Replicate { ticket, key, name, record } => {
                self.on_replicate(host, from, ticket, key, &name, &record)?;
            }
            Direct::Replicated { ticket, newest } => self.on_replicated(host, from, ticket, newest),
            Direct::Fetch { ticket, key, name, than } => self.on_fetch(host, from, ticket, key, &name, than),
            Direct::Fetched { ticket, record } => self.on_fetched(host, from, ticket, record)?,
            Direct::FetchNames { ticket, key, prefix, after, max } => {
                self.on_fetch_names(host, from, ticket, key, &prefix, after.as_deref(), max);
            }
            Direct::FetchedNames { ticket, page } => self.on_fetched_names(host, from, ticket, page),
            Direct::Offer { entries } => self.on_offer(host, from, entries),
            Direct::Want { entries } => self.on_want(host, from, entries),
        }
        Some(())
    }

    fn set_tick(&mut self, host: &mut dyn Host) {
        let is_idle = self.clients.is_empty() && self.writes.is_empty() && self.reads.is_empty();
        if !is_idle && !self.tick_is_set {
            self.tick_is_set = host.set_timer(TICK_MS, TAG_TICK);
        }
    }

    fn note_refusal(&mut self, node: NodeId, now_ms: u64) {
        self.refused.retain(|_, until| *until > now_ms);
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(node, now_ms.saturating_add(REFUSED_MS));
        }
    }
}
