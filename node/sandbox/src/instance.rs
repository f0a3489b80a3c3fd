//! A running peerlet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use prost_contract::{Capability, Context, Event, Execution, Limits, Outcome, Overlay, Receipt, Trap, TrapKind};
use prost_kbr::Refusal;
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::bindings::Peerlet;
use crate::compile::Compiled;
use crate::engine::TICK;
use crate::meter;
use crate::signer::Signer;
use crate::state::State;
use crate::text::clean;
use crate::trap::{classify, host_panic};

/// Why an instance did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It signs, and nobody here signs for it.
    #[error("the component imports 'identity', and there is no signer")]
    NoSigner,
    /// The engine's pool is full.
    #[error("no more peerlets can run on this node: {0}")]
    NoRoom(String),
    /// Its start code trapped, or its memory is over the limit from the start.
    #[error("the component did not start: {}", .trap.message)]
    Trapped {
        /// How.
        trap: Trap,
        /// What it cost nevertheless.
        receipt: Receipt,
    },
}

impl StartError {
    /// What the node answers.
    pub fn refusal(&self) -> Refusal {
        match self {
            StartError::NoSigner => Refusal::MissingCapability,
            StartError::NoRoom(_) => Refusal::OverBudget,
            StartError::Trapped { .. } => Refusal::InitFailed,
        }
    }
}

/// A peerlet that lives from event to event, one at a time. After a trap it is gone, memory and all.
pub struct Instance {
    live: Option<Live>,
    started: Receipt,
}

struct Live {
    store: Store<State>,
    peerlet: Peerlet,
}

impl Instance {
    /// Makes an instance and runs the component's start code, under the limits of an event and with the clocks and the
    /// seed of `context`. [`Event::Init`] comes after it and is the owner's to send.
    ///
    /// A `signer` is needed by what imports [`Capability::Identity`].
    pub fn start(
        compiled: &Compiled,
        limits: Limits,
        signer: Option<Arc<dyn Signer>>,
        context: &Context,
    ) -> Result<Instance, StartError> {
        if signer.is_none() && compiled.imports().capabilities.contains(&Capability::Identity) {
            return Err(StartError::NoSigner);
        }
        let clock = Clock::now();
        let engine = compiled.pre().engine();
        let mut store = Store::new(engine, State::new(limits, signer, context.clone()));
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(meter::CALL_BYTES);
        store.set_max_component_handles(meter::HANDLES);
        arm(&mut store);
        let peerlet = catch_unwind(AssertUnwindSafe(|| compiled.pre().instantiate(&mut store)));
        let trap = match peerlet {
            Ok(Ok(peerlet)) => {
                let started = receipt(&store, clock.elapsed());
                return Ok(Instance { live: Some(Live { store, peerlet }), started });
            }
            Ok(Err(error)) if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() => {
                return Err(StartError::NoRoom(clean(&error.root_cause().to_string(), meter::LINE_BYTES)));
            }
            Ok(Err(error)) => classify(&error, store.data()),
            Err(_) => host_panic(),
        };
        let receipt = Receipt { memory_bytes: 0, ..receipt(&store, clock.elapsed()) };
        Err(StartError::Trapped { trap, receipt })
    }

    /// What starting it cost.
    pub fn started(&self) -> Receipt {
        self.started
    }

    /// Whether it has trapped. Its owner starts another, which finds the records and nothing else.
    pub fn is_gone(&self) -> bool {
        self.live.is_none()
    }

    /// Runs one event over the records.
    ///
    /// Afterwards the records hold the writes of the event too, if it ended well: give them to the next event of a
    /// batch. [`Context::storage_used`] counts what is below the overlay. An event to an instance that is gone traps
    /// and costs nothing.
    pub fn run(&mut self, event: &Event, context: &Context, records: &mut Overlay) -> Execution {
        let Some(live) = &mut self.live else {
            let trap = Trap { kind: TrapKind::Fault, message: "the instance is gone".to_owned() };
            return failed(Outcome::Trapped(trap), Receipt::default());
        };
        let clock = Clock::now();
        live.store.data_mut().begin(context, core::mem::take(records));
        arm(&mut live.store);
        let called = catch_unwind(AssertUnwindSafe(|| live.call(event)));
        let outcome = match called {
            Ok(Ok(outcome)) => settle(outcome, &live.store),
            Ok(Err(error)) => Outcome::Trapped(classify(&error, live.store.data())),
            Err(_) => Outcome::Trapped(host_panic()),
        };
        let mut receipt = receipt(&live.store, clock.elapsed());
        let well = matches!(outcome, Outcome::Done | Outcome::Verdict(_));
        let (effects, writes);
        (*records, effects, writes) = live.store.data_mut().end(well);
        if let Outcome::Trapped(_) = outcome {
            self.live = None;
            receipt.memory_bytes = 0;
        }
        Execution { outcome, effects, writes, receipt }
    }
}

impl Live {
    fn call(&mut self, event: &Event) -> wasmtime::Result<Outcome> {
        let handler = self.peerlet.prost_peerlet_handler();
        let store = &mut self.store;
        let returned = match event {
            Event::Init(start) => handler.call_init(store, start.into())?,
            Event::Deliver(message) => handler.call_deliver(store, message.into())?,
            Event::Serve(request) => handler.call_serve(store, request.into())?,
            Event::Update(change) => {
                handler.call_update(store, change.into())?;
                Ok(())
            }
            Event::Fired { timer, tag } => {
                handler.call_fired(store, *timer, *tag)?;
                Ok(())
            }
            Event::Failed { message, reason } => {
                handler.call_failed(store, *message, reason.into())?;
                Ok(())
            }
            Event::Forward { message, next } => {
                let verdict = handler.call_forward(store, message.into(), (*next).into())?;
                return Ok(Outcome::Verdict(verdict.into()));
            }
        };
        Ok(match returned {
            Ok(()) => Outcome::Done,
            Err(reason) => Outcome::Refused(clean(&reason, meter::LINE_BYTES)),
        })
    }
}

/// Gives a store the fuel and the time of one event.
fn arm(store: &mut Store<State>) {
    let limits = store.data().turn.limits();
    let (fuel, wall) = (limits.fuel, limits.wall);
    store.set_fuel(fuel).expect("the engine consumes fuel");
    // One tick more, since the one under way has partly gone.
    let ticks = wall.as_nanos().div_ceil(TICK.as_nanos()).saturating_add(1);
    store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX / 2).min(u64::MAX / 2));
}

fn receipt(store: &Store<State>, elapsed: Duration) -> Receipt {
    let state = store.data();
    let left = store.get_fuel().expect("the engine consumes fuel");
    Receipt {
        fuel: state.turn.limits().fuel.saturating_sub(left).saturating_add(state.account.charged),
        memory_bytes: state.limiter.used(),
        micros: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
    }
}

/// What a handler's return comes to, after all.
fn settle(outcome: Outcome, store: &Store<State>) -> Outcome {
    let state = store.data();
    if receipt(store, Duration::ZERO).fuel > state.turn.limits().fuel {
        let message = "the event used up its fuel, host calls included".to_owned();
        return Outcome::Trapped(Trap { kind: TrapKind::OutOfFuel, message });
    }
    if state.turn.store_failed() {
        return Outcome::Refused("the store failed".to_owned());
    }
    match outcome {
        Outcome::Verdict(prost_contract::Verdict::Rewrite { payload, .. })
            if payload.len() > state.turn.limits().payload_bytes as usize =>
        {
            Outcome::Refused(format!("a rewritten payload of {} bytes is too large", payload.len()))
        }
        other => other,
    }
}

/// Nothing of the event takes effect.
fn failed(outcome: Outcome, receipt: Receipt) -> Execution {
    Execution { outcome, effects: Vec::new(), writes: Vec::new(), receipt }
}
