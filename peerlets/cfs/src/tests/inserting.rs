//! Which block may take which one's place, and what it costs.

use core::time::Duration;

use prost_cfs_api::{MAX_TTL, PUT, Put, Refusal, Stored, decode, encode};
use prost_peerlet::testing::Effect;
use prost_peerlet::{Id, cbor, storage};

use super::*;

const HOUR: u64 = 3600;

fn stored(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Stored { .. })
}

#[test]
fn a_block_lives_until_it_expires_and_an_extended_one_longer() {
    let mut node = Node::<Cfs>::new("a");
    for bytes in [b"first", b"other"] {
        assert!(matches!(put(&mut node, bytes, HOUR), Verdict::Stored { was_there: false, .. }));
    }
    node.run(Duration::from_secs(HOUR / 2));
    let id = BlockId::of(b"first");
    let extended = accept(&mut node, node_id("p"), Kind::Content, id, None, HOUR);
    assert!(matches!(extended, Verdict::Stored { was_there: true, .. }));
    node.run(Duration::from_secs(HOUR / 2 + 1));
    assert_eq!((content(&mut node, b"first"), content(&mut node, b"other")), (true, false));
    let extended = accept(&mut node, node_id("p"), Kind::Content, BlockId::of(b"other"), None, HOUR);
    assert_eq!(extended, Verdict::NoEntry);
    node.run(Duration::from_secs(HOUR));
    assert_eq!((content(&mut node, b"first"), node.records()), (false, 1), "the ledger's record alone is left");
}

#[test]
fn a_shorter_wish_shortens_nothing() {
    let mut node = Node::<Cfs>::new("a");
    put(&mut node, b"block", 2 * HOUR);
    assert!(stored(accept(&mut node, node_id("q"), Kind::Content, BlockId::of(b"block"), Some(b"block"), 60)));
    assert!(stored(put(&mut node, b"block", 60)));
    node.run(Duration::from_secs(HOUR));
    assert!(content(&mut node, b"block"));
}

#[test]
fn what_does_not_prove_its_id_or_lives_too_long_is_refused() {
    let mut node = Node::<Cfs>::new("a");
    let id = BlockId::of(b"good");
    assert_eq!(accept(&mut node, node_id("p"), Kind::Content, id, Some(b"evil"), HOUR), Verdict::Malformed);
    assert_eq!(put(&mut node, b"block", 0), Verdict::Malformed);
    assert_eq!(put(&mut node, b"block", MAX_TTL + HOUR), Verdict::Malformed);
    assert_eq!(put(&mut node, &vec![0; prost_cfs_api::MAX_BLOCK + 1], HOUR), Verdict::Malformed);
    let (_, block) = root(1, b"x");
    assert_eq!(accept(&mut node, node_id("p"), Kind::Root, id, Some(&block), HOUR), Verdict::Malformed);
    assert_eq!(node.records(), 0);
}

#[test]
fn only_a_strictly_newer_root_takes_the_place_of_one() {
    let mut node = Node::<Cfs>::new("a");
    let mut try_root = |version, payload: &[u8]| {
        let (id, block) = root(version, payload);
        accept(&mut node, node_id("p"), Kind::Root, id, Some(&block), HOUR)
    };
    assert!(stored(try_root(5, b"five")));
    assert_eq!(try_root(4, b"four"), Verdict::Stale { version: 5 });
    assert_eq!(try_root(5, b"another"), Verdict::Conflict);
    assert!(matches!(try_root(5, b"five"), Verdict::Stored { was_there: true, .. }));
    assert!(stored(try_root(6, b"six")));
    assert_eq!(try_root(5, b"five"), Verdict::Stale { version: 6 });
    let (id, six) = root(6, b"six");
    assert_eq!(held(&mut node, Kind::Root, id), Some(six));
}

#[test]
fn an_older_root_does_not_come_back_after_the_newer_one_has_expired() {
    let mut node = Node::<Cfs>::new("a");
    let (id, five) = root(5, b"five");
    accept(&mut node, node_id("p"), Kind::Root, id, Some(&five), HOUR);
    node.run(Duration::from_secs(2 * HOUR));
    assert_eq!(held(&mut node, Kind::Root, id), None);
    let (_, four) = root(4, b"four");
    let verdict = accept(&mut node, node_id("p"), Kind::Root, id, Some(&four), HOUR);
    assert_eq!(verdict, Verdict::Stale { version: 5 });
    assert!(stored(accept(&mut node, node_id("p"), Kind::Root, id, Some(&five), HOUR)));
    assert_eq!(held(&mut node, Kind::Root, id), Some(five));
}

#[test]
fn a_repair_that_brings_an_older_root_later_changes_nothing() {
    let mut old = Node::<Cfs>::new("a");
    let (id, four) = root(4, b"four");
    accept(&mut old, node_id("p"), Kind::Root, id, Some(&four), HOUR);
    let mut node = Node::<Cfs>::new("a");
    let (_, five) = root(5, b"five");
    accept(&mut node, node_id("p"), Kind::Root, id, Some(&five), HOUR);
    // What a comparison does: it writes the record of the other node, whose write is the newer one, under its name.
    let place = storage::Place::At(key_of(&id));
    let copies: Vec<_> = old.act(|_| {
        let names = storage::names(place, b"r", None, 9).expect("here");
        names.into_iter().map(|name| (storage::get(place, &name).expect("here").expect("listed"), name)).collect()
    });
    node.act(|_| copies.iter().for_each(|(value, name)| storage::put(place, name, value, None).expect("written")));
    assert_eq!(held(&mut node, Kind::Root, id), Some(five.clone()));
    let verdict = accept(&mut node, node_id("p"), Kind::Root, id, Some(&four), HOUR);
    assert_eq!(verdict, Verdict::Stale { version: 5 });
    // The next newer one takes away both.
    let (_, six) = root(6, b"six");
    accept(&mut node, node_id("p"), Kind::Root, id, Some(&six), HOUR);
    assert_eq!(node.act(|_| storage::names(place, b"r", None, 9)).map(|names| names.len()), Ok(1));
}

#[test]
fn who_is_not_responsible_does_not_call_a_root_stale() {
    let mut node = Node::<Cfs>::new("a");
    let (id, five) = root(5, b"five");
    accept(&mut node, node_id("p"), Kind::Root, id, Some(&five), HOUR);
    // Somebody is nearer to the key now.
    node.state.others.insert(key_of(&id));
    let (_, four) = root(4, b"four");
    assert_eq!(accept(&mut node, node_id("p"), Kind::Root, id, Some(&four), HOUR), Verdict::Retry);
    node.state.elsewhere.insert(key_of(&id));
    assert_eq!(accept(&mut node, node_id("p"), Kind::Root, id, Some(&four), HOUR), Verdict::Retry);
}

#[test]
fn the_first_byte_beyond_the_quota_is_refused_and_what_expires_gives_room() {
    let mut node = Node::<Cfs>::new("a");
    node.state.storage_bytes = 3_000_000;
    let quota = node.act(|cfs| cfs.quota());
    assert_eq!(quota, 30_000);
    let block = |number: u8, length: usize| vec![number; length];
    for number in 0..3 {
        assert!(stored(put(&mut node, &block(number, 9000), HOUR)));
    }
    let left = usize::try_from(quota - 3 * 9128 - 128).expect("small");
    assert_eq!(put(&mut node, &block(7, left + 1), HOUR), Verdict::OverQuota);
    assert!(stored(put(&mut node, &block(8, left), 2 * HOUR)));
    assert_eq!(put(&mut node, b"", HOUR), Verdict::OverQuota);
    // What is there costs nothing again, and others have their own share.
    assert!(stored(put(&mut node, &block(1, 9000), HOUR)));
    let other = block(7, left + 1);
    assert!(stored(accept(&mut node, node_id("q"), Kind::Content, BlockId::of(&other), Some(&other), HOUR)));
    node.run(Duration::from_secs(HOUR + 700));
    assert!(stored(put(&mut node, &block(2, 9000), HOUR)), "{:?}", node.peerlet.ledger);
    let used = node.peerlet.ledger.used(node_id("p"));
    assert_eq!(used, 9128 + left as u64 + 128);
}

#[test]
fn the_ledger_is_right_again_after_a_restart() {
    let mut node = Node::<Cfs>::new("a");
    for number in 0..200_u8 {
        put(&mut node, &[number; 100], HOUR);
    }
    let used = node.peerlet.ledger.used(node_id("p"));
    assert_eq!(used, 200 * 228);
    node.run(Duration::from_secs(5));
    node.restart().expect("it starts");
    assert_eq!(node.peerlet.ledger.used(node_id("p")), used, "as the last sweep left it");
    put(&mut node, b"one more", HOUR);
    node.run(Duration::from_secs(5));
    assert_eq!(node.peerlet.ledger.used(node_id("p")), used + 136);
}

#[test]
fn a_block_has_so_many_claims_and_whoever_comes_later_may_want_no_more() {
    let mut node = Node::<Cfs>::new("a");
    let id = BlockId::of(b"wanted");
    let mut want = |who: u8, ttl| accept(&mut node, Id::hash(&[who]), Kind::Content, id, Some(b"wanted"), ttl);
    assert!((0..16).all(|who| stored(want(who, HOUR))));
    assert!(stored(want(16, HOUR)));
    assert_eq!(want(16, 2 * HOUR), Verdict::Full);
    assert!(stored(want(3, 2 * HOUR)));
}

#[test]
fn a_claim_is_the_askers_own_and_at_the_blocks_key() {
    let mut node = Node::<Cfs>::new("a");
    let mut asker = Node::<Cfs>::new("b");
    let body = encode(&Put { kind: Kind::Content, bytes: b"block".to_vec().into(), ttl: HOUR });
    let request = asker.serve(PUT, &body).expect("taken");
    let [Effect::Route { key, payload, .. }] = &asker.effects()[..] else { panic!("one question") };
    for (from, key) in [(node_id("c"), *key), (node_id("b"), Id::hash(b"elsewhere"))] {
        node.deliver_routed(key, from, payload).expect("answered");
        assert_eq!(node.records(), 0);
        node.effects();
    }
    node.deliver_routed(*key, node_id("b"), payload).expect("answered");
    assert_eq!(node.records(), 2);
    let [Effect::Route { payload, .. }] = &node.effects()[..] else { panic!("one answer") };
    asker.deliver(node_id("a"), payload).expect("taken");
    let [(answered, Ok(body))] = &asker.answers()[..] else { panic!("one answer") };
    let stored: Stored = decode(body).expect("as documented");
    assert_eq!((*answered, stored.id, stored.was_there), (request, BlockId::of(b"block"), false));
}

#[test]
fn a_program_is_told_what_is_wrong_with_its_request() {
    let mut node = Node::<Cfs>::new("a");
    let put = |kind, bytes: &[u8], ttl| encode(&Put { kind, bytes: bytes.to_vec().into(), ttl });
    let bad = [
        (PUT, b"\xff".to_vec()),
        (PUT, put(Kind::Content, &[0; prost_cfs_api::MAX_BLOCK + 1], 1)),
        (PUT, put(Kind::Content, b"x", 0)),
        (PUT, put(Kind::Root, b"x", 1)),
        ("fly", Vec::new()),
    ];
    for (method, body) in bad {
        node.serve(method, &body).expect("answered");
        let [(_, Err(text))] = &node.answers()[..] else { panic!("one refusal") };
        assert!(matches!(text.parse(), Ok(Refusal::BadRequest(_))), "{text}");
    }
    for payload in [&[][..], &[1, 0], &[2, 0xff], &[3; 40], &cbor::encode(&7_u8)] {
        node.deliver(node_id("b"), payload).expect("passed over");
    }
}
