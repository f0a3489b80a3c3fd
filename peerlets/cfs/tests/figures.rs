//! The figures of docs/apps/cfs.md: `cargo test --release -p cfs --test figures -- --ignored --nocapture`.

mod support;

use core::time::Duration;

use cfs::Cfs;
use prost_cfs_api::{Caching, GET, Kind};
use prost_peerlet_ring::{Latency, Ring, Setup};
use support::*;

const BLOCKS: u64 = 200;
const GETS: usize = 1000;

fn planetlab(nodes: u32, replicas: u8) -> Ring<Cfs> {
    let rest = Duration::from_secs(180);
    grow(Setup { nodes, replicas, rest, latency: Latency::PlanetLab, ..Setup::new("cfs") })
}

/// Times in milliseconds and contacts of gets, each of a random block by a random node.
fn measure(
    ring: &mut Ring<Cfs>,
    gets: usize,
    caching: Caching,
    block: impl Fn(&mut Ring<Cfs>) -> u64,
) -> (Vec<f64>, f64) {
    let (mut times, mut contacts) = (Vec::new(), 0.0);
    for _ in 0..gets {
        let (node, number) = (ring.any(), block(ring));
        let start = ring.now();
        let call = ring.call(node, GET, &get_body(Kind::Content, id(number), caching));
        let answer = loop {
            if let Some(answer) = ring.answer(call) {
                break answer;
            }
            ring.run(Duration::from_millis(20));
        };
        let found = found(Kind::Content, &id(number), &answer.outcome.expect("answered")).expect("there");
        times.push((answer.at - start).as_secs_f64() * 1000.0);
        contacts += f64::from(found.contacts);
    }
    times.sort_by(f64::total_cmp);
    (times, contacts / gets as f64)
}

fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len() as f64
}

fn row(name: &str, times: &[f64], contacts: f64) {
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{name:<34} {:>7.0} {:>7.0} {:>7.0} {contacts:>9.2}", mean(times), at(0.5), at(0.95));
}

#[test]
#[ignore = "minutes"]
fn time_of_a_get_on_planetlab() {
    let nearest = time_of_a_get(490);
    assert!(nearest <= 200.0, "nearest of 3: {nearest} ms");
}

#[test]
#[ignore = "minutes"]
fn time_of_a_get_among_a_thousand() {
    time_of_a_get(1000);
}

/// The mean where the nearest of three answers.
fn time_of_a_get(nodes: u32) -> f64 {
    let mut ring = planetlab(nodes, 3);
    fill(&mut ring, 0..BLOCKS);
    println!("{:<34} {:>7} {:>7} {:>7} {:>9}", "ms", "mean", "median", "95 %", "contacts");
    let ways = [
        (Caching::Off, "the one responsible"),
        (Caching::Replicas, "nearest of 3"),
        (Caching::Path, "caches on the way"),
    ];
    let means = ways.map(|(caching, name)| {
        let (times, contacts) = measure(&mut ring, GETS, caching, |ring| ring.below(BLOCKS));
        row(&format!("{nodes} nodes, {name}"), &times, contacts);
        assert!(contacts <= 7.0);
        mean(&times)
    });
    means[1]
}

#[test]
#[ignore = "minutes"]
fn a_hot_block() {
    println!("{:<12} {:>16} {:>20} {:>14}", "caching", "replicas served", "most of one server", "from caches");
    for caching in [Caching::Off, Caching::Replicas, Caching::Path] {
        let mut ring = planetlab(490, 3);
        put(&mut ring, 0, Kind::Content, &block(1), 24 * HOUR).expect("stored");
        let (_, _) = measure(&mut ring, 1000, caching, |_| 1);
        let all: Vec<(u64, u64)> =
            ring.members().iter().filter_map(|node| ring.peek(*node, |cfs| (cfs.served(), cfs.cache_hits()))).collect();
        let served: u64 = all.iter().map(|(served, _)| served).sum();
        let most = all.iter().map(|(served, hits)| served + hits).max().expect("nodes");
        let hits: u64 = all.iter().map(|(_, hits)| hits).sum();
        println!("{:<12} {served:>16} {most:>20} {hits:>14}", format!("{caching:?}"));
    }
}

#[test]
#[ignore = "minutes"]
fn blocks_lost_when_many_servers_die_at_once() {
    const MANY: u64 = 500;
    println!("{:>6} {:>6} {:>8} {:>10} {:>12}", "copies", "dead", "lost", "expected", "unreadable");
    for (replicas, dead) in [(3, 0.3), (3, 0.5), (6, 0.5)] {
        let mut ring = planetlab(490, replicas);
        fill(&mut ring, 0..MANY);
        let mut members = ring.members();
        for at in 0..(members.len() as f64 * dead) as usize {
            let other = at + ring.below((members.len() - at) as u64) as usize;
            members.swap(at, other);
            ring.crash(members[at]);
        }
        let lost: Vec<u64> = (0..MANY).filter(|number| copies(&ring, &id(*number)) == 0).collect();
        ring.run(Duration::from_secs(240));
        let calls: Vec<_> = (0..MANY)
            .filter(|number| !lost.contains(number))
            .map(|number| {
                let node = ring.any();
                (number, ring.call(node, GET, &get_body(Kind::Content, id(number), Caching::Replicas)))
            })
            .collect();
        ring.run(Duration::from_secs(20));
        let unreadable = calls.into_iter().filter(|(number, call)| {
            let answer = ring.answer(*call).and_then(|answer| answer.outcome.ok());
            answer.and_then(|answer| found(Kind::Content, &id(*number), &answer)).is_none()
        });
        let unreadable = unreadable.count();
        let expected = f64::powi(dead, i32::from(replicas)) * 100.0;
        let part = lost.len() as f64 / MANY as f64 * 100.0;
        println!("{replicas:>6} {:>5.0}% {part:>7.2}% {expected:>9.2}% {unreadable:>12}", dead * 100.0);
        assert_eq!(unreadable, 0, "what has a replica is read");
        let whole = (0..MANY).filter(|number| !lost.contains(number));
        let whole = whole.filter(|number| copies(&ring, &id(*number)) >= usize::from(replicas)).count();
        assert_eq!(whole, MANY as usize - lost.len(), "repaired");
    }
}
