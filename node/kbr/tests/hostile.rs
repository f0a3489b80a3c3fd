//! Whatever peers say, a machine keeps its invariants, answers within bounds, and goes on.

mod world;

use std::time::Duration;

use bytes::Bytes;
use prost_kbr::{
    Dispatch, Envelope, Failure, Hop, Id, Input, Listed, Message, NodeId, Outcome, Part, Peer, Purpose, Refusal, Routed,
};
use world::{World, small_config};

/// Anything at all, from a few ids and addresses so that it has something to do with this ring.
fn any_message(world: &mut World, ids: &[NodeId]) -> Message {
    let number = world.below(4);
    let joined = number != 0;
    match world.below(23) {
        0 => Message::Ping { nonce: number },
        1 => Message::Pong { nonce: number },
        2 => {
            let part = [Part::Successors, Part::Predecessors, Part::Both][world.below(3) as usize];
            Message::GetNeighbours { request: number, part, known: number }
        }
        11 => Message::Unchanged { request: number },
        21 => {
            let mut listed = || any_peers(world, ids).into_iter().map(Listed::New).chain([Listed::Same(number as u8)]);
            let (predecessors, successors) = (listed().collect(), listed().collect());
            Message::Changes { request: number, digest: number, predecessors, successors }
        }
        12 => Message::Link,
        17 => Message::Arrived,
        20 => Message::Candidate { peer: any_peer(world, ids), hops: number as u8 },
        18 => Message::GetNext { request: number, key: any_id(world, ids) },
        19 => Message::Next { request: number, mine: joined, next: any_peers(world, ids) },
        13 => Message::Linked { accepted: joined },
        14 => Message::Unlink,
        15 => Message::GetLinks { request: number },
        16 => Message::Links { request: number, links: any_peers(world, ids) },
        3 => {
            let (predecessors, successors) = (any_peers(world, ids), any_peers(world, ids));
            Message::Neighbours { request: number, joined, predecessors, successors }
        }
        4 => Message::FindPredecessor { request: number, key: any_id(world, ids) },
        5 => Message::Predecessor { request: number, peer: any_peer(world, ids) },
        6 => Message::Notify,
        7 => Message::Leave { predecessors: any_peers(world, ids), successors: any_peers(world, ids) },
        8 | 9 => Message::Route { seq: number, routed: any_routed(world, ids) },
        10 => Message::Acknowledge { runs: vec![(world.random(), u32::MAX), (0, u32::MAX), (u64::MAX, 7)] },
        _ => {
            let path = joined.then(|| vec![Hop { node: ids[0], rtt_us: 1 }; 64]);
            let result = if joined { Ok(any_peer(world, ids)) } else { Err(Failure::Deadline) };
            let (via, origin) = (any_peers(world, ids).into_iter().map(|peer| peer.id).collect(), any_peer(world, ids));
            let (purpose, replicas) = (Purpose::Lookup, any_peers(world, ids));
            let outcome = Outcome { id: number, purpose, result, replicas, hops: 255, path };
            Message::Outcome { via, origin, outcome }
        }
    }
}

fn any_id(world: &mut World, ids: &[NodeId]) -> Id {
    match world.below(4) {
        0 => world.random_id(),
        _ => ids[world.below(ids.len() as u64) as usize],
    }
}

fn any_peer(world: &mut World, ids: &[NodeId]) -> Peer {
    let id = any_id(world, ids);
    let addr = ([10, 0, 0, world.below(20) as u8], 4000).into();
    Peer { id, addr }
}

fn any_peers(world: &mut World, ids: &[NodeId]) -> Vec<Peer> {
    (0..world.below(64)).map(|_| any_peer(world, ids)).collect()
}

fn any_routed(world: &mut World, ids: &[NodeId]) -> Routed {
    let key = (world.below(4) > 0).then(|| any_id(world, ids));
    let purposes = [
        Purpose::App(Dispatch::PerHop),
        Purpose::App(Dispatch::EndNode),
        Purpose::Lookup,
        Purpose::Replicas(3),
        Purpose::Finger(4),
    ];
    let refused = if world.below(4) == 0 { vec![(any_id(world, ids), Refusal::Denied); 64] } else { Vec::new() };
    let path = (world.below(2) == 0).then(|| vec![Hop { node: ids[0], rtt_us: 0 }; 64]);
    let envelope = Envelope {
        id: world.below(100),
        origin: any_peer(world, ids),
        key,
        purpose: purposes[world.below(5) as usize],
        hops: world.random() as u8,
        remaining_ms: world.random() as u32,
        refused,
        via: vec![ids[1]; world.below(65) as usize],
        path,
    };
    Routed { envelope, header: Bytes::from_static(b"not a header"), payload: Bytes::new() }
}

#[test]
fn nothing_that_peers_say_breaks_a_machine() {
    for seed in 0..8 {
        let mut world = World::random_ring(seed, small_config(), 6);
        let ids = world.live();
        let victim = ids[0];
        for _ in 0..4000 {
            let from = ids[world.below(6) as usize];
            let message = any_message(&mut world, &ids);
            world.input(victim, Input::Received { from, message });
            if world.below(50) == 0 {
                world.run_for(Duration::from_millis(100));
            }
        }
        let stats = world.nodes[&victim].machine.stats();
        assert!(stats.dropped > 100 && stats.delivered > 10 && stats.hop_limit > 10, "{stats:?}");
        // Once the lies stop, the ring heals.
        world.settle(Duration::from_secs(600));
    }
}

#[test]
fn frames_from_strangers_are_counted_and_dropped() {
    let mut world = World::random_ring(1, small_config(), 3);
    let victim = world.live()[0];
    let before = world.nodes[&victim].machine.stats().dropped;
    world.input(victim, Input::Received { from: Id::hash(b"stranger"), message: Message::Notify });
    world.input(victim, Input::Received { from: victim, message: Message::Notify });
    assert_eq!(world.nodes[&victim].machine.stats().dropped, before + 2);
}

#[test]
fn answers_that_were_not_asked_for_change_nothing() {
    let mut world = World::random_ring(2, small_config(), 6);
    world.run_for(Duration::from_secs(10));
    let ids = world.live();
    let before = world.nodes[&ids[0]].machine.view();
    let liar = Peer { id: Id::hash(b"liar"), addr: ([10, 9, 9, 9], 1).into() };
    let message = Message::Neighbours { request: 1, joined: true, predecessors: vec![liar], successors: vec![liar] };
    world.input(ids[0], Input::Received { from: ids[1], message });
    let after = world.nodes[&ids[0]].machine.view();
    assert_eq!((&before.successors, &before.predecessors), (&after.successors, &after.predecessors));
}

#[test]
fn a_node_cannot_say_that_another_has_handled_a_message() {
    let mut world = World::random_ring(3, small_config(), 6);
    let ids = world.live();
    for id in &ids {
        world.cut.insert((ids[3], *id));
    }
    let id = world.route(ids[0], ids[3], Dispatch::EndNode);
    let handler = world.nodes[&ids[3]].peer;
    let outcome = Outcome { result: Ok(handler), ..Outcome::failed(id, Purpose::Lookup, Failure::Deadline) };
    let message = Message::Outcome { via: Vec::new(), origin: world.nodes[&ids[0]].peer, outcome };
    world.input(ids[0], Input::Received { from: ids[1], message });
    assert_eq!(world.outcomes(ids[0], id), []);
}
