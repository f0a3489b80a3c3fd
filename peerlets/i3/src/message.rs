//! What nodes say to each other.

use minicbor::{Decode, Encode};
use prost_i3_api::{Address, Hop, I3Id, Trigger};
use prost_peerlet::NodeId;
use prost_peerlet::cbor::Bytes;

use crate::nonce::Nonce;

/// Triggers that a packet may fire one after the other. Constraints allow no loop; this bounds chains.
pub(crate) const TTL: u8 = 32;

/// A packet on its way to an id.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Packet {
    /// Where to, the next first.
    #[n(0)]
    pub(crate) stack: Vec<Hop>,
    #[n(1)]
    pub(crate) payload: Bytes,
    /// Triggers that it may still fire.
    #[n(2)]
    pub(crate) ttl: u8,
    /// Who wants to know which node keeps the triggers of the first id, and whether there are any: i3's
    /// REQUEST_FOR_CACHE.
    #[n(3)]
    pub(crate) ask: Option<Ask>,
}

/// A sender's question, in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Ask {
    #[n(0)]
    pub(crate) node: NodeId,
    /// Random: who answers has seen the packet.
    #[n(1)]
    pub(crate) number: u64,
}

/// A packet on its way to an end host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Delivery {
    #[n(0)]
    pub(crate) address: Address,
    /// The trigger's id; none where the sender named the address.
    #[n(1)]
    pub(crate) id: Option<I3Id>,
    #[n(2)]
    pub(crate) rest: Vec<Hop>,
    #[n(3)]
    pub(crate) payload: Bytes,
}

/// A trigger that another node keeps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Copy {
    #[n(0)]
    pub(crate) trigger: Trigger,
    #[n(1)]
    pub(crate) holder: NodeId,
    /// Milliseconds until it expires; none are left of one that was removed.
    #[n(2)]
    pub(crate) left_ms: u32,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Message {
    #[n(0)]
    Packet(#[n(0)] Packet),
    #[n(1)]
    Deliver(#[n(0)] Delivery),
    /// Inserts or refreshes; `number` comes back with whatever answers.
    #[n(2)]
    Insert {
        #[n(0)]
        number: u64,
        #[n(1)]
        trigger: Trigger,
        #[n(2)]
        nonce: Option<Nonce>,
    },
    /// To the trigger's target: who wants the trigger inserts it with this nonce.
    #[n(3)]
    Challenge {
        #[n(0)]
        number: u64,
        #[n(1)]
        nonce: Nonce,
    },
    #[n(4)]
    Acknowledge {
        #[n(0)]
        number: u64,
    },
    #[n(5)]
    Refuse {
        #[n(0)]
        number: u64,
        #[n(1)]
        why: Refusal,
    },
    #[n(6)]
    Remove {
        #[n(0)]
        trigger: Trigger,
        #[n(1)]
        nonce: Nonce,
    },
    /// The sender keeps the triggers that a packet asked for (CACHE_ADDR), so many matched; none is TRIGGER_NOT_PRESENT.
    #[n(7)]
    Here {
        #[n(0)]
        number: u64,
        #[n(1)]
        matched: u32,
    },
    /// To the nodes that would be responsible next, or are now.
    #[n(8)]
    Copies(#[n(0)] Vec<Copy>),
    /// A packet came for an endpoint that is not there any more.
    #[n(9)]
    Gone {
        #[n(0)]
        id: I3Id,
        #[n(1)]
        endpoint: u64,
    },
    /// Nothing but a reason for a connection.
    #[n(10)]
    Hello,
}

/// Why a trigger is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Refusal {
    /// It satisfies no constraint.
    #[n(0)]
    Constraint,
    /// Its numbers are out of bounds.
    #[n(1)]
    Malformed,
    /// There are too many.
    #[n(2)]
    Full,
}

impl Refusal {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Refusal::Constraint => "the trigger satisfies no constraint: its id is somebody else's",
            Refusal::Malformed => "the trigger is malformed",
            Refusal::Full => "the node has no room for more triggers of this id",
        }
    }
}
