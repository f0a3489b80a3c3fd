//! The source's side of a channel: segments go to the root, which sends them down the tree.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use prost_p2ptv_api::{Fed, Feed, Segment};
use prost_peerlet::cast::Refusal;
use prost_peerlet::time::{self, Instant};
use prost_peerlet::{Error, cbor, client, route};

use crate::channel::{Channel, Via};
use crate::segment::Signed;

/// Segments that the root has not acknowledged at most; the source's program waits beyond that.
const UNDER_WAY: usize = 24;
/// A source's node serves what is missing for so long after the last segment.
const AFTERWARDS: Duration = Duration::from_secs(600);

/// What a program is told whose channel is another's.
pub(crate) const NOT_OURS: &str = "the channel belongs to another source";

/// A stream of this node's.
#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) stream: u64,
    /// The number that is to be fed next.
    next: u64,
    fed: Instant,
    ended: bool,
    /// Segments that have to go to the root, and those under way there, by the number of the publication.
    pub(crate) ready: BTreeSet<u64>,
    pub(crate) under_way: BTreeMap<u64, u64>,
    /// The program's question that waits for room.
    waiting: Option<u64>,
    /// The root says that the channel is not this node's.
    is_refused: bool,
}

impl Broadcast {
    /// A stream that begins now, later than one before.
    pub(crate) fn new(before: u64) -> Broadcast {
        Broadcast {
            stream: time::wall_ms().max(before + 1),
            next: 0,
            fed: Instant::now(),
            ended: false,
            ready: BTreeSet::new(),
            under_way: BTreeMap::new(),
            waiting: None,
            is_refused: false,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now().since(self.fed) > AFTERWARDS
    }

    /// Whether something has to go to the root still.
    pub(crate) fn is_live(&self) -> bool {
        !self.ended || self.waiting() > 0
    }

    fn waiting(&self) -> usize {
        self.ready.len() + self.under_way.len()
    }

    /// Answers the program that waits, once there is room.
    fn answer(&mut self) {
        let waiting = self.waiting();
        if waiting < UNDER_WAY
            && let Some(request) = self.waiting.take()
        {
            let fed = cbor::encode(&Fed { waiting: waiting as u32 });
            let _ = client::respond(request, if self.is_refused { Err(NOT_OURS) } else { Ok(&fed) });
        }
    }

    /// A publication has ended. One that did not reach the root is tried again with the next tick.
    pub(crate) fn published(&mut self, number: u64, outcome: Result<(), Refusal>) {
        let Some(segment) = self.under_way.remove(&number) else { return };
        match outcome {
            Ok(()) => {}
            Err(Refusal::Forbidden) => self.is_refused = true,
            Err(_) => _ = self.ready.insert(segment),
        }
        self.answer();
    }
}

impl Channel {
    /// The program gives a segment.
    pub(crate) fn feed(&mut self, request: u64, feed: Feed, room: usize) -> prost_peerlet::Result {
        let broadcast = self.broadcast.as_mut().filter(|broadcast| broadcast.stream == feed.stream);
        let broadcast = broadcast.ok_or_else(|| Error::new("no such stream of this node: open it first"))?;
        if feed.number > broadcast.next {
            return Err(Error::new(format_args!("segment {} is to come first", broadcast.next)));
        }
        if let Some(before) = broadcast.waiting.replace(request) {
            let _ = client::respond(before, Err("another question has taken the place of this one"));
        }
        if feed.number < broadcast.next {
            broadcast.answer();
            return Ok(());
        }
        broadcast.next += 1;
        broadcast.fed = Instant::now();
        broadcast.ended = feed.last;
        broadcast.ready.insert(feed.number);
        let segment = Segment {
            stream: feed.stream,
            number: feed.number,
            sent_ms: time::wall_ms(),
            duration_ms: feed.duration_ms,
            last: feed.last,
            data: feed.data,
        };
        let signed = cbor::encode(&Signed::new(self.key, route::myself(), &segment));
        self.accept(&signed, Via::Feed, room);
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.answer();
        }
        Ok(())
    }
}
