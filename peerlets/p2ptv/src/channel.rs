//! A channel, as a node sees it that is its source, a receiver or a relay.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use prost_p2ptv_api::{Counts, Segment};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::time::{self, Instant};
use prost_peerlet::{Key, NodeId, route};

use crate::message::Repair;
use crate::segment::Signed;
use crate::source::Broadcast;
use crate::stream::Stream;
use crate::watcher::Watcher;

/// Programs that watch a channel on one node at most.
pub(crate) const WATCHERS: usize = 16;

/// How a segment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// Down the tree.
    Tree,
    /// As the answer to a question.
    Repair,
    /// From this node's own program.
    Feed,
}

#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) key: Key,
    /// Whom it belongs to: as the root's record says, as a program says, or who was first.
    pub(crate) source: Option<NodeId>,
    pub(crate) stream: Stream,
    pub(crate) watchers: BTreeMap<u64, Watcher>,
    pub(crate) broadcast: Option<Broadcast>,
    /// Who receives from this node in the tree.
    pub(crate) children: BTreeSet<NodeId>,
    /// Who asked for what comes, until then.
    pub(crate) askers: BTreeMap<NodeId, Instant>,
    pub(crate) counts: Counts,
    /// When something new came down the tree last, and how long a segment plays.
    pub(crate) heard: Instant,
    pub(crate) duration: Duration,
    /// When this node asked for what comes, how many it has asked in vain since the tree was silent, and whether the last of
    /// them has answered.
    pub(crate) asked: Option<Instant>,
    pub(crate) attempts: usize,
    pub(crate) is_answered: bool,
    /// The last way to the root that this node has had, the parent first.
    pub(crate) above: Vec<NodeId>,
}

impl Channel {
    pub(crate) fn new(key: Key) -> Channel {
        Channel {
            key,
            source: None,
            stream: Stream::default(),
            watchers: BTreeMap::new(),
            broadcast: None,
            children: BTreeSet::new(),
            askers: BTreeMap::new(),
            counts: Counts::default(),
            heard: Instant::now(),
            duration: Duration::ZERO,
            asked: None,
            attempts: 0,
            is_answered: true,
            above: Vec::new(),
        }
    }

    /// Whether this node has to be in the tree: it shows the channel, passes it on, or wants to know the root.
    pub(crate) fn receives(&self) -> bool {
        let streams = self.broadcast.as_ref().is_some_and(Broadcast::is_live);
        streams || !self.watchers.is_empty() || !self.children.is_empty()
    }

    /// Whether there is something to remember.
    pub(crate) fn is_needed(&self) -> bool {
        self.receives() || self.broadcast.is_some()
    }

    pub(crate) fn is_source(&self) -> bool {
        self.broadcast.is_some()
    }

    /// Whether the channel can be this node's, as far as is known here.
    pub(crate) fn may_belong_to(&self, node: NodeId) -> bool {
        self.source.is_none_or(|source| source == node)
    }

    /// A segment has come: keeps it in `room` bytes, gives it to this node's programs, and to whoever asked this node for it.
    pub(crate) fn accept(&mut self, bytes: &[u8], via: Via, room: usize) {
        let Some((signed, segment)) = Signed::read(bytes) else {
            self.counts.forged += 1;
            return;
        };
        let number = segment.number;
        if segment.stream < self.stream.id || segment.stream == self.stream.id && !self.stream.is_news(number) {
            let is_newest =
                number + 2 >= self.stream.next && self.stream.get(number).is_some_and(|had| **had == *bytes);
            if is_newest && via == Via::Tree {
                self.on_tree();
            }
            // What a source fed itself comes down the tree once more.
            self.counts.duplicates += u64::from(!self.is_source());
            return;
        }
        if via != Via::Feed && !(self.may_belong_to(signed.source) && signed.is_proven(self.key)) {
            self.counts.forged += 1;
            return;
        }
        self.source = Some(signed.source);
        self.note(&segment, via);
        let begins = segment.stream != self.stream.id;
        if begins {
            self.stream = Stream::new(segment.stream);
        }
        let waiters = self.stream.keep(number, bytes.into(), segment.last, room);
        if begins {
            self.begin(number, via);
        }
        self.give(bytes.into(), via, waiters);
        self.advance();
    }

    fn note(&mut self, segment: &Segment, via: Via) {
        self.counts.segments += 1;
        self.counts.bytes += segment.data.len() as u64;
        self.counts.repaired += u64::from(via == Via::Repair);
        match via {
            Via::Tree if segment.number >= self.stream.next || segment.stream != self.stream.id => self.on_tree(),
            Via::Tree | Via::Feed => {}
            Via::Repair => self.is_answered = true,
        }
        self.duration = Duration::from_millis(segment.duration_ms.min(10_000).into());
    }

    /// The tree works: what is new comes down it.
    fn on_tree(&mut self) {
        self.heard = Instant::now();
        // What is missing is the parent's to give: nodes further up may have no room for one more connection.
        self.attempts = 0;
        self.is_answered = true;
    }

    /// A stream begins for this node. What came down the tree is the newest segment, and its programs may want some before;
    /// what was asked for is the first of those.
    fn begin(&mut self, number: u64, via: Via) {
        let stream = &self.stream;
        let rewinds = via == Via::Tree;
        let first = self.watchers.values_mut().map(|watcher| watcher.begin(stream, number, rewinds)).min();
        self.stream.miss(first.unwrap_or(number), number);
    }

    /// A program begins to watch, maybe in the middle of a stream.
    pub(crate) fn watch(&mut self, number: u64, rewind: u32) {
        let mut watcher = Watcher::new(rewind, time::wall_ms());
        if self.stream.id > 0 {
            let newest = self.stream.next.saturating_sub(1);
            let first = watcher.begin(&self.stream, newest, true);
            self.stream.miss(first, newest);
        }
        self.watchers.insert(number, watcher);
        self.advance();
    }

    /// Gives each program what it can have now.
    pub(crate) fn advance(&mut self) {
        for watcher in self.watchers.values_mut() {
            watcher.advance(&self.stream, &mut self.counts);
        }
    }

    /// Gives a segment to those who asked for it, and to those who asked for what comes and do not get it anyway.
    fn give(&mut self, segment: Bytes, via: Via, mut waiters: BTreeSet<NodeId>) {
        self.askers.retain(|_, until| !until.has_come());
        waiters.extend(self.askers.keys().filter(|asker| via != Via::Tree || !self.children.contains(asker)));
        self.counts.given += waiters.len() as u64;
        let give = Repair::Give { channel: self.key, segment };
        let myself = route::myself();
        waiters.into_iter().filter(|waiter| *waiter != myself).for_each(|waiter| give.send(waiter));
    }
}
