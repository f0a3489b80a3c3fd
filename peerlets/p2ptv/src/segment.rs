//! Segments as they travel: each signed by its source, so that no relay can forge, change, reorder or replay one.
//!
//! Each is signed by itself, not through a chain of digests. The digest of a segment that does not exist yet cannot be put
//! into the one before, and a chain that is signed at its end would make every receiver wait for that end. A signature is
//! two for a second of video, and one that was repaired, or is the first of a late joiner, is checked like any other.

use minicbor::{Decode, Encode};
use prost_p2ptv_api::{MAX_SEGMENT, Segment};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::identity::{self, Signature};
use prost_peerlet::{Key, NodeId};

/// Bytes of a certificate or a signature at most.
const PROOF: usize = 4 << 10;

/// A segment with its proof.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Signed {
    /// A [`Segment`], as CBOR.
    #[n(0)]
    pub(crate) segment: Bytes,
    #[n(1)]
    pub(crate) source: NodeId,
    #[n(2)]
    certificate: Bytes,
    #[n(3)]
    signature: Bytes,
}

impl Signed {
    /// A segment of this node's.
    pub(crate) fn new(channel: Key, source: NodeId, segment: &Segment) -> Signed {
        let segment = cbor::encode(segment);
        let Signature { public_key, bytes } = identity::sign(&statement(channel, &segment));
        Signed { segment: segment.into(), source, certificate: public_key.into(), signature: bytes.into() }
    }

    /// Reads one, and the segment in it. It proves nothing yet.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Signed, Segment)> {
        let signed: Signed = cbor::decode(bytes).ok()?;
        let segment: Segment = cbor::decode(&signed.segment).ok()?;
        let fits = signed.certificate.len().max(signed.signature.len()) <= PROOF && segment.data.len() <= MAX_SEGMENT;
        // A number with room above it, so that one more is a number too.
        (fits && segment.number < u64::MAX && segment.stream > 0).then_some((signed, segment))
    }

    /// Whether the source says so.
    pub(crate) fn is_proven(&self, channel: Key) -> bool {
        let signature = Signature { public_key: self.certificate.to_vec(), bytes: self.signature.to_vec() };
        identity::verify(self.source, &statement(channel, &self.segment), &signature)
    }
}

/// What is signed: the segment, and which channel it is of.
fn statement(channel: Key, segment: &[u8]) -> Vec<u8> {
    [b"segment".as_slice(), &channel.to_bytes(), segment].concat()
}

/// The rules of a channel: whose it is.
pub(crate) fn rules(source: NodeId) -> Vec<u8> {
    cbor::encode(&source)
}

/// Reads them.
pub(crate) fn source_of(rules: &[u8]) -> Option<NodeId> {
    cbor::decode(rules).ok()
}

/// Proof that a node wants to have a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Claim {
    #[n(0)]
    certificate: Bytes,
    #[n(1)]
    signature: Bytes,
}

impl Claim {
    /// This node's.
    pub(crate) fn new(channel: Key) -> Claim {
        let Signature { public_key, bytes } = identity::sign(&Claim::statement(channel));
        Claim { certificate: public_key.into(), signature: bytes.into() }
    }

    /// Whether it is this node's that claims it.
    pub(crate) fn is_of(&self, channel: Key, node: NodeId) -> bool {
        let signature = Signature { public_key: self.certificate.to_vec(), bytes: self.signature.to_vec() };
        identity::verify(node, &Claim::statement(channel), &signature)
    }

    fn statement(channel: Key) -> Vec<u8> {
        [b"channel".as_slice(), &channel.to_bytes()].concat()
    }
}
