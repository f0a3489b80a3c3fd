//! The event's clocks, which stand still while it runs.

use prost_contract::TrapKind;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Duration, Instant};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::{self, Datetime};
use wasmtime_wasi::p2::{DynInputStream, DynPollable, pipe::ClosedInputStream, subscribe};

use crate::state::{State, Stop};

const NANOS_PER_MILLI: u32 = 1_000_000;

impl wall_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        self.charge(0, size_of::<Datetime>())?;
        let now = self.turn.context().now_ms;
        Ok(Datetime { seconds: now / 1_000, nanoseconds: (now % 1_000) as u32 * NANOS_PER_MILLI })
    }

    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        self.charge(0, size_of::<Datetime>())?;
        Ok(Datetime { seconds: 0, nanoseconds: NANOS_PER_MILLI })
    }
}

impl monotonic_clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        self.charge(0, size_of::<Instant>())?;
        Ok(self.turn.context().monotonic_ns)
    }

    fn resolution(&mut self) -> wasmtime::Result<Duration> {
        self.charge(0, size_of::<Duration>())?;
        Ok(u64::from(NANOS_PER_MILLI))
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        self.charge(0, size_of::<Instant>())?;
        self.past(when <= self.turn.context().monotonic_ns)
    }

    fn subscribe_duration(&mut self, when: Duration) -> wasmtime::Result<Resource<DynPollable>> {
        self.charge(0, size_of::<Duration>())?;
        self.past(when == 0)
    }
}

impl State {
    /// What waits for a time that has come; the time of an event comes no further.
    fn past(&mut self, come: bool) -> wasmtime::Result<Resource<DynPollable>> {
        if !come {
            return Err(Stop::error(TrapKind::Fault, "a handler cannot wait: set a timer"));
        }
        let always: DynInputStream = Box::new(ClosedInputStream);
        let always = self.table.push(always)?;
        subscribe(&mut self.table, always)
    }
}
