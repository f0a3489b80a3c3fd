//! One node, whose effects are visible.

mod inserting;
mod looking;

use ed25519_dalek::{Signer, SigningKey};
use prost_cfs_api::{BlockId, Kind, Root};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::identity::Signature;
use prost_peerlet::testing::{Node, node_id};
use prost_peerlet::time::wall_ms;
use prost_peerlet::{NodeId, Result};

use crate::Cfs;
use crate::message::{Claim, Insert, Verdict, key_of};
use crate::store::{self, Held};

/// A signed root block of one publisher.
fn root(version: u64, payload: &[u8]) -> (BlockId, Vec<u8>) {
    let key = SigningKey::from_bytes(&[9; 32]);
    let publisher = key.verifying_key().to_bytes();
    let root = Root { publisher, salt: Vec::new(), version, payload: payload.to_vec() };
    let signature = key.sign(&root.statement()).to_bytes();
    (root.id(), root.encode(signature))
}

fn insert(kind: Kind, id: BlockId, bytes: Option<&[u8]>, ttl: u64) -> Insert {
    let claim = Claim::new(Signature { public_key: Vec::new(), bytes: Vec::new() });
    Insert { kind, id, bytes: bytes.map(Bytes::from), expires_at: wall_ms() + ttl * 1000, claim }
}

/// Has the node decide, as on behalf of this publisher.
fn accept(node: &mut Node<Cfs>, publisher: NodeId, kind: Kind, id: BlockId, bytes: Option<&[u8]>, ttl: u64) -> Verdict {
    let decided: Result<Verdict> = node.act(|cfs| {
        let quota = cfs.quota();
        store::accept(&mut cfs.ledger, quota, publisher, &insert(kind, id, bytes, ttl))
    });
    decided.expect("nothing fails")
}

fn put(node: &mut Node<Cfs>, bytes: &[u8], ttl: u64) -> Verdict {
    accept(node, node_id("p"), Kind::Content, BlockId::of(bytes), Some(bytes), ttl)
}

fn held(node: &mut Node<Cfs>, kind: Kind, id: BlockId) -> Option<Vec<u8>> {
    match node.act(|_| store::read(kind, &id)) {
        Held::Found(bytes, _) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn content(node: &mut Node<Cfs>, bytes: &[u8]) -> bool {
    held(node, Kind::Content, BlockId::of(bytes)).is_some_and(|held| held == bytes)
}
