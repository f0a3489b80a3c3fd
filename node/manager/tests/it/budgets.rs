//! What an application may use, and what happens when it is used up.

use std::time::Duration;

use prost_contract::{Event, Outcome};
use prost_kbr::{Failure, Refusal};

use crate::guest::hex;
use crate::packages::{app_of, draft, plain};
use crate::world::{Disk, Seen, World};

fn fired(world: &World) -> Vec<String> {
    world.host(0).handlers().into_iter().filter(|name| name.starts_with("fired")).collect()
}

#[test]
fn a_timer_fires_once_when_it_is_due() {
    let mut world = World::ring(1, 1);
    let package = plain("clock");
    world.publish(0, &package);
    assert!(world.call(0, "clock", "timer 2000 2; timer 1000 1; timer 0 0; reply").is_ok());
    world.run_for(Duration::from_millis(500));
    assert_eq!(fired(&world), ["fired 0"]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(fired(&world), ["fired 0", "fired 1"]);
    assert_eq!(world.host(0).status(&app_of(&package)).expect("it runs").usage.timers, 1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(fired(&world), ["fired 0", "fired 1", "fired 2"]);
    assert_eq!(world.host(0).status(&app_of(&package)).expect("it runs").usage.timers, 0);
}

#[test]
fn a_timer_that_is_due_comes_after_the_events_that_were_waiting() {
    let mut world = World::ring(15, 1);
    world.publish(0, &plain("clock"));
    assert!(world.call(0, "clock", "timer 100 1; reply").is_ok());
    world.host_mut(0).sandbox = Duration::from_millis(300);
    for (number, wait_ms) in [(1, 20), (2, 20), (3, 100), (4, 1_500)] {
        world.start_call(0, "clock", &format!("reply {number}"));
        world.run_for(Duration::from_millis(wait_ms));
    }
    let ran = world.host(0).handlers().split_off(2);
    assert_eq!(ran, ["serve reply 1", "serve reply 2", "serve reply 3", "fired 1", "serve reply 4"]);
}

#[test]
fn a_cancelled_timer_does_not_fire() {
    let mut world = World::ring(2, 1);
    world.publish(0, &plain("clock"));
    assert!(world.call(0, "clock", "timer 1000 1; timer 1000 2; reply").is_ok());
    assert!(world.call(0, "clock", "cancel 1; cancel 1; reply").is_ok());
    world.run_for(Duration::from_secs(5));
    assert_eq!(fired(&world), ["fired 2"]);
    assert!(world.call(0, "clock", "cancel 2; reply").is_ok());
    assert_eq!(world.host(0).node.apps()[0].usage.timers, 0);
}

#[test]
fn timers_outlive_the_instance_that_set_them() {
    let mut world = World::ring(3, 1);
    world.publish(0, &plain("clock"));
    assert!(world.call(0, "clock", "timer 1000 1; reply").is_ok());
    assert!(world.call(0, "clock", "timer 1000 2; trap").is_err());
    world.run_for(Duration::from_secs(5));
    assert_eq!(fired(&world), ["fired 1"]);
}

#[test]
fn more_timers_than_the_budget_are_dropped_and_counted() {
    let mut world = World::ring(4, 1);
    let package = draft("clock").budgets(|budgets| budgets.timers = 3).sign();
    world.publish(0, &package);
    assert!(world.call(0, "clock", "timer 1000 1; timer 1000 2; timer 1000 3; timer 1000 4; reply").is_ok());
    let usage = world.host(0).node.apps().remove(0).usage;
    assert_eq!((usage.timers, usage.over_budget), (3, 1));
    let said = |seen: &Seen| matches!(seen, Seen::Logged(line) if line.starts_with("a timer was dropped"));
    assert_eq!(world.host(0).seen(said), 1);
    world.run_for(Duration::from_secs(2));
    assert_eq!(fired(&world).len(), 3);
    assert!(world.call(0, "clock", "timer 1000 5; reply").is_ok(), "there is room again");
    assert_eq!(world.host(0).node.apps()[0].usage.timers, 1);
}

#[test]
fn messages_beyond_the_budget_come_back_and_do_not_leave() {
    let mut world = World::ring(5, 6);
    let package = draft("echo").budgets(|budgets| budgets.messages_per_second = 1).sign();
    world.publish(0, &package);
    world.publish(3, &plain("echo"));
    let to = hex(world.id(3));
    for number in 0..15 {
        assert!(world.call(0, "echo", &format!("reply; send {to} put m{number}")).is_ok());
    }
    assert_eq!(world.host(0).failures(), vec![Failure::Overloaded; 5], "ten seconds' worth is ten");
    assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Sent(..))), 10);
    let usage = world.host(0).node.apps().remove(0).usage;
    assert_eq!((usage.messages, usage.over_budget), (10, 5));
    world.run_for(Duration::from_secs(3));
    assert!(world.call(0, "echo", &format!("reply; send {to} put later")).is_ok());
    world.run_for(Duration::from_secs(1));
    assert!(world.host(3).has_record(&app_of(&package), "later"));
}

#[test]
fn messages_beyond_the_queue_of_an_application_that_runs_go_to_the_next_replica() {
    let mut world = World::ring(16, 8);
    let package = draft("echo").budgets(|budgets| budgets.queue = 10).sign();
    world.publish(0, &package);
    world.publish(4, &package);
    world.host_mut(4).sandbox = Duration::from_secs(1);
    for number in 0..30 {
        world.route(0, "echo", 4, &format!("put m{number}"));
    }
    world.run_for(Duration::from_secs(13));
    assert_eq!(world.host(4).refusals(Refusal::QueueFull), 19, "one runs and ten wait");
    let delivered = |at: usize| world.host(at).handlers().iter().filter(|name| name.starts_with("deliver")).count();
    assert_eq!((delivered(4), delivered(5)), (11, 19));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn bytes_beyond_the_budget_cost_no_message() {
    let mut world = World::ring(6, 6);
    let package = draft("echo").budgets(|budgets| budgets.bytes_per_second = 2).sign();
    world.publish(0, &package);
    let to = hex(world.id(3));
    assert!(world.call(0, "echo", &format!("reply; send {to} log this is too long by far")).is_ok());
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(0).failures(), [Failure::Overloaded]);
    let usage = world.host(0).node.apps().remove(0).usage;
    assert_eq!((usage.messages, usage.bytes_sent, usage.over_budget), (0, 0, 1));
    assert!(world.call(0, "echo", &format!("reply; send {to} log ok")).is_ok());
    assert_eq!(world.host(0).node.apps()[0].usage.messages, 1);
}

#[test]
fn an_application_that_has_burnt_its_fuel_pauses_until_it_refills() {
    let mut world = World::ring(7, 1);
    let package = draft("burner")
        .budgets(|budgets| {
            budgets.fuel_per_second = 1000;
            budgets.fuel_per_event = 5000;
        })
        .sign();
    world.publish(0, &package);
    // Ten seconds' worth covers two events; a third may run before anything is owed, and five seconds pay for it.
    let calls: Vec<u64> =
        (0..5).map(|number| world.start_call(0, "burner", &format!("fuel 5000; reply {number}"))).collect();
    let answered = |world: &World| calls.iter().filter(|call| world.host(0).answer(**call).is_some()).count();
    for (wait_ms, expected) in [(100, 3), (4700, 3), (400, 4), (4500, 4), (600, 5)] {
        world.run_for(Duration::from_millis(wait_ms));
        assert_eq!(answered(&world), expected);
    }
    assert_eq!(world.host(0).node.apps()[0].usage.fuel, 1000 + 5 * 5000);
}

#[test]
fn an_application_that_has_written_what_it_may_pauses_until_it_refills() {
    let mut world = World::ring(10, 1);
    let package = draft("scribe").budgets(|budgets| budgets.written_bytes_per_second = 100).sign();
    world.publish(0, &package);
    world.host_mut(0).slice = 1;
    let name = |number: usize| format!("{number}{}", "n".repeat(494));
    // Two seconds' worth is 200: after the first event 300 are owed, after each further one 500.
    let calls: Vec<u64> =
        (0..3).map(|number| world.start_call(0, "scribe", &format!("put {}; reply {number}", name(number)))).collect();
    let answered = |world: &World| calls.iter().filter(|call| world.host(0).answer(**call).is_some()).count();
    for (wait_ms, expected) in [(100, 1), (2800, 1), (200, 2), (4800, 2), (200, 3)] {
        world.run_for(Duration::from_millis(wait_ms));
        assert_eq!(answered(&world), expected);
    }
    assert_eq!(world.host(0).node.apps()[0].usage.bytes_written, 3 * 500);
}

#[test]
fn what_the_node_tells_an_application_is_not_crowded_out_by_messages() {
    let mut world = World::ring(8, 1);
    let package = draft("busy").budgets(|budgets| budgets.queue = 5).sign();
    world.publish(0, &package);
    assert!(world.call(0, "busy", "timer 500 1; reply").is_ok());
    world.host_mut(0).sandbox = Duration::from_secs(2);
    for _ in 0..50 {
        world.start_call(0, "busy", "reply");
    }
    world.run_for(Duration::from_secs(30));
    assert_eq!(fired(&world), ["fired 1"]);
}

#[test]
fn every_event_has_numbers_of_its_own() {
    let mut world = World::ring(9, 1);
    world.publish(0, &plain("clock"));
    world.host_mut(0).sandbox = Duration::from_millis(50);
    for tag in 0..40 {
        world.start_call(0, "clock", &format!("timer 1000 {}; timer 1000 {}; reply", 2 * tag, 2 * tag + 1));
    }
    world.run_for(Duration::from_secs(10));
    let mut timers: Vec<u64> = world
        .host(0)
        .events()
        .into_iter()
        .filter_map(|(told, _)| if let Event::Fired { timer, .. } = told { Some(*timer) } else { None })
        .collect();
    timers.sort_unstable();
    timers.dedup();
    assert_eq!(timers.len(), 80);
}

#[test]
fn a_watched_node_that_dies_is_reported_once_to_each_that_watches() {
    let mut world = World::ring(10, 6);
    for name in ["one", "two", "three"] {
        world.publish(0, &plain(name));
    }
    let watched = world.id(3);
    let script = format!("watch {}; reply", hex(watched));
    assert!(world.call(0, "one", &script).is_ok());
    assert!(world.call(0, "two", &script).is_ok());
    assert!(world.call(0, "three", &script).is_ok());
    // That one application goes or loses interest does not blind another.
    assert!(world.call(0, "two", &format!("unwatch {}; reply", hex(watched))).is_ok());
    assert!(world.remove(0, "three").is_ok());
    world.crash(watched);
    world.run_for(Duration::from_secs(30));
    let down = world.story(|seen| match seen {
        Seen::Ran(app, Event::Update(prost_kbr::Change::WatchedDown(node)), Outcome::Done) if *node == watched => {
            Some(app.name.as_str().to_owned())
        }
        _ => None,
    });
    assert_eq!(down, [(0, "one".to_owned())]);
}

#[test]
fn an_application_cannot_watch_more_than_its_share() {
    let mut world = World::ring(11, 6);
    world.publish(0, &plain("one"));
    world.publish(0, &plain("two"));
    for number in 0..260_u16 {
        let mut bytes = [7; 20];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        world.start_call(0, "one", &format!("watch {}; reply", hex(prost_kbr::Id::from_bytes(bytes))));
    }
    world.run_for(Duration::from_millis(500));
    let over = |name: &str| {
        let apps = world.host(0).node.apps();
        apps.into_iter().find(|app| app.app.name.as_str() == name).expect("it runs").usage.over_budget
    };
    assert_eq!((over("one"), over("two")), (4, 0));
}

#[test]
fn an_application_whose_writes_are_not_durable_runs_only_so_far_ahead() {
    let mut world = World::ring(12, 1);
    world.publish(0, &plain("echo"));
    world.host_mut(0).disk = Disk::Hangs;
    let calls: Vec<u64> =
        (0..600).map(|number| world.start_call(0, "echo", &format!("put x{number}; reply"))).collect();
    world.run_for(Duration::from_secs(10));
    let commits = |world: &World| world.host(0).seen(|seen| matches!(seen, Seen::Commit(..)));
    assert!((256..=256 + 32).contains(&commits(&world)), "{}", commits(&world));
    assert_eq!(calls.iter().filter(|call| world.host(0).answer(**call).is_some()).count(), 0);
}

#[test]
fn messages_without_an_outcome_are_bounded_and_make_room_when_they_end() {
    let mut world = World::ring(13, 6);
    let package = draft("echo").budgets(|budgets| budgets.queue = 20_000).sign();
    world.set_policy(3, crate::packages::policy("default = \"allow\"\n[defaults.budgets]\nqueue = 20_000\n"));
    world.publish(0, &package);
    world.publish(3, &package);
    world.host_mut(3).sandbox = Duration::from_secs(3600);
    let flood = format!("reply; flood {}", hex(world.id(3)));
    for _ in 0..165 {
        assert!(world.call(0, "echo", &flood).is_ok());
    }
    world.run_for(Duration::from_secs(1));
    let sent = |world: &World| world.host(0).node.apps()[0].usage.messages;
    let failed = |world: &World, why: &Failure| world.host(0).failures().iter().filter(|other| *other == why).count();
    assert_eq!(sent(&world), 16_384);
    assert_eq!(failed(&world, &Failure::Overloaded), 16_500 - 16_384);
    world.run_for(Duration::from_secs(40));
    assert_eq!(failed(&world, &Failure::Deadline), 16_384, "the application learns of each");
    assert!(world.call(0, "echo", &flood).is_ok());
    assert_eq!(sent(&world), 16_484, "there is room again");
}

#[test]
fn messages_that_are_handled_make_room_for_more() {
    let mut world = World::ring(14, 6);
    world.publish(0, &plain("echo"));
    world.publish(3, &plain("echo"));
    world.host_mut(3).sandbox = Duration::from_micros(10);
    let flood = format!("reply; flood {}", hex(world.id(3)));
    for _ in 0..170 {
        assert!(world.call(0, "echo", &flood).is_ok());
        world.run_for(Duration::from_millis(20));
    }
    assert_eq!(world.host(0).node.apps()[0].usage.messages, 17_000);
    assert!(world.host(0).failures().is_empty());
}
