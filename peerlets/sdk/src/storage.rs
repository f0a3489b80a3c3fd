//! Capability `storage`: records that are durable before anyone learns of them.

use core::time::Duration;

use crate::host::storage as host;

pub use host::{Allowance, Place, StorageError, delete, get, keys, names, usage};

/// Writes a record. It goes away by itself after `expires_in`, which is rounded up to whole seconds; none keeps it.
pub fn put(place: Place, name: &[u8], value: &[u8], expires_in: Option<Duration>) -> Result<(), StorageError> {
    host::put(place, name, value, expires_in.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0)))
}
