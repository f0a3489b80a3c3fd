//! The program `prost`.

use std::process::ExitCode;

fn main() -> ExitCode {
    prost_node::cli::main()
}
