//! What a handler asked for, and what it cost.

use bytes::Bytes;
use prost_kbr::{Dispatch, Key, NodeId, Verdict};

use crate::records::Place;

/// What a handler wants to happen, in the order it asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Route a message.
    Route {
        /// Its id, from the event's context.
        id: u64,
        /// The destination.
        key: Key,
        /// The data.
        payload: Bytes,
        /// The type.
        dispatch: Dispatch,
        /// The first hop to take.
        hint: Option<NodeId>,
    },
    /// Send a message straight to one node.
    Send {
        /// Its id, from the event's context.
        id: u64,
        /// The destination.
        to: NodeId,
        /// The data.
        payload: Bytes,
    },
    /// Report when the node becomes unreachable.
    Watch(NodeId),
    /// Do not.
    Unwatch(NodeId),
    /// Set a timer.
    SetTimer {
        /// Its id, from the event's context.
        timer: u64,
        /// When, in milliseconds from now.
        after_ms: u64,
        /// Comes back when it fires.
        tag: u64,
    },
    /// Cancel a timer.
    CancelTimer(u64),
    /// End a request.
    Respond {
        /// The request.
        request: u64,
        /// The result.
        outcome: Result<Bytes, String>,
    },
    /// Add an item to the stream of an open request.
    Push {
        /// The request.
        request: u64,
        /// The item.
        item: Bytes,
    },
    /// A line for the node's log, its control characters stripped.
    Log {
        /// How loud.
        level: LogLevel,
        /// The line.
        line: String,
    },
}

/// How loud a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// For the peerlet's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed.
    Error,
}

/// One change of the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where.
    pub place: Place,
    /// Which record.
    pub name: Vec<u8>,
    /// The value and when it expires (milliseconds since 1970); none deletes.
    pub value: Option<(Bytes, Option<u64>)>,
}

impl Write {
    /// Bytes of its name and its value.
    pub fn bytes(&self) -> usize {
        self.name.len() + self.value.as_ref().map_or(0, |(value, _)| value.len())
    }
}

/// How a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Done,
    /// It returned an error; nothing of the event takes effect.
    Refused(String),
    /// `forward` returned.
    Verdict(Verdict),
    /// It did not return; nothing of the event takes effect, and the instance is gone.
    Trapped(Trap),
}

/// Why a handler did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// What kind.
    pub kind: TrapKind,
    /// What the engine says of it, with a short backtrace; one that a log can take.
    pub message: String,
}

/// What kind of trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrapKind {
    /// The event used up its fuel.
    OutOfFuel,
    /// The event took too long.
    OutOfTime,
    /// The memory limit was reached.
    OutOfMemory,
    /// The event asked for too many effects, or handed over too much data.
    TooManyEffects,
    /// Any other trap: unreachable code, out-of-bounds access, stack overflow, a bad value.
    Fault,
}

impl TrapKind {
    /// Every kind, in a fixed order.
    pub const ALL: [TrapKind; 5] =
        [TrapKind::OutOfFuel, TrapKind::OutOfTime, TrapKind::OutOfMemory, TrapKind::TooManyEffects, TrapKind::Fault];

    /// The kebab-case name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            TrapKind::OutOfFuel => "out-of-fuel",
            TrapKind::OutOfTime => "out-of-time",
            TrapKind::OutOfMemory => "out-of-memory",
            TrapKind::TooManyEffects => "too-many-effects",
            TrapKind::Fault => "fault",
        }
    }
}

/// What an event cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt {
    /// Fuel burnt. Comparable only between nodes of the same engine version.
    pub fuel: u64,
    /// Bytes of linear memory and tables that the instance holds after the event; zero where it is gone.
    pub memory_bytes: u64,
    /// Microseconds of wall clock, host calls included.
    pub micros: u64,
}

/// One event, run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// How it ended.
    pub outcome: Outcome,
    /// What it asked for; empty unless it ended well.
    pub effects: Vec<Effect>,
    /// What it wrote; empty unless it ended well.
    pub writes: Vec<Write>,
    /// What it cost, however it ended.
    pub receipt: Receipt,
}
