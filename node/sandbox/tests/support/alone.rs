//! A node alone in its ring, without a record.

use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{Context, Place, Records, Unavailable};
use prost_kbr::{Id, Interval, Key, Peer, RingView};

/// What surrounds an event on such a node with this id.
pub(crate) fn context(me: Id) -> Context {
    let view = RingView {
        me: Peer { id: me, addr: ([127, 0, 0, 1], 4433).into() },
        joined: true,
        predecessors: Vec::new(),
        successors: Vec::new(),
        fingers: Vec::new(),
        backpointers: Vec::new(),
        round_trips: Vec::new(),
    };
    Context {
        view: Arc::new(view),
        settling: Arc::new([]),
        now_ms: 1_700_000_000_000,
        monotonic_ns: 5_000_000_000,
        seed: 7,
        first_id: 100,
        storage_used: 0,
        storage_full: false,
    }
}

/// No records.
pub(crate) struct Nothing;

impl Records for Nothing {
    fn get(&self, _: Place, _: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        Ok(None)
    }

    fn names(&self, _: Place, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<Vec<u8>>, Unavailable> {
        Ok(Vec::new())
    }

    fn keys(&self, _: Interval, _: Option<Key>, _: usize) -> Result<Vec<Key>, Unavailable> {
        Ok(Vec::new())
    }
}
