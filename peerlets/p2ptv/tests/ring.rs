//! The stream on a ring of real nodes, in virtual time: what a network and a ring can do to it.

#[allow(dead_code, reason = "each test program uses a part of it")]
mod support;

use core::time::Duration;

use prost_peerlet_ring::{Latency, Setup};
use support::Show;

fn setup(nodes: u32, seed: u64) -> Setup {
    Setup { nodes, seed, ..Setup::new("p2ptv") }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A ring all of whose nodes watch before the stream begins.
fn all_watch(setup: Setup) -> Show {
    let mut show = Show::new(setup, 200);
    let members = show.ring.members();
    show.watch(&members);
    show.idle(seconds(5));
    show
}

#[test]
fn every_receiver_has_the_whole_stream_once() {
    let mut show = all_watch(Setup { latency: Latency::PlanetLab, ..setup(32, 1) });
    show.stream(20, true);
    show.idle(seconds(3));
    show.assert_whole_from_the_start();
    let parts: Vec<_> = show.ring.members().iter().filter_map(|node| show.stats(*node)).collect();
    assert_eq!(parts.len(), 32);
    assert!(parts.iter().all(|part| part.ended && part.children <= 8 && part.counts.forged == 0));
    let duplicates: u64 = parts.iter().map(|part| part.counts.duplicates).sum();
    assert!(duplicates <= 32 * 20 * 3 / 100, "{duplicates} of {}", 32 * 20);
    assert_eq!(parts.iter().filter(|part| part.parent.is_none()).count(), 1, "there is one root");
    assert!(show.viewers.values().all(|viewer| viewer.playback.report().stalls == 0));
    assert!(show.ring.problems().is_empty(), "{:?}", show.ring.problems());
}

#[test]
fn the_code_comes_with_the_receivers() {
    // Two nodes have it: the source, and one that watches.
    let mut show = Show::new(Setup { everywhere: false, ..setup(24, 2) }, 200);
    let watcher = show.ring.members()[20];
    show.ring.install(watcher);
    show.ring.run(seconds(2));
    show.watch(&[watcher]);
    show.idle(seconds(5));
    show.stream(10, true);
    show.idle(seconds(3));
    show.assert_whole_from_the_start();
}

#[test]
fn relays_that_die_take_nothing_along() {
    let mut show = all_watch(setup(32, 3));
    show.stream(10, false);
    let root = show.ring.owner(show.key);
    let victims: Vec<_> =
        show.relays().into_iter().filter(|node| ![root, show.source].contains(node)).take(3).collect();
    assert_eq!(victims.len(), 3);
    victims.into_iter().for_each(|node| show.crash(node));
    show.stream(40, true);
    show.idle(seconds(10));
    show.assert_whole_from_the_start();
}

#[test]
fn a_root_that_dies_is_replaced() {
    let mut show = all_watch(setup(24, 4));
    show.stream(10, false);
    show.crash(show.ring.owner(show.key));
    show.stream(60, true);
    show.idle(seconds(20));
    show.assert_whole_from_the_start();
}

#[test]
fn two_of_the_three_nodes_that_know_whose_the_channel_is_die_at_once() {
    let mut show = all_watch(setup(24, 5));
    show.stream(10, false);
    let replicas = show.ring.replicas(show.key, 3);
    let victims: Vec<_> = replicas.into_iter().filter(|node| *node != show.source).take(2).collect();
    victims.into_iter().for_each(|node| show.crash(node));
    show.stream(60, true);
    show.idle(seconds(20));
    show.assert_whole_from_the_start();
}

#[test]
fn a_node_that_never_heard_of_the_channel_becomes_its_root() {
    let mut show = all_watch(setup(24, 6));
    show.stream(10, false);
    let root = show.ring.join_as(show.key);
    show.stream(60, true);
    show.idle(seconds(10));
    assert_eq!(show.ring.owner(show.key), root);
    show.assert_whole_from_the_start();
    assert!(show.stats(root).is_some_and(|stats| stats.children > 0), "it took the channel over");
}

#[test]
fn a_network_that_loses_repeats_and_reorders_loses_nothing_of_the_stream() {
    let mut show = all_watch(setup(24, 7));
    show.ring.network(|network| {
        network.loss = 0.01;
        network.duplicate = 0.05;
        network.extra_delay = Duration::from_millis(30);
    });
    show.stream(60, true);
    show.idle(seconds(15));
    show.assert_whole_from_the_start();
}

#[test]
fn after_a_partition_the_far_side_has_all_of_it() {
    let mut show = all_watch(setup(24, 8));
    show.stream(10, false);
    let side: Vec<_> = show.ring.members().into_iter().filter(|node| *node != show.source).take(8).collect();
    show.ring.cut(&side);
    show.stream(60, false);
    show.ring.heal();
    show.stream(80, true);
    show.idle(seconds(40));
    show.assert_whole_from_the_start();
}

#[test]
fn clocks_that_are_wrong_change_nothing() {
    let mut show = all_watch(setup(16, 9));
    let members = show.ring.members();
    for (at, node) in members.into_iter().enumerate().filter(|(_, node)| *node != show.source) {
        let drift = if at % 2 == 0 { 100_000 } else { -100_000 };
        show.ring.skew(node, 0, drift);
    }
    show.stream(60, true);
    show.idle(seconds(5));
    show.assert_whole_from_the_start();
}

#[test]
fn who_comes_late_plays_soon_and_who_leaves_is_not_served() {
    let mut show = Show::new(Setup { latency: Latency::PlanetLab, ..setup(32, 10) }, 200);
    let members = show.ring.members();
    show.watch(&members[..16]);
    show.idle(seconds(5));
    show.stream(20, false);
    show.watch(&members[16..]);
    show.stream(20, false);
    for node in &members[..8] {
        show.leave(*node);
    }
    show.stream(10, true);
    show.idle(seconds(30));
    show.assert_whole();
    for viewer in members[16..].iter().map(|node| &show.viewers[node]) {
        let report = viewer.playback.report();
        assert!((15..=20).contains(&viewer.seen[0]), "it began with {}", viewer.seen[0]);
        assert!(report.startup_ms < Some(4000) && report.stalls == 0, "{report:?}");
    }
    let idle = |node: &&u32| show.stats(**node).is_some_and(|stats| stats.children == 0 && stats.parent.is_some());
    assert_eq!(members[..8].iter().filter(idle).count(), 0, "nobody receives for nobody");
}

#[test]
fn a_node_comes_back_under_another_id_and_watches_again() {
    let mut show = all_watch(setup(16, 11));
    show.stream(10, false);
    let victim = show.relays().into_iter().find(|node| *node != show.source).expect("there are relays");
    show.crash(victim);
    let node = show.ring.join();
    show.stream(20, false);
    show.ring.install(node);
    show.stream(4, false);
    show.watch(&[node]);
    show.stream(20, true);
    show.idle(seconds(10));
    show.assert_whole();
}
