//! A local program's question for a block, asked again until an answer is the block.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_cfs_api::{BlockId, Caching, Found, Get, Kind, MAX_AVOID, Refusal, encode, verify};
use prost_peerlet::time::Instant;
use prost_peerlet::{Failure, Id, NodeId, Timers, random, route};

use crate::cfs::{Block, Cfs};
use crate::insert::{malformed, refusal, refuse, respond};
use crate::message::{Answer, Lookup, LookupMessage, Say, key_of};

/// Questions open at a time.
const MAX_OPEN: usize = 512;
/// When a question ends.
const DEADLINE: Duration = Duration::from_secs(12);
/// Attempts at most.
const MAX_ATTEMPTS: u8 = 6;
/// From this attempt on the node responsible and other replicas are asked in turn, no caches, and they answer straight.
pub(crate) const LAST_PER_HOP: u8 = 2;
/// Before the next attempt, where it is known that the last came to nothing.
const PAUSE: Duration = Duration::from_millis(300);
/// Bounds of an attempt's time, and what it is while nothing has been measured.
const SHORTEST: Duration = Duration::from_millis(300);
const LONGEST: Duration = Duration::from_secs(4);
const UNKNOWN: Duration = Duration::from_millis(1500);

/// Open questions by number.
#[derive(Debug, Default)]
pub(crate) struct Fetches {
    open: BTreeMap<u64, Fetch>,
    timers: Timers<u64>,
    patience: Measured,
}

#[derive(Debug)]
struct Fetch {
    request: u64,
    kind: Kind,
    id: BlockId,
    caching: Caching,
    avoid: Vec<NodeId>,
    /// Attempts so far.
    attempts: u8,
    started: Instant,
    /// The last attempt's message.
    message: Option<u64>,
    /// How it ends if it ends now.
    worst: Refusal,
    /// A node has said that there is no such block.
    is_missing: bool,
}

/// How long an answer takes: the smoothed mean and deviation of the times that it took (RFC 6298, section 2).
#[derive(Debug, Default)]
struct Measured(Option<(Duration, Duration)>);

impl Measured {
    fn took(&mut self, time: Duration) {
        self.0 = Some(match self.0 {
            None => (time, time / 2),
            Some((mean, deviation)) => (mean * 7 / 8 + time / 8, deviation * 3 / 4 + time.abs_diff(mean) / 4),
        });
    }

    fn patience(&self, attempts: u8) -> Duration {
        let once = self.0.map_or(UNKNOWN, |(mean, deviation)| mean + 4 * deviation);
        (once.max(SHORTEST) * 2u32.pow(u32::from(attempts.min(4)))).min(LONGEST)
    }
}

impl Cfs {
    /// A program wants a block.
    pub(crate) fn get(&mut self, request: u64, get: Get) {
        if get.avoid.len() > MAX_AVOID {
            return malformed(request, format_args!("at most {MAX_AVOID} nodes can be avoided"));
        }
        if self.fetches.open.len() >= MAX_OPEN {
            return refuse(request, &Refusal::Busy);
        }
        let caching = if get.kind == Kind::Root { Caching::Off } else { get.caching };
        let fetch = Fetch {
            request,
            kind: get.kind,
            id: get.id,
            caching,
            avoid: get.avoid.iter().map(|node| Id::from_bytes(**node)).collect(),
            attempts: 0,
            started: Instant::now(),
            message: None,
            worst: Refusal::Deadline,
            is_missing: false,
        };
        let number = random::number();
        let lookup = fetch.lookup(number);
        // No further than here, where this node is as good as any.
        if caching != Caching::Off
            && let Some(Say::Found { bytes, cached, .. }) = self.here(&lookup)
        {
            return found(&fetch, &bytes, route::myself(), cached, 1);
        }
        self.fetches.open.insert(number, fetch);
        self.attempt(number);
    }

    /// An answer has come back to this node.
    pub(crate) fn fetched(&mut self, answer: Answer) {
        let Answer { number, server, contacts, say, .. } = answer;
        let Some(fetch) = self.fetches.open.get_mut(&number).filter(|fetch| fetch.id == answer.id) else { return };
        match say {
            Say::Found { bytes, expires_at, cached } if verify(fetch.kind, &fetch.id, &bytes).is_ok() => {
                if fetch.attempts == 1 {
                    self.fetches.patience.took(Instant::now().since(fetch.started));
                }
                found(fetch, &bytes, server, cached, contacts);
                if fetch.caching == Caching::Path {
                    self.cache.insert(fetch.id, bytes, expires_at);
                }
                self.end(number);
            }
            Say::Found { .. } => {
                self.counts.rejected += 1;
                fetch.worst = Refusal::Damaged;
                self.without(number, server);
            }
            // One node's word that there is no such block is not enough.
            Say::NoEntry if fetch.is_missing => {
                respond(fetch.request, Ok(&encode(&None::<Found>)));
                self.end(number);
            }
            Say::NoEntry => {
                fetch.is_missing = true;
                self.without(number, server);
            }
            Say::Retry => {
                fetch.worst = Refusal::Unreachable;
                self.fetches.timers.set(number, PAUSE);
            }
        }
    }

    /// Whether a message that came to nothing was an attempt.
    pub(crate) fn fetch_failed(&mut self, message: u64, reason: Failure) {
        let open = self.fetches.open.iter_mut().find(|(_, fetch)| fetch.message == Some(message));
        let Some((number, fetch)) = open else { return };
        let number = *number;
        fetch.message = None;
        fetch.worst = refusal(reason);
        if reason == Failure::NoWillingNode {
            refuse(fetch.request, &fetch.worst);
            self.end(number);
        } else {
            self.fetches.timers.set(number, PAUSE);
        }
    }

    /// A timer has run out.
    pub(crate) fn fetches_due(&mut self, timer: u64) {
        for number in self.fetches.timers.due(timer) {
            let Some(fetch) = self.fetches.open.get(&number) else { continue };
            if Instant::now().since(fetch.started) >= DEADLINE || fetch.attempts >= MAX_ATTEMPTS {
                if fetch.is_missing {
                    respond(fetch.request, Ok(&encode(&None::<Found>)));
                } else {
                    refuse(fetch.request, &fetch.worst);
                }
                self.end(number);
            } else {
                self.attempt(number);
            }
        }
    }

    /// Asks again, and not this node.
    fn without(&mut self, number: u64, server: NodeId) {
        let Some(fetch) = self.fetches.open.get_mut(&number) else { return };
        if fetch.avoid.len() < MAX_AVOID && !fetch.avoid.contains(&server) {
            fetch.avoid.push(server);
        }
        self.fetches.timers.set(number, Duration::ZERO);
    }

    fn attempt(&mut self, number: u64) {
        let Some(fetch) = self.fetches.open.get_mut(&number) else { return };
        let lookup = fetch.lookup(number);
        fetch.attempts += 1;
        let (key, caching) = (key_of(&lookup.id), lookup.caching);
        let payload = LookupMessage::Lookup(lookup).encode();
        let sent = match caching {
            Caching::Off => route::route(key, &payload),
            Caching::Replicas | Caching::Path => route::route_per_hop(key, &payload, None),
        };
        let patience = if sent.is_ok() { self.fetches.patience.patience(fetch.attempts - 1) } else { PAUSE };
        if sent.is_err() {
            fetch.worst = Refusal::NotJoined;
        }
        fetch.message = sent.ok();
        self.fetches.timers.set(number, patience);
    }

    fn end(&mut self, number: u64) {
        self.fetches.open.remove(&number);
        self.fetches.timers.cancel(&number);
    }
}

impl Fetch {
    fn lookup(&self, number: u64) -> Lookup {
        Lookup {
            number,
            asker: route::myself(),
            kind: self.kind,
            id: self.id,
            caching: match self.attempts {
                early if early < LAST_PER_HOP => self.caching,
                // The node responsible may be the one that lies: then another replica is asked.
                later if later % 2 == 1 => self.caching.min(Caching::Replicas),
                _ => Caching::Off,
            },
            attempt: self.attempts,
            avoid: self.avoid.clone(),
            path: Vec::new(),
        }
    }
}

fn found(fetch: &Fetch, bytes: &Block, from: NodeId, cached: bool, contacts: u32) {
    let found = Found { bytes: bytes.to_vec().into(), from: from.to_bytes().into(), cached, contacts };
    respond(fetch.request, Ok(&encode(&Some(found))));
}
