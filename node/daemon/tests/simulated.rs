//! Real components on a simulated ring.

use std::time::Duration;

use bytes::Bytes;
use prost_contract::{CONTRACT, Capability};
use prost_kbr::Dispatch;
use prost_node::simulated::Sandboxed;
use prost_node::standard::DHT;
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, ProviderKey, SignedManifest};
use prost_sim::report::{Calls, Messages, Report};
use prost_sim::scenario::{Options, Payload, Peerlet, Workload, run_peerlet};

/// The smallest of the repository's peerlets: it sends back what it is told.
const ECHO: &[u8] = include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/echo.wasm"));

fn echo() -> Package {
    let key = ProviderKey::from_seed(&[7; 32]);
    let component = Bytes::from_static(ECHO);
    let asked = [Capability::Route, Capability::Client];
    let manifest = Manifest {
        format: 1,
        name: "echo".parse().expect("a name"),
        provider: key.public(),
        version: semver::Version::new(0, 1, 0),
        sequence: 1,
        component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
        world: CONTRACT.to_owned(),
        capabilities: asked.map(|asked| (asked, "a test needs it".to_owned())).into(),
        budgets: Budgets::default(),
        replicas: 1,
        acknowledgement: Acknowledgement::One,
        expires: None,
    };
    Package::new(SignedManifest::sign(manifest, &key).expect("a manifest"), component).expect("a package")
}

fn play(nodes: u32, package: Package, workload: Workload) -> Report {
    let options = Options {
        nodes,
        seed: 11,
        duration: Duration::from_secs(60),
        lookups: 20,
        latency: "fixed:40ms".to_owned(),
        rest: Duration::from_secs(10),
        ..Options::default()
    };
    let runtime = Box::new(Sandboxed::new().expect("an engine"));
    run_peerlet(&options, Peerlet { package, runtime, workload }, &mut |_| ()).expect("a run").report
}

fn all_delivered(count: u64) -> Messages {
    Messages { asked: count, delivered: count, ..Messages::default() }
}

#[test]
fn echo_on_fifty_nodes_delivers_every_message_and_does_the_same_each_time() {
    let workload = || Workload { messages: 200, payload: Payload::Bytes(500), ..Workload::default() };
    let [one, two] = [(); 2].map(|()| play(50, echo(), workload()));
    let peerlet = one.peerlet.as_ref().expect("a peerlet");
    assert_eq!(peerlet.messages, all_delivered(200));
    // Each message is answered straight to where it came from.
    assert!(peerlet.events >= 400 && peerlet.installs > 30 && peerlet.traps.is_empty(), "{peerlet:?}");
    assert!(peerlet.fuel.per_event > 100.0);
    assert_eq!(one, two, "same seed, same figures, same hash");
    let others = play(50, echo(), Workload { dispatch: Dispatch::PerHop, ..workload() });
    assert_ne!(others.trace_hash, one.trace_hash);
    assert_eq!(others.peerlet.expect("a peerlet").messages, all_delivered(200));
}

#[test]
fn the_dht_keeps_and_finds_values() {
    let put = r#"put:cbor:{"key":"hex:{key}","name":"bytes:n","value":"bytes:value {i}"}"#;
    let get = r#"get:cbor:{"key":"hex:{key}","name":"bytes:n"}"#;
    let asks = [put, get].map(|ask| ask.parse().expect("a call")).to_vec();
    let workload = Workload { messages: 0, calls: 100, asks, ..Workload::default() };
    let package = DHT.package(&ProviderKey::from_seed(&[7; 32]));
    let report = play(20, package, workload);
    let peerlet = report.peerlet.expect("a peerlet");
    assert_eq!(peerlet.calls, Calls { asked: 100, answered: 100, ..Calls::default() });
    // Fifty values, each on three nodes.
    let stored = peerlet.stored_bytes.expect("records").mean * 20.0;
    assert!(stored > 150.0 * 64.0, "{stored}");
    assert_eq!(peerlet.refusals.values().sum::<u64>() + peerlet.traps.values().sum::<u64>(), 0, "{peerlet:?}");
}
