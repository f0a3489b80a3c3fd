//! What a program asks the scribe peerlet, and what it is answered.
//!
//! A request's method is one of the constants here; its body is the CBOR (RFC 8949) of the type of that name, and the
//! answer's body the CBOR of the type that its documentation names. A request that comes to nothing is answered with text.

use minicbor::{Decode, Encode};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Key, NodeId};

/// Creates a group: see [`Create`].
pub const CREATE: &str = "create";
/// Becomes a member: see [`Join`].
pub const JOIN: &str = "join";
/// Reads what has come: see [`Next`].
pub const NEXT: &str = "next";
/// Is a member no more: see [`Leave`].
pub const LEAVE: &str = "leave";
/// Sends to all members: see [`Publish`].
pub const PUBLISH: &str = "publish";
/// Finds one member: see [`Anycast`].
pub const ANYCAST: &str = "anycast";
/// Tells of this node's place in the trees; the body is empty, the answer a [`Status`].
pub const STATUS: &str = "status";

/// Longest payload, in bytes: with a signature and its certificate it has to fit in a frame.
pub const MAX_PAYLOAD: usize = 64 << 10;
/// Longest name of a group, in bytes.
pub const MAX_NAME: usize = 256;
/// Most nodes that rules name for each right.
pub const MAX_NODES: usize = 64;

/// Which group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Group {
    /// What its creator calls it; at most [`MAX_NAME`] bytes.
    #[n(0)]
    pub name: String,
    /// The node that created it; none for the node that is asked.
    #[n(1)]
    pub creator: Option<NodeId>,
}

/// Whom a group lets do something. Its creator may do everything.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Access {
    /// Everyone.
    #[n(0)]
    Anyone,
    /// These nodes, at most [`MAX_NODES`].
    #[n(1)]
    Only(#[n(0)] Vec<NodeId>),
}

/// Creates a group of which the node is the creator, or gives it other rules. Answered by [`Created`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Create {
    /// Its name; at most [`MAX_NAME`] bytes.
    #[n(0)]
    pub name: String,
    /// Who may be a member.
    #[n(1)]
    pub join: Access,
    /// Who may publish.
    #[n(2)]
    pub publish: Access,
}

/// The group is there.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Created {
    /// Its key: the SHA-1 of the creator's id and the name.
    #[n(0)]
    pub key: Key,
    /// Its creator.
    #[n(1)]
    pub creator: NodeId,
}

/// A program wants to read what is published. Answered by [`Joined`] once the node is in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Join {
    /// Which group.
    #[n(0)]
    pub group: Group,
    /// Whether the program takes what comes by anycast.
    #[n(1)]
    pub takes_anycast: bool,
}

/// The node is a member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Joined {
    /// What the program reads by: see [`Next`]. Forgotten where nobody reads for a minute.
    #[n(0)]
    pub subscription: u64,
    /// The group's key.
    #[n(1)]
    pub key: Key,
    /// The node's parent; none where it is the root.
    #[n(2)]
    pub parent: Option<NodeId>,
}

/// Asks for what has come: answered, after twenty seconds at the latest, by a [`prost_peerlet::inbox::Batch`] of [`Item`]s.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Next {
    /// What [`Joined`] said.
    #[n(0)]
    pub subscription: u64,
    /// The number of the first item wanted.
    #[n(1)]
    pub from: u64,
}

/// What a subscription has got.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Item {
    /// Somebody published this.
    #[n(0)]
    Message(#[n(0)] Message),
    /// This came by anycast, and is this program's.
    #[n(1)]
    Anycast {
        /// The node it came from, as it claims.
        #[n(0)]
        origin: NodeId,
        /// What it says.
        #[n(1)]
        data: Bytes,
    },
    /// The node is a member no more, and nothing comes any more.
    #[n(2)]
    Ended {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

/// A message of a group.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Message {
    /// Who published it, proven by its signature.
    #[n(0)]
    pub publisher: NodeId,
    /// When, on its clock, in milliseconds since 1970.
    #[n(1)]
    pub time: u64,
    /// When the root began that put it in order, and the message's number since then.
    #[n(2)]
    pub epoch: u64,
    /// From 0.
    #[n(3)]
    pub number: u64,
    /// What it says.
    #[n(4)]
    pub data: Bytes,
}

/// Ends a subscription, or all that the node has to a group. Answered by [`Left`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// Which group.
    #[n(0)]
    pub group: Group,
    /// Only this one; none for all.
    #[n(1)]
    pub subscription: Option<u64>,
}

/// How many subscriptions have ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Left {
    /// How many.
    #[n(0)]
    pub ended: u32,
}

/// Sends to all members. Answered by [`Published`] once the root has sent it on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Publish {
    /// Which group.
    #[n(0)]
    pub group: Group,
    /// At most [`MAX_PAYLOAD`] bytes.
    #[n(1)]
    pub data: Bytes,
}

/// It is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Published {
    /// The group's key.
    #[n(0)]
    pub key: Key,
}

/// Finds one member that takes this. Answered by [`Taken`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Anycast {
    /// Which group.
    #[n(0)]
    pub group: Group,
    /// At most [`MAX_PAYLOAD`] bytes.
    #[n(1)]
    pub data: Bytes,
}

/// A member has taken it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Taken {
    /// Which one.
    #[n(0)]
    pub by: NodeId,
}

/// This node's place in each tree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Status {
    /// The groups that it has an entry for, at most 256.
    #[n(0)]
    pub groups: Vec<Place>,
}

/// A node's place in a group's tree.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The group's key.
    #[n(0)]
    pub key: Key,
    /// Whether the node is a member, not only on the way of others.
    #[n(1)]
    pub is_member: bool,
    /// Whether it is the root.
    #[n(2)]
    pub is_root: bool,
    /// Whom it gets messages from.
    #[n(3)]
    pub parent: Option<NodeId>,
    /// Whom it sends them to.
    #[n(4)]
    pub children: Vec<NodeId>,
}
