//! The compiler's process and its limits.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use prost_contract::{Event, Limits, Outcome, Overlay};
use prost_kbr::{Id, Refusal};
use prost_node::compiler::{ChildLimits, Compiler, CompilerError, Ended, Stopped, Work};
use prost_node::standard::DHT;
use prost_sandbox::{CompileError, Instance, NotCode};
use rustix::process::{Signal, kill_process};

use crate::alone::{self, Nothing};
use crate::bomb::bomb;
use crate::component::Peerlet;
use crate::support::{PATIENT, compile, compiler, engine, grant, program, refused, running, script, wide};

/// Large enough that no test reaches its end.
const HUGE: usize = 6_000;

#[test]
fn code_from_another_process_runs_as_if_it_were_compiled_here() {
    let peerlet = Peerlet::new().log().fired("(call $log (i32.const 1) (i32.const 0) (i32.const 1))");
    let engine = engine();
    let event = Event::Fired { timer: 1, tag: 1 };
    let run = |mut compiler: Compiler| {
        let (compiled, work) = compiler.compile(&engine, &peerlet.build(), &grant());
        assert!(matches!(work, Work::Compiled { ended: Ended::Well, .. }), "{work:?}");
        let compiled = compiled.unwrap_or_else(|error| panic!("{error}"));
        let context = alone::context(Id::hash(b"me"));
        let mut instance = Instance::start(&compiled, Limits::default(), None, &context).expect("it starts");
        let mut execution = instance.run(&event, &context, &mut Overlay::new(Arc::new(Nothing)));
        execution.receipt.micros = 0;
        execution
    };
    let (there, here) = (run(compiler(program(), wide())), run(Compiler::here()));
    assert_eq!(there.outcome, Outcome::Done);
    assert_eq!(there, here);
}

#[test]
fn the_default_limits_are_wide_enough_for_a_component_of_a_toolchain() {
    let limits = ChildLimits { wall: PATIENT, ..ChildLimits::default() };
    let (compiled, _) = compile(&mut compiler(program(), limits), DHT.component);
    assert!(compiled.is_ok(), "{:?}", compiled.err());
}

#[test]
fn a_compiler_that_needs_too_much_memory_is_stopped() {
    let limits = ChildLimits { memory_bytes: 200 << 20, ..wide() };
    let error = refused(limits.clone(), &bomb(HUGE));
    assert_eq!(error, CompilerError::Stopped(Stopped::Memory(limits.memory_bytes)), "{error}");
    assert_eq!(error.refusal(), Refusal::BadComponent);
    assert!(error.to_string().contains("200 MiB"), "{error}");
}

#[test]
fn a_compiler_that_takes_too_much_of_a_processor_is_stopped() {
    let limits = ChildLimits { cpu_seconds: 1, ..wide() };
    assert_eq!(refused(limits, &bomb(HUGE)), CompilerError::Stopped(Stopped::Cpu(1)));
}

#[test]
fn a_compiler_that_takes_too_long_is_stopped_in_time() {
    let limits = ChildLimits { wall: Duration::from_millis(300), memory_bytes: (8 << 30) + 1, ..wide() };
    let start = Instant::now();
    assert_eq!(refused(limits.clone(), &bomb(HUGE)), CompilerError::Stopped(Stopped::Wall(limits.wall)));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(running(&limits), None);
}

#[test]
fn too_much_code_is_not_read() {
    let limits = ChildLimits { output_bytes: 10_000, ..wide() };
    assert_eq!(refused(limits, &Peerlet::new().build()), CompilerError::Stopped(Stopped::Output(10_000)));
}

#[test]
fn a_compiler_that_is_killed_is_a_refusal_and_the_next_one_works() {
    let limits = ChildLimits { memory_bytes: (8 << 30) + 2, ..wide() };
    let mut compiler = compiler(program(), limits.clone());
    let killer = thread::spawn({
        let limits = limits.clone();
        move || {
            let start = Instant::now();
            let pid = loop {
                // A program that has only just started has its limits not yet.
                let limited = running(&limits).filter(|pid| said_limits(pid.as_raw_pid()).contains("8589934594"));
                if let Some(pid) = limited {
                    break pid;
                }
                assert!(start.elapsed() < PATIENT, "it does not start");
                thread::sleep(Duration::from_millis(5));
            };
            thread::sleep(Duration::from_millis(50));
            let limits = said_limits(pid.as_raw_pid());
            kill_process(pid, Signal::KILL).expect("it runs");
            limits
        }
    });
    let (compiled, work) = compile(&mut compiler, &bomb(HUGE));
    assert_eq!(compiled.err(), Some(CompilerError::Stopped(Stopped::Killed)));
    assert!(matches!(work, Work::Compiled { ended: Ended::Stopped, .. }), "{work:?}");
    let had = killer.join().expect("it was found");
    for (name, value) in [("Max open files", "16"), ("Max core file size", "0"), ("Max file size", "268435456")] {
        let line = had.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.split_whitespace().any(|word| word == value), "{line}");
    }
    assert!(compile(&mut compiler, &Peerlet::new().build()).0.is_ok());
    assert_eq!(running(&limits), None);
}

#[test]
fn what_could_not_be_compiled_is_not_tried_again() {
    let mut compiler = compiler(program(), ChildLimits { cpu_seconds: 1, ..wide() });
    let component = bomb(HUGE);
    let (first, _) = compile(&mut compiler, &component);
    let (second, work) = compile(&mut compiler, &component);
    assert_eq!(work, Work::Nothing);
    assert_eq!(first.err(), second.err());
}

#[test]
fn what_is_bad_by_its_looks_starts_no_process() {
    let mut compiler = compiler("/no/such/program".into(), wide());
    let (refused, work) = compile(&mut compiler, b"\0asm\x01\0\0\0");
    assert!(matches!(refused.err(), Some(CompilerError::Component(CompileError::Bad(_)))));
    assert_eq!(work, Work::Nothing);
    let (refused, work) = compile(&mut compiler, &Peerlet::new().build());
    let error = refused.err().expect("there is no program");
    assert!(matches!(error, CompilerError::NoProcess(_)), "{error}");
    assert_eq!(error.refusal(), Refusal::OverBudget);
    assert!(matches!(work, Work::Compiled { ended: Ended::NoProcess, .. }), "{work:?}");
}

/// What comes of a compiler that is this shell script, in which `$prost` is the real one.
fn from_script(text: &str, limits: ChildLimits) -> CompilerError {
    let dir = tempfile::tempdir().expect("a directory");
    let text = format!("prost='{}'\n{text}", program().display());
    let mut compiler = compiler(script(dir.path(), &text), limits);
    let component = Peerlet::new().build();
    compile(&mut compiler, &component).0.err().expect("a script compiles nothing")
}

#[test]
fn what_is_no_code_is_never_loaded() {
    let garbage = [
        ("exit 0", NotCode::Length),
        ("echo short", NotCode::Length),
        ("head -c 100000 /dev/zero", NotCode::Foreign),
        ("\"$prost\" \"$@\" | head -c 1000", NotCode::Length),
        ("\"$prost\" \"$@\"; echo more", NotCode::Length),
        // Bytes of the header and of the code are others.
        ("\"$prost\" \"$@\" | { head -c 30; head -c 1 > /dev/null; printf x; cat; }", NotCode::Foreign),
        ("\"$prost\" \"$@\" | { head -c 5000; head -c 1 > /dev/null; printf '\\351'; cat; }", NotCode::BadSeal),
    ];
    for (text, wrong) in garbage {
        assert_eq!(from_script(text, wide()), CompilerError::Stopped(Stopped::Garbage(wrong)), "{text}");
    }
}

#[test]
fn a_seal_by_another_key_is_no_seal() {
    // The component without the key that came before it, under a key of the script's own.
    let forge = "tail -c +33 > \"$0.wasm\"; { head -c 32 /dev/zero; cat \"$0.wasm\"; } | \"$prost\" \"$@\"";
    let error = from_script(forge, wide());
    assert_eq!(error, CompilerError::Stopped(Stopped::Garbage(NotCode::BadSeal)));
}

#[test]
fn code_for_another_engine_is_foreign() {
    let without = "for word; do shift; [ \"$word\" = --pooling ] || set -- \"$@\" \"$word\"; done; \"$prost\" \"$@\"";
    let error = from_script(without, wide());
    assert_eq!(error, CompilerError::Stopped(Stopped::Garbage(NotCode::Foreign)));
}

#[test]
fn a_compiler_that_crashes_is_told_from_one_that_refuses() {
    let crashes = [
        ("kill -SEGV $$", CompilerError::Stopped(Stopped::Crashed(11))),
        ("kill -ABRT $$", CompilerError::Stopped(Stopped::Crashed(6))),
        ("echo 'error: too odd' >&2; exit 65", CompilerError::Component(CompileError::Rejected("too odd".to_owned()))),
        ("echo 'error: no limits' >&2; exit 70", CompilerError::NoProcess("no limits".to_owned())),
    ];
    for (text, expected) in crashes {
        assert_eq!(from_script(text, wide()), expected, "{text}");
    }
}

#[test]
fn a_compiler_that_says_nothing_is_stopped_with_all_that_it_started() {
    let start = Instant::now();
    let limits = ChildLimits { wall: Duration::from_millis(300), ..wide() };
    let error = from_script("sleep 1000 & sleep 1000", limits.clone());
    assert_eq!(error, CompilerError::Stopped(Stopped::Wall(limits.wall)));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_compiler_has_no_environment_and_no_file_but_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let looks =
        "cat /proc/$$/environ > \"$0.environ\"; ls /proc/$$/fd > \"$0.files\"; readlink /proc/$$/cwd > \"$0.cwd\"";
    let program = script(dir.path(), looks);
    let (compiled, _) = compile(&mut compiler(program.clone(), wide()), &Peerlet::new().build());
    assert!(compiled.is_err());
    let read = |what: &str| std::fs::read_to_string(program.with_extension(what)).expect("the script looked");
    assert_eq!(read("environ"), "");
    // Ten and more are the shell's own.
    let files = read("files").lines().filter(|number| number.len() == 1).collect::<Vec<_>>().join(" ");
    assert_eq!(files, "0 1 2");
    assert_eq!(read("cwd"), "/\n");
}

fn said_limits(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default()
}
