//! The world itself: its network, its connections, its clocks, and that it is the same each time.

mod support;

use std::time::Duration;

use prost_kbr::{Key, RingState};
use prost_manager::Search;
use prost_sim::{Act, Network, Seen, World};

use support::{config, ideal, ring, run, settle};

#[test]
fn thirty_two_nodes_become_an_ideal_ring_and_find_every_owner() {
    let mut world = ring(1, 32);
    assert_eq!(ideal(&world), Ok(()));
    for request in 0..200u64 {
        let key = Key::hash(&request.to_be_bytes());
        world.act(Act::Lookup { node: (request % 32) as u32, request, key, search: Search::Owner });
    }
    run(&mut world, Duration::from_secs(20));
    let mut ended = 0;
    for seen in world.seen() {
        let Seen::LookedUp { request, outcome, .. } = seen else { continue };
        let owner = world.owner(Key::hash(&request.to_be_bytes())).unwrap();
        assert_eq!(outcome.result, Ok(world.peer(owner)), "lookup {request}");
        ended += 1;
    }
    assert_eq!(ended, 200);
}

#[test]
fn the_same_seed_gives_the_same_hash_and_another_seed_another() {
    let history = |seed| {
        let mut world = World::new(prost_sim::WorldConfig { network: support::uneven(), ..config(seed) });
        support::grow(&mut world, 12);
        run(&mut world, Duration::from_secs(30));
        world.act(Act::Break { a: 3, b: 4 });
        world.act(Act::Leave { node: 5 });
        run(&mut world, Duration::from_secs(30));
        (world.trace_hash(), world.events())
    };
    assert_eq!(history(5), history(5));
    assert_ne!(history(5).0, history(6).0);
}

#[test]
fn a_node_that_crashes_is_forgotten_by_the_ring() {
    let mut world = ring(2, 12);
    world.act(Act::Crash { node: 5 });
    assert!(!world.is_alive(5) && world.members().len() == 11);
    assert!(settle(&mut world, Duration::from_secs(90)), "{:?}", ideal(&world));
    assert!((0..12).all(|node| world.state(node).is_none() == (node == 5)));
}

#[test]
fn a_node_that_leaves_is_missed_by_no_one() {
    let mut world = ring(3, 12);
    world.act(Act::Leave { node: 5 });
    assert!(settle(&mut world, Duration::from_secs(10)), "{:?}", ideal(&world));
    assert!(world.seen().iter().any(|seen| matches!(seen, Seen::Left { node: 5 })));
    assert!((0..12).all(|node| !world.connected(node, 5)));
}

#[test]
fn a_ring_that_is_cut_in_two_heals() {
    let mut world = ring(4, 12);
    let sides = (0..12).map(|node| u8::from(node % 2 == 0)).collect();
    world.act(Act::Network(Box::new(Network { sides, ..Network::default() })));
    run(&mut world, Duration::from_secs(120));
    assert!(ideal(&world).is_err(), "each side is a ring of its own by now");
    world.act(Act::Network(Box::default()));
    assert!(settle(&mut world, Duration::from_secs(300)), "{:?}", ideal(&world));
}

#[test]
fn a_node_that_starts_again_finds_its_place() {
    let mut world = ring(6, 8);
    world.act(Act::Crash { node: 2 });
    run(&mut world, Duration::from_secs(1));
    world.act(Act::Restart { node: 2, known: vec![0, 1] });
    assert!(settle(&mut world, Duration::from_secs(120)), "{:?}", ideal(&world));
    assert_eq!(world.state(2), Some(RingState::Bootstrap));
}
