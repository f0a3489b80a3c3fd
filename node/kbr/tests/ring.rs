//! Rings form, change and repair themselves.

mod world;

use std::time::Duration;

use prost_kbr::{Change, Input, Peer, RingState};
use world::{World, point, small_config};

const LONG: Duration = Duration::from_secs(180);

#[test]
fn a_node_alone_is_a_ring_of_one() {
    let mut world = World::new(1, small_config());
    let node = world.add(point(1, 3));
    world.join(node, &[]);
    world.run_for(Duration::from_secs(30));
    let machine = &world.nodes[&node.id].machine;
    assert_eq!(machine.ring_state(), RingState::Bootstrap);
    let range = machine.view().range(node.id, 0).expect("everything");
    assert!(range.contains(point(1, 7)) && range.contains(node.id));
    let id = world.lookup(node.id, point(2, 3));
    assert_eq!(world.outcome(node.id, id).result, Ok(node));
}

#[test]
fn nodes_that_join_one_after_the_other_form_the_ideal_ring() {
    for count in 1..=20 {
        let mut world = World::random_ring(count as u64, small_config(), count);
        world.run_for(Duration::from_secs(30));
        assert_eq!(world.flaws(), Vec::<String>::new());
        for id in world.live() {
            let state = world.nodes[&id].machine.ring_state();
            assert_eq!(state, if count <= 4 { RingState::Bootstrap } else { RingState::Member });
        }
    }
}

#[test]
fn nodes_that_join_at_once_form_the_ideal_ring() {
    for count in 2..=20 {
        let mut world = World::new(100 + count, small_config());
        let peers: Vec<Peer> =
            (0..count).map(|_| world.random_id()).collect::<Vec<_>>().into_iter().map(|id| world.add(id)).collect();
        world.join(peers[0], &[]);
        for peer in &peers[1..] {
            world.join(*peer, &peers[..1]);
        }
        world.settle(LONG);
    }
}

#[test]
fn a_ring_survives_the_death_of_all_but_one_successor() {
    for seed in 0..6 {
        for notice in [None, Some(Duration::from_millis(5))] {
            let mut world = World::random_ring(seed, small_config(), 12);
            let first = world.below(12) as usize;
            let live = world.live();
            for step in 0..3 {
                world.crash(live[(first + step) % 12], notice);
            }
            world.settle(LONG);
            assert_eq!(world.live().len(), 9);
            every_lookup_is_right(&mut world, 8);
        }
    }
}

fn every_lookup_is_right(world: &mut World, keys: u64) {
    for key in 0..keys {
        let key = point(key, keys);
        for from in world.live() {
            let id = world.lookup(from, key);
            let outcome = world.outcome(from, id);
            let owner = world.owner(key);
            assert_eq!(outcome.result.map(|peer| peer.id), Ok(owner), "{key:?} looked up from {from:?}");
            let path = outcome.path.expect("a lookup is traced");
            assert_eq!(path.first().map(|hop| hop.node), Some(from));
            assert_eq!(path.last().map(|hop| hop.node), Some(owner));
            assert_eq!(path.len(), usize::from(outcome.hops) + 1);
        }
    }
}

#[test]
fn every_node_finds_the_owner_of_every_key() {
    for count in [1, 2, 3, 5, 9, 17] {
        let mut world = World::random_ring(7, small_config(), count);
        every_lookup_is_right(&mut world, 40);
    }
}

#[test]
fn ranges_cover_the_ring_once() {
    for count in [1, 2, 3, 5, 12] {
        let world = World::random_ring(3, small_config(), count);
        let ranges = world.ranges();
        for key in 0..97 {
            let key = point(key, 97);
            let owners: Vec<_> =
                ranges.iter().filter(|(_, range)| range.expect("known").contains(key)).map(|(id, _)| *id).collect();
            assert_eq!(owners, [world.owner(key)]);
        }
    }
}

#[test]
fn who_leaves_is_spliced_out_and_reported_once() {
    let mut world = World::random_ring(11, small_config(), 8);
    let live = world.live();
    let (leaver, successor) = (live[3], live[4]);
    world.input(leaver, Input::Leave);
    world.nodes.get_mut(&leaver).expect("it exists").alive = false;
    world.run_for(Duration::from_millis(200));
    let view = world.nodes[&successor].machine.view();
    assert_eq!(view.predecessors.first().map(|peer| peer.id), Some(live[2]), "within two one-way trips");
    world.settle(LONG);
    world.run_for(Duration::from_secs(20));
    for id in world.live() {
        let left = Change::Left(leaver);
        let changes = world.nodes[&id].changes();
        let joined = changes.iter().filter(|change| ***change == Change::Joined(leaver)).count();
        let left = changes.iter().filter(|change| ***change == left).count();
        assert_eq!(joined, left);
    }
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| {
        let mut world = World::new(seed, small_config());
        world.trace = Some(Vec::new());
        let peers: Vec<Peer> = (0..7).map(|at| world.add(point(at, 7))).collect();
        world.join(peers[0], &[]);
        for peer in &peers[1..] {
            world.join(*peer, &peers[..1]);
        }
        world.run_for(Duration::from_secs(20));
        world.crash(peers[3].id, None);
        world.run_for(Duration::from_secs(20));
        world.trace.expect("on")
    };
    let once = run(5);
    assert!(once.len() > 100);
    assert_eq!(once, run(5));
    assert_ne!(once, run(6));
}
