//! From one version to another: records, order, pins, and providers who contradict themselves.

use std::time::Duration;

use prost_kbr::{AppId, Failure, Refusal};
use prost_manager::{InstallFailure, Source};

use crate::operator::inits;
use crate::packages::{Draft, app_of, draft, policy};
use crate::world::{Code, Fate, Seen, World};

const SECOND: Duration = Duration::from_secs(1);
/// One version alone, and of the others all; one version alone.
const PINNED: &str = "default = \"allow\"\n[[rule]]\neffect = \"allow\"\nprovider = \"*\"\napplication = \"echo\"\n\
                      versions = \"=1.0.0\"\n";

/// Another release, whose code differs from that of all others.
fn release(major: u64) -> Draft {
    draft("echo").release(major).component(&[("init", &format!("put v{major}"))], 0)
}

/// Code that is not that of [`release`], and says that it is the same version.
fn contradiction(major: u64) -> Draft {
    draft("echo").release(major).component(&[("init", "put evil")], 0)
}

fn version(world: &World, at: usize) -> Option<String> {
    world.host(at).status(&release(1).app()).and_then(|status| status.version)
}

fn upgraded(from: &str, to: &str) -> (String, Option<String>) {
    (to.to_owned(), Some(from.to_owned()))
}

fn logged(world: &World, at: usize, words: &str) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::Logged(line) if line.contains(words)))
}

fn manifests_asked(world: &World, at: usize) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::Asked(_, Code::GetManifest { .. })))
}

fn deliveries(world: &World, at: usize) -> usize {
    world.host(at).handlers().iter().filter(|name| name.starts_with("deliver")).count()
}

#[test]
fn an_upgrade_keeps_the_records_and_one_that_fails_leaves_none() {
    let mut world = World::ring(1, 1);
    world.publish(0, &release(1).sign());
    assert!(world.call(0, "echo", "put x; reply").is_ok());
    world.publish(0, &release(2).sign());
    assert_eq!(inits(&world, 0).last(), Some(&upgraded("1.0.0", "2.0.0")));

    let failing = draft("echo").release(3).component(&[("init", "put three; fail no")], 0);
    let trapping = draft("echo").release(4).component(&[("init", "put four; trap")], 0);
    for draft in [failing, trapping] {
        let refused = world.install(0, &draft.sign());
        assert!(matches!(refused, Err(InstallFailure::Refused { refusal: Refusal::InitFailed, .. })), "{refused:?}");
        assert_eq!(version(&world, 0).as_deref(), Some("2.0.0"));
        assert_eq!(inits(&world, 0).last(), Some(&("2.0.0".to_owned(), None)), "back to it is no upgrade");
    }
    for (record, is_there) in [("x", "true"), ("v1", "true"), ("v2", "true"), ("three", "false"), ("four", "false")] {
        assert_eq!(world.call(0, "echo", &format!("read {record}")), Ok(is_there.into()), "{record}");
    }
    world.publish(0, &release(5).sign());
    assert_eq!(inits(&world, 0).last(), Some(&upgraded("2.0.0", "5.0.0")));
    assert_eq!(world.call(0, "echo", "read x"), Ok("true".into()));
}

#[test]
fn a_lower_version_is_refused_unless_the_operator_has_pinned_it() {
    let mut world = World::ring(2, 1);
    world.publish(0, &release(2).sign());
    let older = Err(InstallFailure::Older { installed: "2.0.0".to_owned() });
    assert_eq!(world.install(0, &release(1).sign()), older);
    // A range that holds more than the one version is no pin.
    world.set_policy(0, policy(&PINNED.replace("=1.0.0", ">=1.0.0, <2")));
    assert_eq!(world.install(0, &release(1).sign()), older);
    // Nor is a pin of another.
    world.set_policy(0, policy(&PINNED.replace("=1.0.0", "=1.0.1")));
    assert_eq!(world.install(0, &release(1).sign()), older);
    assert_eq!(world.host(0).compiled(), 1);

    world.set_policy(0, policy(PINNED));
    assert!(world.call(0, "echo", "put x; reply").is_ok());
    world.publish(0, &release(1).sign());
    assert_eq!(inits(&world, 0).last(), Some(&upgraded("2.0.0", "1.0.0")), "it is told what it comes from");
    assert_eq!(world.call(0, "echo", "read x"), Ok("true".into()));
    // The pin is the operator's, and so is the next step.
    world.publish(0, &release(3).sign());
    assert_eq!(version(&world, 0).as_deref(), Some("3.0.0"));
}

#[test]
fn a_lower_sequence_with_a_higher_version_is_lower() {
    let mut world = World::ring(3, 1);
    world.publish(0, &release(2).sign());
    let mut replayed = release(9);
    replayed.manifest.sequence = 1;
    let older = Err(InstallFailure::Older { installed: "2.0.0".to_owned() });
    assert_eq!(world.install(0, &replayed.sign()), older);
    let mut same = release(1);
    same.manifest.sequence = 2;
    assert_eq!(world.install(0, &same.sign()), older, "where the sequence is the same, the version decides");
}

/// A ring in which node 0 runs version 2, and nodes 5 and 7 run version 1.
fn rolling(seed: u64) -> (World, AppId) {
    let mut world = World::ring(seed, 12);
    for at in [0, 5, 7] {
        world.publish(at, &release(1).sign());
        assert!(world.call(at, "echo", "put before; reply").is_ok());
    }
    world.publish(0, &release(2).sign());
    (world, release(1).app())
}

#[test]
fn a_message_of_a_later_version_brings_it_along_and_one_of_an_earlier_does_not() {
    let (mut world, app) = rolling(4);
    // From the earlier version to the later one: that stays.
    world.route(7, "echo", 0, "put one");
    world.run_for(5 * SECOND);
    assert!(world.host(0).has_record(&app, "one"));
    assert_eq!((version(&world, 0).as_deref(), version(&world, 7).as_deref()), (Some("2.0.0"), Some("1.0.0")));
    assert_eq!(world.host(0).compiled(), 2);

    // And from the later to the earlier: it is handled once, and what was there is kept.
    world.route(0, "echo", 5, "put two");
    world.run_for(5 * SECOND);
    assert!(world.host(5).has_record(&app, "two") && world.host(5).has_record(&app, "before"));
    assert_eq!(deliveries(&world, 5), 1);
    assert_eq!(inits(&world, 5), [("1.0.0".to_owned(), None), upgraded("1.0.0", "2.0.0")]);
    let installed = world.host(5).installations();
    assert_eq!(installed.last().map(|last| (last.source, last.peer)), Some((Source::PreviousHop, Some(world.id(0)))));

    // So it goes round: node 5 has it now, and gives it on.
    world.route(5, "echo", 7, "put three");
    world.run_for(5 * SECOND);
    assert_eq!(inits(&world, 7).last(), Some(&upgraded("1.0.0", "2.0.0")));
    assert!((0..12).all(|at| world.host(at).failures().is_empty()));
    let saved = world.host(7).seen(|seen| matches!(seen, Seen::Saved(_)));
    assert_eq!(saved, 2, "it is there after a restart");
}

#[test]
fn messages_are_handled_while_a_later_version_is_on_its_way_or_cannot_be_had() {
    let (mut world, app) = rolling(5);
    let later = world.id(0);
    world.meddler = Some(Box::new(move |from, _, _| if from == later { Fate::Lost } else { Fate::Arrives }));
    let asked = manifests_asked(&world, 5);
    for number in 0..5 {
        world.route(0, "echo", 5, &format!("put m{number}"));
        world.run_for(SECOND);
        assert!(world.host(5).has_record(&app, &format!("m{number}")), "{number}");
    }
    world.run_for(20 * SECOND);
    assert_eq!(version(&world, 5).as_deref(), Some("1.0.0"));
    let more = manifests_asked(&world, 5) - asked;
    assert!((1..=11).contains(&more), "each node is asked once: {more}");
    world.meddler = None;
    world.run_for(40 * SECOND);
    world.route(0, "echo", 5, "put last");
    world.run_for(5 * SECOND);
    assert_eq!(version(&world, 5).as_deref(), Some("2.0.0"), "tried again after a while");
}

#[test]
fn a_later_version_that_does_not_start_is_not_brought_again() {
    let (mut world, app) = rolling(6);
    let failing = draft("echo").release(3).component(&[("init", "fail-if before")], 0);
    world.publish(9, &failing.sign());
    for number in 0..4 {
        world.route(9, "echo", 5, &format!("put m{number}"));
        world.run_for(70 * SECOND);
        assert!(world.host(5).has_record(&app, &format!("m{number}")));
    }
    assert_eq!(version(&world, 5).as_deref(), Some("1.0.0"));
    assert_eq!(world.host(5).compiled(), 3, "the first, the one that failed, and the first again");
}

#[test]
fn a_pinned_version_and_what_the_policy_denies_are_not_replaced_by_a_message() {
    let deny =
        "default = \"allow\"\n[[rule]]\neffect = \"deny\"\nprovider = \"*\"\napplication = \"*\"\nversions = \">=2\"\n";
    for (text, asks) in [(PINNED, false), (deny, true)] {
        let (mut world, app) = rolling(7);
        world.set_policy(5, policy(text));
        let (asked, compiled) = (manifests_asked(&world, 5), world.host(5).compiled());
        world.route(0, "echo", 5, "put x");
        world.run_for(5 * SECOND);
        assert!(world.host(5).has_record(&app, "x"));
        assert_eq!(version(&world, 5).as_deref(), Some("1.0.0"));
        assert_eq!(manifests_asked(&world, 5) > asked, asks);
        let chunks = world.host(5).seen(|seen| matches!(seen, Seen::Asked(_, Code::GetChunk { .. })));
        assert_eq!((chunks, world.host(5).compiled()), (0, compiled), "no code is asked for");
    }
}

#[test]
fn other_code_for_the_installed_version_is_refused_and_reported() {
    let mut world = World::ring(8, 1);
    world.publish(0, &release(1).sign());
    let mut later = contradiction(1);
    later.manifest.sequence = 7;
    for (count, other) in [(1, contradiction(1)), (2, later)] {
        let refused = world.install(0, &other.sign());
        let Err(InstallFailure::Refused { refusal: Refusal::Equivocation, detail }) = refused else {
            panic!("{refused:?}")
        };
        assert!(detail.contains("version 1.0.0"), "{detail}");
        assert_eq!(world.host(0).refusals(Refusal::Equivocation), count);
        assert_eq!(logged(&world, 0, "refused (equivocation)"), count as usize);
    }
    // A pin names a version, and that is not enough to know which code is meant.
    world.set_policy(0, policy(PINNED));
    assert!(world.install(0, &contradiction(1).sign()).is_err());
    assert!(world.call(0, "echo", "reply").is_ok());
    assert_eq!((inits(&world, 0).len(), world.host(0).compiled()), (1, 1));
    // The operator's way out.
    assert!(world.remove(0, "echo").is_ok());
    world.publish(0, &contradiction(1).sign());
}

#[test]
fn a_message_from_other_code_of_the_same_version_is_handled_by_the_code_that_is_here() {
    let mut world = World::ring(9, 12);
    let app = release(1).app();
    world.publish(0, &contradiction(1).sign());
    world.publish(5, &release(1).sign());
    world.route(0, "echo", 5, "put x");
    world.run_for(5 * SECOND);
    assert!(world.host(5).has_record(&app, "x") && !world.host(5).has_record(&app, "evil"));
    assert_eq!(world.host(5).compiled(), 1);
    assert_eq!(world.host(5).refusals(Refusal::Equivocation), 1);
    assert_eq!(logged(&world, 5, "refused (equivocation)"), 1);
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn two_codes_for_one_version_that_meet_on_their_way_are_both_refused() {
    let mut world = World::ring(10, 12);
    let large = |draft: Draft, what: &str| draft.component(&[("init", what)], 200_000).sign();
    let (one, other) = (large(draft("echo"), "put one"), large(draft("echo"), "put other"));
    let app = app_of(&one);
    world.publish(0, &one);
    world.publish(8, &other);
    let origin = world.id(0);
    // The first falls silent, and whoever asks it goes on to the second.
    world.meddler = Some(Box::new(move |from, _, code| match code {
        Code::Chunk { offset, .. } if from == origin && *offset > 0 => Fate::Lost,
        _ => Fate::Arrives,
    }));
    world.route(0, "echo", 5, "put x");
    world.run_for(20 * SECOND);
    let refusing: Vec<usize> = world.places(|host| host.refusals(Refusal::Equivocation) > 0);
    assert!(refusing.contains(&5), "{refusing:?}");
    for at in refusing {
        // Node 8 goes on with what it has.
        assert_eq!(world.host(at).compiled(), usize::from(at == 8));
        assert_eq!(logged(&world, at, "refused (equivocation)"), 1);
    }
    // Nobody runs it who has seen both; the message went on to one who has not, or came back with the reason.
    let reasons = world.host(0).failures();
    let told =
        matches!(&reasons[..], [Failure::NoWillingNode(each)] if each.contains(&(world.id(5), Refusal::Equivocation)));
    assert!(told || world.host(8).has_record(&app, "x"), "{reasons:?}");
}
