//! What host calls cost, in fuel, and how much a guest may hold and say.
//!
//! A unit of fuel is about one WebAssembly instruction, so a price is about the number of instructions that the host
//! spends. Prices are part of what makes receipts comparable: they change only together with the engine's version.

/// Any host call: crossing the border and back.
pub(crate) const CALL: u64 = 100;
/// Each byte that crosses the border.
pub(crate) const BYTE: u64 = 1;
/// A question that is answered from the view of the ring.
pub(crate) const RING_QUERY: u64 = 2_000;
/// Reading one record, or finding out how large it is.
pub(crate) const RECORD_READ: u64 = 5_000;
/// Listing names or keys, besides what each of them costs.
pub(crate) const RECORD_LIST: u64 = 10_000;
/// Each name or key of a list.
pub(crate) const RECORD_LISTED: u64 = 500;
/// Anything that outlives the event: a message, a write, a timer, an answer.
pub(crate) const EFFECT: u64 = 1_000;
/// An Ed25519 signature.
pub(crate) const SIGN: u64 = 100_000;
/// Checking an Ed25519 signature.
pub(crate) const VERIFY: u64 = 200_000;

/// Bytes that one host call may copy out of a guest. wasmtime stops a call that lifts more.
pub(crate) const CALL_BYTES: usize = 1 << 20;
/// Host resources, such as streams, that an instance may hold.
pub(crate) const RESOURCES: usize = 256;
/// Handles of all kinds that an instance may hold, its own resources included.
pub(crate) const HANDLES: usize = 10_000;
/// Log lines of one event; more are dropped.
pub(crate) const LINES: usize = 16;
/// Bytes of one log line, of a refusal or of a trap's message; more are cut off.
pub(crate) const LINE_BYTES: usize = 1 << 10;
/// Bytes of standard output and standard error that are kept of one event.
pub(crate) const OUTPUT_BYTES: usize = 8 << 10;
