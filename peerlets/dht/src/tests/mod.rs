//! The application on several nodes in virtual time. The ring sees to the records: here they all lie in one place.

mod world;

use prost_dht_api::{GET, Get, LIST, List, Listed, MAX_NAME, MAX_VALUE, PUT, Put, Refusal};
use prost_peerlet::Id;
use prost_peerlet::cbor::Bytes;
use serde_bytes::ByteBuf;

use crate::message::{Action, Operation, Reply, encode};
use world::{World, api, bytes, key, node_id};

#[test]
fn a_value_is_read_at_any_node_until_it_is_removed_each_time_with_a_greater_version() {
    let mut world = World::new(5);
    let first = world.put(node_id(0), "name", b"one", None).expect("stored");
    let second = world.put(node_id(1), "name", b"two", None).expect("stored");
    for node in world.nodes() {
        let found = world.get(node, "name").expect("answered").expect("there");
        assert_eq!((found.value.as_slice(), found.version), (&b"two"[..], second.version));
    }
    let third = world.remove(node_id(3), "name").expect("removed");
    assert_eq!(world.get(node_id(4), "name"), Ok(None));
    let fourth = world.put(node_id(1), "name", b"three", None).expect("stored");
    let versions = [first, second, third, fourth].map(|stored| stored.version);
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    assert_eq!(first.replicas, 3);
}

#[test]
fn a_value_says_how_long_it_will_stay() {
    let mut world = World::new(3);
    world.put(node_id(0), "name", b"value", Some(10)).expect("stored");
    world.run(4_000);
    let found = world.get(node_id(1), "name").expect("answered").expect("there");
    assert_eq!(found.expires_in, Some(6));
    world.run(6_000);
    assert_eq!(world.get(node_id(1), "name"), Ok(None));
}

#[test]
fn names_at_a_key_are_listed_in_pages() {
    let mut world = World::new(4);
    for name in ["a/1", "a/2", "a/3", "b/1"] {
        let put = Put { key: api(key("dir")), name: bytes(name), value: ByteBuf::new(), expires_in: None };
        world.ask::<_, prost_dht_api::Stored>(node_id(0), PUT, &put).expect("stored");
    }
    let list =
        |after: Option<&str>| List { key: api(key("dir")), prefix: bytes("a/"), after: after.map(bytes), max: 2 };
    let page: Listed = world.ask(node_id(1), LIST, &list(None)).expect("listed");
    assert_eq!((page.names, page.next), (vec![bytes("a/1"), bytes("a/2")], Some(bytes("a/2"))));
    let page: Listed = world.ask(node_id(1), LIST, &list(Some("a/2"))).expect("listed");
    assert_eq!((page.names, page.next), (vec![bytes("a/3")], None));
}

#[test]
fn what_is_out_of_bounds_is_refused_where_it_was_asked() {
    let mut world = World::new(3);
    let put = |name: usize, value: usize, expires_in| Put {
        key: api(key("x")),
        name: ByteBuf::from(vec![0; name]),
        value: ByteBuf::from(vec![0; value]),
        expires_in,
    };
    for bad in [put(MAX_NAME + 1, 0, None), put(1, MAX_VALUE + 1, None), put(1, 1, Some(0))] {
        let outcome = world.ask::<_, prost_dht_api::Stored>(node_id(0), PUT, &bad);
        assert!(matches!(outcome, Err(Refusal::BadRequest(_))), "{outcome:?}");
    }
    world.ask::<_, prost_dht_api::Stored>(node_id(0), PUT, &put(MAX_NAME, MAX_VALUE, None)).expect("the largest fits");
    assert_eq!(world.sent, 1, "nothing was sent for the others");
}

#[test]
fn a_lost_operation_is_tried_again_and_one_that_stays_lost_ends() {
    let mut world = World::new(4);
    world.losing = 1;
    world.put(node_id(0), "name", b"value", None).expect("stored at the second attempt");
    world.losing = usize::MAX;
    let put = world.put(node_id(0), "name", b"other", None);
    assert!(matches!(put, Err(Refusal::Unreachable | Refusal::Deadline)), "{put:?}");
}

#[test]
fn a_key_whose_records_are_on_their_way_is_asked_for_again() {
    let mut world = World::new(4);
    world.put(node_id(0), "name", b"value", None).expect("stored");
    world.settling = 1;
    let found = world.get(node_id(2), "name").expect("answered").expect("there");
    assert_eq!(found.value.as_slice(), b"value");
    assert_eq!(world.settling, 0);
}

#[test]
fn another_attempt_at_a_put_does_not_write_twice() {
    let mut world = World::new(4);
    let action = Action::Put { name: Bytes::from("name"), value: Bytes::from("value"), expires_in: None };
    let attempt = encode(&Operation { request: 99, action });
    for _ in 0..2 {
        world.inject(node_id(0), node_id(3), Some(key("name")), attempt.clone());
    }
    assert_eq!(world.written, 1);
    world.inject(node_id(0), node_id(2), Some(key("name")), attempt);
    assert_eq!(world.written, 2, "another origin's request of the same number is another request");
}

#[test]
fn what_makes_no_sense_is_dropped_and_noted_and_answers_that_nobody_waits_for_change_nothing() {
    let mut world = World::new(3);
    let stranger = Id::hash(b"stranger");
    for (place, payload) in [
        (None, Vec::new()),
        (None, vec![0xff; 100]),
        (Some(key("name")), vec![1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (None, encode(&Reply { request: 1, outcome: Err("no such refusal".to_owned()) })),
    ] {
        let before = world.logged;
        world.inject(node_id(0), stranger, place, payload);
        assert_eq!(world.logged, before + 1);
    }
    let answer = Reply { request: 7, outcome: Err("busy".to_owned()) };
    world.inject(node_id(0), stranger, None, encode(&answer));
    let get = Get { key: api(key("name")), name: bytes("name") };
    assert_eq!(world.ask::<_, Option<prost_dht_api::Found>>(node_id(0), GET, &get), Ok(None));
}
