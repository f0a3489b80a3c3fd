//! Rings under joins, crashes and partitions: Zave's invariant after every event, and an ideal ring in the end.

mod world;

use std::time::Duration;

use prost_kbr::{Config, Id, Interval, NodeId, Peer};
use world::{World, point, small_config};

const LONG: Duration = Duration::from_secs(300);

fn config(successors: usize) -> Config {
    Config { successors, predecessors: successors, fall_over: 2, ..Config::default() }
}

/// A live member's successor list.
fn successors(world: &World, id: NodeId) -> Vec<NodeId> {
    world.nodes[&id].machine.view().successors.iter().map(|peer| peer.id).collect()
}

/// Members that no member's list skips. `gone` is taken for dead.
fn principals(world: &World, gone: Option<NodeId>) -> usize {
    let members: Vec<NodeId> = world.members().into_iter().filter(|id| Some(*id) != gone).collect();
    let skipped = |node: NodeId, by: NodeId| {
        let mut before = by;
        successors(world, by).into_iter().any(|next| {
            let skips = node != before && node != next && Interval::open(before, next).contains(node);
            before = next;
            skips
        })
    };
    members.iter().filter(|node| !members.iter().any(|by| skipped(**node, *by))).count()
}

/// Whether every live member but `gone` knows a live member but `gone`.
fn has_live_successors(world: &World, gone: Option<NodeId>) -> Result<(), NodeId> {
    let members: Vec<NodeId> = world.members().into_iter().filter(|id| Some(*id) != gone).collect();
    let lives = |id: &NodeId| successors(world, *id).iter().any(|next| members.contains(next));
    members.iter().find(|id| !lives(id)).map_or(Ok(()), |id| Err(*id))
}

/// OneLiveSuccessor and SufficientPrincipals (Zave 2017).
fn check_invariant(world: &World) {
    if let Err(id) = has_live_successors(world, None) {
        panic!("{:?}: {id:?} has no live successor in {:?}", world.now, successors(world, id));
    }
    let count = principals(world, None);
    let lists = || world.members().into_iter().map(|id| format!("{id:?}: {:?}", successors(world, id)));
    assert!(
        count > world.config.successors,
        "{:?}: {count} principals in\n{}",
        world.now,
        lists().collect::<Vec<_>>().join("\n")
    );
}

fn may_crash(world: &World, id: NodeId) -> bool {
    has_live_successors(world, Some(id)).is_ok() && principals(world, Some(id)) > world.config.successors
}

#[test]
fn zaves_invariant_holds_after_every_event() {
    let mut crashes = 0;
    for seed in 0..15 {
        let length = 2 + seed as usize % 3;
        let mut world = World::random_ring(seed, config(length), length + 1 + seed as usize % 4);
        world.check = Some(check_invariant);
        for _ in 0..30 {
            let live = world.live();
            let chosen = live[world.below(live.len() as u64) as usize];
            match world.below(3) {
                0 if live.len() < 12 => {
                    let id = world.random_id();
                    let peer = world.add(id);
                    let known = world.nodes[&chosen].peer;
                    world.join(peer, &[known]);
                }
                1 if may_crash(&world, chosen) => {
                    let notice = [None, Some(Duration::from_millis(1))][world.below(2) as usize];
                    world.crash(chosen, notice);
                    crashes += 1;
                }
                _ => {}
            }
            let pause = world.below(1500);
            world.run_for(Duration::from_millis(pause));
        }
        // A node that was joining through one that crashed has no other way in.
        for id in world.live() {
            if !world.nodes[&id].machine.view().joined {
                world.crash(id, None);
            }
        }
        world.settle(LONG);
    }
    assert!(crashes > 25, "{crashes}");
}

/// Every member that is not alone knows a live member.
fn check_small(world: &World) {
    for id in world.members() {
        let list = successors(world, id);
        let lives = list.iter().any(|next| world.nodes[next].alive);
        assert!(list.is_empty() || lives, "{:?}: {id:?} has only {list:?}", world.now);
    }
}

#[test]
fn a_ring_grows_from_one_node_without_losing_anyone() {
    for seed in 0..30 {
        let mut world = World::new(seed, small_config());
        world.check = Some(check_small);
        let count = 2 + seed as usize % 6;
        let ids: Vec<Id> = (0..count).map(|_| world.random_id()).collect();
        let peers: Vec<Peer> = ids.into_iter().map(|id| world.add(id)).collect();
        world.join(peers[0], &[]);
        for at in 1..count {
            let through = peers[world.below(at as u64) as usize];
            world.join(peers[at], &[through, peers[0]]);
            let pause = world.below(300);
            world.run_for(Duration::from_millis(pause));
        }
        world.settle(LONG);
    }
}

#[test]
fn two_nodes_join_through_each_other_while_others_crash() {
    for seed in 0..10 {
        let mut world = World::random_ring(seed, small_config(), 9);
        let live = world.live();
        let (a, b) = (world.random_id(), world.random_id());
        let (a, b) = (world.add(a), world.add(b));
        let (dying, lasting) = (world.nodes[&live[0]].peer, world.nodes[&live[5]].peer);
        world.join(a, &[b, dying, lasting]);
        world.join(b, &[a, dying]);
        world.crash(live[0], None);
        world.run_for(Duration::from_millis(40));
        world.crash(live[3], Some(Duration::from_millis(2)));
        world.settle(LONG);
        assert_eq!(world.live().len(), 9);
    }
}

#[test]
fn a_node_that_finds_no_one_joins_once_someone_is_there() {
    let mut world = World::new(1, small_config());
    let (a, b) = (world.add(point(0, 2)), world.add(point(1, 2)));
    world.join(b, &[a]);
    world.run_for(Duration::from_secs(30));
    assert!(!world.nodes[&b.id].machine.view().joined);
    world.join(a, &[]);
    world.settle(Duration::from_secs(30));
}

#[test]
fn halves_of_a_partitioned_ring_find_each_other_again() {
    for seed in 0..6 {
        let mut world = World::random_ring(seed, small_config(), 10);
        let live = world.live();
        // Half of the seeds cut the circle into two arcs, the others cut every other node off.
        let side = |at: usize| if seed % 2 == 0 { at < 5 } else { at.is_multiple_of(2) };
        for one in 0..10 {
            for other in 0..10 {
                if side(one) != side(other) {
                    world.cut.insert((live[one], live[other]));
                }
            }
        }
        world.run_for(Duration::from_secs(90));
        for (at, id) in live.iter().enumerate() {
            let view = world.nodes[id].machine.view();
            let strangers = view.successors.iter().filter(|peer| {
                let other = live.iter().position(|id| *id == peer.id).expect("a node");
                side(other) != side(at)
            });
            assert_eq!(strangers.count(), 0, "each half is a ring of its own");
        }
        world.cut.clear();
        world.settle(Duration::from_secs(300));
    }
}

#[test]
fn a_node_that_lost_everyone_finds_the_ring_again() {
    for seed in 0..4 {
        let mut world = World::random_ring(seed, small_config(), 6);
        let live = world.live();
        for other in &live[1..] {
            world.cut.insert((live[0], *other));
            world.cut.insert((*other, live[0]));
        }
        world.run_for(Duration::from_secs(60));
        assert!(world.nodes[&live[0]].machine.view().successors.is_empty());
        world.cut.clear();
        world.settle(LONG);
    }
}

#[test]
fn a_pair_of_which_one_dies_goes_on_alone_and_takes_a_newcomer() {
    let mut world = World::ring(1, small_config(), &[point(0, 2), point(1, 2)]);
    world.crash(point(1, 2), None);
    world.settle(LONG);
    let id = world.lookup(point(0, 2), point(3, 4));
    assert_eq!(world.outcome(point(0, 2), id).result.map(|peer| peer.id), Ok(point(0, 2)));
    let newcomer = world.add(point(1, 4));
    let known = world.nodes[&point(0, 2)].peer;
    world.join(newcomer, &[known]);
    world.settle(LONG);
}

#[test]
fn fingers_make_the_way_logarithmic() {
    let mut world = World::random_ring(5, small_config(), 64);
    world.run_for(Duration::from_secs(60));
    let live = world.live();
    let mut hops = 0;
    for _ in 0..300 {
        let from = live[world.below(64) as usize];
        let key = world.random_id();
        let id = world.lookup(from, key);
        let outcome = world.outcome(from, id);
        assert_eq!(outcome.result.map(|peer| peer.id), Ok(world.owner(key)));
        hops += u32::from(outcome.hops);
    }
    let mean = f64::from(hops) / 300.0;
    // Stoica et al., SIGCOMM 2001: half of log2 N.
    assert!(mean <= 0.5 * 6.0 + 0.5, "{mean} hops at the mean");
    for id in &live {
        let view = world.nodes[id].machine.view();
        assert!((6..=24).contains(&view.fingers.len()), "{id:?} has the fingers {:?}", view.fingers);
        assert!(view.backpointers.len() <= 24, "no more than the cap on connections leaves room for");
        assert!(view.fingers.iter().all(|finger| !view.successors.contains(finger)));
        let kept = &world.nodes[id].kept;
        assert!(view.successors.iter().chain(&view.fingers).all(|peer| kept.contains(peer)));
    }
}
