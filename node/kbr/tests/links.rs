//! Links, and what lookups do with them: early ends, answers that come back the way they went, other ways to ask.

mod world;

use std::time::Duration;

use prost_kbr::{Config, Failure, Id, Input, Key, MessageId, NodeId, Outcome};
use world::{World, point, small_config};

/// Rings in which messages take several hops. All nodes have joined through the one at zero, and are connected to it.
fn without_fingers() -> Config {
    Config { connections: 8, ..small_config() }
}

fn clock(seed: u64, config: Config) -> World {
    let points: Vec<Id> = (0..24).map(|hour| point(hour, 24)).collect();
    World::ring(seed, config, &points)
}

fn ask(world: &mut World, from: NodeId, input: impl Fn(MessageId) -> Input) -> Outcome {
    let id = world.random();
    world.input(from, input(id));
    world.outcome(from, id)
}

fn relayed(world: &World) -> u64 {
    world.nodes.values().map(|node| node.machine.stats().relayed).sum()
}

#[test]
fn an_answer_comes_back_the_way_its_message_went() {
    let mut world = clock(1, without_fingers());
    let before = (relayed(&world), world.connections());
    let outcome = ask(&mut world, point(7, 24), |id| Input::Lookup { id, key: point(17, 24), replicas: 0 });
    assert_eq!(outcome.result.map(|owner| owner.id), Ok(point(17, 24)));
    assert!(outcome.hops >= 3, "{} hops", outcome.hops);
    assert_eq!(relayed(&world) - before.0, u64::from(outcome.hops) - 1, "each node on the way passed it on once");
    assert_eq!(world.connections(), before.1, "no connection was made for it");
}

#[test]
fn a_message_takes_the_shorter_way_round() {
    let mut world = clock(2, without_fingers());
    for hour in [3, 21] {
        let outcome = ask(&mut world, point(0, 24), |id| Input::Lookup { id, key: point(hour, 24), replicas: 0 });
        assert_eq!((outcome.result.map(|owner| owner.id), outcome.hops), (Ok(point(hour, 24)), 1));
    }
}

#[test]
fn a_lookup_for_replicas_ends_where_enough_of_them_are_known() {
    let mut world = clock(3, without_fingers());
    let (mut all, mut fewer) = (0, 0);
    for hour in 0..24 {
        let (from, key) = (point(hour, 24), point((hour + 12) % 24, 24));
        let whole = ask(&mut world, from, |id| Input::Lookup { id, key, replicas: 0 });
        let early = ask(&mut world, from, |id| Input::Lookup { id, key, replicas: 2 });
        assert_eq!(early.result.map(|owner| owner.id), Ok(key));
        let replicas: Vec<NodeId> = early.replicas.iter().map(|peer| peer.id).collect();
        let in_order = (12..).map(|rank| point((hour + rank) % 24, 24));
        assert!(replicas.len() >= 2 && replicas.iter().copied().eq(in_order.take(replicas.len())), "{replicas:?}");
        assert_eq!(whole.replicas, [], "nobody asked for them");
        all += u32::from(whole.hops);
        fewer += u32::from(early.hops);
    }
    assert!(fewer < all, "{fewer} hops in place of {all}");
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_node_by_node() {
    let mut world = clock(4, without_fingers());
    let (from, key) = (point(7, 24), point(17, 24));
    let whole = ask(&mut world, from, |id| Input::Lookup { id, key, replicas: 0 });
    let first = whole.path.expect("a lookup tells its way")[1].node;
    let id = world.random();
    world.input(from, Input::Lookup { id, key, replicas: 0 });
    // The first node on the way passes the question on and takes the answer with it.
    let arrives = world.latency(from, first) + Duration::from_millis(4);
    world.run_for(arrives);
    world.crash(first, None);
    let outcome = world.outcome(from, id);
    assert_eq!(outcome.result.map(|owner| owner.id), Ok(key));
    assert_eq!(world.nodes[&from].machine.stats().iterative, 1);
}

#[test]
fn paths_that_share_no_node_find_what_one_of_them_finds() {
    let mut world = clock(5, without_fingers());
    let from = point(0, 24);
    // All nodes on one side but one have fallen silent, and nobody has noticed yet.
    for hour in 18..24 {
        for other in 0..24 {
            world.cut.insert((point(hour, 24), point(other, 24)));
        }
    }
    let outcome = ask(&mut world, from, |id| Input::LookupRedundant { id, key: point(10, 24), paths: 3 });
    assert_eq!(outcome.result.map(|owner| owner.id), Ok(point(10, 24)));
    let own = ask(&mut world, from, |id| Input::LookupRedundant { id, key: from, paths: 2 });
    assert_eq!(own.result.map(|owner| owner.id), Ok(from));
}

#[test]
fn paths_that_are_under_way_at_half_of_the_time_go_on() {
    for deadline in (300..1_500).step_by(60).map(Duration::from_millis) {
        let mut world = clock(6, Config { deadline, ..without_fingers() });
        let outcome = ask(&mut world, point(0, 24), |id| Input::LookupRedundant { id, key: point(10, 24), paths: 3 });
        let expected = [Ok(point(10, 24)), Err(Failure::Deadline)];
        assert!(expected.contains(&outcome.result.map(|owner| owner.id)), "{deadline:?}");
    }
}

#[test]
fn links_stay_within_the_cap_and_are_the_same_later() {
    let config = Config { connections: 16, ..small_config() };
    let mut world = World::random_ring(6, config, 48);
    world.run_for(Duration::from_secs(120));
    let fingers = |world: &World| -> Vec<Vec<NodeId>> {
        let of = |id: &NodeId| world.nodes[id].machine.view().fingers.iter().map(|peer| peer.id).collect();
        world.live().iter().map(of).collect()
    };
    for id in world.live() {
        let view = world.nodes[&id].machine.view();
        // Two on each side.
        let links = 4 + view.fingers.len() + view.backpointers.len();
        assert!(links <= 16, "{id:?} has {links} links");
        assert!(!view.fingers.is_empty(), "{id:?} has no finger");
    }
    world.run_for(Duration::from_secs(1800));
    let (settled, released) = (fingers(&world), world.nodes.values().map(|node| node.released).sum::<usize>());
    assert!(released > 0, "candidates for fingers were measured");
    world.run_for(Duration::from_secs(1800));
    let later = fingers(&world);
    let changed = settled.iter().zip(&later).filter(|(before, after)| before != after).count();
    assert!(changed <= 4, "{changed} of 48 nodes have changed their fingers in a ring at rest");
}

#[test]
fn lookups_are_right_wherever_they_start() {
    let mut world = World::random_ring(7, small_config(), 40);
    for key in (0..60u32).map(|number| Key::hash(&number.to_be_bytes())) {
        let live = world.live();
        let from = live[world.below(40) as usize];
        let outcome = ask(&mut world, from, |id| Input::Lookup { id, key, replicas: 0 });
        assert_eq!(outcome.result.map(|owner| owner.id), Ok(world.owner(key)));
    }
}
