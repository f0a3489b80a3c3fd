//! An application gets so much of a node and no more, whatever it does by itself.

use std::time::Duration;

use bytes::Bytes;
use prost_kbr::Failure;
use prost_package::Package;

use crate::guest::hex;
use crate::packages::{app_of, draft, plain};
use crate::world::World;

/// How long an event takes where nothing else holds it up.
const FAST: Duration = Duration::from_micros(10);

/// Events that an application ran in two seconds, from one second after `begin` on.
fn events(attacker: &Package, begin: impl FnOnce(&mut World)) -> u64 {
    let mut world = World::ring(1, 1);
    world.publish(0, attacker);
    world.host_mut(0).sandbox = FAST;
    begin(&mut world);
    let calls = |world: &World| world.host(0).status(&app_of(attacker)).expect("it runs").usage.calls;
    world.run_for(Duration::from_secs(1));
    let before = calls(&world);
    world.run_for(Duration::from_secs(2));
    calls(&world) - before
}

#[test]
fn timers_that_set_timers_run_at_a_bounded_rate() {
    let bomb = draft("bomb").component(&[("fired", "timer 1 1; fuel 100")], 0).sign();
    let ran = events(&bomb, |world| {
        for _ in 0..4 {
            world.start_call(0, "bomb", &("timer 1 1;".repeat(64) + "reply"));
        }
    });
    assert!((19_000..=21_000).contains(&ran), "{ran}");
}

#[test]
fn messages_beyond_the_budget_do_not_become_events_without_bound() {
    let myself = hex(World::ring(1, 1).id(0));
    let flood = draft("flood").component(&[("failed", &format!("flood {myself}"))], 0);
    let flood = flood.budgets(|budgets| budgets.messages_per_second = 1).sign();
    let ran = events(&flood, |world| {
        world.start_call(0, "flood", &format!("reply; flood {myself}"));
    });
    assert!((19_000..=21_000).contains(&ran), "{ran}");
}

#[test]
fn a_message_that_sends_itself_again_ends_with_the_budget() {
    let mut world = World::ring(4, 1);
    let myself = hex(world.id(0));
    let echo = draft("echo").budgets(|budgets| budgets.messages_per_second = 100).sign();
    world.publish(0, &echo);
    world.publish(0, &plain("other"));
    world.host_mut(0).sandbox = FAST;
    assert!(world.call(0, "echo", &format!("reply; send {myself} again {myself}")).is_ok());
    for _ in 0..10 {
        let before = world.now;
        assert!(world.call(0, "other", "reply").is_ok());
        assert!(world.now.since(before) < Duration::from_millis(1), "nobody else waits for it");
    }
    world.run_for(Duration::from_secs(60));
    let sent = world.host(0).status(&app_of(&echo)).expect("it runs").usage.messages;
    assert!((1_000..1_100).contains(&sent), "ten seconds' worth, and what came back meanwhile: {sent}");
    assert_eq!(world.host(0).failures(), [Failure::Overloaded]);
}

#[test]
fn what_others_ask_of_an_application_is_not_counted_as_its_own_doing() {
    let mut world = World::ring(2, 1);
    world.publish(0, &plain("echo"));
    world.host_mut(0).sandbox = FAST;
    let calls: Vec<u64> = (0..4_000).map(|_| world.start_call(0, "echo", "fuel 100; reply")).collect();
    world.run_for(Duration::from_millis(200));
    let open = calls.iter().filter(|call| world.host(0).answer(**call).is_none()).count();
    assert_eq!(open, 0, "a hundred in a millisecond");
}

#[test]
fn what_is_left_of_a_batch_when_its_slice_is_over_runs_next_once_and_in_order() {
    let mut world = World::ring(3, 1);
    world.publish(0, &plain("echo"));
    world.host_mut(0).slice = 5;
    let calls: Vec<u64> = (0..100).map(|number| world.start_call(0, "echo", &format!("reply {number}"))).collect();
    world.run_for(Duration::from_secs(1));
    for (number, call) in calls.iter().enumerate() {
        assert_eq!(world.host(0).answer(*call), Some(Ok(Bytes::from(number.to_string()))));
    }
    let ran: Vec<String> = world.host(0).handlers().into_iter().filter(|name| name.starts_with("serve")).collect();
    assert_eq!(ran.len(), 100);
}
