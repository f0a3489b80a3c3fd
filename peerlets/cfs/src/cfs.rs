//! One instance of the application: what it remembers, and where each event goes.

use prost_cfs_api::{BlockId, EXTEND, Extend, GET, Get, PUT, Put, STATUS, Status};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::questions::Received;
use prost_peerlet::{
    Change, Failure, Message, NodeId, Peerlet, Questions, Recent, Request, Result, Start, Timers, Verdict, client, log,
    storage,
};

use crate::cache::Cache;
use crate::fetch::Fetches;
use crate::insert::{self, Wanted};
use crate::ledger::{Ledger, STEP_PAUSE};
use crate::message::{Insert, LookupMessage};

/// Bytes of cached blocks, of the 64 MiB that an instance has.
const CACHE_BYTES: usize = 16 << 20;
/// A publisher's share of a server's store, in thousandths. The paper's example is a tenth of this, for a system of
/// thousands of servers.
const QUOTA_PERMILLE: u64 = 10;
/// Answers on their way back that can be sent another way should this one fail.
const MAX_RELAYED: usize = 64;

/// The block store on one node.
#[derive(Debug)]
pub struct Cfs {
    pub(crate) cache: Cache,
    pub(crate) ledger: Ledger,
    pub(crate) insertions: Questions<Wanted>,
    pub(crate) fetches: Fetches,
    /// Answers that went to the node before this one on the question's way, by the message.
    pub(crate) relayed: Recent<u64, (NodeId, Vec<u8>)>,
    pub(crate) counts: Counts,
    quota_permille: u64,
    timers: Timers<()>,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) served: u64,
    pub(crate) cache_hits: u64,
    pub(crate) rejected: u64,
}

/// What the operator can set, as CBOR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Settings {
    /// Bytes of cached blocks.
    #[n(0)]
    pub cache_bytes: u32,
    /// A publisher's share of the store, in thousandths.
    #[n(1)]
    pub quota_permille: u32,
}

impl Default for Cfs {
    fn default() -> Cfs {
        Cfs {
            cache: Cache::new(CACHE_BYTES),
            ledger: Ledger::default(),
            insertions: insert::questions(),
            fetches: Fetches::default(),
            relayed: Recent::new(MAX_RELAYED),
            counts: Counts::default(),
            quota_permille: QUOTA_PERMILLE,
            timers: Timers::default(),
        }
    }
}

impl Cfs {
    /// How it is.
    pub fn status(&self) -> Status {
        let publishers = self.ledger.largest(64).into_iter().map(|(node, bytes)| (node.to_bytes().into(), bytes));
        Status {
            served: self.counts.served,
            cache_hits: self.counts.cache_hits,
            cached_blocks: self.cache.len() as u64,
            cached_bytes: self.cache.bytes() as u64,
            rejected: self.counts.rejected,
            quota_bytes: self.quota(),
            publishers: publishers.collect(),
        }
    }

    /// Whether a block is in the cache.
    pub fn has_cached(&self, id: &BlockId) -> bool {
        self.cache.contains(id)
    }

    /// Blocks given out of replicas since the start.
    pub fn served(&self) -> u64 {
        self.counts.served
    }

    /// Blocks given out of the cache since the start.
    pub fn cache_hits(&self) -> u64 {
        self.counts.cache_hits
    }

    /// Answers to this node that were not the block, since the start.
    pub fn rejected(&self) -> u64 {
        self.counts.rejected
    }

    /// Bytes that one publisher can have here.
    pub(crate) fn quota(&self) -> u64 {
        storage::usage().limit_bytes / 1000 * self.quota_permille
    }

    fn sweep(&mut self) {
        let pause = self.ledger.step();
        self.timers.set((), pause);
    }
}

impl Peerlet for Cfs {
    fn init(&mut self, start: Start) -> Result {
        if let Ok(Settings { cache_bytes, quota_permille }) = cbor::decode(&start.settings) {
            self.cache = Cache::new((cache_bytes as usize).min(2 * CACHE_BYTES));
            self.quota_permille = u64::from(quota_permille.min(1000));
        }
        self.ledger = Ledger::load();
        self.timers.set((), STEP_PAUSE);
        Ok(())
    }

    fn deliver(&mut self, message: Message) -> Result {
        match self.insertions.receive(&message) {
            Received::Question(question) => {
                let Ok(insert) = cbor::decode::<Insert>(&question.body) else {
                    dropped(&message);
                    return Ok(());
                };
                let verdict = self.decide(question.asker, question.key, insert)?;
                question.answer(&cbor::encode(&verdict))?;
            }
            Received::Answer { about, body, .. } => insert::decided(&about, &body),
            Received::Late => {}
            Received::Other => match LookupMessage::decode(&message.payload) {
                Some(LookupMessage::Lookup(lookup)) => self.looked_up(lookup, &message),
                Some(LookupMessage::Answer(answer)) => self.answered(answer),
                Some(LookupMessage::Copy { bytes, expires_at }) => self.keep_copy(bytes, expires_at),
                None => dropped(&message),
            },
        }
        Ok(())
    }

    fn forward(&mut self, message: Message, _next: NodeId) -> Verdict {
        match LookupMessage::decode(&message.payload) {
            Some(LookupMessage::Lookup(lookup)) => self.passing(lookup, &message),
            _ => Verdict::Pass,
        }
    }

    fn update(&mut self, change: Change) {
        if let Change::Gained(_) | Change::Lost(_) = change {
            self.timers.set((), STEP_PAUSE);
        }
    }

    fn fired(&mut self, timer: u64, _tag: u64) {
        for (wanted, failure) in self.insertions.due(timer) {
            insert::failed(&wanted, failure);
        }
        self.fetches_due(timer);
        if !self.timers.due(timer).is_empty() {
            self.sweep();
        }
    }

    fn serve(&mut self, request: Request) -> Result {
        match request.method.as_str() {
            PUT => match cbor::decode::<Put>(&request.body) {
                Ok(put) => self.put(request.id, put),
                Err(error) => insert::malformed(request.id, error),
            },
            EXTEND => match cbor::decode::<Extend>(&request.body) {
                Ok(extend) => self.extend(request.id, extend),
                Err(error) => insert::malformed(request.id, error),
            },
            GET => match cbor::decode::<Get>(&request.body) {
                Ok(get) => self.get(request.id, get),
                Err(error) => insert::malformed(request.id, error),
            },
            STATUS => client::respond(request.id, Ok(&cbor::encode(&self.status())))?,
            _ => insert::malformed(request.id, "the methods are put, get, extend and status"),
        }
        Ok(())
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        if let Some((wanted, failure)) = self.insertions.failed(message, reason) {
            insert::failed(&wanted, failure);
        }
        self.fetch_failed(message, reason);
        self.relay_failed(message);
    }
}

fn dropped(message: &Message) {
    log::debug(&format!("dropped a message from {} that makes no sense", message.previous.short()));
}

/// Bytes of a block that a node holds.
pub(crate) type Block = Bytes;
