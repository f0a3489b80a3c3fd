//! The event's random numbers.

use prost_contract::TrapKind;
use rand_chacha::rand_core::RngCore as _;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::state::{State, Stop};

/// Bytes of one draw.
const BYTES: u64 = 64 << 10;

impl State {
    fn draw_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        if length > BYTES {
            return Err(Stop::error(TrapKind::TooManyEffects, "the event asked for too many random bytes at once"));
        }
        self.charge(0, length as usize)?;
        let mut bytes = vec![0; length as usize];
        self.random().fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn draw(&mut self) -> wasmtime::Result<u64> {
        self.charge(0, size_of::<u64>())?;
        Ok(self.random().next_u64())
    }
}

impl random::Host for State {
    fn get_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.draw_bytes(length)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.draw()
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, length: u64) -> wasmtime::Result<Vec<u8>> {
        self.draw_bytes(length)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.draw()
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((self.draw()?, self.draw()?))
    }
}
