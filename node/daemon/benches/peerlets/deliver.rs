//! A message into a warm peerlet that reads one record: in four places, from a bare call to a whole node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost_contract::SharedRecords;
use prost_contract::{Capability, Change, Event, Execution, Limits, Message, Outcome, Place, Records, Unavailable};
use prost_kbr::{Dispatch, Id, Interval, Key};
use prost_manager::RunEvent;
use prost_node::actor::Actor;
use prost_node::compiler::Compiler;
use prost_node::store::{DataDir, Store};
use prost_package::Grant;
use prost_sandbox::{Engine, EngineOptions};

use crate::bare::Bare;
use crate::component::{OK, Peerlet};
use crate::host::{Authority, Host, package};
use crate::{GET, NAME, PAYLOAD, PUT, table};

const ROUNDS: usize = 9;
const MESSAGES: u64 = 40_000;
/// Events that a node hands to the sandbox at once.
const BATCH: u64 = 32;
/// Messages whose outcome is waited for, at most.
const WINDOW: usize = 1024;

pub(crate) fn run() {
    let peerlet = Peerlet::new().storage().module(NAME).init(&format!("{PUT} {OK}")).deliver(&format!("{GET} {OK}"));
    let component = peerlet.build();
    let mut bare = Bare::start(&component);
    let mut in_map = Sandbox::start(&component, Arc::new(Map::default()));
    let disk = tempfile::tempdir().expect("a directory");
    let store = store(&disk);
    let app = app();
    let mut in_store = Sandbox::start(&component, store.records(&app, 0));

    let host = Host::start(&Authority::new(), Compiler::here(), Vec::new());
    let (package, header) = package("reader", component, &[Capability::Storage]);
    host.install(&package);
    let payload = Bytes::from(vec![7; PAYLOAD]);
    let whole = |count: u64| {
        let begin = |host: &Host| host.send(&header, host.peer.id, &payload);
        host.repeat(WINDOW, begin, |begun| begun < count, |outcome| assert!(outcome.result.is_ok(), "{outcome:?}"));
    };

    let mut took: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let count = if round == 0 { MESSAGES / 10 } else { MESSAGES };
        let times =
            [timed(|| bare.deliver(count)), in_map.deliver(count), in_store.deliver(count), timed(|| whole(count))];
        // The first one only warms up.
        for (took, time) in took.iter_mut().zip(times).filter(|_| round > 0) {
            took.push(time.as_secs_f64() * 1e6 / count as f64);
        }
    }
    println!(
        "\ndeliver: {PAYLOAD} B, one record of 100 B read, {ROUNDS} rounds of {MESSAGES}; ratios to the bare call"
    );
    table::line("bare wasmtime call, record from a map", "us", &took[0], &took[0]);
    table::line("the sandbox, record from a map", "us", &took[1], &took[0]);
    table::line("the sandbox, record from the node's store", "us", &took[2], &took[0]);
    table::line("a whole node, from message to outcome", "us", &took[3], &took[0]);
    let [_, each, _] = table::spread(took[3].iter().copied());
    println!("a whole node delivers {:.0} messages/s", 1e6 / each);
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

/// The sandbox as a worker's thread has it.
struct Sandbox {
    actor: Actor,
    records: SharedRecords,
    event: RunEvent,
}

impl Sandbox {
    fn start(component: &[u8], records: SharedRecords) -> Sandbox {
        let engine = Engine::new(EngineOptions::default()).expect("an engine");
        let grant = Grant {
            capabilities: [Capability::Storage].into(),
            budgets: prost_package::Budgets::default(),
            wasi: true,
        };
        let (compiled, _) = Compiler::here().compile(&engine, component, &grant);
        let actor = Actor::new(compiled.expect("it compiles"), Limits::default(), Arc::new(crate::host::Nobody));
        let me = Id::from_bytes([1; Id::LEN]);
        let message = Message {
            id: 9,
            key: Some(me),
            dispatch: Dispatch::EndNode,
            origin: me,
            previous: me,
            hops: 0,
            payload: vec![7; PAYLOAD].into(),
        };
        Sandbox {
            actor,
            records,
            event: RunEvent { event: Event::Deliver(message), context: crate::alone::context(me) },
        }
    }

    /// Runs so many events; how long that took, without the making of them.
    fn deliver(&mut self, count: u64) -> Duration {
        let batches: Vec<Vec<RunEvent>> =
            (0..count / BATCH).map(|_| vec![self.event.clone(); BATCH as usize]).collect();
        timed(|| {
            for events in batches {
                let executions = self.actor.run(events, self.records.clone(), 0, |_| true);
                let good = |run: &Execution| run.outcome == Outcome::Done;
                assert!(executions.len() == BATCH as usize && executions.iter().all(good), "{executions:?}");
            }
        })
    }
}

fn app() -> prost_kbr::AppId {
    prost_kbr::AppId { provider: [7; 32], name: "reader".parse().expect("a name") }
}

/// A store in which the record is durable.
fn store(disk: &tempfile::TempDir) -> Store {
    let data = DataDir::open(disk.path()).expect("a data directory");
    let (tell, told) = std::sync::mpsc::channel();
    let on_commit = Box::new(move |batch: prost_node::store::Batch| drop(tell.send(batch.result)));
    let store = Store::open(&data, Id::from_bytes([1; Id::LEN]), on_commit).expect("a store");
    let change = Change::Node { name: b"name".to_vec(), value: Some((vec![7; 100].into(), None)) };
    store.submit(&app(), 1, vec![change]).expect("it is taken");
    told.recv().expect("it is written").expect("it is durable");
    store
}

/// Records in a map.
struct Map(BTreeMap<(Place, Vec<u8>), Bytes>);

impl Default for Map {
    fn default() -> Map {
        Map(BTreeMap::from([((Place::Node, b"name".to_vec()), vec![7; 100].into())]))
    }
}

impl Records for Map {
    fn get(&self, place: Place, name: &[u8]) -> Result<Option<Bytes>, Unavailable> {
        Ok(self.0.get(&(place, name.to_vec())).cloned())
    }

    fn names(&self, _: Place, _: &[u8], _: Option<&[u8]>, _: usize) -> Result<Vec<Vec<u8>>, Unavailable> {
        Ok(Vec::new())
    }

    fn keys(&self, _: Interval, _: Option<Key>, _: usize) -> Result<Vec<Key>, Unavailable> {
        Ok(Vec::new())
    }
}
