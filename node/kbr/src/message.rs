//! What nodes say to each other.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::de::{self, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded;
use crate::failure::{Failure, Refusal};
use crate::header::Dispatch;
use crate::id::{Id, Key, NodeId};

/// A node and where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its id, derived from its certificate.
    pub id: NodeId,
    /// Its UDP address. What another node says of a third one's address is only a hint where to dial.
    pub addr: SocketAddr,
}

/// What a peer is for people.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Peer")]
struct Spelled {
    id: NodeId,
    addr: SocketAddr,
}

impl Serialize for Peer {
    /// Fields for people; for machines one string of bytes, as lists of peers are most of what nodes say of the ring: the id,
    /// the address (4 or 16 bytes), the port.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Spelled { id: self.id, addr: self.addr }.serialize(serializer);
        }
        let mut bytes = Vec::with_capacity(Id::LEN + 18);
        bytes.extend_from_slice(self.id.as_bytes());
        match self.addr.ip() {
            IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
        }
        bytes.extend_from_slice(&self.addr.port().to_be_bytes());
        serializer.serialize_bytes(&bytes)
    }
}

impl<'de> Deserialize<'de> for Peer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Peer, D::Error> {
        if deserializer.is_human_readable() {
            let Spelled { id, addr } = Spelled::deserialize(deserializer)?;
            return Ok(Peer { id, addr });
        }
        let bytes: &serde_bytes::Bytes = Deserialize::deserialize(deserializer)?;
        peer_from(bytes).ok_or_else(|| D::Error::custom("not a peer"))
    }
}

fn peer_from(bytes: &[u8]) -> Option<Peer> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (ip, port) = rest.split_last_chunk()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(Peer { id: Id::from_bytes(*id), addr: SocketAddr::new(ip, u16::from_be_bytes(*port)) })
}

/// The same for every hop and every retry of one route or send. Unique together with the origin.
pub type MessageId = u64;

/// What a routed message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// An application's message, of PROST type 0 or 1.
    App(Dispatch),
    /// Who is responsible for the key? Answered by that node itself.
    Lookup,
    /// Who are the first nodes responsible for the key? Answered by any node that knows as many of them as this (early
    /// termination: Dabek et al., "Designing a DHT for low latency and high throughput", NSDI 2004, section 4.4).
    Replicas(u8),
    /// The same for the repair of a finger: so many are enough, and fewer do.
    Finger(u8),
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
    /// The nodes on the way so far, the origin first: the outcome goes back along them, over connections that are there.
    #[serde(deserialize_with = "bounded::list")]
    pub via: Vec<NodeId>,
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
    /// What the message was for.
    pub purpose: Purpose,
    /// The node that handled it, or for a lookup that is responsible; or why none did.
    pub result: Result<Peer, Failure>,
    /// What the node that answered knows of the replica set, in order; for the lookups that ask for it.
    #[serde(deserialize_with = "bounded::list")]
    pub replicas: Vec<Peer>,
    /// Overlay hops from the origin.
    pub hops: u8,
    /// The way it took, where asked for.
    #[serde(deserialize_with = "bounded::optional_list")]
    pub path: Option<Vec<Hop>>,
}

impl Outcome {
    /// That of a message that came to nothing before it left its origin.
    pub fn failed(id: MessageId, purpose: Purpose, failure: Failure) -> Outcome {
        Outcome { id, purpose, result: Err(failure), replicas: Vec::new(), hops: 0, path: None }
    }
}

/// What a question about neighbours wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// The predecessor and all successors. Asked of its first successor by a node: whoever asks is taken to claim the
    /// place before the receiver, as by [`Message::Notify`].
    Successors,
    /// All predecessors.
    Predecessors,
    /// All successors, without any claim.
    Onward,
    /// Both lists, without any claim.
    Both,
}

/// An entry of a list, for someone who has the lists of an earlier answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The one at this place of the earlier answer, its predecessors first and then its successors.
    Same(u8),
    /// Another node.
    New(Peer),
}

impl Serialize for Listed {
    /// A number, or what a peer is.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Listed::Same(place) => serializer.serialize_u8(*place),
            Listed::New(peer) => peer.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Listed, D::Error> {
        struct Entry;

        impl de::Visitor<'_> for Entry {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a place in a list or a peer")
            }

            fn visit_u64<E: de::Error>(self, place: u64) -> Result<Listed, E> {
                u8::try_from(place).map(Listed::Same).map_err(|_| E::custom("a place beyond all lists"))
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Listed, E> {
                peer_from(bytes).map(Listed::New).ok_or_else(|| E::custom("not a peer"))
            }
        }

        deserializer.deserialize_any(Entry)
    }
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
        /// What of them.
        part: Part,
        /// The digest of the lists that the sender has from the receiver's last answer; zero for none.
        known: u64,
    },
    /// The neighbours are those of the answer whose digest the question gave.
    Unchanged {
        /// From the question.
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
    /// The neighbours of the sender, which is a member, by what is other than in the answer whose digest the question gave.
    Changes {
        /// From the question.
        request: u64,
        /// The digest of the lists as they are now.
        digest: u64,
        /// Live nodes before the sender, nearest first.
        predecessors: Vec<Listed>,
        /// Live nodes after the sender, nearest first.
        successors: Vec<Listed>,
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
    /// The sender has become a member of the ring, right after the receiver as it believes.
    Arrived,
    /// This node may belong into the receiver's ring. It is passed on to the node that it would be the successor of, which
    /// asks it: how two rings become one.
    Candidate {
        /// The node.
        peer: Peer,
        /// How often this has been passed on.
        hops: u8,
    },
    /// Which nodes are next on the way to a key? One step of an iterative lookup.
    GetNext {
        /// Comes back in the answer.
        request: u64,
        /// The key.
        key: Key,
    },
    /// Answers [`GetNext`](Message::GetNext).
    Next {
        /// From the question.
        request: u64,
        /// The sender is responsible for the key.
        mine: bool,
        /// The nodes to ask next, best first.
        next: Vec<Peer>,
    },
    /// The sender would like the receiver as its finger.
    Link,
    /// Answers [`Link`](Message::Link): whether the receiver has room for one more that points to it.
    Linked {
        /// It has.
        accepted: bool,
    },
    /// The sender does not use the receiver as a finger any more, or will not be one of the receiver's.
    Unlink,
    /// Asks for the nodes that the receiver routes through: a new node's first candidates for fingers.
    GetLinks {
        /// Comes back in the answer.
        request: u64,
    },
    /// Answers [`GetLinks`](Message::GetLinks).
    Links {
        /// From the question.
        request: u64,
        /// The sender's fingers, and the nodes whose finger it is.
        links: Vec<Peer>,
    },
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
    Outcome {
        /// The nodes that it still has to go back through, the next one last, the origin first; empty at the origin.
        via: Vec<NodeId>,
        /// The origin.
        origin: Peer,
        /// How it ended.
        outcome: Outcome,
    },
    /// For the layer above, which knows what is in it.
    Upper(Bytes),
}
