//! What nodes say to each other.

use minicbor::{Decode, Encode};
use prost_cfs_api::{BlockId, Caching, Kind, MAX_AVOID, MAX_BLOCK};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::identity::Signature;
use prost_peerlet::{Id, Key, NodeId};

/// First byte of questions to the node responsible, and of its answers.
pub(crate) const INSERTIONS: u8 = 1;
/// First byte of all other messages.
const LOOKUPS: u8 = 2;

/// Most nodes on the way of a question that are remembered, to take the answer back.
pub(crate) const MAX_PATH: usize = 16;

/// Where a block lives.
pub(crate) fn key_of(id: &BlockId) -> Key {
    Id::from_bytes(id.key())
}

/// An insertion, or an extension where there are no bytes. Asked of the node responsible.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Insert {
    #[n(0)]
    pub(crate) kind: Kind,
    #[n(1)]
    pub(crate) id: BlockId,
    #[n(2)]
    pub(crate) bytes: Option<Bytes>,
    /// In milliseconds since 1970.
    #[n(3)]
    pub(crate) expires_at: u64,
    #[n(4)]
    pub(crate) claim: Claim,
}

/// The signature of the node that wants a block kept, which is charged for it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Claim {
    #[n(0)]
    public_key: Bytes,
    #[n(1)]
    signature: Bytes,
}

impl Claim {
    /// What is signed: a repetition by somebody else asks for nothing that was not asked for.
    pub(crate) fn statement(kind: Kind, id: &BlockId, expires_at: u64) -> Vec<u8> {
        [b"prost cfs claim\0".as_slice(), &[kind as u8], &id.0, &expires_at.to_be_bytes()].concat()
    }

    pub(crate) fn new(signature: Signature) -> Claim {
        Claim { public_key: Bytes(signature.public_key), signature: Bytes(signature.bytes) }
    }

    pub(crate) fn signature(self) -> Signature {
        Signature { public_key: self.public_key.0, bytes: self.signature.0 }
    }
}

/// What the node responsible says to an insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Verdict {
    #[n(0)]
    Stored {
        #[n(0)]
        was_there: bool,
        #[n(1)]
        expires_at: u64,
    },
    /// There is nothing to extend.
    #[n(1)]
    NoEntry,
    /// A root of this version is there.
    #[n(2)]
    Stale {
        #[n(0)]
        version: u64,
    },
    /// Another root of this version is there.
    #[n(3)]
    Conflict,
    /// This node is not the one to ask, or not yet.
    #[n(4)]
    Retry,
    #[n(5)]
    OverQuota,
    /// The store is full, or too many publishers want this block.
    #[n(6)]
    Full,
    /// The block does not prove its id, the claim is not the asker's, or the time is out of bounds.
    #[n(7)]
    Malformed,
}

/// A question for a block, on its way.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lookup {
    /// The asker's number for it, the same for each attempt.
    #[n(0)]
    pub number: u64,
    /// Who asks, by its own account: where the answer goes.
    #[n(1)]
    pub asker: NodeId,
    /// What kind of block.
    #[n(2)]
    pub kind: Kind,
    /// The block.
    #[n(3)]
    pub id: BlockId,
    /// Who may answer.
    #[n(4)]
    pub caching: Caching,
    /// Attempts before this one; each takes another replica.
    #[n(5)]
    pub attempt: u8,
    /// Who is not to answer.
    #[n(6)]
    pub avoid: Vec<NodeId>,
    /// The nodes that it came through, the asker not among them.
    #[n(7)]
    pub path: Vec<NodeId>,
}

/// An answer on its way back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Answer {
    /// The asker's number of the question.
    #[n(0)]
    pub number: u64,
    /// Whom it is for.
    #[n(1)]
    pub asker: NodeId,
    /// The block that was asked for.
    #[n(2)]
    pub id: BlockId,
    /// Who was to answer.
    #[n(3)]
    pub caching: Caching,
    /// Nodes between here and the asker.
    #[n(4)]
    pub path: Vec<NodeId>,
    /// Who answers, by its own account.
    #[n(5)]
    pub server: NodeId,
    /// Nodes that the question reached.
    #[n(6)]
    pub contacts: u32,
    /// The answer.
    #[n(7)]
    pub say: Say,
}

/// What became of a question for a block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Say {
    /// Here it is.
    #[n(0)]
    Found {
        /// The block.
        #[n(0)]
        bytes: Bytes,
        /// When it goes, in milliseconds since 1970.
        #[n(1)]
        expires_at: u64,
        /// Whether it comes from a cache.
        #[n(2)]
        cached: bool,
    },
    /// There is no such block.
    #[n(1)]
    NoEntry,
    /// This node is not the one to ask, or cannot read it.
    #[n(2)]
    Retry,
}

/// A message about lookups.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum LookupMessage {
    /// A question.
    #[n(0)]
    Lookup(#[n(0)] Lookup),
    /// Its answer.
    #[n(1)]
    Answer(#[n(0)] Answer),
    /// A content block, for the cache of a node that a question for it came through.
    #[n(2)]
    Copy {
        /// The block.
        #[n(0)]
        bytes: Bytes,
        /// When it goes, in milliseconds since 1970.
        #[n(1)]
        expires_at: u64,
    },
}

impl LookupMessage {
    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        [vec![LOOKUPS], cbor::encode(self)].concat()
    }

    /// Reads a message; none where it makes no sense.
    pub fn decode(payload: &[u8]) -> Option<LookupMessage> {
        let (LOOKUPS, body) = payload.split_first().map(|(first, body)| (*first, body))? else { return None };
        let message: LookupMessage = cbor::decode(body).ok()?;
        let fits = match &message {
            LookupMessage::Lookup(lookup) => lookup.avoid.len() <= MAX_AVOID && lookup.path.len() <= MAX_PATH,
            LookupMessage::Answer(answer) => answer.path.len() <= MAX_PATH && answer.say.fits(),
            LookupMessage::Copy { bytes, .. } => bytes.len() <= MAX_BLOCK,
        };
        fits.then_some(message)
    }
}

impl Say {
    fn fits(&self) -> bool {
        if let Say::Found { bytes, .. } = self { bytes.len() <= MAX_BLOCK } else { true }
    }
}
