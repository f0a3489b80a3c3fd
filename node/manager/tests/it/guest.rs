//! A stand-in for the sandbox. A component is a text that says what each handler does; a message's payload and a
//! call's method are such scripts as well.
//!
//! A script is commands, separated by `;`. Those that send take all that follows as the payload.
//!
//! | command | what it does |
//! |---|---|
//! | `put NAME` | writes a record |
//! | `reply TEXT`, `push TEXT` | answers the request under way |
//! | `keep`, `answer TEXT` | remembers the request under way; answers the one remembered |
//! | `read NAME` | answers the request with whether the record is there |
//! | `timer MS TAG`, `cancel TAG` | sets, cancels |
//! | `watch NODE`, `unwatch NODE` | |
//! | `log TEXT` | |
//! | `flood NODE` | 100 messages straight to it |
//! | `again NODE` | the script itself, straight to it |
//! | `fuel N` | burns |
//! | `stop` | `forward` ends the message |
//! | `trap`, `fail TEXT` | the handler fails |
//! | `trap-if NAME`, `fail-if NAME` | so where the record is there |
//! | `send NODE SCRIPT`, `route KEY SCRIPT`, `pass KEY SCRIPT` | direct, of type 1, of type 0 |

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost_contract::{
    Context, Effect, Event, Execution, LogLevel, Outcome, Place, Receipt, Trap, TrapKind, Verdict, Write,
};
use prost_kbr::{Dispatch, Id};

/// First line of every component.
const HEAD: &str = "peerlet";
/// Fuel of an event that burns no more.
const FUEL: u64 = 1000;

/// What a component says, for each handler.
#[derive(Debug, Clone, Default)]
pub(crate) struct Component(BTreeMap<String, String>);

impl Component {
    /// None where the bytes are no component.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Component> {
        let text = bytes.split(|byte| *byte == 0).next()?;
        let mut lines = std::str::from_utf8(text).ok()?.lines();
        (lines.next()? == HEAD).then_some(())?;
        let handlers = lines.filter_map(|line| line.split_once(": "));
        Some(Component(handlers.map(|(name, script)| (name.to_owned(), script.to_owned())).collect()))
    }

    /// The bytes of a component of at least `size` bytes.
    pub(crate) fn write(handlers: &[(&str, &str)], size: usize) -> Bytes {
        let mut text = format!("{HEAD}\n");
        for (name, script) in handlers {
            text.push_str(&format!("{name}: {script}\n"));
        }
        let mut bytes = text.into_bytes();
        bytes.push(0);
        // Every chunk differs from every other.
        bytes.extend((bytes.len()..size).map(|at| (at / 997 + at) as u8));
        bytes.into()
    }
}

/// A running component.
#[derive(Debug, Clone, Default)]
pub(crate) struct Instance {
    component: Component,
    kept: Option<u64>,
    timers: BTreeMap<u64, u64>,
    /// How `init` went, once it has run.
    initialised: Option<bool>,
}

impl Instance {
    pub(crate) fn new(component: Component) -> Instance {
        Instance { component, ..Instance::default() }
    }

    /// Runs one event. `records` are the names of those that the application has.
    pub(crate) fn run(&mut self, event: &Event, context: &Context, records: &BTreeSet<Vec<u8>>) -> Execution {
        let init = matches!(event, Event::Init(_));
        assert_eq!(
            self.initialised,
            (!init).then_some(true),
            "init comes first, once, and nothing follows a failed one"
        );
        let of_handler = self.component.0.get(event.name()).cloned().unwrap_or_default();
        let (script, request) = match event {
            Event::Deliver(message) => (String::from_utf8_lossy(&message.payload).into_owned(), None),
            Event::Serve(request) => (request.method.clone(), Some(request.id)),
            _ => (of_handler, None),
        };
        let mut turn = Turn {
            context,
            records,
            script: &script,
            request,
            ids: 0,
            forward: matches!(event, Event::Forward { .. }),
            run: Execution {
                outcome: Outcome::Done,
                effects: Vec::new(),
                writes: Vec::new(),
                receipt: Receipt { fuel: FUEL, memory_bytes: 1 << 16, micros: 10 },
            },
        };
        if turn.forward {
            turn.run.outcome = Outcome::Verdict(Verdict::Pass);
        }
        self.interpret(&script, &mut turn);
        let mut run = turn.run;
        self.initialised = Some(!init || run.outcome == Outcome::Done);
        if let Outcome::Trapped(_) | Outcome::Refused(_) = run.outcome {
            run.effects.clear();
            run.writes.clear();
        }
        if let Outcome::Trapped(_) = run.outcome {
            run.receipt.memory_bytes = 0;
        }
        run
    }

    fn interpret(&mut self, script: &str, turn: &mut Turn<'_>) {
        let mut rest = script;
        while !rest.is_empty() {
            let (command, after) = rest.split_once(';').unwrap_or((rest, ""));
            let command = command.trim();
            let (verb, text) = command.split_once(' ').unwrap_or((command, ""));
            if ["send", "route", "pass"].contains(&verb) {
                let (_, whole) = rest.trim_start().split_once(' ').expect("a destination");
                return turn.send(verb, whole);
            }
            if !self.command(verb, text, turn) {
                return;
            }
            rest = after;
        }
    }

    /// Says whether the script goes on.
    fn command(&mut self, verb: &str, text: &str, turn: &mut Turn<'_>) -> bool {
        match verb {
            "" => {}
            "put" => turn.run.writes.push(Write {
                place: Place::Node,
                name: text.as_bytes().to_vec(),
                value: Some((Bytes::from_static(b"value"), None)),
            }),
            "reply" => turn.reply(Ok(Bytes::copy_from_slice(text.as_bytes()))),
            "read" => {
                let there = turn.records.contains(text.as_bytes());
                turn.reply(Ok(Bytes::from(there.to_string())));
            }
            "push" => {
                let item = Bytes::copy_from_slice(text.as_bytes());
                turn.run.effects.extend(turn.request.map(|request| Effect::Push { request, item }));
            }
            "keep" => self.kept = turn.request,
            "answer" => {
                let outcome = Ok(Bytes::copy_from_slice(text.as_bytes()));
                turn.run.effects.extend(self.kept.map(|request| Effect::Respond { request, outcome }));
            }
            "timer" => {
                let (after_ms, tag) = text.split_once(' ').expect("a time and a tag");
                let (after_ms, tag) = (after_ms.parse().expect("a number"), tag.parse().expect("a number"));
                let timer = turn.id();
                self.timers.insert(tag, timer);
                turn.run.effects.push(Effect::SetTimer { timer, after_ms, tag });
            }
            "cancel" => {
                let timer = self.timers[&text.parse().expect("a tag")];
                turn.run.effects.push(Effect::CancelTimer(timer));
            }
            "watch" => turn.run.effects.push(Effect::Watch(id(text))),
            "unwatch" => turn.run.effects.push(Effect::Unwatch(id(text))),
            "flood" => {
                for _ in 0..100 {
                    turn.send("send", text);
                }
            }
            "again" => turn.send("send", &format!("{text} {}", turn.script)),
            "log" => turn.run.effects.push(Effect::Log { level: LogLevel::Info, line: text.to_owned() }),
            "fuel" => turn.run.receipt.fuel = text.parse().expect("a number"),
            "stop" => turn.run.outcome = Outcome::Verdict(Verdict::Stop),
            "trap-if" => return !turn.records.contains(text.as_bytes()) || self.command("trap", "", turn),
            "fail-if" => return !turn.records.contains(text.as_bytes()) || self.command("fail", text, turn),
            "trap" => {
                let trap = Trap { kind: TrapKind::Fault, message: "told to".to_owned() };
                turn.run.outcome = Outcome::Trapped(trap);
                return false;
            }
            "fail" => {
                turn.run.outcome = Outcome::Refused(text.to_owned());
                return false;
            }
            other => panic!("no such command: {other}"),
        }
        true
    }
}

struct Turn<'a> {
    context: &'a Context,
    records: &'a BTreeSet<Vec<u8>>,
    script: &'a str,
    request: Option<u64>,
    ids: u64,
    forward: bool,
    run: Execution,
}

impl Turn<'_> {
    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.context.first_id + self.ids - 1
    }

    fn reply(&mut self, outcome: Result<Bytes, String>) {
        self.run.effects.extend(self.request.map(|request| Effect::Respond { request, outcome }));
    }

    fn send(&mut self, verb: &str, whole: &str) {
        let (to, script) = whole.split_once(' ').unwrap_or((whole, ""));
        let (to, payload) = (id(to), Bytes::copy_from_slice(script.as_bytes()));
        let number = self.id();
        self.run.effects.push(match verb {
            "send" => Effect::Send { id: number, to, payload },
            _ => Effect::Route {
                id: number,
                key: to,
                payload,
                dispatch: if verb == "pass" { Dispatch::PerHop } else { Dispatch::EndNode },
                hint: None,
            },
        });
    }
}

/// An id as scripts write it.
pub(crate) fn hex(id: Id) -> String {
    id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(text: &str) -> Id {
    let mut bytes = [0; 20];
    for (byte, at) in bytes.iter_mut().zip((0..40).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    }
    Id::from_bytes(bytes)
}
