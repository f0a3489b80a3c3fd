//! Nodes that stop, come back, refuse or lose messages.

use prost_dht_api::{List, PUT, Refusal};
use prost_peerlet::NodeId;
use serde_bytes::ByteBuf;

use super::world::{World, api, key, node_id, put};

fn filled(nodes: u8, values: u32) -> World {
    let mut world = World::settled(nodes);
    for value in 0..values {
        world.put(node_id(0), &name(value), &value.to_be_bytes()).expect("stored");
    }
    world
}

fn name(value: u32) -> String {
    format!("name {value}")
}

fn assert_all_there(world: &mut World, at: NodeId, values: u32) {
    for value in 0..values {
        assert_eq!(world.value(at, &name(value)), Some(value.to_be_bytes().to_vec()), "value {value}");
    }
}

#[test]
fn any_one_node_can_stop_and_every_acknowledged_value_is_there_at_once() {
    for victim in 0..8 {
        let mut world = filled(8, 60);

        world.kill(node_id(victim));

        let survivor = world.nodes()[0];
        assert_all_there(&mut world, survivor, 60);
    }
}

#[test]
fn nodes_can_stop_one_after_another_until_one_is_left() {
    let mut world = filled(8, 300);

    for victim in 1..8 {
        world.kill(node_id(victim));
        world.run(10_000);
    }

    assert_eq!(world.nodes(), [node_id(0)]);
    assert_all_there(&mut world, node_id(0), 300);
}

#[test]
fn a_value_has_its_three_copies_again_after_a_node_stopped() {
    let mut world = filled(8, 40);

    world.kill(node_id(3));
    world.run(5_000);

    for value in 0..40 {
        for owner in world.owners(key(&name(value))) {
            assert!(world.holds(owner, key(&name(value))), "value {value}");
        }
    }
}

#[test]
fn a_node_that_joins_answers_right_from_the_start_and_gets_its_records() {
    let mut world = filled(4, 200);

    for joining in 10..14 {
        world.start(node_id(joining));
        assert_all_there(&mut world, node_id(joining), 200);
        world.run(10_000);
    }

    for value in 0..200 {
        for owner in world.owners(key(&name(value))) {
            assert!(world.holds(owner, key(&name(value))), "value {value}");
        }
    }
}

#[test]
fn a_node_that_joins_gets_its_records_also_where_nobody_reads() {
    let mut world = filled(5, 100);

    world.start(node_id(20));
    world.run(5_000);

    let mine: Vec<u32> = (0..100).filter(|value| world.owners(key(&name(*value)))[0] == node_id(20)).collect();
    assert!(!mine.is_empty());
    assert!(mine.iter().all(|value| world.holds(node_id(20), key(&name(*value)))));
}

#[test]
fn a_copy_beyond_nodes_that_refuse_is_found() {
    let mut world = World::settled(7);
    let owners = world.owners(key("name"));
    world.refusing.extend([owners[0], owners[1]]);
    let stored = world.put(owners[2], "name", b"value").expect("stored");

    world.forget(owners[2]);

    assert_eq!(stored.replicas, 3);
    assert_eq!(world.value(owners[2], "name"), Some(b"value".to_vec()));
}

#[test]
fn a_node_that_was_away_brings_nothing_old_back() {
    let mut world = World::settled(6);
    world.put(node_id(0), "changed", b"old").expect("stored");
    world.put(node_id(0), "removed", b"old").expect("stored");
    let away: Vec<NodeId> = ["changed", "removed"].iter().map(|name| world.owners(key(name))[0]).collect();
    away.iter().for_each(|node| world.kill(*node));
    world.run(5_000);
    let here = world.nodes()[0];
    world.put(here, "changed", b"new").expect("stored");
    world.remove(here, "removed").expect("removed");

    away.iter().for_each(|node| world.start(*node));

    assert_eq!(world.value(here, "changed"), Some(b"new".to_vec()));
    assert_eq!(world.value(here, "removed"), None);
    world.run(30 * 60_000);
    assert_eq!(world.value(here, "changed"), Some(b"new".to_vec()));
    assert_eq!(world.value(here, "removed"), None);
    assert!(!world.holds(world.owners(key("removed"))[0], key("removed")));
}

#[test]
fn a_list_just_after_a_failure_lacks_nothing() {
    let mut world = World::settled(6);
    let place = key("directory");
    for name in 0..20 {
        let put = prost_dht_api::Put { key: api(place), ..put(&format!("{name:02}"), b"value", None) };
        world.ask(node_id(0), PUT, &put);
    }
    world.run(2_000);
    let root = world.owners(place)[0];
    let newcomer = (0..=u8::MAX).map(node_id).find(|node| {
        let first = world.owners(place)[0];
        !world.nodes().contains(node) && place.distance_to(*node) < place.distance_to(first)
    });
    let newcomer = newcomer.expect("some id lies before the responsible node");

    world.start(newcomer);
    world.kill(root);

    let list = List { key: api(place), prefix: ByteBuf::new(), after: None, max: 64 };
    assert_eq!(world.owners(place)[0], newcomer);
    let at = world.nodes()[0];
    assert_eq!(world.list(at, &list).expect("listed").names.len(), 20);
}

#[test]
fn a_responsible_node_that_refuses_is_passed_over() {
    let mut world = World::settled(6);
    let root = world.owners(key("name"))[0];
    world.refusing.insert(root);
    let at = world.nodes().into_iter().find(|node| *node != root).expect("another node");

    let stored = world.put(at, "name", b"value").expect("stored");

    assert_eq!(stored.replicas, 3);
    assert!(!world.holds(root, key("name")));
    assert_eq!(world.value(at, "name"), Some(b"value".to_vec()));
}

#[test]
fn a_ring_where_all_others_refuse_says_so_or_holds_the_one_copy() {
    let mut world = World::settled(3);
    let owners = world.owners(key("name"));
    world.refusing.extend(&owners[1..]);

    let stored = world.put(owners[0], "name", b"value").expect("stored");
    world.refusing.insert(owners[0]);
    let refusal = world.put(owners[0], "name", b"value");

    assert_eq!(stored.replicas, 1);
    assert_eq!(refusal, Err(Refusal::NoWillingNode));
}

#[test]
fn a_slow_replica_does_not_hold_up_a_write_for_long() {
    let mut world = World::settled(6);
    let owners = world.owners(key("name"));
    world.mute.insert(owners[2]);

    let stored = world.put(owners[0], "name", b"value").expect("stored");

    assert!(stored.replicas >= 2);
}

#[test]
fn a_request_that_nobody_answers_ends_at_its_deadline() {
    let mut world = World::settled(5);
    let root = world.owners(key("name"))[0];
    world.mute.insert(root);
    let at = world.nodes().into_iter().find(|node| *node != root).expect("another node");

    let request = world.ask(at, PUT, &put("name", b"value", None));
    world.run(9_000);
    assert_eq!(world.outcome(request), None);
    world.run(2_000);

    assert_eq!(world.outcome(request), Some(&Err("deadline".to_owned())));
}

#[test]
fn a_request_whose_node_stops_is_answered_by_the_next() {
    let mut world = World::settled(5);
    world.put(node_id(0), "name", b"value").expect("stored");
    let root = world.owners(key("name"))[0];
    let at = world.nodes().into_iter().find(|node| *node != root).expect("another node");
    world.mute.insert(root);
    let get = prost_dht_api::Get { key: api(key("name")), name: ByteBuf::from("name") };
    let request = world.ask(at, prost_dht_api::GET, &get);
    world.run(1_000);

    world.kill(root);
    world.run(5_000);

    assert!(matches!(world.outcome(request), Some(Ok(_))));
}

#[test]
fn a_writer_whose_clock_is_behind_still_writes_the_newest() {
    let mut world = World::settled(5);
    let owners = world.owners(key("name"));
    world.set_clock_ahead(owners[0], 600_000);
    let first = world.put(owners[1], "name", b"one").expect("stored");
    world.kill(owners[0]);
    world.run(5_000);

    let second = world.put(owners[1], "name", b"two").expect("stored");

    assert!(second.version > first.version);
    assert_eq!(world.value(owners[1], "name"), Some(b"two".to_vec()));
}

#[test]
fn a_write_that_meets_a_newer_copy_is_stamped_again() {
    let mut world = World::settled(5);
    let owners = world.owners(key("name"));
    world.kill(owners[0]);
    world.set_clock_ahead(owners[1], 600_000);
    let first = world.put(owners[1], "name", b"one").expect("stored");
    world.start(owners[0]);

    let second = world.put(owners[1], "name", b"two").expect("stored");

    assert!(second.version > first.version);
    assert_eq!(second.replicas, 3);
    assert_eq!(world.value(owners[2], "name"), Some(b"two".to_vec()));
}

#[test]
fn a_full_replica_is_replaced_by_the_next_and_a_full_responsible_node_refuses() {
    let mut world = World::settled(6);
    let owners = world.owners(key("name"));
    world.set_quota(owners[1], 0);

    let stored = world.put(node_id(0), "name", b"value").expect("stored");
    world.set_quota(owners[0], 0);
    let another = (0..).map(name).find(|name| world.owners(key(name))[0] == owners[0]).expect("there are many names");
    let refusal = world.put(node_id(0), &another, b"value");

    assert_eq!(stored.replicas, 3);
    assert!(!world.holds(owners[1], key("name")));
    assert_eq!(refusal, Err(Refusal::Storage));
}
