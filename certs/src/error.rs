//! What can go wrong with keys and certificates of our own.

use std::io;
use std::path::PathBuf;

use crate::rejection::Rejection;

/// A key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is longer than any key or certificate.
    #[error("{path}: too long for a key or a certificate")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may use the key file.
    #[error("{path}: this key is open to others (mode {mode:03o}): run `chmod 600 {path}`")]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The text is not PEM.
    #[error("malformed PEM")]
    Pem,
    /// There is no certificate in the text.
    #[error("no certificate in PEM")]
    NoCertificate,
    /// There is no PKCS#8 private key in the text.
    #[error("no private key in PEM (expected `BEGIN PRIVATE KEY`)")]
    NoKey,
    /// There is more than one of them in the text, where one is meant.
    #[error("more than one certificate or key in PEM")]
    Several,
    /// The certificate is one that every node would refuse.
    #[error("{0}")]
    Certificate(Rejection),
    /// The private key is not a PKCS#8 Ed25519 key.
    #[error("the private key is not an Ed25519 key in PKCS#8")]
    Key,
    /// The certificate is over another key.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The authority's certificate has a name that we would not have given it.
    #[error("the certificate is not a Prost authority's")]
    Authority,
}

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name is empty, longer than [`MAX_NAME`](crate::MAX_NAME) bytes, or has control characters.
    #[error("a name has 1 to 64 bytes and no control characters")]
    Name,
    /// The certificate would be valid for no time, or beyond [`MAX_LIFETIME`](crate::MAX_LIFETIME).
    #[error("a certificate is valid for 1 to 3660 days")]
    Lifetime,
    /// No randomness, or a failure of the library.
    #[error("cannot make a certificate: {0}")]
    Generate(String),
    /// What was made cannot be used. The authority's own certificate is not an authority's.
    #[error("the new certificate would be refused: {0}")]
    Refused(Rejection),
}

/// A file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct SaveError {
    /// The file.
    pub path: PathBuf,
    /// Why. A file that exists is never overwritten.
    pub source: io::Error,
}
