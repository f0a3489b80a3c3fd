//! What the tree costs and does, at the paper's questions: `cargo test --release -p scribe --test figures -- --ignored
//! --nocapture`.

#![allow(missing_docs, reason = "figures")]

mod support;

use core::time::Duration;

use prost_peerlet_ring::{Index, Latency, Setup};
use support::{CHILDREN, HEARTBEAT, World};

fn world(nodes: u32, seed: u64) -> World {
    World::new(Setup { nodes, seed, latency: Latency::PlanetLab, replicas: 5, ..Setup::new("scribe") })
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count().max(1) as f64
}

/// The relative average and maximum delay: against sending straight from the root (RAD and RMD of the paper).
fn delays(world: &mut World) -> (f64, f64) {
    let root = world.root();
    world.run(Duration::from_secs(25));
    let (mut means, mut most) = (Vec::new(), Vec::new());
    for number in 0..5u8 {
        let data = [format!("{} members, ", world.readers().len()).as_bytes(), &[number]].concat();
        let start = world.ring.now();
        world.publish(root, &data);
        world.run(Duration::from_secs(4));
        let heard = world.heard(&data);
        assert!(heard.values().all(|times| times.len() == 1), "each member hears it once");
        let others: Vec<(Index, Duration)> =
            heard.into_iter().filter(|(node, _)| *node != root).map(|(node, times)| (node, times[0] - start)).collect();
        let tree = || others.iter().map(|(_, time)| time.as_secs_f64());
        let direct = || others.iter().map(|(node, _)| world.ring.round_trip(root, *node).as_secs_f64() / 2.0);
        means.push(mean(tree()) / mean(direct()));
        most.push(tree().fold(0.0, f64::max) / direct().fold(0.0, f64::max));
    }
    (mean(means.into_iter()), mean(most.into_iter()))
}

fn shape(world: &World) -> String {
    let nodes: Vec<Index> = world.ring.members().into_iter().filter(|node| world.is_in(*node)).collect();
    let readers = world.readers();
    let children: Vec<usize> = nodes.iter().map(|node| world.children(*node).len()).collect();
    let interior: Vec<f64> = children.iter().filter(|count| **count > 0).map(|count| *count as f64).collect();
    let depth = || readers.iter().map(|node| world.depth(*node) as f64);
    format!(
        "{:>9} {:>9} {:>9.1} {:>9} {:>9.1} {:>9.0}",
        nodes.len() - readers.len(),
        world.children(world.root()).len(),
        mean(interior.iter().copied()),
        children.iter().max().copied().unwrap_or(0),
        mean(depth()),
        depth().fold(0.0, f64::max)
    )
}

#[test]
#[ignore = "figures"]
fn delay_and_shape() {
    println!(
        "{:>6} {:>8} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "nodes", "members", "RAD", "RMD", "on way", "of root", "children", "most", "depth", "deepest"
    );
    for (nodes, sizes) in [(490, &[10, 50, 490][..]), (1000, &[1000][..])] {
        let mut world = world(nodes, 1);
        let mut joined = 0;
        for size in sizes {
            // Members drawn without order: ids are random, and so is who comes first by them.
            let members = world.ring.members();
            let new: Vec<Index> = members.iter().copied().filter(|node| !world.readers().contains(node)).collect();
            let step = (new.len() / (size - joined)).max(1);
            let new: Vec<Index> = new.into_iter().step_by(step).take(size - joined).collect();
            joined = *size;
            for some in new.chunks(50) {
                world.join(some);
            }
            let (average, most) = delays(&mut world);
            println!("{nodes:>6} {size:>8} {average:>6.2} {most:>6.2} {}", shape(&world));
            world.assert_whole();
            assert!(average <= 2.0 && most <= 2.6, "RAD {average}, RMD {most}");
        }
    }
}

#[test]
#[ignore = "figures"]
fn a_tenth_dies_at_once() {
    for (nodes, seed) in [(490, 2), (1000, 3)] {
        let mut world = world(nodes, seed);
        for some in world.ring.members().chunks(50) {
            world.join(some);
        }
        world.run(Duration::from_secs(10));
        world.publish(world.root(), b"before");
        world.run(Duration::from_secs(5));
        let publisher = world.root();
        for _ in 0..nodes / 10 {
            let victim = loop {
                let node = world.ring.any();
                if node != publisher {
                    break node;
                }
            };
            world.ring.crash(victim);
        }
        let start = world.ring.now();
        let seconds = 2 * HEARTBEAT.as_secs();
        for second in 0..seconds {
            world.publish(publisher, &[b'k', second as u8]);
            world.run(Duration::from_secs(1));
        }
        world.run(2 * HEARTBEAT);
        println!("{nodes} nodes, all members, {} die at once; a message each second from then on:", nodes / 10);
        for second in [0, 1, 2, 5, 10, 15, 19] {
            let heard = world.heard(&[b'k', second as u8]);
            let within = heard.values().filter(|times| {
                times.first().is_some_and(|at| *at <= start + Duration::from_secs(second) + 2 * HEARTBEAT)
            });
            let (share, twice) =
                (within.count() as f64 / heard.len() as f64, heard.values().filter(|times| times.len() > 1).count());
            let mut late: Vec<f64> = heard
                .values()
                .filter_map(|times| times.first())
                .map(|at| (*at - start).as_secs_f64() - second as f64)
                .collect();
            late.sort_by(f64::total_cmp);
            let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
            println!(
                "  after {second:>2} s: {:.2} % within two heartbeats, {twice} twice; delay median {:.2} s, 99 % {:.2} s, most {:.2} s",
                100.0 * share,
                at(0.5),
                at(0.99),
                at(1.0)
            );
            assert!(share >= 0.99 && twice == 0);
        }
        world.run(Duration::from_secs(60));
        world.assert_whole();
        assert!(world.ring.members().into_iter().all(|node| world.children(node).len() <= CHILDREN));
    }
}

#[test]
#[ignore = "figures"]
fn what_keeping_a_tree_costs() {
    let mut world = world(490, 4);
    for some in world.ring.members().chunks(50) {
        world.join(some);
    }
    let nodes = world.ring.members();
    let messages = |world: &World| nodes.iter().map(|node| world.ring.usage(*node).1).sum::<u64>();
    world.run(Duration::from_secs(30));
    let before = messages(&world);
    world.run(Duration::from_secs(100));
    let each = (messages(&world) - before) as f64 / nodes.len() as f64 / 100.0;
    println!("490 nodes, one group of all: {each:.3} messages a second at each node to keep the tree");
}
