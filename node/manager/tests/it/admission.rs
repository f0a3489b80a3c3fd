//! What is granted is reserved before any code comes, and no more is promised than there is.

use std::sync::Arc;
use std::time::Duration;

use prost_kbr::Refusal;
use prost_manager::{AppState, CallFailure, Input, InstallFailure, Space};
use prost_package::{Budgets, Package, Policy, Resources};

use crate::packages::{app_of, draft, policy};
use crate::world::{Code, Seen, World};

const MIB: u64 = 1 << 20;

/// Everything may run, as far as the node has room.
fn node(lines: &str) -> Arc<Policy> {
    policy(&format!("default = \"allow\"\n[node]\n{lines}\n"))
}

/// An application with this much memory, of a release.
fn release(name: &str, mib: u64, major: u64) -> crate::packages::Draft {
    draft(name).release(major).budgets(|budgets| budgets.memory_bytes = mib * MIB)
}

fn package(name: &str, mib: u64) -> Package {
    release(name, mib, 1).sign()
}

/// A node of 100 MiB, which one application may have alone.
fn world(seed: u64) -> World {
    let mut world = World::ring(seed, 1);
    world.set_policy(0, node("memory_bytes = \"100MiB\"\n[defaults.budgets]\nmemory_bytes = \"100MiB\""));
    world
}

fn reserved(world: &World, at: usize) -> u64 {
    world.host(at).node.admitted().reserved.memory_bytes / MIB
}

#[track_caller]
fn assert_over_budget(answer: &Result<prost_kbr::AppId, InstallFailure>, resource: &str) {
    let Err(InstallFailure::Refused { refusal: Refusal::OverBudget, detail }) = answer else { panic!("{answer:?}") };
    assert!(detail.contains(resource), "{detail}");
}

#[test]
fn on_a_disk_with_little_room_nothing_new_is_installed_and_what_is_there_goes_on() {
    let mut world = world(2);
    world.publish(0, &package("one", 10));
    for space in [Space::Scarce, Space::Full] {
        world.give(0, Input::SetSpace(space));
        assert_over_budget(&world.install(0, &package("two", 10)), "the disk of this node is nearly full");
        assert!(world.call(0, "one", "reply").is_ok());
    }
    // Another version takes the place of the one that is there.
    assert!(world.install(0, &release("one", 10, 2).sign()).is_ok());
    world.give(0, Input::SetSpace(Space::Enough));
    assert!(world.install(0, &package("two", 10)).is_ok());
}

#[test]
fn each_resource_can_be_what_there_is_too_little_of_and_is_named() {
    for (lines, resource) in [
        ("memory_bytes = \"100MiB\"", "memory_bytes"),
        ("storage_bytes = \"300MiB\"", "storage_bytes"),
        ("fuel_per_second = 3_000_000_000", "fuel_per_second"),
        ("applications = 1", "applications"),
    ] {
        let mut world = World::ring(1, 1);
        world.set_policy(0, node(lines));
        world.publish(0, &package("one", 64));
        assert_over_budget(&world.install(0, &package("two", 64)), resource);
        assert_eq!(world.host(0).refusals(Refusal::OverBudget), 1);
        assert_eq!(world.host(0).compiled(), 1);
        assert!(world.call(0, "one", "reply").is_ok());
    }
}

#[test]
fn what_asks_for_more_than_there_is_gets_what_is_granted_and_no_sum_overflows() {
    let greedy = |name: &str| {
        let most = |budgets: &mut Budgets| {
            (budgets.memory_bytes, budgets.storage_bytes) = (u64::MAX, u64::MAX);
            (budgets.fuel_per_event, budgets.fuel_per_second) = (u64::MAX, u64::MAX);
            (budgets.messages_per_second, budgets.bytes_per_second) = (u64::MAX, u64::MAX);
            (budgets.timers, budgets.queue) = (u32::MAX, u32::MAX);
        };
        draft(name).budgets(most).sign()
    };
    let mut world = World::ring(11, 1);
    world.publish(0, &greedy("one"));
    world.publish(0, &greedy("two"));
    let Resources { memory_bytes, storage_bytes, fuel_per_second, applications } =
        world.host(0).node.admitted().reserved;
    let Budgets { memory_bytes: memory, storage_bytes: storage, fuel_per_second: fuel, .. } = Budgets::default();
    assert_eq!((memory_bytes, storage_bytes, fuel_per_second), (2 * memory, 2 * storage, 2 * fuel));
    assert_eq!(applications, 2);
    // A million timers, of which as many are set as are granted.
    for _ in 0..3 {
        assert!(world.call(0, "one", &("timer 60000 1;".repeat(100) + "reply")).is_ok());
    }
    let usage = world.host(0).node.apps().remove(0).usage;
    assert_eq!((usage.timers, usage.over_budget), (256, 44));

    // The most that can be written into a policy, for one application.
    let most = i64::MAX;
    let all = format!(
        "default = \"allow\"\n[node]\nmemory_bytes = {most}\nstorage_bytes = {most}\nfuel_per_second = {most}\n\
         [defaults.budgets]\nmemory_bytes = {most}\nstorage_bytes = {most}\nfuel_per_second = {most}\n\
         fuel_per_event = {most}\nmessages_per_second = {most}\nbytes_per_second = {most}\n"
    );
    let mut world = World::ring(12, 1);
    world.set_policy(0, policy(&all));
    world.publish(0, &greedy("one"));
    for name in ["two", "three"] {
        assert_over_budget(&world.install(0, &greedy(name)), "memory_bytes");
    }
    assert!(world.call(0, "one", "reply").is_ok());
}

#[test]
fn where_there_is_no_room_no_byte_of_code_is_asked_for_and_the_next_replica_is() {
    let mut world = World::ring(2, 12);
    let echo = package("echo", 64);
    world.publish(0, &echo);
    world.set_policy(5, node("memory_bytes = \"100MiB\""));
    world.publish(5, &package("other", 64));
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    assert!(world.host(6).has_record(&app_of(&echo), "x"));
    let chunks = world.host(5).seen(|seen| matches!(seen, Seen::Asked(_, Code::GetChunk { .. })));
    assert_eq!((chunks, world.host(5).compiled()), (0, 1));
    assert_eq!(world.host(5).refusals(Refusal::OverBudget), 1);
    let named = |seen: &Seen| matches!(seen, Seen::Logged(line) if line.contains("refused (over-budget)") && line.contains("node.memory_bytes"));
    assert_eq!(world.host(5).seen(named), 1);
    let state = world.host(5).status(&app_of(&echo)).map(|status| status.state);
    assert_eq!(state, Some(AppState::Failed(Refusal::OverBudget)));
    assert_eq!(reserved(&world, 5), 64);
}

#[test]
fn a_fetch_has_its_reservation_while_it_goes_on() {
    let mut world = World::ring(3, 6);
    let large = release("large", 64, 1).component(&[], 2_000_000).sign();
    world.publish(1, &large);
    world.set_policy(0, node("memory_bytes = \"100MiB\""));
    let call = world.start_call(0, &app_of(&large).to_string(), "reply");
    assert!(world.run_until(Duration::from_secs(5), |world| world.host(0).asked() > 3));
    assert_eq!(reserved(&world, 0), 64);
    let request = world.start_install(0, &package("small", 64));
    let refused = |seen: &Seen| matches!(seen, Seen::Installed(number, Err(_)) if *number == request);
    assert_eq!(world.host(0).seen(refused), 1, "at once");
    // Less in all ends the fetch.
    world.set_policy(0, node("memory_bytes = \"63MiB\""));
    assert_eq!(reserved(&world, 0), 0);
    assert_eq!(world.host(0).answer(call), Some(Err(CallFailure::Refused(Refusal::OverBudget))));
}

#[test]
fn what_is_gone_or_was_never_started_gives_its_reservation_back() {
    let mut world = world(4);
    let app = app_of(&package("one", 60));
    world.publish(0, &package("one", 60));
    assert_eq!(reserved(&world, 0), 60);
    assert!(world.remove(0, "one").is_ok());
    assert_eq!(reserved(&world, 0), 0);

    let failing = release("failing", 60, 1).component(&[("init", "fail no")], 0).sign();
    let broken = release("broken", 60, 1).bytes(b"no component".as_slice().into()).sign();
    for package in [failing, broken] {
        assert!(world.install(0, &package).is_err());
        assert_eq!(world.host(0).node.admitted().reserved, Resources::default());
    }
    world.publish(0, &package("one", 60));
    let denied = "default = \"allow\"\n[[rule]]\neffect = \"deny\"\nprovider = \"*\"\napplication = \"one\"\n";
    world.set_policy(0, policy(denied));
    assert_eq!((world.host(0).status(&app), reserved(&world, 0)), (None, 0));
}

#[test]
fn an_upgrade_reserves_the_difference_and_gives_back_what_it_no_longer_needs() {
    let mut world = world(5);
    let app = app_of(&package("one", 40));
    world.publish(0, &package("one", 40));
    world.publish(0, &package("two", 30));

    assert_over_budget(&world.install(0, &release("one", 71, 2).sign()), "memory_bytes");
    assert_eq!(world.host(0).status(&app).and_then(|status| status.version), Some("1.0.0".to_owned()));
    assert!(world.call(0, "one", "reply").is_ok(), "what ran runs on");
    assert_eq!(reserved(&world, 0), 70);

    world.publish(0, &release("one", 70, 2).sign());
    assert_eq!(reserved(&world, 0), 100);
    world.start_install(0, &release("one", 10, 3).sign());
    assert_eq!(reserved(&world, 0), 100, "until it runs, the one before it may have to");
    world.run_for(Duration::from_secs(1));
    assert_eq!(reserved(&world, 0), 40);
    assert_eq!(world.host(0).status(&app).map(|status| status.reserved.memory_bytes), Some(10 * MIB));
}

#[test]
fn an_upgrade_that_fails_leaves_the_old_version_with_its_reservation() {
    for mib in [5, 95] {
        let mut world = world(6);
        world.publish(0, &package("one", 50));
        let failing = release("one", mib, 2).component(&[("init", "fail no")], 0).sign();
        world.start_install(0, &failing);
        assert_eq!(reserved(&world, 0), mib.max(50));
        // Nobody else can take what the old version needs.
        world.start_install(0, &package("two", 51));
        world.run_for(Duration::from_secs(5));
        let app = app_of(&failing);
        assert_eq!(world.host(0).status(&app).and_then(|status| status.version), Some("1.0.0".to_owned()));
        assert!(world.call(0, "one", "reply").is_ok());
        assert_eq!(reserved(&world, 0), 50);
    }
}

#[test]
fn where_the_node_has_less_than_before_those_run_on_that_came_first() {
    let mut world = world(7);
    for (name, mib) in [("zebra", 40), ("ant", 30), ("bee", 20), ("cow", 10)] {
        world.publish(0, &package(name, mib));
    }
    let waits = world.start_call(0, "ant", "keep");
    world.run_for(Duration::from_millis(100));
    let compiled = world.host(0).compiled();
    // Room for the first, not for the second; for the third, and not for the fourth as well.
    world.set_policy(0, node("memory_bytes = \"65MiB\""));
    let names: Vec<String> = world.host(0).node.apps().iter().map(|app| app.app.name.to_string()).collect();
    assert_eq!(names, ["bee", "zebra"]);
    assert_eq!(reserved(&world, 0), 60);
    assert_eq!(world.host(0).compiled(), compiled, "what runs on is not started anew");
    assert_eq!(world.host(0).answer(waits), Some(Err(CallFailure::Refused(Refusal::OverBudget))));
    let said = |seen: &Seen| matches!(seen, Seen::Logged(line) if line.starts_with("stopped (over-budget)") && line.contains("node.memory_bytes"));
    assert_eq!(world.host(0).seen(said), 2);
    // It changed nothing for those that run, whichever restarts.
    assert!(world.call(0, "zebra", "reply").is_ok() && world.call(0, "bee", "reply").is_ok());
}

#[test]
fn another_grant_is_reserved_in_place_of_the_one_before() {
    let mut world = world(8);
    world.publish(0, &package("one", 60));
    world.publish(0, &package("two", 40));
    world.set_policy(
        0,
        policy("default = \"allow\"\n[node]\nmemory_bytes = \"100MiB\"\n[defaults.budgets]\nmemory_bytes = \"50MiB\""),
    );
    world.run_for(Duration::from_secs(1));
    assert_eq!(reserved(&world, 0), 90);
    // What has room for one but not for both again stops the one that came last.
    world.set_policy(0, node("memory_bytes = \"99MiB\""));
    world.run_for(Duration::from_secs(1));
    assert_eq!(reserved(&world, 0), 60);
    assert!(world.call(0, "one", "reply").is_ok());
}

#[test]
fn what_starts_again_with_the_node_is_admitted_too() {
    let mut world = world(9);
    world.give(0, Input::Restore(package("one", 60)));
    world.give(0, Input::Restore(package("two", 60)));
    world.give(0, Input::Restore(package("three", 40)));
    world.run_for(Duration::from_secs(1));
    assert!(world.call(0, "one", "reply").is_ok() && world.call(0, "three", "reply").is_ok());
    assert_eq!(world.call(0, "two", "reply"), Err(CallFailure::NotInstalled("two".to_owned())));
    assert_eq!(world.host(0).refusals(Refusal::OverBudget), 1);
    assert_eq!(reserved(&world, 0), 100);
}

#[test]
fn an_application_that_fails_after_it_has_run_keeps_its_place() {
    let mut world = world(10);
    let one = release("one", 60, 1).component(&[("init", "trap-if poison")], 0).sign();
    world.publish(0, &one);
    assert!(world.call(0, "one", "put poison; reply").is_ok());
    assert!(world.call(0, "one", "trap").is_err());
    world.run_for(Duration::from_secs(5));
    let state = world.host(0).status(&app_of(&one)).map(|status| status.state);
    assert_eq!(state, Some(AppState::Failed(Refusal::InitFailed)));
    assert_over_budget(&world.install(0, &package("two", 60)), "memory_bytes");
}
