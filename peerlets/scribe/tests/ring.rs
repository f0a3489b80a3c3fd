//! The paper's promises and the ways in which a ring fails, on the real node in virtual time.

#![allow(missing_docs, reason = "tests")]

mod support;

use core::time::Duration;

use prost_peerlet_ring::{Latency, Setup};
use prost_scribe_api::{self as api, Access};
use support::{HEARTBEAT, World};

fn setup(nodes: u32, seed: u64) -> Setup {
    Setup { nodes, seed, latency: Latency::PlanetLab, replicas: 5, ..Setup::new("scribe") }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A group of which all nodes are members.
fn full(nodes: u32, seed: u64) -> World {
    let mut world = World::new(setup(nodes, seed));
    let members = world.ring.members();
    world.join(&members);
    world.run(seconds(2));
    world
}

#[test]
fn every_member_hears_each_message_once_and_in_order() {
    let mut world = full(40, 1);
    world.assert_whole();
    let members = world.ring.members();
    for number in 0..20u8 {
        world.publish(members[usize::from(number) % 7], &[number]);
        world.run(Duration::from_millis(100));
    }
    world.run(seconds(5));
    let first = world.heard_by(members[0]);
    assert_eq!(first.len(), 20);
    for member in members {
        assert_eq!(world.heard_by(member), first, "all members hear the same in the same order");
    }
    assert_eq!(world.ring.problems().len(), 0, "{:?}", world.ring.problems());
}

#[test]
fn those_who_leave_leave_nothing_behind() {
    let mut world = full(24, 2);
    let members = world.ring.members();
    let (stays, go) = members.split_first().expect("members");
    go.iter().for_each(|node| world.leave(*node));
    world.run(seconds(5));
    world.assert_whole();
    world.leave(*stays);
    world.run(seconds(5));
    assert!(world.ring.members().into_iter().all(|node| !world.is_in(node)));
}

#[test]
fn a_dead_interior_node_costs_its_subtree_no_message() {
    let mut world = full(48, 3);
    let root = world.root();
    let interior = world.ring.members().into_iter().filter(|node| *node != root);
    let interior = interior.max_by_key(|node| world.children(*node).len()).expect("one");
    assert!(!world.children(interior).is_empty());
    world.publish(root, b"before");
    world.run(seconds(3));
    world.ring.crash(interior);
    world.publish(root, b"meanwhile");
    world.run(2 * HEARTBEAT);
    world.assert_heard_once(b"before");
    world.assert_heard_once(b"meanwhile");
    world.run(seconds(60));
    world.assert_whole();
}

#[test]
fn the_root_dies_and_the_group_goes_on_with_its_rules() {
    let mut world = World::with_rules(setup(32, 4), Access::Anyone, Access::Only(Vec::new()));
    let members = world.ring.members();
    world.join(&members);
    world.run(seconds(2));
    let root = world.root();
    world.ring.crash(root);
    world.run(seconds(40));
    world.assert_whole();
    let stranger = world.readers().into_iter().find(|node| Some(world.ring.id(*node)) != world.name().creator);
    let refused = world.publish(stranger.expect("one"), b"not allowed");
    world.run(seconds(20));
    let refused = world.ring.answer(refused).expect("an answer");
    assert_eq!(refused.outcome, Err("the group's rules do not allow it".to_owned()));
    if let Some(creator) =
        world.name().creator.and_then(|id| world.ring.index(id)).filter(|node| world.ring.is_alive(*node))
    {
        world.publish(creator, b"allowed");
        world.run(seconds(10));
        world.assert_heard_once(b"allowed");
    }
}

/// (i) and (ii) of the failure matrix.
#[test]
fn what_the_creator_was_told_survives_all_but_one_of_the_replicas() {
    let mut world = World::new(setup(24, 5));
    let replicas = world.ring.replicas(world.group, 5);
    replicas[..4].iter().for_each(|node| world.ring.crash(*node));
    world.run(seconds(60));
    let members = world.ring.members();
    world.join(&members[..6]);
    world.publish(members[0], b"after");
    world.run(seconds(5));
    world.assert_heard_once(b"after");
}

/// (iii) and (ix): the new node has never heard of the application.
#[test]
fn a_node_that_comes_to_be_the_root_takes_the_tree_over_and_no_message_is_lost() {
    let mut world = full(32, 6);
    let old = world.root();
    let new = world.ring.join_as(world.group);
    for number in 0..40u8 {
        world.publish(old, &[number]);
        world.run(Duration::from_millis(500));
    }
    world.run(seconds(40));
    assert_eq!(world.root(), new);
    world.assert_whole();
    for number in 0..40u8 {
        world.assert_heard_once(&[number]);
    }
    world.ring.leave(new);
    for number in 40..60u8 {
        world.publish(old, &[number]);
        world.run(Duration::from_millis(500));
    }
    world.run(seconds(40));
    world.assert_whole();
    for number in 40..60u8 {
        world.assert_heard_once(&[number]);
    }
}

/// (iv), (v), (vi).
#[test]
fn loss_repetition_and_reordering_of_packets_lose_and_double_nothing() {
    let mut world = full(32, 7);
    world.ring.network(|network| {
        network.loss = 0.01;
        network.duplicate = 0.05;
        network.extra_delay = Duration::from_millis(50);
    });
    let root = world.root();
    for number in 0..50u8 {
        world.publish(root, &[number]);
        world.run(Duration::from_millis(200));
    }
    world.run(seconds(30));
    for number in 0..50u8 {
        world.assert_heard_once(&[number]);
    }
    world.assert_whole();
}

/// (vii)
#[test]
fn a_partition_heals_into_one_tree() {
    let mut world = full(32, 8);
    let members = world.ring.members();
    world.ring.cut(&members[..12]);
    world.run(seconds(30));
    world.ring.heal();
    world.run(seconds(120));
    world.assert_whole();
    world.publish(members[20], b"whole again");
    world.run(seconds(10));
    world.assert_heard_once(b"whole again");
}

/// (viii)
#[test]
fn clocks_that_differ_do_no_harm() {
    let mut world = full(24, 9);
    for (at, node) in world.ring.members().into_iter().enumerate() {
        let sign = if at % 2 == 0 { 1 } else { -1 };
        world.ring.skew(node, 0, sign * 100_000);
    }
    for number in 0..10u8 {
        let node = world.ring.any();
        world.publish(node, &[number]);
        world.run(seconds(10));
    }
    for number in 0..10u8 {
        world.assert_heard_once(&[number]);
    }
    world.assert_whole();
}

/// (x)
#[test]
fn nodes_that_die_and_others_that_come_leave_one_tree() {
    let mut world = full(32, 10);
    for _ in 0..8 {
        let victim = world.ring.any();
        world.ring.crash(victim);
        let new = world.ring.join();
        world.run(seconds(10));
        world.ring.install(new);
        world.run(seconds(1));
        world.join(&[new]);
    }
    world.run(seconds(60));
    world.assert_whole();
    let publisher = world.readers()[0];
    world.publish(publisher, b"to all");
    world.run(seconds(5));
    world.assert_heard_once(b"to all");
}

#[test]
fn a_message_to_any_member_is_taken_by_one() {
    let mut world = full(24, 11);
    let members = world.ring.members();
    let taker = members[17];
    let join = api::Join { group: world.name(), takes_anycast: true };
    let joined = world.ring.ask(taker, api::JOIN, &prost_peerlet::cbor::encode(&join)).expect("joined");
    let joined: api::Joined = prost_peerlet::cbor::decode(&joined).expect("well formed");
    let anycast = api::Anycast { group: world.name(), data: prost_peerlet::cbor::Bytes::from("who?") };
    let taken = world.ring.ask(members[2], api::ANYCAST, &prost_peerlet::cbor::encode(&anycast)).expect("taken");
    let taken: api::Taken = prost_peerlet::cbor::decode(&taken).expect("well formed");
    assert_eq!(taken.by, world.ring.id(taker));
    assert_ne!(joined.subscription, 0);
}

#[test]
fn a_crowd_that_joins_at_once_finds_places_and_no_node_serves_more_than_it_may() {
    let mut world = World::new(setup(160, 12));
    let members = world.ring.members();
    world.join(&members);
    let took = world.ring.now();
    world.run(seconds(60));
    world.assert_whole();
    let publisher = members[0];
    world.publish(publisher, b"to all");
    world.run(seconds(5));
    world.assert_heard_once(b"to all");
    assert!(took < world.ring.now());
}
