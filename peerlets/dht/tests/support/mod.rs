//! What a program asks of the dht.

use dht::Dht;
use prost_dht_api::{Found, GET, Get, Id as ApiId, PUT, Put, REMOVE, Refusal, Remove, Stored};
use prost_kbr::{Dispatch, Header, Key};
use prost_peerlet::Id;
use prost_peerlet::cbor::Bytes;
use prost_peerlet_ring::{Index, Ring};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

pub(crate) fn key(name: &str) -> ApiId {
    ByteArray::new(Id::hash(name.as_bytes()).to_bytes())
}

pub(crate) fn bytes(text: &str) -> ByteBuf {
    ByteBuf::from(text.as_bytes())
}

/// Asks at a node, and waits.
pub(crate) fn ask<Q: Serialize, A: DeserializeOwned>(
    ring: &mut Ring<Dht>,
    node: Index,
    method: &str,
    question: &Q,
) -> Result<A, Refusal> {
    let body = serde_cbor::to_vec(question).expect("encodes");
    match ring.ask(node, method, &body) {
        Ok(body) => Ok(serde_cbor::from_slice(&body).expect("decodes")),
        Err(text) => Err(text.parse().unwrap_or(Refusal::Unreachable)),
    }
}

fn write(
    ring: &mut Ring<Dht>,
    name: &str,
    value: &[u8],
    expires_in: Option<u64>,
    if_version: Option<u64>,
) -> Result<Stored, Refusal> {
    let node = ring.any();
    let put = Put { key: key(name), name: bytes(name), value: ByteBuf::from(value), expires_in, if_version };
    ask(ring, node, PUT, &put)
}

pub(crate) fn put(ring: &mut Ring<Dht>, name: &str, value: &[u8], expires_in: Option<u64>) -> Result<Stored, Refusal> {
    write(ring, name, value, expires_in, None)
}

pub(crate) fn put_if(ring: &mut Ring<Dht>, name: &str, value: &[u8], version: u64) -> Result<Stored, Refusal> {
    write(ring, name, value, None, Some(version))
}

pub(crate) fn remove(ring: &mut Ring<Dht>, name: &str) -> Result<Stored, Refusal> {
    let node = ring.any();
    ask(ring, node, REMOVE, &Remove { key: key(name), name: bytes(name), if_version: None })
}

fn read(ring: &mut Ring<Dht>, name: &str, nearest: bool) -> Result<Option<Found>, Refusal> {
    let node = ring.any();
    ask(ring, node, GET, &Get { key: key(name), name: bytes(name), nearest })
}

pub(crate) fn get(ring: &mut Ring<Dht>, name: &str) -> Result<Option<Found>, Refusal> {
    read(ring, name, false)
}

pub(crate) fn get_nearest(ring: &mut Ring<Dht>, name: &str) -> Result<Option<Found>, Refusal> {
    read(ring, name, true)
}

/// What the tier says for a put, as it is on the wire: variant 0 of the question, variant 0 of the operation.
pub(crate) fn same_put(name: &str, value: &[u8]) -> impl minicbor::Encode<()> {
    let fields = (Bytes::from(name), Bytes::from(value), Option::<u64>::None, Option::<u64>::None);
    (0_u8, ((0_u8, fields),))
}

/// A message from outside the application's own code.
pub(crate) fn route(ring: &mut Ring<Dht>, node: Index, key: Id, payload: Vec<u8>) {
    let app = ring.app();
    let header = Header { app, locator: String::new() };
    let route = prost_sim::Route {
        header,
        key: Key::from_bytes(key.to_bytes()),
        dispatch: Dispatch::EndNode,
        payload: payload.into(),
    };
    ring.world().act(prost_sim::Act::Route { node, request: u64::MAX, route: Box::new(route) });
}
