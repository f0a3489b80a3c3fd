//! Compiling in a process of its own: real processes, components that nobody should compile, and disks that lie.

#[path = "../../../sandbox/tests/support/alone.rs"]
mod alone;
mod bomb;
mod cache;
mod child;
mod support;

#[allow(dead_code, unreachable_pub, reason = "the sandbox's own tests use the rest of it")]
#[path = "../../../sandbox/tests/support/component.rs"]
mod component;
