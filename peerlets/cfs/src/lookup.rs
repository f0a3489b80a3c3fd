//! A question for a block on its way, and the block on its way back.
//!
//! A question is a per-hop message to the block's key. It ends at the first node that has the block, as a replica or in
//! its cache. A node that knows all replicas sends it to the one of them that is nearest by round-trip time (as the
//! paper's client does with the successors that it is told of, section 4.1); that saves the last hops of the look-up too
//! (Dabek et al., "Designing a DHT for low latency and high throughput", NSDI 2004, section 4.4).
//!
//! The block goes back along the nodes that the question came through, whose connections are there, as far as one that is
//! connected to the asker. Each keeps a copy. The paper's client sends these copies itself, which here would take a new
//! connection for each.

use prost_cfs_api::{BlockId, Caching, Kind};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Message, NodeId, Rewritten, Verdict, log, route};

use crate::cfs::Cfs;
use crate::fetch::LAST_PER_HOP;
use crate::message::{Answer, Lookup, LookupMessage, MAX_PATH, Say, key_of};
use crate::store::{self, Held};

/// Replicas of a block that are asked: what the package asks for.
const COPIES: u32 = 3;

impl Cfs {
    /// A question has arrived where it was to go.
    pub(crate) fn looked_up(&mut self, lookup: Lookup, message: &Message) {
        let contacts = message.hops + 1;
        // Who sends it straight has the answer of the node responsible, and wants another's.
        let is_asked_last = message.key.is_none();
        if !is_asked_last && message.key != Some(key_of(&lookup.id)) {
            return log::debug("dropped a question for a block at another block's key");
        }
        if let Some(found) = self.here(&lookup) {
            return self.answer(&lookup, contacts, found);
        }
        let me = route::myself();
        let is_avoided = lookup.avoid.contains(&me);
        let say = match store::read(lookup.kind, &lookup.id) {
            Held::Found(..) | Held::None => Say::NoEntry,
            Held::Elsewhere | Held::Damaged => Say::Retry,
        };
        if !is_asked_last
            && (is_avoided || say == Say::Retry)
            && let Some(other) = self.nearest(&lookup)
        {
            let payload = LookupMessage::Lookup(lookup.clone()).encode();
            if route::send(other, &payload).is_ok() {
                return;
            }
        }
        self.answer(&lookup, contacts, if is_avoided { Say::Retry } else { say });
    }

    /// A question passes by.
    pub(crate) fn passing(&mut self, mut lookup: Lookup, message: &Message) -> Verdict {
        let Some(key) = message.key.filter(|key| *key == key_of(&lookup.id)) else { return Verdict::Pass };
        if lookup.caching == Caching::Off || lookup.kind == Kind::Root {
            return Verdict::Pass;
        }
        if let Some(found) = self.here(&lookup) {
            self.answer(&lookup, message.hops + 1, found);
            return Verdict::Stop;
        }
        let me = route::myself();
        if lookup.path.len() == MAX_PATH || lookup.path.contains(&me) {
            return Verdict::Pass;
        }
        // A replica that has not got it leaves it to the node responsible, and not to another that may not have it either.
        let is_replica = route::replica_set(key, COPIES).nodes.contains(&me);
        let next = if is_replica { None } else { self.nearest(&lookup) };
        if lookup.asker != me {
            lookup.path.push(me);
        } else if next.is_none() {
            return Verdict::Pass;
        }
        Verdict::Rewrite(Rewritten { key, payload: LookupMessage::Lookup(lookup).encode(), next })
    }

    /// The block, where this node may answer and has it.
    pub(crate) fn here(&mut self, lookup: &Lookup) -> Option<Say> {
        if lookup.avoid.contains(&route::myself()) {
            return None;
        }
        if let Held::Found(bytes, expires_at) = store::read(lookup.kind, &lookup.id) {
            self.counts.served += 1;
            return Some(Say::Found { bytes, expires_at, cached: false });
        }
        if lookup.caching != Caching::Path || lookup.kind == Kind::Root {
            return None;
        }
        let (bytes, expires_at) = self.cache.get(&lookup.id)?;
        self.counts.cache_hits += 1;
        Some(Say::Found { bytes, expires_at, cached: true })
    }

    /// Another replica than this node, where this one knows them all: the nearest, or with each attempt the one after it.
    fn nearest(&self, lookup: &Lookup) -> Option<NodeId> {
        let replicas = route::replica_set(key_of(&lookup.id), COPIES);
        let me = route::myself();
        let mut nodes: Vec<NodeId> = replicas.nodes;
        nodes.retain(|node| *node != me && !lookup.avoid.contains(node));
        if !replicas.complete || nodes.is_empty() {
            return None;
        }
        nodes.sort_by_key(|node| route::round_trip(*node).unwrap_or(u32::MAX));
        nodes.get(usize::from(lookup.attempt) % nodes.len()).copied()
    }

    fn answer(&mut self, lookup: &Lookup, contacts: u32, say: Say) {
        let answer = Answer {
            number: lookup.number,
            asker: lookup.asker,
            id: lookup.id,
            caching: lookup.caching,
            path: lookup.path.clone(),
            server: route::myself(),
            contacts,
            say,
        };
        if let (Caching::Path, Say::Found { bytes, expires_at, .. }, Some(before)) =
            (lookup.caching, &answer.say, answer.path.last())
            && is_near(answer.asker)
        {
            // The block takes no way on which it could leave a copy: the last node that looked-for gets one.
            let copy = LookupMessage::Copy { bytes: bytes.clone(), expires_at: *expires_at };
            send(*before, &copy.encode());
        }
        self.pass_back(answer, lookup.attempt >= LAST_PER_HOP);
    }

    /// An answer has arrived: for this node, or to be passed on.
    pub(crate) fn answered(&mut self, answer: Answer) {
        if answer.asker == route::myself() {
            return self.fetched(answer);
        }
        if let (Caching::Path, Say::Found { bytes, expires_at, .. }) = (answer.caching, &answer.say)
            && BlockId::of(bytes) == answer.id
        {
            self.cache.insert(answer.id, bytes.clone(), *expires_at);
        }
        self.pass_back(answer, false);
    }

    /// A node sends a block that a question which came through here was for.
    pub(crate) fn keep_copy(&mut self, bytes: Bytes, expires_at: u64) {
        self.cache.insert(BlockId::of(&bytes), bytes, expires_at);
    }

    /// Sends an answer a step back, or to the asker itself: where there is a connection, or where nobody on the way is
    /// trusted with it any more.
    fn pass_back(&mut self, mut answer: Answer, alone: bool) {
        let asker = answer.asker;
        if asker == route::myself() {
            return self.fetched(answer);
        }
        let is_straight = alone || is_near(asker);
        let before = if is_straight { None } else { answer.path.pop() };
        let payload = LookupMessage::Answer(answer).encode();
        match before {
            None if is_straight => send(asker, &payload),
            None => overlay(asker, &payload),
            Some(before) => match route::send(before, &payload) {
                Ok(message) => drop(self.relayed.insert(message, (asker, payload))),
                Err(_) => overlay(asker, &payload),
            },
        }
    }

    /// The node before this one is gone: the answer goes to the asker by its id.
    pub(crate) fn relay_failed(&mut self, message: u64) {
        if let Some((asker, payload)) = self.relayed.get(&message) {
            overlay(*asker, payload);
        }
    }
}

/// Whether there is a connection.
fn is_near(node: NodeId) -> bool {
    route::round_trip(node).is_some()
}

fn overlay(asker: NodeId, payload: &[u8]) {
    if route::route(asker, payload).is_err() {
        log::debug("an answer could not be sent");
    }
}

fn send(node: NodeId, payload: &[u8]) {
    if route::send(node, payload).is_err() {
        log::debug("a block could not be sent");
    }
}
