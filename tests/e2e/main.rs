//! End to end: rings of real processes, asked, hurt and lied to as anyone could.

mod admin;
mod authoring;
mod cfs;
mod cli;
mod components;
mod content;
mod data;
mod demo;
mod download;
mod figures;
mod hostile;
mod i3;
mod install;
mod p2ptv;
mod partition;
mod ring;
mod scribe;
mod send;

#[path = "../../node/daemon/tests/compiler/bomb.rs"]
mod bomb;
#[allow(dead_code, unreachable_pub, reason = "the sandbox's own tests use the rest of it")]
#[path = "../../node/sandbox/tests/support/component.rs"]
mod component;
#[allow(dead_code, reason = "the transport's own tests use the rest of it")]
#[path = "../../node/daemon/tests/transport/raw.rs"]
mod raw;
#[allow(dead_code, reason = "the downloads' own tests use the rest of it")]
#[path = "../../node/daemon/tests/download/server.rs"]
mod server;
#[allow(dead_code, reason = "the transport's own tests use the rest of it")]
#[path = "../../node/daemon/tests/transport/support.rs"]
mod support;
