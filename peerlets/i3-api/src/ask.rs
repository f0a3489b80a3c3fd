//! What a program asks the i3 peerlet of its node.

use minicbor::{Decode, Encode};
use prost_peerlet::NodeId;
use prost_peerlet::cbor::Bytes;

use crate::id::{HalfKey, I3Id};
use crate::packet::Hop;
use crate::trigger::{Rate, Trigger};

/// Begins to listen: [`Open`], answered by [`Opened`].
pub const OPEN: &str = "open";
/// Ends that, and removes the endpoint's triggers: [`Close`], answered by nothing.
pub const CLOSE: &str = "close";
/// Waits for packets: [`Next`], answered by [`prost_peerlet::inbox::Batch`], whose items are [`Received`].
pub const NEXT: &str = "next";
/// Inserts a trigger and keeps it refreshed: [`Insert`], answered by [`Inserted`] once a node keeps it.
pub const INSERT: &str = "insert";
/// Removes a trigger: [`Remove`], answered by nothing.
pub const REMOVE: &str = "remove";
/// Chooses a private id near this node: [`Private`], answered by [`Chosen`].
pub const PRIVATE: &str = "private";
/// Sends a packet: [`Send`], answered by [`Sent`].
pub const SEND: &str = "send";
/// Lists triggers: nothing, answered by [`Listed`].
pub const LIST: &str = "list";

/// Longest time that an endpoint stays without a program that reads from it, in seconds.
pub const MAX_LEASE: u32 = 24 * 3600;
/// Most private ids to choose from.
pub const MAX_SAMPLES: u8 = 32;

/// Opens an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// Seconds that it stays without being read; none for a minute. At most [`MAX_LEASE`].
    #[n(0)]
    pub lease: Option<u32>,
}

/// An endpoint is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Opened {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// The endpoint's number.
    #[n(1)]
    pub endpoint: u64,
}

/// Closes an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Close {
    /// Which.
    #[n(0)]
    pub endpoint: u64,
}

/// Asks for the packets from number `from` on; those before, the program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Next {
    /// Whose.
    #[n(0)]
    pub endpoint: u64,
    /// The number of the first that is wanted, beginning with 0.
    #[n(1)]
    pub from: u64,
}

/// A packet as its receiver gets it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Received {
    /// The id of the trigger that it matched last; none where it was addressed to the endpoint.
    #[n(0)]
    pub id: Option<I3Id>,
    /// What was left of its stack: where a service sends the packet on to.
    #[n(1)]
    pub rest: Vec<Hop>,
    /// The data.
    #[n(2)]
    pub payload: Bytes,
}

/// Inserts a trigger, which lasts as long as the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Insert {
    /// Whose: its target, unless a stack is given.
    #[n(0)]
    pub endpoint: u64,
    /// The trigger's id.
    #[n(1)]
    pub id: I3Id,
    /// Leading bits that packets must have in common with it; 0 for as few as i3 allows.
    #[n(2)]
    pub prefix_len: u16,
    /// The secret whose image is the id's key; none for a stack.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub secret: Option<HalfKey>,
    /// The ids that take the place of this one; none for the endpoint itself.
    #[n(4)]
    pub stack: Vec<I3Id>,
    /// A limit below the node's own.
    #[n(5)]
    pub rate: Option<Rate>,
}

/// A trigger is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Inserted {
    /// The node that keeps it.
    #[n(0)]
    pub node: NodeId,
}

/// Removes the triggers of an id that were inserted through this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Remove {
    /// Only those of this endpoint; none for all.
    #[n(0)]
    pub endpoint: Option<u64>,
    /// The id.
    #[n(1)]
    pub id: I3Id,
}

/// Chooses a private id whose triggers will be on a node nearby (SIGCOMM 2002, section 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Private {
    /// Random ids to measure, of which the nearest is taken, at most [`MAX_SAMPLES`]; 0 for the nearest of the nodes that
    /// this one is connected to, which takes no time.
    #[n(0)]
    pub samples: u8,
}

/// A private id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Chosen {
    /// The id.
    #[n(0)]
    pub id: I3Id,
    /// What inserting triggers of it takes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: HalfKey,
    /// The node that will keep them.
    #[n(2)]
    pub node: NodeId,
    /// How far that is, in microseconds there and back.
    #[n(3)]
    pub round_trip: u32,
}

/// Sends a packet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Send {
    /// Where to, at most [`MAX_STACK`](crate::MAX_STACK).
    #[n(0)]
    pub stack: Vec<Hop>,
    /// The data, at most [`MAX_PAYLOAD`](crate::MAX_PAYLOAD).
    #[n(1)]
    pub payload: Bytes,
    /// Whether to wait for the word of the node that keeps the first id's triggers.
    #[n(2)]
    pub confirm: bool,
}

/// A packet has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Sent {
    /// Triggers of the first id that it went to; none where nobody was asked, or nobody said so in time.
    #[n(0)]
    pub matched: Option<u32>,
}

/// The triggers of this node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Listed {
    /// Those that programs inserted through it.
    #[n(0)]
    pub own: Vec<Own>,
    /// Those that it keeps for others, copies included; of many, the first thousand.
    #[n(1)]
    pub kept: Vec<Kept>,
    /// What became of packets.
    #[n(2)]
    pub counts: Counts,
}

/// A trigger that was inserted through this node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Own {
    /// The endpoint that it lasts as long as.
    #[n(0)]
    pub endpoint: u64,
    /// The trigger.
    #[n(1)]
    pub trigger: Trigger,
    /// The node that said last that it keeps it; none where none does.
    #[n(2)]
    pub node: Option<NodeId>,
    /// Milliseconds since it said so.
    #[n(3)]
    pub age_ms: u64,
}

/// A trigger that this node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kept {
    /// The trigger, without its secret.
    #[n(0)]
    pub id: I3Id,
    /// The ids of its stack; none where its target is an end host.
    #[n(1)]
    pub stack: Vec<I3Id>,
    /// The node that refreshes it.
    #[n(2)]
    pub holder: NodeId,
    /// Milliseconds until it expires.
    #[n(3)]
    pub expires_ms: u64,
    /// Whether this node is responsible for it; else it is a copy.
    #[n(4)]
    pub responsible: bool,
}

/// What became of packets here, since the instance started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Counts {
    /// Packets that matched, once for each trigger.
    #[n(0)]
    pub fired: u64,
    /// Ids that no trigger matched.
    #[n(1)]
    pub unmatched: u64,
    /// Packets over a trigger's rate.
    #[n(2)]
    pub limited: u64,
    /// Packets that had fired too many triggers on their way.
    #[n(3)]
    pub exhausted: u64,
    /// Packets that were sent by the cache, without routing.
    #[n(4)]
    pub cached: u64,
    /// Packets that were routed.
    #[n(5)]
    pub routed: u64,
    /// Packets for endpoints that are not there.
    #[n(6)]
    pub homeless: u64,
}
