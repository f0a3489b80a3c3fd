//! The program `prost`, as `node/daemon/src/main.rs` has it: a target of this package, so that cargo builds it together
//! with the tests, with their profile and their dependencies.

use std::process::ExitCode;

fn main() -> ExitCode {
    prost_node::cli::main()
}
