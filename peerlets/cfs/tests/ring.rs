//! The paper's promises, on a ring of real nodes in virtual time.

mod support;

use core::time::Duration;

use prost_cfs_api::{Caching, GET, Kind, PUT, Refusal};
use prost_package::Budgets;
use prost_peerlet::Id;
use prost_peerlet_ring::{Setup, before};
use support::*;

/// Nodes compare their records each minute; two rounds, and what it takes to notice a death.
const TWO_ROUNDS: Duration = Duration::from_secs(150);
const COPIES: usize = 3;

#[test]
fn blocks_come_back_through_every_node_and_the_application_where_messages_bring_it() {
    let mut ring = grow(Setup { nodes: 12, everywhere: false, ..Setup::new("cfs") });
    let nodes = ring.members();
    // Only the first node has the code: whoever becomes responsible fetches it.
    for number in 0..6 {
        put(&mut ring, nodes[0], Kind::Content, &block(number), HOUR).expect("stored");
        assert_eq!(copies(&ring, &id(number)), COPIES);
    }
    let (root_id, root_block) = root(1, b"one");
    put(&mut ring, nodes[0], Kind::Root, &root_block, HOUR).expect("stored");
    for node in nodes {
        ring.install(node);
        ring.run(Duration::from_secs(1));
        for caching in [Caching::Path, Caching::Replicas, Caching::Off] {
            let found = get_from(&mut ring, node, Kind::Content, id(u64::from(node) % 6), caching).expect("there");
            assert_eq!(found.bytes[..], block(u64::from(node) % 6));
        }
        assert!(get_from(&mut ring, node, Kind::Root, root_id, Caching::Path).is_some());
        assert!(get(&mut ring, node, id(99)).is_none());
    }
    assert!(ring.problems().is_empty(), "{:?}", ring.problems());
}

#[test]
fn no_block_is_lost_when_all_replicas_but_one_die_at_once_and_repair_brings_the_copies_back() {
    let mut ring = small(2);
    fill(&mut ring, 0..60);
    assert!((0..60).all(|number| copies(&ring, &id(number)) == COPIES));
    for node in ring.replicas(key(&id(7)), COPIES - 1) {
        ring.crash(node);
    }
    ring.run(Duration::from_secs(20));
    for number in 0..60 {
        let node = ring.any();
        assert!(get(&mut ring, node, id(number)).is_some(), "block {number}");
    }
    ring.run(TWO_ROUNDS);
    for number in 0..60 {
        assert_eq!(copies(&ring, &id(number)), COPIES, "block {number}");
    }
}

#[test]
fn the_loss_of_a_whole_replica_set_loses_exactly_the_blocks_of_that_set() {
    let mut ring = small(3);
    fill(&mut ring, 0..60);
    let dead = ring.replicas(key(&id(11)), COPIES);
    let lost = |number: &u64| ring.replicas(key(&id(*number)), COPIES).iter().all(|node| dead.contains(node));
    let (lost, left): (Vec<u64>, Vec<u64>) = (0..60).partition(lost);
    assert!(lost.contains(&11));
    dead.iter().for_each(|node| ring.crash(*node));
    ring.run(Duration::from_secs(60));
    for number in left {
        let node = ring.any();
        assert!(get(&mut ring, node, id(number)).is_some(), "block {number}");
    }
    for number in lost {
        let node = ring.any();
        let found = get_from(&mut ring, node, Kind::Content, id(number), Caching::Replicas);
        assert!(found.is_none(), "block {number}");
    }
}

#[test]
fn an_older_root_takes_the_place_of_a_newer_one_on_no_replica_whatever_repair_brings() {
    let mut ring = small(4);
    let (root_id, three) = root(3, b"three");
    let node = ring.any();
    put(&mut ring, node, Kind::Root, &three, 24 * HOUR).expect("stored");
    // The replicas are on one side, and the next ones, which become responsible there, on the other.
    let all = ring.replicas(key(&root_id), 24);
    let (left, right) = (all[0], all[23]);
    let side: Vec<_> = all.iter().copied().take(12).collect();
    ring.cut(&side);
    ring.run(Duration::from_secs(90));
    let (_, five) = root(5, b"five");
    keep_putting(&mut ring, left, Kind::Root, &five).expect("stored on one side");
    ring.run(Duration::from_secs(5));
    // A later write of an older version, by a side that cannot know.
    let (_, four) = root(4, b"four");
    keep_putting(&mut ring, right, Kind::Root, &four).expect("stored on the other");
    ring.heal();
    ring.settle();
    ring.run(TWO_ROUNDS);
    for node in ring.members() {
        let found = get_from(&mut ring, node, Kind::Root, root_id, Caching::Off).expect("there");
        assert!(found.bytes[..] == five[..], "node {node} reads another version");
    }
    assert_eq!(put(&mut ring, right, Kind::Root, &four, HOUR), Err(Refusal::Stale(5)));
    let (_, other) = root(5, b"another five");
    assert_eq!(put(&mut ring, right, Kind::Root, &other, HOUR), Err(Refusal::Conflict));
    // Each replica in turn, as the one that is left.
    for _ in 0..2 {
        ring.crash(ring.owner(key(&root_id)));
        ring.run(TWO_ROUNDS);
        let node = ring.any();
        let found = get_from(&mut ring, node, Kind::Root, root_id, Caching::Off).expect("there");
        assert!(found.bytes[..] == five[..]);
    }
}

#[test]
fn what_expires_is_gone_everywhere_and_what_is_extended_is_not() {
    let mut ring = small(5);
    let node = ring.any();
    for number in 0..2 {
        put(&mut ring, node, Kind::Content, &block(number), 600).expect("stored");
        // Copies in caches have to go too.
        for node in ring.members() {
            assert!(get(&mut ring, node, id(number)).is_some());
        }
    }
    assert!(extend(&mut ring, node, id(1), 2 * HOUR).expect("answered").is_some());
    assert!(extend(&mut ring, node, id(9), HOUR).expect("answered").is_none());
    ring.run(Duration::from_secs(700));
    assert_eq!(copies(&ring, &id(1)), COPIES);
    for node in ring.members() {
        assert!(get(&mut ring, node, id(0)).is_none(), "node {node}");
        assert!(get(&mut ring, node, id(1)).is_some(), "node {node}");
    }
}

#[test]
fn lives_are_right_within_what_clocks_are_wrong() {
    const TTL: u64 = HOUR;
    let mut ring = small(6);
    let members = ring.members();
    // A tenth of the blocks' life, ahead or behind; within the five minutes that nodes bear.
    for (at, node) in members.iter().enumerate() {
        let minutes = [-4, 0, 4][at % 3];
        ring.skew(*node, minutes * 60_000_000, 0);
    }
    ring.run(Duration::from_secs(10));
    for number in 0..10 {
        let node = ring.any();
        put(&mut ring, node, Kind::Content, &block(number), TTL).expect("stored");
    }
    ring.run(Duration::from_secs(TTL - 9 * 60));
    for number in 0..10 {
        let node = ring.any();
        assert!(get(&mut ring, node, id(number)).is_some(), "block {number} went too early");
    }
    ring.run(Duration::from_secs(2 * 9 * 60));
    for number in 0..10 {
        let node = ring.any();
        assert!(get(&mut ring, node, id(number)).is_none(), "block {number} stays");
    }
}

#[test]
fn a_publisher_gets_its_share_of_a_server_and_no_more() {
    let budgets = Budgets { storage_bytes: 8 << 20, ..Budgets::default() };
    let mut ring = grow(Setup { nodes: 6, seed: 7, budgets, ..Setup::new("cfs") });
    let (greedy, other) = (ring.members()[0], ring.members()[1]);
    let owner = ring.owner(key(&id(0)));
    let quota = ring.peek(owner, |_| (8_u64 << 20) / 1000 * 10).expect("it runs");
    let mine: Vec<u64> = (0..2000).filter(|number| ring.owner(key(&id(*number))) == owner).take(20).collect();
    let fits = usize::try_from(quota / (8192 + 128)).expect("small");
    for (at, number) in mine.iter().enumerate() {
        let stored = put(&mut ring, greedy, Kind::Content, &block(*number), HOUR);
        assert_eq!(stored.err(), if at < fits { None } else { Some(Refusal::OverQuota) }, "block {at} of {fits}");
    }
    put(&mut ring, other, Kind::Content, &block(mine[fits]), HOUR).expect("its own share");
}

#[test]
fn a_hot_block_spreads_and_its_replicas_are_asked_less() {
    let mut served = Vec::new();
    for caching in [Caching::Off, Caching::Replicas, Caching::Path] {
        let mut ring = grow(Setup { nodes: 48, seed: 8, ..Setup::new("cfs") });
        put(&mut ring, 0, Kind::Content, &block(1), HOUR).expect("stored");
        let before = ring.members().into_iter().map(|node| ring.usage(node).0).collect::<Vec<_>>();
        for _ in 0..4 {
            for node in ring.members() {
                assert!(get_from(&mut ring, node, Kind::Content, id(1), caching).is_some());
            }
        }
        let hits = holders(&ring, &id(1)).iter().map(|node| replicas_served(&ring, *node)).max().expect("three");
        served.push(hits);
        assert_eq!(ring.members().into_iter().map(|node| ring.usage(node).0).collect::<Vec<_>>(), before);
    }
    let [off, replicas, path] = served[..] else { panic!("three runs") };
    assert!(off > replicas && replicas > path && path < off / 4, "{served:?}");
}

/// Blocks that a node has given out of its replicas.
fn replicas_served(ring: &prost_peerlet_ring::Ring<cfs::Cfs>, node: u32) -> u64 {
    ring.peek(node, cfs::Cfs::served).expect("it runs")
}

#[test]
fn a_joiner_takes_over_exactly_the_keys_of_its_range() {
    let mut ring = small(9);
    fill(&mut ring, 0..80);
    let before = |ring: &prost_peerlet_ring::Ring<cfs::Cfs>| {
        (0..80).map(|number| ring.owner(key(&id(number)))).collect::<Vec<_>>()
    };
    let owners = before(&ring);
    let joiner = ring.join();
    ring.run(Duration::from_secs(5));
    ring.settle();
    ring.run(TWO_ROUNDS);
    for (number, (was, is)) in owners.into_iter().zip(before(&ring)).enumerate() {
        let block = id(number as u64);
        assert!(is == was || is == joiner);
        let mut expected = ring.replicas(key(&block), COPIES);
        expected.sort_by_key(|node| ring.id(*node));
        assert_eq!(holders(&ring, &block), expected, "block {number}");
        assert!(get(&mut ring, joiner, block).is_some());
    }
}

#[test]
fn who_becomes_responsible_in_the_middle_of_it_has_the_block() {
    let mut ring = small(10);
    for number in 0..8 {
        let (node, key) = (ring.any(), key(&id(number)));
        let call = ring.call(node, PUT, &put_body(Kind::Content, &block(number), 24 * HOUR));
        ring.run(Duration::from_millis(30 * number));
        ring.join_as(if number % 2 == 0 { key } else { before(Id { low: key.low ^ 1, ..key }) });
        ring.run(Duration::from_secs(25));
        if !matches!(ring.answer(call).map(|answer| answer.outcome), Some(Ok(_))) {
            keep_putting(&mut ring, node, Kind::Content, &block(number)).expect("stored");
        }
        let node = ring.any();
        assert!(get(&mut ring, node, id(number)).is_some(), "block {number}");
    }
}

#[test]
fn a_root_node_that_dies_at_any_moment_of_an_insertion_loses_nothing_that_was_acknowledged() {
    let mut ring = small(11);
    for number in 0..10 {
        let owner = ring.owner(key(&id(number)));
        let node = ring.members().into_iter().find(|node| *node != owner).expect("others");
        let call = ring.call(node, PUT, &put_body(Kind::Content, &block(number), 24 * HOUR));
        ring.run(Duration::from_millis(15 * number));
        ring.crash(owner);
        ring.run(Duration::from_secs(28));
        let outcome = ring.answer(call).map(|answer| answer.outcome);
        if let Some(Ok(_)) = outcome {
            assert!(get(&mut ring, node, id(number)).is_some(), "block {number} was acknowledged");
        } else {
            keep_putting(&mut ring, node, Kind::Content, &block(number)).expect("stored");
        }
        // Back with an empty disk and another id.
        ring.join();
        ring.run(Duration::from_secs(20));
    }
    ring.run(TWO_ROUNDS);
    for number in 0..10 {
        assert_eq!(copies(&ring, &id(number)), COPIES, "block {number}");
    }
}

#[test]
fn a_network_that_loses_repeats_and_reorders_changes_nothing() {
    let mut ring = small(12);
    ring.network(|network| {
        network.loss = 0.01;
        network.duplicate = 0.1;
        network.extra_delay = Duration::from_millis(80);
    });
    fill(&mut ring, 0..40);
    for version in 1..6 {
        let node = ring.any();
        let (root_id, bytes) = root(version, b"x");
        keep_putting(&mut ring, node, Kind::Root, &bytes).expect("stored");
        let node = ring.any();
        let found = get_from(&mut ring, node, Kind::Root, root_id, Caching::Off).expect("there");
        assert!(found.bytes[..] == bytes[..]);
    }
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let node = ring.any();
            (number, ring.call(node, GET, &get_body(Kind::Content, id(number), Caching::Path)))
        })
        .collect();
    ring.run(Duration::from_secs(15));
    for (number, call) in calls {
        let answer = ring.answer(call).expect("answered").outcome.expect("well");
        assert!(found(Kind::Content, &id(number), &answer).is_some());
    }
}

#[test]
fn a_partition_of_half_a_minute_loses_nothing_that_was_acknowledged() {
    let mut ring = small(13);
    fill(&mut ring, 0..20);
    let side: Vec<_> = ring.members().into_iter().take(8).collect();
    ring.cut(&side);
    let mut acknowledged: Vec<u64> = (0..20).collect();
    for number in 20..32 {
        let node = ring.any();
        if put(&mut ring, node, Kind::Content, &block(number), 24 * HOUR).is_ok() {
            acknowledged.push(number);
        }
    }
    ring.run(Duration::from_secs(30));
    ring.heal();
    ring.settle();
    ring.run(TWO_ROUNDS);
    for number in acknowledged {
        for _ in 0..2 {
            let node = ring.any();
            assert!(get(&mut ring, node, id(number)).is_some(), "block {number}");
        }
        assert_eq!(copies(&ring, &id(number)), COPIES, "block {number}");
    }
}
