//! A peerlet in Rust, and packages of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use prost_contract::{
    CONTRACT, Capability, Context, Effect, Event, Execution, Outcome, Place, Receipt, Trap, TrapKind, Verdict, Write,
};
use prost_kbr::Refusal;
use prost_manager::RunEvent;
use prost_package::{
    Acknowledgement, Budgets, ComponentRef, Digest, Grant, Manifest, Package, ProviderKey, SignedManifest,
};
use prost_sim::apps::{Guest, Home, Program, Runtime, SharedRecords};

/// Compiles whatever it is given to the same program, and counts.
#[derive(Clone, Default)]
pub(crate) struct Native {
    pub(crate) compiled: Arc<AtomicU32>,
}

impl Runtime for Native {
    fn compile(&mut self, _: &Bytes, _: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)> {
        self.compiled.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Notebook))
    }
}

/// Keeps each message under its payload, and answers questions:
///
/// | method | answer |
/// |---|---|
/// | `write` | once the body has been written down |
/// | `read` | what was written under the body; an error where nothing was |
/// | `random` | a number |
/// | `timer` | at once; a second later "fired" is written down |
/// | `trap` | none |
struct Notebook;

impl Program for Notebook {
    fn load(&self, _: &Home, _: &Grant) -> Box<dyn Guest> {
        Box::new(Notebook)
    }
}

impl Guest for Notebook {
    fn run(&mut self, events: Vec<RunEvent>, records: SharedRecords, _: u64) -> Vec<Execution> {
        let mut executions = Vec::new();
        for RunEvent { event, context } in events {
            executions.push(execute(&event, &context, &records));
            if let Some(Execution { outcome: Outcome::Trapped(_), .. }) = executions.last() {
                break;
            }
        }
        executions
    }
}

fn execute(event: &Event, context: &Context, records: &SharedRecords) -> Execution {
    let (mut outcome, mut effects, mut writes) = (Outcome::Done, Vec::new(), Vec::new());
    let note = |name: &Bytes| Write {
        place: Place::Node,
        name: name.to_vec(),
        value: Some((Bytes::from_static(b"written"), None)),
    };
    match event {
        Event::Deliver(message) => writes.push(note(&message.payload)),
        Event::Forward { .. } => outcome = Outcome::Verdict(Verdict::Pass),
        Event::Serve(request) => {
            let answer = match request.method.as_str() {
                "write" => {
                    writes.push(note(&request.body));
                    Ok(Bytes::new())
                }
                "read" => records.get(Place::Node, &request.body).ok().flatten().ok_or("nothing".to_owned()),
                "timer" => {
                    effects.push(Effect::SetTimer { timer: context.first_id, after_ms: 1_000, tag: 0 });
                    Ok(Bytes::new())
                }
                "random" => Ok(Bytes::from(context.seed.to_string())),
                _ => {
                    outcome = Outcome::Trapped(Trap { kind: TrapKind::Fault, message: "told to".to_owned() });
                    Err(String::new())
                }
            };
            effects.push(Effect::Respond { request: request.id, outcome: answer });
        }
        Event::Fired { .. } => writes.push(note(&Bytes::from_static(b"fired"))),
        Event::Init(_) | Event::Update(_) | Event::Failed { .. } => {}
    }
    if let Outcome::Trapped(_) = outcome {
        effects.clear();
    }
    // The time of the host must not count.
    let micros = std::time::Instant::now().elapsed().subsec_nanos().into();
    Execution { outcome, effects, writes, receipt: Receipt { fuel: 50_000, memory_bytes: 1 << 16, micros } }
}

/// A package with a component of so many bytes.
pub(crate) fn package(size: usize) -> Package {
    release(size, 1)
}

/// The same, as the release of this sequence.
pub(crate) fn release(size: usize, sequence: u64) -> Package {
    let key = ProviderKey::from_seed(&[7; 32]);
    let component: Bytes = (0..size).map(|at| (at / 997 + at) as u8).collect();
    let manifest = Manifest {
        format: 1,
        name: "notebook".parse().expect("a name"),
        provider: key.public(),
        version: semver::Version::new(sequence, 2, 3),
        sequence,
        component: ComponentRef { digest: Digest::of(&component), size: size as u64 },
        world: CONTRACT.to_owned(),
        capabilities: BTreeMap::from([(Capability::Storage, "to keep notes".to_owned())]),
        budgets: Budgets::default(),
        replicas: 1,
        acknowledgement: Acknowledgement::One,
        expires: None,
    };
    Package::new(SignedManifest::sign(manifest, &key).expect("a manifest"), component).expect("a package")
}
