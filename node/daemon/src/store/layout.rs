//! How records stand in the database.
//!
//! The key of a record is `application (u32) | 0 | name` or `application (u32) | 1 | ring key (20 bytes) | name`, all big
//! endian, so that the records of a place, and the ring keys of a range, stand next to each other in ring order. The
//! stored value is `expiry (u64, milliseconds since 1970) | checksum (8 bytes) | value`, and that of a keyed record
//! `expiry | checksum | version (u64) | its node (20 bytes) | 1 | value`, or `… | 0` for one that was deleted. The
//! checksum is over the key too, so that a record in the wrong place is found out.

use bytes::Bytes;
use prost_contract::{Kept, Place, Point, Version, record_bytes};
use prost_kbr::{Id, Key};
use redb::TableDefinition;

use super::error::StoreError;

/// Format of the database that this program writes.
pub(super) const FORMAT: u32 = 2;
/// Format, owner, next application number.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// In [`META`]: the format, a u32.
pub(super) const META_FORMAT: &str = "format";
/// In [`META`]: the id of the node whose records these are.
pub(super) const META_NODE: &str = "node";
/// In [`META`]: the number of the next new application, a u32.
pub(super) const META_NEXT_APP: &str = "next-app";
/// Application number to the application's id and the bytes it uses. An empty id: its records are being removed.
pub(super) const APPS: TableDefinition<'_, u32, (&str, u64)> = TableDefinition::new("apps");
/// The records.
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// `expiry | record key` of each record that expires.
pub(super) const EXPIRIES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("expiries");
/// Application id to its package file.
pub(super) const PACKAGES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("packages");

/// The expiry of a record that does not expire.
pub(super) const NEVER: u64 = u64::MAX;

const APP_LEN: usize = 4;
const TAG_NODE: u8 = 0;
const TAG_AT: u8 = 1;
const EXPIRY_LEN: usize = 8;
const CHECKSUM_LEN: usize = 8;
const HEAD_LEN: usize = EXPIRY_LEN + CHECKSUM_LEN;
const VERSION_LEN: usize = 8 + Id::LEN + 1;

/// A record's value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Milliseconds since 1970, or [`NEVER`].
    pub(super) expires: u64,
    /// Of a keyed record.
    pub(super) version: Option<Version>,
    /// None for a keyed record that was deleted or has expired.
    pub(super) value: Option<Bytes>,
}

impl Stored {
    /// Whether there is something to read.
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expires > now_ms
    }

    /// Its length in the database.
    pub(super) fn len(&self) -> usize {
        HEAD_LEN + self.version.map_or(0, |_| VERSION_LEN) + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// A keyed record as nodes copy it; none for a record of the node.
    pub(super) fn kept(&self) -> Option<Kept> {
        let expires = (self.expires != NEVER).then_some(self.expires);
        Some(Kept { version: self.version?, value: self.value.clone(), expires })
    }
}

impl From<Kept> for Stored {
    fn from(kept: Kept) -> Stored {
        Stored { expires: kept.expires.unwrap_or(NEVER), version: Some(kept.version), value: kept.value }
    }
}

/// What the keys of all records of a place begin with.
pub(super) fn place_prefix(app: u32, place: Place) -> Vec<u8> {
    let mut prefix = app.to_be_bytes().to_vec();
    match place {
        Place::Node => prefix.push(TAG_NODE),
        Place::At(key) => {
            prefix.push(TAG_AT);
            prefix.extend_from_slice(key.as_bytes());
        }
    }
    prefix
}

/// The key of a record.
pub(super) fn record_key(app: u32, place: Place, name: &[u8]) -> Vec<u8> {
    let mut key = place_prefix(app, place);
    key.extend_from_slice(name);
    key
}

/// What the keys of all records of an application that live at ring keys begin with.
pub(super) fn keyed_prefix(app: u32) -> Vec<u8> {
    let mut prefix = app.to_be_bytes().to_vec();
    prefix.push(TAG_AT);
    prefix
}

/// The application whose record this is.
pub(super) fn app_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*key.first_chunk()?))
}

/// The ring key that a record lives at; none for a record of the node.
pub(super) fn ring_key_of(key: &[u8]) -> Option<Key> {
    let (TAG_AT, rest) = key.get(APP_LEN..)?.split_first().map(|(tag, rest)| (*tag, rest))? else { return None };
    Some(Id::from_bytes(*rest.first_chunk()?))
}

/// What a record is charged; none where the key or the value is malformed.
pub(super) fn charge(key: &[u8], stored_len: usize) -> Option<u64> {
    let (name, head) = match *key.get(APP_LEN)? {
        TAG_NODE => (key.len() - APP_LEN - 1, HEAD_LEN),
        TAG_AT => (key.len().checked_sub(APP_LEN + 1 + Id::LEN)?, HEAD_LEN + VERSION_LEN),
        _ => return None,
    };
    Some(record_bytes(name, stored_len.checked_sub(head)?))
}

/// Which keyed record this is; none for a record of the node.
pub(super) fn point_of(key: &[u8]) -> Option<Point> {
    let name = key.get(APP_LEN + 1 + Id::LEN..)?.to_vec();
    Some(Point { key: ring_key_of(key)?, name })
}

/// The smallest key that does not begin with `prefix` and comes after all that do; none where there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// The stored form of a value.
pub(super) fn encode(key: &[u8], stored: &Stored) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stored.len());
    bytes.extend_from_slice(&stored.expires.to_be_bytes());
    bytes.extend_from_slice(&[0; CHECKSUM_LEN]);
    if let Some(Version { at, node }) = stored.version {
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(node.as_bytes());
        bytes.push(u8::from(stored.value.is_some()));
    }
    bytes.extend_from_slice(stored.value.as_deref().unwrap_or_default());
    let sum = checksum(key, stored.expires, &bytes[HEAD_LEN..]);
    bytes[EXPIRY_LEN..HEAD_LEN].copy_from_slice(&sum);
    bytes
}

/// The version of a stored keyed record; none for a record of the node.
pub(super) fn version(key: &[u8], stored: &[u8]) -> Result<Option<Version>, StoreError> {
    Ok(parse(key, stored)?.version)
}

/// A stored value that is what was written.
pub(super) struct Parsed<'a> {
    /// Milliseconds since 1970, or [`NEVER`].
    pub(super) expires: u64,
    /// Of a keyed record.
    pub(super) version: Option<Version>,
    /// None for a keyed record that was deleted or has expired.
    pub(super) value: Option<&'a [u8]>,
}

impl Parsed<'_> {
    /// Whether there is something to read.
    pub(super) fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expires > now_ms
    }
}

/// Undoes [`encode`], without a copy.
pub(super) fn parse<'a>(key: &[u8], stored: &'a [u8]) -> Result<Parsed<'a>, StoreError> {
    try_parse(key, stored).ok_or_else(|| StoreError::Damaged { key: key.to_vec() })
}

fn try_parse<'a>(key: &[u8], stored: &'a [u8]) -> Option<Parsed<'a>> {
    let expires = expiry(stored)?;
    let (head, body) = stored.split_at_checked(HEAD_LEN)?;
    if head[EXPIRY_LEN..] != checksum(key, expires, body) {
        return None;
    }
    let (version, value) = match ring_key_of(key) {
        Some(_) => split_version(body).map(|(version, value)| (Some(version), value))?,
        None => (None, Some(body)),
    };
    Some(Parsed { expires, version, value })
}

/// The version and the value of a keyed record.
fn split_version(body: &[u8]) -> Option<(Version, Option<&[u8]>)> {
    let (at, rest) = body.split_first_chunk()?;
    let (node, rest) = rest.split_first_chunk()?;
    let (there, value) = rest.split_first()?;
    Some((Version { at: u64::from_be_bytes(*at), node: Id::from_bytes(*node) }, (*there == 1).then_some(value)))
}

/// When a stored value expires, its checksum unchecked.
fn expiry(stored: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*stored.first_chunk()?))
}

/// Undoes [`encode`].
pub(super) fn decode(key: &[u8], stored: &[u8]) -> Result<Stored, StoreError> {
    let Parsed { expires, version, value } = parse(key, stored)?;
    Ok(Stored { expires, version, value: value.map(Bytes::copy_from_slice) })
}

/// The key in [`EXPIRIES`] of a record.
pub(super) fn expiry_key(expires: u64, key: &[u8]) -> Vec<u8> {
    let mut entry = expires.to_be_bytes().to_vec();
    entry.extend_from_slice(key);
    entry
}

/// Undoes [`expiry_key`].
pub(super) fn split_expiry_key(entry: &[u8]) -> Option<(u64, &[u8])> {
    let (expires, key) = entry.split_first_chunk()?;
    Some((u64::from_be_bytes(*expires), key))
}

fn checksum(key: &[u8], expires: u64, value: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(&expires.to_be_bytes()).update(value);
    let mut sum = [0; CHECKSUM_LEN];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_LEN]);
    sum
}
