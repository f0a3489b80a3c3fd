//! What a peerlet is told.

use std::sync::Arc;

use bytes::Bytes;
use prost_kbr::{Change, Dispatch, Failure, Interval, Key, NodeId, RingView};

/// One call of the contract's `handler` interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The instance starts.
    Init(Start),
    /// A message has arrived.
    Deliver(Message),
    /// A message of type 0 is about to go on.
    Forward {
        /// The message.
        message: Message,
        /// The next hop that routing would take.
        next: NodeId,
    },
    /// The neighbourhood has changed.
    Update(Change),
    /// A timer has run out.
    Fired {
        /// The timer.
        timer: u64,
        /// What the peerlet gave when it set the timer.
        tag: u64,
    },
    /// A local program asks.
    Serve(Request),
    /// A route or a send came to nothing.
    Failed {
        /// The message.
        message: u64,
        /// Why.
        reason: Failure,
    },
}

impl Event {
    /// The name of the handler function.
    pub const fn name(&self) -> &'static str {
        match self {
            Event::Init(_) => "init",
            Event::Deliver(_) => "deliver",
            Event::Forward { .. } => "forward",
            Event::Update(_) => "update",
            Event::Fired { .. } => "fired",
            Event::Serve(_) => "serve",
            Event::Failed { .. } => "failed",
        }
    }
}

/// What `init` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The component's version.
    pub version: String,
    /// The version whose records are in storage, after an upgrade.
    pub upgraded_from: Option<String>,
    /// The operator's settings for the application.
    pub settings: Vec<u8>,
}

/// A message as a peerlet sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The same for every hop and every retry.
    pub id: u64,
    /// The destination key; none for a direct send.
    pub key: Option<Key>,
    /// The PROST application type.
    pub dispatch: Dispatch,
    /// The node that sent it first, as the message claims.
    pub origin: NodeId,
    /// The node it came from, as its connection proves.
    pub previous: NodeId,
    /// Hops taken.
    pub hops: u32,
    /// The data.
    pub payload: Bytes,
}

/// A question of a local program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names it for `client.respond`.
    pub id: u64,
    /// What is asked.
    pub method: String,
    /// With what.
    pub body: Bytes,
}

/// What surrounds an event: all that a handler can learn besides the event itself and the records.
#[derive(Debug, Clone)]
pub struct Context {
    /// The ring as the node knows it.
    pub view: Arc<RingView>,
    /// Ranges that the node has become responsible for and whose records are still on their way: there is no telling what
    /// is there.
    pub settling: Arc<[Interval]>,
    /// Wall clock, milliseconds since 1970.
    pub now_ms: u64,
    /// Monotonic clock, nanoseconds since an arbitrary origin.
    pub monotonic_ns: u64,
    /// Seed of the random numbers that this event may draw.
    pub seed: u64,
    /// Messages and timers that this event makes are numbered from here, at most
    /// [`Limits::effects`](crate::Limits::effects) of them.
    pub first_id: u64,
    /// Bytes of records the application has, before this event.
    pub storage_used: u64,
    /// The node's disk is nearly full: a write that takes more room than it frees is refused, as one over quota is.
    pub storage_full: bool,
}
