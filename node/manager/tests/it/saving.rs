//! Who has installed a package is told so when it will be there after a restart, and not before.

use std::time::Duration;

use prost_kbr::Refusal;
use prost_manager::InstallFailure;

use crate::packages::{app_of, draft, plain};
use crate::world::{Disk, Seen, World};

fn answers(world: &World, request: u64) -> Vec<Seen> {
    let answers = |seen: &&Seen| matches!(seen, Seen::Installed(number, _) if *number == request);
    world.host(0).journal.iter().map(|(_, seen)| seen).filter(answers).cloned().collect()
}

fn saved(world: &World) -> usize {
    world.host(0).seen(|seen| matches!(seen, Seen::Saved(_)))
}

#[test]
fn a_package_is_installed_when_it_is_durable_for_all_who_wait() {
    let mut world = World::ring(1, 1);
    let package = plain("echo");
    let done = |request| vec![Seen::Installed(request, Ok(app_of(&package)))];
    world.host_mut(0).disk = Disk::Works(Duration::from_secs(2));
    let first = world.start_install(0, &package);
    world.run_for(Duration::from_secs(1));
    let second = world.start_install(0, &package);
    world.run_for(Duration::from_millis(500));
    assert!(world.host(0).runs(&app_of(&package)), "it runs before");
    assert_eq!((answers(&world, first), answers(&world, second)), (vec![], vec![]), "it is not durable yet");
    world.run_for(Duration::from_secs(1));
    assert_eq!((answers(&world, first), answers(&world, second)), (done(first), done(second)));
    assert_eq!(world.install(0, &package), Ok(app_of(&package)));
    assert_eq!(saved(&world), 1);
}

#[test]
fn a_package_that_the_store_does_not_take_is_not_installed_and_may_be_given_again() {
    for disk in [Disk::Refuses, Disk::Breaks(Duration::from_millis(20))] {
        let mut world = World::ring(2, 1);
        let package = plain("echo");
        world.host_mut(0).disk = disk;
        assert_eq!(world.install(0, &package), Err(InstallFailure::NotDurable), "{disk:?}");
        assert!(world.host(0).runs(&app_of(&package)));
        assert_eq!(world.install(0, &package), Err(InstallFailure::NotDurable), "{disk:?}");
        world.host_mut(0).disk = Disk::Works(Duration::from_millis(4));
        assert_eq!(world.install(0, &package), Ok(app_of(&package)));
        assert_eq!((saved(&world), world.host(0).compiled()), (3, 1));
    }
}

#[test]
fn a_version_that_is_durable_says_nothing_of_the_next() {
    let mut world = World::ring(3, 1);
    let (one, two) = (plain("echo"), draft("echo").release(2).sign());
    world.host_mut(0).disk = Disk::Works(Duration::from_secs(2));
    let first = world.start_install(0, &one);
    world.run_for(Duration::from_secs(1));
    let second = world.start_install(0, &two);
    world.run_for(Duration::from_millis(1500));
    assert_eq!(answers(&world, first), [Seen::Installed(first, Ok(app_of(&one)))]);
    assert_eq!(answers(&world, second), []);
    world.run_for(Duration::from_secs(2));
    assert_eq!(answers(&world, second), [Seen::Installed(second, Ok(app_of(&two)))]);
    assert_eq!(saved(&world), 2);
}

#[test]
fn an_application_that_is_removed_before_its_package_is_durable_was_not_installed() {
    let mut world = World::ring(4, 1);
    let package = plain("echo");
    world.host_mut(0).disk = Disk::Works(Duration::from_secs(2));
    let request = world.start_install(0, &package);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.remove(0, "echo"), Ok(app_of(&package)));
    world.run_for(Duration::from_secs(5));
    let stopped = InstallFailure::Refused { refusal: Refusal::Leaving, detail: "it was stopped".to_owned() };
    assert_eq!(answers(&world, request), [Seen::Installed(request, Err(stopped))]);
}
