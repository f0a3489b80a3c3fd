//! The operator's word: policy, removal, upgrade, restart of the node.

use std::time::Duration;

use prost_contract::Event;
use prost_kbr::{Failure, Refusal};
use prost_manager::{AppState, CallFailure, Input, InstallFailure, Source};

use crate::guest::hex;
use crate::packages::{all_but, app_of, draft, plain, policy};
use crate::world::{Code, Disk, Seen, World, name};

pub(crate) fn inits(world: &World, at: usize) -> Vec<(String, Option<String>)> {
    let starts = world.host(at).events().into_iter().filter_map(|(told, _)| match told {
        Event::Init(start) => Some((start.version.clone(), start.upgraded_from.clone())),
        _ => None,
    });
    starts.collect()
}

#[test]
fn a_policy_that_denies_stops_what_runs_at_once_and_answers_all_that_waits() {
    let mut world = World::ring(1, 12);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    world.publish(5, &package);
    let kept = world.start_call(5, "echo", "keep; timer 1000 1");
    world.run_for(Duration::from_secs(1));
    world.host_mut(5).sandbox = Duration::from_millis(500);
    let calls: Vec<u64> = (0..3).map(|_| world.start_call(5, "echo", "put x; reply")).collect();
    world.route(0, "echo", 5, "put y");
    world.run_for(Duration::from_millis(200));
    let handlers = world.host(5).handlers().len();
    let before = world.now;
    world.set_policy(5, all_but("echo"));

    let stopped = world.host(5).journal.iter().find(|(_, seen)| *seen == Seen::Stop(app.clone()));
    assert_eq!(stopped.map(|(at, _)| *at), Some(before));
    for call in calls.iter().chain([&kept]) {
        assert_eq!(world.host(5).answer(*call), Some(Err(CallFailure::Refused(Refusal::Denied))));
    }
    assert!(world.host(5).node.apps().is_empty());
    assert!(world.host(5).node.stats().executions.is_empty());
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(5).handlers().len(), handlers, "nothing runs any more, timers neither");
    assert!(world.host(6).has_record(&app, "y"), "the message that waited went to the next replica");
    assert!(!world.host(5).has_record(&app, "x"));
    assert!(world.host(0).failures().is_empty());

    let (asked, compiled) = (world.host(5).asked(), world.host(5).compiled());
    world.route(0, "echo", 5, "put z");
    world.run_for(Duration::from_secs(5));
    assert!(world.host(6).has_record(&app, "z"));
    assert_eq!((world.host(5).asked(), world.host(5).compiled()), (asked, compiled), "denied without a fetch");
    assert_eq!(world.call(5, &app.to_string(), "reply"), Err(CallFailure::Refused(Refusal::Denied)));
}

/// An application as far as the script of the test has brought it, and the node stops it within a second of its denial,
/// whatever it was at; afterwards it answers that it is denied.
#[test]
fn a_policy_that_denies_stops_an_application_in_any_state() {
    type Bring = fn(&mut World);
    let states: [(&str, Bring); 6] = [
        ("being compiled", |world| {
            world.start_install(0, &plain("echo"));
        }),
        ("starting", |world| {
            world.host_mut(0).disk = Disk::Hangs;
            world.start_install(0, &draft("echo").component(&[("init", "put boot")], 0).sign());
            world.run_for(Duration::from_secs(1));
        }),
        ("running an event", |world| {
            world.publish(0, &plain("echo"));
            world.host_mut(0).sandbox = Duration::from_secs(60);
            world.start_call(0, "echo", "put x; reply");
        }),
        ("being replaced", |world| {
            world.publish(0, &plain("echo"));
            world.start_install(0, &draft("echo").release(2).sign());
        }),
        ("paused", |world| {
            world.publish(0, &plain("echo"));
            for _ in 0..8 {
                world.start_call(0, "echo", "trap");
            }
            world.run_for(Duration::from_millis(100));
        }),
        ("failed", |world| {
            world.publish(0, &draft("echo").component(&[("init", "fail-if poison")], 0).sign());
            assert!(world.call(0, "echo", "put poison; reply").is_ok());
            assert!(world.call(0, "echo", "trap").is_err());
            world.run_for(Duration::from_secs(5));
        }),
    ];
    for (state, bring) in states {
        let mut world = World::ring(20, 1);
        bring(&mut world);
        let app = app_of(&plain("echo"));
        assert!(world.host(0).status(&app).is_some(), "{state}");
        let before = world.now;
        world.set_policy(0, all_but("echo"));
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.host(0).status(&app), None, "{state}");
        let stops = world.host(0).journal.iter().filter(|(at, seen)| *at >= before && *seen == Seen::Stop(app.clone()));
        assert!(stops.count() > 0, "{state}");
        let handlers = world.host(0).handlers().len();
        assert_eq!(world.call(0, &app.to_string(), "reply"), Err(CallFailure::Refused(Refusal::Denied)), "{state}");
        world.run_for(Duration::from_secs(90));
        assert_eq!(world.host(0).handlers().len(), handlers, "{state}: nothing runs any more");
    }
}

#[test]
fn a_message_whose_writes_are_not_durable_yet_goes_to_the_next_replica_when_its_application_stops() {
    let mut world = World::ring(19, 12);
    let package = plain("echo");
    world.publish(0, &package);
    world.publish(5, &package);
    world.host_mut(5).disk = Disk::Hangs;
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(5).seen(|seen| matches!(seen, Seen::Commit(..))), 1);
    world.set_policy(5, all_but("echo"));
    world.run_for(Duration::from_secs(5));
    assert!(world.host(6).has_record(&app_of(&package), "x"));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn code_that_a_node_has_come_to_deny_is_not_given_to_others() {
    let mut world = World::ring(2, 6);
    let package = plain("echo");
    world.publish(1, &package);
    world.set_policy(1, all_but("echo"));
    let app = app_of(&package).to_string();
    assert_eq!(world.call(0, &app, "reply"), Err(CallFailure::Refused(Refusal::FetchFailed)));
    let given = world.host(1).seen(|seen| matches!(seen, Seen::Asked(_, Code::Manifest { envelope: Some(_), .. })));
    assert_eq!(given, 0);
    let digest = package.manifest.manifest().component.digest;
    let question = serde_cbor::to_vec(&Code::GetChunk { request: 9, digest, offset: 0 }).expect("plain data");
    let (from, message) = (world.id(0), prost_kbr::Message::Upper(question.into()));
    world.give(1, Input::Ring(prost_kbr::Input::Received { from, message }));
    let none = Seen::Asked(from, Code::Chunk { request: 9, offset: 0, bytes: None });
    assert_eq!(world.host(1).seen(|seen| *seen == none), 1);
}

#[test]
fn a_policy_that_denies_ends_a_fetch() {
    let mut world = World::ring(3, 12);
    let package = draft("echo").component(&[], 2_000_000).sign();
    let app = app_of(&package);
    world.publish(0, &package);
    world.route(0, "echo", 5, "put x");
    let fetching = |world: &World| world.host(5).asked() > 10;
    assert!(world.run_until(Duration::from_secs(5), fetching));
    world.set_policy(5, all_but("echo"));
    let asked = world.host(5).asked();
    world.run_for(Duration::from_secs(5));
    assert_eq!((world.host(5).asked(), world.host(5).compiled()), (asked, 0));
    assert!(world.host(6).has_record(&app, "x"));
}

#[test]
fn another_grant_starts_the_application_anew_and_loses_nothing() {
    let mut world = World::ring(4, 1);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    world.host_mut(0).sandbox = Duration::from_millis(100);
    let calls: Vec<u64> = (0..5).map(|number| world.start_call(0, "echo", &format!("put m{number}; reply"))).collect();
    world.run_for(Duration::from_millis(50));
    world.set_policy(0, policy("default = \"allow\"\n[defaults.budgets]\nmessages_per_second = 1\n"));
    world.run_for(Duration::from_secs(5));
    assert!(calls.iter().all(|call| world.host(0).answer(*call) == Some(Ok("".into()))));
    assert!((0..5).all(|number| world.host(0).has_record(&app, &format!("m{number}"))));
    assert_eq!(world.host(0).compiled(), 2);
    assert_eq!(inits(&world, 0), vec![("1.0.0".to_owned(), None); 2], "no upgrade");
    // The new budget holds.
    let to = hex(world.id(0));
    for _ in 0..15 {
        world.start_call(0, "echo", &format!("reply; send {to} log x"));
    }
    world.run_for(Duration::from_secs(3));
    assert!(world.host(0).failures().len() >= 2);
    // The same policy again changes nothing.
    world.set_policy(0, policy("default = \"allow\"\n[defaults.budgets]\nmessages_per_second = 1\n"));
    assert_eq!(world.host(0).compiled(), 2);
}

#[test]
fn another_grant_during_a_start_does_not_confuse_it() {
    for wait in [0, 29, 31, 35, 60] {
        let mut world = World::ring(5, 1);
        let package = draft("echo").component(&[("init", "put boot")], 0).sign();
        let request = world.start_install(0, &package);
        world.run_for(Duration::from_millis(wait));
        world.set_policy(0, policy("default = \"allow\"\n[defaults.budgets]\nqueue = 7\n"));
        world.run_for(Duration::from_secs(1));
        let answers = world.host(0).seen(|seen| *seen == Seen::Installed(request, Ok(app_of(&package))));
        assert_eq!(answers, 1, "after {wait} ms");
        assert!(world.call(0, "echo", "reply").is_ok());
    }
}

#[test]
fn an_instance_that_has_gone_does_not_start_the_next_one() {
    let mut world = World::ring(18, 1);
    let package = draft("echo").component(&[("init", "put boot")], 0).sign();
    world.host_mut(0).disk = Disk::Works(Duration::from_millis(100));
    world.start_install(0, &package);
    world.run_for(Duration::from_millis(40));
    world.set_policy(0, policy("default = \"allow\"\n[defaults.budgets]\nqueue = 7\n"));
    world.host_mut(0).disk = Disk::Hangs;
    world.run_for(Duration::from_secs(1));
    assert_eq!(inits(&world, 0).len(), 2);
    let state = world.host(0).status(&app_of(&package)).map(|status| status.state);
    assert_eq!(state, Some(AppState::Starting), "the second init's writes are not durable yet");
}

#[test]
fn a_policy_that_grants_what_was_missing_lets_it_be_tried_at_once() {
    let mut world = World::ring(6, 6);
    let app = app_of(&plain("echo"));
    world.publish(1, &plain("echo"));
    world.set_policy(0, policy("default = \"allow\"\n[defaults]\ncapabilities = [\"log\"]\n"));
    let refused = Err(CallFailure::Refused(Refusal::MissingCapability));
    assert_eq!(world.call(0, &app.to_string(), "reply"), refused);
    world.set_policy(0, policy("default = \"allow\"\n"));
    assert!(world.call(0, &app.to_string(), "reply").is_ok());
}

#[test]
fn an_install_that_is_overtaken_by_removal_or_denial_is_answered() {
    for deny in [true, false] {
        let mut world = World::ring(8, 1);
        let package = plain("echo");
        let request = world.start_install(0, &package);
        if deny {
            world.set_policy(0, all_but("echo"));
        } else {
            assert!(world.remove(0, "echo").is_ok());
        }
        world.run_for(Duration::from_secs(1));
        let answers = world.host(0).seen(
            |seen| matches!(seen, Seen::Installed(number, Err(InstallFailure::Refused { .. })) if *number == request),
        );
        assert_eq!(answers, 1);
        assert!(world.host(0).handlers().is_empty());
        // The compiler's answer to the first attempt is not taken for that to the second.
        world.set_policy(0, policy("default = \"allow\"\n"));
        world.publish(0, &package);
        assert_eq!(inits(&world, 0).len(), 1);
    }
}

#[test]
fn a_denied_install_names_the_rule() {
    let mut world = World::ring(9, 1);
    world.set_policy(0, all_but("echo"));
    let answer = world.install(0, &plain("echo"));
    let Err(InstallFailure::Refused { refusal: Refusal::Denied, detail }) = answer else { panic!("{answer:?}") };
    assert!(detail.contains("rule 1"), "{detail}");
    let mut expired = draft("old");
    expired.manifest.expires = Some(1);
    let answer = world.install(0, &expired.sign());
    assert!(matches!(answer, Err(InstallFailure::Refused { refusal: Refusal::BadPackage, .. })), "{answer:?}");
}

#[test]
fn an_upgrade_keeps_the_queue_and_says_what_it_upgrades_from() {
    let mut world = World::ring(10, 6);
    let (one, two) = (draft("echo"), draft("echo").release(2).component(&[("init", "put two")], 0));
    let app = one.app();
    world.publish(0, &one.clone().sign());
    world.host_mut(0).sandbox = Duration::from_millis(50);
    let open = world.start_call(0, "echo", "keep");
    let calls: Vec<u64> = (0..40).map(|number| world.start_call(0, "echo", &format!("put m{number}; reply"))).collect();
    world.run_for(Duration::from_millis(20));
    world.publish(0, &two.sign());
    world.run_for(Duration::from_secs(10));
    assert_eq!(inits(&world, 0), [("1.0.0".to_owned(), None), ("2.0.0".to_owned(), Some("1.0.0".to_owned()))]);
    assert!(calls.iter().all(|call| world.host(0).answer(*call) == Some(Ok("".into()))));
    let ran = world.host(0).handlers();
    let order: Vec<&String> = ran.iter().filter(|name| name.starts_with("serve put")).collect();
    let expected: Vec<String> = (0..40).map(|number| format!("serve put m{number}; reply")).collect();
    let taken = order.len() - 40;
    assert!(order[taken..].iter().copied().eq(&expected[..]), "each took effect once, in order, after the upgrade");
    assert_eq!(world.host(0).status(&app).and_then(|status| status.version), Some("2.0.0".to_owned()));
    assert_eq!(world.host(0).answer(open), None, "it may still be answered");

    let older = world.install(0, &one.sign());
    assert_eq!(older, Err(InstallFailure::Older { installed: "2.0.0".to_owned() }));
    // A trap later on is no upgrade.
    assert!(world.call(0, "echo", "trap").is_err());
    world.run_for(Duration::from_secs(1));
    assert_eq!(inits(&world, 0).last(), Some(&("2.0.0".to_owned(), None)));
}

#[test]
fn the_same_package_again_is_installed_already_and_another_manifest_for_the_same_code_is_not() {
    let mut world = World::ring(11, 1);
    let package = plain("echo");
    let first = world.start_install(0, &package);
    let second = world.start_install(0, &package);
    world.run_for(Duration::from_secs(1));
    for request in [first, second] {
        assert_eq!(world.host(0).seen(|seen| *seen == Seen::Installed(request, Ok(app_of(&package)))), 1);
    }
    world.publish(0, &package);
    assert_eq!(world.host(0).compiled(), 1);
    world.publish(0, &draft("echo").release(2).budgets(|budgets| budgets.timers = 1).sign());
    assert_eq!(world.host(0).compiled(), 2);
    assert_eq!(inits(&world, 0).last(), Some(&("2.0.0".to_owned(), Some("1.0.0".to_owned()))));
}

#[test]
fn a_second_package_while_the_first_is_being_installed_is_busy() {
    let mut world = World::ring(12, 1);
    let first = world.start_install(0, &plain("echo"));
    let second = world.start_install(0, &draft("echo").release(2).sign());
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::Installed(second, Err(InstallFailure::Busy))), 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::Installed(first, Ok(app_of(&plain("echo"))))), 1);
}

#[test]
fn an_upgrade_that_does_not_start_leaves_the_old_version_running() {
    let broken = draft("echo").release(2).bytes(b"no component".as_slice().into());
    let failing = draft("echo").release(3).component(&[("init", "put three; fail no")], 0);
    let trapping = draft("echo").release(4).component(&[("init", "trap")], 0);
    let mut world = World::ring(13, 6);
    let app = app_of(&plain("echo"));
    world.publish(0, &plain("echo"));
    for upgrade in [broken, failing, trapping] {
        let request = world.start_install(0, &upgrade.sign());
        let call = world.start_call(0, "echo", "reply still here");
        world.run_for(Duration::from_secs(2));
        let refused = world.host(0).seen(
            |seen| matches!(seen, Seen::Installed(number, Err(InstallFailure::Refused { .. })) if *number == request),
        );
        assert_eq!(refused, 1);
        assert_eq!(world.host(0).answer(call), Some(Ok("still here".into())));
        assert_eq!(world.host(0).status(&app).and_then(|status| status.version), Some("1.0.0".to_owned()));
        assert_eq!(inits(&world, 0).last(), Some(&("1.0.0".to_owned(), None)));
    }
    assert!(!world.host(0).has_record(&app, "three"));
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::Saved(app.clone())), 1, "only what has started is kept");
}

#[test]
fn an_application_that_crashes_again_and_again_can_be_upgraded() {
    let mut world = World::ring(14, 1);
    let crashing = draft("echo").component(&[("init", "timer 1 1"), ("fired", "trap")], 0);
    let app = crashing.app();
    world.publish(0, &crashing.sign());
    world.run_for(Duration::from_secs(30));
    world.publish(0, &draft("echo").release(2).sign());
    assert!(world.host(0).runs(&app));
    assert!(world.call(0, "echo", "reply").is_ok());
}

#[test]
fn what_was_installed_before_a_restart_starts_again() {
    let mut world = World::ring(15, 6);
    let mut old = draft("echo").component(&[("init", "put boot")], 0);
    old.manifest.expires = Some(1);
    let package = old.sign();
    let app = app_of(&package);
    world.give(0, Input::Restore(package.clone()));
    world.give(0, Input::Restore(package));
    let call = world.start_call(0, "echo", "reply up");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(0).answer(call), Some(Ok("up".into())), "expiry ends installing, not running");
    assert_eq!(inits(&world, 0), [("1.0.0".to_owned(), None)]);
    assert_eq!(world.host(0).installations()[0].source, Source::Local);
    assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Saved(_))), 0, "it is on the disk already");
    assert!(world.host(0).runs(&app));

    let failing = draft("failing").component(&[("init", "trap")], 0);
    world.give(2, Input::Restore(failing.clone().sign()));
    world.run_for(Duration::from_secs(15));
    assert_eq!(world.call(2, "failing", "reply"), Err(CallFailure::Refused(Refusal::InitFailed)));
    assert_eq!(world.host(2).asked(), 0, "its code is not forgotten");

    world.set_policy(1, all_but("echo"));
    world.give(1, Input::Restore(plain("echo")));
    world.run_for(Duration::from_secs(1));
    assert!(world.host(1).handlers().is_empty());
    assert_eq!(world.host(1).refusals(Refusal::Denied), 1);
}

#[test]
fn an_application_learns_of_changes_of_its_neighbourhood_even_while_it_is_replaced() {
    let mut world = World::ring(16, 6);
    world.publish(0, &plain("echo"));
    world.host_mut(0).compiler = Duration::from_secs(20);
    world.start_install(0, &draft("echo").release(2).sign());
    let dead = world.id(5);
    world.crash(dead);
    world.run_for(Duration::from_secs(40));
    let updates =
        world.host(0).events().into_iter().map(|(told, _)| name(told)).filter(|name| name == "update").count();
    assert!(updates >= 2, "a neighbour left, and its keys came: {updates}");
}

#[test]
fn a_message_to_an_application_that_failed_is_refused_with_the_reason() {
    let mut world = World::ring(17, 6);
    let package = draft("echo").component(&[("init", "fail-if poison")], 0).sign();
    let app = app_of(&package);
    world.publish(0, &package);
    for at in 2..=5 {
        world.publish(at, &package);
        assert!(world.call(at, "echo", "put poison; reply").is_ok());
        assert!(world.call(at, "echo", "trap").is_err());
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.host(at).status(&app).map(|status| status.state), Some(AppState::Failed(Refusal::InitFailed)));
    }
    world.route(0, "echo", 2, "put x");
    world.run_for(Duration::from_secs(2));
    let reasons = [2, 3, 4, 5].map(|at| (world.id(at), Refusal::InitFailed)).to_vec();
    assert_eq!(world.host(0).failures(), [Failure::NoWillingNode(reasons)]);
}
