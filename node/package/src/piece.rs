//! The pieces in which a package is kept by the ring: one for each chunk of its component, and one, the head, that says
//! which chunks these are.
//!
//! Each piece brings its own proof: the signed manifest, and what leads from the piece to the component's digest in it.
//! Whoever is given one can tell from nothing else that it belongs to a package, and to whose. Pieces are kept as keyed
//! records of an application that no package can have, [`shelf`], at keys that follow from what they hold.

use bytes::Bytes;
use prost_kbr::{AppId, AppName, Id, Key};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::chunks::{CHUNK, Chunks, proven};
use crate::digest::Digest;
use crate::envelope::SignedManifest;
use crate::manifest::ComponentRef;

/// Longest envelope that a piece carries, in bytes. A manifest has about six KiB at most: seven capabilities with a line
/// of 256 bytes each, and fields that are shorter.
const MAX_ENVELOPE: usize = 16 << 10;

/// A piece, checked: its manifest's signature is the provider's, and it belongs to that manifest's component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The manifest.
    pub manifest: SignedManifest,
    /// What it holds.
    pub content: Content,
}

/// What a piece holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The values of all chunks.
    Head(Chunks),
    /// One chunk.
    Chunk {
        /// Its number, from zero.
        index: usize,
        /// Its value.
        value: Digest,
        /// The chunk.
        bytes: Bytes,
    },
}

/// A piece as it is written.
#[derive(Serialize, Deserialize)]
enum Written {
    Head { envelope: ByteBuf, list: ByteBuf },
    Chunk { envelope: ByteBuf, index: u32, path: ByteBuf, bytes: ByteBuf },
}

impl Piece {
    /// Longest piece, in bytes: chunk, envelope, and room for the path and the encoding.
    pub const MAX: usize = CHUNK + MAX_ENVELOPE + 1024;

    /// Whether a manifest is short enough to go with each piece.
    pub fn fits(manifest: &SignedManifest) -> bool {
        manifest.bytes().len() <= MAX_ENVELOPE
    }

    /// The bytes of a head.
    pub fn head(manifest: &SignedManifest, chunks: &Chunks) -> Bytes {
        encode(&Written::Head {
            envelope: ByteBuf::from(manifest.bytes().to_vec()),
            list: ByteBuf::from(chunks.encode()),
        })
    }

    /// The bytes of the piece with one chunk of a component; none where it has no such chunk.
    pub fn chunk(manifest: &SignedManifest, chunks: &Chunks, component: &[u8], index: usize) -> Option<Bytes> {
        let chunk = component.chunks(CHUNK).nth(index)?;
        Some(encode(&Written::Chunk {
            envelope: ByteBuf::from(manifest.bytes().to_vec()),
            index: u32::try_from(index).ok()?,
            path: ByteBuf::from(chunks.path(index)),
            bytes: ByteBuf::from(chunk.to_vec()),
        }))
    }

    /// Reads a piece as received, and checks all of it; none where anything about it is wrong.
    pub fn decode(bytes: &[u8]) -> Option<Piece> {
        if bytes.len() > Piece::MAX {
            return None;
        }
        let verify = |envelope: ByteBuf| {
            let manifest = SignedManifest::verify(envelope.into_vec().into()).ok()?;
            Piece::fits(&manifest).then_some(manifest)
        };
        match serde_cbor::from_slice(bytes).ok()? {
            Written::Head { envelope, list } => {
                let manifest = verify(envelope)?;
                let content = Content::Head(Chunks::verify(&list, component(&manifest))?);
                Some(Piece { manifest, content })
            }
            Written::Chunk { envelope, index, path, bytes } => {
                let (manifest, index) = (verify(envelope)?, index as usize);
                let value = proven(component(&manifest), index, &bytes, &path)?;
                Some(Piece { manifest, content: Content::Chunk { index, value, bytes: bytes.into_vec().into() } })
            }
        }
    }

    /// The chunk that a piece says it holds, nothing of it checked; none where it is no piece with a chunk. For who knows
    /// the chunk's value from elsewhere.
    pub fn chunk_of(bytes: &[u8]) -> Option<Bytes> {
        match serde_cbor::from_slice(bytes.get(..Piece::MAX.min(bytes.len()))?).ok()? {
            Written::Head { .. } => None,
            Written::Chunk { bytes, .. } => Some(bytes.into_vec().into()),
        }
    }

    /// Where on the ring it is kept.
    pub fn key(&self) -> Key {
        match &self.content {
            Content::Head(_) => head_key(&component(&self.manifest).digest),
            Content::Chunk { value, .. } => chunk_key(value),
        }
    }
}

/// Where the head of the package with this component is kept.
pub fn head_key(digest: &Digest) -> Key {
    key("prost 2026 content store component v1", digest)
}

/// Where the chunk with this value is kept.
pub fn chunk_key(value: &Digest) -> Key {
    key("prost 2026 content store chunk v1", value)
}

/// Whose keyed records an application's pieces are: an id that no package has, as no manifest's name begins so. None for an
/// id that no package can have itself.
pub fn shelf(app: &AppId) -> Option<AppId> {
    let name = format!("{}{}", AppName::RESERVED, app.name);
    (!app.name.is_reserved()).then_some(AppId { provider: app.provider, name: name.parse().ok()? })
}

/// Undoes [`shelf`]; none for the id of an application.
pub fn on_shelf(id: &AppId) -> Option<AppId> {
    let name: AppName = id.name.as_str().strip_prefix(AppName::RESERVED)?.parse().ok()?;
    (!name.is_reserved()).then_some(AppId { provider: id.provider, name })
}

fn component(manifest: &SignedManifest) -> &ComponentRef {
    &manifest.manifest().component
}

fn key(context: &str, digest: &Digest) -> Key {
    let derived = blake3::derive_key(context, digest.as_bytes());
    Id::from_bytes(*derived.first_chunk().expect("a digest is longer than an id"))
}

fn encode(written: &Written) -> Bytes {
    serde_cbor::to_vec(written).expect("byte strings and numbers are always encoded").into()
}
