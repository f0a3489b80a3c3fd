//! The blocks of CFS (Dabek, Kaashoek, Karger, Morris, Stoica, "Wide-area cooperative storage with CFS", SOSP 2001), and
//! what a program asks the cfs peerlet.
//!
//! A block proves itself: the id of a [content block](BlockId::of) is the hash of its bytes, that of a [`Root`] the hash of
//! the key that signs it. Whoever has an id can check what it is given for it, and needs to trust nobody on the way.
//!
//! A request's method is one of [`PUT`], [`GET`], [`EXTEND`] and [`STATUS`]; its body is the CBOR (RFC 8949) of the type
//! of that name, the answer's body the CBOR of the type that its documentation names. A request that comes to nothing is
//! answered with text, which [`Refusal`] reads and writes.

mod id;
mod refusal;
mod request;
mod root;

pub use id::{BadId, BlockId, Kind};
pub use refusal::{Refusal, UnknownRefusal};
pub use request::{
    Caching, EXTEND, Extend, Found, GET, Get, MAX_AVOID, PUT, Put, STATUS, Status, Stored, decode, encode,
};
pub use root::{BadRoot, MAX_PAYLOAD, MAX_SALT, Root, Signed};

/// Longest content block, in bytes. The file system's blocks have 8 KiB; the paper's have tens of kilobytes at most.
pub const MAX_BLOCK: usize = 32 << 10;
/// Longest life that an insertion or an extension can ask for, in seconds: one year. Whoever wants a block longer extends
/// it meanwhile.
pub const MAX_TTL: u64 = 365 * 24 * 3600;

/// What is wrong with a block of this kind and id, where anything is: whether the bytes prove the id.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn verify(kind: Kind, id: &BlockId, bytes: &[u8]) -> Result<(), BadRoot> {
    match kind {
        Kind::Content if bytes.len() <= MAX_BLOCK && BlockId::of(bytes) == *id => Ok(()),
        Kind::Content => Err(BadRoot::OtherId),
        Kind::Root => {
            let root = Root::decode(bytes)?;
            if root.id() == *id { Ok(()) } else { Err(BadRoot::OtherId) }
        }
    }
}
