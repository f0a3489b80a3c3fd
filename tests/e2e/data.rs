//! Values in the ring, and the loss of nodes that hold them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use prost_kbr::Key;
use prost_node::standard::DHT;
use prost_tests::{Plan, Ring, provider};

/// How long the dht may take to copy what a node held that came or went, once its neighbours know.
const REPAIR: Duration = Duration::from_secs(4);

fn dht(nodes: usize) -> Ring {
    let ring = Plan::of(nodes).start();
    ring.install(&DHT.package(&provider()));
    ring
}

fn value(number: usize) -> Vec<u8> {
    format!("the value of {number}; ").repeat(1 + number % 50).into_bytes()
}

fn name(number: usize) -> Vec<u8> {
    format!("name {number}").into_bytes()
}

/// Every node reads each of these values, whole.
#[track_caller]
fn assert_readable(ring: &Ring, numbers: &[usize]) {
    for node in ring.nodes() {
        let dht = node.dht();
        for number in numbers {
            let read = dht.get(&name(*number)).unwrap_or_else(|error| panic!("{number}: {error}\n{}", ring.tails()));
            assert!(
                read.as_deref() == Some(&value(*number)[..]),
                "{number} at {}: {read:?}\n{}",
                node.id,
                ring.tails()
            );
        }
    }
}

#[test]
fn values_are_stored_read_listed_and_removed_from_the_command_line() {
    let ring = dht(4);
    let (small, large, read) = (ring.path("small"), ring.path("large"), ring.path("read"));
    let path = |path: &std::path::Path| path.to_str().expect("plain names").to_owned();
    std::fs::write(&small, "a few bytes").expect("room");
    // Longer than any message, and not a whole number of chunks.
    let bytes: Vec<u8> = (0..700_001_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(&large, &bytes).expect("room");

    assert!(ring[0].ask(&["dht", "put", "small", &path(&small)]).ok().starts_with("stored 11 B"));
    let stored = ring[1].ask(&["dht", "put", "large", &path(&large), "--json"]).json();
    assert_eq!(stored["bytes"], 700_001);
    assert!(stored["chunks"].as_u64() > Some(1), "{stored}");

    assert_eq!(ring[2].ask(&["dht", "get", "small"]).ok(), "a few bytes");
    assert_eq!(ring[3].ask(&["dht", "get", "large", "--out", &path(&read)]).ok(), "");
    assert!(std::fs::read(&read).expect("it was written") == bytes, "what came back is something else");
    assert_eq!(ring[3].ask(&["dht", "list", "small", "--json"]).json(), serde_json::json!(["small"]));

    assert_eq!(ring[3].ask(&["dht", "remove", "small"]).ok(), "removed small\n");
    assert!(ring[0].ask(&["dht", "get", "small"]).refused(1).contains("there is no value"));
    assert_eq!(ring[0].ask(&["dht", "list", "small", "--json"]).json(), serde_json::json!([]));
}

#[test]
fn what_was_acknowledged_survives_the_loss_of_any_one_node() {
    let mut ring = dht(5);
    let stored: Vec<usize> = (0..40).collect();
    for number in &stored {
        ring[0].dht().put(&name(*number), &mut &value(*number)[..]).expect("it is stored");
    }
    // Somebody who is responsible for one of them, other than the node that stored it.
    let victim = stored.iter().map(|number| ring.replicas(Key::hash(&name(*number)), 1)[0]).find(|owner| *owner != 0);

    ring.kill(victim.expect("forty keys do not all belong to one node"));

    assert_readable(&ring, &stored);
}

#[test]
fn what_is_acknowledged_while_a_node_dies_is_there() {
    let mut ring = dht(5);
    let clients = [ring[0].dht(), ring[1].dht()];
    let acknowledged = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (client, dht) in clients.iter().enumerate() {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                for number in (client..60).step_by(2) {
                    if dht.put(&name(number), &mut &value(number)[..]).is_ok() {
                        acknowledged.lock().expect("nobody panics").push(number);
                    }
                }
            });
        }
        while acknowledged.lock().expect("nobody panics").len() < 10 {
            thread::sleep(Duration::from_millis(1));
        }
        ring.kill(3);
    });
    let acknowledged = acknowledged.into_inner().expect("nobody panics");
    assert!(acknowledged.len() > 30, "only {} were acknowledged\n{}", acknowledged.len(), ring.tails());
    assert_readable(&ring, &acknowledged);
}

#[test]
fn values_move_on_to_nodes_that_come_later_while_older_ones_die() {
    let mut ring = dht(3);
    let stored: Vec<usize> = (0..15).collect();
    for number in &stored {
        ring[0].dht().put(&name(*number), &mut &value(*number)[..]).expect("it is stored");
    }
    for _ in 0..3 {
        ring.join();
        ring.until_ideal();
        thread::sleep(REPAIR);
        ring.kill(0);
        ring.until_ideal();
        thread::sleep(REPAIR);
    }
    // None of the nodes that were there at first is left.
    ring.install(&DHT.package(&provider()));
    assert_readable(&ring, &stored);
}

#[test]
fn clients_at_once_on_several_nodes_do_not_hurt_each_other() {
    let ring = dht(4);
    let ours = |client: usize, number: usize| client * 100 + number;
    thread::scope(|scope| {
        for client in 0..4 {
            let dht = ring[client].dht();
            scope.spawn(move || {
                for number in 0..12 {
                    dht.put(&name(ours(client, number)), &mut &value(ours(client, number))[..]).expect("it is stored");
                    dht.put(b"contested", &mut &value(ours(client, number))[..]).expect("it is stored");
                }
            });
        }
    });
    let all: Vec<usize> = (0..4).flat_map(|client| (0..12).map(move |number| ours(client, number))).collect();
    assert_readable(&ring, &all);
    let mut found: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for node in ring.nodes() {
        let value = node.dht().get(b"contested").expect("the dht answers").expect("it was stored");
        *found.entry(value).or_default() += 1;
    }
    assert_eq!(found.len(), 1, "nodes read different values");
    assert!(all.iter().any(|number| found.contains_key(&value(*number))), "nobody wrote {found:?}");
}
