//! Ids and intervals against a circle that is walked step by step.

use proptest::prelude::*;
use prost_kbr::{Id, Interval};

/// Points of the small circle.
const POINTS: u8 = 32;

/// The small circle's points, evenly on the large one.
fn place(point: u8) -> Id {
    let mut bytes = [0; Id::LEN];
    bytes[0] = point << 3;
    Id::from_bytes(bytes)
}

/// Whether a walk clockwise from `after` meets `id` before it has passed `upto`.
fn walk_meets(after: u8, upto: u8, closed: bool, id: u8) -> bool {
    let mut at = after;
    loop {
        at = (at + 1) % POINTS;
        if at == upto {
            return closed && at == id;
        }
        if at == id {
            return true;
        }
    }
}

#[test]
fn intervals_are_what_a_walk_round_the_circle_meets() {
    for after in 0..POINTS {
        for upto in 0..POINTS {
            for id in 0..POINTS {
                // A walk all round comes back to its start: a closed interval holds it, an open one does not.
                let open = walk_meets(after, upto, false, id);
                let closed = walk_meets(after, upto, true, id);
                let (a, b, x) = (place(after), place(upto), place(id));
                assert_eq!(Interval::open(a, b).contains(x), open, "({after}, {upto}) and {id}");
                assert_eq!(Interval::open_closed(a, b).contains(x), closed, "({after}, {upto}] and {id}");
            }
        }
    }
}

fn any_id() -> impl Strategy<Value = Id> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(Id::from_bytes),
        (0..160u32).prop_map(|exponent| Id::ZERO.plus_power(exponent)),
        (0..160u32).prop_map(|exponent| Id::ZERO.plus_power(exponent).distance_to(Id::ZERO)),
        Just(Id::ZERO),
    ]
}

proptest! {
    #[test]
    fn a_distance_leads_there(a in any_id(), b in any_id()) {
        prop_assert_eq!(a.plus(a.distance_to(b)), b);
        prop_assert_eq!(a.distance_to(b) == Id::ZERO, a == b);
        prop_assert_eq!(a.distance_to(b).plus(b.distance_to(a)), Id::ZERO);
        prop_assert_eq!(a.plus(b).distance_to(a.plus(b)), Id::ZERO);
    }

    #[test]
    fn ways_add_up_in_order(a in any_id(), b in any_id(), c in any_id()) {
        let between = Interval::open(a, c).contains(b);
        if between && a != c {
            prop_assert!(a.distance_to(b) < a.distance_to(c));
            prop_assert_eq!(a.distance_to(b).plus(b.distance_to(c)), a.distance_to(c));
        }
    }

    #[test]
    fn every_point_is_in_one_of_two_arcs(a in any_id(), b in any_id(), x in any_id()) {
        let arcs = [Interval::open_closed(a, b), Interval::open_closed(b, a)];
        let count = arcs.iter().filter(|arc| arc.contains(x)).count();
        prop_assert_eq!(count, if a == b { 2 } else { 1 });
    }

    #[test]
    fn the_logarithm_is_the_highest_power_within(a in any_id()) {
        match a.log2() {
            None => prop_assert_eq!(a, Id::ZERO),
            Some(exponent) => {
                prop_assert!(Id::ZERO.plus_power(exponent) <= a);
                prop_assert!(exponent == Id::BITS - 1 || a < Id::ZERO.plus_power(exponent + 1));
            }
        }
    }

    #[test]
    fn text_comes_back(a in any_id()) {
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        prop_assert_eq!(a.to_string().to_uppercase().parse(), Ok(a));
        prop_assert!(a.to_string().starts_with(&a.short()));
        let cbor = serde_cbor::to_vec(&a).expect("bytes");
        prop_assert_eq!(cbor.len(), 21);
        prop_assert_eq!(serde_cbor::from_slice::<Id>(&cbor).expect("bytes"), a);
    }

    #[test]
    fn other_text_is_refused(text in ".{0,60}") {
        if text.len() != 40 {
            prop_assert!(text.parse::<Id>().is_err());
        }
    }
}

#[test]
fn a_key_is_the_sha_1_of_its_name() {
    // The test vector of FIPS 180-4.
    assert_eq!(Id::hash(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
}

#[test]
fn the_ends_of_an_interval_can_be_asked_for() {
    let interval = Interval::open_closed(place(1), place(2));
    assert_eq!((interval.after(), interval.upto()), (place(1), place(2)));
}
