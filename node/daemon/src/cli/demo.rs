//! `prost demo`: a ring on this machine, from nothing to a lost node.

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use crate::demo::{self, Options};

#[derive(Debug, Clone, Args)]
pub(super) struct DemoArgs {
    /// Nodes to start.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    nodes: usize,
    /// Directory whose files are stored. By default a sample is made.
    #[arg(long, value_name = "DIR")]
    input: Option<PathBuf>,
    /// Print one JSON object with what was measured.
    #[arg(long)]
    json: bool,
    /// Leave the ring running until SIGINT or SIGTERM, and print how to talk to it.
    #[arg(long)]
    keep: bool,
}

/// Runs it.
pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let options = Options { nodes: args.nodes, input: args.input.clone(), json: args.json, keep: args.keep };
    demo::run(&options).map(drop).map_err(|error| Failure::new(error.code(), error))
}
