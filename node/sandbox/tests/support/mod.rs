//! What every test needs: an engine, an event, records in memory.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test file uses a part of it")]

mod alone;
pub mod binary;
mod component;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{
    Capability, Context, Event, Execution, Limits, Message, Overlay, Place, Records, Request, SharedRecords,
    Unavailable,
};
use prost_kbr::{Dispatch, Id, Interval, Key};
use prost_sandbox::{Compiled, Engine, EngineOptions, Instance, StartError, Wasi};

pub use component::{OK, Peerlet, repeat};

pub fn engine() -> Engine {
    Engine::new(EngineOptions { pooled_instances: 4, ..EngineOptions::default() }).expect("an engine")
}

pub fn granted(capabilities: &[Capability]) -> BTreeSet<Capability> {
    capabilities.iter().copied().collect()
}

/// Compiles a peerlet with everything granted.
pub fn compile(engine: &Engine, peerlet: &Peerlet) -> Compiled {
    Compiled::compile(engine, &peerlet.build(), &granted(&Capability::ALL), Wasi::Inert).expect("it compiles")
}

pub fn try_start(peerlet: &Peerlet, limits: Limits) -> Result<Instance, StartError> {
    Instance::start(&compile(&engine(), peerlet), limits, None, &context())
}

pub fn start(peerlet: &Peerlet, limits: Limits) -> Instance {
    try_start(peerlet, limits).expect("it starts")
}

pub fn node(last: u8) -> Id {
    let mut bytes = [0; Id::LEN];
    bytes[0] = 0xa0;
    bytes[Id::LEN - 1] = last;
    Id::from_bytes(bytes)
}

/// A node alone in its ring.
pub fn context() -> Context {
    alone::context(node(1))
}

pub fn deliver(payload: &[u8]) -> Event {
    Event::Deliver(Message {
        id: 9,
        key: Some(node(2)),
        dispatch: Dispatch::EndNode,
        origin: node(3),
        previous: node(4),
        hops: 2,
        payload: Bytes::copy_from_slice(payload),
    })
}

pub fn serve(id: u64, body: &[u8]) -> Event {
    Event::Serve(Request { id, method: "ask".to_owned(), body: Bytes::copy_from_slice(body) })
}

pub fn no_records() -> Overlay {
    Overlay::new(shared(Memory::default()))
}

pub fn shared(records: Memory) -> SharedRecords {
    Arc::new(records)
}

/// Runs one event on no records.
pub fn run(instance: &mut Instance, event: &Event) -> Execution {
    instance.run(event, &context(), &mut no_records())
}

/// Records in memory, which can be told to fail.
#[derive(Default)]
pub struct Memory {
    pub records: BTreeMap<(Place, Vec<u8>), Bytes>,
    pub broken: bool,
}

impl Memory {
    fn check(&self) -> Result<(), Unavailable> {
        if self.broken { Err(Unavailable) } else { Ok(()) }
    }
}

impl Records for Memory {
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        self.check()?;
        Ok(self.records.get(&(place, name.to_vec())).cloned())
    }

    fn names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, Unavailable> {
        self.check()?;
        let names = self.records.keys().filter(|(at, _)| *at == place).map(|(_, name)| name);
        let names = names.filter(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_slice() > after));
        Ok(names.take(max).cloned().collect())
    }

    fn keys(&self, range: Interval, _: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable> {
        self.check()?;
        let keys = self.records.keys().filter_map(|(place, _)| match place {
            Place::At(key) if range.contains(*key) => Some(*key),
            Place::At(_) | Place::Node => None,
        });
        Ok(BTreeSet::from_iter(keys).into_iter().take(max).collect())
    }
}
