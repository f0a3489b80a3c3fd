//! What authors are told of one event: in which order its effects come, that none remain where it fails, and the numbers
//! that bound it.

mod support;

use bytes::Bytes;
use prost_contract::{Effect, Execution, Limits, LogLevel, Outcome, Overlay, Place, Records as _, TrapKind};
use prost_sandbox::Instance;
use support::{Memory, OK, Peerlet, compile, context, deliver, engine, no_records, node, repeat, run, shared, start};

const LOG: &str = "(call $log (i32.const 1) (i32.const 2048) (i32.const 4))";
const SET: &str = "(call $set (i64.const 1) (i64.const 2) (i32.const 1024))";
/// Refuses the event with four bytes of memory as the reason.
const REFUSE: &str = "(i32.store8 (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1044) (i32.const 2048))
    (i32.store (i32.const 1048) (i32.const 4)) i32.const 1040";

/// Sends bytes of memory back to the previous hop.
fn send(at: u32, length: u32) -> String {
    format!(
        "(call $send (local.get $previous-high) (local.get $previous-middle) (local.get $previous-low)
            (i32.const {at}) (i32.const {length}) (i32.const 1104))"
    )
}

fn put(name: u32, value: u32) -> String {
    format!(
        "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const {name})
            (i32.const 4096) (i32.const {value}) (i32.const 0) (i64.const 0) (i32.const 1024))"
    )
}

/// Runs `deliver` once, with this body and the default limits.
fn once(peerlet: &Peerlet, body: &str) -> Execution {
    run(&mut start(&peerlet.clone().deliver(&format!("{body} {OK}")), Limits::default()), &deliver(b""))
}

fn sent(execution: &Execution) -> Vec<Bytes> {
    let payloads = execution.effects.iter().filter_map(|effect| match effect {
        Effect::Send { payload, .. } => Some(payload.clone()),
        _ => None,
    });
    payloads.collect()
}

#[track_caller]
fn assert_too_many(execution: &Execution, says: &str) {
    let Outcome::Trapped(trap) = &execution.outcome else { panic!("{:?}", execution.outcome) };
    assert_eq!(trap.kind, TrapKind::TooManyEffects, "{trap:?}");
    assert!(trap.message.contains(says), "{trap:?}");
}

#[test]
fn log_lines_come_after_all_else_and_what_was_printed_comes_last() {
    let text = r#"(data (i32.const 2048) "linewords")"#;
    let print = "(call $print (call $stderr) (i32.const 2052) (i32.const 5) (i32.const 1024))";
    let peerlet = Peerlet::new().route().timer().log().wasi_stderr().module(text);
    let execution = once(&peerlet, &format!("{print} {LOG} {SET} {}", send(0, 0)));
    let line = |level, line: &str| Effect::Log { level, line: line.to_owned() };
    assert_eq!(
        execution.effects,
        [
            Effect::SetTimer { timer: 100, after_ms: 1, tag: 2 },
            Effect::Send { id: 101, to: node(4), payload: Bytes::new() },
            line(LogLevel::Info, "line"),
            line(LogLevel::Info, "words"),
        ]
    );
}

#[test]
fn however_an_event_fails_nothing_that_it_asked_for_remains() {
    let engine = engine();
    let _ticker = engine.start_ticker().expect("a clock");
    let limits = Limits { memory_bytes: 1 << 20, effects: 8, ..Limits::default() };
    let grow = "(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let endless = "(loop $on (br $on)) unreachable";
    let endings: [(&str, Limits, Option<TrapKind>); 6] = [
        (REFUSE, limits.clone(), None),
        ("unreachable", limits.clone(), Some(TrapKind::Fault)),
        (endless, Limits { fuel: 1_000_000, ..limits.clone() }, Some(TrapKind::OutOfFuel)),
        (endless, Limits { fuel: u64::MAX, ..limits.clone() }, Some(TrapKind::OutOfTime)),
        (grow, limits.clone(), Some(TrapKind::OutOfMemory)),
        (&format!("{} {OK}", SET.repeat(8)), limits, Some(TrapKind::TooManyEffects)),
    ];
    for (ending, limits, kind) in endings {
        let peerlet = Peerlet::new().storage().route().timer().log();
        let body = format!("{} {SET} {LOG} {} {ending}", put(4, 4), send(0, 4));
        let compiled = compile(&engine, &peerlet.deliver(&body));
        let mut instance = Instance::start(&compiled, limits, None, &context()).expect("it starts");
        let mut records = no_records();
        let execution = instance.run(&deliver(b""), &context(), &mut records);
        match &execution.outcome {
            Outcome::Refused(_) => assert_eq!(kind, None),
            Outcome::Trapped(trap) => assert_eq!(Some(trap.kind), kind, "{trap:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!((&execution.effects[..], &execution.writes[..]), (&[][..], &[][..]), "{kind:?}");
        assert_eq!(records.names(Place::Node, b"", None, 10), Ok(Vec::new()), "{kind:?}");
        assert!(execution.receipt.fuel > 0, "{kind:?}: it is charged nevertheless");
        assert_eq!(instance.is_gone(), kind.is_some());
    }
}

#[test]
fn what_a_failed_event_left_in_memory_stays_there() {
    let remember = format!("(i32.store8 (i32.const 3000) (i32.const 7)) {REFUSE} return");
    let body = format!("(if (local.get $length) (then {remember})) {} {OK}", send(3000, 1));
    let mut instance = start(&Peerlet::new().route().deliver(&body), Limits::default());
    assert!(matches!(run(&mut instance, &deliver(b"fail")).outcome, Outcome::Refused(_)));
    assert_eq!(sent(&run(&mut instance, &deliver(b""))), [Bytes::from_static(&[7])]);
}

#[test]
fn a_message_of_128_kib_is_sent_and_one_byte_more_is_not() {
    let peerlet = Peerlet::new().route().memory("4");
    assert_eq!(sent(&once(&peerlet, &send(0, 128 << 10))).len(), 1);
    assert_eq!(sent(&once(&peerlet, &send(0, (128 << 10) + 1))).len(), 0);
}

#[test]
fn a_record_of_64_kib_under_512_bytes_is_kept_and_one_byte_more_is_not() {
    let peerlet = Peerlet::new().storage().memory("4");
    for (name, value, kept) in [(512, 64 << 10, 1), (513, 4, 0), (4, (64 << 10) + 1, 0)] {
        assert_eq!(once(&peerlet, &put(name, value)).writes.len(), kept, "{value} bytes under {name}");
    }
}

#[test]
fn an_event_has_256_effects_and_writes_and_16_mib_of_them() {
    let peerlet = Peerlet::new().timer().route().memory("4");
    assert_eq!(once(&peerlet, &repeat(256, SET)).effects.len(), 256);
    assert_too_many(&once(&peerlet, &repeat(257, SET)), "effects");
    // 128 messages of 128 KiB.
    let send = send(0, 128 << 10);
    assert_eq!(sent(&once(&peerlet, &repeat(128, &send))).len(), 128);
    assert_too_many(&once(&peerlet, &repeat(129, &send)), "data");
}

#[test]
fn a_page_has_1024_names_or_keys() {
    let mut memory = Memory::default();
    for number in 0..2_000_u16 {
        let mut id = *node(0).as_bytes();
        id[18..].copy_from_slice(&number.to_be_bytes());
        memory.records.insert((Place::Node, number.to_be_bytes().to_vec()), Bytes::new());
        memory.records.insert((Place::At(prost_kbr::Id::from_bytes(id)), b"a".to_vec()), Bytes::new());
    }
    let records = shared(memory);
    let names = |max: &str| {
        format!(
            "(call $names (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {max}) (i32.const 1024))"
        )
    };
    let keys = |max: &str| {
        format!(
            "(call $keys (i64.const 0) (i64.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
                (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const {max}) (i32.const 1024))"
        )
    };
    // The length of the list that is answered.
    let listed = |call: String| {
        let peerlet = Peerlet::new().storage().route().deliver(&format!("{call} {} {OK}", send(1032, 4)));
        let mut records = Overlay::new(records.clone());
        let execution = start(&peerlet, Limits::default()).run(&deliver(b""), &context(), &mut records);
        let bytes = sent(&execution)[0].as_ref().try_into().expect("four bytes");
        u32::from_le_bytes(bytes)
    };
    for (max, length) in [("10", 10), ("1024", 1_024), ("1025", 1_024), ("-1", 1_024)] {
        assert_eq!((listed(names(max)), listed(keys(max))), (length, length), "{max}");
    }
}

#[test]
fn a_host_call_costs_100_and_one_for_each_byte_and_its_work() {
    let peerlet = Peerlet::new().log().storage();
    let cost = |body: &str| once(&peerlet, body).receipt.fuel;
    let log = |length: u32| cost(&format!("(call $log (i32.const 1) (i32.const 2048) (i32.const {length}))"));
    assert_eq!(log(1_000) - log(0), 1_000);
    let call = log(0) - cost("");
    assert!((100..110).contains(&call), "{call}, with the instructions around it");
    assert!(cost(&put(4, 4)) - cost("") > 1_000, "a write takes more than crossing the border");
}
