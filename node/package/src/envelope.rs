//! The envelope in which a manifest travels: COSE_Sign1 (RFC 9052).
//!
//! The tagged form, with the manifest's CBOR as embedded payload. The protected header holds the algorithm, EdDSA,
//! and the provider's public key as key id; the unprotected header is empty. The signature also covers
//! `prost-peerlet-manifest-v1` as external data, so that a signature made for another purpose is none here.

use bytes::Bytes;
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana};

use crate::key::{self, ProviderKey};
use crate::manifest::{Manifest, ManifestError};

/// External data of every signature: what is being signed.
const DOMAIN: &[u8] = b"prost-peerlet-manifest-v1";

/// A manifest in its COSE_Sign1 envelope (RFC 9052), checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedManifest {
    bytes: Bytes,
    manifest: Manifest,
}

impl SignedManifest {
    /// Longest envelope, in bytes.
    pub const MAX: usize = 64 << 10;

    /// Signs a manifest whose provider is the key's owner.
    pub fn sign(manifest: Manifest, key: &ProviderKey) -> Result<SignedManifest, ManifestError> {
        if manifest.provider != key.public() {
            return Err(ManifestError::BadKey);
        }
        manifest.check()?;
        let envelope = CoseSign1Builder::new()
            .protected(header(&manifest.provider))
            .payload(manifest.encode())
            .create_signature(DOMAIN, |message| key.sign(message))
            .build();
        let bytes = Bytes::from(encode(envelope)?);
        check_length(&bytes)?;
        Ok(SignedManifest { bytes, manifest })
    }

    /// Checks an envelope as received: its signature over the very bytes, by the provider that it names, and the
    /// range of every field.
    ///
    /// The manifest is decoded only once its signature has been found good.
    pub fn verify(bytes: Bytes) -> Result<SignedManifest, ManifestError> {
        check_length(&bytes)?;
        let provider = check_headers(&bytes)?;
        let envelope = CoseSign1::from_tagged_slice(&bytes).map_err(|_| malformed("not a COSE_Sign1 envelope"))?;
        let payload = envelope.payload.as_deref().ok_or_else(|| malformed("the payload is detached"))?;
        envelope.verify_signature(DOMAIN, |signature, message| key::verify(&provider, message, signature))?;
        let manifest = Manifest::decode(payload)?;
        if manifest.provider != provider {
            return Err(ManifestError::BadKey);
        }
        manifest.check()?;
        // The signature does not cover how the envelope itself is encoded. One spelling is taken, so that nobody
        // but the provider can make a second envelope from a first.
        if encode(envelope)? != bytes {
            return Err(malformed("the envelope's encoding is not the shortest"));
        }
        Ok(SignedManifest { bytes, manifest })
    }

    /// The envelope.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// The only protected header that is taken.
fn header(provider: &[u8; 32]) -> Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(provider.to_vec()).build()
}

/// How every envelope begins: tag 18, an array of four, and a byte string with the protected header, a map
/// `{1: -8, 4: key id}`, up to the key id's 32 bytes.
const OPENING: [u8; 10] = [0xd2, 0x84, 0x58, 0x26, 0xa2, 0x01, 0x27, 0x04, 0x58, 0x20];
/// The unprotected header: an empty map.
const NO_HEADER: u8 = 0xa0;

/// Reads the provider's key from the headers, which have one spelling.
///
/// Comes before COSE is decoded: headers can hold countersignatures, whose headers can hold countersignatures, each
/// wrapped in a byte string where no decoder's limit on depth sees it. Some ten bytes a level would overflow the stack.
fn check_headers(bytes: &[u8]) -> Result<[u8; 32], ManifestError> {
    bytes
        .strip_prefix(&OPENING)
        .and_then(<[u8]>::split_first_chunk::<32>)
        .filter(|(_, rest)| rest.first() == Some(&NO_HEADER))
        .map(|(provider, _)| *provider)
        .ok_or_else(|| malformed("the headers are not those of a signed manifest"))
}

/// Comes before any decoding: what is decoded is bounded by what was read.
fn check_length(bytes: &Bytes) -> Result<(), ManifestError> {
    if bytes.len() > SignedManifest::MAX { Err(ManifestError::TooLarge(bytes.len())) } else { Ok(()) }
}

fn encode(envelope: CoseSign1) -> Result<Vec<u8>, ManifestError> {
    envelope.to_tagged_vec().map_err(|_| malformed("the envelope cannot be encoded"))
}

fn malformed(why: &str) -> ManifestError {
    ManifestError::Malformed(why.to_owned())
}
