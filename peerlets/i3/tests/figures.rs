//! The figures of `docs/apps/i3.md`: a thousand nodes on PlanetLab's latencies. Each test prints a table.

mod support;

use core::time::Duration;

use i3::REFRESH;
use prost_i3_api::ask::{Chosen, PRIVATE, Private};
use prost_i3_api::{I3Id, Name};
use prost_peerlet_ring::{Index, Latency, Setup};

use support::{MILLISECOND, Program, SECOND, World};

const NODES: u32 = 1000;
/// Pairs of a sender and a receiver. Those on one host or beside each other say nothing about indirection.
const PAIRS: usize = 40;
const FAR: Duration = Duration::from_millis(20);
/// Nodes of triggers that die.
const CRASHES: usize = 12;
/// A look-up takes no longer on these latencies.
const LOOKUP: Duration = Duration::from_secs(2);

fn thousand<const COPIES: u32>(seed: u64) -> World<COPIES> {
    World::grow(Setup { nodes: NODES, seed, latency: Latency::PlanetLab, ..Setup::new("i3") })
}

fn pair<const COPIES: u32>(world: &mut World<COPIES>) -> (Index, Index) {
    loop {
        let (sender, receiver) = (world.ring.any(), world.ring.any());
        if world.ring.round_trip(sender, receiver) >= FAR {
            return (sender, receiver);
        }
    }
}

/// Sorted, so that quantiles can be read off.
fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn row(what: &str, values: Vec<f64>) -> f64 {
    let values = sorted(values);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let at = |part: f64| values[((values.len() - 1) as f64 * part) as usize];
    println!("{what:<44} {mean:>8.2} {:>8.2} {:>8.2}   ({} values)", at(0.5), at(0.9), values.len());
    mean
}

fn head(what: &str) {
    println!("{what:<44} {:>8} {:>8} {:>8}", "mean", "median", "p90");
}

/// Latency over the direct way's: of the first packet, and once the cache and the connections are there.
fn stretch(world: &mut World, from: Index, to: Program, id: I3Id) -> Option<(f64, f64)> {
    let direct = world.ring.round_trip(from, to.node).as_secs_f64() / 2.0;
    let first = world.latency(from, to, id)?;
    for _ in 0..3 {
        world.send(from, &[id], "warm");
        world.run(SECOND);
    }
    world.texts(to);
    let steady = world.latency(from, to, id)?;
    Some((first.as_secs_f64() / direct, steady.as_secs_f64() / direct))
}

#[test]
#[ignore = "minutes: figures"]
fn stretch_by_samples() {
    let mut world: World = thousand(1);
    let pairs: Vec<(Index, Index)> = (0..PAIRS).map(|_| pair(&mut world)).collect();
    head("latency / direct latency");
    let (mut first, mut steady) = (Vec::new(), Vec::new());
    for (at, (sender, receiver)) in pairs.iter().enumerate() {
        let name = Name::open(&format!("public {at}"));
        let program = world.listen(*receiver, &name);
        if let Some((one, many)) = stretch(&mut world, *sender, program, name.id) {
            first.push(one);
            steady.push(many);
        }
        world.close(program);
    }
    let first = row("public id, first packet", first);
    row("public id, steady", steady);
    let mut by_samples = Vec::new();
    for samples in [1, 2, 4, 8, 16, 32, 0] {
        let (mut steady, mut away) = (Vec::new(), Vec::new());
        for (sender, receiver) in &pairs {
            let chosen: Chosen = world.ask(*receiver, PRIVATE, &Private { samples }).expect("somebody answers");
            let program = world.listen(*receiver, &Name { id: chosen.id, secret: Some(chosen.secret) });
            let keeps = world.owner(&chosen.id);
            away.push(world.ring.round_trip(*receiver, keeps).as_secs_f64() * 1000.0);
            steady.extend(stretch(&mut world, *sender, program, chosen.id).map(|(_, steady)| steady));
            world.close(program);
        }
        let what = if samples == 0 { "the nearest link".to_owned() } else { format!("nearest of {samples}") };
        by_samples.push(row(&format!("private id, {what}, steady"), steady));
        row("    round trip to its node, ms", away);
    }
    assert!(first < 8.0, "{first}");
    // Of eight, sixteen and thirty-two samples.
    assert!(by_samples[3..6].iter().all(|stretch| *stretch <= 2.0), "{by_samples:?}");
}

/// How long nothing arrives when the node of a trigger dies.
fn outages<const COPIES: u32>(world: &mut World<COPIES>) -> Vec<f64> {
    let mut outages = Vec::new();
    for at in 0..CRASHES {
        let (sender, receiver) = pair(world);
        let name = (0..).map(|more| Name::open(&format!("crash {at} {more}"))).find(|name| {
            let owner = world.owner(&name.id);
            owner != sender && owner != receiver
        });
        let name = name.expect("most are elsewhere");
        let program = world.listen(receiver, &name);
        for _ in 0..3 {
            world.send(sender, &[name.id], "0");
            world.run(SECOND);
        }
        // Anywhere between two refreshes.
        let before = world.ring.below(REFRESH.as_millis() as u64) as u32;
        world.run(MILLISECOND * before);
        world.texts(program);
        let owner = world.owner(&name.id);
        world.ring.crash(owner);
        let start = world.ring.now();
        let mut back = None;
        while back.is_none() && world.ring.now() < start + REFRESH * 2 {
            let sent = world.ring.now();
            world.send(sender, &[name.id], &(sent - start).as_millis().to_string());
            world.run(MILLISECOND * 200);
            // When what arrives was sent: a packet that waited for the ring to heal counts from when it is there.
            if !world.texts(program).is_empty() {
                back = Some(world.ring.now() - start);
            }
        }
        outages.push(back.map_or(f64::INFINITY, |back| back.as_secs_f64()));
        world.close(program);
    }
    outages
}

#[test]
#[ignore = "minutes: figures"]
fn outage_after_a_crash_without_copies() {
    let outages = outages(&mut thousand::<0>(2));
    head("seconds without packets");
    let worst = outages.iter().copied().fold(0.0, f64::max);
    row("the trigger's node dies, no copies", outages);
    println!("worst {worst:.2} s");
    assert!(worst <= (REFRESH + LOOKUP).as_secs_f64(), "{worst}");
}

#[test]
#[ignore = "minutes: figures"]
fn outage_after_a_crash_with_copies() {
    let outages = outages(&mut thousand::<2>(2));
    head("seconds without packets");
    let worst = outages.iter().copied().fold(0.0, f64::max);
    row("the trigger's node dies, two copies", outages);
    println!("worst {worst:.2} s");
    assert!(worst <= 8.0, "{worst}");
}

#[test]
#[ignore = "minutes: figures"]
fn what_a_trigger_costs() {
    fn bytes<const COPIES: u32>(triggers: usize) -> f64 {
        let mut world: World<COPIES> = World::grow(Setup { nodes: 64, seed: 3, ..Setup::new("i3") });
        let members = world.ring.members();
        for at in 0..triggers {
            world.listen(members[at % members.len()], &Name::open(&format!("name {at}")));
        }
        let sent =
            |world: &World<COPIES>| -> u64 { members.iter().map(|node| world.ring.traffic(*node).messages).sum() };
        let before = sent(&world);
        world.run(REFRESH * 3);
        (sent(&world) - before) as f64 / (REFRESH * 3).as_secs_f64()
    }
    let most = 640;
    let [none, some] = [bytes::<0>(0), bytes::<0>(most)];
    let copied = bytes::<2>(most);
    println!(
        "bytes a second and trigger, on all nodes of 64: {:.1} without copies, {:.1} with two",
        (some - none) / most as f64,
        (copied - none) / most as f64
    );
}
