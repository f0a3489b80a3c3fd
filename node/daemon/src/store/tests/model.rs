//! The store against a map: whatever is done, both say the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost_contract::{Place, Write, record_bytes};
use prost_kbr::{Id, Interval, Key};

use super::T0;
use super::support::{Harness, app, at, delete, put_until};

#[derive(Debug, Clone)]
enum Step {
    Submit(Vec<Write>),
    Reopen,
    Settle,
}

/// One application's records, as a map from place and name to value and expiry.
type Model = BTreeMap<(Place, Vec<u8>), (Vec<u8>, u64)>;

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![1 => Just(Place::Node), 4 => (0..6_u8).prop_map(|n| at(n * 50))]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255)], 0..3)
}

fn write() -> impl Strategy<Value = Write> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let expires = prop_oneof![Just(T0), Just(T0 + 1), Just(u64::MAX)];
    (place(), name(), any::<bool>(), value, expires).prop_map(|(place, name, keep, value, expires)| {
        if keep { put_until(place, &name, &value, expires) } else { delete(place, &name) }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(write(), 0..6).prop_map(Step::Submit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Settle),
    ]
}

fn apply(model: &mut Model, writes: &[Write]) {
    for write in writes {
        let record = (write.place, write.name.clone());
        match &write.value {
            Some((value, expires)) => model.insert(record, (value.to_vec(), expires.unwrap_or(u64::MAX))),
            None => model.remove(&record),
        };
    }
}

fn live(model: &Model) -> impl Iterator<Item = (&Place, &Vec<u8>, &Vec<u8>)> {
    model.iter().filter(|(_, (_, expires))| *expires > T0).map(|((place, name), (value, _))| (place, name, value))
}

fn expected_keys(model: &Model, range: Interval, after: Option<Key>, max: usize) -> Vec<u8> {
    // Ring order is the order of the distance from just after the range's start.
    let start = range.after().plus_power(0);
    let rank = |key: Key| start.distance_to(key);
    let mut keys: Vec<Key> = live(model)
        .filter_map(|(place, _, _)| if let Place::At(key) = place { Some(*key) } else { None })
        .filter(|key| range.contains(*key) && after.is_none_or(|after| rank(*key) > rank(after)))
        .collect();
    keys.sort_by_key(|key| rank(*key));
    keys.dedup();
    keys.into_iter().take(max).map(|key| key.as_bytes()[0]).collect()
}

fn check(store: &Harness, model: &Model) -> Result<(), TestCaseError> {
    for place in [Place::Node, at(0), at(50), at(100), at(250)] {
        let names: Vec<String> = live(model)
            .filter(|(at, _, _)| **at == place)
            .map(|(_, name, _)| String::from_utf8_lossy(name).into_owned())
            .collect();
        prop_assert_eq!(store.names(place, b"", None, 100), names);
    }
    for (place, name, value) in live(model) {
        prop_assert_eq!(store.get(&app("dht"), *place, name), Some(value.clone()));
    }
    for (from, to) in [(0, 0), (50, 200), (200, 50), (250, 0), (100, 101)] {
        let (from, to) = (super::key(from), super::key(to));
        for range in [Interval::open_closed(from, to), Interval::open(from, to)] {
            prop_assert_eq!(store.keys(range, None, 100), expected_keys(model, range, None, 100));
            let middle = super::key(100);
            if range.contains(middle) {
                let after = Some(middle);
                prop_assert_eq!(store.keys(range, after, 2), expected_keys(model, range, after, 2));
            }
        }
    }
    Ok(())
}

/// The bytes that may be used: those of expired records count until the sweep has removed them.
fn bounds(model: &Model) -> (u64, u64) {
    let (mut least, mut most) = (0, 0);
    for ((_, name), (value, expires)) in model {
        let charge = record_bytes(name.len(), value.len());
        most += charge;
        if *expires > T0 {
            least += charge;
        }
    }
    (least, most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_agrees_with_a_map(steps in prop::collection::vec(step(), 1..30)) {
        let mut store = Harness::new();
        let mut model = Model::new();
        for step in steps {
            match step {
                Step::Submit(writes) => {
                    apply(&mut model, &writes);
                    store.submit(&app("dht"), writes);
                }
                Step::Reopen => store.reopen(),
                Step::Settle => store.wait_for_all(),
            }
            check(&store, &model)?;
            let (least, most) = bounds(&model);
            let used = store.used(&app("dht"));
            prop_assert!((least..=most).contains(&used), "{} not in {}..={}", used, least, most);
        }
        store.reopen();
        check(&store, &model)?;
    }

    #[test]
    fn paging_through_the_keys_finds_each_once(numbers in prop::collection::btree_set(any::<u8>(), 0..20), from: u8, page in 1..5_usize) {
        let store = Harness::new();
        for number in &numbers {
            store.submit(&app("dht"), vec![put_until(at(*number), b"a", b"x", u64::MAX)]);
        }
        let from = super::key(from);
        let whole = Interval::open_closed(from, from);
        let mut seen: Vec<u8> = Vec::new();
        loop {
            let after = seen.last().map(|number| super::key(*number));
            let keys = store.keys(whole, after, page);
            if keys.is_empty() {
                break;
            }
            prop_assert!(seen.len() <= numbers.len(), "the paging does not end");
            seen.extend(keys);
        }
        let distance = |number: &u8| from.plus_power(0).distance_to(super::key(*number));
        let mut expected: Vec<u8> = numbers.into_iter().collect();
        expected.sort_by_key(|number| distance(number));
        prop_assert_eq!(seen, expected);
        prop_assert_eq!(store.keys(Interval::open_closed(Id::ZERO, Id::ZERO), None, 0), Vec::<u8>::new());
    }
}
