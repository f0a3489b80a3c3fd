//! The stream's figures at a thousand receivers on PlanetLab's latencies. Each prints a table:
//! `cargo test --release -p p2ptv --test figures -- --ignored --nocapture`.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use core::time::Duration;

use prost_peerlet_ring::{Index, Latency, Setup};
use support::{Show, millis};

const NODES: u32 = 1000;
/// Receivers that are there from the start; the others come in the middle.
const EARLY: usize = 900;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn at(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil().max(1.0) as usize - 1;
    sorted.get(rank).copied().unwrap_or(0)
}

/// A minute of stream to a thousand receivers, a hundred of which come between its fifteenth and thirty-fifth second. In its
/// fortieth, so many of the hundred relays each are killed.
fn minute(percent_killed: usize) -> Show {
    let mut show = Show::new(Setup { nodes: NODES, latency: Latency::PlanetLab, ..Setup::new("p2ptv") }, 1000);
    let members = show.ring.members();
    show.watch(&members[..EARLY]);
    show.idle(seconds(10));
    show.stream(30, false);
    for late in members[EARLY..].chunks(5) {
        show.watch(late);
        show.stream(2, false);
    }
    show.stream(10, false);
    let relays: Vec<Index> = show.relays().into_iter().filter(|node| *node != show.source).collect();
    println!("relays                  {} of {NODES}", relays.len());
    let victims: Vec<Index> = relays.iter().copied().step_by(100 / percent_killed.max(1)).collect();
    if percent_killed > 0 {
        println!("killed                  {}", victims.len());
        victims.into_iter().for_each(|node| show.crash(node));
    }
    show.stream(40, true);
    show.idle(seconds(20));
    show
}

fn report(show: &Show) -> u64 {
    let mut delays: Vec<u64> =
        show.viewers.values().flat_map(|viewer| viewer.delays.iter().map(|delay| millis(*delay))).collect();
    delays.sort_unstable();
    let reports: Vec<_> = show.viewers.values().map(|viewer| viewer.playback.report()).collect();
    let late = |viewer: &&support::Viewer| viewer.seen.first().is_some_and(|first| *first > 0);
    let mut startups: Vec<u64> =
        show.viewers.values().filter(late).filter_map(|viewer| viewer.playback.report().startup_ms).collect();
    startups.sort_unstable();
    let parts: Vec<_> = show.ring.members().iter().filter_map(|node| show.stats(*node)).collect();
    let sum = |of: fn(&prost_p2ptv_api::Stats) -> u64| parts.iter().map(of).sum::<u64>();
    let segments = sum(|part| part.counts.segments);
    let mut degrees: Vec<u64> = parts.iter().map(|part| u64::from(part.children)).filter(|count| *count > 0).collect();
    degrees.sort_unstable();
    let stalled = reports.iter().filter(|report| report.stalls > 0).count();
    let missing: u64 = show
        .viewers
        .values()
        .map(|viewer| show.segments() - viewer.seen.first().unwrap_or(&0) - viewer.seen.len() as u64)
        .sum();
    println!("segments                {} to {} receivers: {}", show.segments(), reports.len(), delays.len());
    println!(
        "delay ms                p50 {} p95 {} p99 {} max {}",
        at(&delays, 0.5),
        at(&delays, 0.95),
        at(&delays, 0.99),
        at(&delays, 1.0)
    );
    let slow = delays.iter().filter(|delay| **delay > 3000).count();
    println!(
        "later than 3 s          {slow}, by {} receivers",
        show.viewers.values().filter(|viewer| viewer.delays.iter().any(|delay| millis(*delay) > 3000)).count()
    );
    println!("not received            {missing}");
    println!("duplicates              {} of {segments}", sum(|part| part.counts.duplicates));
    println!("repaired                {} of {segments}", sum(|part| part.counts.repaired));
    println!(
        "out-degree of relays    mean {:.1} p95 {} max {}",
        degrees.iter().sum::<u64>() as f64 / degrees.len().max(1) as f64,
        at(&degrees, 0.95),
        at(&degrees, 1.0)
    );
    println!("depth                   max {}", parts.iter().map(|part| part.depth).max().unwrap_or(0));
    println!(
        "late joiners' start ms  {} of them: p50 {} p95 {} max {}",
        startups.len(),
        at(&startups, 0.5),
        at(&startups, 0.95),
        at(&startups, 1.0)
    );
    println!("receivers that stalled  {stalled}");
    at(&delays, 0.99)
}

#[test]
#[ignore = "takes minutes"]
fn a_thousand_receivers() {
    let show = minute(0);
    let p99 = report(&show);
    show.assert_whole();
    assert!(p99 <= 1500, "{p99} ms");
}

#[test]
#[ignore = "takes minutes"]
fn a_thousand_receivers_and_a_tenth_of_the_relays_killed() {
    let show = minute(10);
    let p99 = report(&show);
    show.assert_whole();
    println!("p99 target              1500 ms, {}", if p99 <= 1500 { "met" } else { "missed" });
}
