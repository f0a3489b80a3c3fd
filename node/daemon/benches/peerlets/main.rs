//! What the programmable layer costs, each figure against a reference of the same run:
//!
//! * `deliver`: a message into a warm peerlet that reads one record, against a bare wasmtime call of the same component.
//! * `install`: a message that brings its application from the previous hop, against the compiler alone.
//! * `fair`: what an application gets done beside one that misbehaves, against the same without it.
//!
//! Measurements take turns, so that a slow moment of the machine meets all of them; medians are shown, and between which
//! the figures of single rounds lie.

#[allow(dead_code, reason = "the records here are of the benchmark's own")]
#[path = "../../../sandbox/tests/support/alone.rs"]
mod alone;
mod bare;
mod deliver;
mod fair;
mod host;
mod install;
mod misdeeds;
mod table;

#[allow(dead_code, unreachable_pub, reason = "the sandbox's own tests use the rest of it")]
#[path = "../../../sandbox/tests/support/component.rs"]
mod component;

use std::time::Instant;

/// Writes the record `name`, of 100 bytes; it is there from `init` on.
const PUT: &str = "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 4)
    (i32.const 3072) (i32.const 100) (i32.const 0) (i64.const 0) (i32.const 1024))";
/// Reads it.
const GET: &str = "(call $get (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
    (i32.const 2048) (i32.const 4) (i32.const 1024))";
/// Its name, and what else there is in memory.
const NAME: &str = r#"(data (i32.const 2048) "name")"#;
/// Bytes of a message's payload.
const PAYLOAD: usize = 200;

fn main() {
    let begun = Instant::now();
    // `cargo bench` adds an option of its own; what else there is says which figures to take.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores, nodes in one process on loopback");
    if "deliver".contains(&only) {
        deliver::run();
    }
    if "install".contains(&only) {
        install::run();
    }
    if only.starts_with("fair") || only.is_empty() {
        fair::run(only.strip_prefix("fair:").unwrap_or_default());
    }
    println!("\ntook {:.0} s", begun.elapsed().as_secs_f64());
}
