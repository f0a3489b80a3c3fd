//! What nodes say to each other.

use core::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bounded;
use crate::failure::{Failure, Refusal};
use crate::header::Dispatch;
use crate::id::{Key, NodeId};

/// A node and where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Peer {
    /// Its id, derived from its certificate.
    pub id: NodeId,
    /// Its UDP address. What another node says of a third one's address is only a hint where to dial.
    pub addr: SocketAddr,
}

/// The same for every hop and every retry of one route or send. Unique together with the origin.
pub type MessageId = u64;

/// What a routed message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// An application's message, of PROST type 0 or 1.
    App(Dispatch),
    /// Who is responsible for the key? Answered by the routing layer itself.
    Lookup,
}

/// What routing needs to know of a message. The part that changes from hop to hop, kept apart from header and payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the origin.
    pub id: MessageId,
    /// The node that asked for the message to be sent, as the message claims.
    pub origin: Peer,
    /// The destination; none for a direct send.
    pub key: Option<Key>,
    /// What it is for.
    pub purpose: Purpose,
    /// Hops taken so far.
    pub hops: u8,
    /// Milliseconds that remain until the origin's deadline, as the sender of this hop reckons.
    pub remaining_ms: u32,
    /// Nodes of the replica set that refused, in the order asked; not empty where the message is addressed to the
    /// receiver as the next replica.
    #[serde(deserialize_with = "bounded::list")]
    pub refused: Vec<(NodeId, Refusal)>,
    /// The nodes on the way with the round-trip time to the next, where the origin asked for them.
    #[serde(deserialize_with = "bounded::optional_list")]
    pub path: Option<Vec<Hop>>,
}

/// One node on the way of a traced message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The node.
    pub node: NodeId,
    /// Its smoothed round-trip time to the next node on the way, in microseconds; zero at the last.
    pub rtt_us: u32,
}

/// A message on its way through the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// What routing needs.
    pub envelope: Envelope,
    /// An encoded [`Header`](crate::Header), empty for a lookup. Passed on as it came.
    pub header: Bytes,
    /// The application's data. Passed on as it came, never copied.
    pub payload: Bytes,
}

/// How a routed message ended, told to its origin by the node that ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The message's id.
    pub id: MessageId,
    /// The node that handled it, or why none did.
    pub result: Result<Peer, Failure>,
    /// Overlay hops from the origin.
    pub hops: u8,
    /// The way it took, where asked for.
    #[serde(deserialize_with = "bounded::optional_list")]
    pub path: Option<Vec<Hop>>,
}

/// A frame between two connected nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Are you there?
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Yes.
    Pong {
        /// From the [`Ping`](Message::Ping).
        nonce: u64,
    },
    /// Asks for the neighbours: Zave's stabilise query.
    GetNeighbours {
        /// Comes back in the answer.
        request: u64,
    },
    /// The neighbours of the sender, nearest first.
    Neighbours {
        /// From the question.
        request: u64,
        /// Whether the sender is a member of the ring.
        joined: bool,
        /// Live nodes before the sender.
        predecessors: Vec<Peer>,
        /// Live nodes after the sender.
        successors: Vec<Peer>,
    },
    /// Asks for the nearest node before `key` that the receiver knows: one step of a join.
    FindPredecessor {
        /// Comes back in the answer.
        request: u64,
        /// The key, for a join the joiner's id.
        key: Key,
    },
    /// The nearest node before the key that the sender knows; the sender itself where it knows of none nearer.
    Predecessor {
        /// From the question.
        request: u64,
        /// That node.
        peer: Peer,
    },
    /// The sender believes that it is the receiver's predecessor: Zave's rectify.
    Notify,
    /// The sender leaves the ring; here are its neighbours.
    Leave {
        /// Nodes before the sender, nearest first.
        predecessors: Vec<Peer>,
        /// Nodes after the sender, nearest first.
        successors: Vec<Peer>,
    },
    /// A routed message; `seq` is acknowledged by [`Acknowledge`](Message::Acknowledge).
    Route {
        /// Names this hop of the message, unique for the sender.
        seq: u64,
        /// The message.
        routed: Routed,
    },
    /// These hops have been accepted: the receiver of them now answers for the messages. Runs of (first, count).
    Acknowledge {
        /// Runs of sequence numbers: the first, and how many.
        runs: Vec<(u64, u32)>,
    },
    /// To the origin of a message: how it ended.
    Outcome(Outcome),
    /// For the layer above, which knows what is in it.
    Upper(Bytes),
}
