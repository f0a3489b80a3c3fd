//! Applications that misbehave.

use prost_contract::Capability;

use crate::component::{OK, Peerlet, repeat};

/// One of them.
pub(crate) struct Misdeed {
    pub(crate) name: &'static str,
    pub(crate) component: Vec<u8>,
    pub(crate) capabilities: Vec<Capability>,
}

/// Grows as far as it can, and writes to each page.
const GROW: &str = "(local $at i32) (local $end i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (local.set $at (i32.const 65536)) (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    (loop $touch (i32.store (local.get $at) (i32.const 1)) (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $touch (i32.lt_u (local.get $at) (local.get $end))))";
const TIMER: &str = "(call $set (i64.const 1) (i64.const 2) (i32.const 1024))";
/// To the node itself, wherever it is: it is alone in its ring.
const ROUTE: &str =
    "(call $route (i64.const 7) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 64) (i32.const 1)
    (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 1024))";
/// A record of 64 KiB.
const LARGE: &str = "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 4)
    (i32.const 65536) (i32.const 65536) (i32.const 0) (i64.const 0) (i32.const 1024))";
const LOG: &str = "(call $log (i32.const 3) (i32.const 65536) (i32.const 1024))";

/// All.
pub(crate) fn all() -> Vec<Misdeed> {
    let misdeed = |name, peerlet: Peerlet, capabilities: &[Capability]| Misdeed {
        name,
        component: peerlet.build(),
        capabilities: capabilities.to_vec(),
    };
    let new = Peerlet::new;
    let spaces = "(memory.fill (i32.const 65536) (i32.const 65) (i32.const 1024))";
    let timers = new().timer().serve(&format!("{} {OK}", repeat(256, TIMER))).fired(TIMER);
    let flood = new().route().serve(&format!("{} {OK}", repeat(200, ROUTE))).deliver(&format!("{ROUTE} {ROUTE} {OK}"));
    vec![
        misdeed("endless loop", new().serve("(loop $again (br $again)) unreachable"), &[]),
        // As long as an event may be, and it ends well: it does not have to wait for the next.
        misdeed("long events", new().serve(&format!("{} {OK}", repeat(17_000_000, ""))), &[]),
        misdeed("memory growth", new().serve(&format!("{GROW} unreachable")), &[]),
        misdeed("timer bomb", timers, &[Capability::Timer]),
        misdeed("message flood", flood, &[Capability::Route]),
        misdeed(
            "huge records",
            new().memory("2").storage().serve(&format!("{} {OK}", repeat(200, LARGE))),
            &[Capability::Storage],
        ),
        misdeed(
            "log flood",
            new().memory("2").log().serve(&format!("{} {OK}", repeat(250, &format!("{spaces} {LOG}")))),
            &[Capability::Log],
        ),
        misdeed("trap loop", new().serve("unreachable"), &[]),
    ]
}
