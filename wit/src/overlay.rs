//! Records with the writes of events on top that are not in the store yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost_kbr::{Id, Interval, Key};

use crate::Write;
use crate::records::{Place, Records, Unavailable, record_bytes};

/// Records that several threads may hold.
pub type SharedRecords = Arc<dyn Records + Send + Sync>;

/// A value and when it expires, in milliseconds since 1970; none where the record was deleted.
type Change = Option<(Bytes, Option<u64>)>;

/// The records of one application, with the writes of events on top that ended well but are not in `base` yet.
///
/// Give the same overlay to each event of a batch, and the next event sees what the one before wrote; an event that fails
/// leaves nothing behind. Make a new one when `base` has the writes. Its size is bounded by
/// [`Limits::effects`](crate::Limits::effects) for each event.
pub struct Overlay {
    base: SharedRecords,
    changes: BTreeMap<Place, BTreeMap<Vec<u8>, Change>>,
    /// How to take back what the event under way wrote, oldest first: the change before it, if there was one.
    undo: Vec<(Place, Vec<u8>, Option<Change>)>,
    /// Bytes that the changes add to `base`, and how many they were before the event under way.
    growth: i64,
    kept_growth: i64,
    now_ms: u64,
}

impl Overlay {
    /// The records as they stand.
    pub fn new(base: SharedRecords) -> Overlay {
        Overlay { base, changes: BTreeMap::new(), undo: Vec::new(), growth: 0, kept_growth: 0, now_ms: 0 }
    }

    /// Bytes that the writes add to what `base` holds; negative where they free more than they take.
    pub fn growth(&self) -> i64 {
        self.growth
    }

    /// An event starts; its clock decides what has expired.
    pub fn begin(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The event ended well.
    pub fn keep(&mut self) {
        self.undo.clear();
        self.kept_growth = self.growth;
    }

    /// The event did not end well: its writes go.
    pub fn roll_back(&mut self) {
        while let Some((place, name, before)) = self.undo.pop() {
            let at_place = self.changes.entry(place).or_default();
            match before {
                Some(change) => at_place.insert(name, change),
                None => at_place.remove(&name),
            };
            if at_place.is_empty() {
                self.changes.remove(&place);
            }
        }
        self.growth = self.kept_growth;
    }

    /// Makes a write that changes the bytes held by `growth`.
    pub fn write(&mut self, write: &Write, growth: i64) {
        let at_place = self.changes.entry(write.place).or_default();
        let before = at_place.insert(write.name.clone(), write.value.clone());
        self.undo.push((write.place, write.name.clone(), before));
        self.growth = self.growth.saturating_add(growth);
    }

    fn change(&self, place: Place, name: &[u8]) -> Option<&Change> {
        self.changes.get(&place)?.get(name)
    }

    /// The value that a change leaves, unless it has expired.
    fn live<'a>(&self, change: &'a Change) -> Option<&'a Bytes> {
        let (value, expires) = change.as_ref()?;
        expires.is_none_or(|expires| expires > self.now_ms).then_some(value)
    }

    /// Whether there is any record at a place.
    fn is_occupied(&self, place: Place) -> Result<bool, Unavailable> {
        Ok(!self.names(place, &[], None, 1)?.is_empty())
    }
}

impl Records for Overlay {
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        match self.change(place, name) {
            Some(change) => Ok(self.live(change).cloned()),
            None => self.base.get(place, name),
        }
    }

    fn names(
        &self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Vec<u8>>, Unavailable> {
        let Some(changes) = self.changes.get(&place) else { return self.base.names(place, prefix, after, max) };
        let in_page = |name: &[u8]| name.starts_with(prefix) && after.is_none_or(|after| name > after);
        let mut names: BTreeMap<Vec<u8>, bool> = changes
            .iter()
            .filter(|(name, _)| in_page(name))
            .map(|(name, change)| (name.clone(), self.live(change).is_some()))
            .collect();
        // As many more as changes can hide, so that the page is full where the store can fill it.
        let stored = self.base.names(place, prefix, after, max.saturating_add(names.len()))?;
        for name in stored {
            names.entry(name).or_insert(true);
        }
        Ok(names.into_iter().filter(|(_, live)| *live).map(|(name, _)| name).take(max).collect())
    }

    fn keys(&self, range: Interval, after: Option<Key>, max: usize) -> Result<Vec<Key>, Unavailable> {
        if self.changes.is_empty() {
            return self.base.keys(range, after, max);
        }
        let start = range.after();
        let in_page = |key: &Key| {
            range.contains(*key) && after.is_none_or(|after| position(start, *key) > position(start, after))
        };
        let changed = self.changes.keys().filter_map(|place| match place {
            Place::At(key) => in_page(key).then_some(*key),
            Place::Node => None,
        });
        let mut keys = BTreeMap::new();
        for key in changed {
            keys.insert(position(start, key), (key, self.is_occupied(Place::At(key))?));
        }
        for key in self.base.keys(range, after, max.saturating_add(keys.len()))? {
            keys.entry(position(start, key)).or_insert((key, true));
        }
        Ok(keys.into_values().filter(|(_, occupied)| *occupied).map(|(key, _)| key).take(max).collect())
    }

    fn size(&self, place: Place, name: &[u8]) -> Result<u64, Unavailable> {
        match self.change(place, name) {
            Some(Some((value, _))) => Ok(record_bytes(name.len(), value.len())),
            Some(None) => Ok(0),
            None => self.base.size(place, name),
        }
    }
}

/// Where a key comes in a range that starts after `start`: clockwise, `start` itself last.
fn position(start: Id, key: Key) -> (bool, Id) {
    (key == start, start.distance_to(key))
}

impl Default for Overlay {
    /// Over no records at all.
    fn default() -> Overlay {
        Overlay::new(Arc::new(Nothing))
    }
}

/// No records at all.
struct Nothing;

impl Records for Nothing {
    fn get(&self, _: Place, _: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        Ok(None)
    }

    fn names(&self, _: Place, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<Vec<u8>>, Unavailable> {
        Ok(Vec::new())
    }

    fn keys(&self, _: Interval, _: Option<Key>, _: usize) -> Result<Vec<Key>, Unavailable> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8) -> Key {
        let mut bytes = [0; Id::LEN];
        bytes[Id::LEN - 1] = last;
        Id::from_bytes(bytes)
    }

    fn put(overlay: &mut Overlay, place: Place, name: &str) {
        let write = Write { place, name: name.as_bytes().to_vec(), value: Some((Bytes::from_static(b"v"), None)) };
        overlay.write(&write, record_bytes(name.len(), 1) as i64);
    }

    fn delete(overlay: &mut Overlay, place: Place, name: &str) {
        let freed = overlay.size(place, name.as_bytes()).unwrap() as i64;
        overlay.write(&Write { place, name: name.as_bytes().to_vec(), value: None }, -freed);
    }

    fn names(overlay: &Overlay, place: Place, after: Option<&str>, max: usize) -> Vec<String> {
        let names = overlay.names(place, b"", after.map(str::as_bytes), max).unwrap();
        names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect()
    }

    /// An overlay over another that holds records `a`, `b`, `c` at key 5 and `a` at key 7.
    fn stacked() -> Overlay {
        let mut base = Overlay::new(Arc::new(Nothing));
        for name in ["a", "b", "c"] {
            put(&mut base, Place::At(key(5)), name);
        }
        put(&mut base, Place::At(key(7)), "a");
        base.keep();
        Overlay::new(Arc::new(base))
    }

    #[test]
    fn names_merge_what_is_stored_with_what_was_written() {
        let mut overlay = stacked();
        let place = Place::At(key(5));
        delete(&mut overlay, place, "a");
        put(&mut overlay, place, "bb");
        assert_eq!(names(&overlay, place, None, 10), ["b", "bb", "c"]);
        assert_eq!(names(&overlay, place, None, 2), ["b", "bb"]);
        assert_eq!(names(&overlay, place, Some("b"), 10), ["bb", "c"]);
    }

    #[test]
    fn keys_come_in_ring_order_and_leave_with_their_last_record() {
        let mut overlay = stacked();
        put(&mut overlay, Place::At(key(3)), "x");
        delete(&mut overlay, Place::At(key(7)), "a");
        delete(&mut overlay, Place::At(key(5)), "a");
        let all = Interval::open_closed(key(4), key(4));
        assert_eq!(overlay.keys(all, None, 10).unwrap(), [key(5), key(3)]);
        assert_eq!(overlay.keys(all, None, 1).unwrap(), [key(5)]);
        assert_eq!(overlay.keys(all, Some(key(5)), 10).unwrap(), [key(3)]);
        assert_eq!(overlay.keys(Interval::open_closed(key(4), key(6)), None, 10).unwrap(), [key(5)]);
    }

    #[test]
    fn rolling_back_restores_what_earlier_events_wrote() {
        let mut overlay = Overlay::new(Arc::new(Nothing));
        put(&mut overlay, Place::Node, "kept");
        overlay.keep();
        let growth = overlay.growth();
        delete(&mut overlay, Place::Node, "kept");
        put(&mut overlay, Place::Node, "kept");
        put(&mut overlay, Place::At(key(1)), "gone");
        overlay.roll_back();
        assert_eq!(names(&overlay, Place::Node, None, 10), ["kept"]);
        assert_eq!(overlay.keys(Interval::open_closed(key(0), key(0)), None, 10).unwrap(), []);
        assert_eq!(overlay.growth(), growth);
    }

    #[test]
    fn a_record_is_gone_when_its_time_has_come() {
        let mut overlay = Overlay::new(Arc::new(Nothing));
        let value = Some((Bytes::from_static(b"v"), Some(1_000)));
        overlay.write(&Write { place: Place::Node, name: b"n".to_vec(), value }, 66);
        overlay.begin(999);
        assert!(overlay.get(Place::Node, b"n").unwrap().is_some());
        overlay.begin(1_000);
        assert_eq!(overlay.get(Place::Node, b"n"), Ok(None));
        assert_eq!(names(&overlay, Place::Node, None, 10), Vec::<String>::new());
    }
}
