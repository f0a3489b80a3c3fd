//! What can be done to a world, and what it tells.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use prost_kbr::{AppId, Dispatch, Header, Key, Outcome};
use prost_manager::{CallFailure, InstallFailure, Installation, PublishFailure, Published, Search};
use prost_package::{Package, Policy};

use super::{Deceit, Index};
use crate::Network;

/// Something to be done to the world at a time of its own.
#[derive(Debug, Clone)]
pub enum Act {
    /// A new process with a new node id and an empty disk, which joins through these nodes; with none it founds a ring.
    Start {
        /// The node.
        node: Index,
        /// Nodes to join through, tried in turn.
        known: Vec<Index>,
    },
    /// The process dies without a word.
    Crash {
        /// The node.
        node: Index,
    },
    /// A process that died starts again at the same address, with the same key and an empty memory, and with what was
    /// durable on its disk.
    Restart {
        /// The node.
        node: Index,
        /// Nodes to join through, tried in turn.
        known: Vec<Index>,
    },
    /// The node leaves the ring and ends.
    Leave {
        /// The node.
        node: Index,
    },
    /// The process stands still (SIGSTOP) and then goes on.
    Pause {
        /// The node.
        node: Index,
        /// How long.
        time: Duration,
    },
    /// From now on each event takes the node this long (a slow node); zero for none.
    Slow {
        /// The node.
        node: Index,
        /// How long each event takes.
        each: Duration,
    },
    /// The node's clock jumps by this many microseconds, and from now on runs this many millionths too fast.
    Clock {
        /// The node.
        node: Index,
        /// Microseconds forward.
        jump: i64,
        /// Millionths too fast, at most half.
        drift: i32,
    },
    /// The node is Byzantine from now on, or honest again; whatever becomes of its process.
    Turn {
        /// The node.
        node: Index,
        /// What it does; none for an honest node.
        deceit: Option<Deceit>,
    },
    /// The network changes.
    Network(Box<Network>),
    /// The connection between two nodes breaks; both learn of it.
    Break {
        /// One.
        a: Index,
        /// The other.
        b: Index,
    },
    /// The node's address changes as others see it (a NAT rebinds). Its connections migrate: what it and its peers send on
    /// them from now on arrives no sooner than the new path has been validated.
    Rebind {
        /// The node.
        node: Index,
    },
    /// The connection between two nodes is gone at one of them, which learns of it. The other does not: what it sends
    /// vanishes without an answer until it has heard nothing for too long.
    HalfOpen {
        /// The one that does not know.
        node: Index,
        /// The one where it is gone.
        gone_at: Index,
    },
    /// A lookup; its end is told with [`Seen::LookedUp`] and this number.
    Lookup {
        /// The node.
        node: Index,
        /// Comes back in [`Seen::LookedUp`].
        request: u64,
        /// The key.
        key: Key,
        /// How it is looked up.
        search: Search,
    },
    /// The operator installs a package; answered with [`Seen::Installed`].
    Install {
        /// The node.
        node: Index,
        /// Comes back in the answer.
        request: u64,
        /// The package.
        package: Box<Package>,
    },
    /// A package is put into the ring's store of code; answered with [`Seen::Published`].
    Publish {
        /// The node.
        node: Index,
        /// Comes back in the answer.
        request: u64,
        /// The package.
        package: Box<Package>,
    },
    /// The operator's policy changes, until the node starts again.
    SetPolicy {
        /// The node.
        node: Index,
        /// The policy.
        policy: Arc<Policy>,
    },
    /// A local program asks an application; answered with [`Seen::Responded`].
    Call {
        /// The node.
        node: Index,
        /// Comes back in the answer.
        request: u64,
        /// The application's name, where it runs there, or its full id.
        app: String,
        /// What is asked.
        method: String,
        /// With what.
        body: Bytes,
    },
    /// A local program sends an application's message into the ring; its end is told with [`Seen::Routed`].
    Route {
        /// The node.
        node: Index,
        /// Comes back in the answer.
        request: u64,
        /// The message.
        route: Box<Route>,
    },
}

/// A message that a local program sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The application, and where its code can be had.
    pub header: Header,
    /// The destination.
    pub key: Key,
    /// The type.
    pub dispatch: Dispatch,
    /// The data.
    pub payload: Bytes,
}

/// What the world tells whoever drives it.
#[derive(Debug, Clone)]
pub enum Seen {
    /// A lookup has ended.
    LookedUp {
        /// The node.
        node: Index,
        /// From [`Act::Lookup`].
        request: u64,
        /// Its end.
        outcome: Outcome,
    },
    /// A node has become a member of the ring.
    Joined {
        /// The node.
        node: Index,
    },
    /// A node has left.
    Left {
        /// The node.
        node: Index,
    },
    /// Answers [`Act::Install`].
    Installed {
        /// The node.
        node: Index,
        /// From the question.
        request: u64,
        /// Whether it runs.
        result: Result<AppId, InstallFailure>,
    },
    /// Answers [`Act::Publish`].
    Published {
        /// The node.
        node: Index,
        /// From the question.
        request: u64,
        /// What is in the store now.
        result: Result<Published, PublishFailure>,
    },
    /// Answers [`Act::Call`].
    Responded {
        /// The node.
        node: Index,
        /// From the question.
        request: u64,
        /// What the application said, or why it said nothing.
        outcome: Result<Bytes, CallFailure>,
    },
    /// Answers [`Act::Route`].
    Routed {
        /// The node.
        node: Index,
        /// From the question.
        request: u64,
        /// The node that handled it, or why none did.
        outcome: Outcome,
    },
    /// An application that was not on this node runs there now.
    Runs {
        /// The node.
        node: Index,
        /// Where its code came from, and how long that took.
        installation: Installation,
    },
}
