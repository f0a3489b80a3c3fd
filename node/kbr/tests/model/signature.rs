//! A hash of a state: of what has happened to each node in which order, and of what is under way.
//!
//! Machines are deterministic, so equal histories give equal machines, however the histories of different nodes were
//! interleaved (the happens-before signature of Musuvathi and Qadeer, PLDI 2007).

use crate::events::{Delay, Pending};
use crate::world::World;

/// The finaliser of SplitMix64 over both.
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.rotate_left(23).wrapping_add(b).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn delay(delay: Delay) -> u64 {
    match delay {
        Delay::None => 1,
        Delay::Next => 2,
        Delay::Longest => 3,
    }
}

fn pending(pending: &Pending) -> u64 {
    let what = mix(mix(pending.origin, pending.node as u64), delay(pending.delay));
    mix(what, pending.at.as_micros())
}

pub(crate) fn of(world: &World) -> u64 {
    let nodes = world.nodes.iter().fold(world.now.as_micros(), |sum, node| {
        mix(mix(sum, node.history), 2 * delay(node.wake) + u64::from(node.alive))
    });
    // What is under way has no order but that of its times and channels.
    mix(nodes, world.pending.iter().map(pending).fold(0, u64::wrapping_add))
}
