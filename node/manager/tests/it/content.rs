//! Code that the ring keeps: it outlives those who ran it, and it is nobody's who may not have it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Point, Version};
use prost_kbr::{AppId, Dispatch, Header, Input as Ring, Key, Message, NodeId};
use prost_manager::{Input, PublishFailure, Published, Source};
use prost_package::piece::{chunk_key, head_key, shelf};
use prost_package::{Chunks, Package, Piece};
use serde_bytes::ByteBuf;

use crate::packages::{all_but, app_of, draft};
use crate::world::{
    Ask, Code, NotStored, Record, RecordFate, RecordFrame, Seen, Tell, WALL_MS, World, write_records as write,
};

const CHUNK: usize = 64 << 10;
/// Where code is wanted.
const WANTS: usize = 8;

/// An application with code of so many chunks, the last one not whole.
fn package(chunks: usize) -> Package {
    draft("echo").component(&[], (chunks - 1) * CHUNK + 1000).sign()
}

fn shelf_of(package: &Package) -> AppId {
    shelf(&app_of(package)).expect("a package's id")
}

/// The keys of its pieces: each chunk's, then the head's.
fn keys(package: &Package) -> Vec<Key> {
    let chunks = Chunks::of(&package.component);
    let mut keys: Vec<Key> = (0..chunks.count()).map(|index| chunk_key(&chunks.value(index).unwrap())).collect();
    keys.push(head_key(&package.manifest.manifest().component.digest));
    keys
}

/// Publishes a package at a node and gives the one answer.
fn publish(world: &mut World, at: usize, package: &Package) -> Result<Published, PublishFailure> {
    let request = world.number();
    world.give(at, Input::Publish { request, package: package.clone() });
    world.run_for(Duration::from_secs(20));
    let mut answers = world.host(at).journal.iter().filter_map(|(_, seen)| match seen {
        Seen::Published(number, result) if *number == request => Some(result.clone()),
        _ => None,
    });
    let answer = answers.next().expect("an answer");
    assert_eq!(answers.next(), None, "one answer");
    answer
}

/// A local program sends a message that names the code, to the node where that is wanted.
fn send(world: &mut World, from: usize, package: &Package, text: &str) {
    let digest = package.manifest.manifest().component.digest;
    let header = Header { app: app_of(package), locator: format!("blake3:{digest}") };
    let (request, key, payload) = (world.number(), world.key_of(WANTS), Bytes::from(text.to_owned()));
    world.give(from, Input::Route { request, header, key, dispatch: Dispatch::EndNode, payload });
}

/// How many live nodes keep each piece.
fn copies(world: &World, package: &Package) -> BTreeMap<Key, usize> {
    let shelf = shelf_of(package);
    let kept: Vec<_> =
        world.hosts.values().filter(|host| host.is_alive()).map(|host| host.shelves.of(&shelf)).collect();
    keys(package).into_iter().map(|key| (key, kept.iter().filter(|kept| kept.contains_key(&key)).count())).collect()
}

fn is_whole(world: &World, package: &Package) -> bool {
    copies(world, package).values().all(|copies| *copies == 3)
}

/// The pieces that a node has asked for, and of whom.
fn pieces_asked(world: &World, at: usize) -> Vec<(NodeId, Key)> {
    let asked = |(_, seen): &(_, Seen)| match seen {
        Seen::Records(to, RecordFrame::Ask { ask: Ask::Records { points, .. }, .. }) => Some((*to, points[0].key)),
        _ => None,
    };
    world.host(at).journal.iter().filter_map(asked).collect()
}

/// The node responsible for a key, by its place.
fn owner(world: &World, key: Key) -> usize {
    let count = world.hosts.len();
    (0..count).min_by_key(|at| key.distance_to(world.id(*at))).expect("nodes")
}

fn has_it_from_the_store(world: &World, at: usize, package: &Package) {
    assert!(world.host(at).has_record(&app_of(package), "x"));
    let installed = world.host(at).installations();
    assert_eq!(installed.len(), 1);
    assert_eq!((installed[0].source, installed[0].peer), (Source::ContentStore, None));
    assert_eq!(world.host(at).compiled(), 1);
}

#[test]
fn published_code_is_installed_from_the_ring_when_all_who_had_it_are_dead() {
    let mut world = World::keeping(1, 16, 64 << 20);
    let package = package(20);
    world.publish(0, &package);
    world.route(0, "echo", 3, "put y");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.places(|host| host.runs(&app_of(&package))), [0, 3]);
    assert_eq!(publish(&mut world, 0, &package), Ok(Published { app: app_of(&package), pieces: 21, copies: 3 }));
    assert!(is_whole(&world, &package), "{:?}", copies(&world, &package));

    let dead = [world.id(0), world.id(3)];
    dead.into_iter().for_each(|id| world.crash(id));
    send(&mut world, 12, &package, "put x");
    world.run_for(Duration::from_secs(15));
    has_it_from_the_store(&world, WANTS, &package);
    // Nobody but the previous hop and the origin was asked before.
    let manifests = |seen: &Seen| matches!(seen, Seen::Asked(_, Code::GetManifest { .. }));
    assert!(world.host(WANTS).seen(manifests) <= 2);
    // Once the ring is repaired, all of it is there as often as before.
    world.run_for(Duration::from_secs(180));
    assert!(is_whole(&world, &package), "{:?}", copies(&world, &package));
}

#[test]
fn a_chunk_that_one_replica_has_wrong_is_found_at_once_and_had_from_the_next() {
    let mut world = World::keeping(2, 12, 64 << 20);
    let package = package(12);
    assert!(publish(&mut world, 0, &package).is_ok());
    let keys = keys(&package);
    let wrong = *keys.iter().find(|key| owner(&world, **key) != WANTS).expect("one of twelve");
    let liar = world.id(owner(&world, wrong));
    world.record_meddler = Some(Box::new(move |from, _, frame| match frame {
        RecordFrame::Tell { request, tell: Tell::Records(records) }
            if from == liar && records.first().is_some_and(|record| record.point.key == wrong) =>
        {
            let mut records = records.clone();
            let value = records[0].value.as_mut().expect("a piece");
            *value.last_mut().expect("bytes") ^= 1;
            RecordFate::Says(RecordFrame::Tell { request: *request, tell: Tell::Records(records) })
        }
        _ => RecordFate::Arrives,
    }));
    send(&mut world, 2, &package, "put x");
    world.run_for(Duration::from_secs(10));
    has_it_from_the_store(&world, WANTS, &package);
    assert_eq!(world.host(WANTS).node.content_stats().bad, 1);
    let asked = pieces_asked(&world, WANTS);
    let of = |key: &Key| asked.iter().filter(|(_, asked)| asked == key).count();
    let (of_wrong, own) = (of(&wrong), |key: &Key| owner(&world, *key) == WANTS);
    assert_eq!(of_wrong, 2, "the liar, and the next");
    assert!(keys.iter().filter(|key| **key != wrong).all(|key| of(key) == usize::from(!own(key))));
    let nodes: std::collections::BTreeSet<NodeId> = asked.iter().map(|(node, _)| *node).collect();
    assert!(nodes.len() >= 4, "the pieces came from many nodes");
}

#[test]
fn a_replica_that_is_silent_costs_no_more_than_its_pieces() {
    let mut world = World::keeping(3, 12, 64 << 20);
    let package = package(12);
    assert!(publish(&mut world, 0, &package).is_ok());
    let chunk = *keys(&package).iter().find(|key| owner(&world, **key) != WANTS).expect("one of twelve");
    let silent = world.id(owner(&world, chunk));
    world.record_meddler = Some(Box::new(move |from, _, frame| match frame {
        RecordFrame::Tell { tell: Tell::Records(_), .. } if from == silent => RecordFate::Lost,
        _ => RecordFate::Arrives,
    }));
    send(&mut world, 2, &package, "put x");
    world.run_for(Duration::from_secs(10));
    has_it_from_the_store(&world, WANTS, &package);
    let asked = pieces_asked(&world, WANTS);
    let twice = |key: &Key| asked.iter().filter(|(_, asked)| asked == key).count() == 2;
    assert!(asked.iter().filter(|(node, _)| *node == silent).all(|(_, key)| twice(key)));
}

#[test]
fn a_node_that_denies_an_application_keeps_none_of_its_code_and_the_next_does_so_instead() {
    let mut world = World::keeping(4, 12, 64 << 20);
    let package = package(12);
    let denier = owner(&world, keys(&package)[0]);
    world.set_policy(denier, all_but("echo"));
    let published = publish(&mut world, (denier + 6) % 12, &package);
    assert_eq!(published.map(|published| published.copies), Ok(3));
    assert!(is_whole(&world, &package), "{:?}", copies(&world, &package));
    assert_eq!(world.host(denier).shelves.count(), 0);

    // Those that keep it in its place keep up the number of copies, and send the denier none of it.
    let id = world.id(denier);
    let after = world.now;
    let dying = world.id((denier + 2) % 12);
    world.crash(dying);
    world.run_for(Duration::from_secs(240));
    assert!(is_whole(&world, &package), "{:?}", copies(&world, &package));
    assert_eq!(world.host(denier).shelves.count(), 0);
    let sent = world.hosts.values().flat_map(|host| host.journal.iter()).filter(|(at, seen)| {
        let store = |frame: &RecordFrame| matches!(frame, RecordFrame::Ask { ask: Ask::Store { .. }, .. });
        *at > after && matches!(seen, Seen::Records(to, frame) if *to == id && store(frame))
    });
    assert_eq!(sent.count(), 0, "it is asked first");
}

#[test]
fn what_policy_comes_to_deny_is_dropped_at_once() {
    let mut world = World::keeping(5, 8, 64 << 20);
    let package = package(8);
    assert!(publish(&mut world, 0, &package).is_ok());
    let keeper = owner(&world, keys(&package)[0]);
    assert!(world.host(keeper).shelves.count() > 0);
    world.set_policy(keeper, all_but("echo"));
    assert_eq!(world.host(keeper).shelves.count(), 0);
    assert_eq!(world.host(keeper).node.content_stats().bytes, 0);
    world.run_for(Duration::from_secs(240));
    assert_eq!(world.host(keeper).shelves.count(), 0, "it does not come back");
    assert!(is_whole(&world, &package), "{:?}", copies(&world, &package));
}

#[test]
fn a_hundred_messages_for_unknown_code_cause_one_fetch() {
    let mut world = World::keeping(6, 12, 64 << 20);
    let package = package(8);
    assert!(publish(&mut world, 0, &package).is_ok());
    for number in 0..100 {
        send(&mut world, 2, &package, &format!("put m{number}"));
    }
    world.run_for(Duration::from_secs(10));
    assert!((0..100).all(|number| world.host(WANTS).has_record(&app_of(&package), &format!("m{number}"))));
    assert_eq!(world.host(WANTS).compiled(), 1);
    let asked = pieces_asked(&world, WANTS);
    let expected = keys(&package).into_iter().filter(|key| owner(&world, *key) != WANTS).count();
    assert_eq!(asked.len(), expected, "each piece once");
}

#[test]
fn a_store_without_room_refuses_and_the_publisher_is_told() {
    for (seed, bytes) in [(7, 0), (8, 200 << 10)] {
        let mut world = World::keeping(seed, 8, bytes);
        assert_eq!(publish(&mut world, 0, &package(40)), Err(PublishFailure::Full), "{bytes}");
        for host in world.hosts.values() {
            let kept: usize = host
                .shelves
                .of(&shelf_of(&package(40)))
                .values()
                .map(|kept| kept.value.as_ref().map_or(0, Bytes::len))
                .sum();
            assert!(kept as u64 <= bytes, "{kept} of {bytes}");
        }
    }
}

#[test]
fn a_full_store_takes_what_it_has_again_and_nothing_else() {
    let package = package(6);
    // What six pieces, their head and their proofs take, and less than one more.
    let mut world = World::keeping(12, 3, 5 * CHUNK as u64 + 30_000);
    assert!(publish(&mut world, 0, &package).is_ok());
    let newest = |world: &World| -> Vec<Version> {
        let kept = world.host(1).shelves.of(&shelf_of(&package));
        kept.values().map(|kept| kept.version).collect()
    };
    let (before, other) = (newest(&world), draft("other").component(&[], CHUNK).sign());
    assert_eq!(publish(&mut world, 0, &other), Err(PublishFailure::Full));
    assert_eq!(publish(&mut world, 0, &package).map(|published| published.copies), Ok(3));
    let after = newest(&world);
    assert!(before.len() == 7 && before.iter().zip(&after).all(|(before, after)| before < after));
}

#[test]
fn a_store_that_is_full_when_it_starts_takes_what_it_has_again() {
    let package = package(6);
    let mut world = World::keeping(15, 3, 64 << 20);
    assert!(publish(&mut world, 0, &package).is_ok());
    world.restart_full(1);
    assert_eq!(publish(&mut world, 0, &package).map(|published| published.copies), Ok(3));

    // Others offer it what it has no room for, and it says no to that alone.
    let later = draft("echo").release(2).component(&[], CHUNK).sign();
    assert_eq!(publish(&mut world, 0, &later).map(|published| published.copies), Ok(2));
    world.run_for(Duration::from_secs(120));
    assert_eq!(publish(&mut world, 0, &package).map(|published| published.copies), Ok(3));
    assert_eq!(world.host(1).shelves.count(), 7);
}

/// A ring in which the node where messages go runs the first version, and the second is wanted: from nodes, or from the
/// store alone.
fn source_of_upgrade(published: bool, at: usize) -> Option<Source> {
    let later = draft("echo").release(2).component(&[], 3 * CHUNK).sign();
    let mut world = World::keeping(14, 16, 64 << 20);
    world.publish(WANTS, &package(2));
    world.publish(at, &later);
    if published {
        assert!(publish(&mut world, at, &later).is_ok());
        world.crash(world.id(at));
        world.run_for(Duration::from_secs(1));
    }
    send(&mut world, 12, &later, "put x");
    world.run_for(Duration::from_secs(10));
    let host = world.host(WANTS);
    assert!(host.has_record(&app_of(&later), "x"));
    assert_eq!(host.status(&app_of(&later)).and_then(|status| status.version).as_deref(), Some("2.0.0"));
    host.installations().last().map(|installed| installed.source)
}

#[test]
fn a_later_version_comes_from_the_store_or_from_neighbours_as_new_code_does() {
    assert_eq!(source_of_upgrade(true, 0), Some(Source::ContentStore));
    assert_eq!(source_of_upgrade(false, WANTS + 1), Some(Source::Overlay));
}

#[test]
fn what_all_replicas_deny_is_not_published() {
    let mut world = World::keeping(9, 8, 64 << 20);
    (0..8).for_each(|at| world.set_policy(at, all_but("echo")));
    assert_eq!(publish(&mut world, 0, &package(3)), Err(PublishFailure::Refused(prost_kbr::Refusal::Denied)));
    let mut old = draft("echo").component(&[], 1000);
    old.manifest.expires = Some(WALL_MS / 1000 - 1);
    assert!(matches!(publish(&mut world, 0, &old.sign()), Err(PublishFailure::BadPackage(_))));
    assert!(world.hosts.values().all(|host| host.shelves.count() == 0));
}

/// Records that a node must not keep on an application's shelf, each with the reason why it says no.
fn wrong_records(world: &World, package: &Package) -> Vec<(AppId, Record, NotStored)> {
    let (chunks, manifest, shelf_id) = (Chunks::of(&package.component), &package.manifest, shelf_of(package));
    let keys = keys(package);
    let ms = WALL_MS + world.now.as_micros() / 1000;
    let record = |key: Key, value: Option<Vec<u8>>| Record {
        point: Point { key, name: b"piece".to_vec() },
        version: Version { at: ms << 16, node: world.id(1) },
        value: value.map(ByteBuf::from),
        expires: None,
    };
    let piece = |index| Piece::chunk(manifest, &chunks, &package.component, index).expect("a chunk").to_vec();
    let good = record(keys[0], Some(piece(0)));
    let other = draft("other").component(&[], 3 * CHUNK).sign();
    let their_chunks = Chunks::of(&other.component);
    let mut forged = piece(0);
    let signature = forged.windows(64).position(|window| manifest.bytes().ends_with(window)).expect("the signature");
    forged[signature + 5] ^= 1;
    let mut tampered = piece(0);
    *tampered.last_mut().expect("bytes") ^= 1;
    let mut named = good.clone();
    named.point.name = b"other".to_vec();
    let mut old = good.clone();
    old.version.at = (ms - 25 * 3600 * 1000) << 16;
    let mut expiring = good.clone();
    expiring.expires = Some(u64::MAX);
    let their_piece = Piece::chunk(&other.manifest, &their_chunks, &other.component, 0).expect("a chunk").to_vec();
    let borrowed = Piece::chunk(manifest, &their_chunks, &other.component, 0).expect("a chunk").to_vec();
    let their_key = chunk_key(&their_chunks.value(0).expect("a chunk"));
    let malformed = |record| (shelf_id.clone(), record, NotStored::Malformed);
    vec![
        malformed(record(keys[0], Some(b"what strangers want to be kept".repeat(100)))),
        malformed(record(keys[0], None)),
        malformed(record(keys[0], Some(forged))),
        malformed(record(keys[0], Some(tampered))),
        malformed(record(keys[0], Some(vec![0; 100 << 10]))),
        malformed(record(keys[1], Some(piece(0)))),
        malformed(named),
        malformed(old),
        malformed(expiring),
        malformed(record(their_key, Some(their_piece))),
        malformed(record(their_key, Some(borrowed))),
    ]
}

#[test]
fn strangers_can_have_nothing_kept_but_pieces_in_their_place() {
    let mut world = World::keeping(10, 4, 64 << 20);
    let package = package(3);
    let from = world.host(1).peer.id;
    let tell = |world: &mut World, app: &AppId, record: &Record, request: u64| {
        let ask = Ask::Store { app: app.clone(), records: vec![record.clone()] };
        let message = Message::Upper(write(&RecordFrame::Ask { request, ask }));
        world.give(0, Input::Ring(Ring::Received { from, message }));
        world.run_for(Duration::from_secs(1));
        let told = world.host(0).journal.iter().rev().find_map(|(_, seen)| match seen {
            Seen::Records(_, RecordFrame::Tell { request: number, tell: Tell::Stored(result) })
                if *number == request =>
            {
                Some(*result)
            }
            _ => None,
        });
        told.expect("an answer")
    };
    for (number, (app, record, why)) in wrong_records(&world, &package).into_iter().enumerate() {
        assert_eq!(tell(&mut world, &app, &record, 900 + number as u64), Err(why), "{number}");
        assert_eq!(world.host(0).shelves.count(), 0, "{number}");
    }
    // The node keeps what is right, and what comes later in its place; nobody can have it deleted.
    let ms = WALL_MS + world.now.as_micros() / 1000;
    let value = Piece::chunk(&package.manifest, &Chunks::of(&package.component), &package.component, 0);
    let mut good = Record {
        point: Point { key: keys(&package)[0], name: b"piece".to_vec() },
        version: Version { at: ms << 16, node: from },
        value: value.map(|value| ByteBuf::from(value.to_vec())),
        expires: None,
    };
    assert_eq!(tell(&mut world, &shelf_of(&package), &good, 990), Ok(()));
    assert_eq!(world.host(0).shelves.count(), 1);
    good.version.at += 1 << 16;
    good.value = None;
    assert_eq!(tell(&mut world, &shelf_of(&package), &good, 991), Err(NotStored::Malformed));
    assert!(world.host(0).shelves.of(&shelf_of(&package)).values().all(|kept| kept.value.is_some()));
}

#[test]
fn code_that_nobody_runs_is_forgotten_after_a_day_and_code_that_somebody_runs_is_not() {
    let mut world = World::keeping(11, 4, 64 << 20);
    let (idle, run) = (draft("idle").component(&[], 2 * CHUNK).sign(), package(2));
    (0..3).for_each(|at| world.publish(at, &run));
    assert!(publish(&mut world, 0, &run).is_ok());
    assert!(publish(&mut world, 0, &idle).is_ok());
    let published =
        |world: &World| -> u64 { world.hosts.values().map(|host| host.node.content_stats().published).sum() };
    world.run_for(Duration::from_secs(20 * 3600));
    assert!(is_whole(&world, &run) && is_whole(&world, &idle), "neither is a day old");
    world.run_for(Duration::from_secs(7 * 3600));
    assert!(copies(&world, &idle).values().all(|copies| *copies == 0));
    assert!(is_whole(&world, &run), "{:?}", copies(&world, &run));
    // In 27 hours two to four times, by one of the three that run it.
    let again = published(&world) - 2;
    assert!((2..=4).contains(&again), "{again}");
}
