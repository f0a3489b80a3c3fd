//! The other end of a [`ChildCompiler`](super::ChildCompiler): what the compiler's process does.

use std::io::{self, Read, Write};

use prost_sandbox::{COMPONENT_BYTES, Code, CompileError, Engine, EngineError, SealKey};

use super::limits::ChildLimits;

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum InsideError {
    /// The compiler does not take the component.
    #[error("{0}")]
    Component(String),
    /// No engine can be made within the limits.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The limits cannot be had, or whoever asked has gone.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Puts this process under the limits, reads a key and a component from standard input and writes the component's
/// sealed code to standard output. `pooling` says which kind of engine will run it.
pub fn run_inside(limits: &ChildLimits, pooling: bool) -> Result<(), InsideError> {
    limits.impose()?;
    depend_on_parent()?;
    let (mut key, mut component) = ([0; SealKey::LEN], Vec::new());
    let mut input = io::stdin().lock();
    input.read_exact(&mut key)?;
    input.take(COMPONENT_BYTES as u64).read_to_end(&mut component)?;
    let engine = Engine::for_compiling(pooling)?;
    let code = Code::compile(&engine, &component).map_err(|error| match error {
        CompileError::Rejected(said) => InsideError::Component(said),
        other => InsideError::Component(other.to_string()),
    })?;
    let mut output = io::stdout().lock();
    code.write(&SealKey::new(key), &mut output)?;
    Ok(output.flush()?)
}

/// Nobody waits for the code once the node is gone; and where memory is short, this process is to go and not the node.
#[cfg(target_os = "linux")]
fn depend_on_parent() -> io::Result<()> {
    // The limit of address space holds without it.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    Ok(rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?)
}

#[cfg(not(target_os = "linux"))]
fn depend_on_parent() -> io::Result<()> {
    Ok(())
}
