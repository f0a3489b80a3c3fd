//! A local program's question is answered once, whatever happens.

use std::time::Duration;

use bytes::Bytes;
use prost_kbr::{Failure, Refusal};
use prost_manager::{CallFailure, Input};

use crate::packages::{draft, plain};
use crate::world::{Seen, World};

#[test]
fn an_answer_an_error_and_a_trap_are_told_apart() {
    let mut world = World::ring(1, 1);
    world.publish(0, &plain("echo"));
    assert_eq!(world.call(0, "echo", "reply hello"), Ok(Bytes::from_static(b"hello")));
    assert_eq!(world.call(0, "echo", "fail no such thing"), Err(CallFailure::Application("no such thing".to_owned())));
    let trapped = world.call(0, "echo", "reply lost; trap");
    assert!(matches!(trapped, Err(CallFailure::Failed(Failure::HandlerFailed(_)))), "{trapped:?}");
    let refused = world.call(0, "echo", "reply lost; fail after all");
    assert_eq!(refused, Err(CallFailure::Application("after all".to_owned())));
}

#[test]
fn a_second_answer_goes_nowhere() {
    let mut world = World::ring(2, 1);
    world.publish(0, &plain("echo"));
    assert_eq!(world.call(0, "echo", "reply one; reply two; push three"), Ok(Bytes::from_static(b"one")));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Pushed(..))), 0);
}

#[test]
fn an_answer_can_come_later_and_items_before_it() {
    let mut world = World::ring(3, 1);
    world.publish(0, &plain("echo"));
    let call = world.start_call(0, "echo", "keep; push one; push two");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(0).answer(call), None);
    assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Pushed(number, _) if *number == call)), 2);
    assert!(world.call(0, "echo", "answer at last; reply").is_ok());
    assert_eq!(world.host(0).answer(call), Some(Ok(Bytes::from_static(b"at last"))));
}

#[test]
fn a_call_that_is_never_answered_ends_at_its_deadline() {
    let mut world = World::ring(4, 1);
    world.publish(0, &plain("echo"));
    let call = world.start_call(0, "echo", "keep");
    world.run_for(Duration::from_secs(29));
    assert_eq!(world.host(0).answer(call), None);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.host(0).answer(call), Some(Err(CallFailure::Failed(Failure::Deadline))));
    // Too late is too late: an answer now is none.
    assert!(world.call(0, "echo", "answer late; reply").is_ok());
}

#[test]
fn calls_end_in_the_order_of_their_deadlines_whatever_their_numbers() {
    let mut world = World::ring(5, 1);
    world.publish(0, &plain("echo"));
    let late = u64::MAX;
    world.expect_call(0, late);
    world.give(0, Input::Call { call: late, app: "nobody".to_owned(), method: String::new(), body: Bytes::new() });
    let first = world.start_call(0, "echo", "keep");
    world.run_for(Duration::from_secs(20));
    let second = world.start_call(0, "echo", "keep");
    world.run_for(Duration::from_secs(11));
    assert!(world.host(0).answer(first).is_some());
    assert_eq!(world.host(0).answer(second), None);
    world.run_for(Duration::from_secs(20));
    assert!(world.host(0).answer(second).is_some());
}

#[test]
fn names_that_fit_no_application_or_several_are_refused() {
    let mut world = World::ring(6, 6);
    assert_eq!(world.call(0, "echo", "reply"), Err(CallFailure::NotInstalled("echo".to_owned())));
    let (one, other) = (draft("echo").sign(), draft("echo").provider(2).sign());
    world.publish(0, &one);
    assert!(world.call(0, "echo", "reply").is_ok());
    world.publish(0, &other);
    assert_eq!(world.call(0, "echo", "reply"), Err(CallFailure::Ambiguous("echo".to_owned())));
    assert!(world.call(0, &draft("echo").provider(2).app().to_string(), "reply").is_ok());
}

#[test]
fn a_full_id_fetches_what_a_neighbour_has() {
    let mut world = World::ring(7, 6);
    world.publish(1, &plain("echo"));
    let app = draft("echo").app();
    assert_eq!(world.call(0, "echo", "reply"), Err(CallFailure::NotInstalled("echo".to_owned())));
    assert_eq!(world.call(0, &app.to_string(), "reply got it"), Ok(Bytes::from_static(b"got it")));
    assert_eq!(world.host(0).installations()[0].peer, Some(world.id(1)));
}

#[test]
fn calls_beyond_the_bounds_are_answered_at_once() {
    let mut world = World::ring(8, 1);
    let package = draft("echo").budgets(|budgets| budgets.queue = 10).sign();
    world.publish(0, &package);
    world.host_mut(0).sandbox = Duration::from_secs(1);
    let calls: Vec<u64> = (0..20).map(|_| world.start_call(0, "echo", "reply")).collect();
    let refused = |world: &World| {
        let answer = |call: &&u64| world.host(0).answer(**call) == Some(Err(CallFailure::Refused(Refusal::QueueFull)));
        calls.iter().filter(answer).count()
    };
    assert_eq!(refused(&world), 9, "one runs and ten wait");
    world.run_for(Duration::from_secs(40));
    assert_eq!(calls.iter().filter(|call| world.host(0).answer(**call) == Some(Ok(Bytes::new()))).count(), 11);

    // More than waits for any application, in one call.
    let call = world.number();
    let method = "x".repeat(17 << 20);
    let (app, body) = (draft("nowhere").app().to_string(), Bytes::new());
    world.expect_call(0, call);
    world.give(0, Input::Call { call, app, method, body });
    assert_eq!(world.host(0).answer(call), Some(Err(CallFailure::Refused(Refusal::QueueFull))));
}

#[test]
fn more_open_calls_than_a_node_takes_are_refused() {
    let mut world = World::ring(9, 1);
    let package = draft("echo").budgets(|budgets| budgets.queue = 8000).sign();
    world.set_policy(0, crate::packages::policy("default = \"allow\"\n[defaults.budgets]\nqueue = 8000\n"));
    world.publish(0, &package);
    let calls: Vec<u64> = (0..4100).map(|_| world.start_call(0, "echo", "keep")).collect();
    world.run_for(Duration::from_secs(60));
    let ended = |why: &Failure| {
        let answer = Some(Err(CallFailure::Failed(why.clone())));
        calls.iter().filter(|call| world.host(0).answer(**call) == answer).count()
    };
    assert_eq!((ended(&Failure::Overloaded), ended(&Failure::Deadline)), (4, 4096));
}

#[test]
fn a_node_that_knows_no_other_does_not_take_an_application_for_one_that_cannot_be_had() {
    let mut world = World::ring(26, 1);
    let app = plain("echo").manifest.manifest().app();
    let answer = world.call(0, &app.to_string(), "reply x");
    assert!(matches!(answer, Err(CallFailure::Refused(Refusal::FetchFailed))), "{answer:?}");
    assert_eq!(world.host(0).status(&app), None, "it would refuse what others want kept here");
}
