//! Reading a certificate that somebody presents, and the checks that make an id of it.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::admission::Admission;
use crate::ed25519::{PublicKey, key_from_spki};
use crate::id::{NodeIdBytes, SALT_LEN, Salt, node_id};
use crate::rejection::Rejection;

/// Longest certificate that is looked at, in bytes. Ours have about 400.
pub const MAX_CERTIFICATE: usize = 4096;

/// How far a peer's clock may be from ours where a certificate begins or ends.
pub const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// Longest time ahead for which a certificate may be valid: ten years and a little. What never expires is refused.
pub const MAX_LIFETIME: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

/// The id of the peer at the other end of a live connection, from the certificates that the connection reports.
///
/// The handshake has checked them; this only reads. The admission must be the one the connection was made under.
pub fn peer_id(certificates: &[CertificateDer<'_>], admission: &Admission) -> Result<NodeIdBytes, Rejection> {
    Presented::parse(single(certificates)?)?.node_id(admission)
}

/// The public key of the peer at the other end of a live connection, to [`verify`](crate::verify) its statements with.
pub fn peer_public_key(certificates: &[CertificateDer<'_>]) -> Result<PublicKey, Rejection> {
    Ok(Presented::parse(single(certificates)?)?.key)
}

/// The side of a connection on which a certificate is used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    Client,
    Server,
}

/// A certificate that was parsed and whose key is fit for an id. Nothing of it is proven yet.
pub(crate) struct Presented<'a> {
    der: &'a CertificateDer<'a>,
    certificate: EndEntityCert<'a>,
    /// The subject's key.
    pub(crate) key: PublicKey,
}

impl<'a> Presented<'a> {
    pub(crate) fn parse(der: &'a CertificateDer<'a>) -> Result<Presented<'a>, Rejection> {
        if der.len() > MAX_CERTIFICATE {
            return Err(Rejection::Oversized);
        }
        let certificate = EndEntityCert::try_from(der).map_err(|_| Rejection::Malformed)?;
        let key = key_from_spki(&certificate.subject_public_key_info())?;
        Ok(Presented { der, certificate, key })
    }

    /// The id under this admission. In a closed ring the certificate must carry the authority's salt; an open ring
    /// knows no salt, for its nodes could choose it.
    pub(crate) fn node_id(&self, admission: &Admission) -> Result<NodeIdBytes, Rejection> {
        match admission {
            Admission::Open => Ok(node_id(&self.key, None)),
            Admission::Closed(_) => Ok(node_id(&self.key, Some(&self.salt()?))),
        }
    }

    /// Whether the certificate admits its owner on this side of a connection at this time.
    pub(crate) fn check(&self, admission: &Admission, side: Side, now: UnixTime) -> Result<(), Rejection> {
        match admission {
            // A self-signed certificate is its own trust anchor: what is left to check is its time, its purpose and
            // that its key signed it.
            Admission::Open => {
                let anchor = webpki::anchor_from_trusted_cert(self.der).map_err(|_| Rejection::Malformed)?;
                self.check_against(&[anchor], side, now)
            }
            Admission::Closed(authorities) => self.check_against(authorities.anchors(), side, now),
        }
    }

    /// The raw subject name, without the outermost sequence.
    pub(crate) fn subject(&self) -> &[u8] {
        self.certificate.subject()
    }

    fn check_against(&self, anchors: &[TrustAnchor<'_>], side: Side, now: UnixTime) -> Result<(), Rejection> {
        let now = now.as_secs();
        let skew = CLOCK_SKEW.as_secs();
        self.check_at(anchors, side, now)
            .or_else(|rejection| match rejection {
                Rejection::NotYetValid => self.check_at(anchors, side, now.saturating_add(skew)),
                Rejection::Expired => self.check_at(anchors, side, now.saturating_sub(skew)),
                other => Err(other),
            })
            .and_then(|()| self.check_lifetime(anchors, side, now))
    }

    fn check_at(&self, anchors: &[TrustAnchor<'_>], side: Side, seconds: u64) -> Result<(), Rejection> {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let usage = KeyUsage::required(match side {
            Side::Server => SERVER_AUTH,
            Side::Client => CLIENT_AUTH,
        });
        match self.certificate.verify_for_usage(&[webpki::ring::ED25519], anchors, &[], time, usage, None, None) {
            Ok(_) => Ok(()),
            Err(error) => Err(classify(&error)),
        }
    }

    /// Dates are compared before signatures, so that this costs little.
    fn check_lifetime(&self, anchors: &[TrustAnchor<'_>], side: Side, now: u64) -> Result<(), Rejection> {
        let end = now.saturating_add(MAX_LIFETIME.as_secs()).saturating_add(CLOCK_SKEW.as_secs());
        match self.check_at(anchors, side, end) {
            Err(Rejection::Expired) => Ok(()),
            Err(other) => Err(other),
            Ok(()) => Err(Rejection::Lifetime),
        }
    }

    /// The one salt among the alternative names.
    fn salt(&self) -> Result<Salt, Rejection> {
        let mut salts = self.certificate.valid_uri_names().filter_map(|name| name.strip_prefix(SALT_URI));
        match (salts.next(), salts.next()) {
            (Some(digits), None) => salt_from_hex(digits).ok_or(Rejection::Salt),
            _ => Err(Rejection::Salt),
        }
    }
}

/// The alternative name that carries a salt: a URI, for that every tool shows it.
pub(crate) fn salt_uri(salt: &Salt) -> String {
    let digits: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{SALT_URI}{digits}")
}

fn single<'a>(certificates: &'a [CertificateDer<'a>]) -> Result<&'a CertificateDer<'a>, Rejection> {
    match certificates {
        [] => Err(Rejection::NoCertificate),
        [certificate] => Ok(certificate),
        _ => Err(Rejection::ExtraCertificate),
    }
}

/// Lower case only: a salt has one spelling.
fn salt_from_hex(digits: &str) -> Option<Salt> {
    let proper = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() != 2 * SALT_LEN || !digits.bytes().all(proper) {
        return None;
    }
    let mut salt = Salt::default();
    for (byte, at) in salt.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(salt)
}

fn classify(error: &webpki::Error) -> Rejection {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => Rejection::Expired,
        Error::CertNotValidYet { .. } => Rejection::NotYetValid,
        Error::UnknownIssuer | Error::CertDistrusted => Rejection::UnknownIssuer,
        Error::CaUsedAsEndEntity | Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => {
            Rejection::Purpose
        }
        Error::InvalidSignatureForPublicKey
        | Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Rejection::CertificateSignature,
        _ => Rejection::Malformed,
    }
}

const SALT_URI: &str = "prost:salt:";

/// Extended key usages (RFC 5280, section 4.2.1.12) as DER contents: 1.3.6.1.5.5.7.3.1 and 1.3.6.1.5.5.7.3.2.
const SERVER_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 2];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_has_one_spelling() {
        let salt: Salt = core::array::from_fn(|i| 0xa0 + i as u8);
        let uri = salt_uri(&salt);
        let digits = uri.strip_prefix(SALT_URI).expect("the prefix");
        assert_eq!(salt_from_hex(digits), Some(salt));
        for bad in [digits.to_uppercase(), format!("{digits}00"), digits[2..].to_owned(), format!("+{}", &digits[1..])]
        {
            assert_eq!(salt_from_hex(&bad), None, "{bad}");
        }
    }
}
