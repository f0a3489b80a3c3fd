//! What kind of trap it was, and what to say of it.

use prost_contract::{Trap, TrapKind};
use wasmtime::WasmBacktrace;

use crate::meter;
use crate::state::{State, Stop};
use crate::text::clean;

/// Functions of the backtrace that a message names.
const FRAMES: usize = 4;
/// Bytes of what the guest printed that a message repeats: a panic's reason comes this way.
const PRINTED: usize = 400;
/// How wasmtime says that one call copied more than it may. The error has no public type.
const TOO_MUCH_DATA: &str = "fuel allocated for hostcalls has been exhausted";

/// A trap of a guest in the state it left.
pub(crate) fn classify(error: &wasmtime::Error, state: &State) -> Trap {
    let kind = match kind_of(error) {
        // A guest that is denied memory usually gives up in its own way.
        TrapKind::Fault if state.limiter.hit() => TrapKind::OutOfMemory,
        kind => kind,
    };
    let mut message = error.root_cause().to_string();
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        let names = trace.frames().iter().filter_map(|frame| frame.func_name());
        for (name, link) in names.take(FRAMES).zip([" in ", " < ", " < ", " < "]) {
            message.push_str(link);
            message.push_str(&clean(name, 120));
        }
    }
    let printed = String::from_utf8_lossy(&state.account.output);
    if !printed.trim().is_empty() {
        message.push_str("; it printed: ");
        message.push_str(&clean(printed.trim(), PRINTED));
    }
    Trap { kind, message: clean(&message, meter::LINE_BYTES) }
}

/// The host itself panicked in a call: a bug of this node, which the peerlet pays for and its neighbours do not.
pub(crate) fn host_panic() -> Trap {
    Trap { kind: TrapKind::Fault, message: "the node failed in a call of the peerlet".to_owned() }
}

fn kind_of(error: &wasmtime::Error) -> TrapKind {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.kind;
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => TrapKind::OutOfFuel,
        Some(wasmtime::Trap::Interrupt) => TrapKind::OutOfTime,
        Some(_) => TrapKind::Fault,
        None if error.root_cause().to_string().contains(TOO_MUCH_DATA) => TrapKind::TooManyEffects,
        None => TrapKind::Fault,
    }
}
