//! Applications that install themselves, and nodes that will not have them.

use std::time::{Duration, Instant};

use prost_contract::Capability;
use prost_dht_api::Refusal;
use prost_kbr::Key;
use prost_node::dht_client::DhtError;
use prost_node::standard::DHT;
use prost_package::{Package, ProviderKey};
use prost_tests::{Node, PATIENCE, Plan, allow, deny, http, package, provider};

const DENIED: (&str, &[(&str, &str)]) = ("prost_peerlet_rejected_total", &[("reason", "denied")]);

fn all_capabilities() -> Vec<Capability> {
    DHT.capabilities.iter().map(|(capability, _)| *capability).collect()
}

fn installs(node: &Node) -> f64 {
    node.metric("prost_peerlet_installs_total", &[])
}

#[test]
fn exactly_the_nodes_that_run_an_application_fetch_it_each_once() {
    let ring = Plan::of(10).successors(2).without_fingers().start();
    // From some node the way to some key leads over another that is not among its replicas, as it is not itself.
    let is_far = |origin: usize, name: &str| {
        let key = Key::hash(name.as_bytes());
        let replicas = ring.replicas(key, 3);
        let path = ring.lookup(origin, key).path.expect("a lookup tells its path");
        let mut path = path.iter().map(|hop| ring.number(hop.node));
        path.any(|node| node != origin && !replicas.contains(&node)) && !replicas.contains(&origin)
    };
    let names: Vec<String> = (0..200).map(|number| format!("name-{number}")).collect();
    let far = (0..10).find_map(|origin| Some((origin, names.iter().find(|name| is_far(origin, name))?)));
    let (origin, name) = far.expect("ten nodes do not all know each other");
    let key = Key::hash(name.as_bytes());
    let path = ring.lookup(origin, key).path.expect("a path");
    let path: Vec<usize> = path.iter().map(|hop| ring.number(hop.node)).collect();
    let replicas = ring.replicas(key, 3);
    let app = ring[origin].install(&DHT.package(&provider()));

    ring[origin].dht().put(name.as_bytes(), &mut &b"value"[..]).expect("it is stored");

    ring.until("all replicas run it", PATIENCE, || {
        replicas.iter().all(|node| ring[*node].status().peerlets.iter().any(|peerlet| peerlet.state == "running"))
    });
    for number in 0..10 {
        ring[origin].dht().put(name.as_bytes(), &mut format!("{number}").as_bytes()).expect("it is stored");
    }
    for (number, node) in ring.nodes().iter().enumerate() {
        let status = node.status();
        let runs = number == origin || replicas.contains(&number);
        let told = format!("node {number}, path {path:?}, replicas {replicas:?}: {status:?}");
        assert_eq!(status.installs.len(), usize::from(runs), "{told}");
        node.until_metric("prost_peerlet_installs_total", &[], if runs { 1.0 } else { 0.0 });
        assert_eq!(installs(node), if runs { 1.0 } else { 0.0 }, "{told}");
        assert_eq!(status.peerlets.iter().any(|peerlet| peerlet.usage.calls > 0), runs, "{told}");
        assert_eq!(status.peerlets.is_empty(), !runs, "{told}");
        for install in &status.installs {
            assert_eq!(install.app, app);
            assert_eq!(install.from == "local", number == origin, "{told}");
            assert_eq!(install.peer.is_none(), number == origin, "{told}");
            assert!(install.bytes as usize > DHT.component.len(), "{told}");
        }
    }
    // The message did pass other nodes, which only forwarded it.
    let transit: Vec<usize> = path.into_iter().filter(|node| *node != origin && !replicas.contains(node)).collect();
    assert!(!transit.is_empty());
    for node in transit {
        ring[node].until_metric("prost_route_messages_total", &[("event", "forwarded")], 1.0);
        assert_eq!(ring[node].metric("prost_peerlet_calls_total", &[]), 0.0);
    }
}

#[test]
fn a_refusal_of_the_responsible_node_falls_over_to_the_next() {
    let ring = Plan::of(6).start();
    let name = ring.name_where(|ring, key| !ring.replicas(key, 4).contains(&0));
    let replicas = ring.replicas(Key::hash(name.as_bytes()), 3);
    let root = &ring[replicas[0]];
    root.set_policy(&deny());
    ring[0].install(&DHT.package(&provider()));

    ring[0].dht().put(name.as_bytes(), &mut &b"value"[..]).expect("it is stored elsewhere");

    assert_eq!(ring[0].dht().get(name.as_bytes()).expect("the dht answers").as_deref(), Some(&b"value"[..]));
    let next = &ring[replicas[1]];
    assert_eq!(next.status().installs.len(), 1, "{:?}", next.status());
    // The node that denied it has not even fetched it.
    root.until_metric(DENIED.0, DENIED.1, 1.0);
    assert_eq!(installs(root), 0.0);
    assert_eq!(root.status().installs, []);
    assert!(root.status().refusals["denied"] > 0);
    assert_eq!(root.metric("prost_peerlet_calls_total", &[]), 0.0);
}

#[test]
fn where_no_node_will_the_caller_is_told() {
    let ring = Plan::of(5).policy(deny()).start();
    ring[0].set_policy(&allow(&provider(), &all_capabilities()));
    ring[0].install(&DHT.package(&provider()));
    let name = ring.name_where(|ring, key| !ring.replicas(key, 4).contains(&0));

    let refused = ring[0].dht().put(name.as_bytes(), &mut &b"value"[..]);

    assert!(matches!(refused, Err(DhtError::Refused(Refusal::NoWillingNode))), "{refused:?}");
    assert!(ring[0].ask(&["dht", "get", &name]).refused(1).contains("no-willing-node"));
    for node in &ring.nodes()[1..] {
        assert_eq!(installs(node), 0.0);
        assert_eq!(node.status().peerlets, []);
    }
    ring[ring.replicas(Key::hash(name.as_bytes()), 1)[0]].until_metric(DENIED.0, DENIED.1, 1.0);
}

#[test]
fn a_package_of_a_provider_whom_nobody_knows_is_denied() {
    let ring = Plan::of(1).start();
    let file = ring.path("stranger.prost");
    std::fs::write(&file, DHT.package(&ProviderKey::from_seed(&[8; 32])).encode()).expect("room");

    let said = ring[0].ask(&["peerlet", "install", file.to_str().expect("a plain name")]);

    assert!(said.refused(77).contains("denied"), "{said:?}");
    ring[0].until_metric(DENIED.0, DENIED.1, 1.0);
    assert_eq!(installs(&ring[0]), 0.0);
}

#[test]
fn a_node_without_room_says_what_there_is_too_little_of() {
    let ring = Plan::of(1).start();
    let policy = allow(&provider(), &all_capabilities());
    let file = ring.path("dht.prost");
    std::fs::write(&file, DHT.package(&provider()).encode()).expect("room");
    ring[0].set_policy(&policy.replace("applications = 64", "applications = 1"));
    let other = package(&provider(), "other", DHT.component.to_vec(), &all_capabilities());
    ring[0].install(&other);

    let said = ring[0].ask(&["peerlet", "install", file.to_str().expect("a plain name")]);

    assert!(said.refused(77).contains("over-budget"), "{said:?}");
    assert!(said.refused(77).contains("node.applications"), "{said:?}");
    ring[0].until_metric("prost_peerlet_rejected_total", &[("reason", "over-budget")], 1.0);
    assert!(ring[0].admin.remove("other").is_ok());
    ring[0].install(&DHT.package(&provider()));
}

#[test]
fn a_package_that_was_tampered_with_is_refused() {
    let ring = Plan::of(1).start();
    let (ours, other) = (provider(), ProviderKey::from_seed(&[8; 32]));
    let whole = DHT.package(&ours).encode();
    let mut component = whole.clone();
    *component.last_mut().expect("it is not empty") ^= 1;
    // Signed by the one, and in the name of the other, who may run here.
    let forged = replace(&DHT.package(&other).encode(), &other.public(), &ours.public());

    for (what, bytes) in [("component", &component), ("provider", &forged), ("end", &whole[..1000].to_vec())] {
        let file = ring.path(what);
        std::fs::write(&file, bytes).expect("room");
        let said = ring[0].ask(&["peerlet", "install", file.to_str().expect("a plain name")]);
        assert!(said.refused(65).contains(what), "{said:?}");
        // The node itself does not believe the command line.
        let token = format!("Authorization: Bearer {}", ring[0].token());
        let head = ["Host: localhost", "Content-Type: application/octet-stream", &token];
        let answer = http(ring[0].admin_addr, "POST /api/v1/peerlets", &head, bytes);
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
    }
    assert_eq!(installs(&ring[0]), 0.0);
    assert!(Package::decode(whole.into()).is_ok());
}

/// The bytes with one part in place of another of the same length.
fn replace(bytes: &[u8], part: &[u8; 32], by: &[u8; 32]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = bytes.windows(32).enumerate().filter(|(_, at)| at == part).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + 32].copy_from_slice(by);
    }
    bytes
}

#[test]
fn a_policy_that_denies_stops_what_runs() {
    let ring = Plan::of(1).start();
    ring.install(&DHT.package(&provider()));
    ring[0].dht().put(b"name", &mut &b"value"[..]).expect("it is stored");

    ring[0].set_policy(&deny());
    let read = Instant::now();
    let dht = ring[0].dht().with_patience(Duration::ZERO);
    while dht.get(b"name").is_ok() {
        assert!(read.elapsed() < Duration::from_secs(1), "it still runs\n{}", ring.tails());
    }

    let said = ring[0].ask(&["dht", "get", "name"]);
    assert!(said.code.is_some_and(|code| code != 0) && said.stderr.lines().count() == 1, "{said:?}");
    assert!(ring[0].admin.install(&DHT.package(&provider()).encode()).is_err());
    // What it stored is not lost.
    ring[0].set_policy(&allow(&provider(), &all_capabilities()));
    ring.install(&DHT.package(&provider()));
    assert_eq!(ring[0].dht().get(b"name").expect("the dht answers").as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_node_that_starts_again_compiles_nothing() {
    let mut ring = Plan::of(3).start();
    ring.install(&DHT.package(&provider()));
    ring[0].dht().put(b"name", &mut &b"value"[..]).expect("it is stored");
    let compiled = |node: &Node| node.metric("prost_compiles_total", &[]);
    let cached = |node: &Node, found| node.metric("prost_compile_cache_total", &[("result", found)]);
    assert_eq!((compiled(&ring[0]), cached(&ring[0], "hit"), cached(&ring[0], "miss")), (1.0, 0.0, 1.0));

    ring[0].kill();
    ring.restart(0);

    let runs = |node: &Node| node.status().peerlets.iter().any(|peerlet| peerlet.state == "running");
    ring.until("it runs again", PATIENCE, || runs(&ring[0]));
    ring[0].until_metric("prost_compile_cache_total", &[("result", "hit")], 1.0);
    assert_eq!((compiled(&ring[0]), cached(&ring[0], "miss")), (0.0, 0.0));
    assert_eq!(ring[0].dht().get(b"name").expect("the dht answers").as_deref(), Some(&b"value"[..]));
}
