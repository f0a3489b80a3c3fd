//! How fast the world turns, and what it takes of memory: `NODES=64 MINUTES=10 cargo run --release --example speed`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use prost_kbr::Key;
use prost_manager::Search;
use prost_sim::{Act, World};
use support::{config, grow, ideal, run};

/// Resident memory, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn main() {
    let nodes: u32 = std::env::var("NODES").ok().and_then(|text| text.parse().ok()).unwrap_or(64);
    let minutes: u32 = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let before = resident();
    let mut world = World::new(config(1));
    let clock = std::time::Instant::now();
    grow(&mut world, nodes);
    run(&mut world, Duration::from_millis(200) * nodes + Duration::from_secs(60));
    let (grown, events) = (clock.elapsed(), world.events());
    println!("grown: {grown:?}, {events} events, {:?}", ideal(&world).is_ok());
    let clock = std::time::Instant::now();
    for minute in 0..minutes {
        for request in 0..100 {
            let key = Key::hash(&[minute as u8, request as u8]);
            world.act(Act::Lookup { node: request % nodes, request: u64::from(request), key, search: Search::Owner });
        }
        run(&mut world, Duration::from_secs(60));
    }
    let (took, events) = (clock.elapsed().as_secs_f64(), (world.events() - events) as f64);
    let virtual_s = 60.0 * f64::from(minutes);
    println!("{nodes} nodes: {:.0} events/s, {:.0} x real time", events / took, virtual_s / took);
    println!("{:.1} KiB a node", (resident() - before) as f64 / f64::from(nodes));
    let mean = (0..nodes).map(|node| world.connections(node)).sum::<usize>() as f64 / f64::from(nodes);
    println!("{mean:.1} connections a node");
}
