//! Small worlds.

#![allow(dead_code, reason = "each test binary uses another part of it")]

use std::sync::Arc;
use std::time::Duration;

use prost_kbr::{NodeId, Time};
use prost_sim::{Act, Index, Latency, Network, World, WorldConfig};

/// The same round-trip time between all.
#[derive(Debug)]
pub(crate) struct Flat(pub(crate) Duration);

impl Latency for Flat {
    fn round_trip(&self, _: u32, _: u32) -> Duration {
        self.0
    }
}

/// A world of nodes that are 40 ms from each other.
pub(crate) fn config(seed: u64) -> WorldConfig {
    WorldConfig {
        seed,
        routing: prost_kbr::Config::default(),
        latency: Arc::new(Flat(Duration::from_millis(40))),
        network: Network::default(),
        remember: 0,
    }
}

/// A network on which times differ and some frames come twice.
pub(crate) fn uneven() -> Network {
    Network { jitter: 0.2, duplicate: 0.01, extra_delay: Duration::from_millis(2), ..Network::default() }
}

/// Starts this many nodes, 200 ms apart.
pub(crate) fn grow(world: &mut World, count: u32) {
    for at in 0..count {
        let node = world.spawn();
        let known = if at == 0 { Vec::new() } else { vec![0] };
        world.act_at(world.now() + Duration::from_millis(200) * at, Act::Start { node, known });
    }
}

/// A ring of this many that has settled.
pub(crate) fn ring(seed: u64, count: u32) -> World {
    let mut world = World::new(config(seed));
    grow(&mut world, count);
    run(&mut world, Duration::from_millis(200) * count);
    assert!(settle(&mut world, Duration::from_secs(120)), "{:?}", ideal(&world));
    world
}

/// Lets time pass.
pub(crate) fn run(world: &mut World, time: Duration) {
    let until = world.now() + time;
    while world.step(until) {}
}

/// Lets time pass until the ring is ideal; says whether it became so.
pub(crate) fn settle(world: &mut World, within: Duration) -> bool {
    let end: Time = world.now() + within;
    while world.now() < end {
        run(world, Duration::from_secs(1));
        if ideal(world) == Ok(()) {
            return true;
        }
    }
    false
}

/// Whether all live nodes are members, and each knows its true neighbours.
pub(crate) fn ideal(world: &World) -> Result<(), String> {
    let members: Vec<(NodeId, Index)> = world.members().iter().map(|(id, node)| (*id, *node)).collect();
    let alive = (0..world.count()).filter(|node| world.is_alive(*node)).count();
    if members.len() != alive {
        return Err(format!("{} of {alive} live nodes are members", members.len()));
    }
    let length = prost_kbr::Config::default().successors.min(members.len() - 1);
    for (at, (id, node)) in members.iter().enumerate() {
        let view = world.node(*node).unwrap().view();
        let after: Vec<NodeId> = (1..=length).map(|step| members[(at + step) % members.len()].0).collect();
        let known: Vec<NodeId> = view.successors.iter().map(|peer| peer.id).collect();
        if known != after {
            return Err(format!("node {node} {id:?} knows {known:?} instead of {after:?}"));
        }
        let before = members[(at + members.len() - 1) % members.len()].0;
        if members.len() > 1 && view.predecessors.first().map(|peer| peer.id) != Some(before) {
            return Err(format!("node {node} {id:?} has another predecessor than {before:?}"));
        }
    }
    Ok(())
}
