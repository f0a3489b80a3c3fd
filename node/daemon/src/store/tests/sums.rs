//! The sums of keyed records against the records themselves.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use prost_contract::{Change, Entry, Kept, Point, Sum, Version, record_bytes};
use prost_kbr::{Id, Interval, Key};
use prost_manager::RangeIndex;

use super::T0;
use super::support::{Harness, app, node};

#[derive(Debug, Clone)]
enum Step {
    Submit(Vec<Change>),
    /// The clock goes on by so many milliseconds, and what has expired is swept.
    Sweep(u64),
    Reopen,
    Settle,
    RemoveApp,
}

fn ring_key() -> impl Strategy<Value = Key> {
    (0..3_u8, any::<u8>()).prop_map(|(cluster, last)| {
        let mut bytes = [cluster * 120; 20];
        bytes[19] = last;
        Id::from_bytes(bytes)
    })
}

fn change() -> impl Strategy<Value = Change> {
    let point = (ring_key(), 0..2_u8).prop_map(|(key, name)| Point { key, name: vec![name] });
    let version = (1..6_u64).prop_map(|at| Version { at, node: node(1) });
    let value = prop_oneof![Just(None), Just(Some(Bytes::from_static(b"value")))];
    let expires = prop_oneof![Just(None), (1..40_u64).prop_map(|after| Some(T0 + after))];
    (point, version, value, expires, 0..5_u8).prop_map(|(point, version, value, expires, kind)| match kind {
        0 => Change::Drop(point, version),
        _ => Change::Keep(
            point,
            Kept { version, expires: value.as_ref().map_or(Some(u64::MAX - 1), |_| expires), value },
        ),
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(change(), 1..80).prop_map(Step::Submit),
        2 => (1..20_u64).prop_map(Step::Sweep),
        2 => Just(Step::Reopen),
        2 => Just(Step::Settle),
        1 => Just(Step::RemoveApp),
    ]
}

/// What these records sum up to, added up one by one.
fn add_up(entries: &[Entry], range: Interval) -> Sum {
    let mut index = RangeIndex::default();
    for entry in entries.iter().filter(|entry| range.contains(entry.point.key)) {
        // Never divided, so that every range but the whole is read; the whole is the plain sum.
        index.change(&entry.point, None, Some(entry.version));
    }
    let Ok(sum) = index.cover(whole()).sum(|_| Ok::<_, Infallible>(Vec::new()));
    sum
}

fn whole() -> Interval {
    let highest = Id::from_bytes([u8::MAX; Id::LEN]);
    Interval::open_closed(highest, highest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_those_of_the_records_whatever_has_happened(
        steps in prop::collection::vec(step(), 1..16),
        cuts in prop::collection::vec((ring_key(), ring_key()), 1..6),
    ) {
        let mut store = Harness::new();
        for step in steps {
            match step {
                Step::Submit(changes) => store.try_change(&app("dht"), changes).expect("an open store"),
                Step::Sweep(span) => {
                    store.clock.fetch_add(span, Ordering::SeqCst);
                }
                Step::Reopen => store.reopen(),
                Step::Settle => store.wait_for_all(),
                Step::RemoveApp => store.remove_app(&app("dht")),
            }
            for (after, upto) in cuts.iter().copied().chain([(Id::ZERO, Id::ZERO)]) {
                let range = Interval::open_closed(after, upto);
                // The writer may sweep in between, but that changes no sum but for what is forgotten, and nothing is.
                let entries = store.entries(range, None, usize::MAX);
                prop_assert_eq!(store.sum(range), add_up(&entries, range));
                let parts = store.parts(range, 16);
                prop_assert_eq!(parts.iter().map(|(_, sum)| sum.count).sum::<u64>(), entries.len() as u64);
                prop_assert_eq!(parts.last().map(|(upto, _)| *upto), Some(range.upto()));
            }
        }
    }
}

#[test]
fn a_record_that_expires_sums_up_to_the_same_before_and_after_the_sweep() {
    let store = Harness::new();
    let point = Point { key: super::key(1), name: b"a".to_vec() };
    let kept = Kept {
        version: Version { at: 1, node: node(1) },
        value: Some(Bytes::from_static(b"xyz")),
        expires: Some(T0 + 10),
    };
    store.try_change(&app("dht"), vec![Change::Keep(point, kept)]).expect("an open store");
    let before = store.sum(whole());
    store.clock.store(T0 + 11, Ordering::SeqCst);
    store.wait_until(|store| store.used(&app("dht")) == record_bytes(1, 0));
    assert_eq!((before.count, store.sum(whole())), (1, before));
}

/// Records of the comparison that is measured, and bytes of each.
const MANY: u64 = 100_000;
const VALUE: usize = 1024;

#[test]
#[ignore = "half a minute: prints what a comparison costs against a walk over all records"]
fn a_comparison_of_a_hundred_thousand_records_costs_a_fraction_of_a_walk() {
    let store = Harness::new();
    let value = Bytes::from(vec![7; VALUE]);
    for first in (0..MANY).step_by(1000) {
        let change = |number: u64| {
            let point = Point { key: Id::hash(&number.to_be_bytes()), name: b"name".to_vec() };
            let version = Version { at: number + 1, node: node(1) };
            Change::Keep(point, Kept { version, value: Some(value.clone()), expires: None })
        };
        store.try_change(&app("dht"), (first..first + 1000).map(change).collect()).expect("an open store");
        store.wait_for_all();
    }
    let ranges: Vec<Interval> = (0..10_u64)
        .map(|number| Interval::open_closed(Id::hash(&number.to_le_bytes()), Id::hash(&(number + 1).to_le_bytes())))
        .collect();
    let (mut summed, mut walked, mut records) = (Duration::ZERO, Duration::ZERO, 0);
    for range in ranges {
        let started = Instant::now();
        let sum = store.sum(range);
        summed += started.elapsed();
        let started = Instant::now();
        let entries = store.entries(range, None, usize::MAX);
        let naive = add_up(&entries, range);
        walked += started.elapsed();
        records += sum.count;
        assert_eq!(sum, naive);
    }
    let ratio = walked.as_secs_f64() / summed.as_secs_f64();
    println!("{MANY} records of {VALUE} bytes, 10 ranges of {} records on average", records / 10);
    println!("by sums {summed:?}, by a walk {walked:?}: {ratio:.0} times as much");
}
