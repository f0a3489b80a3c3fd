//! A compiler with some limits, and a look at the processes that it starts.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use prost_contract::Capability;
use prost_node::compiler::{ChildCompiler, ChildLimits, Compiler, CompilerError, Work};
use prost_package::{Budgets, Grant};
use prost_sandbox::{Compiled, Engine, EngineOptions};
use rustix::process::Pid;

/// A machine that runs other tests too makes all clocks fast.
pub(crate) const PATIENT: Duration = Duration::from_secs(120);

pub(crate) fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_prost").into()
}

/// Limits that nothing here reaches.
pub(crate) fn wide() -> ChildLimits {
    ChildLimits { memory_bytes: 8 << 30, cpu_seconds: 100, wall: PATIENT, ..ChildLimits::default() }
}

pub(crate) fn engine() -> Engine {
    Engine::new(EngineOptions { pooled_instances: 4, ..EngineOptions::default() }).expect("an engine")
}

pub(crate) fn compiler(program: PathBuf, limits: ChildLimits) -> Compiler {
    Compiler::in_child(ChildCompiler::new(program, limits), None)
}

pub(crate) fn grant() -> Grant {
    Grant { capabilities: Capability::ALL.into(), budgets: Budgets::default(), wasi: true }
}

/// Compiles on an engine of its own.
pub(crate) fn compile(compiler: &mut Compiler, component: &[u8]) -> (Result<Compiled, CompilerError>, Work) {
    compiler.compile(&engine(), component, &grant())
}

/// What is wrong with a component.
#[track_caller]
pub(crate) fn refused(limits: ChildLimits, component: &[u8]) -> CompilerError {
    compile(&mut compiler(program(), limits), component).0.err().expect("it does not compile")
}

/// A program that is this shell script.
pub(crate) fn script(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("script");
    fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("room");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).expect("it is ours");
    file
}

/// The compiler that a test started with this limit, which no other test has.
pub(crate) fn running(limits: &ChildLimits) -> Option<Pid> {
    let wanted = format!("--memory-bytes\0{}\0", limits.memory_bytes);
    let processes =
        fs::read_dir("/proc").expect("Linux").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers = processes.filter_map(|name| name.parse::<i32>().ok());
    let found = numbers.find(|number| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&wanted) && status.contains(&format!("PPid:\t{}\n", std::process::id()))
    });
    found.and_then(Pid::from_raw)
}
