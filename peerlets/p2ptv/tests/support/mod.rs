//! A source and many watchers on a simulated ring.

use core::time::Duration;
use std::collections::BTreeMap;

use p2ptv::P2ptv;
use prost_p2ptv_api::{self as api, Playback, Segment, Stats};
use prost_peerlet::Key;
use prost_peerlet::inbox::Batch;
use prost_peerlet_ring::{Index, Ring, Setup, Ticket};

/// How often the programs on the nodes act.
const STEP: Duration = Duration::from_millis(50);
/// How long a segment plays.
pub(crate) const SEGMENT: Duration = Duration::from_millis(500);
/// Segments before the newest with which a late joiner begins, and segments that are there when playback starts.
pub(crate) const REWIND: u32 = 4;
const BUFFER: u64 = 3;

/// A program that watches.
pub(crate) struct Viewer {
    watcher: u64,
    from: u64,
    ticket: Option<Ticket>,
    began: Duration,
    /// The numbers of the segments that it was given.
    pub(crate) seen: Vec<u64>,
    /// From the source's program to this one, for each of them that was sent after the viewer had come.
    pub(crate) delays: Vec<Duration>,
    /// How it plays.
    pub(crate) playback: Playback,
}

/// A stream, and who watches.
pub(crate) struct Show {
    pub(crate) ring: Ring<P2ptv>,
    pub(crate) key: Key,
    pub(crate) source: Index,
    pub(crate) viewers: BTreeMap<Index, Viewer>,
    stream: u64,
    fed: Vec<Duration>,
    /// When the next is to be fed.
    due: Duration,
    feeding: Option<Ticket>,
    last: Option<u64>,
    data: usize,
}

impl Show {
    /// A ring, a source on it that is not the root, and no viewers yet. Segments hold so many bytes.
    pub(crate) fn new(setup: Setup, data: usize) -> Show {
        let mut ring = Ring::<P2ptv>::grow(setup);
        let key = api::channel("news");
        let owner = ring.owner(key);
        let source = ring.members().into_iter().find(|node| *node != owner).expect("more than one node");
        let mut show = Show {
            key,
            source,
            viewers: BTreeMap::new(),
            stream: 0,
            fed: Vec::new(),
            due: Duration::ZERO,
            feeding: None,
            last: None,
            data,
            ring: {
                ring.run(STEP);
                ring
            },
        };
        show.open();
        show
    }

    fn open(&mut self) {
        let open = api::encode(&api::Open { channel: self.key });
        let opened = self.ring.ask(self.source, api::OPEN, &open).expect("the channel is free");
        self.stream = api::decode::<api::Opened>(&opened).expect("an answer").stream;
    }

    pub(crate) fn watch(&mut self, nodes: &[Index]) {
        let watch = api::encode(&api::Watch { channel: self.key, source: None, rewind: REWIND });
        let tickets: Vec<_> = nodes.iter().map(|node| (*node, self.ring.call(*node, api::WATCH, &watch))).collect();
        let began = self.ring.now();
        for (node, ticket) in tickets {
            let answer = self.answer(ticket).expect("well");
            let watcher = api::decode::<api::Watching>(&answer).expect("an answer").watcher;
            let viewer = Viewer {
                watcher,
                from: 0,
                ticket: None,
                began,
                seen: Vec::new(),
                delays: Vec::new(),
                playback: Playback::new(millis(began), BUFFER),
            };
            self.viewers.insert(node, viewer);
        }
    }

    fn answer(&mut self, ticket: Ticket) -> Result<Vec<u8>, String> {
        loop {
            match self.ring.answer(ticket) {
                Some(answer) => return answer.outcome,
                None => self.ring.run(Duration::from_millis(1)),
            }
        }
    }

    /// A program stops watching.
    pub(crate) fn leave(&mut self, node: Index) -> Viewer {
        let viewer = self.viewers.remove(&node).expect("it watches");
        let leave = api::encode(&api::Leave { watcher: viewer.watcher });
        self.ring.ask(node, api::LEAVE, &leave).expect("well");
        viewer
    }

    /// A node dies, and its viewer with it.
    pub(crate) fn crash(&mut self, node: Index) {
        self.viewers.remove(&node);
        self.ring.crash(node);
    }

    /// Time passes without a stream.
    pub(crate) fn idle(&mut self, time: Duration) {
        let end = self.ring.now() + time;
        while self.ring.now() < end {
            self.step();
        }
    }

    /// Streams so many segments more at their rate.
    pub(crate) fn stream(&mut self, segments: u64, ends: bool) {
        let upto = self.fed.len() as u64 + segments;
        self.due = self.due.max(self.ring.now());
        while (self.fed.len() as u64) < upto {
            if self.ring.now() >= self.due && self.is_free() {
                let last = ends && self.fed.len() as u64 + 1 == upto;
                self.feed(last);
                self.due += SEGMENT;
            }
            self.step();
        }
    }

    fn is_free(&mut self) -> bool {
        let Some(ticket) = self.feeding else { return true };
        let Some(answer) = self.ring.answer(ticket) else { return false };
        answer.outcome.expect("the source's node takes it");
        self.feeding = None;
        true
    }

    fn feed(&mut self, last: bool) {
        let number = self.fed.len() as u64;
        let data = data(number, self.data).into();
        let (channel, stream, duration_ms) = (self.key, self.stream, millis(SEGMENT) as u32);
        let feed = api::Feed { channel, stream, number, duration_ms, last, data };
        self.feeding = Some(self.ring.call(self.source, api::FEED, &api::encode(&feed)));
        self.fed.push(self.ring.now());
        self.last = last.then_some(number);
    }

    fn step(&mut self) {
        for (node, viewer) in &mut self.viewers {
            if viewer.ticket.is_none() {
                let next = api::encode(&api::Next { watcher: viewer.watcher, from: viewer.from });
                viewer.ticket = Some(self.ring.call(*node, api::NEXT, &next));
            }
        }
        self.ring.run(STEP);
        for (node, viewer) in &mut self.viewers {
            let Some(answer) = viewer.ticket.and_then(|ticket| self.ring.answer(ticket)) else { continue };
            viewer.ticket = None;
            let body = answer.outcome.unwrap_or_else(|error| panic!("node {node}: {error}"));
            let batch: Batch = api::decode(&body).expect("a batch");
            assert_eq!(batch.lost, 0, "a program that reads misses nothing");
            viewer.from = batch.first + batch.items.len() as u64;
            for item in &batch.items {
                let segment: Segment = api::decode(item).expect("a segment");
                assert!(*segment.data == data(segment.number, self.data), "other bytes than were fed");
                let fed = self.fed[segment.number as usize];
                let delay = answer.at.saturating_sub(fed);
                if fed >= viewer.began {
                    viewer.delays.push(delay);
                }
                viewer.seen.push(segment.number);
                viewer.playback.arrived(millis(answer.at), &segment, millis(delay));
            }
            viewer.playback.look(millis(self.ring.now()));
        }
    }

    pub(crate) fn stats(&self, node: Index) -> Option<Stats> {
        self.ring.peek(node, |app| app.stats(self.key))
    }

    /// The nodes that pass the stream on.
    pub(crate) fn relays(&self) -> Vec<Index> {
        let passes_on = |node: &Index| self.stats(*node).is_some_and(|stats| stats.children > 0);
        self.ring.members().into_iter().filter(passes_on).collect()
    }

    pub(crate) fn segments(&self) -> u64 {
        self.fed.len() as u64
    }

    /// Every viewer was given every segment from where it began, once and in order.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        for (node, viewer) in &self.viewers {
            let stats = self.stats(*node);
            let first = viewer.seen.first().unwrap_or_else(|| panic!("node {node} saw nothing: {stats:?}"));
            let whole: Vec<u64> = (*first..self.segments()).collect();
            assert!(viewer.seen == whole, "node {node} saw {:?}: {stats:?}", viewer.seen);
        }
    }

    /// The same, from the first segment.
    #[track_caller]
    pub(crate) fn assert_whole_from_the_start(&self) {
        self.assert_whole();
        let late = self.viewers.iter().find(|(_, viewer)| viewer.seen.first() != Some(&0));
        assert!(late.is_none(), "node {:?} missed the start", late.map(|(node, _)| node));
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn data(number: u64, bytes: usize) -> Vec<u8> {
    number.to_be_bytes().into_iter().cycle().take(bytes).collect()
}
