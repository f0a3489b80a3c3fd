//! Equal inputs give equal outputs.

use std::time::Duration;

use crate::guest::hex;
use crate::packages::{all_but, draft};
use crate::world::{Disk, World};

/// Something of everything, as text.
fn story(seed: u64) -> Vec<String> {
    let mut world = World::ring(seed, 12);
    world.trace = Some(Vec::new());
    world.publish(
        0,
        &draft("echo").component(&[("init", "put boot; timer 700 1"), ("fired", "log tick")], 90_000).sign(),
    );
    world.set_policy(6, all_but("echo"));
    world.host_mut(7).disk = Disk::Breaks(Duration::from_millis(9));
    for to in 1..12 {
        world.route(0, "echo", to, &format!("put x{to}; send {} log back", hex(world.id(0))));
        world.pass(0, "echo", to, "trap");
    }
    let dead = world.id(3);
    world.crash(dead);
    world.run_for(Duration::from_secs(60));
    world.trace.take().expect("it was wanted")
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let (one, other) = (story(1), story(1));
    assert!(one.len() > 1000);
    assert!(one.iter().any(|line| line.contains("Compile")), "it is a story with everything in it");
    assert_eq!(one, other);
    assert_ne!(one, story(2));
}
