//! Messages find their way, whatever happens to it, and each ends once.

mod world;

use std::time::Duration;

use bytes::Bytes;
use prost_kbr::{
    Change, Dispatch, Failure, Handling, Id, Input, Interval, Message, NodeId, Refusal, RouteRequest, Verdict,
};
use world::{Event, Seen, World, point, small_config};

/// Nodes at 0/12, 1/12, ... of the circle.
fn clock(seed: u64) -> World {
    let points: Vec<Id> = (0..12).map(|at| point(at, 12)).collect();
    World::ring(seed, small_config(), &points)
}

/// Every forward and delivery of a message, in the order of time.
fn steps(world: &World, id: u64) -> Vec<(NodeId, &'static str)> {
    let mut steps = Vec::new();
    for (node, state) in &world.nodes {
        for (time, seen) in &state.seen {
            match seen {
                Seen::Forward { routed, .. } if routed.envelope.id == id => steps.push((*time, *node, "forward")),
                Seen::Deliver { routed, .. } if routed.envelope.id == id => steps.push((*time, *node, "deliver")),
                _ => {}
            }
        }
    }
    steps.sort();
    steps.into_iter().map(|(_, node, what)| (node, what)).collect()
}

#[test]
fn a_message_of_type_0_is_shown_to_every_node_before_it_goes_on() {
    let mut world = clock(1);
    let (from, key) = (point(0, 12), point(21, 36));
    let id = world.route(from, key, Dispatch::PerHop);
    let outcome = world.outcome(from, id);
    assert_eq!(outcome.result.map(|peer| peer.id), Ok(world.owner(key)));
    let steps = steps(&world, id);
    assert!(steps.len() >= 2, "{steps:?}");
    let (last, transit) = steps.split_last().expect("some");
    assert_eq!(*last, (world.owner(key), "deliver"));
    assert_eq!(transit[0], (from, "forward"));
    assert!(transit.iter().all(|(_, what)| *what == "forward"));
    assert_eq!(transit.len(), usize::from(outcome.hops), "once on each node before the last");
}

#[test]
fn a_message_of_type_1_is_shown_to_no_node_on_the_way() {
    let mut world = clock(2);
    let (from, key) = (point(0, 12), point(21, 36));
    let id = world.route(from, key, Dispatch::EndNode);
    world.outcome(from, id);
    assert_eq!(steps(&world, id), [(world.owner(key), "deliver")]);
}

#[test]
fn an_application_can_stop_a_message() {
    let mut world = clock(3);
    let (from, key) = (point(0, 12), point(7, 12));
    world.nodes.get_mut(&from).expect("it exists").verdict = Some(Verdict::Stop);
    let id = world.route(from, key, Dispatch::PerHop);
    let outcome = world.outcome(from, id);
    assert_eq!(outcome.result.map(|peer| peer.id), Ok(from));
    world.run_for(Duration::from_secs(20));
    assert_eq!(steps(&world, id), [(from, "forward")]);
}

#[test]
fn an_application_can_change_key_data_and_next_hop() {
    let mut world = clock(4);
    let (from, by_way_of, key) = (point(0, 12), point(3, 12), point(9, 12));
    let payload = Bytes::from_static(b"changed");
    let rewrite = Verdict::Rewrite { key, payload: payload.clone(), next: Some(by_way_of) };
    // Direct contact makes the next hop's address known.
    let peer = world.nodes[&by_way_of].peer;
    world.input(from, Input::SendUpper { to: peer, payload: Bytes::from_static(b"hello") });
    world.run_for(Duration::from_secs(1));
    world.nodes.get_mut(&from).expect("it exists").verdict = Some(rewrite);
    let id = world.route(from, point(6, 12), Dispatch::PerHop);
    let outcome = world.outcome(from, id);
    assert_eq!(outcome.result.map(|peer| peer.id), Ok(key));
    let steps = steps(&world, id);
    assert_eq!(&steps[..2], [(from, "forward"), (by_way_of, "forward")]);
    assert_eq!(steps.last(), Some(&(key, "deliver")));
    let delivered = world.nodes[&key].seen.iter().find_map(|(_, seen)| match seen {
        Seen::Deliver { routed, .. } => Some(routed.payload.clone()),
        _ => None,
    });
    assert_eq!(delivered, Some(payload));
}

#[test]
fn a_verdict_that_never_comes_does_not_stop_the_message() {
    let mut world = clock(5);
    let from = point(0, 12);
    world.nodes.get_mut(&from).expect("it exists").verdict = None;
    let id = world.route(from, point(6, 12), Dispatch::PerHop);
    assert_eq!(world.outcome(from, id).result.map(|peer| peer.id), Ok(point(6, 12)));
}

#[test]
fn a_hint_is_the_first_hop() {
    let mut world = clock(6);
    let (from, hint) = (point(0, 12), point(10, 12));
    let id = world.request(from, Some(point(5, 12)), Some(hint), Dispatch::PerHop, None);
    assert_eq!(world.outcome(from, id).result.map(|peer| peer.id), Ok(point(5, 12)));
    assert_eq!(&steps(&world, id)[..2], [(from, "forward"), (hint, "forward")]);
    // A hint is taken even where this node is responsible itself.
    let id = world.request(from, Some(from), Some(hint), Dispatch::EndNode, None);
    let outcome = world.outcome(from, id);
    assert_eq!((outcome.result.map(|peer| peer.id), outcome.hops), (Ok(from), 2));
}

#[test]
fn a_refused_message_falls_over_in_the_order_of_the_replica_set() {
    let mut world = clock(7);
    let (from, key) = (point(0, 12), point(11, 24));
    let replicas = [point(6, 12), point(7, 12), point(8, 12), point(9, 12)];
    assert_eq!(world.nodes[&replicas[0]].machine.view().replica_set(key, 4).nodes, replicas);
    world.refuse(replicas[0]);
    world.refuse(replicas[1]);
    let id = world.route(from, key, Dispatch::EndNode);
    assert_eq!(world.outcome(from, id).result.map(|peer| peer.id), Ok(replicas[2]));
    assert_eq!(steps(&world, id), replicas[..3].iter().map(|node| (*node, "deliver")).collect::<Vec<_>>());

    for node in replicas {
        world.refuse(node);
    }
    let id = world.route(from, key, Dispatch::EndNode);
    let all = replicas.map(|node| (node, Refusal::Denied)).to_vec();
    assert_eq!(world.outcome(from, id).result, Err(Failure::NoWillingNode(all)));
}

#[test]
fn falling_over_skips_a_dead_replica_and_ends_in_a_small_ring() {
    let mut world = World::ring(8, small_config(), &[point(0, 3), point(1, 3), point(2, 3)]);
    world.refuse(point(1, 3));
    world.crash(point(2, 3), None);
    let id = world.route(point(0, 3), point(1, 3), Dispatch::EndNode);
    assert_eq!(world.outcome(point(0, 3), id).result.map(|peer| peer.id), Ok(point(0, 3)));
    world.refuse(point(0, 3));
    let id = world.route(point(0, 3), point(1, 3), Dispatch::EndNode);
    let both = vec![(point(1, 3), Refusal::Denied), (point(0, 3), Refusal::Denied)];
    assert_eq!(world.outcome(point(0, 3), id).result, Err(Failure::NoWillingNode(both)));
}

#[test]
fn a_handler_that_fails_ends_the_message() {
    let mut world = clock(9);
    let failure = Failure::HandlerFailed("no".repeat(5000));
    world.nodes.get_mut(&point(6, 12)).expect("it exists").handling = Handling::Failed(failure);
    let id = world.route(point(0, 12), point(6, 12), Dispatch::EndNode);
    let Err(Failure::HandlerFailed(text)) = world.outcome(point(0, 12), id).result else { panic!("it failed") };
    assert!(text.starts_with("nono") && text.len() <= 1024);
}

#[test]
fn a_direct_send_takes_one_hop() {
    let mut world = clock(10);
    let (from, to) = (point(0, 12), point(1, 12));
    let id = world.request(from, None, Some(to), Dispatch::EndNode, None);
    let outcome = world.outcome(from, id);
    assert_eq!((outcome.result.map(|peer| peer.id), outcome.hops), (Ok(to), 1));
    // To itself it takes none.
    let id = world.request(from, None, Some(from), Dispatch::EndNode, None);
    let outcome = world.outcome(from, id);
    assert_eq!((outcome.result.map(|peer| peer.id), outcome.hops), (Ok(from), 0));
    // A refusal ends it, without a second node.
    world.refuse(to);
    let id = world.request(from, None, Some(to), Dispatch::EndNode, None);
    assert_eq!(world.outcome(from, id).result, Err(Failure::NoWillingNode(vec![(to, Refusal::Denied)])));
    // An unknown node cannot be reached.
    let id = world.request(from, None, Some(Id::hash(b"nobody")), Dispatch::EndNode, None);
    assert_eq!(world.outcome(from, id).result, Err(Failure::Unreachable));
    let id = world.request(from, None, None, Dispatch::EndNode, None);
    assert_eq!(world.outcome(from, id).result, Err(Failure::Unreachable));
}

#[test]
fn a_direct_send_to_a_dead_node_is_unreachable() {
    for notice in [None, Some(Duration::from_millis(1))] {
        let mut world = clock(11);
        let (from, to) = (point(0, 12), point(1, 12));
        world.crash(to, notice);
        let id = world.request(from, None, Some(to), Dispatch::EndNode, None);
        let before = world.now;
        assert_eq!(world.outcome(from, id).result, Err(Failure::Unreachable));
        assert!(world.now.since(before) < Duration::from_secs(5), "long before the deadline");
    }
}

#[test]
fn a_message_ends_at_its_deadline_where_nobody_handles_it() {
    let mut world = clock(12);
    let (from, owner) = (point(0, 12), point(6, 12));
    // The owner can hear and not speak.
    for id in world.live() {
        world.cut.insert((owner, id));
    }
    let before = world.now;
    let short = Some(Duration::from_millis(400));
    let id = world.request(from, Some(owner), None, Dispatch::EndNode, short);
    assert_eq!(world.outcome(from, id).result, Err(Failure::Deadline));
    assert_eq!(world.now.since(before), Duration::from_millis(400));
}

#[test]
fn a_next_hop_that_dies_costs_a_retry_and_no_error() {
    for seed in 0..20 {
        let mut world = World::random_ring(seed, small_config(), 20);
        let live = world.live();
        let from = live[world.below(20) as usize];
        let key = world.random_id();
        let probe = world.lookup(from, key);
        let path = world.outcome(from, probe).path.expect("traced");
        if path.len() < 3 {
            continue;
        }
        let id = world.route(from, key, Dispatch::EndNode);
        world.crash(path[1].node, None);
        let outcome = world.outcome(from, id);
        assert_eq!(outcome.result.map(|peer| peer.id), Ok(path[path.len() - 1].node));
        assert_eq!(world.outcomes(from, id).len(), 1);
    }
}

#[test]
fn the_owner_that_dies_is_replaced_by_its_successor() {
    for notice in [None, Some(Duration::from_millis(3))] {
        let mut world = clock(13);
        world.crash(point(6, 12), notice);
        let id = world.route(point(0, 12), point(6, 12), Dispatch::EndNode);
        assert_eq!(world.outcome(point(0, 12), id).result.map(|peer| peer.id), Ok(point(7, 12)));
    }
}

#[test]
fn each_of_a_thousand_routes_ends_once_while_nodes_crash() {
    for seed in 0..3 {
        let mut world = World::random_ring(seed, small_config(), 24);
        let live = world.live();
        let mut sent = Vec::new();
        for round in 0..1000 {
            let from = live[world.below(12) as usize];
            let key = world.random_id();
            sent.push((from, world.route(from, key, Dispatch::EndNode)));
            world.run_for(Duration::from_millis(10));
            if round % 100 == 50 {
                let notice = (world.below(2) == 0).then_some(Duration::from_millis(20));
                // Never neighbours one after the other: more than the successor list would be gone before repair.
                world.crash(live[12 + round / 100 * 5 % 12], notice);
            }
        }
        world.run_for(Duration::from_secs(20));
        let mut handled = 0;
        for (from, id) in &sent {
            let outcomes = world.outcomes(*from, *id);
            assert_eq!(outcomes.len(), 1, "seed {seed}, message {id}: {outcomes:?}");
            handled += usize::from(outcomes[0].result.is_ok());
        }
        assert_eq!(handled, sent.len(), "seed {seed}: the ring loses no message to ten crashes");
        for node in world.nodes.values() {
            let mut delivered = node.deliveries();
            let count = delivered.len();
            delivered.sort_unstable();
            delivered.dedup();
            assert_eq!(delivered.len(), count, "no node delivers a message twice");
        }
    }
}

#[test]
fn a_message_that_comes_twice_is_delivered_once_and_answered_twice() {
    let mut world = clock(14);
    let (from, owner) = (point(5, 12), point(6, 12));
    let id = world.route(from, owner, Dispatch::EndNode);
    world.outcome(from, id);
    let routed = world.nodes[&owner].seen.iter().find_map(|(_, seen)| match seen {
        Seen::Deliver { routed, .. } => Some(routed.clone()),
        _ => None,
    });
    let message = Message::Route { seq: 12_345, routed: routed.expect("delivered") };
    world.trace = Some(Vec::new());
    world.input(owner, Input::Received { from, message });
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.nodes[&owner].deliveries(), [id]);
    assert_eq!(world.nodes[&owner].machine.stats().duplicates, 1);
    let trace = world.trace.take().expect("on");
    assert!(trace.iter().any(|line| line.contains("Send") && line.contains("Outcome {")), "{trace:#?}");
    assert!(trace.iter().any(|line| line.contains("Acknowledge { runs: [(12345, 1)] }")), "{trace:#?}");
    assert_eq!(world.outcomes(from, id).len(), 1);
}

#[test]
fn nothing_starts_before_joining_and_everything_ends_at_leaving() {
    let mut world = clock(15);
    let stranger = world.add(point(1, 24));
    let id = world.route(stranger.id, point(1, 2), Dispatch::EndNode);
    assert_eq!(world.outcome(stranger.id, id).result, Err(Failure::NotJoined));
    let from = point(0, 12);
    let id = world.route(from, point(6, 12), Dispatch::EndNode);
    let asked = world.nodes[&point(1, 12)].peer;
    world.input(from, Input::AskNeighbours { request: 77, peer: asked });
    world.input(from, Input::Leave);
    assert_eq!(world.outcome(from, id).result, Err(Failure::NotJoined));
    let seen: Vec<&Seen> = world.nodes[&from].seen.iter().map(|(_, seen)| seen).collect();
    assert!(seen.contains(&&Seen::Neighbours(77, None)));
    assert_eq!(seen.last(), Some(&&Seen::Left));
    let count = seen.len();
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.nodes[&from].seen.len(), count, "nothing more comes");
}

#[test]
fn what_is_too_long_is_not_sent() {
    let mut world = clock(16);
    let request = RouteRequest {
        id: 1_000_000,
        key: Some(point(6, 12)),
        dispatch: Dispatch::EndNode,
        header: Bytes::new(),
        payload: Bytes::from(vec![0; prost_kbr::wire::MAX_PAYLOAD + 1]),
        hint: None,
        deadline: None,
    };
    world.input(point(0, 12), Input::Route(request));
    assert_eq!(world.outcome(point(0, 12), 1_000_000).result, Err(Failure::Overloaded));
}

#[test]
fn a_walk_round_the_ring_sees_every_node() {
    let mut world = clock(17);
    let walker = point(0, 12);
    let mut at = world.nodes[&walker].peer;
    for step in 0..12 {
        assert_eq!(at.id, point(step, 12));
        world.input(walker, Input::AskNeighbours { request: step, peer: at });
        world.run_for(Duration::from_millis(200));
        let answer = world.nodes[&walker].seen.iter().rev().find_map(|(_, seen)| match seen {
            Seen::Neighbours(request, answer) if *request == step => answer.clone(),
            _ => None,
        });
        at = answer.expect("an answer").1[0];
    }
    assert_eq!(at.id, walker);
}

#[test]
fn a_watched_node_is_reported_down_once() {
    let mut world = clock(18);
    let (watcher, watched) = (point(0, 12), point(6, 12));
    let peer = world.nodes[&watched].peer;
    world.input(watcher, Input::SendUpper { to: peer, payload: Bytes::from_static(b"hello") });
    assert!(world.nodes.get_mut(&watcher).expect("it exists").machine.watch(watched));
    world.run_for(Duration::from_secs(30));
    let downs = |world: &World| {
        let changes = world.nodes[&watcher].changes();
        changes.into_iter().filter(|change| **change == Change::WatchedDown(watched)).count()
    };
    assert_eq!(downs(&world), 0);
    world.crash(watched, None);
    world.run_for(Duration::from_secs(30));
    assert_eq!(downs(&world), 1);
}

#[test]
fn responsibility_goes_over_when_a_node_joins_and_comes_back_when_it_dies() {
    let mut world = clock(19);
    let owner = point(7, 12);
    let joiner = world.add(point(13, 24));
    let known = world.nodes[&point(0, 12)].peer;
    world.nodes.get_mut(&owner).expect("it exists").seen.clear();
    world.join(joiner, &[known]);
    world.settle(Duration::from_secs(60));
    let given = Interval::open_closed(point(6, 12), joiner.id);
    let ranges = |world: &World| {
        let changes = world.nodes[&owner].changes().into_iter();
        changes.filter(|change| matches!(change, Change::Gained(_) | Change::Lost(_))).cloned().collect::<Vec<_>>()
    };
    assert_eq!(ranges(&world), [Change::Lost(given)]);
    assert!(world.nodes[&joiner.id].changes().contains(&&Change::Gained(given)));
    world.crash(joiner.id, None);
    world.settle(Duration::from_secs(60));
    assert_eq!(ranges(&world), [Change::Lost(given), Change::Gained(given)]);
}

#[test]
fn an_outcome_is_sent_again_where_the_connection_broke() {
    let mut world = clock(20);
    let (from, owner) = (point(0, 12), point(6, 12));
    let id = world.route(from, owner, Dispatch::EndNode);
    assert!(world.run_until(Duration::from_secs(1), |world| world.nodes[&owner].deliveries() == [id]));
    world.step();
    // The frame is lost together with the connection.
    world.break_connection(owner, from);
    world.at_time(Duration::from_millis(1), Event::Input(owner, Input::Disconnected { id: from }));
    let before = world.now;
    assert!(world.outcome(from, id).result.is_ok());
    assert!(world.now.since(before) < Duration::from_secs(1), "long before the second attempt");
}
