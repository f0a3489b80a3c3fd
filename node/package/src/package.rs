//! A package file: signed manifest and component together.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PROSTPKG` |
//! | 1 | version of this format: 1 |
//! | 4 | length of the envelope, big endian |
//! | that many | the envelope: [`SignedManifest::bytes`] |
//! | the rest | the component |

use bytes::Bytes;

use crate::digest::Digest;
use crate::envelope::SignedManifest;
use crate::manifest::ManifestError;

/// First bytes of a package file.
const MAGIC: &[u8; 8] = b"PROSTPKG";
/// Version of the file format.
const FORMAT: u8 = 1;

/// A signed manifest with the component it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The manifest.
    pub manifest: SignedManifest,
    /// The component; its digest and size are those of the manifest.
    pub component: Bytes,
}

impl Package {
    /// Bytes before the envelope: magic, version, length.
    pub const HEAD: usize = MAGIC.len() + 1 + 4;
    /// Largest component, in bytes. One with CPython in it has 18 MiB.
    pub const MAX_COMPONENT: u64 = 24 << 20;
    /// Longest package file, in bytes: what a reader needs to take in at most.
    pub const MAX: u64 = Package::HEAD as u64 + SignedManifest::MAX as u64 + Package::MAX_COMPONENT;

    /// Joins the two, if they belong together.
    pub fn new(manifest: SignedManifest, component: Bytes) -> Result<Package, PackageError> {
        let expected = &manifest.manifest().component;
        let actual = component.len() as u64;
        if actual != expected.size {
            return Err(PackageError::SizeMismatch { expected: expected.size, actual });
        }
        if Digest::of(&component) != expected.digest {
            return Err(PackageError::DigestMismatch);
        }
        Ok(Package { manifest, component })
    }

    /// The package file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let envelope = self.manifest.bytes();
        let length = u32::try_from(envelope.len()).expect("an envelope has at most SignedManifest::MAX bytes");
        let mut file = Vec::with_capacity(Package::HEAD + envelope.len() + self.component.len());
        file.extend_from_slice(MAGIC);
        file.push(FORMAT);
        file.extend_from_slice(&length.to_be_bytes());
        file.extend_from_slice(envelope);
        file.extend_from_slice(&self.component);
        file
    }

    /// Reads a package file and checks all of it. Envelope and component are parts of `bytes`, not copies.
    pub fn decode(mut bytes: Bytes) -> Result<Package, PackageError> {
        if bytes.len() as u64 > Package::MAX {
            return Err(malformed("the file is longer than any package"));
        }
        let Some(at) = Package::component_at(&bytes)? else {
            return Err(malformed("the file ends within the manifest"));
        };
        let envelope = bytes.split_to(at).slice(Package::HEAD..);
        Package::new(SignedManifest::verify(envelope)?, bytes)
    }

    /// The envelope at the beginning of a package file of which perhaps not all is there yet; none where more bytes are
    /// needed, which is never so from [`Package::HEAD`] and [`SignedManifest::MAX`] bytes on. The envelope itself is not checked.
    pub fn envelope(bytes: &[u8]) -> Result<Option<&[u8]>, PackageError> {
        Ok(Package::component_at(bytes)?.map(|at| &bytes[Package::HEAD..at]))
    }

    /// Where the component begins in a file that begins with these bytes.
    fn component_at(bytes: &[u8]) -> Result<Option<usize>, PackageError> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return Err(malformed("the file does not begin as a package does"));
        }
        if bytes.get(MAGIC.len()).is_some_and(|format| *format != FORMAT) {
            return Err(malformed("this version of the file format is not known here"));
        }
        let Some(head) = bytes.get(..Package::HEAD) else { return Ok(None) };
        let length = head[MAGIC.len() + 1..].iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        if length > SignedManifest::MAX {
            return Err(ManifestError::TooLarge(length).into());
        }
        Ok(Some(Package::HEAD + length).filter(|end| *end <= bytes.len()))
    }
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Not a package file.
    #[error("not a Prost package: {0}")]
    Malformed(String),
    /// The manifest is not to be believed.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The component is not the one that the manifest names.
    #[error("the component's digest is not the manifest's")]
    DigestMismatch,
    /// The component's size is not the manifest's.
    #[error("the component has {actual} bytes, the manifest says {expected}")]
    SizeMismatch {
        /// What the manifest says.
        expected: u64,
        /// What there is.
        actual: u64,
    },
}

fn malformed(why: &str) -> PackageError {
    PackageError::Malformed(why.to_owned())
}
