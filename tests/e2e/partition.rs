//! The ring in a network that falls in two, and is whole again.

use std::thread;
use std::time::{Duration, Instant};

use prost_kbr::{Key, NodeId};
use prost_node::standard::DHT;
use prost_tests::{Lan, PATIENCE, in_own_network, provider, wait_until};

/// Nodes of the ring.
const NODES: u8 = 6;
/// How long the network is cut: long enough that each half gives the other up, and looks for it in vain.
const CUT: Duration = Duration::from_secs(40);
/// Between two looks at the halves meanwhile.
const LOOK: Duration = Duration::from_secs(3);
/// How soon one ring must have formed after the cut.
const HEALED: Duration = Duration::from_secs(90);
/// How soon the dht must then have brought every value to where it belongs.
const REPAIRED: Duration = Duration::from_secs(30);
/// How long the whole of it may take.
const BOUND: Duration = Duration::from_secs(360);

/// Waits until these nodes are a ring of their own, and the walk around it, started at each of them, finds no mistake.
#[track_caller]
fn until_ideal(lan: &Lan, of: &[usize], patience: Duration) {
    lan.until_ring(of, patience);
    let check = |node: &usize| lan.on(*node, |node| node.ask(&["ring", "check", "--json"]));
    // A walk sees more than the nearest: lists of predecessors take some rounds more to become true.
    let ideal = wait_until(PATIENCE, || of.iter().all(|node| check(node).code == Some(0)));
    assert!(ideal, "{:?}\n{}", of.iter().map(check).collect::<Vec<_>>(), lan.tails());
    for node in of {
        let checked = check(node).json();
        let members = checked["members"].as_array().expect("a list").iter();
        let id = |member: &serde_json::Value| member["id"].as_str().and_then(|id| id.parse::<NodeId>().ok());
        let mut ids: Vec<NodeId> = members.map(|member| id(member).expect("an id")).collect();
        ids.sort_unstable();
        assert_eq!(ids, lan.ids(of), "{checked}");
    }
}

/// Each of these nodes finds the same owner of many keys: the true one, where there are no others.
#[track_caller]
fn assert_lookups_agree(lan: &Lan, of: &[usize]) {
    for number in 0..12 {
        let key = Key::hash(format!("key {number}").as_bytes());
        for node in of {
            let found = lan.on(*node, |node| node.admin.lookup(key));
            let found = found.unwrap_or_else(|error| panic!("node {node}: {error}\n{}", lan.tails()));
            let owner = found.result.map(|peer| peer.id);
            assert_eq!(owner, Ok(lan.owner(of, key)), "{key} from node {node}\n{}", lan.tails());
        }
    }
}

/// Every node reads the value of this name, which is the name, soon.
#[track_caller]
fn assert_read_everywhere(lan: &Lan, of: &[usize], name: &str) {
    let reads = |node: &usize| lan.on(*node, |node| node.dht().get(name.as_bytes()).ok().flatten());
    let read = wait_until(REPAIRED, || of.iter().all(|node| reads(node).as_deref() == Some(name.as_bytes())));
    assert!(read, "{name}: {:?}\n{}", of.iter().map(reads).collect::<Vec<_>>(), lan.tails());
}

#[track_caller]
fn put(lan: &Lan, from: usize, name: &str) {
    let put = lan.on(from, |node| node.dht().put(name.as_bytes(), &mut name.as_bytes()));
    put.unwrap_or_else(|error| panic!("{name}: {error}\n{}", lan.tails()));
}

fn cut_and_heal() {
    let lan = Lan::start(NODES);
    let all = lan.in_ring_order();
    until_ideal(&lan, &all, PATIENCE);
    assert_lookups_agree(&lan, &all);
    for node in &all {
        lan.on(*node, |node| node.install(&DHT.package(&provider())));
    }
    put(&lan, all[0], "before");

    // Every other node in ring order: everybody loses its successor and its predecessor.
    let halves: [Vec<usize>; 2] = [0, 1].map(|first| all.iter().copied().skip(first).step_by(2).collect());
    lan.network().cut_off(&halves[1]);
    let cut = Instant::now();
    for half in &halves {
        until_ideal(&lan, half, PATIENCE);
    }
    println!("two rings after {:?}", cut.elapsed());
    for (half, name) in halves.iter().zip(["during, here", "during, away"]) {
        put(&lan, half[0], name);
        assert_read_everywhere(&lan, half, name);
    }
    // A search for the others that is under way must not disturb anything, either.
    while cut.elapsed() < CUT {
        for half in &halves {
            lan.until_ring(half, PATIENCE);
            assert_lookups_agree(&lan, half);
        }
        thread::sleep(LOOK);
    }

    lan.network().join();
    let joined = Instant::now();
    until_ideal(&lan, &all, HEALED);
    println!("one ring after {:?}", joined.elapsed());
    assert_lookups_agree(&lan, &all);
    for name in ["before", "during, here", "during, away"] {
        assert_read_everywhere(&lan, &all, name);
    }
    println!("all values everywhere after {:?}", joined.elapsed());
}

#[test]
fn a_ring_that_is_cut_in_two_becomes_two_rings_and_one_again() {
    in_own_network("partition::a_ring_that_is_cut_in_two_becomes_two_rings_and_one_again", BOUND, cut_and_heal);
}
