//! Capability `timer`.

use crate::bindings::prost::peerlet::timer::{Host, TimerError};
use crate::meter;
use crate::state::{State, bounded};

impl Host for State {
    fn set(&mut self, after_ms: u64, tag: u64) -> wasmtime::Result<Result<u64, TimerError>> {
        self.enter(meter::EFFECT, 0)?;
        bounded(self.turn.set_timer(after_ms, tag)).map(Ok)
    }

    fn cancel(&mut self, timer: u64) -> wasmtime::Result<()> {
        self.enter(meter::EFFECT, 0)?;
        bounded(self.turn.cancel_timer(timer))
    }
}
