//! A message that brings its application: node one has it, node two gets it from node one and delivers the message.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::Capability;
use prost_node::compiler::{ChildCompiler, ChildLimits, Compiler};
use prost_node::standard::DHT;
use prost_sandbox::{Code, Engine, EngineOptions};

use crate::host::{Authority, Host, package, until_ring};
use crate::table;

/// A small component.
const ECHO: &[u8] = include_bytes!(concat!(env!("PROST_PEERLETS_DIR"), "/echo.wasm"));
const ECHO_CAPABILITIES: [Capability; 2] = [Capability::Route, Capability::Client];
const ROUNDS: usize = 11;
/// Between two messages, so that a node has nothing else to do.
const PAUSE: Duration = Duration::from_millis(300);

fn child() -> ChildCompiler {
    ChildCompiler::new(PathBuf::from(env!("CARGO_BIN_EXE_prost")), ChildLimits::default())
}

pub(crate) fn run() {
    let capabilities: Vec<Capability> = DHT.capabilities.iter().map(|(capability, _)| *capability).collect();
    bring("echo", ECHO, &ECHO_CAPABILITIES);
    bring("dht", DHT.component, &capabilities);
}

fn bring(name: &str, component: &[u8], capabilities: &[Capability]) {
    let digest = blake3::hash(component);
    let engine = Engine::new(EngineOptions::default()).expect("an engine");
    let authority = Authority::new();
    let one = Host::start(&authority, Compiler::in_child(child(), None), Vec::new());
    let two = Host::start(&authority, Compiler::in_child(child(), None), vec![one.peer.addr]);
    until_ring(&[&one, &two]);
    let (package, header) = package(name, component.to_vec(), capabilities);
    let app = one.install(&package);

    let mut took: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        child().compile(&engine, component, digest.as_bytes()).expect("it compiles");
        let alone = begun.elapsed();
        let begun = Instant::now();
        Code::compile(&engine, component).expect("it compiles");
        let here = begun.elapsed();
        std::thread::sleep(PAUSE);
        let begun = Instant::now();
        let outcome = one.send(&header, two.peer.id, &Bytes::from_static(b"hello"));
        let outcome = outcome.blocking_recv().expect("the node runs");
        let cold = begun.elapsed();
        assert_eq!(outcome.result.as_ref().map(|peer| peer.id), Ok(two.peer.id), "{outcome:?}");
        two.remove(&app);
        std::thread::sleep(PAUSE);
        // The first one only warms up.
        for (took, time) in took.iter_mut().zip([alone, here, cold]).filter(|_| round > 0) {
            took.push(time.as_secs_f64() * 1e3);
        }
    }
    println!(
        "\ninstall: {name}, {} B from the previous hop, {ROUNDS} rounds; ratios to wasmtime's compiler",
        component.len()
    );
    table::line("wasmtime's compiler alone, in this process", "ms", &took[1], &took[1]);
    table::line("the compiler alone, in a process of its own", "ms", &took[0], &took[1]);
    table::line("from message to outcome, cold", "ms", &took[2], &took[1]);
}
