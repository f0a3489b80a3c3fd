//! What is sent: stacks of ids and addresses, and what programs put into packets.

use minicbor::{Decode, Encode};
use prost_peerlet::NodeId;
use prost_peerlet::cbor::Bytes;

use crate::id::I3Id;

/// Most entries of a stack, as in the authors' implementation (the paper has four).
pub const MAX_STACK: usize = 15;
/// Longest payload, in bytes: that of the longest UDP datagram, and room for a frame around it.
pub const MAX_PAYLOAD: usize = 66_000;

/// An end host: a program that listens at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Address {
    /// Its node.
    #[n(0)]
    pub node: NodeId,
    /// Which of the programs there: a random number, so that nobody can guess it.
    #[n(1)]
    pub endpoint: u64,
}

/// One entry of a packet's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Hop {
    /// Whatever the triggers of this id say.
    #[n(0)]
    Id(#[n(0)] I3Id),
    /// This end host.
    #[n(1)]
    Host(#[n(0)] Address),
}

/// What the command line and the gateway put into packets, so that answers find back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Datagram {
    /// Which conversation of the sender's.
    #[n(0)]
    pub session: u64,
    /// Where answers go, and from the first answer on, everything else too.
    #[n(1)]
    pub reply: Option<I3Id>,
    /// The program's own bytes.
    #[n(2)]
    pub data: Bytes,
}
