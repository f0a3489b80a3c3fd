//! What a program asks the dht peerlet, and what it is answered.
//!
//! A request's method is one of [`PUT`], [`GET`], [`REMOVE`] and [`LIST`]; its body is the CBOR (RFC 8949) of the type of
//! that name, and the answer's body the CBOR of the type that its documentation names. A request that comes to nothing is
//! answered with text, which [`Refusal`] reads and writes.
//!
//! A value lives at a key of the ring under a name: many names can share a key, and then share their nodes. Keys are
//! 20 bytes, most significant first; by custom the SHA-1 of a name.

mod refusal;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

pub use refusal::Refusal;

/// Twenty bytes: a key, or a node's id.
pub type Id = ByteArray<20>;

/// Stores a value: see [`Put`].
pub const PUT: &str = "put";
/// Reads a value: see [`Get`].
pub const GET: &str = "get";
/// Removes a value: see [`Remove`].
pub const REMOVE: &str = "remove";
/// Names the values at a key: see [`List`].
pub const LIST: &str = "list";

/// Longest value, in bytes. A record with its value must fit in 64 KiB of storage.
pub const MAX_VALUE: usize = 60 << 10;
/// Longest name, in bytes.
pub const MAX_NAME: usize = 500;
/// Most names in one [`Listed`].
pub const MAX_LIST: u32 = 128;
/// Longest life that a value can be given, in seconds: ten years.
pub const MAX_EXPIRES_IN: u64 = 10 * 365 * 24 * 3600;

/// Stores a value, in place of one of the same key and name. Answered by [`Stored`] once the value is durable on most of
/// the nodes that hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Put {
    /// Where on the ring.
    pub key: Id,
    /// Under which name; at most [`MAX_NAME`] bytes.
    pub name: ByteBuf,
    /// What; at most [`MAX_VALUE`] bytes.
    pub value: ByteBuf,
    /// Seconds after which the value is gone, from 1 to [`MAX_EXPIRES_IN`]; none keeps it.
    #[serde(default)]
    pub expires_in: Option<u64>,
    /// Only where the value has this [`version`](Found::version), 0 where there is none; else [`Refusal::Conflict`].
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// A [`Put`] or [`Remove`] is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The version that the value has now; each is greater than all before it at this key and name.
    pub version: u64,
    /// How many nodes hold it, or soon will.
    pub replicas: u32,
}

/// Reads a value. Answered by `Option<Found>`: none where there is no such value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Get {
    /// Where on the ring.
    pub key: Id,
    /// Under which name.
    pub name: ByteBuf,
    /// Whether the first copy on the way may answer. It is nearer, and may be older than the one responsible has it.
    #[serde(default)]
    pub nearest: bool,
}

/// The value that a [`Get`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The value.
    pub value: ByteBuf,
    /// Its version.
    pub version: u64,
    /// Seconds, rounded up, until it is gone; none where it stays.
    pub expires_in: Option<u64>,
    /// The node that answered.
    pub from: Id,
}

/// Removes a value. Answered by [`Stored`], whether there was one or not; the nodes remember the removal for
/// a while, so that no old copy brings the value back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remove {
    /// Where on the ring.
    pub key: Id,
    /// Under which name.
    pub name: ByteBuf,
    /// As for a [`Put`].
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// Asks for names at a key, in order. Answered by [`Listed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Where on the ring.
    pub key: Id,
    /// Only names that begin with this.
    #[serde(default)]
    pub prefix: ByteBuf,
    /// Only names after this one; none starts with the first.
    #[serde(default)]
    pub after: Option<ByteBuf>,
    /// At most this many, and at most [`MAX_LIST`].
    pub max: u32,
}

/// A page of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The names, in order. A page can be short, even empty, and yet not the last.
    pub names: Vec<ByteBuf>,
    /// Where the next page starts: its [`List::after`]; none after the last page.
    pub next: Option<ByteBuf>,
}
