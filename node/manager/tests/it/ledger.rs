//! Everything that is used is charged to the application that used it, and to no other.

use std::time::Duration;

use prost_kbr::Refusal;
use prost_manager::Usage;
use prost_package::Resources;

use crate::guest::hex;
use crate::packages::{all_but, app_of, draft, plain, policy};
use crate::world::{Disk, Host, Seen, Tally, World};

fn usage(world: &World, at: usize) -> Usage {
    world.host(at).node.apps().remove(0).usage
}

/// What must hold after every input: the node's sums are those of its applications, each of which is charged with its
/// own work and no other's, and no more is promised than there is.
fn audit(host: &mut Host) {
    let apps = host.node.apps();
    let mut sum = Usage::default();
    let mut reserved = Resources::default();
    for app in &apps {
        sum.add(&app.usage);
        reserved = reserved.plus(&app.reserved).expect("no sum is that large");
        let Usage { calls, traps, refusals, fuel, micros, compile_micros, .. } = app.usage;
        let charged = Tally { calls, traps, refusals, fuel, micros, compile_micros };
        assert_eq!(charged, host.tallies.get(&app.app).cloned().unwrap_or_default(), "{}", app.app);
        assert!(app.usage.memory_bytes <= app.reserved.memory_bytes, "{app:?}");
        assert!(app.usage.memory_bytes == 0 || app.reserved.applications == 1, "{app:?}");
    }
    assert_eq!(host.node.usage(), sum);
    let admitted = host.node.admitted();
    assert_eq!(admitted.reserved, reserved);
    assert!(admitted.totals.minus(&reserved).is_some(), "{admitted:?}");
    host.tallies.retain(|app, _| apps.iter().any(|known| known.app == *app));
}

/// Any of some things that can happen to a node.
fn happens(world: &mut World) {
    let (at, app, dice) = (world.random() as usize % 3, world.random() % 5, world.random());
    let name = format!("app{app}");
    let to = hex(world.id((at + 1) % 3));
    let pick = |choices: &[&str]| choices[(dice >> 8) as usize % choices.len()].to_owned();
    match dice % 24 {
        0..=3 => {
            let init = pick(&["", "put boot", "fail no", "trap", "timer 40 1; log up"]);
            let megabytes = 1 + (dice >> 16) % 48;
            let draft =
                draft(&name).release(1 + (dice >> 24) % 4).component(&[("init", &init), ("fired", "log tick")], 0);
            let package = draft.budgets(|budgets| budgets.memory_bytes = megabytes << 20).sign();
            world.start_install(at, &package);
        }
        4 => drop(world.remove(at, &name)),
        5 | 6 => {
            let text = pick(&[
                "default = \"allow\"\n[node]\nmemory_bytes = \"64MiB\"\n",
                "default = \"allow\"\n[node]\nmemory_bytes = \"100MiB\"\napplications = 2\n",
                "default = \"allow\"\n[node]\nstorage_bytes = \"300MiB\"\n",
                "default = \"allow\"\n[defaults.budgets]\nmemory_bytes = \"10MiB\"\n",
                "default = \"allow\"\n",
            ]);
            world.set_policy(at, policy(&text));
        }
        7 => world.set_policy(at, all_but(&name)),
        8 => {
            world.host_mut(at).disk =
                if dice & 256 == 0 { Disk::RefusesOnce } else { Disk::Works(Duration::from_millis(3)) };
        }
        9..=11 => {
            let script = format!("reply; route {to} put far; log far");
            world.start_call(at, &name, &script);
        }
        _ => {
            let script =
                pick(&["put a; reply", "timer 30 2; reply", "trap", "fail no", "fuel 777777; reply", "log hello"]);
            world.start_call(at, &name, &script);
        }
    }
    let millis = (dice >> 32) % 60;
    world.run_for(Duration::from_millis(millis));
}

#[test]
fn whatever_happens_each_application_is_charged_with_its_own_work_and_the_node_with_the_sum() {
    let (mut ran, mut no_room, mut went_on) = (0, 0, 0);
    for seed in 1..=6 {
        let mut world = World::ring(seed, 3);
        world.auditor = Some(audit);
        for _ in 0..700 {
            happens(&mut world);
        }
        for at in 0..3 {
            ran += world.host(at).handlers().len();
            no_room += world.host(at).refusals(Refusal::OverBudget);
            went_on += logged(&world, at, "goes on with version");
        }
        for at in 0..3 {
            world.host_mut(at).disk = Disk::Works(Duration::from_millis(3));
        }
        world.run_for(Duration::from_secs(60));
        for at in 0..3 {
            let Usage { queued, timers, .. } = world.host(at).node.usage();
            assert_eq!((queued, timers), (0, 0), "seed {seed}, node {at}");
            for app in world.host(at).node.apps() {
                let _ = world.remove(at, &app.app.to_string());
            }
            assert_eq!(world.host(at).node.usage(), Usage::default());
            assert_eq!(world.host(at).node.admitted().reserved, Resources::default());
        }
    }
    assert!(ran > 2000 && no_room > 100 && went_on > 20, "{ran} events, {no_room} without room, {went_on} fell back");
}

#[test]
fn a_removed_application_leaves_nothing_and_begins_anew() {
    let mut world = World::ring(10, 6);
    let package = plain("echo");
    world.publish(0, &package);
    let fresh = usage(&world, 0);
    let to = hex(world.id(3));
    assert!(world.call(0, "echo", &format!("put x; timer 90000 1; log a; fuel 5000; reply; send {to} log b")).is_ok());
    assert!(world.call(0, "echo", "trap").is_err());
    assert!(world.call(0, "echo", "fail no").is_err());
    world.start_call(0, "echo", "keep");
    let used = usage(&world, 0);
    let at_least_once = [
        used.calls,
        used.traps,
        used.refusals,
        used.timers,
        used.queued,
        used.messages,
        used.bytes_sent,
        used.log_lines,
    ];
    assert!(at_least_once.iter().all(|count| *count > 0), "{used:?}");
    assert!(
        used.storage_bytes > 0 && used.fuel_rate > 0 && used.micros > 0 && used.compile_micros == 30_000,
        "{used:?}"
    );
    assert_eq!(world.host(0).node.usage(), used);

    assert_eq!(world.remove(0, "echo"), Ok(app_of(&package)));
    assert_eq!(world.host(0).node.usage(), Usage::default());
    assert_eq!(world.host(0).node.admitted().reserved, Resources::default());
    world.publish(0, &package);
    assert_eq!(Usage { fuel_rate: 0, ..usage(&world, 0) }, Usage { fuel_rate: 0, ..fresh });
}

#[test]
fn what_is_fetched_and_compiled_is_charged() {
    let mut world = World::ring(11, 6);
    let package = draft("echo").component(&[], 100_000).sign();
    world.publish(0, &package);
    world.host_mut(3).compiler = Duration::from_millis(70);
    world.route(0, "echo", 3, "put x");
    world.run_for(Duration::from_secs(3));
    let fetched = usage(&world, 3);
    // Manifest, component, and the values of its two chunks.
    assert_eq!(fetched.downloaded_bytes, world.host(3).installations()[0].bytes + 2 * 32);
    assert_eq!(fetched.compile_micros, 70_000);
    assert_eq!(usage(&world, 0).downloaded_bytes, 0, "whoever gives it pays nothing");
}

#[test]
fn an_application_that_cannot_be_had_keeps_its_account_when_it_is_tried_again() {
    let mut world = World::ring(12, 6);
    let package = draft("echo").component(&[("init", "fail-if poison")], 50_000).sign();
    let app = app_of(&package);
    world.publish(1, &package);
    world.host_mut(0).records_of(&app).insert(b"poison".to_vec());
    for attempt in 1..=2 {
        assert!(world.call(0, &app.to_string(), "reply").is_err());
        let used = usage(&world, 0);
        assert_eq!((used.compile_micros, used.refusals), (attempt * 30_000, attempt));
        assert!(used.downloaded_bytes > attempt * 50_000);
        assert_eq!(world.host(0).node.admitted().reserved, Resources::default());
        world.run_for(Duration::from_secs(11));
    }
}

#[test]
fn the_rate_of_fuel_is_that_of_the_last_ten_seconds() {
    let mut world = World::ring(13, 1);
    world.publish(0, &plain("burner"));
    world.run_for(Duration::from_secs(20));
    assert!(world.call(0, "burner", "fuel 50000; reply").is_ok());
    assert_eq!(usage(&world, 0).fuel_rate, 5000);
    world.run_for(Duration::from_secs(30));
    assert_eq!(usage(&world, 0).fuel_rate, 0);
}

fn logged(world: &World, at: usize, beginning: &str) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::Logged(line) if line.starts_with(beginning)))
}

#[test]
fn an_event_logs_so_many_lines_and_no_longer_ones() {
    let mut world = World::ring(14, 1);
    world.publish(0, &plain("chatty"));
    let script = "log line;".repeat(20) + &format!("log {};reply", "x".repeat(5000));
    assert!(world.call(0, "chatty", &script).is_ok());
    assert_eq!(logged(&world, 0, "line"), 16);
    assert_eq!((usage(&world, 0).log_lines, usage(&world, 0).dropped_log_lines), (16, 5));
    assert!(world.call(0, "chatty", &format!("log {};reply", "x".repeat(5000))).is_ok());
    let longest = world.story(|seen| if let Seen::Logged(line) = seen { Some(line.len()) } else { None });
    assert_eq!(longest.into_iter().map(|(_, length)| length).max(), Some(1024));
}

#[test]
fn a_minute_of_log_is_bounded_and_the_next_begins_anew() {
    let mut world = World::ring(15, 1);
    world.publish(0, &plain("chatty"));
    world.publish(0, &plain("quiet"));
    let say = format!("log {};reply", "x".repeat(1024));
    for _ in 0..80 {
        assert!(world.call(0, "chatty", &say).is_ok());
    }
    assert_eq!(logged(&world, 0, "xxx"), 64);
    assert_eq!(logged(&world, 0, "it writes too much"), 1);
    let used = usage(&world, 0);
    assert_eq!((used.log_lines, used.dropped_log_lines), (64, 16));
    assert!(world.call(0, "quiet", "log mine;reply").is_ok());
    assert_eq!(logged(&world, 0, "mine"), 1, "another application has its own");
    // What it makes the node say is in its account too.
    assert!(world.call(0, "chatty", "trap").is_err());
    assert_eq!((logged(&world, 0, "serve trapped"), usage(&world, 0).dropped_log_lines), (0, 17));
    world.run_for(Duration::from_secs(60));
    assert!(world.call(0, "chatty", &say).is_ok());
    assert_eq!(logged(&world, 0, "xxx"), 65);
}
