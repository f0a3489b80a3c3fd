//! Timers by name, however many, on one timer of the node.

use core::time::Duration;
use std::collections::BTreeMap;

use crate::time::Instant;
use crate::timer;

/// Names that come due in one event at most: what a handler does for each has to fit into the event's limits. The rest
/// follows in an event of its own.
const PER_EVENT: usize = 32;

/// Names, each with a time. Hand every [`fired`](crate::Peerlet::fired) to [`due`](Timers::due).
///
/// ```
/// # use core::time::Duration;
/// # use prost_peerlet::{Peerlet, Timers};
/// #[derive(PartialEq, Eq, PartialOrd, Ord, Clone)]
/// enum Name {
///     Refresh,
///     Expire(u64),
/// }
///
/// #[derive(Default)]
/// struct Cache {
///     timers: Timers<Name>,
/// }
///
/// impl Peerlet for Cache {
///     fn fired(&mut self, timer: u64, _tag: u64) {
///         for name in self.timers.due(timer) {
///             match name {
///                 Name::Refresh => self.timers.set(Name::Refresh, Duration::from_secs(20)),
///                 Name::Expire(_entry) => {}
///             }
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Timers<K> {
    queue: BTreeMap<(Instant, u64), K>,
    places: BTreeMap<K, (Instant, u64)>,
    /// The node's timer, and when it fires.
    armed: Option<(u64, Instant)>,
    count: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { queue: BTreeMap::new(), places: BTreeMap::new(), armed: None, count: 0 }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// The name comes due after this time, in place of when it would have.
    pub fn set(&mut self, name: K, after: Duration) {
        self.cancel(&name);
        let place = (Instant::now() + after, self.count);
        self.count += 1;
        self.queue.insert(place, name.clone());
        self.places.insert(name, place);
        self.arm();
    }

    /// The same, unless the name is to come due already.
    pub fn set_if_idle(&mut self, name: K, after: Duration) {
        if !self.is_set(&name) {
            self.set(name, after);
        }
    }

    /// The name does not come due.
    pub fn cancel(&mut self, name: &K) {
        if let Some(place) = self.places.remove(name) {
            self.queue.remove(&place);
        }
    }

    /// Whether the name is to come due.
    pub fn is_set(&self, name: &K) -> bool {
        self.places.contains_key(name)
    }

    /// A timer of the node has run out: the names whose time has come, none where it is another's timer.
    pub fn due(&mut self, timer: u64) -> Vec<K> {
        if self.armed.is_none_or(|(armed, _)| armed != timer) {
            return Vec::new();
        }
        self.armed = None;
        let now = Instant::now();
        let mut names = Vec::new();
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= now && names.len() < PER_EVENT)
        {
            let name = entry.remove();
            self.places.remove(&name);
            names.push(name);
        }
        self.arm();
        names
    }

    /// Has the node wake this instance when the first name comes due. Where it gives no more timers, the next call tries
    /// again.
    fn arm(&mut self) {
        let Some(((first, _), _)) = self.queue.first_key_value() else { return };
        let first = *first;
        if let Some((armed, at)) = self.armed {
            if at <= first {
                return;
            }
            timer::cancel(armed);
        }
        // The node counts whole milliseconds, and the time has to have come when it fires.
        let after = Duration::from_millis(first.from_now().as_micros().div_ceil(1000) as u64);
        self.armed = timer::set(after, 0).ok().map(|timer| (timer, first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peerlet;
    use crate::testing::Node;

    #[derive(Default)]
    struct Names {
        timers: Timers<u8>,
        came: Vec<u8>,
    }

    impl Peerlet for Names {
        fn fired(&mut self, timer: u64, _: u64) {
            self.came.extend(self.timers.due(timer));
        }
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn names_come_due_in_order_of_time_and_take_one_timer_of_the_node() {
        let mut node = Node::<Names>::new("a");
        node.act(|names| [(3, 30), (1, 10), (2, 20)].map(|(name, at)| names.timers.set(name, seconds(at))));
        assert_eq!(node.timers(), 1);
        node.run(seconds(10));
        assert_eq!(node.peerlet.came, [1]);
        node.run(seconds(60));
        assert_eq!((node.peerlet.came.as_slice(), node.timers()), (&[1, 2, 3][..], 0));
    }

    #[test]
    fn a_name_that_is_set_again_or_cancelled_does_not_come_at_its_old_time() {
        let mut node = Node::<Names>::new("a");
        node.act(|names| {
            names.timers.set(1, seconds(1));
            names.timers.set(2, seconds(2));
            names.timers.set(1, seconds(9));
            names.timers.cancel(&2);
        });
        node.run(seconds(8));
        assert_eq!(node.peerlet.came, []);
        node.run(seconds(8));
        assert_eq!(node.peerlet.came, [1]);
    }

    #[test]
    fn more_than_an_event_can_bear_come_one_event_after_the_other() {
        let mut node = Node::<Names>::new("a");
        node.act(|names| (0..100).for_each(|name| names.timers.set(name, seconds(1))));
        node.run(seconds(2));
        assert_eq!(node.peerlet.came, (0..100).collect::<Vec<u8>>());
    }
}
