//! What nodes say to the one responsible for a key, and what that one answers.

use minicbor::{Decode, Encode};

use crate::NodeId;
use crate::cbor::Bytes;

/// What to do at a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Operation {
    /// Stores a value in place of the one of this name.
    #[n(0)]
    Put {
        /// Under which name.
        #[n(0)]
        name: Bytes,
        /// What.
        #[n(1)]
        value: Bytes,
        /// Seconds after which it is gone; none keeps it.
        #[n(2)]
        expires_in: Option<u64>,
        /// Only where the value has this version; zero where there is none.
        #[n(3)]
        if_version: Option<u64>,
    },
    /// Removes the value of a name.
    #[n(1)]
    Remove {
        /// Which.
        #[n(0)]
        name: Bytes,
        /// As for a put.
        #[n(1)]
        if_version: Option<u64>,
    },
    /// Reads the value of a name.
    #[n(2)]
    Get {
        /// Which.
        #[n(0)]
        name: Bytes,
        /// Whether any copy on the way will do: sooner there, and perhaps older.
        #[n(1)]
        nearest: bool,
    },
    /// Names, in order.
    #[n(3)]
    List {
        /// Only those that begin with this.
        #[n(0)]
        prefix: Bytes,
        /// Only those after this one.
        #[n(1)]
        after: Option<Bytes>,
        /// At most so many.
        #[n(2)]
        max: u32,
    },
}

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// A put or a removal is done.
    #[n(0)]
    Stored {
        /// The version that the value has now.
        #[n(0)]
        version: u64,
        /// Nodes that hold it, or soon will.
        #[n(1)]
        replicas: u32,
    },
    /// What a get found.
    #[n(1)]
    Found {
        /// None where there is no such value.
        #[n(0)]
        found: Option<Found>,
    },
    /// A page of names.
    #[n(2)]
    Listed {
        /// In order.
        #[n(0)]
        names: Vec<Bytes>,
        /// Where the next page starts; none after the last.
        #[n(1)]
        next: Option<Bytes>,
    },
}

/// A value, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Found {
    /// The value.
    #[n(0)]
    pub value: Bytes,
    /// Its version.
    #[n(1)]
    pub version: u64,
    /// Seconds until it is gone, rounded up; none where it stays.
    #[n(2)]
    pub expires_in: Option<u64>,
    /// The node that answered.
    #[n(3)]
    pub from: NodeId,
}

/// A question to the node responsible for a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Ask {
    #[n(0)]
    Operation {
        #[n(0)]
        operation: Operation,
    },
    /// A copy has this version.
    #[n(1)]
    Check {
        #[n(0)]
        name: Bytes,
        #[n(1)]
        version: u64,
    },
    /// A copy is newer: this one.
    #[n(2)]
    Restore {
        #[n(0)]
        name: Bytes,
        #[n(1)]
        record: Bytes,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Said {
    #[n(0)]
    Answer {
        #[n(0)]
        answer: Answer,
    },
    /// The condition of a write does not hold.
    #[n(1)]
    Conflict {
        #[n(0)]
        version: u64,
    },
    /// There is no room, or the disk failed.
    #[n(2)]
    NoRoom,
    /// To a check: the copy is newer.
    #[n(3)]
    Older,
}
