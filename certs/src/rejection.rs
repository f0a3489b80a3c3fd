//! Why a handshake was refused, and how often.

use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use rustls::{CertificateError, OtherError};

/// Why a peer was refused in the handshake. No state of the application exists yet when that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Rejection {
    /// The peer showed no certificate.
    #[error("no certificate")]
    NoCertificate,
    /// The peer showed more than one certificate.
    #[error("more than one certificate")]
    ExtraCertificate,
    /// The certificate is longer than [`MAX_CERTIFICATE`](crate::MAX_CERTIFICATE).
    #[error("the certificate is too long")]
    Oversized,
    /// The certificate is not DER of an X.509 version 3 certificate, or has something in it that must not be ignored.
    #[error("the certificate is malformed")]
    Malformed,
    /// The certificate's key is not an Ed25519 key.
    #[error("the certificate's key is not Ed25519")]
    KeyAlgorithm,
    /// The key is Ed25519, but not in the one encoding that has an id.
    #[error("the certificate's key is not in canonical form")]
    NonCanonicalKey,
    /// Anyone can sign for such a key.
    #[error("the certificate's key is of small order")]
    SmallOrderKey,
    /// The certificate's time is over.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate's time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate is valid for longer than [`MAX_LIFETIME`](crate::MAX_LIFETIME).
    #[error("the certificate is valid for too long")]
    Lifetime,
    /// In a closed ring: not of the ring's authority. In an open one: not self-signed.
    #[error("the certificate is of another issuer")]
    UnknownIssuer,
    /// The issuer's name is right and its signature is not.
    #[error("the certificate's signature is wrong")]
    CertificateSignature,
    /// The certificate is an authority's, or not for this side of a connection.
    #[error("the certificate is not for this purpose")]
    Purpose,
    /// In a closed ring: not exactly one well-formed salt.
    #[error("the certificate has no proper salt")]
    Salt,
    /// Another node answered than the one that was dialled.
    #[error("another node than the one dialled")]
    UnexpectedId,
    /// The peer does not have the key of the certificate that it showed.
    #[error("the handshake's signature is wrong")]
    HandshakeSignature,
    /// The peer does not speak `prost/1`.
    #[error("the peer does not offer this protocol")]
    Alpn,
    /// The dialler asks for another name than [`SERVER_NAME`](crate::SERVER_NAME), or for none.
    #[error("the peer asks for another server name")]
    ServerName,
    /// The peer does not offer TLS 1.3.
    #[error("the peer does not offer TLS 1.3")]
    TlsVersion,
    /// The handshake broke TLS in some other way, with or without an alert.
    #[error("the handshake breaks the TLS protocol")]
    Protocol,
}

impl Rejection {
    /// Every reason, in the order of declaration.
    pub const ALL: [Rejection; 20] = [
        Rejection::NoCertificate,
        Rejection::ExtraCertificate,
        Rejection::Oversized,
        Rejection::Malformed,
        Rejection::KeyAlgorithm,
        Rejection::NonCanonicalKey,
        Rejection::SmallOrderKey,
        Rejection::Expired,
        Rejection::NotYetValid,
        Rejection::Lifetime,
        Rejection::UnknownIssuer,
        Rejection::CertificateSignature,
        Rejection::Purpose,
        Rejection::Salt,
        Rejection::UnexpectedId,
        Rejection::HandshakeSignature,
        Rejection::Alpn,
        Rejection::ServerName,
        Rejection::TlsVersion,
        Rejection::Protocol,
    ];

    /// The reason as the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Rejection::NoCertificate => "no_certificate",
            Rejection::ExtraCertificate => "extra_certificate",
            Rejection::Oversized => "oversized",
            Rejection::Malformed => "malformed",
            Rejection::KeyAlgorithm => "key_algorithm",
            Rejection::NonCanonicalKey => "non_canonical_key",
            Rejection::SmallOrderKey => "small_order_key",
            Rejection::Expired => "expired",
            Rejection::NotYetValid => "not_yet_valid",
            Rejection::Lifetime => "lifetime",
            Rejection::UnknownIssuer => "unknown_issuer",
            Rejection::CertificateSignature => "certificate_signature",
            Rejection::Purpose => "purpose",
            Rejection::Salt => "salt",
            Rejection::UnexpectedId => "unexpected_id",
            Rejection::HandshakeSignature => "handshake_signature",
            Rejection::Alpn => "alpn",
            Rejection::ServerName => "server_name",
            Rejection::TlsVersion => "tls_version",
            Rejection::Protocol => "protocol",
        }
    }
}

impl From<Rejection> for rustls::Error {
    /// The standard error where TLS has one, so that the peer is told the matching alert.
    fn from(rejection: Rejection) -> rustls::Error {
        rustls::Error::InvalidCertificate(match rejection {
            Rejection::Malformed => CertificateError::BadEncoding,
            Rejection::Expired => CertificateError::Expired,
            Rejection::NotYetValid => CertificateError::NotValidYet,
            Rejection::UnknownIssuer => CertificateError::UnknownIssuer,
            Rejection::CertificateSignature | Rejection::HandshakeSignature => CertificateError::BadSignature,
            Rejection::Purpose => CertificateError::InvalidPurpose,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}

/// How often each [`Rejection`] happened. Shared by every connection of a node.
#[derive(Debug, Default)]
pub struct Rejections([AtomicU64; Rejection::ALL.len()]);

impl Rejections {
    /// Counters at zero.
    pub fn new() -> Arc<Rejections> {
        Arc::default()
    }

    /// Counts one.
    pub fn count(&self, rejection: Rejection) {
        self.0[rejection as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a handshake that the TLS library ended by itself with this alert (RFC 8446, section 6), and says as
    /// what. None for an alert that stands for a refusal of ours, which has been counted where it was made.
    ///
    /// Only for alerts of this side: what a peer sends is the peer's opinion.
    pub fn count_alert(&self, alert: u8) -> Option<Rejection> {
        let rejection = match alert {
            // Bad, unsupported, expired or unknown certificate, unknown issuer, access denied, decrypt error.
            42..=46 | 48 | 49 | 51 => return None,
            70 => Rejection::TlsVersion,
            116 => Rejection::NoCertificate,
            120 => Rejection::Alpn,
            _ => Rejection::Protocol,
        };
        self.count(rejection);
        Some(rejection)
    }

    /// How often this one happened.
    pub fn get(&self, rejection: Rejection) -> u64 {
        self.0[rejection as usize].load(Ordering::Relaxed)
    }

    /// Every reason and how often it happened.
    pub fn iter(&self) -> impl Iterator<Item = (Rejection, u64)> + '_ {
        Rejection::ALL.into_iter().map(|rejection| (rejection, self.get(rejection)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let rejections = Rejections::default();
        for rejection in Rejection::ALL {
            assert_eq!(rejections.get(rejection), 0, "{rejection}");
            rejections.count(rejection);
        }
        assert!(rejections.iter().all(|(_, count)| count == 1));
        let names: BTreeSet<_> = Rejection::ALL.map(Rejection::name).into_iter().collect();
        assert_eq!(names.len(), Rejection::ALL.len());
    }
}
