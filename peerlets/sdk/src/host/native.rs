//! A stand-in for the node, where a peerlet runs as a part of a test.
//!
//! [`with`] puts a [`Host`] in the place of the contract's imports for as long as a closure runs, on its own thread. All
//! modules of the kit then ask that host.

use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;

use crate::bindings::prost::peerlet as contract;
use crate::{Dispatch, Key, KeyRange, NodeId};
use contract::client::ClientError;
use contract::identity::Signature;
use contract::log::Level;
use contract::route::{Replicas, RouteError};
use contract::storage::{Allowance, Place, StorageError};
use contract::timer::TimerError;

/// What the contract's imports do, function by function, and the clocks and random numbers of WASI.
#[allow(missing_docs, reason = "each is the function of the same name in the contract, which documents it")]
pub trait Host {
    /// Since an arbitrary origin.
    fn monotonic(&self) -> Duration;
    /// Since 1970.
    fn wall(&self) -> Duration;
    /// Fills the bytes.
    fn random(&mut self, bytes: &mut [u8]);

    fn route(&mut self, key: Key, payload: &[u8], dispatch: Dispatch, hint: Option<NodeId>) -> Result<u64, RouteError>;
    fn send(&mut self, to: NodeId, payload: &[u8]) -> Result<u64, RouteError>;
    fn myself(&self) -> NodeId;
    fn local_lookup(&self, key: Key, max: u32, safe: bool) -> Vec<NodeId>;
    fn neighbour_set(&self, max: u32) -> Vec<NodeId>;
    fn replica_set(&self, key: Key, max: u32) -> Replicas;
    fn range(&self, node: NodeId, rank: u32) -> Option<KeyRange>;
    fn round_trip(&self, node: NodeId) -> Option<u32>;
    fn watch(&mut self, node: NodeId) -> Result<(), RouteError>;
    fn unwatch(&mut self, node: NodeId);

    fn get(&mut self, place: Place, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;
    fn put(&mut self, place: Place, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), StorageError>;
    fn delete(&mut self, place: Place, name: &[u8]) -> Result<(), StorageError>;
    fn names(
        &mut self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, StorageError>;
    fn keys(&mut self, range: KeyRange, after: Option<Key>, max: u32) -> Result<Vec<Key>, StorageError>;
    fn usage(&self) -> Allowance;

    fn set_timer(&mut self, after_ms: u64, tag: u64) -> Result<u64, TimerError>;
    fn cancel_timer(&mut self, timer: u64);

    fn respond(&mut self, request: u64, outcome: Result<&[u8], &str>) -> Result<(), ClientError>;
    fn push(&mut self, request: u64, item: &[u8]) -> Result<(), ClientError>;

    fn sign(&mut self, statement: &[u8]) -> Signature;
    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool;

    fn log(&mut self, level: Level, line: &str);
}

std::thread_local! {
    static HOST: RefCell<Option<Rc<RefCell<dyn Host>>>> = const { RefCell::new(None) };
}

/// Runs `act` with this host, and gives the host back.
///
/// # Panics
///
/// Where `act` is itself run with a host: a node runs one event at a time.
pub fn with<H: Host + 'static, T>(host: H, act: impl FnOnce() -> T) -> (H, T) {
    /// Takes the host away also where `act` panics, so that the thread's next test begins without it.
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            HOST.set(None);
        }
    }
    let shared = Rc::new(RefCell::new(host));
    let before = HOST.replace(Some(shared.clone()));
    let reset = Reset;
    assert!(before.is_none(), "a host is asked from within another's event");
    let result = act();
    drop(reset);
    let Ok(host) = Rc::try_unwrap(shared) else { unreachable!("nobody else keeps it") };
    (host.into_inner(), result)
}

fn ask<T>(question: impl FnOnce(&mut dyn Host) -> T) -> T {
    let host = HOST.with_borrow(Clone::clone);
    let host =
        host.expect("a peerlet asks its node: run it with prost_peerlet::testing or prost_peerlet::native::with");
    let mut host = host.borrow_mut();
    question(&mut *host)
}

macro_rules! stand_in {
    ($(#[$of:meta])* mod $module:ident uses $($name:ident),* ; $(fn $function:ident as $method:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $(#[$of])*
        pub(crate) mod $module {
            use super::*;
            pub use super::contract::$module::{$($name),*};
            $(
                #[allow(missing_docs, unreachable_pub, reason = "see the contract; the kit's modules pass most of them on")]
                pub fn $function($($argument: $type),*) -> $result {
                    ask(|host| host.$method($($argument),*))
                }
            )*
        }
    };
}

stand_in! { mod route uses Replicas, RouteError;
    fn route as route(key: Key, payload: &[u8], dispatch: Dispatch, hint: Option<NodeId>) -> Result<u64, RouteError>;
    fn send as send(to: NodeId, payload: &[u8]) -> Result<u64, RouteError>;
    fn myself as myself() -> NodeId;
    fn local_lookup as local_lookup(key: Key, max: u32, safe: bool) -> Vec<NodeId>;
    fn neighbour_set as neighbour_set(max: u32) -> Vec<NodeId>;
    fn replica_set as replica_set(key: Key, max: u32) -> Replicas;
    fn range as range(node: NodeId, rank: u32) -> Option<KeyRange>;
    fn round_trip as round_trip(node: NodeId) -> Option<u32>;
    fn watch as watch(node: NodeId) -> Result<(), RouteError>;
    fn unwatch as unwatch(node: NodeId) -> ();
}

stand_in! { mod storage uses Allowance, Place, StorageError;
    fn get as get(place: Place, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;
    fn put as put(place: Place, name: &[u8], value: &[u8], expires_in: Option<u64>) -> Result<(), StorageError>;
    fn delete as delete(place: Place, name: &[u8]) -> Result<(), StorageError>;
    fn names as names(place: Place, prefix: &[u8], after: Option<&[u8]>, max: u32) -> Result<Vec<Vec<u8>>, StorageError>;
    fn keys as keys(range: KeyRange, after: Option<Key>, max: u32) -> Result<Vec<Key>, StorageError>;
    fn usage as usage() -> Allowance;
}

stand_in! { mod timer uses TimerError;
    fn set as set_timer(after_ms: u64, tag: u64) -> Result<u64, TimerError>;
    fn cancel as cancel_timer(timer: u64) -> ();
}

stand_in! { mod client uses ClientError;
    fn respond as respond(request: u64, outcome: Result<&[u8], &str>) -> Result<(), ClientError>;
    fn push as push(request: u64, item: &[u8]) -> Result<(), ClientError>;
}

stand_in! { mod identity uses Signature;
    fn sign as sign(statement: &[u8]) -> Signature;
    fn verify as verify(signer: NodeId, statement: &[u8], signature: &Signature) -> bool;
}

stand_in! { mod log uses Level;
    fn write as log(level: Level, line: &str) -> ();
}

pub(crate) mod time {
    use super::{Duration, ask};

    pub(crate) fn monotonic() -> Duration {
        ask(|host| host.monotonic())
    }

    pub(crate) fn wall() -> Duration {
        ask(|host| host.wall())
    }

    pub(crate) fn random(bytes: &mut [u8]) {
        ask(|host| host.random(bytes));
    }
}
