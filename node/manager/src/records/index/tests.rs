//! The index against a walk over all records.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// Records, and the index of them.
#[derive(Default)]
struct Both {
    records: BTreeMap<Point, Version>,
    index: RangeIndex,
}

fn within(records: &BTreeMap<Point, Version>, range: Interval) -> Vec<Entry> {
    let there = records.iter().filter(|(point, _)| range.contains(point.key));
    there.map(|(point, version)| Entry { point: point.clone(), version: *version }).collect()
}

/// What the index must say, from a walk.
fn walk(records: &BTreeMap<Point, Version>, range: Interval) -> Sum {
    let mut total = Total::default();
    within(records, range).iter().for_each(|entry| total.add(Total::of(&entry.point, entry.version)));
    total.into()
}

impl Both {
    fn set(&mut self, point: Point, new: Option<Version>) {
        let old = match new {
            Some(version) => self.records.insert(point.clone(), version),
            None => self.records.remove(&point),
        };
        if let Some(leaf) = self.index.change(&point, old, new) {
            assert!(self.index.refill(leaf, &within(&self.records, leaf.range())), "to divide a leaf changes no sum");
        }
    }

    fn read(&self, range: Interval) -> Result<Vec<Entry>, Infallible> {
        Ok(within(&self.records, range))
    }

    fn sum(&self, range: Interval) -> Sum {
        let Ok(sum) = self.index.cover(range).sum(|range| self.read(range));
        sum
    }

    fn parts(&self, range: Interval, parts: u64) -> Vec<(Key, Sum)> {
        let Ok(parts) = self.index.cover_in_parts(range, parts).parts(|range| self.read(range));
        parts
    }
}

/// Keys that are near each other as well as far, so that blocks of all sizes are divided.
fn key() -> impl Strategy<Value = Key> {
    let near = (0..4_u8, any::<u8>()).prop_map(|(cluster, last)| {
        let mut bytes = [cluster.wrapping_mul(85); Id::LEN];
        bytes[Id::LEN - 1] = last;
        Id::from_bytes(bytes)
    });
    prop_oneof![any::<[u8; Id::LEN]>().prop_map(Id::from_bytes), near, Just(Id::ZERO), Just(Id::from_bytes([255; 20]))]
}

fn change() -> impl Strategy<Value = (Point, Option<Version>)> {
    let version = prop_oneof![1 => Just(None), 4 => (0..3_u64).prop_map(Some)];
    (key(), 0..4_u8, version)
        .prop_map(|(key, name, at)| (Point { key, name: vec![name] }, at.map(|at| Version { at, node: Id::ZERO })))
}

fn range() -> impl Strategy<Value = Interval> {
    (key(), key(), any::<bool>()).prop_map(|(after, upto, closed)| {
        if closed { Interval::open_closed(after, upto) } else { Interval::open(after, upto) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_range_sums_up_to_what_a_walk_over_it_does(
        changes in prop::collection::vec(change(), 0..600),
        ranges in prop::collection::vec(range(), 1..20),
        parts in 1..20_u64,
    ) {
        let mut both = Both::default();
        for (point, version) in changes {
            both.set(point, version);
        }
        prop_assert_eq!(both.index.count(), both.records.len() as u64);
        for range in ranges {
            prop_assert_eq!(both.sum(range), walk(&both.records, range));
            let split = both.parts(range, parts);
            prop_assert!(split.len() as u64 <= parts + 1);
            let mut after = range.after();
            let mut total = Total::default();
            for (upto, sum) in &split {
                let part = Interval::open_closed(after, *upto);
                if split.len() > 1 {
                    prop_assert!(range.contains(*upto) && *upto != after);
                    prop_assert_eq!(*sum, walk(&both.records, part));
                }
                total.add(Total { count: sum.count, sum: u128::from_be_bytes(sum.digest) });
                after = *upto;
            }
            prop_assert_eq!(Sum::from(total), walk(&both.records, range));
        }
    }

    #[test]
    fn sums_do_not_tell_in_which_order_records_came_or_what_has_gone(
        mut changes in prop::collection::vec(change(), 0..300),
        gone in prop::collection::vec(key(), 0..200),
        range in range(),
    ) {
        let (mut straight, mut crooked) = (Both::default(), Both::default());
        changes.sort_by(|a, b| a.0.cmp(&b.0));
        changes.dedup_by(|a, b| a.0 == b.0);
        let passing = |key: &Key| Point { key: *key, name: b"gone".to_vec() };
        gone.iter().for_each(|key| crooked.set(passing(key), Some(Version { at: 9, node: Id::ZERO })));
        changes.iter().for_each(|(point, version)| straight.set(point.clone(), *version));
        changes.iter().rev().for_each(|(point, version)| crooked.set(point.clone(), *version));
        gone.iter().for_each(|key| crooked.set(passing(key), None));
        prop_assert_eq!(straight.sum(range), crooked.sum(range));
    }
}

fn spread(number: u64) -> Point {
    Point { key: Id::hash(&number.to_be_bytes()), name: b"n".to_vec() }
}

#[test]
fn a_leaf_that_has_changed_behind_the_index_is_noticed_and_set_right() {
    let mut both = Both::default();
    (0..1000).for_each(|number| both.set(spread(number), Some(Version { at: number, node: Id::ZERO })));
    let lost = spread(77);
    both.records.remove(&lost);
    let leaf = both.index.leaf(lost.key);
    assert!(!both.index.refill(leaf, &within(&both.records, leaf.range())), "the loss is noticed");
    let whole = Interval::open_closed(lost.key, lost.key);
    assert_eq!(both.sum(whole), walk(&both.records, whole));
    assert!(both.index.refill(leaf, &within(&both.records, leaf.range())), "nothing has changed since");
}

#[test]
fn a_sum_of_a_hundred_thousand_records_reads_two_leaves_at_most() {
    let mut both = Both::default();
    // The leaves are divided with what is in them, as both trees know it.
    let mut sorted: Vec<Point> = (0..100_000).map(spread).collect();
    sorted.sort();
    for (at, point) in sorted.iter().enumerate() {
        if let Some(leaf) = both.index.change(point, None, Some(Version { at: 1, node: Id::ZERO })) {
            let inside = |point: &&Point| leaf.range().contains(point.key);
            let version = Version { at: 1, node: Id::ZERO };
            let entry = |point: &Point| Entry { point: point.clone(), version };
            let entries: Vec<Entry> = sorted[..=at].iter().rev().take(128).filter(inside).map(entry).collect();
            both.index.refill(leaf, &entries);
        }
    }
    for number in 0..200 {
        let range = Interval::open_closed(spread(number).key, spread(number + 1).key);
        let pieces: Vec<Interval> = both.index.cover(range).to_read().collect();
        assert!(pieces.len() <= 2, "{pieces:?}");
        for piece in pieces {
            let from = sorted.partition_point(|point| point.key <= piece.after());
            let to = sorted.partition_point(|point| point.key <= piece.upto());
            assert!(to.saturating_sub(from) <= LEAF as usize, "{from} to {to}");
        }
    }
}

#[test]
fn many_records_at_one_key_are_one_leaf_that_is_never_cut() {
    let mut both = Both::default();
    let key = Id::hash(b"busy");
    (0..500_u16).for_each(|name| {
        both.set(Point { key, name: name.to_be_bytes().to_vec() }, Some(Version { at: 1, node: Id::ZERO }));
    });
    (0..500).for_each(|number| both.set(spread(number), Some(Version { at: 1, node: Id::ZERO })));
    let range = Interval::open_closed(before(key), key);
    assert_eq!(both.index.cover(range).to_read().count(), 0);
    assert_eq!(both.sum(range), walk(&both.records, range));
}
