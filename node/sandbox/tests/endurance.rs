//! Hostile components again and again on the same engines: none ever has a byte more than its limit, and when all are
//! gone the process is as large as before.

mod support;

use std::fs;

use bytes::Bytes;
use prost_contract::{Execution, Limits, Outcome, TrapKind};
use prost_sandbox::{Compiled, Engine, EngineOptions, Instance, StartError};
use support::{OK, Peerlet, compile, context, deliver, engine, no_records};

/// Bytes that each may have.
const LIMIT: u64 = 2 << 20;
const PAGE: u64 = 64 << 10;
/// What the engine keeps for one element of a table.
const ELEMENT: u64 = 8;
/// Elements of the table of those that have one.
const TABLE: u64 = 1_000;

/// How one of them ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Well,
    Trapped(TrapKind),
    /// It does not start.
    NotStarted,
}

/// What each does, and how that ends. Those that end well say in a record how many pages they have in the end.
fn misdeeds() -> Vec<(Peerlet, Ends)> {
    use Ends::{NotStarted, Trapped, Well};
    use TrapKind::{Fault, OutOfFuel, OutOfMemory, TooManyEffects};
    const LOOP: &str = "(loop $again (br $again)) unreachable";
    // As far as it is let, one page at a time, then the last byte of each.
    let grow = "(local $at i32) (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (local.set $at (i32.const 65535))
        (loop $touch (i32.store8 (local.get $at) (i32.const 7)) (local.set $at (i32.add (local.get $at) (i32.const 65536)))
          (br_if $touch (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))";
    let pages = "(i32.store (i32.const 2048) (memory.size)) (call $put (i32.const 0) (i64.const 0) (i64.const 0)
        (i32.const 0) (i32.const 2048) (i32.const 4) (i32.const 2048) (i32.const 4) (i32.const 0) (i64.const 0)
        (i32.const 1024))";
    let steps = "(local $n i32) (local.set $n (i32.const 4096)) (loop $less
        (if (i32.ne (memory.grow (local.get $n)) (i32.const -1)) (then (br $less)))
        (local.set $n (i32.shr_u (local.get $n) (i32.const 1))) (br_if $less (local.get $n)))";
    let again = |call: &str| format!("(loop $again {call} (br $again)) unreachable");
    let new = Peerlet::new;
    let table = || new().storage().module(&format!("(table {TABLE} funcref)"));
    vec![
        (new().storage().deliver(&format!("{grow} {pages} {OK}")), Well),
        (new().storage().deliver(&format!("{steps} {pages} {OK}")), Well),
        (table().deliver(&format!("{grow} {pages} {OK}")), Well),
        (new().deliver(&format!("{grow} unreachable")), Trapped(OutOfMemory)),
        (table().deliver("(drop (table.grow (ref.null func) (i32.const 1000000))) unreachable"), Trapped(OutOfMemory)),
        (new().deliver(LOOP), Trapped(OutOfFuel)),
        (new().realloc(LOOP), Trapped(OutOfFuel)),
        (new().deliver("unreachable"), Trapped(Fault)),
        (new().module("(func $f (call $f))").deliver(&format!("(call $f) {OK}")), Trapped(Fault)),
        (new().deliver("i32.const 65536"), Trapped(Fault)),
        (new().post_return("unreachable"), Trapped(Fault)),
        (
            new().memory("16").deliver(&again("(memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576))")),
            Trapped(OutOfFuel),
        ),
        (
            new().timer().deliver(&again("(call $set (i64.const 0) (i64.const 2) (i32.const 1024))")),
            Trapped(TooManyEffects),
        ),
        (new().wasi_stderr().resource().deliver(&again("(drop (call $stderr))")), Trapped(Fault)),
        (new().memory("33"), NotStarted),
        (new().module(&format!("(func $start {grow} unreachable) (start $start)")), NotStarted),
        (new().module(r#"(data (i32.const 65530) "0123456789")"#), NotStarted),
    ]
}

/// Pages that it said it has.
fn pages(execution: &Execution) -> u64 {
    let said: Option<&Bytes> = execution.writes.first().and_then(|write| Some(&write.value.as_ref()?.0));
    u64::from(u32::from_le_bytes(said.expect("a record").as_ref().try_into().expect("four bytes")))
}

/// Starts it and gives it one event. Tells by how many bytes it was over its limit.
fn run(compiled: &Compiled, ends: Ends) -> u64 {
    let limits = Limits { memory_bytes: LIMIT, fuel: 3_000_000, ..Limits::default() };
    let mut instance = match Instance::start(compiled, limits, None, &context()) {
        Ok(instance) => instance,
        Err(StartError::Trapped { receipt, .. }) => {
            assert_eq!((ends, receipt.memory_bytes), (Ends::NotStarted, 0));
            return 0;
        }
        Err(other) => panic!("{other}"),
    };
    let execution = instance.run(&deliver(b"payload"), &context(), &mut no_records());
    match (&execution.outcome, ends) {
        (Outcome::Done, Ends::Well) => {
            let has = pages(&execution) * PAGE;
            let counted = execution.receipt.memory_bytes;
            assert!(counted == has || counted == has + TABLE * ELEMENT, "{counted} bytes are counted, it has {has}");
            assert!(counted > LIMIT - 2 * PAGE, "it did not get what it may: {counted}");
            counted.saturating_sub(LIMIT)
        }
        (Outcome::Trapped(trap), Ends::Trapped(kind)) if trap.kind == kind => {
            assert!(instance.is_gone() && execution.receipt.memory_bytes == 0);
            0
        }
        (other, _) => panic!("{other:?}, not {ends:?}"),
    }
}

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let said = fs::read_to_string("/proc/self/statm").expect("Linux tells");
    let pages: u64 = said.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

/// So many runs, by turns on memory from a pool and on demand.
fn endure(runs: usize) {
    let on_demand = Engine::new(EngineOptions { pooled_instances: 0, ..EngineOptions::default() }).expect("an engine");
    let misdeeds = misdeeds();
    let compiled: Vec<(Compiled, Ends)> = [engine(), on_demand]
        .iter()
        .flat_map(|engine| misdeeds.iter().map(|(peerlet, ends)| (compile(engine, peerlet), *ends)))
        .collect();
    // Once, so that what is made at the first use is there.
    let mut over: u64 = compiled.iter().map(|(compiled, ends)| run(compiled, *ends)).sum();
    let before = resident();
    over += compiled.iter().cycle().take(runs).map(|(compiled, ends)| run(compiled, *ends)).sum::<u64>();
    let after = resident();
    println!("{runs} runs of {} hostile components, {over} bytes over their limits", compiled.len());
    println!("resident {before} bytes before, {after} after: {:+.2} %", 100.0 * (after as f64 / before as f64 - 1.0));
    assert_eq!(over, 0);
    assert!(after <= before + before / 20, "{before} bytes before, {after} after");
}

#[test]
fn hostile_components_never_have_more_than_their_limit_and_leave_nothing() {
    endure(400);
}

#[test]
#[ignore = "a minute, and in an optimised build: it measures"]
fn ten_thousand_hostile_runs_never_have_more_than_their_limit_and_leave_nothing() {
    endure(10_000);
}
