//! Soft state: entries that go away unless somebody refreshes them (Clark, SIGCOMM 1988), and small bounded memories.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::time::Instant;

/// Entries that last until their time is over; never more than a bound of them.
#[derive(Debug, Clone)]
pub struct SoftState<K, V> {
    entries: BTreeMap<K, (V, Instant)>,
    ends: BTreeSet<(Instant, K)>,
    most: usize,
}

/// There is no room for one more entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl core::fmt::Display for Full {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("there is no room for one more")
    }
}

impl core::error::Error for Full {}

impl<K: Ord + Clone, V> SoftState<K, V> {
    /// Nothing yet; at most so many entries.
    pub const fn new(most: usize) -> SoftState<K, V> {
        SoftState { entries: BTreeMap::new(), ends: BTreeSet::new(), most }
    }

    /// Puts an entry there, for so long, in place of an earlier one of the key, which it gives back.
    ///
    /// # Errors
    ///
    /// [`Full`] where this would be one too many that has not expired. What has expired makes room for it and is told by
    /// [`expired`](SoftState::expired) no more: who wants to know of each calls that first.
    pub fn insert(&mut self, key: K, value: V, lasts: Duration) -> Result<Option<V>, Full> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.most && self.expired().is_empty() {
            return Err(Full);
        }
        let end = Instant::now() + lasts;
        let before = self.entries.insert(key.clone(), (value, end));
        if let Some((_, end)) = &before {
            self.ends.remove(&(*end, key.clone()));
        }
        self.ends.insert((end, key));
        Ok(before.map(|(value, _)| value))
    }

    /// An entry lasts for so long from now. False where it is not there.
    pub fn refresh(&mut self, key: &K, lasts: Duration) -> bool {
        let Some((_, end)) = self.entries.get_mut(key).filter(|(_, end)| !end.has_come()) else { return false };
        self.ends.remove(&(*end, key.clone()));
        *end = Instant::now() + lasts;
        self.ends.insert((*end, key.clone()));
        true
    }

    /// The entry of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).filter(|(_, end)| !end.has_come()).map(|(value, _)| value)
    }

    /// The entry of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).filter(|(_, end)| !end.has_come()).map(|(value, _)| value)
    }

    /// Whether there is an entry.
    pub fn contains(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Takes an entry away.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let (value, end) = self.entries.remove(key)?;
        self.ends.remove(&(end, key.clone()));
        (!end.has_come()).then_some(value)
    }

    /// Takes away what has expired.
    pub fn expired(&mut self) -> Vec<(K, V)> {
        let now = Instant::now();
        let mut gone = Vec::new();
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            let Some((_, key)) = self.ends.pop_first() else { break };
            if let Some((value, _)) = self.entries.remove(&key) {
                gone.push((key, value));
            }
        }
        gone
    }

    /// When the next entry expires.
    pub fn next_end(&self) -> Option<Instant> {
        self.ends.first().map(|(end, _)| *end)
    }

    /// The entries that have not expired, in order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let now = Instant::now();
        self.entries.iter().filter(move |(_, (_, end))| *end > now).map(|(key, (value, _))| (key, value))
    }

    /// How many entries there are, those included that have expired and were not taken away yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The last few things, by key: the oldest makes room for the newest. To know a repetition when it comes.
#[derive(Debug, Clone)]
pub struct Recent<K, V = ()> {
    entries: BTreeMap<K, V>,
    order: VecDeque<K>,
    most: usize,
}

impl<K: Ord + Clone, V> Recent<K, V> {
    /// Nothing yet; at most so many.
    pub const fn new(most: usize) -> Recent<K, V> {
        Recent { entries: BTreeMap::new(), order: VecDeque::new(), most }
    }

    /// Remembers it. True where its key was not known.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        let new = self.entries.insert(key.clone(), value).is_none();
        if new {
            self.order.push_back(key);
            if self.order.len() > self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
            }
        }
        new
    }

    /// What is remembered under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// Whether a key is remembered.
    pub fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Peerlet;
    use crate::testing::Node;

    struct Leases(SoftState<u8, char>);

    impl Default for Leases {
        fn default() -> Leases {
            Leases(SoftState::new(2))
        }
    }

    impl Peerlet for Leases {}

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_entry_goes_unless_it_is_refreshed() {
        let mut node = Node::<Leases>::new("a");
        node.act(|Leases(state)| {
            assert_eq!(state.insert(1, 'a', SECOND * 3), Ok(None));
            assert_eq!(state.insert(2, 'b', SECOND * 3), Ok(None));
        });
        node.run(SECOND * 2);
        assert!(node.act(|Leases(state)| state.refresh(&1, SECOND * 3)));
        node.run(SECOND * 2);
        node.act(|Leases(state)| {
            assert_eq!((state.get(&1), state.get(&2)), (Some(&'a'), None));
            assert!(!state.refresh(&2, SECOND));
            assert_eq!(state.expired(), [(2, 'b')]);
        });
    }

    #[test]
    fn there_are_never_more_than_the_bound_and_what_has_expired_makes_room() {
        let mut node = Node::<Leases>::new("a");
        node.act(|Leases(state)| {
            state.insert(1, 'a', SECOND).expect("room");
            state.insert(2, 'b', SECOND * 9).expect("room");
            assert_eq!(state.insert(3, 'c', SECOND), Err(Full));
            assert_eq!(state.insert(2, 'd', SECOND * 9), Ok(Some('b')));
        });
        node.run(SECOND);
        node.act(|Leases(state)| assert_eq!((state.insert(3, 'c', SECOND), state.len()), (Ok(None), 2)));
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let mut recent = Recent::new(2);
        assert!(recent.insert(1, 'a') && recent.insert(2, 'b') && !recent.insert(1, 'c') && recent.insert(3, 'd'));
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [None, Some('b'), Some('d')]);
    }
}
