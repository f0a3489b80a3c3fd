//! What every certificate of ours has in common.

use core::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ED25519};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::UnixTime;
use time::OffsetDateTime;

use crate::certificate::MAX_LIFETIME;
use crate::error::IssueError;
use crate::id::Salt;

/// Longest name of a node or a ring, in bytes (X.520's bound of a common name).
pub const MAX_NAME: usize = 64;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: UnixTime,
    /// For how long: a second at least, [`MAX_LIFETIME`] at most.
    pub lifetime: Duration,
}

impl Validity {
    /// From a time on, for days.
    pub fn days(from: UnixTime, days: u32) -> Validity {
        Validity { from, lifetime: Duration::from_secs(u64::from(days) * 24 * 60 * 60) }
    }
}

/// Parameters with a subject and dates, for nothing yet.
pub(crate) fn params(name: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    if validity.lifetime.as_secs() == 0 || validity.lifetime > MAX_LIFETIME {
        return Err(IssueError::Lifetime);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name)?;
    params.not_before = date(validity.from.as_secs())?;
    params.not_after = date(validity.from.as_secs().saturating_add(validity.lifetime.as_secs()))?;
    params.serial_number = Some(random::<16>()?.to_vec().into());
    Ok(params)
}

pub(crate) fn distinguished_name(name: &str) -> Result<DistinguishedName, IssueError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(IssueError::Name);
    }
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    Ok(distinguished_name)
}

/// The name in a raw subject that [`distinguished_name`] made, and in no other.
pub(crate) fn common_name(subject: &[u8]) -> Option<&str> {
    let name = subject.get(COMMON_NAME_HEADER..).filter(|name| !name.is_empty() && name.len() <= MAX_NAME)?;
    let n = name.len() as u8;
    // SET { SEQUENCE { OID 2.5.4.3, UTF8String } }
    let header: [u8; COMMON_NAME_HEADER] = [0x31, n + 9, 0x30, n + 7, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, n];
    if subject.starts_with(&header) { str::from_utf8(name).ok() } else { None }
}

pub(crate) fn new_key() -> Result<KeyPair, IssueError> {
    KeyPair::generate_for(&PKCS_ED25519).map_err(library)
}

pub(crate) fn new_salt() -> Result<Salt, IssueError> {
    random()
}

pub(crate) fn library(error: rcgen::Error) -> IssueError {
    IssueError::Generate(error.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IssueError::Generate("no randomness".into()))?;
    Ok(bytes)
}

fn date(seconds: u64) -> Result<OffsetDateTime, IssueError> {
    let seconds = i64::try_from(seconds).map_err(|_| IssueError::Lifetime)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::Lifetime)
}

const COMMON_NAME_HEADER: usize = 11;
