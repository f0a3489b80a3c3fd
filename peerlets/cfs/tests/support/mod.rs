//! Blocks on a ring.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use cfs::Cfs;
use ed25519_dalek::{Signer, SigningKey};
use prost_cfs_api::{
    BlockId, Caching, EXTEND, Extend, Found, GET, Get, Kind, PUT, Put, Refusal, Root, Stored, decode, encode, verify,
};
use prost_package::manifest::Acknowledgement;
use prost_peerlet::{Id, Key};
use prost_peerlet_ring::{Index, Ring, Setup, Ticket};

pub const HOUR: u64 = 3600;

/// A ring as the package has it: a write is done once every replica has it.
pub fn grow(setup: Setup) -> Ring<Cfs> {
    Ring::grow(Setup { acknowledgement: Acknowledgement::All, ..setup })
}

pub fn small(seed: u64) -> Ring<Cfs> {
    grow(Setup { nodes: 24, seed, ..Setup::new("cfs") })
}

/// A block of this number.
pub fn block(number: u64) -> Vec<u8> {
    number.to_be_bytes().repeat(1024)
}

pub fn id(number: u64) -> BlockId {
    BlockId::of(&block(number))
}

pub fn key(id: &BlockId) -> Key {
    Id::from_bytes(id.key())
}

pub fn root(version: u64, payload: &[u8]) -> (BlockId, Vec<u8>) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let publisher = key.verifying_key().to_bytes();
    let root = Root { publisher, salt: Vec::new(), version, payload: payload.to_vec() };
    let signature = key.sign(&root.statement()).to_bytes();
    (root.id(), root.encode(signature))
}

pub fn refusal(text: String) -> Refusal {
    text.parse().unwrap_or(Refusal::BadRequest(text))
}

pub fn put_body(kind: Kind, bytes: &[u8], ttl: u64) -> Vec<u8> {
    encode(&Put { kind, bytes: bytes.to_vec().into(), ttl })
}

pub fn get_body(kind: Kind, id: BlockId, caching: Caching) -> Vec<u8> {
    encode(&Get { kind, id, avoid: Vec::new(), caching })
}

pub fn put(ring: &mut Ring<Cfs>, node: Index, kind: Kind, bytes: &[u8], ttl: u64) -> Result<Stored, Refusal> {
    let answer = ring.ask(node, PUT, &put_body(kind, bytes, ttl)).map_err(refusal)?;
    Ok(decode(&answer).expect("as documented"))
}

/// Asks again, as a client does, while that may help.
pub fn keep_putting(ring: &mut Ring<Cfs>, node: Index, kind: Kind, bytes: &[u8]) -> Result<Stored, Refusal> {
    let mut last = Refusal::Deadline;
    for _ in 0..5 {
        match put(ring, node, kind, bytes, 24 * HOUR) {
            Err(refusal) if refusal.is_transient() => last = refusal,
            other => return other,
        }
        ring.run(core::time::Duration::from_secs(2));
    }
    Err(last)
}

pub fn extend(ring: &mut Ring<Cfs>, node: Index, id: BlockId, ttl: u64) -> Result<Option<Stored>, Refusal> {
    let body = encode(&Extend { kind: Kind::Content, id, ttl });
    let answer = ring.ask(node, EXTEND, &body).map_err(refusal)?;
    Ok(decode(&answer).expect("as documented"))
}

/// Checked as every client checks it.
pub fn found(kind: Kind, id: &BlockId, answer: &[u8]) -> Option<Found> {
    let found: Option<Found> = decode(answer).expect("as documented");
    if let Some(found) = &found {
        verify(kind, id, &found.bytes).expect("the peerlet gives no other bytes");
    }
    found
}

pub fn get_from(ring: &mut Ring<Cfs>, node: Index, kind: Kind, id: BlockId, caching: Caching) -> Option<Found> {
    for _ in 0..4 {
        match ring.ask(node, GET, &get_body(kind, id, caching)) {
            Ok(answer) => return found(kind, &id, &answer),
            Err(text) => assert!(refusal(text.clone()).is_transient(), "{text}"),
        }
        ring.run(core::time::Duration::from_secs(2));
    }
    panic!("no answer to node {node} about {id}\n{:?}", ring.problems());
}

pub fn get(ring: &mut Ring<Cfs>, node: Index, id: BlockId) -> Option<Found> {
    get_from(ring, node, Kind::Content, id, Caching::Path)
}

/// The name of a content block's record.
pub fn name(id: &BlockId) -> Vec<u8> {
    [b"b", &id.0[20..]].concat()
}

/// Live nodes that hold a replica.
pub fn copies(ring: &Ring<Cfs>, id: &BlockId) -> usize {
    ring.copies(key(id), &name(id))
}

pub fn holders(ring: &Ring<Cfs>, id: &BlockId) -> Vec<Index> {
    let holds = |node: &Index| ring.record(*node, Some(key(id)), &name(id)).is_some();
    ring.members().into_iter().filter(holds).collect()
}

/// Inserts blocks, several at a time, from nodes drawn from the seed.
pub fn fill(ring: &mut Ring<Cfs>, numbers: core::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(64) {
        let calls: Vec<(u64, Ticket)> = some
            .iter()
            .map(|number| {
                let node = ring.any();
                (*number, ring.call(node, PUT, &put_body(Kind::Content, &block(*number), 24 * HOUR)))
            })
            .collect();
        ring.run(core::time::Duration::from_secs(6));
        for (number, call) in calls {
            let outcome = ring.answer(call).map(|answer| answer.outcome);
            if !matches!(outcome, Some(Ok(_))) {
                let node = ring.any();
                keep_putting(ring, node, Kind::Content, &block(number)).expect("stored");
            }
        }
    }
}
