//! The network between two founders of rings of their own, who by themselves say nothing to each other.

mod addresses;

use core::time::Duration;
use std::sync::Arc;

use prost_kbr::{Message, Peer, Time};

use super::{Act, Index, World, WorldConfig};
use crate::{Latency, Network, cost};

const RTT_MS: u64 = 40;

#[derive(Debug)]
struct Flat;

impl Latency for Flat {
    fn round_trip(&self, _: u32, _: u32) -> Duration {
        ms(RTT_MS)
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn founders(count: u32) -> World {
    founders_of(9, count)
}

fn founders_of(seed: u64, count: u32) -> World {
    // So that the founders, who have met, do not look for each other's ring by themselves.
    let routing = prost_kbr::Config { keep_alive: Duration::from_secs(3600), ..prost_kbr::Config::default() };
    let network = Network::default();
    let mut world = World::new(WorldConfig { seed, routing, latency: Arc::new(Flat), network, remember: 10_000 });
    for _ in 0..count {
        let node = world.spawn();
        world.act(Act::Start { node, known: Vec::new() });
    }
    run(&mut world, ms(10));
    world
}

fn run(world: &mut World, time: Duration) {
    let until = world.now() + time;
    while world.step(until) {}
}

fn ping(world: &mut World, from: Index, to: Index, nonce: u64) {
    let to = world.peer(to);
    world.send(from, to, Message::Ping { nonce });
}

/// Two founders with a connection on which nothing is under way.
fn connected() -> World {
    let mut world = founders(2);
    ping(&mut world, 0, 1, 0);
    run(&mut world, ms(1_000));
    assert!(world.connected(0, 1) && world.connected(1, 0));
    world
}

/// When a node was told such things, in milliseconds from `since`, and how.
fn told(world: &World, node: Index, since: Time, what: &str) -> Vec<(u64, String)> {
    let lines = world.recent(node).into_iter().filter(|line| line.contains(what));
    let times = lines.map(|line| {
        let (time, rest) = line.split_once(' ').unwrap();
        let micros: u64 = time.replace('.', "").parse().unwrap();
        (micros, rest.to_owned())
    });
    let since = since.as_micros();
    times.filter(|(at, _)| *at >= since).map(|(at, rest)| ((at - since) / 1_000, rest)).collect()
}

fn times(world: &World, node: Index, since: Time, what: &str) -> Vec<u64> {
    told(world, node, since, what).into_iter().map(|(at, _)| at).collect()
}

/// The nonces of the pings that a node has received, in order.
fn nonces(world: &World, node: Index) -> Vec<u64> {
    let lines = told(world, node, Time::ZERO, "Ping { nonce: ").into_iter();
    lines.map(|(_, line)| line.split("nonce: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
}

fn set(world: &mut World, network: Network) {
    world.act(Act::Network(Box::new(network)));
}

#[test]
fn a_dial_takes_two_round_trips_and_then_what_has_waited_goes_out() {
    let mut world = founders(2);
    let start = world.now();
    ping(&mut world, 0, 1, 7);
    run(&mut world, ms(300));
    assert_eq!(times(&world, 1, start, "Connected"), [60]);
    assert_eq!(times(&world, 0, start, "Connected"), [80]);
    assert_eq!(times(&world, 0, start, "RoundTrip"), [80]);
    assert_eq!(times(&world, 1, start, "Ping { nonce: 7 }"), [100]);
    assert_eq!(times(&world, 0, start, "Pong { nonce: 7 }"), [120]);
    assert!(world.has_met(0, 1) && world.connections(0) == 1 && world.connections(1) == 1);
}

#[test]
fn of_two_that_dial_each_other_the_dial_of_the_smaller_id_stays() {
    for early in [0, 1] {
        let mut world = founders(2);
        let start = world.now();
        ping(&mut world, early, 1 - early, 1);
        run(&mut world, ms(5));
        ping(&mut world, 1 - early, early, 2);
        run(&mut world, ms(3_000));
        let smaller = Index::from(world.peer(1).id < world.peer(0).id);
        let begun = if smaller == early { 0 } else { 5 };
        assert_eq!(times(&world, smaller, start, "Connected"), [begun + 80]);
        assert_eq!(times(&world, 1 - smaller, start, "Connected"), [begun + 60]);
        assert!((0..2).all(|node| world.connections(node) == 1 && nonces(&world, node).len() == 1));
    }
}

#[test]
fn a_frame_to_a_dead_node_is_lost_and_its_connection_ends_after_a_minute() {
    let mut world = connected();
    world.act(Act::Crash { node: 1 });
    let start = world.now();
    ping(&mut world, 0, 1, 8);
    run(&mut world, ms(59_999));
    assert!(world.connected(0, 1) && times(&world, 0, start, "Disconnected").is_empty());
    run(&mut world, ms(2));
    assert!(!world.connected(0, 1));
    assert_eq!(times(&world, 0, start, "Disconnected"), [60_000]);
}

#[test]
fn a_released_connection_ends_unless_someone_speaks_on_it_or_it_is_kept() {
    let mut world = connected();
    let (other, start) = (world.peer(1), world.now());
    world.release(0, other.id);
    run(&mut world, ms(5_100));
    assert_eq!(times(&world, 0, start, "Disconnected"), [5_000]);
    assert_eq!(times(&world, 1, start, "Disconnected"), [5_020]);
    let takes_back: [fn(&mut World, Peer); 3] = [
        |world, _| ping(world, 0, 1, 1),
        |world, _| world.send(1, world.peer(0), Message::Notify),
        |world, other| world.keep(0, &[other]),
    ];
    for act in takes_back {
        let mut world = connected();
        world.release(0, other.id);
        run(&mut world, ms(4_000));
        act(&mut world, other);
        run(&mut world, ms(10_000));
        assert!(world.connected(0, 1) && world.connected(1, 0));
    }
}

#[test]
fn an_idle_connection_ends_on_both_sides() {
    let mut world = connected();
    let start = world.now();
    run(&mut world, ms(61_000));
    assert_eq!(times(&world, 0, start, "Disconnected").len(), 1);
    assert_eq!(times(&world, 1, start, "Disconnected").len(), 1);
    assert_eq!((world.connections(0), world.connections(1)), (0, 0));
}

#[test]
fn a_connection_in_use_stays_and_acknowledgements_alone_keep_it() {
    let mut world = connected();
    for _ in 0..10 {
        // A founder answers no notification: what comes back is QUIC's acknowledgement.
        let to = world.peer(1);
        world.send(0, to, outcome(to));
        run(&mut world, ms(20_000));
    }
    assert!(world.connected(0, 1) && world.connected(1, 0));
}

fn outcome(origin: prost_kbr::Peer) -> Message {
    let outcome = prost_kbr::Outcome::failed(1, prost_kbr::Purpose::Lookup, prost_kbr::Failure::Deadline);
    Message::Outcome { via: Vec::new(), origin, outcome }
}

#[test]
fn a_dial_to_a_dead_node_fails_after_five_seconds_and_the_next_rests_for_one() {
    let mut world = founders(2);
    world.act(Act::Crash { node: 1 });
    let start = world.now();
    ping(&mut world, 0, 1, 1);
    run(&mut world, ms(5_001));
    assert_eq!(times(&world, 0, start, "Disconnected"), [5_000]);
    ping(&mut world, 0, 1, 2);
    run(&mut world, ms(10_000));
    assert_eq!(times(&world, 0, start, "Disconnected"), [5_000, 11_000]);
}

#[test]
fn a_dial_across_a_cut_in_either_direction_fails() {
    for cut in [(0, 1), (1, 0)] {
        let mut world = founders(2);
        set(&mut world, Network { cut: [cut].into(), ..Network::default() });
        let start = world.now();
        ping(&mut world, 0, 1, 1);
        run(&mut world, ms(6_000));
        assert_eq!(times(&world, 0, start, "Disconnected"), [5_000], "{cut:?}");
        assert_eq!((world.connections(0), world.connections(1)), (0, 0));
    }
}

#[test]
fn no_more_than_sixty_four_handshakes_are_under_way_at_once() {
    let mut world = founders(70);
    (1..70).for_each(|node| world.act(Act::Crash { node }));
    let start = world.now();
    (1..70).for_each(|node| ping(&mut world, 0, node, 1));
    run(&mut world, ms(11_000));
    let ends = times(&world, 0, start, "Disconnected");
    assert_eq!((ends.len(), ends[63], ends[64]), (69, 5_000, 10_000));
}

#[test]
fn a_dial_to_an_address_finds_who_is_there_or_fails() {
    let mut world = founders(2);
    let (start, there) = (world.now(), world.peer(1).addr);
    world.dial_addr(0, there);
    world.dial_addr(0, "10.0.0.9:4000".parse().unwrap());
    run(&mut world, ms(6_000));
    assert_eq!(times(&world, 0, start, "Connected"), [80]);
    assert_eq!(times(&world, 0, start, "DialFailed"), [5_000]);
    world.dial_addr(0, there);
    run(&mut world, ms(1));
    assert_eq!(times(&world, 0, start, "Connected"), [80, 6_000]);
}

#[test]
fn a_node_that_started_again_ends_the_old_connection_at_the_first_frame() {
    let mut world = connected();
    world.act(Act::Crash { node: 1 });
    world.act(Act::Restart { node: 1, known: Vec::new() });
    run(&mut world, ms(100));
    assert!(world.connected(0, 1) && !world.has_met(1, 0) && world.has_met(0, 1));
    let start = world.now();
    ping(&mut world, 0, 1, 3);
    run(&mut world, ms(100));
    assert_eq!(times(&world, 0, start, "Disconnected"), [RTT_MS]);
    assert!(!nonces(&world, 1).contains(&3));
}

#[test]
fn a_process_that_ends_in_order_closes_its_connections() {
    let mut world = connected();
    let start = world.now();
    world.act(Act::Leave { node: 1 });
    run(&mut world, ms(100));
    assert_eq!(times(&world, 0, start, "Disconnected"), [RTT_MS / 2]);
    assert!(!world.is_alive(1));
}

#[test]
fn a_broken_connection_is_known_at_once_on_both_sides() {
    let mut world = connected();
    let start = world.now();
    world.act(Act::Break { a: 0, b: 1 });
    run(&mut world, ms(1));
    assert_eq!(times(&world, 0, start, "Disconnected"), [0]);
    assert_eq!(times(&world, 1, start, "Disconnected"), [0]);
}

#[test]
fn a_cut_loses_frames_without_notice_and_nothing_after_it() {
    let mut world = connected();
    set(&mut world, Network { sides: vec![0, 1], ..Network::default() });
    ping(&mut world, 0, 1, 1);
    run(&mut world, ms(1_000));
    set(&mut world, Network::default());
    ping(&mut world, 0, 1, 2);
    run(&mut world, ms(1_000));
    assert_eq!(nonces(&world, 1), [0, 2]);
    assert!(world.connected(0, 1));
}

#[test]
fn losses_delay_frames_and_keep_their_order() {
    let mut world = connected();
    set(&mut world, Network { loss: 0.2, jitter: 0.5, extra_delay: ms(10), ..Network::default() });
    let start = world.now();
    let count = 500;
    for nonce in 1..=count {
        ping(&mut world, 0, 1, nonce);
        run(&mut world, ms(1));
    }
    run(&mut world, ms(20_000));
    assert_eq!(nonces(&world, 1), (0..=count).collect::<Vec<_>>());
    let arrivals = times(&world, 1, start, "Ping");
    let late = arrivals.iter().zip(0..).filter(|(at, sent)| **at > sent + 60 + RTT_MS / 2).count();
    assert!(late > 100, "{late} of {count} were held up");
}

#[test]
fn streams_do_not_wait_for_each_other() {
    let mut world = connected();
    let to = world.peer(1);
    set(&mut world, Network { extra_delay: ms(5_000), ..Network::default() });
    ping(&mut world, 0, 1, 1);
    set(&mut world, Network::default());
    world.send(0, to, outcome(to));
    ping(&mut world, 0, 1, 2);
    let start = world.now();
    run(&mut world, ms(60_000));
    let pings = times(&world, 1, start, "Ping");
    assert_eq!(times(&world, 1, start, "Outcome"), [RTT_MS / 2]);
    assert!(pings.len() == 2 && pings[0] > 100 && pings[1] == pings[0], "{pings:?}");
}

#[test]
fn what_does_not_fit_into_the_uplink_waits_its_turn() {
    let mut world = connected();
    set(&mut world, Network { bandwidth: Some(10_000), ..Network::default() });
    let (to, start) = (world.peer(1), world.now());
    for _ in 0..4 {
        world.send(0, to, Message::Upper(vec![0; 940].into()));
    }
    run(&mut world, ms(2_000));
    // 940 bytes with 5 of framing and 55 of headers take 100 ms.
    assert_eq!(times(&world, 1, start, "Upper"), [120, 220, 320, 420]);
}

#[test]
fn an_uplink_holds_only_so_much() {
    let mut world = connected();
    set(&mut world, Network { bandwidth: Some(1_000_000), ..Network::default() });
    let (to, start) = (world.peer(1), world.now());
    for _ in 0..100 {
        world.send(0, to, Message::Upper(vec![0; 100_000].into()));
    }
    run(&mut world, ms(20_000));
    let arrived = times(&world, 1, start, "Upper").len();
    assert!((41..=43).contains(&arrived), "{arrived}");
}

#[test]
fn what_an_uplink_holds_back_goes_with_its_bound() {
    let mut world = connected();
    set(&mut world, Network { bandwidth: Some(1_000), ..Network::default() });
    let (to, start) = (world.peer(1), world.now());
    for _ in 0..40 {
        world.send(0, to, Message::Upper(vec![0; 940].into()));
    }
    run(&mut world, ms(3_500));
    set(&mut world, Network::default());
    run(&mut world, ms(500));
    ping(&mut world, 0, 1, 9);
    run(&mut world, ms(60_000));
    assert_eq!(times(&world, 1, start, "Upper"), [1_020, 2_020, 3_020], "the rest would have taken 37 seconds");
    assert_eq!(times(&world, 0, start, "Disconnected")[0], 3_500);
    assert_eq!(nonces(&world, 1), [0, 9]);
    let pinged = times(&world, 1, start, "Ping { nonce: 9 }")[0];
    assert!(pinged < 5_000, "{pinged}");
}

#[test]
fn a_duplicate_arrives_once_more_within_a_second() {
    let mut world = connected();
    set(&mut world, Network { duplicate: 1.0, ..Network::default() });
    ping(&mut world, 0, 1, 5);
    run(&mut world, ms(1_021));
    assert_eq!(nonces(&world, 1), [0, 5, 5]);
}

#[test]
fn a_clogged_connection_stands_still_both_ways_and_goes_on() {
    let mut world = connected();
    let start = world.now();
    set(&mut world, Network { clog: (1.0, ms(3_000)), ..Network::default() });
    ping(&mut world, 0, 1, 5);
    // From now on it does not clog by itself.
    set(&mut world, Network { clog: (f64::MIN_POSITIVE, ms(3_000)), ..Network::default() });
    ping(&mut world, 1, 0, 6);
    run(&mut world, ms(60_000));
    let (there, back) = (times(&world, 1, start, "Ping")[0], times(&world, 0, start, "Ping")[0]);
    assert!(there > 100 && there == back, "{there} {back}");
}

#[test]
fn a_node_takes_only_so_many_guests() {
    let mut world = founders(301);
    let start = world.now();
    (1..301).for_each(|node| ping(&mut world, node, 0, 1));
    run(&mut world, ms(500));
    assert_eq!(world.connections(0), 256);
    let refused = (1..301).filter(|node| times(&world, *node, start, "Disconnected") == [80]).count();
    assert_eq!(refused, 44);
}

#[test]
fn a_node_that_stands_still_handles_everything_afterwards_in_order() {
    let mut world = connected();
    let start = world.now();
    world.act(Act::Pause { node: 1, time: ms(5_000) });
    for nonce in 1..=3 {
        ping(&mut world, 0, 1, nonce);
        run(&mut world, ms(100));
    }
    assert!(world.is_paused(1) && world.is_alive(1) && nonces(&world, 1) == [0]);
    run(&mut world, ms(6_000));
    assert_eq!(nonces(&world, 1), [0, 1, 2, 3]);
    assert_eq!(times(&world, 1, start, "Ping"), [5_000; 3]);
    assert!(!world.is_paused(1));
}

#[test]
fn a_slow_node_takes_its_time_for_each_event() {
    let mut world = connected();
    world.act(Act::Slow { node: 1, each: ms(50) });
    let start = world.now();
    (1..=4).for_each(|nonce| ping(&mut world, 0, 1, nonce));
    run(&mut world, ms(1_000));
    let times = times(&world, 1, start, "Ping");
    assert!(times.len() == 4 && times.windows(2).all(|pair| pair[1] >= pair[0] + 50), "{times:?}");
}

#[test]
fn a_ping_exchange_costs_what_a_hand_calculation_says() {
    let mut world = founders(2);
    ping(&mut world, 0, 1, 5);
    run(&mut world, ms(1_000));
    // A frame: four bytes of length, one of kind, one of CBOR. One datagram there, with 28 of IP and UDP, 11 of short
    // header, 16 of tag and 4 of stream header; the answer carries the acknowledgement (6); that of the answer goes by
    // itself after 25 ms: 28 + 11 + 16 + 6.
    let (one, other) = (world.traffic(0), world.traffic(1));
    assert_eq!((one.maintenance, other.maintenance), (65 + 61, 65 + 6));
    assert_eq!((one.handshakes, other.handshakes), (cost::HANDSHAKE_DIALLER, cost::HANDSHAKE_LISTENER));
    assert_eq!((one.messages, other.messages), (0, 0));
    // Two frames at once share a datagram; each answer rides in one of its own, and both answers share it too.
    ping(&mut world, 0, 1, 6);
    ping(&mut world, 0, 1, 7);
    run(&mut world, ms(1_000));
    assert_eq!(world.traffic(0).maintenance - one.maintenance, 65 + 10 + 61);
    assert_eq!(world.traffic(1).maintenance - other.maintenance, 65 + 6 + 10);
}

#[test]
fn the_same_seed_gives_the_same_history_whatever_the_network_does() {
    let history = |seed| {
        let mut world = founders_of(seed, 3);
        let network = Network {
            jitter: 0.3,
            loss: 0.1,
            loss_burst: 3.0,
            duplicate: 0.05,
            extra_delay: ms(5),
            clog: (0.05, ms(500)),
            bandwidth: Some(50_000),
            ..Network::default()
        };
        set(&mut world, network);
        for nonce in 0..300 {
            ping(&mut world, (nonce % 3) as Index, ((nonce + 1 + nonce % 2) % 3) as Index, nonce);
            run(&mut world, ms(50));
        }
        world.act(Act::Crash { node: 2 });
        ping(&mut world, 0, 2, 1);
        run(&mut world, ms(60_000));
        (world.trace_hash(), world.events(), (0..3).map(|node| nonces(&world, node)).collect::<Vec<_>>())
    };
    assert_eq!(history(5), history(5));
    assert_ne!(history(5).0, history(6).0);
}

#[test]
fn what_makes_no_sense_does_nothing() {
    let mut world = founders(1);
    let hash = world.trace_hash();
    let id = world.peer(0).id;
    assert_eq!((world.spawn_with(id), world.count()), (0, 1));
    world.act(Act::Start { node: 0, known: vec![5] });
    world.act(Act::Crash { node: 7 });
    world.act(Act::Break { a: 0, b: 7 });
    world.act(Act::Slow { node: 7, each: ms(1) });
    assert!(!world.is_alive(7) && world.state(7).is_none() && world.recent(7).is_empty());
    assert_eq!(world.trace_hash(), hash);
}
