//! What is left of an application that policy stops, and of one that the operator removes.

use std::time::Duration;

use prost_kbr::Refusal;
use prost_manager::CallFailure;

use crate::guest::hex;
use crate::packages::{all_but, app_of, plain, policy};
use crate::world::{Disk, Seen, World};

#[test]
fn removal_returns_everything_to_zero() {
    let mut world = World::ring(7, 6);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    let to = hex(world.id(3));
    let dead = world.id(3);
    world.crash(dead);
    world.start_call(0, "echo", &format!("put x; timer 3000 1; watch {to}; reply; send {to} log x"));
    let open = world.start_call(0, "echo", "keep");
    world.run_for(Duration::from_millis(100));
    world.host_mut(0).disk = Disk::Hangs;
    let uncommitted = world.start_call(0, "echo", "put y; reply");
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.remove(0, "echo"), Ok(app.clone()));
    for call in [open, uncommitted] {
        assert_eq!(world.host(0).answer(call), Some(Err(CallFailure::Refused(Refusal::Leaving))));
    }
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::Forgot(app.clone())), 1);
    assert!(world.host(0).node.apps().is_empty());
    assert!(world.host(0).node.stats().executions.is_empty());
    assert_eq!(world.remove(0, "echo"), Err(CallFailure::NotInstalled("echo".to_owned())));

    world.host_mut(0).disk = Disk::Works(Duration::from_millis(4));
    let before = world.host(0).handlers().len();
    world.publish(0, &package);
    world.run_for(Duration::from_secs(30));
    let mut told = world.host(0).handlers().split_off(before);
    told.retain(|name| name != "update");
    assert_eq!(told, ["init"], "no timer and no outcome of the life before");
    let usage = world.host(0).status(&app).expect("it runs").usage;
    assert_eq!((usage.timers, usage.messages, usage.storage_bytes), (0, 0, 0));
}

#[test]
fn what_policy_stops_keeps_its_records_until_the_operator_removes_it() {
    for allowed_again in [true, false] {
        let mut world = World::ring(21, 1);
        let package = plain("echo");
        let app = app_of(&package);
        world.publish(0, &package);
        assert!(world.call(0, "echo", "put x; reply").is_ok());
        world.set_policy(0, all_but("echo"));
        world.run_for(Duration::from_secs(90));
        assert_eq!(world.host(0).status(&app), None);
        assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Forgot(_))), 0);
        assert!(world.host(0).has_record(&app, "x"));
        if allowed_again {
            world.set_policy(0, policy("default = \"allow\"\n"));
            world.publish(0, &package);
            assert_eq!(world.call(0, "echo", "read x"), Ok("true".into()));
        }
        // By its full id, as nothing here runs that would have the name.
        assert_eq!(world.remove(0, &app.to_string()), Ok(app.clone()));
        assert!(!world.host(0).has_record(&app, "x"));
    }
}

#[test]
fn what_is_removed_is_an_applications_and_not_the_rings() {
    let mut world = World::ring(22, 1);
    let shelf = prost_package::piece::shelf(&app_of(&plain("echo"))).expect("a package's id");
    assert_eq!(world.remove(0, &shelf.to_string()), Err(CallFailure::NotInstalled(shelf.to_string())));
    assert_eq!(world.host(0).seen(|seen| matches!(seen, Seen::Forgot(_))), 0);
}
