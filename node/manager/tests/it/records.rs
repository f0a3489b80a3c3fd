//! What keyed records must not hold up. That they themselves are kept is tested where whole rings have disks, in the
//! simulator.

use std::sync::Arc;
use std::time::Duration;

use prost_kbr::{Input as Ring, Refusal, RingState};
use prost_manager::Input;
use prost_package::Policy;

use crate::packages::{app_of, draft, plain};
use crate::world::World;

fn nothing() -> Arc<Policy> {
    Arc::new(Policy::default_only(false))
}

#[test]
fn a_node_that_leaves_does_so_although_its_policy_comes_to_allow_nothing() {
    let mut world = World::ring(71, 8);
    world.publish(3, &draft("echo").storing().sign());
    world.loses_records = true;
    world.give(3, Input::Ring(Ring::Leave));
    assert_ne!(world.host(3).node.ring().ring_state(), RingState::Left, "it gives its records away first");
    world.set_policy(3, nothing());
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.host(3).node.ring().ring_state(), RingState::Left);
}

#[test]
fn a_message_for_an_application_that_is_denied_does_not_wait_for_the_records_of_its_key() {
    let mut world = World::ring(72, 12);
    world.publish(0, &plain("echo"));
    // Nobody hands over, so that the range does not settle soon.
    world.loses_records = true;
    let dying = world.id(5);
    world.crash(dying);
    let gained = world.run_until(Duration::from_secs(30), |world| world.host(6).node.is_settling());
    assert!(gained, "the range of the dead node came to its successor");
    world.set_policy(6, nothing());
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(6).refusals(Refusal::Denied), 1);
    assert_eq!(world.host(6).refusals(Refusal::Settling), 0);
}

#[test]
fn a_message_waits_for_the_records_of_its_key_and_others_pass_it() {
    let mut world = World::ring(74, 12);
    let package = draft("echo").storing().sign();
    for at in [0, 6, 7] {
        world.publish(at, &package);
    }
    // Nobody hands over, so that the range does not settle soon.
    world.loses_records = true;
    let dying = world.id(5);
    world.crash(dying);
    let gained = world.run_until(Duration::from_secs(30), |world| world.host(6).node.is_settling());
    assert!(gained, "the range of the dead node came to its successor");
    world.route(0, "echo", 5, "put first");
    world.run_for(Duration::from_millis(200));
    world.route(0, "echo", 6, "put second");
    world.run_for(Duration::from_millis(800));
    let has = |world: &World, at: usize, name: &str| world.host(at).has_record(&app_of(&package), name);
    assert!(has(&world, 6, "second") && !has(&world, 6, "first"));
    assert_eq!(world.host(6).refusals(Refusal::Settling), 0);
    // It waits for two seconds, and then it is the next replica's.
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.host(6).refusals(Refusal::Settling), 1);
    assert!(has(&world, 7, "first"));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn an_application_that_the_operator_installs_waits_for_what_others_have_kept_of_its_range() {
    let mut world = World::ring(73, 8);
    // Nobody hands over, so that the wait lasts.
    world.loses_records = true;
    world.publish(3, &draft("echo").storing().sign());
    assert!(world.host(3).node.is_settling());
}
