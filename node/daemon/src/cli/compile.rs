//! `prost compile`: what a node starts for each component that it compiles.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use crate::compiler::{ChildLimits, InsideError, run_inside};
use crate::exit;

#[derive(Debug, Clone, Args)]
pub(super) struct CompileArgs {
    /// Most address space.
    #[arg(long, value_name = "BYTES")]
    memory_bytes: u64,
    /// Most time of a processor.
    #[arg(long, value_name = "SECONDS")]
    cpu_seconds: u64,
    /// Most open files.
    #[arg(long, value_name = "COUNT")]
    files: u64,
    /// Most bytes of code.
    #[arg(long, value_name = "BYTES")]
    output_bytes: u64,
    /// For an engine that is pooling.
    #[arg(long)]
    pooling: bool,
}

/// Reads a key and a component, writes sealed code.
pub(super) fn run(args: &CompileArgs) -> Result<(), Failure> {
    let CompileArgs { memory_bytes, cpu_seconds, files, output_bytes, pooling } = *args;
    let limits = ChildLimits { memory_bytes, cpu_seconds, files, output_bytes, wall: Duration::MAX };
    run_inside(&limits, pooling).map_err(|error| {
        let code = if matches!(error, InsideError::Component(_)) { exit::DATA } else { exit::INTERNAL };
        Failure::new(code, error)
    })
}
