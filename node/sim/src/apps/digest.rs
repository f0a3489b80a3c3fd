//! What an application did, as a digest for the trace.

use prost_contract::{Change, Effect, Execution, Outcome, Place, Verdict, Version, Write};
use prost_kbr::{AppId, Dispatch, Id};

/// The digest of what a batch of an application's events did, the cost included, the wall clock not.
pub(crate) fn executions(app: &AppId, executions: &[Execution]) -> [u8; 32] {
    let mut sink = Sink(blake3::Hasher::new());
    sink.bytes(app.to_string().as_bytes());
    sink.number(executions.len() as u64);
    for execution in executions {
        sink.outcome(&execution.outcome);
        sink.number(execution.receipt.fuel);
        sink.number(execution.receipt.memory_bytes);
        sink.number(execution.effects.len() as u64);
        execution.effects.iter().for_each(|effect| sink.effect(effect));
    }
    for execution in executions {
        sink.writes(&execution.writes);
    }
    *sink.0.finalize().as_bytes()
}

/// The digest of what a disk is told.
pub(crate) fn changes(changes: &[Change]) -> [u8; 32] {
    let mut sink = Sink(blake3::Hasher::new());
    sink.number(changes.len() as u64);
    changes.iter().for_each(|change| sink.change(change));
    *sink.0.finalize().as_bytes()
}

/// Takes values so that different ones never look alike: each kind has its number, and what varies in length its length.
struct Sink(blake3::Hasher);

impl Sink {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn id(&mut self, id: &Id) {
        self.0.update(id.as_bytes());
    }

    fn optional(&mut self, id: Option<&Id>) {
        self.number(id.is_some().into());
        if let Some(id) = id {
            self.id(id);
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done => self.number(0),
            Outcome::Refused(line) => {
                self.number(1);
                self.bytes(line.as_bytes());
            }
            Outcome::Verdict(Verdict::Pass) => self.number(2),
            Outcome::Verdict(Verdict::Stop) => self.number(3),
            Outcome::Verdict(Verdict::Rewrite { key, payload, next }) => {
                self.number(4);
                self.id(key);
                self.bytes(payload);
                self.optional(next.as_ref());
            }
            Outcome::Trapped(trap) => {
                self.number(5);
                self.bytes(trap.kind.name().as_bytes());
                self.bytes(trap.message.as_bytes());
            }
        }
    }

    fn effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Route { id, key, payload, dispatch, hint } => {
                self.number(0);
                self.number(*id);
                self.id(key);
                self.bytes(payload);
                self.number((*dispatch == Dispatch::EndNode).into());
                self.optional(hint.as_ref());
            }
            Effect::Send { id, to, payload } => {
                self.number(1);
                self.number(*id);
                self.id(to);
                self.bytes(payload);
            }
            Effect::Watch(node) => {
                self.number(2);
                self.id(node);
            }
            Effect::Unwatch(node) => {
                self.number(3);
                self.id(node);
            }
            Effect::SetTimer { timer, after_ms, tag } => {
                self.number(4);
                [*timer, *after_ms, *tag].into_iter().for_each(|number| self.number(number));
            }
            Effect::CancelTimer(timer) => {
                self.number(5);
                self.number(*timer);
            }
            Effect::Respond { request, outcome } => {
                self.number(6);
                self.number(*request);
                self.number(outcome.is_ok().into());
                match outcome {
                    Ok(bytes) => self.bytes(bytes),
                    Err(line) => self.bytes(line.as_bytes()),
                }
            }
            Effect::Push { request, item } => {
                self.number(7);
                self.number(*request);
                self.bytes(item);
            }
            Effect::Log { level, line } => {
                self.number(8);
                self.number(*level as u64);
                self.bytes(line.as_bytes());
            }
        }
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Node { name, value } => {
                self.number(0);
                self.bytes(name);
                self.value(value.as_ref().map(|(value, expires)| (value, *expires)));
            }
            Change::Keep(point, kept) => {
                self.number(1);
                self.id(&point.key);
                self.bytes(&point.name);
                self.version(kept.version);
                self.value(kept.value.as_ref().map(|value| (value, kept.expires)));
            }
            Change::Drop(point, upto) => {
                self.number(2);
                self.id(&point.key);
                self.bytes(&point.name);
                self.version(*upto);
            }
        }
    }

    fn version(&mut self, version: Version) {
        self.number(version.at);
        self.id(&version.node);
    }

    fn value(&mut self, value: Option<(&bytes::Bytes, Option<u64>)>) {
        self.number(value.is_some().into());
        if let Some((value, expires)) = value {
            self.bytes(value);
            self.number(expires.unwrap_or(u64::MAX));
        }
    }

    fn writes(&mut self, writes: &[Write]) {
        self.number(writes.len() as u64);
        for write in writes {
            match &write.place {
                Place::Node => self.number(0),
                Place::At(key) => {
                    self.number(1);
                    self.id(key);
                }
            }
            self.bytes(&write.name);
            self.value(write.value.as_ref().map(|(value, expires)| (value, *expires)));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost_contract::Receipt;

    use super::*;

    fn run(effects: Vec<Effect>, fuel: u64, micros: u64) -> [u8; 32] {
        let app = AppId { provider: [1; 32], name: "echo".parse().unwrap() };
        let receipt = Receipt { fuel, memory_bytes: 1, micros };
        executions(&app, &[Execution { outcome: Outcome::Done, effects, writes: Vec::new(), receipt }])
    }

    #[test]
    fn all_that_an_event_did_counts_but_not_how_long_the_host_took() {
        let answer =
            |text: &'static str| Effect::Respond { request: 1, outcome: Ok(Bytes::from_static(text.as_bytes())) };
        assert_eq!(run(vec![answer("a")], 5, 1), run(vec![answer("a")], 5, 2));
        let others =
            [run(vec![answer("b")], 5, 1), run(vec![answer("a")], 6, 1), run(vec![answer("a"), answer("")], 5, 1)];
        assert!(others.iter().all(|other| *other != run(vec![answer("a")], 5, 1)));
    }
}
