//! What is going to happen, in order.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use prost_kbr::{Message, Time};
use prost_manager::Input;

use super::{Act, Index};

/// Something that happens at its time. Small, because there are many; what is large stands in a [`Slab`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A node's timer is due. Void unless it is the one that was set last.
    Wake { node: Index, at: Time },
    /// A frame arrives.
    Frame { node: Index, slot: u32 },
    /// The node looks whether the connection has been silent for too long.
    Idle { node: Index, peer: Index, connection: u64 },
    /// The node looks whether nobody has used the connection since it was released.
    Released { node: Index, peer: Index, connection: u64 },
    /// The connection was closed by the peer, or its process knows nothing of it.
    Closed { node: Index, peer: Index, connection: u64 },
    /// The next stage of a dial.
    Dial { node: Index, peer: Index, dial: u64, stage: Stage },
    /// The node is told something.
    Told { node: Index, slot: u32 },
    /// A node that stood still or was busy goes on.
    Resume { node: Index, at: Time },
    /// Whoever drives the world wants something.
    Act { slot: u32 },
}

/// A stage of a dial. At all but [`Stage::Greeting`] the node is the one that dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It may begin.
    Begin,
    /// The other side's part of the handshake has arrived.
    Shaken,
    /// The dialler's greeting has arrived at the node.
    Greeting,
    /// The answer to it has arrived.
    Answer,
    /// The other side will not have it, because it has another connection.
    Yield,
    /// It has come to nothing.
    Fail,
}

impl Event {
    /// The node that it happens to.
    pub(super) fn node(&self) -> Option<Index> {
        match *self {
            Event::Wake { node, .. }
            | Event::Frame { node, .. }
            | Event::Idle { node, .. }
            | Event::Released { node, .. }
            | Event::Closed { node, .. }
            | Event::Dial { node, .. }
            | Event::Told { node, .. } => Some(node),
            Event::Resume { .. } | Event::Act { .. } => None,
        }
    }
}

/// A frame on its way.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) from: Index,
    pub(super) connection: u64,
    /// Which of all frames it is.
    pub(super) number: u64,
    /// Datagrams that it began.
    pub(super) datagrams: u32,
    /// What acknowledgements of it count as.
    pub(super) maintenance: bool,
    pub(super) message: Message,
}

/// Something to tell a node in its present life.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) life: u32,
    /// For what the compiler and the sandbox answer: which start of the application it is about.
    pub(super) start: u32,
    pub(super) input: Input,
}

/// Values by a small number that is used again.
#[derive(Debug)]
pub(super) struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(super) fn put(&mut self, value: T) -> u32 {
        let Some(slot) = self.free.pop() else {
            self.values.push(Some(value));
            return (self.values.len() - 1) as u32;
        };
        self.values[slot as usize] = Some(value);
        slot
    }

    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        let value = self.values.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(value)
    }
}

/// An event in the heap, where the first is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    at: Time,
    number: u64,
    event: Event,
}

impl Entry {
    fn stretch(&self) -> u64 {
        self.at.as_micros() >> STRETCH
    }

    fn key(&self) -> u128 {
        u128::from(self.at.as_micros()) << 64 | u128::from(self.number)
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Microseconds of a stretch of time: two to this power.
const STRETCH: u32 = 16;
/// Stretches after the present one whose events are kept apart: half of the time of idle timers.
const STRETCHES: usize = 512;

/// All that is going to happen. What happens at the same time happens in the order in which it was put in.
///
/// A ring has some fifty timers for each node, most of them far ahead. So only the events of the present stretch of time
/// are in order; those of each later stretch lie in a list until it begins.
#[derive(Debug)]
pub(super) struct Queue {
    /// Events of the present stretch, and of any before it.
    present: BinaryHeap<Entry>,
    /// Those of the stretches after it, one after the other.
    later: VecDeque<Vec<Entry>>,
    /// How many are in `later`.
    waiting: usize,
    /// Those after that.
    far: BinaryHeap<Entry>,
    /// The number of the present stretch.
    stretch: u64,
    next: u64,
    pub(super) frames: Slab<Frame>,
    pub(super) told: Slab<Told>,
    pub(super) acts: Slab<Act>,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            present: BinaryHeap::new(),
            later: (0..STRETCHES).map(|_| Vec::new()).collect(),
            waiting: 0,
            far: BinaryHeap::new(),
            stretch: 0,
            next: 0,
            frames: Slab::default(),
            told: Slab::default(),
            acts: Slab::default(),
        }
    }
}

impl Queue {
    /// Puts in an event.
    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.put(Entry { at, number: self.next, event });
    }

    fn put(&mut self, entry: Entry) {
        match entry.stretch().checked_sub(self.stretch + 1) {
            None => self.present.push(entry),
            Some(ahead) if ahead < STRETCHES as u64 => {
                self.later[ahead as usize].push(entry);
                self.waiting += 1;
            }
            Some(_) => self.far.push(entry),
        }
    }

    /// Takes the next event that happens at `until` or before.
    pub(super) fn pop(&mut self, until: Time) -> Option<(Time, Event)> {
        while self.present.is_empty() {
            self.advance()?;
        }
        if self.present.peek()?.at > until {
            return None;
        }
        self.present.pop().map(|entry| (entry.at, entry.event))
    }

    /// Goes on to the next stretch, or past those in which nothing happens; none where nothing will ever happen.
    fn advance(&mut self) -> Option<()> {
        self.stretch = if self.waiting > 0 { self.stretch + 1 } else { self.far.peek()?.stretch() };
        let events = self.later.pop_front().unwrap_or_default();
        self.waiting -= events.len();
        self.later.push_back(Vec::new());
        self.present.extend(events);
        while self.far.peek().is_some_and(|entry| entry.stretch() <= self.stretch + STRETCHES as u64) {
            let entry = self.far.pop()?;
            self.put(entry);
        }
        Some(())
    }

    /// Throws away what belongs to an event that will not happen.
    pub(super) fn discard(&mut self, event: Event) {
        match event {
            Event::Frame { slot, .. } => drop(self.frames.take(slot)),
            Event::Told { slot, .. } => drop(self.told.take(slot)),
            _ => {}
        }
    }

    /// The same for all of these.
    pub(super) fn discard_all(&mut self, events: VecDeque<Event>) {
        events.into_iter().for_each(|event| self.discard(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_entry() {
        let mut queue = Queue::default();
        let wake = |node| Event::Wake { node, at: Time::ZERO };
        for (at, node) in [(5, 0), (3, 1), (5, 2), (3, 3), (4, 4)] {
            queue.push(Time::from_micros(at), wake(node));
        }
        let until = Time::from_micros(4);
        let first: Vec<_> = std::iter::from_fn(|| queue.pop(until)).filter_map(|(_, event)| event.node()).collect();
        let rest: Vec<_> =
            std::iter::from_fn(|| queue.pop(Time::from_micros(9))).filter_map(|(_, event)| event.node()).collect();
        assert_eq!((first, rest), (vec![1, 3, 4], vec![0, 2]));
    }

    #[test]
    fn events_of_all_times_come_in_the_order_of_a_heap_of_all() {
        let (mut queue, mut random) = (Queue::default(), crate::random::Random::new(3));
        let (mut model, mut now) = (std::collections::BTreeSet::new(), 0);
        for number in 0..20_000u32 {
            let most = 1 << random.below(30);
            let at = now + random.below(most);
            queue.push(Time::from_micros(at), Event::Act { slot: number });
            model.insert((at, number));
            for _ in 0..random.below(3) {
                let until = now + random.below(1 << 22);
                let popped = queue.pop(Time::from_micros(until));
                let due = model.first().copied().filter(|(at, _)| *at <= until);
                now = due.map_or(now, |(at, _)| at);
                due.inspect(|due| assert!(model.remove(due)));
                let due = due.map(|(at, slot)| (Time::from_micros(at), Event::Act { slot }));
                assert_eq!(popped, due);
            }
        }
        let rest = std::iter::from_fn(|| queue.pop(Time::from_micros(u64::MAX))).count();
        assert_eq!(rest, model.len());
    }

    #[test]
    fn a_slot_is_used_again_only_after_its_value_was_taken() {
        let mut slab = Slab::default();
        let (a, b) = (slab.put('a'), slab.put('b'));
        assert_eq!((slab.take(a), slab.take(a)), (Some('a'), None));
        assert_eq!(slab.put('c'), a);
        assert_eq!((slab.take(b), slab.take(a)), (Some('b'), Some('c')));
    }
}
