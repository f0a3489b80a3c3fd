//! The reference: a component called by wasmtime with nothing around it, its records in a map.

use std::collections::BTreeMap;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store};

use crate::PAYLOAD;

mod bindings {
    #![allow(missing_docs, unreachable_pub, reason = "generated code")]

    wasmtime::component::bindgen!({ path: "../../wit/peerlet.wit", world: "peerlet" });
}

use bindings::Peerlet;
use bindings::prost::peerlet::storage::{self, Allowance, Place, StorageError};
use bindings::prost::peerlet::types::{self, Dispatch, Id, KeyRange, Message};

/// Records by name.
#[derive(Default)]
struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

impl types::Host for Map {}

impl storage::Host for Map {
    fn get(&mut self, _: Place, name: Vec<u8>) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.0.get(&name).cloned())
    }

    fn put(&mut self, _: Place, _: Vec<u8>, _: Vec<u8>, _: Option<u64>) -> Result<(), StorageError> {
        unreachable!("`init` is not called")
    }

    fn delete(&mut self, _: Place, _: Vec<u8>) -> Result<(), StorageError> {
        unreachable!("it only reads")
    }

    fn names(&mut self, _: Place, _: Vec<u8>, _: Option<Vec<u8>>, _: u32) -> Result<Vec<Vec<u8>>, StorageError> {
        unreachable!("it only reads")
    }

    fn keys(&mut self, _: KeyRange, _: Option<Id>, _: u32) -> Result<Vec<Id>, StorageError> {
        unreachable!("it only reads")
    }

    fn usage(&mut self) -> Allowance {
        unreachable!("it only reads")
    }
}

/// An instance, and the message that it is given again and again.
pub(crate) struct Bare {
    store: Store<Map>,
    peerlet: Peerlet,
    message: Message,
}

impl Bare {
    /// With fuel and epochs counted, as a node has them.
    pub(crate) fn start(component: &[u8]) -> Bare {
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(true).concurrency_support(false);
        let engine = Engine::new(&config).expect("an engine");
        let component = Component::from_binary(&engine, component).expect("it compiles");
        let mut linker = Linker::new(&engine);
        types::add_to_linker::<_, HasSelf<Map>>(&mut linker, |map| map).expect("it links");
        storage::add_to_linker::<_, HasSelf<Map>>(&mut linker, |map| map).expect("it links");
        let records = BTreeMap::from([(b"name".to_vec(), vec![7; 100])]);
        let mut store = Store::new(&engine, Map(records));
        store.set_fuel(u64::MAX).expect("fuel is counted");
        store.set_epoch_deadline(u64::MAX / 2);
        let peerlet = Peerlet::instantiate(&mut store, &component, &linker).expect("it starts");
        let id = Id { high: 1, middle: 2, low: 3 };
        let message = Message {
            id: 9,
            key: Some(id),
            dispatch: Dispatch::EndNode,
            origin: id,
            previous: id,
            hops: 0,
            payload: vec![7; PAYLOAD],
        };
        Bare { store, peerlet, message }
    }

    /// Calls `deliver` so many times.
    pub(crate) fn deliver(&mut self, count: u64) {
        for _ in 0..count {
            let handler = self.peerlet.prost_peerlet_handler();
            handler.call_deliver(&mut self.store, &self.message).expect("no trap").expect("no error");
        }
    }
}
