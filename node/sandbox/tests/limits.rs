//! Peerlets that misbehave: each gets its kind of trap and an exact receipt, and leaves nothing behind.

mod support;

use std::time::{Duration, Instant as Clock};

use prost_contract::{Execution, Limits, Outcome, Place, Records as _, TrapKind};
use prost_kbr::Refusal;
use prost_sandbox::{Engine, EngineOptions, Instance, StartError};
use support::{OK, Peerlet, compile, context, deliver, engine, no_records, run, start, try_start};

const LOOP: &str = "(loop $again (br $again)) unreachable";
const PUT: &str = "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
    (i32.const 2048) (i32.const 4) (i32.const 2048) (i32.const 4) (i32.const 0) (i64.const 0) (i32.const 1024))";

fn fuel(fuel: u64) -> Limits {
    Limits { fuel, ..Limits::default() }
}

fn trapped(peerlet: &Peerlet, limits: Limits) -> Execution {
    let mut instance = start(peerlet, limits);
    let execution = run(&mut instance, &deliver(b""));
    assert!(instance.is_gone());
    execution
}

fn kind(execution: &Execution) -> TrapKind {
    match &execution.outcome {
        Outcome::Trapped(trap) => trap.kind,
        other => panic!("it did not trap: {other:?}"),
    }
}

fn start_trap(peerlet: &Peerlet, limits: Limits) -> TrapKind {
    match try_start(peerlet, limits).err() {
        Some(StartError::Trapped { trap, .. }) => trap.kind,
        other => panic!("it did not trap: {other:?}"),
    }
}

#[test]
fn an_endless_loop_burns_its_fuel_and_no_more_every_time_the_same() {
    let peerlet = Peerlet::new().deliver(LOOP);
    let first = trapped(&peerlet, fuel(1_000_000));
    assert_eq!(kind(&first), TrapKind::OutOfFuel);
    assert_eq!(first.receipt.fuel, 1_000_000);
    assert_eq!(first.receipt.memory_bytes, 0);
    assert_eq!(trapped(&peerlet, fuel(1_000_000)).receipt.fuel, first.receipt.fuel);
}

#[test]
fn equal_events_cost_equal_fuel() {
    let peerlet = Peerlet::new().storage().deliver(&format!("{PUT} {OK}"));
    let costs: Vec<u64> =
        (0..2).map(|_| run(&mut start(&peerlet, fuel(1_000_000)), &deliver(b"x")).receipt.fuel).collect();
    assert!(costs[0] > 0);
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn an_endless_loop_with_fuel_to_spare_runs_out_of_time() {
    let engine = engine();
    let _ticker = engine.start_ticker().unwrap();
    let limits = Limits { fuel: u64::MAX, wall: Duration::from_millis(50), ..Limits::default() };
    let compiled = compile(&engine, &Peerlet::new().deliver(LOOP));
    let mut instance = Instance::start(&compiled, limits, None, &context()).unwrap();
    let clock = Clock::now();
    let execution = run(&mut instance, &deliver(b""));
    assert_eq!(kind(&execution), TrapKind::OutOfTime);
    assert!(execution.receipt.fuel > 0);
    assert!(execution.receipt.micros >= 50_000);
    assert!(clock.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_clock_stops_with_its_guard() {
    let engine = engine();
    drop(engine.start_ticker().unwrap());
    let limits = Limits { fuel: 50_000_000, wall: Duration::ZERO, ..Limits::default() };
    let compiled = compile(&engine, &Peerlet::new().deliver(LOOP));
    let mut instance = Instance::start(&compiled, limits, None, &context()).unwrap();
    assert_eq!(kind(&run(&mut instance, &deliver(b""))), TrapKind::OutOfFuel);
}

#[test]
fn a_recursion_without_end_faults() {
    let peerlet = Peerlet::new().module("(func $f (call $f))").deliver(&format!("(call $f) {OK}"));
    let execution = trapped(&peerlet, Limits::default());
    assert_eq!(kind(&execution), TrapKind::Fault);
    assert!(matches!(&execution.outcome, Outcome::Trapped(trap) if trap.message.contains("stack")), "{execution:?}");
}

#[test]
fn memory_grows_up_to_the_limit_and_not_a_byte_further() {
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    let mut instance = start(&Peerlet::new().deliver(&format!("{grow} {OK}")), limits.clone());
    let execution = run(&mut instance, &deliver(b""));
    assert_eq!(execution.outcome, Outcome::Done);
    assert_eq!(execution.receipt.memory_bytes, 1 << 20);

    let execution = trapped(&Peerlet::new().deliver(&format!("{grow} unreachable")), limits);
    assert_eq!(kind(&execution), TrapKind::OutOfMemory);
}

#[test]
fn tables_count_as_memory() {
    let grow = "(drop (table.grow (ref.null func) (i32.const 1000000))) unreachable";
    let peerlet = Peerlet::new().module("(table 1 funcref)").deliver(grow);
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(kind(&trapped(&peerlet, limits)), TrapKind::OutOfMemory);
}

#[test]
fn a_fault_with_memory_to_spare_is_a_fault() {
    assert_eq!(kind(&trapped(&Peerlet::new().deliver("unreachable"), Limits::default())), TrapKind::Fault);
}

#[test]
fn a_component_that_needs_too_much_memory_does_not_start() {
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(start_trap(&Peerlet::new().memory("17"), limits), TrapKind::OutOfMemory);
}

#[test]
fn start_code_is_held_to_the_same_limits() {
    let with_start = |body: &str| Peerlet::new().log().module(&format!("(func $start {body}) (start $start)"));
    assert_eq!(start_trap(&with_start("unreachable"), Limits::default()), TrapKind::Fault);
    assert_eq!(start_trap(&with_start(LOOP), fuel(1_000_000)), TrapKind::OutOfFuel);
    let calls = "(call $log (i32.const 0) (i32.const 0) (i32.const 0))";
    assert_eq!(start_trap(&with_start(calls), Limits::default()), TrapKind::Fault);
    let refused = try_start(&with_start("unreachable"), Limits::default()).err().unwrap();
    assert_eq!(refused.refusal(), Refusal::InitFailed);
}

#[test]
fn a_trap_after_a_write_leaves_nothing() {
    let peerlet = Peerlet::new()
        .storage()
        .timer()
        .deliver(&format!("{PUT} (call $set (i64.const 1) (i64.const 2) (i32.const 1024)) unreachable"));
    let mut instance = start(&peerlet, Limits::default());
    let mut records = no_records();
    let execution = instance.run(&deliver(b""), &context(), &mut records);
    assert_eq!(kind(&execution), TrapKind::Fault);
    assert_eq!((execution.effects.len(), execution.writes.len()), (0, 0));
    assert!(execution.receipt.fuel > 0);
    assert_eq!(records.names(Place::Node, b"", None, 10), Ok(Vec::new()));
    assert_eq!(records.growth(), 0);

    let after = instance.run(&deliver(b""), &context(), &mut records);
    assert_eq!(kind(&after), TrapKind::Fault);
    assert_eq!(after.receipt.fuel, 0);
}

#[test]
fn effects_and_writes_are_counted_together() {
    let set = "(call $set (i64.const 1) (i64.const 2) (i32.const 1024))";
    let peerlet = Peerlet::new().storage().timer();
    let limits = Limits { effects: 2, ..Limits::default() };
    let two = peerlet.clone().deliver(&format!("{PUT} {set} {OK}"));
    let execution = run(&mut start(&two, limits.clone()), &deliver(b""));
    assert_eq!((execution.effects.len(), execution.writes.len()), (1, 1));
    let three = peerlet.deliver(&format!("{PUT} {set} {set} {OK}"));
    assert_eq!(kind(&trapped(&three, limits)), TrapKind::TooManyEffects);
}

#[test]
fn host_calls_cost_fuel_even_where_they_have_no_effect() {
    let peerlet = Peerlet::new()
        .log()
        .deliver("(loop $again (call $log (i32.const 0) (i32.const 0) (i32.const 0)) (br $again)) unreachable");
    let execution = trapped(&peerlet, fuel(1_000_000));
    assert_eq!(kind(&execution), TrapKind::OutOfFuel);
    assert!((1_000_000..2_000_000).contains(&execution.receipt.fuel), "{:?}", execution.receipt);
}

#[test]
fn what_guest_and_host_burn_together_is_held_to_the_limit() {
    let work = "(local $n i32) (loop $again (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 1000))))";
    let peerlet = Peerlet::new().storage().deliver(&format!("{work} {PUT} {OK}"));
    let whole = run(&mut start(&peerlet, Limits::default()), &deliver(b"")).receipt.fuel;
    assert_eq!(run(&mut start(&peerlet, fuel(whole)), &deliver(b"")).outcome, Outcome::Done);
    assert_eq!(kind(&trapped(&peerlet, fuel(whole - 1))), TrapKind::OutOfFuel);
}

#[test]
fn one_call_cannot_hand_over_any_amount_of_data() {
    let peerlet = Peerlet::new()
        .memory("40")
        .log()
        .deliver(&format!("(call $log (i32.const 0) (i32.const 0) (i32.const 2000000)) {OK}"));
    assert_eq!(kind(&trapped(&peerlet, Limits::default())), TrapKind::TooManyEffects);
}

#[test]
fn bad_values_fault() {
    let peerlet = Peerlet::new().log();
    let bad = [
        ("a pointer past the memory", "(call $log (i32.const 0) (i32.const 70000) (i32.const 4))"),
        ("a length of two to the thirty-first", "(call $log (i32.const 0) (i32.const 0) (i32.const 0x80000000))"),
        ("a level that is none", "(call $log (i32.const 9) (i32.const 0) (i32.const 0))"),
        (
            "bytes that are no text",
            "(i32.store8 (i32.const 2048) (i32.const 0xff))
            (call $log (i32.const 0) (i32.const 2048) (i32.const 1))",
        ),
    ];
    for (what, body) in bad {
        let execution = trapped(&peerlet.clone().deliver(&format!("{body} {OK}")), Limits::default());
        assert_eq!(kind(&execution), TrapKind::Fault, "{what}");
    }
    let execution = trapped(&Peerlet::new().deliver("i32.const 65536"), Limits::default());
    assert_eq!(kind(&execution), TrapKind::Fault, "a result past the memory");
}

#[test]
fn an_event_is_the_same_whether_memory_comes_from_a_pool_or_on_demand() {
    let on_demand = Engine::new(EngineOptions { pooled_instances: 0, ..EngineOptions::default() }).expect("an engine");
    assert!(!on_demand.is_pooling());
    // It grows by more than a memory can before it has to move, and writes to its last byte.
    let grow = "(drop (memory.grow (i32.const 20))) (i32.store8 (i32.const 1376255) (i32.const 7))";
    let bodies = [
        format!("{grow} {OK}"),
        format!("(i32.store8 (i32.const 1376256) (i32.const 7)) {OK}"),
        "(loop $again (br $again)) i32.const 0".to_owned(),
    ];
    for body in bodies {
        let peerlet = Peerlet::new().memory("1").deliver(&body);
        let limits = Limits { fuel: 5_000_000, ..Limits::default() };
        let [one, two] = [engine(), on_demand.clone()].map(|engine| {
            let compiled = compile(&engine, &peerlet);
            let mut instance = Instance::start(&compiled, limits.clone(), None, &context()).expect("it starts");
            let mut execution = run(&mut instance, &deliver(b""));
            execution.receipt.micros = 0;
            execution
        });
        assert_eq!(one, two, "{body}");
    }
}
