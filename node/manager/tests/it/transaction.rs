//! Writes and effects take effect together or not at all, and nothing leaves before it is safe.

use std::time::Duration;

use prost_contract::{Event, Outcome};
use prost_kbr::{AppId, Failure, Refusal};
use prost_manager::CallFailure;

use crate::guest::hex;
use crate::packages::{app_of, draft, plain};
use crate::world::{Disk, Seen, World, name};

fn sent(script: &str) -> impl Fn(&Seen) -> bool {
    move |seen| matches!(seen, Seen::Sent(_, payload) if payload == script)
}

fn committed(name: &str, world: &World, at: usize) -> usize {
    let journal = &world.host(at).journal;
    let number = journal.iter().find_map(|(_, seen)| match seen {
        Seen::Commit(number, names) if names.iter().any(|written| written == name) => Some(*number),
        _ => None,
    });
    let number = number.expect("it was written");
    world.host(at).when(|seen| *seen == Seen::Committed(number, true)).expect("it was committed")
}

/// A ring with the application on node 0 and node 3, which have sent nothing yet.
fn pair(seed: u64, handlers: &[(&str, &str)]) -> (World, AppId) {
    let mut world = World::ring(seed, 6);
    let package = draft("echo").component(handlers, 0).sign();
    world.publish(0, &package);
    world.publish(3, &package);
    (world, app_of(&package))
}

#[test]
fn nothing_of_an_event_leaves_before_its_writes_are_durable() {
    let (mut world, _) = pair(1, &[]);
    world.host_mut(0).disk = Disk::Works(Duration::from_millis(80));
    let to = hex(world.id(3));
    let call = world.start_call(0, "echo", &format!("put a; reply done; push item; send {to} log 1"));
    world.run_for(Duration::from_secs(1));
    let durable = committed("a", &world, 0);
    let host = world.host(0);
    assert!(host.when(sent("log 1")).is_some_and(|at| at > durable));
    let responded = host.when(|seen| matches!(seen, Seen::Responded(number, _) if *number == call));
    let pushed = host.when(|seen| matches!(seen, Seen::Pushed(number, _) if *number == call));
    assert!(responded.is_some_and(|at| at > durable));
    assert_eq!(pushed, None, "the call had ended by then");
}

#[test]
fn what_an_event_asks_for_leaves_in_the_order_in_which_it_asked() {
    let (mut world, _) = pair(14, &[]);
    world.host_mut(0).disk = Disk::Works(Duration::from_millis(80));
    let to = hex(world.id(3));
    let script = format!("put a; timer 1 7; push item; reply done; log line; send {to} log 1");
    let call = world.start_call(0, "echo", &script);
    world.run_for(Duration::from_secs(1));
    let fired = |seen: &Seen| matches!(seen, Seen::Ran(_, told, _) if name(told) == "fired 7");
    let host = world.host(0);
    let order = [
        Some(committed("a", &world, 0)),
        host.when(|seen| matches!(seen, Seen::Pushed(number, _) if *number == call)),
        host.when(|seen| matches!(seen, Seen::Responded(number, _) if *number == call)),
        host.when(|seen| *seen == Seen::Logged("line".to_owned())),
        host.when(sent("log 1")),
        host.when(fired),
    ];
    assert!(order.is_sorted() && order[1].is_some(), "{order:?}");
    let set = host.journal[order[0].expect("it was committed")].0;
    let due = host.journal[order[5].expect("it fired")].0;
    assert!(due.since(set) >= Duration::from_millis(1), "its time begins when it is set");
}

#[test]
fn events_take_effect_in_the_order_in_which_they_ran() {
    let (mut world, _) = pair(2, &[]);
    world.host_mut(0).disk = Disk::Works(Duration::from_millis(80));
    let to = hex(world.id(3));
    for script in ["put a; send {} log 1", "send {} log 2", "put b; put c; send {} log 3", "fail no", "send {} log 4"] {
        world.start_call(0, "echo", &script.replace("{}", &to));
    }
    world.run_for(Duration::from_secs(2));
    let places: Vec<usize> =
        (1..=4).map(|number| world.host(0).when(sent(&format!("log {number}"))).expect("it left")).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(places[0] > committed("a", &world, 0));
    assert!(places[2] > committed("c", &world, 0));
    let arrived: Vec<String> =
        world.host(3).handlers().into_iter().filter(|name| name.starts_with("deliver")).collect();
    assert_eq!(arrived, ["deliver log 1", "deliver log 2", "deliver log 3", "deliver log 4"]);
}

#[test]
fn a_message_is_not_acknowledged_before_it_is_durable() {
    let (mut world, _) = pair(3, &[]);
    world.host_mut(3).disk = Disk::Hangs;
    world.route(0, "echo", 3, "put x");
    world.run_for(Duration::from_millis(14_900));
    assert_eq!(world.host(0).failures(), []);
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.host(0).failures(), [Failure::Deadline], "its time is over");
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.host(0).failures().len(), 1);
}

#[test]
fn lost_writes_undo_the_event_and_all_that_may_have_read_them() {
    let breaks = Disk::Breaks(Duration::from_millis(50));
    // The others run before the loss is known, or after it.
    for (disk, sandbox_ms, undone) in [(breaks, 1, 3), (breaks, 30, 1), (Disk::Refuses, 30, 2)] {
        let (mut world, app) = pair(4, &[]);
        let back = hex(world.id(0));
        world.route(0, "echo", 3, "put good");
        world.run_for(Duration::from_secs(1));
        world.host_mut(3).sandbox = Duration::from_millis(sandbox_ms);
        world.host_mut(3).disk = disk;
        for script in ["put x; send {} log lost", "send {} log leaked", "put y; send {} log later"] {
            world.route(0, "echo", 3, &script.replace("{}", &back));
        }
        assert!(world.run_until(Duration::from_secs(5), |world| !world.host(0).failures().is_empty()));
        if disk == breaks {
            world.host_mut(3).disk = Disk::Works(Duration::from_millis(4));
        }
        world.run_for(Duration::from_secs(5));

        assert_eq!(world.host(0).failures(), vec![Failure::NotDurable; undone], "{disk:?}");
        assert!(world.host(3).has_record(&app, "good"));
        assert!(!world.host(3).has_record(&app, "x"));
        assert_eq!(world.host(3).seen(sent("log lost")), 0);
        let happened = world.host(3).seen(|seen| matches!(seen, Seen::Sent(..)));
        assert_eq!(undone + happened, 3, "each came to nothing and was told so, or took effect without the lost ones");
        assert_eq!(world.host(3).has_record(&app, "y"), world.host(3).seen(sent("log later")) == 1);
        let inits = world.host(3).handlers().iter().filter(|name| *name == "init").count();
        assert!(inits >= 2, "what the instance remembers of the lost event is gone");
        world.host_mut(3).disk = Disk::Works(Duration::from_millis(4));
        world.route(0, "echo", 3, "put z");
        world.run_for(Duration::from_secs(1));
        assert!(world.host(3).has_record(&app, "z"), "it goes on");
    }
}

#[test]
fn writes_behind_lost_ones_are_not_made_durable() {
    let mut world = World::ring(13, 1);
    let package = plain("echo");
    world.publish(0, &package);
    world.host_mut(0).sandbox = Duration::from_millis(20);
    let calls = ["reply", "put x; reply", "put y; reply"].map(|script| world.start_call(0, "echo", script));
    world.host_mut(0).disk = Disk::RefusesOnce;
    world.run_for(Duration::from_secs(2));
    let lost = Some(Err(CallFailure::Failed(Failure::NotDurable)));
    assert_eq!(calls.map(|call| world.host(0).answer(call)), [Some(Ok("".into())), lost.clone(), lost]);
    for name in ["x", "y"] {
        assert!(!world.host(0).has_record(&app_of(&package), name));
    }
}

#[test]
fn what_was_durable_before_is_not_undone() {
    let (mut world, app) = pair(5, &[]);
    world.host_mut(0).disk = Disk::Works(Duration::from_millis(300));
    let first = world.start_call(0, "echo", "put a; reply a");
    world.run_for(Duration::from_millis(50));
    world.host_mut(0).disk = Disk::Refuses;
    let second = world.start_call(0, "echo", "put b; reply b");
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(0).answer(first), Some(Ok("a".into())));
    assert_eq!(world.host(0).answer(second), Some(Err(CallFailure::Failed(Failure::NotDurable))));
    assert!(world.host(0).has_record(&app, "a"));
}

#[test]
fn an_install_whose_init_cannot_write_is_answered() {
    for disk in [Disk::Breaks(Duration::from_millis(50)), Disk::Refuses] {
        let mut world = World::ring(6, 1);
        world.host_mut(0).disk = disk;
        let package = draft("echo").component(&[("init", "put boot")], 0).sign();
        let answer = world.install(0, &package);
        assert!(
            matches!(answer, Err(prost_manager::InstallFailure::Refused { refusal: Refusal::InitFailed, .. })),
            "{answer:?}"
        );
        world.host_mut(0).disk = Disk::Works(Duration::from_millis(4));
        world.publish(0, &package);
    }
}

#[test]
fn an_event_that_traps_leaves_no_trace_and_the_next_ones_are_served() {
    let (mut world, app) = pair(7, &[]);
    let back = hex(world.id(0));
    world.route(0, "echo", 3, &format!("put x; log gone; trap; send {back} log lost"));
    world.run_for(Duration::from_secs(2));
    let failures = world.host(0).failures();
    assert!(matches!(&failures[..], [Failure::HandlerFailed(line)] if line.contains("fault")), "{failures:?}");
    assert!(!world.host(3).has_record(&app, "x"));
    assert_eq!(world.host(3).seen(|seen| matches!(seen, Seen::Sent(..) | Seen::Commit(..))), 0);
    assert_eq!(world.host(3).seen(|seen| *seen == Seen::Logged("gone".to_owned())), 0);
    let why = Seen::Logged("deliver trapped: fault: told to".to_owned());
    assert_eq!(world.host(3).seen(|seen| *seen == why), 1, "it says why instead");
    assert_eq!(world.host(3).status(&app).map(|status| status.usage.traps), Some(1));

    world.route(0, "echo", 3, "put y");
    world.run_for(Duration::from_secs(1));
    assert!(world.host(3).has_record(&app, "y"));
    let handlers = world.host(3).handlers();
    assert_eq!(handlers.iter().filter(|name| *name == "init").count(), 2);
    assert_eq!(world.host(3).compiled(), 1, "the code is still there");
}

#[test]
fn a_message_whose_node_dies_while_it_handles_it_comes_to_the_next_one_with_the_same_number() {
    let (mut world, app) = pair(15, &[]);
    world.host_mut(3).sandbox = Duration::from_secs(5);
    world.route(0, "echo", 3, "put x");
    let handles = |world: &World| world.host(3).handlers().iter().any(|name| name.starts_with("deliver"));
    assert!(world.run_until(Duration::from_secs(5), handles));
    let dying = world.id(3);
    world.crash(dying);
    world.run_for(Duration::from_secs(14));
    assert!(world.host(4).has_record(&app, "x"));
    let numbers = world.story(|seen| match seen {
        Seen::Ran(_, Event::Deliver(message), _) => Some(message.id),
        _ => None,
    });
    assert!(matches!(numbers[..], [(3, one), (4, other)] if one == other), "{numbers:?}");
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_handler_that_returns_an_error_leaves_no_trace_and_keeps_its_instance() {
    let (mut world, app) = pair(8, &[]);
    world.route(0, "echo", 3, "put x; fail not now");
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.host(0).failures(), [Failure::HandlerFailed("not now".to_owned())]);
    assert!(!world.host(3).has_record(&app, "x"));
    assert_eq!(world.host(3).handlers().iter().filter(|name| *name == "init").count(), 1);
}

#[test]
fn events_behind_a_trap_run_later_once_and_in_order() {
    let (mut world, app) = pair(9, &[]);
    world.host_mut(0).sandbox = Duration::from_millis(100);
    let scripts = ["put first", "put a", "trap", "put b", "trap", "put c"];
    let calls: Vec<u64> = scripts.map(|script| world.start_call(0, "echo", &format!("{script}; reply"))).to_vec();
    world.run_for(Duration::from_secs(5));
    let ran: Vec<String> = world.host(0).handlers();
    let expected: Vec<String> = ["init", "put first", "put a", "trap", "init", "put b", "trap", "init", "put c"]
        .iter()
        .map(|script| if *script == "init" { "init".to_owned() } else { format!("serve {script}; reply") })
        .collect();
    assert_eq!(ran, expected);
    for (call, script) in calls.into_iter().zip(scripts) {
        let answer = world.host(0).answer(call).expect("an answer");
        assert_eq!(answer.is_err(), script == "trap");
        if let Some(name) = script.strip_prefix("put ") {
            assert!(world.host(0).has_record(&app, name));
        }
    }
}

#[test]
fn a_handler_that_always_traps_is_given_longer_and_longer_pauses() {
    let mut world = World::ring(10, 1);
    let package = draft("loop").component(&[("init", "timer 1 7"), ("fired", "trap")], 0).sign();
    world.publish(0, &package);
    world.run_for(Duration::from_secs(60));
    let traps = world.host(0).events().iter().filter(|(_, outcome)| matches!(outcome, Outcome::Trapped(_))).count();
    assert!((8..=20).contains(&traps), "{traps} traps in a minute");
}

#[test]
fn an_application_that_does_not_start_again_is_given_up_for_a_while() {
    for condition in ["trap-if poison", "fail-if poison"] {
        let mut world = World::ring(11, 1);
        let package = draft("once").component(&[("init", condition)], 0).sign();
        let app = app_of(&package);
        world.publish(0, &package);
        assert!(world.call(0, "once", "put poison; reply").is_ok());
        let trapped = world.start_call(0, "once", "trap");
        let behind = world.start_call(0, "once", "reply");
        world.run_for(Duration::from_secs(5));
        let traps = matches!(world.host(0).answer(trapped), Some(Err(CallFailure::Failed(Failure::HandlerFailed(_)))));
        assert!(traps, "{:?}", world.host(0).answer(trapped));
        assert_eq!(world.host(0).answer(behind), Some(Err(CallFailure::Refused(Refusal::InitFailed))));
        let inits = world.host(0).handlers().iter().filter(|name| *name == "init").count();
        assert_eq!(inits, 1 + 5, "{condition}");
        assert_eq!(world.call(0, "once", "reply"), Err(CallFailure::Refused(Refusal::InitFailed)), "and left alone");
        world.run_for(Duration::from_secs(10));
        let _ = world.call(0, "once", "reply");
        let again = world.host(0).handlers().iter().filter(|name| *name == "init").count();
        assert_eq!(again, inits + 1, "one more attempt");
        assert!(world.host(0).status(&app).is_some());
    }
}

#[test]
fn an_application_that_fails_once_in_a_while_is_not_held_back() {
    let mut world = World::ring(12, 1);
    world.publish(0, &plain("echo"));
    for _ in 0..50 {
        assert!(world.call(0, "echo", "trap").is_err());
        let before = world.now;
        assert!(world.call(0, "echo", "reply").is_ok());
        assert!(world.now.since(before) < Duration::from_millis(50));
    }
}
