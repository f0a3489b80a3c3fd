//! Requests of local programs, and their answers.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::decode::{self, Decoder};
use minicbor::{Decode, Encode};

use crate::{BlockId, Kind};

/// Inserts a block: see [`Put`].
pub const PUT: &str = "put";
/// Reads a block: see [`Get`].
pub const GET: &str = "get";
/// Lengthens a block's life: see [`Extend`].
pub const EXTEND: &str = "extend";
/// Asks the node about itself, with an empty body. Answered by [`Status`].
pub const STATUS: &str = "status";

/// Most nodes that a [`Get`] avoids.
pub const MAX_AVOID: usize = 8;

/// Inserts a block, or lengthens the life of one that is there. Answered by [`Stored`] once it is durable on every node
/// that is to hold it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Put {
    /// How it proves itself.
    #[n(0)]
    pub kind: Kind,
    /// The block.
    #[n(1)]
    pub bytes: ByteVec,
    /// Seconds that it is to live at least, from 1 to [`MAX_TTL`](crate::MAX_TTL).
    #[n(2)]
    pub ttl: u64,
}

/// A [`Put`] or [`Extend`] is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Stored {
    /// The block.
    #[n(0)]
    pub id: BlockId,
    /// Whether it was there before.
    #[n(1)]
    pub was_there: bool,
    /// When it goes, in milliseconds since 1970.
    #[n(2)]
    pub expires_at: u64,
}

/// Lengthens the life of a block that is there. Answered by `Option<Stored>`: none where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Extend {
    /// What kind of block.
    #[n(0)]
    pub kind: Kind,
    /// The block.
    #[n(1)]
    pub id: BlockId,
    /// Seconds that it is to live at least, from now on.
    #[n(2)]
    pub ttl: u64,
}

/// Where content blocks are looked for and left on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Caching {
    /// The node responsible is asked, and nobody else: an end-node message.
    #[n(0)]
    Off,
    /// Any replica on the way answers, the nearest where one knows all; nothing is cached, and no cache is asked.
    #[n(1)]
    Replicas,
    /// Caches answer too, and nodes that the block passes on its way back keep a copy of it.
    #[default]
    #[n(2)]
    Path,
}

/// Reads a block. Answered by `Option<Found>`: none where there is no such block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Get {
    /// What kind of block. A root is always read where its key's responsibility lies.
    #[n(0)]
    pub kind: Kind,
    /// The block.
    #[n(1)]
    pub id: BlockId,
    /// Nodes whose answers were wrong: at most [`MAX_AVOID`].
    #[n(2)]
    pub avoid: Vec<ByteArray<20>>,
    /// Who may answer.
    #[n(3)]
    pub caching: Caching,
}

/// The block that a [`Get`] found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    /// The block. Whoever asked has to [`verify`](crate::verify) it.
    #[n(0)]
    pub bytes: ByteVec,
    /// The node that had it, as the answer claims.
    #[n(1)]
    pub from: ByteArray<20>,
    /// Whether it was in that node's cache, and not a replica.
    #[n(2)]
    pub cached: bool,
    /// Nodes that the question had reached until it was answered, the last included.
    #[n(3)]
    pub contacts: u32,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Status {
    /// Blocks given to others or to programs out of the replica store, since the start.
    #[n(0)]
    pub served: u64,
    /// Blocks given out of the cache.
    #[n(1)]
    pub cache_hits: u64,
    /// Blocks in the cache.
    #[n(2)]
    pub cached_blocks: u64,
    /// Their bytes.
    #[n(3)]
    pub cached_bytes: u64,
    /// Answers that were wrong and asked for again.
    #[n(4)]
    pub rejected: u64,
    /// Bytes that one publisher may have in blocks that this node is responsible for.
    #[n(5)]
    pub quota_bytes: u64,
    /// Who has how many, the largest first; at most 64.
    #[n(6)]
    pub publishers: Vec<(ByteArray<20>, u64)>,
}

/// The CBOR of a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a vector takes every byte, and derived encoders do not fail")
}

/// Decodes exactly one value.
///
/// # Errors
///
/// The bytes are cut short, go on after the value, or are no such value.
pub fn decode<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Result<T, decode::Error> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(decode::Error::message("bytes after the value")) }
}
