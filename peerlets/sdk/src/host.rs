//! Who answers what a peerlet asks for: on a node the contract's imports, elsewhere whatever a test puts in their place.

#[cfg(not(target_family = "wasm"))]
pub mod native;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{client, identity, log, route, storage, time, timer};

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::prost::peerlet::{client, identity, log, route, storage, timer};

/// Clocks and random numbers, which come from WASI.
#[cfg(target_family = "wasm")]
pub(crate) mod time {
    use core::time::Duration;
    use std::sync::OnceLock;
    use std::time::{Instant, SystemTime};

    pub(crate) fn monotonic() -> Duration {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        // Not zero at the first event, so that a point of time before it can be named.
        ORIGIN.get_or_init(Instant::now).elapsed() + Duration::from_secs(3600)
    }

    pub(crate) fn wall() -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    pub(crate) fn random(bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("WASI has random numbers");
    }
}
