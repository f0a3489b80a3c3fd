//! A program on this node that watches.

use core::time::Duration;

use prost_p2ptv_api::Counts;
use prost_peerlet::time::Instant;
use prost_peerlet::{Inbox, cbor};

use crate::segment::Signed;
use crate::stream::{Stream, WINDOW};

/// Segments, and bytes of them, that wait for a program at most.
const SEGMENTS: usize = 256;
const BYTES: usize = 4 << 20;
/// A program that has not asked for so long is gone.
const ABSENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) inbox: Inbox,
    pub(crate) rewind: u32,
    /// When it came, on the wall clock.
    pub(crate) since_ms: u64,
    /// The first number that it was not given.
    next: u64,
    heard: Instant,
}

impl Watcher {
    pub(crate) fn new(rewind: u32, since_ms: u64) -> Watcher {
        Watcher { inbox: Inbox::new(SEGMENTS, BYTES), rewind, since_ms, next: 0, heard: Instant::now() }
    }

    /// Where it begins in a stream of which this segment is there: at its start, where the program was there first, else
    /// with the segment, or so many before.
    pub(crate) fn begin(&mut self, stream: &Stream, number: u64, rewinds: bool) -> u64 {
        let was_first = self.since_ms <= stream.id;
        let back = if rewinds { u64::from(self.rewind.max(1)) - 1 } else { 0 };
        self.next = if was_first { 0 } else { number.saturating_sub(back) };
        self.next
    }

    /// Gives it what is there in order, up to the first segment that may come yet.
    pub(crate) fn advance(&mut self, stream: &Stream, counts: &mut Counts) {
        let oldest = stream.next.saturating_sub(WINDOW);
        counts.lost += oldest.saturating_sub(self.next);
        self.next = self.next.max(oldest);
        while self.next < stream.next {
            match stream.get(self.next) {
                Some(signed) => {
                    if let Ok(signed) = cbor::decode::<Signed>(signed) {
                        self.inbox.push(signed.segment.0);
                    }
                }
                None if stream.is_awaited(self.next) => return,
                None => counts.lost += 1,
            }
            self.next += 1;
        }
    }

    pub(crate) fn ask(&mut self, request: u64, from: u64) {
        self.heard = Instant::now();
        self.inbox.next(request, from);
    }

    pub(crate) fn is_gone(&self) -> bool {
        !self.inbox.is_read() && Instant::now().since(self.heard) > ABSENCE
    }
}
