//! The records that this node holds.
//!
//! A value and its meta are two records of the node, so that a walk over many values reads none of them.

use minicbor::{Decode, Encode};
use prost_peerlet::Key;
use prost_peerlet::cbor::Bytes;

use crate::host::{Host, StoreFailed};
use crate::record::{Meta, Record, Stamp};

const META: u8 = b'm';
const VALUE: u8 = b'v';

/// The meta of a record; none where there is no record, or where it has expired.
pub(crate) fn meta(host: &dyn Host, key: Key, name: &[u8]) -> Result<Option<Meta>, StoreFailed> {
    let stored = host.get(key, &prefixed(META, name))?;
    let meta = stored.and_then(|bytes| Meta::from_bytes(&bytes));
    Ok(meta.filter(|meta| !meta.is_expired(host.now_ms())))
}

/// A record that is newer than `than`.
pub(crate) fn record(
    host: &dyn Host,
    key: Key,
    name: &[u8],
    than: Option<Stamp>,
) -> Result<Option<Record>, StoreFailed> {
    let Some(meta) = meta(host, key, name)?.filter(|meta| Some(meta.stamp) > than) else { return Ok(None) };
    let value = if meta.live { host.get(key, &prefixed(VALUE, name))? } else { Some(Vec::new()) };
    Ok(value.map(|value| Record { meta, value: Bytes::from(value) }))
}

/// Writes a record in place of what is there.
pub(crate) fn write(host: &mut dyn Host, key: Key, name: &[u8], record: &Record) -> Result<(), StoreFailed> {
    let expires_in = record.meta.expires_in(host.now_ms());
    if record.meta.live {
        host.put(key, &prefixed(VALUE, name), &record.value, expires_in)?;
    } else {
        host.delete(key, &prefixed(VALUE, name))?;
    }
    let written = host.put(key, &prefixed(META, name), &record.meta.to_bytes(), expires_in);
    if written.is_err() {
        // Only a new meta takes quota, so there was no record, and a value without a meta is none.
        host.delete(key, &prefixed(VALUE, name))?;
    }
    written
}

/// Takes over a copy from another node where it is newer. Returns the stamp of the newest that this node knows of.
pub(crate) fn adopt(host: &mut dyn Host, key: Key, name: &[u8], record: &Record) -> Result<Stamp, StoreFailed> {
    let held = meta(host, key, name)?.map(|meta| meta.stamp);
    match held {
        Some(stamp) if stamp >= record.meta.stamp => return Ok(stamp),
        _ if record.meta.is_expired(host.now_ms()) => {}
        _ => write(host, key, name, record)?,
    }
    Ok(record.meta.stamp)
}

/// Names at a key, in order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Page {
    #[n(0)]
    pub(crate) names: Vec<(Bytes, Meta)>,
    /// After which name the next page starts; none after the last.
    #[n(1)]
    pub(crate) next: Option<Bytes>,
}

/// The names at a key that begin with `prefix`, in order, after `after`, with their metas.
pub(crate) fn page(
    host: &dyn Host,
    key: Key,
    prefix: &[u8],
    after: Option<&[u8]>,
    max: u32,
) -> Result<Page, StoreFailed> {
    let after = after.map(|name| prefixed(META, name));
    let stored = host.names(key, &prefixed(META, prefix), after.as_deref(), max)?;
    let is_full = stored.len() >= max as usize;
    let next = stored.last().filter(|_| is_full).map(|name| Bytes::from(&name[1..]));
    let mut names = Vec::new();
    for name in stored.iter().map(|name| &name[1..]) {
        if let Some(meta) = meta(host, key, name)? {
            names.push((Bytes::from(name), meta));
        }
    }
    Ok(Page { names, next })
}

fn prefixed(kind: u8, name: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(1 + name.len());
    prefixed.push(kind);
    prefixed.extend(name);
    prefixed
}
