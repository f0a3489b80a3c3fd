//! How long things last: the figures of the authors' implementation.

use core::time::Duration;

/// A trigger that was not refreshed for so long is gone.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// How often a trigger is refreshed.
pub const REFRESH: Duration = Duration::from_secs(20);
/// An insertion that was not acknowledged for so long is repeated.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an insertion is tried before it has failed.
pub const TRIES: u32 = 6;
/// How long a sender believes that a node keeps the triggers of a prefix.
pub(crate) const CACHE: Duration = Duration::from_secs(30);
/// After so long a packet asks again, so that a cache that is used never expires.
pub(crate) const CACHE_REFRESH: Duration = Duration::from_secs(10);
