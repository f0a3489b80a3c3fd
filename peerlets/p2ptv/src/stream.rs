//! The sliding buffer of one stream: what is there, what is missing, and who has asked for it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use prost_peerlet::NodeId;
use prost_peerlet::cbor::Bytes;
use prost_peerlet::time::Instant;

/// Segments in a buffer at most, and so the numbers that can be missing.
pub(crate) const WINDOW: u64 = 256;
/// Nodes that wait for one segment at most.
const WAITERS: usize = 16;
/// What nobody had for so long is given up, and playback goes on without it.
const GIVE_UP: Duration = Duration::from_secs(30);
/// A segment that is missing may only have been overtaken.
const OVERTAKEN: Duration = Duration::from_millis(200);
/// Before a segment is asked for once more: longer than nearly all round trips.
const AGAIN: Duration = Duration::from_millis(750);

/// What this node knows of a stream.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// When it began; zero where none has come.
    pub(crate) id: u64,
    /// Signed segments, as they came.
    segments: BTreeMap<u64, Bytes>,
    pub(crate) bytes: usize,
    /// One more than the highest number that is known.
    pub(crate) next: u64,
    wanted: BTreeMap<u64, Wanted>,
    /// The number of the last segment, once it is known.
    pub(crate) last: Option<u64>,
}

#[derive(Debug)]
struct Wanted {
    since: Instant,
    asked: Option<Instant>,
    /// Who asked for it, besides this node's own programs.
    waiters: BTreeSet<NodeId>,
}

impl Stream {
    pub(crate) fn new(id: u64) -> Stream {
        Stream { id, ..Stream::default() }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Bytes> {
        self.segments.get(&number)
    }

    /// What is there from a number on.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Bytes)> {
        self.segments.range(number..).map(|(number, segment)| (*number, segment))
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether a segment would be new: not there, and either asked for or not older than the window.
    pub(crate) fn is_news(&self, number: u64) -> bool {
        let recent = number.saturating_add(WINDOW) >= self.next;
        !self.segments.contains_key(&number) && (recent || self.wanted.contains_key(&number))
    }

    /// Whether it may come yet.
    pub(crate) fn is_awaited(&self, number: u64) -> bool {
        number >= self.next || self.wanted.contains_key(&number)
    }

    /// Whether all has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.last.is_some() && self.wanted.is_empty()
    }

    /// Keeps a segment in `room` bytes, for which the oldest go. Numbers between those known and this one are missing from
    /// now on. Gives who waits for it.
    pub(crate) fn keep(&mut self, number: u64, segment: Bytes, is_last: bool, room: usize) -> BTreeSet<NodeId> {
        let waiters = self.wanted.remove(&number).map_or_else(BTreeSet::new, |wanted| wanted.waiters);
        if number >= self.next {
            if !self.segments.is_empty() {
                self.miss(self.next, number);
            }
            self.next = number + 1;
        }
        if is_last {
            self.last = Some(number);
        }
        self.bytes += segment.len();
        self.segments.insert(number, segment);
        while self.bytes > room || self.segments.len() as u64 > WINDOW {
            let Some((oldest, segment)) = self.segments.pop_first() else { break };
            self.bytes -= segment.len();
            self.wanted = self.wanted.split_off(&oldest);
        }
        waiters
    }

    /// What is not there from `from` up to `upto` is wanted here, as far as the window goes.
    pub(crate) fn miss(&mut self, from: u64, upto: u64) {
        for number in from.max(upto.saturating_sub(WINDOW))..upto {
            self.want(number, None);
        }
    }

    /// A segment is wanted: by another node, or by this one. False where there are too many.
    pub(crate) fn want(&mut self, number: u64, by: Option<NodeId>) -> bool {
        if self.segments.contains_key(&number) {
            return true;
        }
        if self.wanted.len() as u64 >= 2 * WINDOW && !self.wanted.contains_key(&number) {
            return false;
        }
        let wanted = Wanted { since: Instant::now(), asked: None, waiters: BTreeSet::new() };
        let wanted = self.wanted.entry(number).or_insert(wanted);
        if wanted.waiters.len() < WAITERS {
            wanted.waiters.extend(by);
        }
        true
    }

    /// What to ask for now, at most so many, the oldest first.
    pub(crate) fn ask_for(&mut self, most: usize) -> Vec<u64> {
        let now = Instant::now();
        let due = |wanted: &Wanted| match wanted.asked {
            Some(asked) => now.since(asked) >= AGAIN,
            None => !wanted.waiters.is_empty() || now.since(wanted.since) >= OVERTAKEN,
        };
        let due = self.wanted.iter_mut().filter(|(_, wanted)| due(wanted)).take(most);
        due.map(|(number, wanted)| {
            wanted.asked = Some(now);
            *number
        })
        .collect()
    }

    /// All that was asked for is asked again at once: who was asked is gone.
    pub(crate) fn ask_anew(&mut self) {
        self.wanted.values_mut().for_each(|wanted| wanted.asked = None);
    }

    /// Nobody has this segment. Gives who waits for it.
    pub(crate) fn gone(&mut self, number: u64) -> BTreeSet<NodeId> {
        self.wanted.remove(&number).map_or_else(BTreeSet::new, |wanted| wanted.waiters)
    }

    /// Gives up what has been missing for too long.
    pub(crate) fn give_up(&mut self) {
        let now = Instant::now();
        self.wanted.retain(|_, wanted| now.since(wanted.since) < GIVE_UP);
    }
}
