//! Applications in a world: they spread on demand, their disks keep what was durable, and all of it is in the hash.

#[path = "support/native.rs"]
mod native;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::Place;
use prost_kbr::{AppId, Dispatch, Header, Key};
use prost_manager::Source;
use prost_package::{Locator, Package, Policy};
use prost_sim::{Act, Applications, Index, Route, Seen, World};

use native::{Native, package, release};
use support::{config, grow, ideal, run, settle};

/// A ring whose nodes run applications.
fn ring(seed: u64, count: u32, native: &Native) -> World {
    ring_with(seed, count, Applications::new(Box::new(native.clone())))
}

fn ring_with(seed: u64, count: u32, applications: Applications) -> World {
    let mut world = World::new(config(seed));
    world.host_apps(applications);
    grow(&mut world, count);
    run(&mut world, Duration::from_millis(200) * count);
    assert!(settle(&mut world, Duration::from_secs(120)), "{:?}", ideal(&world));
    world.seen();
    world
}

fn app(package: &Package) -> AppId {
    package.manifest.manifest().app()
}

fn install(world: &mut World, node: Index, package: &Package) {
    world.act(Act::Install { node, request: 1, package: Box::new(package.clone()) });
    run(world, Duration::from_secs(2));
    let seen = world.seen();
    let installed = |seen: &Seen| matches!(seen, Seen::Installed { request: 1, result: Ok(_), .. });
    assert!(seen.iter().any(installed), "{seen:?}");
}

fn send(world: &mut World, node: Index, package: &Package, key: Key, text: &str, dispatch: Dispatch) {
    let header = Header { app: app(package), locator: String::new() };
    let payload = Bytes::from(text.to_owned());
    world.act(Act::Route { node, request: 2, route: Box::new(Route { header, key, dispatch, payload }) });
}

fn call(world: &mut World, node: Index, method: &str, body: &str) {
    let (app, method, body) = ("notebook".to_owned(), method.to_owned(), Bytes::from(body.to_owned()));
    world.act(Act::Call { node, request: 3, app, method, body });
}

fn answers(world: &mut World) -> Vec<Result<Bytes, String>> {
    let answer = |seen| match seen {
        Seen::Responded { outcome, .. } => Some(outcome.map_err(|failure| failure.to_string())),
        _ => None,
    };
    world.seen().into_iter().filter_map(answer).collect()
}

fn noted(world: &World, node: Index, package: &Package, text: &str) -> bool {
    world.record(node, &app(package), Place::Node, text.as_bytes()).is_some()
}

#[test]
fn a_message_installs_the_application_where_it_goes_and_is_compiled_once_for_all() {
    let native = Native::default();
    let mut world = ring(1, 24, &native);
    let package = package(100_000);
    install(&mut world, 0, &package);
    let target = 11;
    let key = world.peer(target).id;
    send(&mut world, 0, &package, key, "hello", Dispatch::EndNode);
    run(&mut world, Duration::from_secs(5));
    assert!(noted(&world, target, &package, "hello"));
    let seen = world.seen();
    let routed = seen.iter().find_map(|seen| match seen {
        Seen::Routed { node, request: 2, outcome } => Some((*node, outcome.result.clone())),
        _ => None,
    });
    assert_eq!(routed, Some((0, Ok(world.peer(target)))));
    let installed: Vec<(Index, Source)> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Runs { node, installation } => Some((*node, installation.source)),
            _ => None,
        })
        .collect();
    assert!(matches!(installed[..], [(11, Source::Overlay | Source::PreviousHop)]), "{installed:?}");
    assert_eq!(native.compiled.load(Ordering::Relaxed), 1);
    let usage = world.app_usage(target).expect("it ran");
    assert_eq!((usage.events, usage.messages, usage.fuel), (2, 1, 100_000));
}

#[test]
fn what_no_node_has_comes_from_the_url_that_a_message_names() {
    let hash = |stands_there: &str| {
        let native = Native::default();
        let package = package(1_000);
        let policy = "default = \"allow\"\n[locator]\nallow_hosts = [\"code.example\"]\n";
        let applications = Applications {
            policy: Arc::new(Policy::parse(policy).expect("a good policy")),
            pages: BTreeMap::from([(stands_there.to_owned(), package.clone())]),
            ..Applications::new(Box::new(native))
        };
        let mut world = ring_with(7, 12, applications);
        let header = Header { app: app(&package), locator: "https://code.example/notebook".to_owned() };
        let (key, payload) = (world.peer(5).id, Bytes::from_static(b"hello"));
        let route = Box::new(Route { header, key, dispatch: Dispatch::EndNode, payload });
        world.act(Act::Route { node: 0, request: 2, route });
        run(&mut world, Duration::from_secs(12));
        let seen = world.seen();
        let runs = seen.iter().find_map(|seen| match seen {
            Seen::Runs { node, installation } => Some((*node, installation.source, installation.peer)),
            _ => None,
        });
        (noted(&world, 5, &package, "hello"), runs, world.trace_hash())
    };
    let there = hash("https://code.example/notebook");
    assert_eq!((there.0, there.1), (true, Some((5, Source::Url, None))));
    assert_eq!(hash("https://code.example/notebook"), there, "the same seed gives the same run");
    let elsewhere = hash("https://code.example/other");
    assert_eq!((elsewhere.0, elsewhere.1), (false, None));
}

#[test]
fn a_message_of_type_0_installs_the_application_all_along_its_way() {
    let native = Native::default();
    let mut world = ring(2, 64, &native);
    let package = package(1_000);
    install(&mut world, 0, &package);
    for number in 0..20u8 {
        send(&mut world, 0, &package, Key::hash(&[number]), &number.to_string(), Dispatch::PerHop);
        run(&mut world, Duration::from_secs(2));
    }
    let (mut delivered, mut passed) = (0, 0);
    for node in 0..64 {
        let notes = (0..20u8).filter(|number| noted(&world, node, &package, &number.to_string())).count() as u64;
        delivered += notes;
        passed += world.app_usage(node).map_or(0, |usage| usage.messages) - notes;
    }
    assert_eq!(delivered, 20);
    assert!(passed >= 20, "each is seen at its origin at least: {passed}");
}

#[test]
fn a_crash_loses_what_was_not_durable_and_keeps_the_rest_with_the_application() {
    let native = Native::default();
    let mut world = ring(3, 8, &native);
    let package = package(1_000);
    install(&mut world, 5, &package);
    call(&mut world, 5, "write", "early");
    run(&mut world, Duration::from_millis(100));
    assert_eq!(answers(&mut world), [Ok(Bytes::new())]);

    // It has run, and its writes are on their way to the disk.
    call(&mut world, 5, "write", "late");
    run(&mut world, Duration::from_millis(2));
    assert!(noted(&world, 5, &package, "late"));
    assert_eq!(answers(&mut world), [], "nobody is told before it is durable");
    world.act(Act::Crash { node: 5 });
    assert_eq!((noted(&world, 5, &package, "early"), noted(&world, 5, &package, "late")), (true, false));

    world.act(Act::Restart { node: 5, known: vec![0] });
    assert!(settle(&mut world, Duration::from_secs(60)), "{:?}", ideal(&world));
    world.seen();
    for text in ["early", "late"] {
        call(&mut world, 5, "read", text);
        run(&mut world, Duration::from_secs(1));
    }
    assert_eq!(answers(&mut world), [Ok(Bytes::from_static(b"written")), Err("nothing".to_owned())]);
    assert_eq!(native.compiled.load(Ordering::Relaxed), 1);
}

#[test]
fn timers_do_not_outlive_their_node() {
    for crashes in [false, true] {
        let mut world = ring(6, 8, &Native::default());
        let package = package(1_000);
        install(&mut world, 5, &package);
        call(&mut world, 5, "timer", "");
        run(&mut world, Duration::from_millis(500));
        assert_eq!(answers(&mut world), [Ok(Bytes::new())]);
        if crashes {
            world.act(Act::Crash { node: 5 });
            world.act(Act::Restart { node: 5, known: vec![0] });
        }
        run(&mut world, Duration::from_secs(30));
        assert_eq!(noted(&world, 5, &package, "fired"), !crashes);
        call(&mut world, 5, "write", "later");
        run(&mut world, Duration::from_secs(1));
        assert_eq!(answers(&mut world), [Ok(Bytes::new())], "the application is there");
    }
}

#[test]
fn a_node_that_starts_anew_has_an_empty_disk() {
    let mut world = ring(4, 8, &Native::default());
    let package = package(1_000);
    install(&mut world, 5, &package);
    call(&mut world, 5, "write", "note");
    run(&mut world, Duration::from_secs(1));
    world.act(Act::Crash { node: 5 });
    world.act(Act::Start { node: 5, known: vec![0] });
    run(&mut world, Duration::from_secs(5));
    answers(&mut world);
    call(&mut world, 5, "read", "note");
    run(&mut world, Duration::from_secs(1));
    assert!(!noted(&world, 5, &package, "note"));
    let answers = answers(&mut world);
    assert!(matches!(&answers[..], [Err(line)] if line.contains("no application")), "{answers:?}");
}

#[test]
fn a_trap_costs_its_own_event_only() {
    let mut world = ring(5, 4, &Native::default());
    let package = package(1_000);
    install(&mut world, 1, &package);
    for method in ["write", "trap", "read"] {
        call(&mut world, 1, method, "x");
        run(&mut world, Duration::from_secs(1));
    }
    let answers = answers(&mut world);
    assert!(matches!(&answers[..], [Ok(_), Err(line), Ok(_)] if line.contains("told to")), "{answers:?}");
    assert_eq!(world.app_usage(1).expect("it ran").traps.get("fault"), Some(&1));
}

#[test]
fn equal_seeds_give_equal_hashes_and_what_an_application_does_is_in_them() {
    let history = |seed: u64, method: &str| {
        let mut world = ring(seed, 8, &Native::default());
        let package = package(40_000);
        install(&mut world, 2, &package);
        call(&mut world, 2, method, "x");
        send(&mut world, 2, &package, Key::hash(b"key"), "hello", Dispatch::PerHop);
        run(&mut world, Duration::from_secs(5));
        world.trace_hash()
    };
    assert_eq!(history(6, "random"), history(6, "random"));
    assert_ne!(history(6, "random"), history(7, "random"));
    assert_ne!(history(6, "random"), history(6, "read"));
}

#[test]
fn a_later_release_rolls_through_the_ring_with_the_messages_and_loses_none() {
    let mut world = ring(8, 24, &Native::default());
    let (one, two) = (package(1_000), release(2_000, 2));
    let locator = |package: &Package| Locator::Digest(package.manifest.manifest().component.digest).to_string();
    let key = |number: u32| Key::hash(&number.to_be_bytes());
    install(&mut world, 3, &one);
    for number in 0..60 {
        send(&mut world, 3, &one, key(number), &number.to_string(), Dispatch::EndNode);
    }
    run(&mut world, Duration::from_secs(10));
    let ran: BTreeSet<Index> =
        (0..24).filter(|node| world.app_usage(*node).is_some_and(|usage| usage.events > 0)).collect();

    // From then on the origin runs the later one, and so says each of its messages. Those of others still pass between.
    install(&mut world, 3, &two);
    for number in 60..180 {
        let (node, package) = if number % 2 == 0 { (3, &two) } else { (number % 24, &one) };
        let header = Header { app: app(package), locator: locator(package) };
        let payload = Bytes::from(number.to_string());
        let route = Route { header, key: key(number % 60), dispatch: Dispatch::EndNode, payload };
        world.act(Act::Route { node, request: 2, route: Box::new(route) });
        run(&mut world, Duration::from_millis(200));
    }
    run(&mut world, Duration::from_secs(20));
    let seen = world.seen();
    let ended =
        seen.iter().filter(|seen| matches!(seen, Seen::Routed { outcome, .. } if outcome.result.is_ok())).count();
    assert_eq!(ended, 120);
    for number in 0..180 {
        let at: Vec<Index> = (0..24).filter(|node| noted(&world, *node, &one, &number.to_string())).collect();
        assert_eq!(at.len(), 1, "message {number} is handled once: {at:?}");
    }
    let version = |node: Index| {
        let apps = world.node(node).map(prost_manager::Node::apps).unwrap_or_default();
        apps.into_iter().find_map(|status| status.version)
    };
    let owners: BTreeSet<Index> = (0..30).filter_map(|number| world.owner(key(2 * number))).collect();
    assert!(ran.len() > 5 && owners.len() > 5);
    assert!(owners.iter().all(|node| version(*node).as_deref() == Some("2.2.3")), "{owners:?}");
}
