//! Code comes in pieces from nodes that may lie, stop or die.

use std::time::Duration;

use prost_kbr::{AppId, NodeId, Refusal};
use prost_manager::CallFailure;
use prost_package::{Chunks, Package};
use serde_bytes::ByteBuf;

use crate::guest::hex;
use crate::packages::{app_of, draft};
use crate::world::{Code, Fate, Seen, WALL_MS, World};

const CHUNK: u64 = 64 << 10;
/// Where the code is wanted, and who has it: the first is asked first.
const WANTS: usize = 5;
const FIRST: usize = 0;

/// A ring in which node 0 has the application, with code of 20 chunks, and so has another node.
fn ring(seed: u64) -> (World, AppId, Package) {
    let mut world = World::ring(seed, 12);
    let package = draft("echo").component(&[], 20 * CHUNK as usize).sign();
    world.publish(FIRST, &package);
    world.publish(8, &package);
    (world, app_of(&package), package)
}

/// Has what one node answers to questions for code changed.
fn meddle(world: &mut World, who: usize, mut change: impl FnMut(&Code) -> Fate + 'static) {
    let who = world.id(who);
    world.meddler = Some(Box::new(move |from, _, code| match code {
        Code::Manifest { .. } | Code::Chunk { .. } if from == who => change(code),
        _ => Fate::Arrives,
    }));
}

/// Which chunks were asked for, of whom.
fn chunks_asked(world: &World, at: usize) -> Vec<(NodeId, u64)> {
    let asked = |(_, seen): &(_, Seen)| match seen {
        Seen::Asked(to, Code::GetChunk { offset, .. }) => Some((*to, offset / CHUNK)),
        _ => None,
    };
    world.host(at).journal.iter().filter_map(asked).collect()
}

/// The chunks that the second node was asked for.
fn of_second(world: &World) -> Vec<u64> {
    let second = world.id(8);
    let asked = chunks_asked(world, WANTS).into_iter().filter(|(to, _)| *to == second);
    let mut chunks: Vec<u64> = asked.map(|(_, chunk)| chunk).collect();
    chunks.sort_unstable();
    chunks
}

fn list_of(package: &Package) -> Vec<u8> {
    Chunks::of(&package.component).encode()
}

fn manifests_asked(world: &World, at: usize) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::Asked(_, Code::GetManifest { .. })))
}

/// A message for the application arrives where it is not; it must run there once, with the code of node 8.
fn arrives_from_the_second(mut world: World, app: &AppId, within: Duration) -> World {
    world.route(FIRST, "echo", WANTS, "put x");
    world.run_until(Duration::from_secs(20), |world| world.host(WANTS).has_record(app, "x"));
    assert!(world.host(WANTS).has_record(app, "x"));
    assert_eq!(world.host(WANTS).compiled(), 1, "nothing else reached the compiler");
    let installed = world.host(WANTS).installations();
    assert_eq!(installed[0].peer, Some(world.id(8)));
    assert!(Duration::from_millis(installed[0].millis) < within, "{} ms", installed[0].millis);
    assert!(world.host(FIRST).failures().is_empty());
    world
}

#[test]
fn a_tampered_chunk_is_found_as_it_comes_and_the_next_node_is_asked_for_it_and_what_comes_after_it() {
    let (mut world, app, _) = ring(1);
    meddle(&mut world, FIRST, |code| match code {
        Code::Chunk { request, offset, bytes: Some(bytes) } if *offset == 3 * CHUNK => {
            let mut bytes = bytes.to_vec();
            bytes[7] ^= 1;
            Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: Some(ByteBuf::from(bytes)) })
        }
        _ => Fate::Arrives,
    });
    let world = arrives_from_the_second(world, &app, Duration::from_secs(2));
    assert_eq!(of_second(&world), (3..20).collect::<Vec<u64>>());
}

#[test]
fn a_truncated_chunk_ends_a_source_but_the_good_ones_are_kept() {
    let (mut world, app, _) = ring(2);
    meddle(&mut world, FIRST, |code| match code {
        Code::Chunk { request, offset, bytes: Some(bytes) } if *offset == 12 * CHUNK => {
            let bytes = bytes[..100].to_vec();
            Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: Some(ByteBuf::from(bytes)) })
        }
        _ => Fate::Arrives,
    });
    let world = arrives_from_the_second(world, &app, Duration::from_secs(2));
    assert_eq!(of_second(&world), (12..20).collect::<Vec<u64>>());
}

#[test]
fn a_node_that_falls_silent_is_given_up_and_the_good_chunks_are_kept() {
    let (mut world, app, _) = ring(3);
    meddle(&mut world, FIRST, |code| match code {
        Code::Chunk { offset, .. } if *offset >= 10 * CHUNK => Fate::Lost,
        _ => Fate::Arrives,
    });
    let world = arrives_from_the_second(world, &app, Duration::from_secs(3));
    let (first, second) = (world.id(FIRST), world.id(8));
    let of = |node: NodeId| chunks_asked(&world, WANTS).into_iter().filter(|(to, _)| *to == node).count();
    assert_eq!(of(second), 10);
    assert!(of(first) >= 10);
}

#[test]
fn a_node_that_dies_is_given_up_at_once_and_the_good_chunks_are_kept() {
    let (mut world, app, _) = ring(4);
    world.route(FIRST, "echo", WANTS, "put x");
    assert!(world.run_until(Duration::from_secs(5), |world| chunks_asked(world, WANTS).len() >= 12));
    let dead = world.id(FIRST);
    world.crash(dead);
    world.run_for(Duration::from_secs(1));
    assert!(world.host(WANTS).has_record(&app, "x"), "within a second");
    assert_eq!(world.host(WANTS).compiled(), 1);
    let second = world.id(8);
    let of_second = chunks_asked(&world, WANTS).into_iter().filter(|(to, _)| *to == second).count();
    assert!((1..=16).contains(&of_second), "{of_second}");
}

#[test]
fn who_sends_nothing_but_rubbish_costs_nothing_but_the_first_of_it() {
    let (mut world, app, _) = ring(5);
    meddle(&mut world, FIRST, |code| match code {
        Code::Chunk { request, offset, bytes: Some(bytes) } => {
            let rubbish = ByteBuf::from(vec![0; bytes.len()]);
            Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: Some(rubbish) })
        }
        _ => Fate::Arrives,
    });
    let world = arrives_from_the_second(world, &app, Duration::from_secs(1));
    assert_eq!(of_second(&world), (0..20).collect::<Vec<u64>>());
    assert_eq!(chunks_asked(&world, WANTS).len(), 8 + 20, "what was asked for at once, and nothing more");
}

#[test]
fn a_wrong_manifest_ends_a_source_before_any_chunk_is_asked_for() {
    let (_, _, package) = ring(6);
    let good = package.manifest.bytes().to_vec();
    let mut forged = good.clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let other = draft("other").component(&[], 1000).sign();
    let stranger = draft("echo").provider(2).component(&[], 1000).sign();
    let mut old = draft("echo").component(&[], 1000);
    old.manifest.expires = Some(WALL_MS / 1000 - 1);
    let mut foreign = draft("echo").component(&[], 1000);
    foreign.manifest.world = "prost:peerlet@9.0.0".to_owned();
    let (old, foreign) = (old.sign(), foreign.sign());
    let whole = |package: &Package| (package.manifest.bytes().to_vec(), list_of(package));
    let list = list_of(&package);
    let mut wrong_list = list.clone();
    wrong_list[0] ^= 1;
    let wrong = [
        (forged, list.clone()),
        (good[..good.len() / 2].to_vec(), list.clone()),
        (Vec::new(), list.clone()),
        whole(&other),
        whole(&stranger),
        whole(&old),
        whole(&foreign),
        (good.clone(), wrong_list),
        (good.clone(), list[..list.len() - 32].to_vec()),
        (good.clone(), [&list[..], &[0; 32]].concat()),
        (good.clone(), list[1..].to_vec()),
        (good.clone(), Vec::new()),
    ];
    for (envelope, list) in wrong {
        let (mut world, app, _) = ring(6);
        meddle(&mut world, FIRST, move |code| match code {
            Code::Manifest { request, envelope: Some(_), .. } => {
                let (envelope, chunks) = (ByteBuf::from(envelope.clone()), ByteBuf::from(list.clone()));
                Fate::Says(Code::Manifest { request: *request, envelope: Some(envelope), chunks: Some(chunks) })
            }
            _ => Fate::Arrives,
        });
        let world = arrives_from_the_second(world, &app, Duration::from_secs(2));
        let first = world.id(FIRST);
        assert!(chunks_asked(&world, WANTS).into_iter().all(|(to, _)| to != first));
    }
}

#[test]
fn a_node_with_another_version_gives_that_where_the_first_has_gone() {
    let mut world = World::ring(7, 12);
    let (one, two) =
        (draft("echo").component(&[], 200_000), draft("echo").release(2).component(&[("init", "log 2")], 300_000));
    let app = one.app();
    world.publish(FIRST, &two.sign());
    world.publish(8, &one.sign());
    meddle(&mut world, FIRST, |code| match code {
        Code::Chunk { offset, .. } if *offset >= 2 * CHUNK => Fate::Lost,
        _ => Fate::Arrives,
    });
    let world = arrives_from_the_second(world, &app, Duration::from_secs(3));
    assert_eq!(world.host(WANTS).status(&app).and_then(|status| status.version), Some("1.0.0".to_owned()));
}

#[test]
fn answers_that_were_not_asked_for_change_nothing() {
    let (mut world, app, package) = ring(8);
    world.start_call(WANTS, &app.to_string(), "put x");
    let stranger = world.host(2).peer.id;
    for request in 0..50 {
        for code in [
            Code::Manifest { request, envelope: None, chunks: None },
            Code::Manifest {
                request,
                envelope: Some(ByteBuf::from(vec![1, 2, 3])),
                chunks: Some(ByteBuf::from(vec![0; 64])),
            },
            Code::Chunk { request, offset: 0, bytes: None },
            Code::Chunk { request, offset: u64::MAX, bytes: Some(ByteBuf::from(vec![0; 100])) },
            Code::GetChunk { request, digest: package.manifest.manifest().component.digest, offset: u64::MAX },
        ] {
            let message = prost_kbr::Message::Upper(serde_cbor::to_vec(&code).expect("plain data").into());
            world.give(WANTS, prost_manager::Input::Ring(prost_kbr::Input::Received { from: stranger, message }));
        }
    }
    let rubbish = prost_kbr::Message::Upper(bytes::Bytes::from_static(b"\x1f\xff"));
    world.give(WANTS, prost_manager::Input::Ring(prost_kbr::Input::Received { from: stranger, message: rubbish }));
    world.run_for(Duration::from_secs(5));
    assert!(world.host(WANTS).has_record(&app, "x"));
    assert_eq!(world.host(WANTS).node.stats().bad_code_frames, 1);
}

#[test]
fn with_no_good_source_the_message_is_refused_and_nothing_is_asked_again_for_a_while() {
    let (mut world, app, _) = ring(9);
    world.meddler = Some(Box::new(|_, _, code| match code {
        Code::Chunk { request, offset, bytes: Some(bytes) } => {
            let rubbish = ByteBuf::from(vec![0; bytes.len()]);
            Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: Some(rubbish) })
        }
        _ => Fate::Arrives,
    }));
    let app_name = app.to_string();
    assert_eq!(world.call(WANTS, &app_name, "reply"), Err(CallFailure::Refused(Refusal::BadPackage)));
    assert_eq!(world.host(WANTS).compiled(), 0, "nothing of it reached the compiler");
    let asked = manifests_asked(&world, WANTS);
    assert!((2..=12).contains(&asked), "{asked}");

    world.run_for(Duration::from_secs(8));
    assert_eq!(world.call(WANTS, &app_name, "reply"), Err(CallFailure::Refused(Refusal::BadPackage)));
    assert_eq!(manifests_asked(&world, WANTS), asked, "not yet");
    world.run_for(Duration::from_secs(3));
    world.meddler = None;
    assert!(world.call(WANTS, &app_name, "reply").is_ok());
    assert!(manifests_asked(&world, WANTS) > asked);
}

#[test]
fn an_application_that_nobody_has_is_asked_for_at_a_bounded_number_of_nodes() {
    let mut world = World::ring(10, 24);
    let app = draft("nowhere").app().to_string();
    assert_eq!(world.call(0, &app, "reply"), Err(CallFailure::Refused(Refusal::FetchFailed)));
    let asked = manifests_asked(&world, 0);
    assert!((4..=12).contains(&asked), "{asked}");
}

#[test]
fn many_applications_that_nobody_has_leave_room_for_one_that_somebody_has() {
    let mut world = World::ring(11, 6);
    world.publish(1, &draft("echo").sign());
    for number in 0..400 {
        let app = draft("nowhere").provider(200).app().to_string().replace("nowhere", &format!("n{number}"));
        let _ = world.call(0, &app, "reply");
    }
    assert!(world.host(0).node.apps().len() <= 256);
    assert!(world.call(0, &draft("echo").app().to_string(), "reply").is_ok());
}

#[test]
fn a_node_fetches_only_so_much_at_once() {
    let mut world = World::ring(12, 6);
    world.meddler = Some(Box::new(|_, _, _| Fate::Lost));
    let calls: Vec<u64> =
        (0..9).map(|number| world.start_call(0, &draft(&format!("n{number}")).app().to_string(), "reply")).collect();
    let full = Some(Err(CallFailure::Refused(Refusal::QueueFull)));
    let answers: Vec<bool> = calls.iter().map(|call| world.host(0).answer(*call) == full).collect();
    assert_eq!(answers, [false, false, false, false, false, false, false, false, true]);
    world.run_for(Duration::from_secs(10));
    let failed = Some(Err(CallFailure::Refused(Refusal::FetchFailed)));
    assert!(calls[..8].iter().all(|call| world.host(0).answer(*call) == failed));
}

/// Applications with the same component.
fn twins() -> [Package; 3] {
    ["one", "other", "third"].map(|name| draft(name).component(&[], 200_000).sign())
}

/// Node 0 has all of them, and sends a message of each of these to node 1.
fn send_both(world: &mut World, names: &[&str]) {
    for name in names {
        let key = hex(world.key_of(1));
        world.start_call(0, name, &format!("route {key} put x"));
    }
}

#[test]
fn a_component_that_two_applications_have_comes_once() {
    let (mut world, twins) = (World::ring(20, 8), twins());
    let count = Chunks::of(&twins[0].component).count();
    twins.iter().for_each(|package| world.publish(0, package));
    send_both(&mut world, &["one", "other"]);
    world.run_for(Duration::from_secs(2));
    assert!(twins[..2].iter().all(|package| world.host(1).has_record(&app_of(package), "x")));
    assert_eq!(chunks_asked(&world, 1).len(), count);
    // And not at all where it is here already.
    send_both(&mut world, &["third"]);
    world.run_for(Duration::from_secs(2));
    assert!(world.host(1).has_record(&app_of(&twins[2]), "x"));
    assert_eq!(chunks_asked(&world, 1).len(), count);
    let installed = world.host(1).installations();
    assert!(installed.iter().all(|one| one.peer == Some(world.id(0))));
}

#[test]
fn whoever_waits_for_another_fetch_goes_on_where_that_does_not() {
    let (mut world, twins) = (World::ring(21, 8), twins());
    twins.iter().for_each(|package| world.publish(0, package));
    let mut first = None;
    world.meddler = Some(Box::new(move |_, _, code| match code {
        Code::Chunk { request, .. } if *first.get_or_insert(*request) == *request => Fate::Lost,
        _ => Fate::Arrives,
    }));
    send_both(&mut world, &["one", "other"]);
    world.run_for(Duration::from_secs(4));
    assert!(world.host(1).has_record(&app_of(&twins[1]), "x"));
    world.run_for(Duration::from_secs(10));
    assert!(world.host(1).has_record(&app_of(&twins[0]), "x"), "which waits for the other in its turn");
}
