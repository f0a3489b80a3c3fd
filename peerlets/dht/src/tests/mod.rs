//! The whole application on several nodes.

mod failures;
mod hostile;
mod world;

use prost_dht_api::{List, MAX_VALUE, Refusal};
use serde_bytes::ByteBuf;

use world::{World, api, key, node_id};

#[test]
fn a_value_is_held_by_three_nodes_and_read_at_any() {
    let mut world = World::settled(8);

    let stored = world.put(node_id(0), "name", b"value").expect("stored");

    assert_eq!(stored.replicas, 3);
    let mut owners = world.owners(key("name"));
    owners.sort();
    assert_eq!(world.holders(key("name")), owners);
    for node in world.nodes() {
        let found = world.get(node, "name").expect("answered").expect("there");
        assert_eq!((found.value.as_slice(), found.version), (&b"value"[..], stored.version));
    }
    assert_eq!(world.value(node_id(1), "another"), None);
}

#[test]
fn a_small_ring_acknowledges_with_the_nodes_that_it_has() {
    for nodes in 1..=2 {
        let mut world = World::settled(nodes);

        let stored = world.put(node_id(0), "name", b"value").expect("stored");

        assert_eq!(stored.replicas, u32::from(nodes));
        assert_eq!(world.value(node_id(0), "name"), Some(b"value".to_vec()));
    }
}

#[test]
fn a_put_replaces_and_a_remove_removes_each_with_a_greater_version() {
    let mut world = World::settled(5);

    let first = world.put(node_id(0), "name", b"one").expect("stored");
    let second = world.put(node_id(1), "name", b"two").expect("stored");
    assert_eq!(world.value(node_id(2), "name"), Some(b"two".to_vec()));
    let third = world.remove(node_id(3), "name").expect("removed");

    assert_eq!(world.value(node_id(4), "name"), None);
    assert!(world.holders(key("name")).is_empty());
    assert!(first.version < second.version && second.version < third.version);
}

#[test]
fn a_value_is_gone_when_it_expires() {
    let mut world = World::settled(4);
    world.put_for(node_id(0), "name", b"value", 10).expect("stored");

    world.run(8_000);
    let found = world.get(node_id(1), "name").expect("answered").expect("still there");
    world.run(3_000);

    assert!(found.expires_in.is_some_and(|seconds| (1..=2).contains(&seconds)));
    assert_eq!(world.value(node_id(1), "name"), None);
}

#[test]
fn the_largest_value_goes_round() {
    let mut world = World::settled(4);
    let value = vec![7; MAX_VALUE];

    world.put(node_id(0), "name", &value).expect("stored");

    assert_eq!(world.value(node_id(1), "name"), Some(value.clone()));
    let refusal = world.put(node_id(0), "name", &vec![7; MAX_VALUE + 1]);
    assert!(matches!(refusal, Err(Refusal::BadRequest(_))));
}

#[test]
fn names_are_listed_in_pages() {
    let mut world = World::settled(5);
    let place = api(key("directory"));
    for name in ["a1", "a2", "a3", "b1"] {
        let put =
            prost_dht_api::Put { key: place, name: ByteBuf::from(name), value: ByteBuf::from(name), expires_in: None };
        world.ask(node_id(0), prost_dht_api::PUT, &put);
    }
    world.run(1_000);
    let mut list = List { key: place, prefix: ByteBuf::from("a"), after: None, max: 2 };

    let first = world.list(node_id(1), &list).expect("listed");
    list.after = first.next.clone();
    let second = world.list(node_id(1), &list).expect("listed");

    assert_eq!(first.names, [ByteBuf::from("a1"), ByteBuf::from("a2")]);
    assert_eq!(second.names, [ByteBuf::from("a3")]);
    assert_eq!(second.next, None);
}

#[test]
fn a_ring_without_changes_is_nearly_silent() {
    let mut world = World::settled(6);
    for name in 0..100 {
        world.put(node_id(0), &format!("name {name}"), b"value").expect("stored");
    }
    world.run(90_000);
    world.sent = 0;

    world.run(60_000);

    // In a minute each node walks at most twice, and offers what it holds in few messages.
    assert!(world.sent > 0);
    assert!(world.sent < 6 * 2 * 3 * 10, "{} messages", world.sent);
}
