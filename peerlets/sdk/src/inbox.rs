//! What waits for a local program: a bounded queue that it reads by asking again and again, each time until something is
//! there (long polling).

use core::time::Duration;
use std::collections::VecDeque;

use minicbor::{Decode, Encode};

use crate::cbor::{self, Bytes};
use crate::timers::Timers;
use crate::{client, log};

/// How long a program waits for an answer at most: less than the node gives a request.
const WAIT: Duration = Duration::from_secs(20);
/// Bytes of one answer, of the 128 KiB that an answer may have.
const BATCH: usize = 96 << 10;

/// Items for one program, in order.
#[derive(Debug)]
pub struct Inbox {
    items: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the first item in the queue.
    first: u64,
    lost: u64,
    most: usize,
    most_bytes: usize,
    /// The request that waits, and the number of the item that it wants.
    waiting: Option<(u64, u64)>,
    timers: Timers<()>,
}

/// What a program is answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Batch {
    /// The number of the first item. Items are numbered from 0.
    #[n(0)]
    pub first: u64,
    /// The items; none where nothing came for a while.
    #[n(1)]
    pub items: Vec<Bytes>,
    /// Items that were dropped so far because nobody read them in time.
    #[n(2)]
    pub lost: u64,
}

impl Inbox {
    /// An empty one for so many items and bytes. The oldest make room for the newest.
    pub fn new(most: usize, most_bytes: usize) -> Inbox {
        Inbox {
            items: VecDeque::new(),
            bytes: 0,
            first: 0,
            lost: 0,
            most,
            most_bytes,
            waiting: None,
            timers: Timers::default(),
        }
    }

    /// One more item.
    pub fn push(&mut self, item: Vec<u8>) {
        self.bytes += item.len();
        self.items.push_back(Bytes(item));
        while self.items.len() > self.most || self.bytes > self.most_bytes {
            let Some(oldest) = self.items.pop_front() else { break };
            self.bytes -= oldest.len();
            self.first += 1;
            self.lost += 1;
        }
        self.serve();
    }

    /// A program asks for the items from number `from` on; those before, it has. It is answered when there is one, or
    /// after twenty seconds with none. A request that waited before is answered with nothing.
    pub fn next(&mut self, request: u64, from: u64) {
        self.release();
        while self.first < from {
            let Some(read) = self.items.pop_front() else { break };
            self.bytes -= read.len();
            self.first += 1;
        }
        self.waiting = Some((request, from));
        self.timers.set((), WAIT);
        self.serve();
    }

    /// A timer has run out.
    pub fn due(&mut self, timer: u64) {
        if !self.timers.due(timer).is_empty() {
            self.release();
        }
    }

    /// Whether a program is waiting.
    pub fn is_read(&self) -> bool {
        self.waiting.is_some()
    }

    /// Answers whoever waits with nothing, as when the inbox goes away.
    pub fn release(&mut self) {
        if let Some((request, _)) = self.waiting.take() {
            self.timers.cancel(&());
            let batch = Batch { first: self.first, items: Vec::new(), lost: self.lost };
            respond(request, &batch);
        }
    }

    fn serve(&mut self) {
        if self.items.is_empty() {
            return;
        }
        let Some((request, _)) = self.waiting.take() else { return };
        self.timers.cancel(&());
        let mut room = BATCH;
        let fits = |item: &&Bytes| {
            let fits = item.len() + 8 <= room;
            room = room.saturating_sub(item.len() + 8);
            fits
        };
        let mut items: Vec<Bytes> = self.items.iter().take_while(fits).cloned().collect();
        if items.is_empty() {
            items.extend(self.items.front().cloned());
        }
        respond(request, &Batch { first: self.first, items, lost: self.lost });
    }
}

fn respond(request: u64, batch: &Batch) {
    if client::respond(request, Ok(&cbor::encode(batch))).is_err() {
        log::debug("a program that waited has gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peerlet;
    use crate::testing::Node;

    struct One(Inbox);

    impl Default for One {
        fn default() -> One {
            One(Inbox::new(3, 100))
        }
    }

    impl Peerlet for One {
        fn fired(&mut self, timer: u64, _: u64) {
            self.0.due(timer);
        }
    }

    fn answers(node: &mut Node<One>) -> Vec<(u64, Batch)> {
        let answers = node.answers().into_iter();
        answers.map(|(request, body)| (request, cbor::decode(&body.expect("well")).expect("a batch"))).collect()
    }

    fn batch(first: u64, items: &[&str], lost: u64) -> Batch {
        Batch { first, items: items.iter().map(|item| Bytes::from(*item)).collect(), lost }
    }

    #[test]
    fn a_program_gets_what_is_there_and_again_what_it_did_not_acknowledge() {
        let mut node = Node::<One>::new("a");
        node.act(|One(inbox)| ["a", "b"].iter().for_each(|item| inbox.push(item.as_bytes().to_vec())));
        node.act(|One(inbox)| inbox.next(1, 0));
        node.act(|One(inbox)| inbox.next(2, 1));
        node.act(|One(inbox)| inbox.next(3, 2));
        assert_eq!(answers(&mut node), [(1, batch(0, &["a", "b"], 0)), (2, batch(1, &["b"], 0))]);
        node.act(|One(inbox)| inbox.push(b"c".to_vec()));
        assert_eq!(answers(&mut node), [(3, batch(2, &["c"], 0))]);
    }

    #[test]
    fn who_waits_in_vain_is_answered_with_nothing_and_a_second_program_takes_the_place_of_the_first() {
        let mut node = Node::<One>::new("a");
        node.act(|One(inbox)| inbox.next(1, 0));
        node.act(|One(inbox)| inbox.next(2, 0));
        assert_eq!(answers(&mut node), [(1, batch(0, &[], 0))]);
        node.run(WAIT + Duration::from_secs(1));
        assert_eq!(answers(&mut node), [(2, batch(0, &[], 0))]);
    }

    #[test]
    fn what_is_not_read_makes_room_and_is_counted() {
        let mut node = Node::<One>::new("a");
        node.act(|One(inbox)| ["a", "b", "c", "d"].iter().for_each(|item| inbox.push(item.as_bytes().to_vec())));
        node.act(|One(inbox)| inbox.push(vec![b'x'; 99]));
        node.act(|One(inbox)| inbox.next(1, 0));
        let last = "x".repeat(99);
        assert_eq!(answers(&mut node), [(1, batch(3, &["d", &last], 3))]);
    }
}
