//! The ring: it forms, it heals, and it lets in only who belongs to it.

use std::time::{Duration, Instant};

use prost_certs::{NODE_CERTIFICATE, NODE_KEY};
use prost_kbr::Key;
use prost_node::standard::DHT;
use prost_tests::{Plan, Ring, provider};
use rustix::process::Signal;

/// Every node finds the true owner of many keys.
fn assert_lookups_are_right(ring: &Ring) {
    for number in 0..20 {
        let key = Key::hash(format!("key {number}").as_bytes());
        let owner = ring[ring.replicas(key, 1)[0]].id;
        for node in 0..ring.nodes().len() {
            let found = ring.lookup(node, key);
            assert_eq!(found.result.map(|peer| peer.id), Ok(owner), "{key} from node {node}\n{}", ring.tails());
        }
    }
}

#[test]
fn six_nodes_form_a_ring_that_can_be_asked() {
    let ring = Plan::of(6).start();

    assert!(ring[0].ask(&["ring", "check"]).ok().contains("ideal: 6 members"));
    let checked = ring[3].ask(&["ring", "check", "--json"]).json();
    assert_eq!(checked["ideal"], true);
    assert_eq!(checked["members"].as_array().map(Vec::len), Some(6));

    let key = Key::hash(b"some name");
    let owner = ring[ring.replicas(key, 1)[0]].id.to_string();
    let found = ring[1].ask(&["ring", "lookup", "some name", "--json"]).json();
    assert_eq!(found["owner"]["id"], owner);
    assert_eq!(found["path"].as_array().and_then(|path| path.last()).map(|hop| &hop["node"]), Some(&owner.into()));

    let status = ring[2].ask(&["status", "--json"]).json();
    assert_eq!(status["id"], ring[2].id.to_string());
    assert_eq!(status["state"], "member");
    assert_eq!(status["successors"].as_array().map(Vec::len), Some(4));
    assert_eq!(ring[5].ask(&["health"]).ok(), "ready\n");
    assert_lookups_are_right(&ring);
}

#[test]
fn a_node_that_is_told_to_end_leaves_and_is_dropped_at_once() {
    let mut ring = Plan::of(5).start();
    let mut leaver = ring.take(2);

    leaver.signal(Signal::TERM);
    let status = leaver.ended(Duration::from_secs(10));
    let gone = Instant::now();

    assert_eq!(status.code(), Some(0), "{}", leaver.tail());
    ring.until("nobody knows the node that left", Duration::from_secs(2), || {
        ring.nodes().iter().all(|node| {
            let status = node.status();
            status.successors.iter().chain(&status.predecessors).all(|known| known.id != leaver.id)
        })
    });
    assert!(gone.elapsed() < Duration::from_secs(3), "{:?}", gone.elapsed());
    ring.until_ideal();
    assert_lookups_are_right(&ring);
}

#[test]
fn a_killed_node_is_healed_around() {
    let mut ring = Plan::of(6).start();
    ring.kill(3);
    ring.until_ideal();
    assert_lookups_are_right(&ring);
    assert!(ring[0].ask(&["ring", "check"]).ok().contains("ideal: 5 members"));
}

#[test]
fn a_node_comes_back_with_its_id_its_packages_and_its_records() {
    let mut ring = Plan::of(3).start();
    ring.install(&DHT.package(&provider()));
    ring[0].dht().put(b"kept", &mut &b"value"[..]).expect("it is stored");
    let ids = ring.ids();

    // Each had a copy, and each can be the only one left. The first ends in order, the second does not.
    ring[1].signal(Signal::TERM);
    assert_eq!(ring[1].ended(Duration::from_secs(10)).code(), Some(0));
    ring[2].kill();
    ring.restart(1);
    ring.restart(2);
    ring.until_ideal();
    ring.kill(0);
    ring.until_ideal();

    assert!(ring.nodes().iter().all(|node| ids.contains(&node.id)));
    let (major, minor, patch) = DHT.version;
    let installed = format!("{major}.{minor}.{patch}");
    for node in ring.nodes() {
        let status = node.status();
        assert_eq!(status.peerlets.len(), 1, "{status:?}");
        assert_eq!(status.peerlets[0].version, Some(installed.clone()));
        assert_eq!(
            node.dht().get(b"kept").expect("the dht answers").as_deref(),
            Some(&b"value"[..]),
            "{}",
            node.tail()
        );
    }
}

#[test]
fn a_node_alone_has_what_it_acknowledged_before_it_was_killed() {
    let mut ring = Plan::of(1).start();
    let id = ring[0].id;
    ring.install(&DHT.package(&provider()));
    ring[0].dht().put(b"kept", &mut &b"value"[..]).expect("it is stored");

    ring[0].kill();
    ring.restart(0);
    ring.until_ideal();

    assert_eq!(ring[0].id, id);
    assert_eq!(ring[0].dht().get(b"kept").expect("the dht answers").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_directory_or_a_port_that_is_taken_is_refused() {
    let ring = Plan::of(1).start();

    let (code, line) = ring.spawn_with(&ring[0].dir, &[]).refused();
    assert_eq!(code, Some(73), "{line}");
    assert!(line.contains("is in use by process"), "{line}");

    let dir = ring.directory("late");
    let (code, line) = ring.spawn_with(&dir, &["--listen", &ring[0].listen.to_string()]).refused();
    assert_eq!(code, Some(73), "{line}");
    assert!(line.starts_with("error: ") && line.contains(&ring[0].listen.to_string()), "{line}");
    ring.until_ideal();
}

#[test]
fn the_data_of_another_node_is_refused() {
    let mut ring = Plan::of(1).start();
    let other = ring.join();
    let other_id = other.id;
    other.kill();
    let mut other = ring.take(1);
    assert!(!other.is_running());

    for file in [NODE_CERTIFICATE, NODE_KEY] {
        std::fs::copy(ring[0].dir.join(file), other.dir.join(file)).expect("both are there");
    }
    let (code, line) = ring.spawn_with(&other.dir, &[]).refused();

    assert_eq!(code, Some(78), "{line}");
    assert!(line.contains(&other_id.to_string()) && line.contains(&ring[0].id.to_string()), "{line}");
}

#[test]
fn a_node_of_a_ring_of_another_name_stays_outside() {
    let ring = Plan::of(2).start();
    let dir = ring.directory("stranger");

    let stranger = ring.spawn_with(&dir, &["--ring", "other"]).up();

    ring[0].until_metric("prost_connections_refused_total", &[("reason", "wrong_ring")], 1.0);
    assert!(stranger.ask(&["health"]).refused(69).contains("not a member"));
    assert_eq!(stranger.status().state, "joining");
    ring.until_ideal();
}

#[test]
fn a_ring_without_an_authority_works_and_says_so() {
    let ring = Plan::of(3).open().start();
    assert_lookups_are_right(&ring);
    for node in ring.nodes() {
        assert!(node.log().contains("this ring is open to every node"), "{}", node.tail());
    }
}
