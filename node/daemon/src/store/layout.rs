//! How records stand in the database.
//!
//! The key of a record is `application (u32) | 0 | name` or `application (u32) | 1 | ring key (20 bytes) | name`, all big
//! endian, so that the records of a place, and the ring keys of a range, stand next to each other in ring order. The
//! stored value is `expiry (u64, milliseconds since 1970) | checksum (8 bytes) | value`. The checksum is over the key
//! too, so that a record in the wrong place is found out.

use prost_contract::{Place, record_bytes};
use prost_kbr::{Id, Key};
use redb::TableDefinition;

use super::error::StoreError;

/// Format of the database that this program writes.
pub(super) const FORMAT: u32 = 1;
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
    let name = match *key.get(APP_LEN)? {
        TAG_NODE => key.len() - APP_LEN - 1,
        TAG_AT => key.len().checked_sub(APP_LEN + 1 + Id::LEN)?,
        _ => return None,
    };
    Some(record_bytes(name, stored_len.checked_sub(HEAD_LEN)?))
}

/// The length of a stored value, from that of the value.
pub(super) const fn stored_len(value: usize) -> usize {
    HEAD_LEN + value
}

/// The smallest key that does not begin with `prefix` and comes after all that do; none where there is none.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Some(end)
}

/// The stored form of a value.
pub(super) fn encode(key: &[u8], expires: u64, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(stored_len(value.len()));
    stored.extend_from_slice(&expires.to_be_bytes());
    stored.extend_from_slice(&checksum(key, expires, value));
    stored.extend_from_slice(value);
    stored
}

/// When a stored value expires, its checksum unchecked.
pub(super) fn expiry(stored: &[u8]) -> Result<u64, StoreError> {
    let bytes = stored.first_chunk().ok_or_else(|| StoreError::Corrupt("a record is too short".to_owned()))?;
    Ok(u64::from_be_bytes(*bytes))
}

/// The expiry and the value of a stored value.
pub(super) fn decode<'a>(key: &[u8], stored: &'a [u8]) -> Result<(u64, &'a [u8]), StoreError> {
    let expires = expiry(stored)?;
    let (head, value) =
        stored.split_at_checked(HEAD_LEN).ok_or_else(|| StoreError::Corrupt("a record is too short".to_owned()))?;
    if head[EXPIRY_LEN..] == checksum(key, expires, value) {
        Ok((expires, value))
    } else {
        Err(StoreError::Corrupt("a record's checksum is wrong".to_owned()))
    }
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
