//! Capability `timer`.

use prost_contract::Effect;

use crate::bindings::prost::peerlet::timer::{Host, TimerError};
use crate::meter;
use crate::state::State;

impl Host for State {
    fn set(&mut self, after_ms: u64, tag: u64) -> wasmtime::Result<Result<u64, TimerError>> {
        self.enter(meter::EFFECT, 0)?;
        let timer = self.next_id();
        self.effect(Effect::SetTimer { timer, after_ms, tag }, 0)?;
        Ok(Ok(timer))
    }

    fn cancel(&mut self, timer: u64) -> wasmtime::Result<()> {
        self.enter(meter::EFFECT, 0)?;
        self.effect(Effect::CancelTimer(timer), 0)
    }
}
