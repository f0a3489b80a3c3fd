//! What others send, and too much of it.

use prost_dht_api::{GET, Get, MAX_NAME, PUT, Refusal};
use prost_peerlet::Id;
use prost_peerlet::cbor::Bytes;
use serde_bytes::ByteBuf;

use super::world::{World, api, key, node_id, put};
use crate::message::{Action, Direct, Operation, encode};
use crate::record::{Meta, Record, Stamp};

#[test]
fn what_makes_no_sense_is_dropped_and_noted() {
    let mut world = World::settled(3);
    let stranger = Id::hash(b"stranger");
    let far = Stamp { version: u64::MAX, writer: stranger };
    let record = Record { meta: Meta { stamp: far, live: true, expires_at: None }, value: Bytes::from("x") };
    let name = Bytes::from("name");
    let implausible = Direct::Replicate { ticket: 1, key: key("name"), name, record };

    for (place, payload) in [
        (None, Vec::new()),
        (None, vec![0xff; 100]),
        (Some(key("name")), vec![1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (Some(key("name")), encode(&Direct::Replicated { ticket: 1, newest: None })),
        (None, encode(&implausible)),
    ] {
        let before = world.logged;
        world.inject(node_id(0), stranger, place, payload);
        assert_eq!(world.logged, before + 1);
    }

    assert!(world.holders(key("name")).is_empty());
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut world = World::settled(3);
    let stranger = Id::hash(b"stranger");
    let stamp = Stamp { version: 1, writer: stranger };
    let record = Record { meta: Meta { stamp, live: true, expires_at: None }, value: Bytes::from("x") };

    for message in [
        Direct::Answer { request: 7, outcome: Err("busy".to_owned()) },
        Direct::Replicated { ticket: 1, newest: Some(stamp) },
        Direct::Fetched { ticket: 1, record: Some(record) },
    ] {
        world.inject(node_id(0), stranger, None, encode(&message));
    }

    assert!(world.holders(key("name")).is_empty());
    assert_eq!(world.value(node_id(0), "name"), None);
}

#[test]
fn another_attempt_at_a_put_does_not_write_twice() {
    let mut world = World::settled(4);
    let owners = world.owners(key("name"));
    let action = Action::Put { name: Bytes::from("name"), value: Bytes::from("value"), expires_in: None };
    let attempt = encode(&Operation { request: 99, action });

    world.inject(owners[0], owners[1], Some(key("name")), attempt.clone());
    world.run(1_000);
    let first = world.get(owners[1], "name").expect("answered").expect("there").version;
    world.inject(owners[0], owners[1], Some(key("name")), attempt);
    world.run(1_000);

    let second = world.get(owners[1], "name").expect("answered").expect("there").version;
    assert_eq!(first, second);
}

#[test]
fn requests_beyond_the_bound_are_refused_and_the_others_answered() {
    let mut world = World::settled(4);
    let at = node_id(0);

    let requests: Vec<u64> =
        (0..300).map(|number| world.ask(at, PUT, &put(&format!("name {number}"), &[0; 1000], None))).collect();
    world.run(15_000);

    let busy = requests.iter().filter(|id| world.outcome(**id) == Some(&Err("busy".to_owned()))).count();
    let done = requests.iter().filter(|id| matches!(world.outcome(**id), Some(Ok(_)))).count();
    assert_eq!(busy + done, requests.len());
    assert!(done >= 256, "{done} done");
}

#[test]
fn a_request_with_a_fault_is_refused_at_once() {
    let mut world = World::settled(2);
    let long = Get { key: api(key("name")), name: ByteBuf::from(vec![0; MAX_NAME + 1]) };

    for request in [
        world.ask(node_id(0), "no such method", &0),
        world.ask(node_id(0), GET, &"no request"),
        world.ask(node_id(0), GET, &long),
        world.ask(node_id(0), PUT, &put("name", b"value", Some(0))),
    ] {
        let Some(Err(text)) = world.outcome(request) else { panic!("not refused") };
        assert!(matches!(text.parse(), Ok(Refusal::BadRequest(_))), "{text}");
    }
}
