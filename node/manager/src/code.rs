//! How nodes ask each other for code. Travels as the routing layer's `Upper` frames.

use bytes::Bytes;
use prost_kbr::AppId;
use prost_package::Digest;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub(crate) use prost_package::chunks::CHUNK;

/// A frame between two peerlet managers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CodeMessage {
    /// Do you run this application? If so, its manifest.
    GetManifest { request: u64, app: AppId },
    /// The signed manifest and the values of the component's chunks; none where the sender does not run the application.
    Manifest { request: u64, envelope: Option<ByteBuf>, chunks: Option<ByteBuf> },
    /// The chunk of a component that begins at `offset`, a multiple of [`CHUNK`].
    GetChunk { request: u64, digest: Digest, offset: u64 },
    /// The chunk; none where the sender does not have the component.
    Chunk { request: u64, offset: u64, bytes: Option<ByteBuf> },
}

impl CodeMessage {
    pub(crate) fn encode(&self) -> Bytes {
        serde_cbor::to_vec(self).expect("a code message is plain data").into()
    }

    /// None where the bytes are no code message.
    pub(crate) fn decode(bytes: &[u8]) -> Option<CodeMessage> {
        serde_cbor::from_slice(bytes).ok()
    }
}
