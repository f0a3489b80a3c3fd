//! What peerlets that behave get: effects in order, records that they can read back, and the contract's errors.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use prost_contract::{
    Context, Effect, Event, Execution, Limits, LogLevel, Outcome, Overlay, Place, TrapKind, Verdict, Write,
    record_bytes,
};
use prost_kbr::message::Peer;
use prost_kbr::{Dispatch, NodeId, RingView};
use prost_sandbox::{Instance, Signature, Signer, StartError};
use support::{
    Memory, OK, Peerlet, compile, context, deliver, engine, no_records, node, run, serve, shared, start, try_start,
};

/// Sends `length` bytes of memory back to the previous hop.
fn send(at: u32, length: u32) -> String {
    format!(
        "(call $send (local.get $previous-high) (local.get $previous-middle) (local.get $previous-low)
            (i32.const {at}) (i32.const {length}) (i32.const 1104))"
    )
}

/// Puts `length` bytes under the name at 2048, whose length is given, and leaves the result at 1024.
fn put(name: u32, length: u32) -> String {
    format!(
        "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const {name})
            (i32.const 0) (i32.const {length}) (i32.const 0) (i64.const 0) (i32.const 1024))"
    )
}

const NAME: &str = r#"(data (i32.const 2048) "name")"#;
const GET: &str = "(call $get (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
    (i32.const 2048) (i32.const 4) (i32.const 1024))";

fn sent(execution: &Execution) -> Vec<Bytes> {
    let payloads = execution.effects.iter().filter_map(|effect| match effect {
        Effect::Send { payload, .. } => Some(payload.clone()),
        _ => None,
    });
    payloads.collect()
}

fn logged(execution: &Execution) -> Vec<String> {
    let lines = execution.effects.iter().filter_map(|effect| match effect {
        Effect::Log { line, .. } => Some(line.clone()),
        _ => None,
    });
    lines.collect()
}

#[test]
fn an_echo_goes_back_where_it_came_from_with_the_first_id() {
    let echo = "(call $send (local.get $previous-high) (local.get $previous-middle) (local.get $previous-low)
        (local.get $payload) (local.get $length) (i32.const 1024))";
    let mut instance = start(&Peerlet::new().route().deliver(&format!("{echo} {OK}")), Limits::default());
    let execution = run(&mut instance, &deliver(b"hello"));
    assert_eq!(execution.outcome, Outcome::Done);
    assert_eq!(execution.effects, [Effect::Send { id: 100, to: node(4), payload: Bytes::from_static(b"hello") }]);
    assert_eq!(execution.writes, []);
    assert_eq!(execution.receipt.memory_bytes, 64 << 10);
    assert!(!instance.is_gone());
}

#[test]
fn effects_keep_their_order_and_messages_and_timers_share_their_numbers() {
    let route = "(call $route (local.get $key-high) (local.get $key-middle) (local.get $key-low) (i32.const 0)
        (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 1024))";
    let timer = "(call $set (i64.const 30) (i64.const 5) (i32.const 1024))";
    let peerlet = Peerlet::new().route().timer().deliver(&format!("{timer} {route} {OK}"));
    let execution = run(&mut start(&peerlet, Limits::default()), &deliver(b""));
    let route = Effect::Route { id: 101, key: node(2), payload: Bytes::new(), dispatch: Dispatch::EndNode, hint: None };
    assert_eq!(execution.effects, [Effect::SetTimer { timer: 100, after_ms: 30, tag: 5 }, route]);
}

#[test]
fn every_event_reaches_its_handler() {
    let log = |byte: u8| {
        format!(
            "(i32.store8 (i32.const 2048) (i32.const {byte}))
        (call $log (i32.const 2) (i32.const 2048) (i32.const 1))"
        )
    };
    let peerlet = Peerlet::new()
        .log()
        .init(&format!("{} {OK}", log(b'i')))
        .update(&log(b'u'))
        .fired(&log(b'f'))
        .serve(&format!("{} {OK}", log(b's')));
    let mut instance = start(&peerlet, Limits::default());
    let start = prost_contract::Start { version: "1.0.0".to_owned(), upgraded_from: None, settings: Vec::new() };
    let events = [
        (Event::Init(start), "i"),
        (Event::Update(prost_kbr::Change::Joined(node(5))), "u"),
        (Event::Fired { timer: 1, tag: 2 }, "f"),
        (serve(1, b""), "s"),
    ];
    for (event, line) in events {
        let execution = run(&mut instance, &event);
        assert_eq!(execution.effects, [Effect::Log { level: LogLevel::Warn, line: line.to_owned() }], "{event:?}");
    }
    let failed = Event::Failed { message: 1, reason: prost_kbr::Failure::Deadline };
    assert_eq!(run(&mut instance, &failed).outcome, Outcome::Done);
}

#[test]
fn a_handlers_error_undoes_the_event_and_the_instance_lives_on() {
    let refuse = r#"(i32.store8 (i32.const 1040) (i32.const 1))
        (i32.store (i32.const 1044) (i32.const 2048)) (i32.store (i32.const 1048) (i32.const 4)) i32.const 1040"#;
    let peerlet = Peerlet::new().storage().module(NAME).deliver(&format!("{} {refuse}", put(4, 4)));
    let mut instance = start(&peerlet, Limits::default());
    let mut records = no_records();
    let execution = instance.run(&deliver(b""), &context(), &mut records);
    assert_eq!(execution.outcome, Outcome::Refused("name".to_owned()));
    assert_eq!((execution.effects.len(), execution.writes.len()), (0, 0));
    assert_eq!(records.growth(), 0);
    assert!(!instance.is_gone());
}

#[test]
fn forward_answers_with_a_verdict() {
    let verdict = |body: &str, limits: Limits| {
        let event = match deliver(b"x") {
            Event::Deliver(message) => Event::Forward { message, next: node(6) },
            other => other,
        };
        run(&mut start(&Peerlet::new().forward(body), limits), &event).outcome
    };
    assert_eq!(verdict(OK, Limits::default()), Outcome::Verdict(Verdict::Pass));
    let stop = "(i32.store8 (i32.const 1040) (i32.const 2)) i32.const 1040";
    assert_eq!(verdict(stop, Limits::default()), Outcome::Verdict(Verdict::Stop));
    let rewrite = "(i32.store8 (i32.const 1040) (i32.const 1)) (i64.store (i32.const 1048) (i64.const 258))
        (i32.store (i32.const 1072) (i32.const 0)) (i32.store (i32.const 1076) (i32.const 3)) i32.const 1040";
    let Outcome::Verdict(Verdict::Rewrite { key, payload, next }) = verdict(rewrite, Limits::default()) else {
        panic!("it was not rewritten");
    };
    assert_eq!(key.as_bytes()[6..8], [1, 2]);
    assert_eq!((payload.len(), next), (3, None));
    let limits = Limits { payload_bytes: 2, ..Limits::default() };
    assert!(matches!(verdict(rewrite, limits), Outcome::Refused(_)));
}

#[test]
fn a_handler_reads_what_it_and_the_events_before_it_wrote() {
    let writer = format!("(if (local.get $length) (then {})) {GET} {} {OK}", put(4, 3), send(1024, 2));
    let mut instance = start(&Peerlet::new().storage().route().module(NAME).deliver(&writer), Limits::default());
    let mut records = no_records();
    let context = context();
    let absent = instance.run(&deliver(b""), &context, &mut records);
    assert_eq!(sent(&absent)[0][..1], [0]);
    let wrote = instance.run(&deliver(b"w"), &context, &mut records);
    let write = Write { place: Place::Node, name: b"name".to_vec(), value: Some((Bytes::from_static(&[0; 3]), None)) };
    assert_eq!(wrote.writes, [write]);
    assert_eq!(records.growth(), record_bytes(4, 3) as i64);

    let reader = format!("{GET} {} {OK}", send(1028, 1));
    let mut instance = start(&Peerlet::new().storage().route().module(NAME).deliver(&reader), Limits::default());
    let present = instance.run(&deliver(b""), &context, &mut records);
    assert_eq!(sent(&present), [Bytes::from_static(&[1])]);
    let elsewhere = instance.run(&deliver(b""), &context, &mut no_records());
    assert_eq!(sent(&elsewhere), [Bytes::from_static(&[0])]);
}

/// What `put` answers: none for success, else the number of the error.
fn put_error(name: u32, value: u32, limits: Limits, context: &Context, records: Memory) -> Option<u8> {
    let body = format!("{} {} {OK}", put(name, value), send(1024, 2));
    let mut instance = start(&Peerlet::new().storage().route().module(NAME).deliver(&body), limits);
    let execution = instance.run(&deliver(b""), context, &mut Overlay::new(shared(records)));
    let answer = sent(&execution).pop().expect("it answers");
    (answer[0] == 1).then_some(answer[1])
}

#[test]
fn a_record_is_held_to_its_limits() {
    const OVER_QUOTA: Option<u8> = Some(0);
    const TOO_LARGE: Option<u8> = Some(1);
    let context = context();
    let limits = Limits { name_bytes: 4, value_bytes: 8, storage_bytes: record_bytes(4, 8), ..Limits::default() };
    let answer = |name, value| put_error(name, value, limits.clone(), &context, Memory::default());
    assert_eq!(answer(4, 8), None);
    assert_eq!(answer(5, 8), TOO_LARGE);
    assert_eq!(answer(4, 9), TOO_LARGE);
    let used = |storage_used| Context { storage_used, ..context.clone() };
    assert_eq!(put_error(4, 8, limits.clone(), &used(1), Memory::default()), OVER_QUOTA);

    let held = || {
        let mut records = Memory::default();
        records.records.insert((Place::Node, b"name".to_vec()), Bytes::from_static(&[1; 8]));
        records
    };
    let full = used(record_bytes(4, 8));
    assert_eq!(put_error(4, 8, limits.clone(), &full, held()), None, "a record in the place of another");
    assert_eq!(put_error(3, 0, limits, &full, held()), OVER_QUOTA);
}

#[test]
fn on_a_full_disk_a_record_may_shrink_and_go_but_not_grow() {
    const OVER_QUOTA: Option<u8> = Some(0);
    let full = Context { storage_full: true, ..context() };
    let held = || {
        let mut records = Memory::default();
        records.records.insert((Place::Node, b"name".to_vec()), Bytes::from_static(&[1; 8]));
        records
    };
    let answer = |name, value| put_error(name, value, Limits::default(), &full, held());
    assert_eq!(answer(4, 9), OVER_QUOTA, "it would grow");
    assert_eq!(answer(3, 0), OVER_QUOTA, "it would be new");
    assert_eq!(answer(4, 8), None);
    assert_eq!(answer(4, 1), None);
}

#[test]
fn a_record_belongs_where_its_key_is_near() {
    const NOT_HERE: [u8; 2] = [1, 2];
    let at = "(call $put (i32.const 1) (local.get $key-high) (local.get $key-middle) (local.get $key-low)
        (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i32.const 1024))";
    let body = format!("{at} {} {OK}", send(1024, 2));
    let mut instance = start(&Peerlet::new().storage().route().module(NAME).deliver(&body), Limits::default());
    let peer = |last| Peer { id: node(last), addr: ([127, 0, 0, 1], 4433).into() };
    let mut context = context();
    context.view = Arc::new(RingView {
        me: peer(20),
        predecessors: vec![peer(10)],
        successors: vec![peer(30)],
        ..(*context.view).clone()
    });
    let mut put_at = |key| {
        let mut event = deliver(b"");
        if let Event::Deliver(message) = &mut event {
            message.key = Some(node(key));
        }
        instance.run(&event, &context, &mut no_records())
    };
    let here = put_at(15);
    assert_eq!(sent(&here)[0][0], 0);
    assert_eq!(here.writes[0].place, Place::At(node(15)));
    assert_eq!(sent(&put_at(40)), [Bytes::from_static(&NOT_HERE)]);
}

#[test]
fn a_failing_store_undoes_the_event_whatever_the_handler_makes_of_it() {
    let body = format!("{} {GET} {OK}", send(0, 1));
    let mut instance = start(&Peerlet::new().storage().route().deliver(&body), Limits::default());
    let broken = shared(Memory { broken: true, ..Memory::default() });
    let execution = instance.run(&deliver(b""), &context(), &mut Overlay::new(broken));
    assert!(matches!(execution.outcome, Outcome::Refused(_)), "{execution:?}");
    assert_eq!(execution.effects, []);
    assert!(!instance.is_gone());
}

#[test]
fn a_message_is_held_to_its_limit_and_needs_a_ring() {
    let body = format!("{} {} {OK}", send(0, 9), send(1100, 16));
    let mut instance = start(&Peerlet::new().route().deliver(&body), Limits { payload_bytes: 8, ..Limits::default() });
    assert_eq!(run(&mut instance, &deliver(b"")).effects, []);
    let mut instance = start(&Peerlet::new().route().deliver(&body), Limits::default());
    assert_eq!(run(&mut instance, &deliver(b"")).effects.len(), 2);
    let mut context = context();
    context.view = Arc::new(RingView { joined: false, ..(*context.view).clone() });
    assert_eq!(instance.run(&deliver(b""), &context, &mut no_records()).effects, []);
}

#[test]
fn log_lines_are_cut_cleaned_and_counted() {
    let line = r#"(data (i32.const 2048) "\1b[31mred\0aline")"#;
    let short = "(call $log (i32.const 1) (i32.const 2048) (i32.const 13))";
    let long = "(call $log (i32.const 1) (i32.const 4096) (i32.const 5000))";
    let fill = "(memory.fill (i32.const 4096) (i32.const 97) (i32.const 5000))";
    let body = format!("{fill} {short} {long} {} {OK}", short.repeat(20));
    let execution =
        run(&mut start(&Peerlet::new().log().module(line).deliver(&body), Limits::default()), &deliver(b""));
    let lines = logged(&execution);
    assert_eq!(lines.len(), 16);
    assert_eq!(lines[0], "[31mred line");
    assert_eq!(lines[1], "a".repeat(1_024));
}

#[test]
fn a_request_is_answered_once() {
    let respond =
        "(call $respond (local.get $id) (i32.const 0) (local.get $body) (local.get $length) (i32.const 1024))";
    let peerlet = Peerlet::new().client().serve(&format!("{respond} {respond} {OK}"));
    let execution = run(&mut start(&peerlet, Limits::default()), &serve(3, b"body"));
    assert_eq!(execution.effects, [Effect::Respond { request: 3, outcome: Ok(Bytes::from_static(b"body")) }]);
}

/// Signs with a constant, and panics at an empty statement.
struct Constant;

impl Signer for Constant {
    fn sign(&self, statement: &[u8]) -> Signature {
        assert!(!statement.is_empty(), "a bug of the node");
        Signature { public_key: b"key".to_vec(), bytes: statement.to_vec() }
    }

    fn verify(&self, _: NodeId, _: &[u8], _: &Signature) -> bool {
        false
    }
}

#[test]
fn a_signature_is_the_nodes() {
    let sign = "(call $sign (local.get $payload) (local.get $length) (i32.const 1024))";
    let back = "(call $send (local.get $previous-high) (local.get $previous-middle) (local.get $previous-low)
        (i32.load (i32.const 1032)) (i32.load (i32.const 1036)) (i32.const 1104))";
    let peerlet = Peerlet::new().identity().route().deliver(&format!("{sign} {back} {OK}"));
    assert_eq!(try_start(&peerlet, Limits::default()).err(), Some(StartError::NoSigner));

    let compiled = compile(&engine(), &peerlet);
    let mut instance = Instance::start(&compiled, Limits::default(), Some(Arc::new(Constant)), &context()).unwrap();
    assert_eq!(sent(&run(&mut instance, &deliver(b"statement"))), [Bytes::from_static(b"statement")]);
    let execution = run(&mut instance, &deliver(b""));
    assert!(matches!(&execution.outcome, Outcome::Trapped(trap) if trap.kind == TrapKind::Fault), "{execution:?}");
    assert!(instance.is_gone());
}

#[test]
fn clocks_and_random_numbers_come_with_the_event() {
    let body = format!(
        "(i64.store (i32.const 2048) (call $now)) (i64.store (i32.const 2056) (call $random)) {} {OK}",
        send(2048, 16)
    );
    let peerlet = Peerlet::new().wasi_values().route().deliver(&body);
    let draw = |seed| {
        let context = Context { seed, ..context() };
        let execution = start(&peerlet, Limits::default()).run(&deliver(b""), &context, &mut no_records());
        sent(&execution)[0].clone()
    };
    assert_eq!(draw(1)[..8], 5_000_000_000_u64.to_le_bytes());
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_handler_cannot_wait() {
    let peerlet = Peerlet::new().wasi_values().deliver(&format!("(drop (call $wait (i64.const 1))) {OK}"));
    let execution = run(&mut start(&peerlet, Limits::default()), &deliver(b""));
    assert!(matches!(&execution.outcome, Outcome::Trapped(trap) if trap.message.contains("timer")), "{execution:?}");
}

#[test]
fn what_a_peerlet_prints_goes_to_the_log_and_into_the_message_of_a_trap() {
    let text = r#"(data (i32.const 2048) "panicked\0awhy")"#;
    let print = "(call $print (call $stderr) (i32.const 2048) (i32.const 12) (i32.const 1024))";
    let peerlet = Peerlet::new().wasi_stderr().module(text);
    let mut instance = start(&peerlet.clone().deliver(&format!("{print} {OK}")), Limits::default());
    assert_eq!(logged(&run(&mut instance, &deliver(b""))), ["panicked", "why"]);
    let mut instance = start(&peerlet.deliver(&format!("{print} unreachable")), Limits::default());
    let execution = run(&mut instance, &deliver(b""));
    assert!(
        matches!(&execution.outcome, Outcome::Trapped(trap) if trap.message.ends_with("panicked why")),
        "{execution:?}"
    );
}

#[test]
fn a_full_pool_says_so() {
    let engine = engine();
    let compiled = compile(&engine, &Peerlet::new());
    let start = || Instance::start(&compiled, Limits::default(), None, &context());
    assert!(engine.is_pooling());
    let mut living: Vec<Instance> = (0..4).map(|_| start().unwrap()).collect();
    assert!(matches!(start(), Err(StartError::NoRoom(_))));
    living.pop();
    assert!(start().is_ok());
}
