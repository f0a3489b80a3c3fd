//! Applications on their threads: one that takes long is in nobody's way.

#[path = "../../sandbox/tests/support/alone.rs"]
mod alone;
#[allow(dead_code, unreachable_pub, reason = "the sandbox's own tests use the rest of it")]
#[path = "../../sandbox/tests/support/component.rs"]
mod component;

use std::collections::BTreeSet;
use std::sync::Arc;

use alone::Nothing;
use bytes::Bytes;
use component::{OK, Peerlet};
use prost_contract::{Event, Execution, Limits, Outcome, Request};
use prost_kbr::{AppId, Id, NodeId};
use prost_manager::RunEvent;
use prost_node::actor::Actor;
use prost_node::compiler::Compiler;
use prost_node::workers::{Done, Workers};
use prost_package::{Budgets, Grant};
use prost_sandbox::{Compiled, Engine, EngineOptions, Signature, Signer, Wasi};
use tokio::sync::mpsc;

/// A loop of the body's length, in millions of rounds; a round is a few units of fuel.
const WORK: &str = "(local $n i32) (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $n) (i32.mul (local.get $length) (i32.const 1000000)))))";
/// Rounds, in millions, of an event that takes a second or more.
const LONG: usize = 600;

struct Scene {
    workers: Workers,
    done: mpsc::Receiver<Done>,
}

impl Scene {
    /// Two applications that work as long as they are told to, however long that takes: no clock stops them.
    fn of(names: [&str; 2]) -> Scene {
        let (sender, done) = mpsc::channel(64);
        let signers = Arc::new(|_: &AppId| -> Arc<dyn Signer> { Arc::new(Nobody) });
        let workers = Workers::start(Compiler::here(), signers, sender).expect("an engine");
        let mut scene = Scene { workers, done };
        let component = Peerlet::new().serve(&format!("{WORK} {OK}")).build();
        let engine = Engine::new(EngineOptions { pooled_instances: 2, ..EngineOptions::default() }).expect("an engine");
        let compiled = Compiled::compile(&engine, &component, &BTreeSet::new(), Wasi::None).expect("it compiles");
        for name in names {
            let grant = Grant { capabilities: BTreeSet::new(), budgets: Budgets::default(), wasi: false };
            scene.workers.compile(app(name), component.clone().into(), grant);
            let Some(Done::Compiled { app, generation, .. }) = scene.done.blocking_recv() else { panic!("{name}") };
            assert!(scene.workers.is_current(&app, generation));
            let limits = Limits { fuel: u64::MAX, ..Limits::default() };
            scene.workers.load(&app, Actor::new(compiled.clone(), limits, Arc::new(Nobody)));
        }
        scene
    }

    fn new() -> Scene {
        Scene::of(["long", "short"])
    }

    /// Has an application work, event by event.
    fn run(&mut self, name: &str, lengths: &[usize]) {
        let events = lengths
            .iter()
            .map(|length| RunEvent { event: serve(*length), context: alone::context(Id::hash(b"me")) })
            .collect();
        self.workers.run(&app(name), events, Arc::new(Nothing), 0);
    }

    /// The next batch that has run: whose, and what came of it.
    fn ran(&mut self) -> (String, Vec<Execution>, bool) {
        match self.done.blocking_recv() {
            Some(Done::Ran { app, generation, executions }) => {
                let current = self.workers.is_current(&app, generation);
                (app.name.to_string(), executions, current)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn app(name: &str) -> AppId {
    AppId { provider: [7; 32], name: name.parse().expect("a name") }
}

fn serve(length: usize) -> Event {
    Event::Serve(Request { id: 1, method: "go".to_owned(), body: Bytes::from(vec![0; length]) })
}

struct Nobody;

impl Signer for Nobody {
    fn sign(&self, _: &[u8]) -> Signature {
        Signature { public_key: Vec::new(), bytes: Vec::new() }
    }

    fn verify(&self, _: NodeId, _: &[u8], _: &Signature) -> bool {
        false
    }
}

fn all_well(executions: &[Execution]) -> bool {
    executions.iter().all(|execution| execution.outcome == Outcome::Done)
}

#[test]
fn one_application_does_not_wait_for_the_end_of_anothers_event() {
    let mut scene = Scene::new();
    scene.run("long", &[LONG]);
    for _ in 0..20 {
        scene.run("short", &[0; 32]);
        let (name, executions, _) = scene.ran();
        assert_eq!((name.as_str(), executions.len()), ("short", 32));
        assert!(all_well(&executions), "{executions:?}");
    }
    let (name, executions, _) = scene.ran();
    assert_eq!(name, "long");
    assert!(all_well(&executions), "{executions:?}");
}

#[test]
fn a_batch_of_long_events_ends_before_its_last_one() {
    let mut scene = Scene::new();
    scene.run("long", &[0, 0, 10, 0, 0]);
    let (_, executions, _) = scene.ran();
    assert_eq!(executions.len(), 3, "{executions:?}");
    assert!(executions[2].receipt.fuel > 20_000_000);
    scene.run("long", &[0; 32]);
    assert_eq!(scene.ran().1.len(), 32, "short ones run on");
}

#[test]
fn what_has_been_stopped_runs_nothing() {
    let mut scene = Scene::new();
    scene.run("long", &[1; 32]);
    let (_, executions, current) = scene.ran();
    assert!(current && all_well(&executions));
    scene.workers.stop(&app("long"));
    scene.run("long", &[0]);
    scene.run("short", &[0]);
    assert_eq!(scene.ran().0, "short");
}

#[cfg(target_os = "linux")]
#[test]
fn an_application_whose_events_are_long_runs_behind_the_others() {
    /// The nice value of a thread of this process, or of this thread: field 19 of `proc_pid_stat(5)`.
    fn nice(thread: Option<&str>) -> i32 {
        let is_meant = |stat: &String| thread.is_some_and(|name| stat.contains(&format!("({name})")));
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells");
        let mut stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
        let own = || std::fs::read_to_string("/proc/thread-self/stat").ok();
        let stat = if thread.is_some() { stats.find(is_meant) } else { own() };
        let stat = stat.unwrap_or_else(|| panic!("no thread {thread:?}"));
        // The name may hold spaces.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        fields.split(' ').nth(17).and_then(|nice| nice.parse().ok()).expect("a number")
    }
    let own = nice(None);
    // Other tests of this process have threads of other names.
    let mut scene = Scene::of(["slow", "quick"]);
    for name in ["slow", "quick"] {
        scene.run(name, &[0; 32]);
        scene.ran();
    }
    assert_eq!([nice(Some("peerlet-slow")), nice(Some("peerlet-quick"))], [own, own]);
    scene.run("slow", &[5]);
    scene.ran();
    assert_eq!([nice(Some("peerlet-slow")), nice(Some("peerlet-quick"))], [(own + 10).min(19), own]);
}
