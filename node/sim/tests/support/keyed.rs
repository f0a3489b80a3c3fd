//! A peerlet in Rust that keeps records at ring keys, as an author would write it: it stores where a message finds it
//! responsible, and leaves the rest to the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{
    CONTRACT, Capability, Context, Effect, Event, Execution, Message, Outcome, Place, Receipt, Records, Request, Write,
};
use prost_kbr::{Dispatch, Key, Refusal};
use prost_manager::RunEvent;
use prost_package::{
    Acknowledgement, Budgets, ComponentRef, Digest, Grant, Manifest, Package, ProviderKey, SignedManifest,
};
use prost_sim::apps::{Guest, Home, Program, Runtime, SharedRecords};

/// Compiles whatever it is given to [`Shelf`].
pub(crate) struct Keyed;

impl Runtime for Keyed {
    fn compile(&mut self, _: &Bytes, _: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)> {
        Ok(Arc::new(Keyed))
    }
}

impl Program for Keyed {
    fn load(&self, _: &Home, _: &Grant) -> Box<dyn Guest> {
        Box::new(Shelf::default())
    }
}

/// Answers `put NAME VALUE`, `get NAME` and `delete NAME` of local programs; the key is the hash of the name.
#[derive(Default)]
struct Shelf {
    /// Open requests by the message that carries them.
    open: BTreeMap<u64, u64>,
}

impl Guest for Shelf {
    fn run(&mut self, events: Vec<RunEvent>, records: SharedRecords, _: u64) -> Vec<Execution> {
        // What earlier events of the batch wrote, by name.
        let mut written = BTreeMap::new();
        events.into_iter().map(|run| self.execute(&run.event, &run.context, &*records, &mut written)).collect()
    }
}

type Written = BTreeMap<Vec<u8>, Option<Bytes>>;

/// What one event does.
struct Turn<'a> {
    context: &'a Context,
    records: &'a dyn Records,
    written: &'a mut Written,
    run: Execution,
    ids: u64,
}

impl Shelf {
    fn execute(&mut self, event: &Event, context: &Context, records: &dyn Records, written: &mut Written) -> Execution {
        let receipt = Receipt { fuel: 10_000, memory_bytes: 1 << 16, micros: 0 };
        let run = Execution { outcome: Outcome::Done, effects: Vec::new(), writes: Vec::new(), receipt };
        let mut turn = Turn { context, records, written, run, ids: 0 };
        match event {
            Event::Serve(request) => self.ask(request, &mut turn),
            Event::Deliver(message) if message.key.is_some() => act(message, &mut turn),
            Event::Deliver(message) => {
                let (request, answer) = message.payload.split_first_chunk().expect("a request");
                let outcome = match answer.split_first() {
                    Some((1, value)) => Ok(Bytes::copy_from_slice(value)),
                    _ => Err("nothing".to_owned()),
                };
                turn.run.effects.push(Effect::Respond { request: u64::from_be_bytes(*request), outcome });
            }
            Event::Failed { message, reason } => {
                if let Some(request) = self.open.remove(message) {
                    turn.run.effects.push(Effect::Respond { request, outcome: Err(reason.to_string()) });
                }
            }
            Event::Forward { .. } => turn.run.outcome = Outcome::Verdict(prost_contract::Verdict::Pass),
            Event::Init(_) | Event::Update(_) | Event::Fired { .. } => {}
        }
        turn.run
    }

    fn ask(&mut self, request: &Request, turn: &mut Turn<'_>) {
        let text = std::str::from_utf8(&request.body).expect("text");
        let name = text.split(' ').next().expect("a name");
        let payload = [&request.id.to_be_bytes()[..], request.method.as_bytes(), b" ", text.as_bytes()].concat();
        let id = turn.id();
        self.open.insert(id, request.id);
        let route = Effect::Route {
            id,
            key: Key::hash(name.as_bytes()),
            payload: payload.into(),
            dispatch: Dispatch::EndNode,
            hint: None,
        };
        turn.run.effects.push(route);
    }
}

/// A message has come to a node that is to answer for its key.
fn act(message: &Message, turn: &mut Turn<'_>) {
    let (request, text) = message.payload.split_first_chunk::<8>().expect("a request");
    let text = std::str::from_utf8(text).expect("text");
    let mut words = text.splitn(3, ' ');
    let (verb, name, value) = (words.next(), words.next().expect("a name"), words.next());
    let key = message.key.expect("a key");
    if !turn.is_here(key) {
        turn.run.outcome = Outcome::Refused("not here".to_owned());
        return;
    }
    let place = Place::At(key);
    let mut write = |value: Option<&str>| {
        let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
        turn.written.insert(name.as_bytes().to_vec(), value.clone());
        turn.run.writes.push(Write { place, name: name.as_bytes().to_vec(), value: value.map(|value| (value, None)) });
    };
    let answer = match verb {
        Some("put") => {
            write(value);
            Some(Bytes::new())
        }
        Some("delete") => {
            write(None);
            Some(Bytes::new())
        }
        _ => match turn.written.get(name.as_bytes()) {
            Some(value) => value.clone(),
            None => turn.records.get(place, name.as_bytes()).expect("a disk that works"),
        },
    };
    let mut payload = request.to_vec();
    payload.push(u8::from(answer.is_some()));
    payload.extend_from_slice(&answer.unwrap_or_default());
    let id = turn.id();
    turn.run.effects.push(Effect::Send { id, to: message.origin, payload: payload.into() });
}

impl Turn<'_> {
    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.context.first_id + self.ids - 1
    }

    /// As the sandbox decides it.
    fn is_here(&self, key: Key) -> bool {
        let view = &self.context.view;
        let settles = self.context.settling.iter().any(|range| range.contains(key));
        !settles && (!view.joined || view.replica_set(key, 16).nodes.contains(&view.me.id))
    }
}

/// The application, with so many copies of each record.
pub(crate) fn package(replicas: u8, acknowledgement: Acknowledgement) -> Package {
    let key = ProviderKey::from_seed(&[9; 32]);
    let component = Bytes::from_static(&[7; 5_000]);
    let manifest = Manifest {
        format: 1,
        name: "shelf".parse().expect("a name"),
        provider: key.public(),
        version: semver::Version::new(1, 0, 0),
        sequence: 1,
        component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
        world: CONTRACT.to_owned(),
        capabilities: BTreeMap::from([
            (Capability::Storage, "to keep records".to_owned()),
            (Capability::Route, "to find their place".to_owned()),
            (Capability::Client, "to answer".to_owned()),
        ]),
        budgets: Budgets::default(),
        replicas,
        acknowledgement,
        expires: None,
    };
    Package::new(SignedManifest::sign(manifest, &key).expect("a manifest"), component).expect("a package")
}
