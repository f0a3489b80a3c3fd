//! What a ring of real processes does: writes from many clients at once, nodes that are killed under load, and what an
//! event costs on one node and another. The long ones print figures; `docs/performance.md` says how to run them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::Capability;
use prost_dht_api::{Found, GET, Get, PUT, Put};
use prost_kbr::Key;
use prost_node::admin_client::AdminClient;
use prost_node::standard::DHT;
use prost_package::manifest::Acknowledgement;
use prost_package::{Package, SignedManifest};
use prost_tests::{PATIENCE, Plan, Ring, package, provider, wait_until};
use serde_bytes::{ByteArray, ByteBuf};

use crate::component::{OK, Peerlet};

/// Nodes of a ring.
const NODES: usize = 5;
/// Copies of a value of the dht.
const COPIES: usize = 3;

/// The dht, whose writes are acknowledged when all copies are durable.
fn of_all_copies() -> Package {
    let package = DHT.package(&provider());
    let mut manifest = package.manifest.manifest().clone();
    assert_eq!(usize::from(manifest.replicas), COPIES);
    manifest.acknowledgement = Acknowledgement::All;
    let manifest = SignedManifest::sign(manifest, &provider()).expect("a proper manifest");
    Package::new(manifest, Bytes::from_static(DHT.component)).expect("the manifest is of this component")
}

fn ring_with_dht() -> Ring {
    let ring = Plan::of(NODES).start();
    ring.install(&of_all_copies());
    ring
}

/// The value of a name: 100 bytes.
fn value(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(100).collect()
}

/// Stores the value of a name, once: no second attempt.
fn put(node: &AdminClient, name: &str) -> bool {
    let key = ByteArray::new(*Key::hash(name.as_bytes()).as_bytes());
    let question = Put {
        key,
        name: ByteBuf::from(name.as_bytes()),
        value: ByteBuf::from(value(name)),
        expires_in: None,
        if_version: None,
    };
    let body = serde_cbor::to_vec(&question).expect("plain data");
    node.call("dht", PUT, &body).is_ok()
}

/// Values stored a second by so many clients, which share `count` puts.
fn rate(ring: &Ring, clients: usize, count: usize, run: &str) -> f64 {
    let next = AtomicUsize::new(0);
    let failed = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            let node = &ring[client % NODES].admin;
            let (next, failed) = (&next, &failed);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    failed.fetch_add(usize::from(!put(node, &format!("{run}-{number}"))), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "{}", ring.tails());
    count as f64 / begun.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a minute, and in an optimised build: it measures"]
fn writes_of_many_clients_share_their_commits() {
    const CLIENTS: usize = 64;
    const ROUNDS: usize = 7;
    let ring = ring_with_dht();
    rate(&ring, CLIENTS, 500, "warm");
    let mut figures: Vec<[f64; 3]> = Vec::new();
    for round in 0..ROUNDS {
        let alone = rate(&ring, 1, 100, &format!("alone-{round}"));
        let together = rate(&ring, CLIENTS, 4_000, &format!("together-{round}"));
        println!("round {round}: one by one {alone:.0}/s, {CLIENTS} clients {together:.0}/s, {:.1}", together / alone);
        figures.push([alone, together, together / alone]);
    }
    let median = |of: usize| {
        let mut sorted: Vec<f64> = figures.iter().map(|figures| figures[of]).collect();
        sorted.sort_by(f64::total_cmp);
        (sorted[ROUNDS / 2], sorted[0], sorted[ROUNDS - 1])
    };
    for (of, what) in ["one by one, puts/s", "64 clients, puts/s", "ratio"].iter().enumerate() {
        let (median, least, most) = median(of);
        println!("{what:<24}{median:>10.1} ({least:.1} to {most:.1})");
    }
    let (writes, commits) = ring.nodes().iter().fold((0.0, 0.0), |(writes, commits), node| {
        let commits = commits + node.metric("prost_storage_commit_duration_seconds_count", &[]);
        (writes + node.metric("prost_storage_commit_writes_sum", &[]), commits)
    });
    println!("record changes a transaction, over all nodes: {:.1}", writes / f64::max(commits, 1.0));
}

/// Kills one node after the other and starts it again, while clients write through all of them. Gives how long each took
/// to be ready again, in milliseconds.
fn kill_and_restart(cycles: usize) -> Vec<f64> {
    const CLIENTS: usize = 32;
    /// Writes that are acknowledged between two kills, at least.
    const BETWEEN: usize = 20;
    let mut ring = ring_with_dht();
    let addresses = |ring: &Ring| -> Vec<AdminClient> { ring.nodes().iter().map(|node| node.admin.clone()).collect() };
    let nodes = Mutex::new(addresses(&ring));
    let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let mut took = Vec::new();
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (nodes, acknowledged, stop) = (&nodes, &acknowledged, &stop);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("client-{client}-{number}");
                    let node = nodes.lock().expect("nobody panics")[(client + number) % NODES].clone();
                    if put(&node, &name) {
                        acknowledged.lock().expect("nobody panics").push(name);
                    }
                }
            });
        }
        for cycle in 0..cycles {
            let before = acknowledged.lock().expect("nobody panics").len();
            ring.until("writes go on", Duration::from_secs(60), || {
                acknowledged.lock().expect("nobody panics").len() >= before + BETWEEN
            });
            let victim = cycle % NODES;
            ring[victim].kill();
            let begun = Instant::now();
            ring.restart(victim);
            while !ring[victim].admin.ready().unwrap_or(false) {
                assert!(begun.elapsed() < Duration::from_secs(60), "it is not ready\n{}", ring.tails());
                thread::sleep(Duration::from_millis(2));
            }
            took.push(begun.elapsed().as_secs_f64() * 1e3);
            *nodes.lock().expect("nobody panics") = addresses(&ring);
        }
        stop.store(true, Ordering::Relaxed);
    });
    ring.until_ideal();
    let acknowledged = acknowledged.into_inner().expect("nobody panics");
    assert!(acknowledged.len() >= BETWEEN * cycles, "only {} writes were acknowledged", acknowledged.len());
    let lost = lost(&ring, &acknowledged);
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}\n{}", lost.len(), acknowledged.len(), ring.tails());
    println!("{cycles} times killed, {} acknowledged writes, none lost", acknowledged.len());
    took
}

/// Those of these names whose value cannot be read.
fn lost(ring: &Ring, names: &[String]) -> Vec<String> {
    let lost = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (part, node) in names.chunks(names.len().div_ceil(NODES)).zip(ring.nodes()) {
            let lost = &lost;
            scope.spawn(move || {
                for name in part.iter().filter(|name| !has(&node.admin, name)) {
                    lost.lock().expect("nobody panics").push(name.clone());
                }
            });
        }
    });
    lost.into_inner().expect("nobody panics")
}

/// Whether the value that [`put`] stored under this name is read again. A refusal is asked again for a while.
fn has(node: &AdminClient, name: &str) -> bool {
    let key = ByteArray::new(*Key::hash(name.as_bytes()).as_bytes());
    let body =
        serde_cbor::to_vec(&Get { key, name: ByteBuf::from(name.as_bytes()), nearest: false }).expect("plain data");
    let mut answer = None;
    wait_until(PATIENCE, || {
        answer = node.call("dht", GET, &body).ok();
        answer.is_some()
    });
    let found = answer.and_then(|answer| serde_cbor::from_slice::<Option<Found>>(&answer).ok()).flatten();
    found.is_some_and(|found| found.value == value(name))
}

#[test]
fn nodes_that_are_killed_under_load_lose_no_acknowledged_write() {
    kill_and_restart(5);
}

#[test]
#[ignore = "minutes, and in an optimised build: it measures"]
fn two_hundred_kills_under_load_lose_no_acknowledged_write() {
    let mut took = kill_and_restart(200);
    took.sort_by(f64::total_cmp);
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!("from start to ready: median {median:.0} ms, worst {worst:.0} ms");
}

#[test]
fn an_event_costs_the_same_fuel_on_every_node() {
    let ring = Plan::of(2).start();
    // It reads and writes a record, and works for a time that its body says.
    let body = r#"(local $n i32)
        (call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 4)
          (local.get $body) (local.get $length) (i32.const 0) (i64.const 0) (i32.const 1024))
        (call $get (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 4)
          (i32.const 1024))
        (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $again (i32.lt_u (local.get $n) (i32.mul (local.get $length) (i32.const 1000)))))
        (call $respond (local.get $id) (i32.const 0) (i32.const 2048) (i32.const 4) (i32.const 1104))"#;
    let peerlet = Peerlet::new().storage().client().module(r#"(data (i32.const 2048) "name")"#);
    let component = peerlet.serve(&format!("{body} {OK}")).build();
    let package = package(&provider(), "works", component, &[Capability::Storage, Capability::Client]);
    ring.install(&package);
    // What one event costs. A change of the ring may come in between, and is an event too.
    let cost = |node: usize, body: &[u8]| {
        let used = || ring[node].status().peerlets.iter().map(|app| (app.usage.calls, app.usage.fuel)).next();
        for _ in 0..20 {
            let (calls, fuel) = used().expect("it runs");
            ring[node].admin.call("works", "go", body).expect("it answers");
            let (calls_after, fuel_after) = used().expect("it runs");
            if calls_after == calls + 1 {
                return fuel_after - fuel;
            }
        }
        panic!("the ring is never quiet\n{}", ring.tails());
    };
    let costs: Vec<Vec<u64>> =
        (0..2).map(|node| [1_usize, 7, 60].map(|length| cost(node, &vec![7; length])).to_vec()).collect();
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0].is_sorted_by(|one, other| one + 1000 < *other), "the cost does not depend on the work: {costs:?}");
}
