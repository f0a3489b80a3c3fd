//! The programs that listen at this node.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::ask::{MAX_LEASE, Received};
use prost_peerlet::time::Instant;
use prost_peerlet::{Inbox, cbor, random};

/// Programs that can listen at once.
const MOST: usize = 64;
/// How long an endpoint stays without being read, where the program does not say.
const LEASE: Duration = Duration::from_secs(60);
/// What waits for a program at most.
const ITEMS: usize = 512;
const BYTES: usize = 384 << 10;

/// Endpoints by number.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    open: BTreeMap<u64, Endpoint>,
}

#[derive(Debug)]
struct Endpoint {
    inbox: Inbox,
    lease: Duration,
    read: Instant,
}

impl Endpoints {
    /// Opens one; none where there are too many.
    pub(crate) fn open(&mut self, lease: Option<u32>) -> Option<u64> {
        if self.open.len() >= MOST {
            return None;
        }
        let lease = lease.map_or(LEASE, |seconds| Duration::from_secs(seconds.clamp(1, MAX_LEASE).into()));
        let number = random::number();
        self.open.insert(number, Endpoint { inbox: Inbox::new(ITEMS, BYTES), lease, read: Instant::now() });
        Some(number)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    /// Closes one. A program that waits is answered with nothing.
    pub(crate) fn close(&mut self, number: u64) -> bool {
        let Some(mut endpoint) = self.open.remove(&number) else { return false };
        endpoint.inbox.release();
        true
    }

    /// A program waits for packets. False where it does so in vain.
    pub(crate) fn next(&mut self, number: u64, request: u64, from: u64) -> bool {
        let Some(endpoint) = self.open.get_mut(&number) else { return false };
        endpoint.read = Instant::now();
        endpoint.inbox.next(request, from);
        true
    }

    /// A packet for a program. False where there is none of this number.
    pub(crate) fn push(&mut self, number: u64, received: &Received) -> bool {
        let Some(endpoint) = self.open.get_mut(&number) else { return false };
        endpoint.inbox.push(cbor::encode(received));
        true
    }

    /// A timer has run out.
    pub(crate) fn due(&mut self, timer: u64) {
        self.open.values_mut().for_each(|endpoint| endpoint.inbox.due(timer));
    }

    /// Those that nobody has read for as long as they asked for.
    pub(crate) fn abandoned(&self) -> Vec<u64> {
        let is_abandoned =
            |endpoint: &Endpoint| !endpoint.inbox.is_read() && (endpoint.read + endpoint.lease).has_come();
        self.open.iter().filter(|(_, endpoint)| is_abandoned(endpoint)).map(|(number, _)| *number).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
