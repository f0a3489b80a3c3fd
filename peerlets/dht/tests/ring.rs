//! The dht on a ring.

mod support;

use core::time::Duration;
use std::collections::BTreeMap;

use dht::Dht;
use prost_dht_api::{Found, GET, Get, LIST, List, Listed, MAX_NAME, MAX_VALUE, PUT, Put, Refusal, Stored};
use prost_peerlet::Id;
use prost_peerlet_ring::{Latency, Ring, Setup, before};
use serde_bytes::ByteBuf;
use support::{ask, bytes, get, get_nearest, key, put, put_if, remove};

const SECOND: Duration = Duration::from_secs(1);

fn ring(seed: u64, nodes: u32) -> Ring<Dht> {
    Ring::grow(Setup { nodes, seed, ..Setup::new("dht") })
}

#[test]
fn a_value_is_read_at_any_node_until_it_is_removed_each_time_with_a_greater_version() {
    let mut ring = ring(1, 12);
    let first = put(&mut ring, "name", b"one", None).expect("stored");
    let second = put(&mut ring, "name", b"two", None).expect("stored");
    for node in ring.members() {
        let found: Option<Found> =
            ask(&mut ring, node, GET, &Get { key: key("name"), name: bytes("name"), nearest: false })
                .expect("answered");
        let found = found.expect("there");
        assert_eq!((found.value.as_slice(), found.version), (&b"two"[..], second.version));
    }
    let third = remove(&mut ring, "name").expect("removed");
    assert_eq!(get(&mut ring, "name"), Ok(None));
    let fourth = put(&mut ring, "name", b"three", None).expect("stored");
    let versions = [first, second, third, fourth].map(|stored| stored.version);
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert_eq!((first.replicas, ring.copies(Id::hash(b"name"), b"name")), (3, 3));
    assert!(ring.problems().is_empty(), "{:?}", ring.problems());
}

#[test]
fn a_value_says_how_long_it_will_stay_and_goes_everywhere() {
    let mut ring = ring(2, 8);
    put(&mut ring, "name", b"value", Some(10)).expect("stored");
    ring.run(SECOND * 4);
    let found = get(&mut ring, "name").expect("answered").expect("there");
    assert!(found.expires_in.is_some_and(|left| (5..=6).contains(&left)), "{found:?}");
    ring.run(SECOND * 7);
    assert_eq!(get(&mut ring, "name"), Ok(None));
    assert_eq!(get_nearest(&mut ring, "name"), Ok(None));
}

#[test]
fn names_at_a_key_are_listed_in_pages() {
    let mut ring = ring(3, 8);
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        let put = Put { key: key("dir"), name: bytes(name), value: ByteBuf::new(), expires_in: None, if_version: None };
        let node = ring.any();
        ask::<_, Stored>(&mut ring, node, PUT, &put).expect("stored");
    }
    let list = |after: Option<&str>| List { key: key("dir"), prefix: bytes("a/"), after: after.map(bytes), max: 2 };
    let node = ring.any();
    let page: Listed = ask(&mut ring, node, LIST, &list(None)).expect("listed");
    assert_eq!((page.names, page.next), (vec![bytes("a/1"), bytes("a/2")], Some(bytes("a/2"))));
    let page: Listed = ask(&mut ring, node, LIST, &list(Some("a/2"))).expect("listed");
    assert_eq!((page.names, page.next), (vec![bytes("a/3")], None));
}

#[test]
fn what_is_out_of_bounds_is_refused_where_it_was_asked() {
    let mut ring = ring(4, 4);
    let put = |name: usize, value: usize, expires_in| Put {
        key: key("x"),
        name: ByteBuf::from(vec![0; name]),
        value: ByteBuf::from(vec![0; value]),
        expires_in,
        if_version: None,
    };
    let node = ring.any();
    for bad in [put(MAX_NAME + 1, 0, None), put(1, MAX_VALUE + 1, None), put(1, 1, Some(0))] {
        let outcome = ask::<_, Stored>(&mut ring, node, PUT, &bad);
        assert!(matches!(outcome, Err(Refusal::BadRequest(_))), "{outcome:?}");
    }
    ask::<_, Stored>(&mut ring, node, PUT, &put(MAX_NAME, MAX_VALUE, None)).expect("the largest fits");
    assert_eq!(ring.copies(Id::hash(b"x"), &[0; 1]), 0);
}

#[test]
fn a_write_with_a_version_takes_place_only_where_nobody_has_written_since() {
    let mut ring = ring(5, 8);
    let first = put_if(&mut ring, "name", b"1", 0).expect("there is none");
    assert_eq!(put_if(&mut ring, "name", b"1", 0), Err(Refusal::Conflict(first.version)));
    let second = put_if(&mut ring, "name", b"2", first.version).expect("nobody has written since");
    assert_eq!(put_if(&mut ring, "name", b"x", first.version), Err(Refusal::Conflict(second.version)));
    assert_eq!(get(&mut ring, "name").expect("answered").expect("there").value.as_slice(), b"2");
}

/// Counters that several programs raise by what they have read: no step is lost, and none is made twice.
#[test]
fn steps_that_read_and_write_with_a_version_are_neither_lost_nor_made_twice_through_crashes_and_loss() {
    let mut ring = ring(6, 10);
    ring.network(|network| (network.loss, network.duplicate) = (0.01, 0.05));
    put(&mut ring, "n", b"0", None).expect("stored");
    let (mut done, mut unknown) = (0_u64, 0_u64);
    for step in 0..60 {
        if step % 15 == 5 {
            let owner = ring.owner(Id::hash(b"n"));
            ring.crash(owner);
            ring.run(SECOND * step / 10);
            ring.restart(owner);
        }
        let Ok(Some(found)) = get(&mut ring, "n") else { continue };
        let count: u64 = String::from_utf8_lossy(&found.value).parse().expect("a number");
        match put_if(&mut ring, "n", (count + 1).to_string().as_bytes(), found.version) {
            Ok(_) => done += 1,
            Err(Refusal::Conflict(_)) => {}
            Err(_) => unknown += 1,
        }
    }
    ring.settle();
    ring.run(SECOND * 15);
    let found = get(&mut ring, "n").expect("answered").expect("there");
    let count: u64 = String::from_utf8_lossy(&found.value).parse().expect("a number");
    assert!((done..=done + unknown).contains(&count), "{count} of {done} to {} steps", done + unknown);
    assert!(done >= 30, "{done}");
}

#[test]
fn a_repetition_of_an_attempt_is_recognised_where_another_node_has_become_responsible() {
    let mut ring = ring(7, 8);
    let first = put(&mut ring, "name", b"1", None).expect("stored");
    let at = Id::hash(b"name");
    let record = ring.record(ring.owner(at), Some(at), b"name").expect("there");
    let writer = u64::from_be_bytes(record[17..25].try_into().expect("eight bytes"));
    ring.join_as(at);
    ring.settle();
    // The same question, as an attempt that was under way while the node joined.
    let question = prost_peerlet::cbor::encode(&support::same_put("name", b"1"));
    let payload = [&[2, 0][..], &writer.to_be_bytes(), &question].concat();
    let asker = ring.any();
    support::route(&mut ring, asker, at, payload);
    ring.run(SECOND * 3);
    let found = get(&mut ring, "name").expect("answered").expect("there");
    assert_eq!(found.version, first.version, "it was not written again");
}

#[test]
fn any_copy_on_the_way_answers_a_reader_that_takes_the_nearest() {
    let mut ring: Ring<Dht> =
        Ring::grow(Setup { nodes: 60, seed: 8, latency: Latency::PlanetLab, ..Setup::new("dht") });
    put(&mut ring, "name", b"value", None).expect("stored");
    let at = Id::hash(b"name");
    let replicas = ring.replicas(at, 3);
    let mut by: BTreeMap<_, u32> = BTreeMap::new();
    for node in ring.members() {
        let question = Get { key: key("name"), name: bytes("name"), nearest: true };
        let found: Option<Found> = ask(&mut ring, node, GET, &question).expect("answered");
        *by.entry(found.expect("there").from.into_array()).or_default() += 1;
    }
    let ids: Vec<[u8; 20]> = replicas.iter().map(|node| ring.id(*node).to_bytes()).collect();
    assert!(by.keys().all(|node| ids.contains(node)) && by.len() > 1, "{by:?}");
}

#[test]
fn what_makes_no_sense_is_dropped_and_answers_that_nobody_waits_for_change_nothing() {
    let mut ring = ring(9, 5);
    put(&mut ring, "name", b"value", None).expect("stored");
    let at = Id::hash(b"name");
    let asker = ring.any();
    for payload in [vec![], vec![0xff; 100], vec![2; 9], vec![2; 40], [&[2, 0][..], &[7; 8], &[0x82, 0, 0x9b]].concat()]
    {
        support::route(&mut ring, asker, at, payload);
    }
    ring.run(SECOND * 3);
    assert_eq!(get(&mut ring, "name").expect("answered").expect("there").value.as_slice(), b"value");
    assert!(ring.problems().is_empty(), "{:?}", ring.problems());
}

#[test]
fn no_value_is_lost_while_nodes_crash_join_and_are_cut_off() {
    let mut ring = ring(10, 16);
    let names: Vec<String> = (0..40).map(|number| format!("name {number}")).collect();
    for name in &names {
        put(&mut ring, name, name.as_bytes(), None).expect("stored");
    }
    // k - 1 replicas of a value at once; a node that becomes responsible; a cut of thirty seconds.
    let at = Id::hash(names[0].as_bytes());
    for node in ring.replicas(at, 2) {
        ring.crash(node);
    }
    ring.run(SECOND * 40);
    ring.join_as(at);
    ring.join_as(before(at));
    ring.run(SECOND * 40);
    let side = ring.members().into_iter().step_by(2).collect::<Vec<_>>();
    ring.cut(&side);
    ring.run(SECOND * 30);
    ring.heal();
    ring.settle();
    ring.run(SECOND * 90);
    for name in &names {
        let found = get(&mut ring, name).expect("answered").unwrap_or_else(|| panic!("{name} is lost"));
        assert_eq!(found.value.as_slice(), name.as_bytes());
        assert_eq!(ring.copies(Id::hash(name.as_bytes()), name.as_bytes()), 3, "{name}");
    }
}
