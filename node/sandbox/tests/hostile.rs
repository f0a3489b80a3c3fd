//! Components made to hurt: each is refused before it runs, or traps with an exact receipt while another peerlet on the
//! same engine goes on as if nothing had happened.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant as Clock};

use prost_contract::{Effect, Execution, Limits, Outcome, Receipt, Trap, TrapKind};
use prost_kbr::Refusal;
use prost_sandbox::{
    BadComponent, COMPONENT_BYTES, CompileError, Compiled, Engine, EngineOptions, Instance, StartError, Wasi, inspect,
};
use support::binary::{COMPONENT, CORE_MODULE, CORE_TYPES, TYPES, component, leb, module};
use support::{OK, Peerlet, compile, context, deliver, engine, no_records, run};

const LOOP: &str = "(loop $again (br $again)) unreachable";
const LOG: &str = "(call $log (i32.const 1) (i32.const 2048) (i32.const 4))";

/// A peerlet that behaves, on an engine that others share.
struct Neighbour {
    instance: Instance,
    before: Execution,
}

impl Neighbour {
    fn on(engine: &Engine) -> Neighbour {
        let peerlet = Peerlet::new().log().deliver(&format!("{LOG} (drop (memory.grow (i32.const 1))) {OK}"));
        let mut instance = Instance::start(&compile(engine, &peerlet), Limits::default(), None, &context()).unwrap();
        let before = Neighbour::event(&mut instance);
        Neighbour { instance, before }
    }

    fn event(instance: &mut Instance) -> Execution {
        let mut execution = run(instance, &deliver(b"payload"));
        assert_eq!(execution.outcome, Outcome::Done);
        execution.receipt.micros = 0;
        execution.receipt.memory_bytes = 0;
        execution
    }

    #[track_caller]
    fn assert_unharmed(mut self) {
        assert_eq!(Neighbour::event(&mut self.instance), self.before);
    }
}

/// How an event ends that traps: twice, with equal receipts, and nothing of it remains.
#[track_caller]
fn trap(peerlet: &Peerlet, limits: Limits) -> Trap {
    let engine = engine();
    let neighbour = Neighbour::on(&engine);
    let compiled = compile(&engine, peerlet);
    let mut ended = (0..2).map(|_| {
        let mut instance = Instance::start(&compiled, limits.clone(), None, &context()).expect("it starts");
        let mut records = no_records();
        let execution = instance.run(&deliver(b"payload"), &context(), &mut records);
        assert!(instance.is_gone(), "{execution:?}");
        assert_eq!((execution.effects.len(), execution.writes.len(), records.growth()), (0, 0, 0));
        let Outcome::Trapped(trap) = execution.outcome else { panic!("it did not trap: {:?}", execution.outcome) };
        (trap, execution.receipt.fuel, execution.receipt.memory_bytes)
    });
    let (first, second) = (ended.next().expect("two"), ended.next().expect("two"));
    assert_eq!(first, second);
    let (trap, fuel, memory) = first;
    assert!(fuel > 0 && memory == 0, "{fuel} {memory}");
    neighbour.assert_unharmed();
    trap
}

#[track_caller]
fn assert_traps(peerlet: &Peerlet, limits: Limits, kind: TrapKind, says: &str) {
    let trap = trap(peerlet, limits);
    assert_eq!(trap.kind, kind, "{trap:?}");
    assert!(trap.message.contains(says), "{trap:?}");
}

/// A body of `deliver` that is a fault, with a word of what is wrong.
#[track_caller]
fn assert_faults(peerlet: &Peerlet, body: &str, says: &str) {
    assert_traps(&peerlet.clone().deliver(&format!("{body} {OK}")), Limits::default(), TrapKind::Fault, says);
}

/// How a component fails that does not start.
#[track_caller]
fn start_trap(peerlet: &Peerlet, limits: Limits) -> (TrapKind, Receipt) {
    let engine = engine();
    let neighbour = Neighbour::on(&engine);
    let compiled = compile(&engine, peerlet);
    let mut ended = (0..2).map(|_| match Instance::start(&compiled, limits.clone(), None, &context()).err() {
        Some(StartError::Trapped { trap, receipt }) => (trap.kind, Receipt { micros: 0, ..receipt }),
        other => panic!("it did not trap: {other:?}"),
    });
    let (first, second) = (ended.next().expect("two"), ended.next().expect("two"));
    assert_eq!(first, second);
    neighbour.assert_unharmed();
    first
}

/// A component that is valid, and that the compiler or the engine's pool does not take.
#[track_caller]
fn assert_rejected(engine: &Engine, peerlet: &Peerlet, says: &str) {
    let neighbour = Neighbour::on(engine);
    let refused =
        Compiled::compile(engine, &peerlet.build(), &BTreeSet::new(), Wasi::None).err().expect("it is not taken");
    assert!(matches!(&refused, CompileError::Rejected(said) if said.contains(says)), "{refused}");
    assert_eq!(refused.refusal(), Refusal::BadComponent);
    neighbour.assert_unharmed();
}

fn on_demand() -> Engine {
    Engine::new(EngineOptions { pooled_instances: 0, ..EngineOptions::default() }).expect("an engine")
}

#[track_caller]
fn assert_too_many(what: &str, component: &[u8]) {
    let start = Clock::now();
    let refused = inspect(component).expect_err("it is too much");
    assert!(matches!(refused, BadComponent::TooMany { what: named, .. } if named == what), "{what}: {refused}");
    assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
}

#[test]
fn a_thousand_components_one_in_the_other_are_too_many() {
    let mut inner = component(&[]);
    for _ in 0..1_000 {
        inner = component(&[(COMPONENT, inner)]);
    }
    assert_too_many("nested components", &inner);
}

#[test]
fn a_million_types_are_too_many_wherever_they_are() {
    const MILLION: usize = 1_000_000;
    let many = |one: &[u8]| [leb(MILLION), one.repeat(MILLION)].concat();
    // A list of types, each a function from nothing to nothing, or a boolean.
    assert_too_many("types", &component(&[(CORE_MODULE, module(&[(1, many(b"\x60\0\0"))]))]));
    assert_too_many("types", &component(&[(CORE_TYPES, many(b"\x60\0\0"))]));
    assert_too_many("types", &component(&[(TYPES, many(b"\x7f"))]));
    // One type that has them as its parts: an instance, a component, a core module's.
    let parts = |kind: u8| [&[1, kind][..], &many(b"\x01\x7f")].concat();
    assert_too_many("types", &component(&[(TYPES, parts(0x42))]));
    assert_too_many("types", &component(&[(TYPES, parts(0x41))]));
    let parts = [&[1, 0x50][..], &leb(100_000), &b"\x01\x60\0\0".repeat(100_000)].concat();
    assert_too_many("types", &component(&[(CORE_TYPES, parts)]));
    // An instance in an instance, and wide at the bottom.
    let mut inner = [leb(20_000), b"\x01\x7f".repeat(20_000)].concat();
    for _ in 0..20 {
        inner = [&[1, 1, 0x42][..], &inner].concat();
    }
    assert_too_many("types", &component(&[(TYPES, [&[1, 0x42][..], &inner].concat())]));
}

#[test]
fn types_in_one_another_without_end_exhaust_no_stack() {
    for kind in [0x41, 0x42] {
        let deep = [&[1][..], &[kind, 1, 1].repeat(5_000_000), &[0x7f]].concat();
        assert_too_many("types in one another", &component(&[(TYPES, deep)]));
    }
}

#[test]
fn a_type_of_a_million_parts_is_not_valid() {
    let wide = [&[1, 0x6f][..], &leb(1_000_000), &[0x7f].repeat(1_000_000)].concat();
    assert!(matches!(inspect(&component(&[(TYPES, wide)])), Err(BadComponent::Invalid(_))));
}

#[test]
fn asynchronous_functions_do_not_exist() {
    for text in [
        "(component (type (stream u8)))",
        "(component (type (future)))",
        "(component (core func (canon task.return)))",
        "(component (core func (canon backpressure.inc)))",
        "(component (type (func async)))",
        "(component (core func (canon context.get i32 0)))",
    ] {
        let refused = inspect(&wat::parse_str(text).expect(text)).expect_err(text);
        assert!(matches!(refused, BadComponent::Invalid(_)), "{text}: {refused}");
    }
}

#[test]
fn what_says_that_it_is_longer_than_it_is_is_not_valid() {
    let data = [&[1, 0, 0x41, 0, 0x0b][..], &leb(100 << 20), b"short"].concat();
    let section = [&[11][..], &leb(data.len() + (100 << 20)), &data].concat();
    let inner = [module(&[]), section].concat();
    assert!(matches!(inspect(&component(&[(CORE_MODULE, inner)])), Err(BadComponent::Invalid(_))));
    let whole = [leb(1), vec![0, 0x41, 0, 0x0b], leb(100 << 20), vec![0; 100 << 20]].concat();
    let component = component(&[(CORE_MODULE, module(&[(5, vec![1, 0, 1]), (11, whole)]))]);
    assert_eq!(inspect(&component), Err(BadComponent::TooLarge { size: component.len() }));
    assert!(component.len() > COMPONENT_BYTES);
}

/// A component with a block of so many values, and branches out of it that are each checked for all of them.
fn wide_branches(values: usize, branches: usize) -> Vec<u8> {
    let wide = [vec![0x60, 0], leb(values), vec![0x7f; values]].concat();
    let types = [leb(2), wide, vec![0x60, 0, 0]].concat();
    let code = [
        vec![0, 0x02, 0],
        b"\x41\0".repeat(values),
        vec![0x41, 0, 0x0e],
        leb(branches),
        vec![0; branches + 1],
        vec![0x0b],
        vec![0x1a; values],
        vec![0x0b],
    ]
    .concat();
    let code = [leb(1), leb(code.len()), code].concat();
    component(&[(CORE_MODULE, module(&[(1, types), (3, vec![1, 1]), (10, code)]))])
}

#[test]
fn branches_over_many_values_do_not_hold_up_the_inspection() {
    assert_too_many("values of a function", &wide_branches(1_000, 3_000_000));
    assert_eq!(inspect(&wide_branches(128, 100_000)), Err(BadComponent::NoHandler), "as many as there may be");
}

#[test]
fn a_long_function_with_as_many_locals_as_there_may_be_is_no_danger() {
    // Four bytes of code each, 128 KiB in all.
    let body = "(local.set 0 (local.get 1))".repeat(32 << 10);
    let locals = |count: usize| {
        Peerlet::new()
            .module(&format!("(func $f {} {body})", "(local i64)".repeat(count)))
            .deliver(&format!("(call $f) {OK}"))
    };
    let refused = inspect(&locals(50_001).build()).expect_err("one more than there may be");
    assert!(matches!(refused, BadComponent::Invalid(_)), "{refused}");
    let engine = engine();
    let compiled = compile(&engine, &locals(50_000));
    let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
    assert_eq!(run(&mut instance, &deliver(b"")).outcome, Outcome::Done);
}

#[test]
fn a_branch_of_many_ways_goes_one_of_them_and_of_too_many_is_refused() {
    let branch = |ways: usize, way: usize| {
        let targets = " 0 1".repeat(ways / 2);
        Peerlet::new().deliver(&format!("block block i32.const {way} br_table {targets} end unreachable end {OK}"))
    };
    assert_rejected(&engine(), &branch(100_000, 1), "br_table");
    // The second way leads past the trap.
    let compiled = compile(&engine(), &branch(60_000, 59_999));
    let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
    assert_eq!(run(&mut instance, &deliver(b"")).outcome, Outcome::Done);
    assert_traps(&branch(60_000, 59_998), Limits::default(), TrapKind::Fault, "unreachable");
}

#[test]
fn blocks_in_blocks_are_no_danger() {
    let deep = format!("{} {} {OK}", "block ".repeat(30_000), "end ".repeat(30_000));
    let engine = engine();
    let compiled = compile(&engine, &Peerlet::new().deliver(&deep));
    let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
    assert_eq!(run(&mut instance, &deliver(b"")).outcome, Outcome::Done);
}

#[test]
fn more_memory_than_a_node_gives_is_refused_however_it_is_allocated() {
    let whole = Peerlet::new().memory("65536");
    assert_rejected(&engine(), &whole, "memory");
    let compiled = compile(&on_demand(), &whole);
    match Instance::start(&compiled, Limits::default(), None, &context()).err() {
        Some(StartError::Trapped { trap, receipt }) => {
            assert_eq!((trap.kind, receipt.memory_bytes), (TrapKind::OutOfMemory, 0));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        inspect(&wat::parse_str("(component (core module (memory 1)))").unwrap()),
        Err(BadComponent::NoHandler)
    ));
}

#[test]
fn a_table_of_ten_million_is_refused_however_it_is_allocated() {
    let large = Peerlet::new().module("(table 10000000 funcref)");
    assert_rejected(&engine(), &large, "table");
    let compiled = compile(&on_demand(), &large);
    match Instance::start(&compiled, Limits::default(), None, &context()).err() {
        Some(StartError::Trapped { trap, .. }) => assert_eq!(trap.kind, TrapKind::OutOfMemory),
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_past_the_end_trap_at_the_start() {
    let data = r#"(data (i32.const 65530) "0123456789")"#;
    assert_eq!(start_trap(&Peerlet::new().module(data), Limits::default()).0, TrapKind::Fault);
    let element = "(table 1 funcref) (func $f) (elem (i32.const 1) $f)";
    assert_eq!(start_trap(&Peerlet::new().module(element), Limits::default()).0, TrapKind::Fault);
}

#[test]
fn start_code_that_grows_or_loops_is_held_to_the_limits() {
    let with_start = |body: &str| Peerlet::new().module(&format!("(func $start {body}) (start $start)"));
    let limits = Limits { fuel: 1_000_000, memory_bytes: 1 << 20, ..Limits::default() };
    let (kind, receipt) = start_trap(&with_start(LOOP), limits.clone());
    assert_eq!((kind, receipt.fuel, receipt.memory_bytes), (TrapKind::OutOfFuel, 1_000_000, 0));
    let grow = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let (kind, receipt) = start_trap(&with_start(grow), limits);
    assert_eq!((kind, receipt.memory_bytes), (TrapKind::OutOfMemory, 0));
    assert!(receipt.fuel > 0);
}

#[test]
fn memory_that_is_given_out_wrongly_is_a_fault() {
    let payload = Peerlet::new();
    for (what, body) in
        [("past the end", "i32.const 65535"), ("far past the end", "i32.const -1"), ("nowhere", "unreachable")]
    {
        let trap = trap(&payload.clone().realloc(body), Limits::default());
        assert_eq!(trap.kind, TrapKind::Fault, "{what}: {trap:?}");
    }
    assert_traps(&payload.realloc(LOOP), Limits { fuel: 100_000, ..Limits::default() }, TrapKind::OutOfFuel, "fuel");
}

#[test]
fn memory_that_is_given_out_askew_is_a_fault() {
    // Arguments of `forward` are too many to be passed otherwise than in memory, at an address divisible by eight.
    let engine = engine();
    let neighbour = Neighbour::on(&engine);
    let compiled = compile(&engine, &Peerlet::new().realloc("i32.const 4097"));
    let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
    let prost_contract::Event::Deliver(message) = deliver(b"") else { unreachable!() };
    let next = support::node(6);
    let execution = run(&mut instance, &prost_contract::Event::Forward { message, next });
    assert!(matches!(&execution.outcome, Outcome::Trapped(trap) if trap.kind == TrapKind::Fault), "{execution:?}");
    neighbour.assert_unharmed();
}

#[test]
fn memory_that_is_given_out_twice_harms_only_its_owner() {
    let engine = engine();
    let neighbour = Neighbour::on(&engine);
    // What arrives lies over the result, which then says what nobody meant.
    let compiled = compile(&engine, &Peerlet::new().realloc("i32.const 16"));
    let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
    assert_eq!(run(&mut instance, &deliver(&[0; 12])).outcome, Outcome::Done);
    let execution = run(&mut instance, &deliver(&[0xff; 12]));
    assert!(matches!(&execution.outcome, Outcome::Trapped(trap) if trap.kind == TrapKind::Fault), "{execution:?}");
    neighbour.assert_unharmed();
}

/// A peerlet whose memory is given out by code that calls the host.
fn calls_back(peerlet: Peerlet) -> Peerlet {
    peerlet
        .log()
        .lib("(type $f (func)) (table (export \"table\") 1 funcref)")
        .realloc("(call_indirect (type $f) (i32.const 0)) i32.const 4096")
        .module(&format!("(import \"lib\" \"table\" (table 1 funcref)) (func $back {LOG}) (elem (i32.const 0) $back)"))
}

#[test]
fn the_host_is_not_called_from_where_memory_is_given_out() {
    assert_traps(&calls_back(Peerlet::new()), Limits::default(), TrapKind::Fault, "leave");
}

#[test]
fn what_runs_after_a_result_traps_the_event() {
    assert_traps(&Peerlet::new().post_return("unreachable"), Limits::default(), TrapKind::Fault, "unreachable");
    let limits = Limits { fuel: 100_000, ..Limits::default() };
    assert_traps(&Peerlet::new().post_return(LOOP), limits, TrapKind::OutOfFuel, "fuel");
    assert_traps(&Peerlet::new().log().post_return(LOG), Limits::default(), TrapKind::Fault, "leave");
    let stores =
        Peerlet::new().timer().deliver(&format!("(call $set (i64.const 1) (i64.const 2) (i32.const 1024)) {OK}"));
    assert_traps(&stores.post_return("unreachable"), Limits::default(), TrapKind::Fault, "unreachable");
}

#[test]
fn strings_in_other_encodings_are_checked_like_all() {
    let log = |at: u32, length: u32| format!("(call $log (i32.const 1) (i32.const {at}) (i32.const {length}))");
    let with = |encoding: &str, data: &str| {
        Peerlet::new().encoding(encoding).log().module(&format!("(data (i32.const 2048) \"{data}\")"))
    };
    let wide = with("utf16", r"\00\d8\00\00");
    assert_faults(&wide, &log(2048, 1), "");
    assert_faults(&wide, &log(2049, 1), "");
    assert_faults(&wide, &log(65_534, 2), "");
    assert_faults(&wide, &log(2048, 0x7fff_ffff), "");
    assert_faults(&wide, &log(2048, 0xffff_ffff), "");
    let either = with("latin1+utf16", r"\00\dc\e9\00");
    // With the highest bit of the length, the string is UTF-16.
    assert_faults(&either, &log(2048, 0x8000_0001), "");
    assert_faults(&either, &log(2049, 0x8000_0001), "");
    assert_faults(&either, &log(2048, 0xffff_ffff), "");
    assert_faults(&either, &log(2048, 0x7fff_ffff), "");

    let line = |peerlet: Peerlet, body: String| {
        let compiled = compile(&engine(), &peerlet.deliver(&format!("{body} {OK}")));
        let mut instance = Instance::start(&compiled, Limits::default(), None, &context()).expect("it starts");
        lines(&run(&mut instance, &deliver(b"")))
    };
    assert_eq!(line(with("utf16", r"\e9\00x\00"), log(2048, 2)), ["éx"]);
    assert_eq!(line(with("latin1+utf16", r"\e9x"), log(2048, 2)), ["éx"]);
    assert_eq!(line(with("latin1+utf16", r"\e9\00x\00"), log(2048, 0x8000_0002)), ["éx"]);
}

fn lines(execution: &Execution) -> Vec<String> {
    let lines = execution.effects.iter().filter_map(|effect| match effect {
        Effect::Log { line, .. } => Some(line.clone()),
        _ => None,
    });
    lines.collect()
}

#[test]
fn lists_that_reach_out_of_memory_are_a_fault() {
    let put = |name: u32, value: u32| {
        format!(
            "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const {name})
            (i32.const 2048) (i32.const {value}) (i32.const 0) (i64.const 0) (i32.const 1024))"
        )
    };
    let storage = Peerlet::new().storage();
    for length in [0x8000_0000, 0xffff_ffff, 65_536] {
        assert_faults(&storage, &put(4, length), "");
        assert_faults(&storage, &put(length, 4), "");
    }
    // A variant that has no such case, and a place for the answer that is no place.
    assert_faults(&storage, &put(4, 4).replace("$put (i32.const 0)", "$put (i32.const 7)"), "");
    assert_faults(&storage, &put(4, 4).replace("(i32.const 1024)", "(i32.const 65535)"), "");
}

#[test]
fn results_of_a_shape_that_is_none_are_a_fault() {
    let result = |stores: &str| Peerlet::new().deliver(&format!("{stores} i32.const 1040"));
    let refuse = |at: u32, length: u32| {
        result(&format!(
            "(i32.store8 (i32.const 1040) (i32.const 1)) (i32.store (i32.const 1044) (i32.const {at}))
            (i32.store (i32.const 1048) (i32.const {length})) (i32.store8 (i32.const 2048) (i32.const 0xff))"
        ))
    };
    let bad = [
        ("neither well nor not", result("(i32.store8 (i32.const 1040) (i32.const 2))")),
        ("bytes that are no text", refuse(2048, 1)),
        ("past the end", refuse(65_535, 2)),
        ("of two to the thirty-first", refuse(0, 0x8000_0000)),
        ("askew", Peerlet::new().deliver("i32.const 1041")),
    ];
    for (what, peerlet) in bad {
        let trap = trap(&peerlet, Limits::default());
        assert_eq!(trap.kind, TrapKind::Fault, "{what}: {trap:?}");
    }
    // More text than one call may hand over.
    let long = refuse(4096, 2_000_000).memory("40");
    let trap = trap(&long, Limits::default());
    assert_eq!(trap.kind, TrapKind::TooManyEffects, "{trap:?}");
}

#[test]
fn handles_are_checked_each_time() {
    let print = |handle: &str| format!("(call $print {handle} (i32.const 0) (i32.const 1) (i32.const 1024))");
    let peerlet = Peerlet::new().wasi_stderr().resource();
    let with = |body: String| format!("(local $handle i32) {body}");
    let stderr = "(local.set $handle (call $stderr))";
    assert_faults(&peerlet, &print("(i32.const 0)"), "handle");
    assert_faults(&peerlet, &print("(i32.const 77)"), "handle");
    assert_faults(&peerlet, &print("(i32.const -1)"), "handle");
    assert_faults(
        &peerlet,
        &with(format!("(local.set $handle (call $new (i32.const 7))) {}", print("(local.get $handle)"))),
        "handle",
    );
    let drop = "(call $drop-stream (local.get $handle))";
    assert_faults(&peerlet, &with(format!("{stderr} {drop} {drop}")), "handle");
    assert_faults(&peerlet, &with(format!("{stderr} {drop} {}", print("(local.get $handle)"))), "handle");
    assert_faults(&peerlet, &with(format!("{stderr} (call $drop-thing (local.get $handle))")), "handle");
    assert_faults(&peerlet, "(call $drop-stream (call $new (i32.const 7)))", "handle");
}

#[test]
fn handles_without_end_are_not_given() {
    let forever = |call: &str| {
        Peerlet::new().wasi_stderr().resource().deliver(&format!("(loop $again (drop {call}) (br $again)) unreachable"))
    };
    for call in ["(call $new (i32.const 7))", "(call $stderr)"] {
        let trap = trap(&forever(call), Limits::default());
        assert_eq!(trap.kind, TrapKind::Fault, "{call}: {trap:?}");
    }
}

#[test]
fn a_recursion_through_every_kind_of_call_ends_at_the_stack() {
    let direct = "(func $f (call $f))";
    let indirect =
        "(type $t (func)) (table 1 funcref) (func $f (call_indirect (type $t) (i32.const 0))) (elem (i32.const 0) $f)";
    // Each frame is large.
    let wide = format!(
        "(func $f (result i64) {} call $f {})",
        (0..64).map(|n| format!("(i64.load offset={} (i32.const 0)) ", n * 8)).collect::<String>(),
        "i64.add ".repeat(64)
    );
    assert_traps(
        &Peerlet::new().module(direct).deliver(&format!("(call $f) {OK}")),
        Limits::default(),
        TrapKind::Fault,
        "stack",
    );
    assert_traps(
        &Peerlet::new().module(indirect).deliver(&format!("(call $f) {OK}")),
        Limits::default(),
        TrapKind::Fault,
        "stack",
    );
    assert_traps(
        &Peerlet::new().module(&wide).deliver(&format!("(drop (call $f)) {OK}")),
        Limits::default(),
        TrapKind::Fault,
        "stack",
    );
}

#[test]
fn a_tail_call_without_end_burns_its_fuel() {
    let peerlet = Peerlet::new().module("(func $f (return_call $f))").deliver(&format!("(call $f) {OK}"));
    assert_traps(&peerlet, Limits { fuel: 1_000_000, ..Limits::default() }, TrapKind::OutOfFuel, "fuel");
}

/// Endless operations on all of a memory of sixteen megabytes or of a table.
const BULK: [&str; 3] = [
    "(memory.fill (i32.const 0) (i32.const 1) (i32.const 16777216))",
    "(memory.copy (i32.const 0) (i32.const 1) (i32.const 16777215))",
    "(table.fill (i32.const 0) (ref.null func) (i32.const 10000))",
];

fn bulk(operation: &str) -> Peerlet {
    Peerlet::new()
        .memory("256")
        .module("(table 10000 funcref)")
        .deliver(&format!("(loop $again {operation} (br $again)) unreachable"))
}

#[test]
fn large_operations_burn_fuel_like_small_ones() {
    for operation in BULK {
        let start = Clock::now();
        assert_traps(&bulk(operation), Limits { fuel: 20_000, ..Limits::default() }, TrapKind::OutOfFuel, "fuel");
        assert!(start.elapsed() < Duration::from_secs(60), "{operation}: {:?}", start.elapsed());
    }
}

#[test]
fn large_operations_end_with_their_time() {
    let engine = engine();
    let _ticker = engine.start_ticker().unwrap();
    for operation in BULK {
        let limits = Limits { fuel: u64::MAX, wall: Duration::from_millis(50), ..Limits::default() };
        let compiled = compile(&engine, &bulk(operation));
        let mut instance = Instance::start(&compiled, limits, None, &context()).unwrap();
        let start = Clock::now();
        let execution = run(&mut instance, &deliver(b""));
        assert!(
            matches!(&execution.outcome, Outcome::Trapped(trap) if trap.kind == TrapKind::OutOfTime),
            "{execution:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(5), "{operation}: {:?}", start.elapsed());
    }
}

#[test]
fn a_hundred_thousand_timers_are_too_many() {
    let set = "(local $n i32) (loop $again (call $set (i64.const 0) (i64.const 2) (i32.const 1024))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 100000))))";
    let peerlet = Peerlet::new().timer().deliver(&format!("{set} {OK}"));
    assert_traps(&peerlet, Limits::default(), TrapKind::TooManyEffects, "effects");
}

#[test]
fn ten_megabytes_of_escapes_are_sixteen_clean_lines() {
    let fill = "(memory.fill (i32.const 4096) (i32.const 27) (i32.const 1044480))
        (memory.fill (i32.const 4196) (i32.const 91) (i32.const 100))";
    let log = "(call $log (i32.const 1) (i32.const 4096) (i32.const 1000000))";
    let peerlet = Peerlet::new().memory("16").log().deliver(&format!("{fill} {} {OK}", log.repeat(10)));
    let engine = engine();
    let mut instance = Instance::start(&compile(&engine, &peerlet), Limits::default(), None, &context()).unwrap();
    let execution = run(&mut instance, &deliver(b""));
    assert_eq!(execution.outcome, Outcome::Done);
    assert!(execution.receipt.fuel > 10_000_000, "{:?}", execution.receipt);
    let lines = lines(&execution);
    assert!(lines.len() <= 16 && lines.iter().all(|line| *line == "[".repeat(100)), "{lines:?}");
    let all = "(call $log (i32.const 1) (i32.const 0) (i32.const 10485760))";
    let peerlet = Peerlet::new().memory("200").log().deliver(&format!("{all} {OK}"));
    assert_traps(&peerlet, Limits::default(), TrapKind::TooManyEffects, "");
}

#[test]
fn a_handler_of_another_shape_does_not_run() {
    let text =
        |parts: &str| format!("(component {parts} (export \"prost:peerlet/handler@0.1.0\" (instance $handler)))");
    let function = r#"(core module $m (func (export "f") (result i32) i32.const 0)) (core instance $i (instantiate $m))
        (func $f (result u32) (canon lift (core func $i "f")))"#;
    let some = format!(r#"{function} (instance $handler (export "deliver" (func $f)))"#);
    let other = r#"(component $c) (instance $handler (export "deliver" (component $c)))"#;
    for parts in ["(instance $handler)", &some, other] {
        let component = wat::parse_str(text(parts)).expect(parts);
        assert!(inspect(&component).is_ok(), "{parts}");
        let refused = Compiled::compile(&engine(), &component, &BTreeSet::new(), Wasi::None).err().expect(parts);
        assert!(matches!(refused, CompileError::Rejected(_)), "{parts}: {refused}");
    }
    // All functions are there, of another type: it links and does not start.
    let names = ["init", "deliver", "forward", "update", "fired", "serve", "failed"];
    let exports = names.map(|name| format!(r#"(export "{name}" (func $f))"#)).concat();
    let component =
        wat::parse_str(text(&format!("{function} (instance $handler {exports})"))).expect("it is well-formed");
    let engine = engine();
    let neighbour = Neighbour::on(&engine);
    let compiled = Compiled::compile(&engine, &component, &BTreeSet::new(), Wasi::None).expect("it links");
    match Instance::start(&compiled, Limits::default(), None, &context()).err() {
        Some(StartError::Trapped { trap, receipt }) => {
            assert_eq!((trap.kind, receipt.fuel, receipt.memory_bytes), (TrapKind::Fault, 0, 0), "{trap:?}");
        }
        other => panic!("{other:?}"),
    }
    neighbour.assert_unharmed();
}

#[test]
fn code_that_is_compiled_already_is_not_taken_from_anyone() {
    let engine = engine();
    let code = prost_sandbox::Code::compile(&engine, &Peerlet::new().build()).expect("it compiles");
    let mut sealed = Vec::new();
    code.write(&prost_sandbox::SealKey::new([1; 32]), &mut sealed).expect("a vector has room");
    assert_eq!(inspect(&sealed), Err(BadComponent::NotAComponent));
    // Without the header it is what wasmtime itself would run.
    assert_eq!(&sealed[120..124], b"\x7fELF");
    assert_eq!(inspect(&sealed[120..]), Err(BadComponent::NotAComponent));
    let refused = Compiled::compile(&engine, &sealed[120..], &BTreeSet::new(), Wasi::None).err();
    assert_eq!(refused, Some(CompileError::Bad(BadComponent::NotAComponent)));
}
