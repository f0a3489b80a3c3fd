//! The sandbox of a Prost node: it runs one event of one peerlet and says what came of it.
//!
//! The life of a component:
//!
//! 1. [`inspect`] reads its imports and refuses what no node would run, before a compiler sees a byte of it.
//! 2. [`Compiled::compile`] compiles it against the capabilities that were granted. What was not granted is not linked.
//!    [`Compiled::with_code`] links [`Code`] that another process compiled.
//! 3. [`Instance::start`] makes an actor of it, which lives from event to event.
//! 4. [`Instance::run`] gives it one [`Event`](prost_contract::Event) and returns an
//!    [`Execution`](prost_contract::Execution): outcome, effects, writes and the receipt.
//!
//! A handler never waits and never acts: host calls read a snapshot of the ring and of the records, and note down what
//! the handler asks for. Should it trap, run out of fuel, time or memory, or ask for too much, then nothing of the event
//! remains, the instance is gone, and the receipt still says what it cost.
//!
//! Nothing here waits either, and nothing needs an async runtime. A call may take as long as
//! [`Limits::wall`](prost_contract::Limits::wall) and some compiling takes longer, so call from a thread that may block.

#![deny(unsafe_code)]

mod bindings;
mod code;
mod compile;
mod convert;
mod engine;
mod host;
mod inspect;
mod instance;
mod limiter;
mod meter;
mod signer;
mod state;
mod text;
mod trap;
mod types;
mod wasi;

pub use code::{Code, NotCode, SealKey};
pub use compile::{CompileError, Compiled, Wasi};
pub use engine::{Engine, EngineError, EngineOptions, TICK, Ticker};
pub use inspect::{BadComponent, COMPONENT_BYTES, Imports, inspect};
pub use instance::{Instance, StartError};
pub use signer::{Signature, Signer};
