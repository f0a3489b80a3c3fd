//! Questions for blocks, and their answers.

use core::time::Duration;

use prost_cfs_api::{Caching, Found, GET, Get, MAX_AVOID, Refusal, decode, encode};
use prost_peerlet::testing::Effect;
use prost_peerlet::{Dispatch, Failure, Id, Message, storage};

use super::*;
use crate::message::{Answer, Lookup, LookupMessage, MAX_PATH, Say};

const BLOCK: &[u8] = b"the block";

fn get(caching: Caching) -> Vec<u8> {
    encode(&Get { kind: Kind::Content, id: BlockId::of(BLOCK), avoid: Vec::new(), caching })
}

fn ask(node: &mut Node<Cfs>, caching: Caching) -> Lookup {
    node.serve(GET, &get(caching)).expect("taken");
    let lookups = lookups(node);
    let [lookup] = &lookups[..] else { panic!("one question: {lookups:?}") };
    lookup.clone()
}

fn lookups(node: &mut Node<Cfs>) -> Vec<Lookup> {
    let routed = |effect| match effect {
        Effect::Route { payload, .. } => match LookupMessage::decode(&payload) {
            Some(LookupMessage::Lookup(lookup)) => Some(lookup),
            _ => None,
        },
        _ => None,
    };
    node.effects().into_iter().filter_map(routed).collect()
}

fn answer(node: &mut Node<Cfs>, lookup: &Lookup, server: &str, say: Say) {
    let answer = Answer {
        number: lookup.number,
        asker: lookup.asker,
        id: lookup.id,
        caching: lookup.caching,
        path: Vec::new(),
        server: node_id(server),
        contacts: 3,
        say,
    };
    node.deliver(node_id(server), &LookupMessage::Answer(answer).encode()).expect("taken");
}

fn say(bytes: &[u8]) -> Say {
    Say::Found { bytes: Bytes::from(bytes), expires_at: 1_800_000_000_000, cached: false }
}

fn outcome(node: &mut Node<Cfs>) -> Option<Result<Option<Found>, Refusal>> {
    let (_, outcome) = node.answers().pop()?;
    Some(match outcome {
        Ok(body) => Ok(decode(&body).expect("as documented")),
        Err(text) => Err(text.parse().expect("a refusal")),
    })
}

type Result<T, E> = core::result::Result<T, E>;

/// A question from "asker" that is about to go on.
fn pass(node: &mut Node<Cfs>, path: Vec<NodeId>, caching: Caching) -> (prost_peerlet::Verdict, Vec<Effect>) {
    let id = BlockId::of(BLOCK);
    let lookup = Lookup {
        number: 7,
        asker: node_id("asker"),
        kind: Kind::Content,
        id,
        caching,
        attempt: 0,
        avoid: Vec::new(),
        path,
    };
    let payload = LookupMessage::Lookup(lookup).encode();
    let message = node.message(node_id("asker"), Some(key_of(&id)), &payload);
    let message = Message { dispatch: Dispatch::PerHop, ..message };
    let verdict = node.forward(message, node_id("next"));
    (verdict, node.effects())
}

fn says(payload: &[u8]) -> Option<Answer> {
    match LookupMessage::decode(payload) {
        Some(LookupMessage::Answer(answer)) => Some(answer),
        _ => None,
    }
}

#[test]
fn a_wrong_answer_is_rejected_and_another_replica_asked() {
    let mut node = Node::<Cfs>::new("a");
    let first = ask(&mut node, Caching::Path);
    answer(&mut node, &first, "liar", say(b"evil bytes"));
    node.run(Duration::from_millis(10));
    let second = lookups(&mut node).pop().expect("asked again");
    assert_eq!((second.number, second.attempt, &second.avoid[..]), (first.number, 1, &[node_id("liar")][..]));
    answer(&mut node, &second, "honest", say(BLOCK));
    let found = outcome(&mut node).expect("answered").expect("well").expect("found");
    assert_eq!((&found.bytes[..], *found.from, found.contacts), (BLOCK, node_id("honest").to_bytes(), 3));
    let status = node.act(|cfs| cfs.status());
    assert_eq!((status.rejected, status.cached_blocks), (1, 1));
}

#[test]
fn liars_alone_end_as_damaged_and_one_denial_is_not_believed() {
    let mut node = Node::<Cfs>::new("a");
    node.serve(GET, &get(Caching::Path)).expect("taken");
    for attempt in 0..6 {
        let asked = lookups(&mut node).pop().unwrap_or_else(|| panic!("no attempt {attempt}"));
        let expected = [Caching::Path, Caching::Path, Caching::Off, Caching::Replicas, Caching::Off, Caching::Replicas];
        assert_eq!(asked.caching, expected[attempt]);
        answer(&mut node, &asked, &format!("liar {attempt}"), say(b"evil"));
        node.run(Duration::from_millis(10));
    }
    assert_eq!(outcome(&mut node), Some(Err(Refusal::Damaged)));

    let asked = ask(&mut node, Caching::Path);
    answer(&mut node, &asked, "liar", Say::NoEntry);
    assert_eq!(outcome(&mut node), None);
    node.run(Duration::from_millis(10));
    let asked = lookups(&mut node).pop().expect("asked again");
    assert_eq!(asked.avoid, [node_id("liar")]);
    answer(&mut node, &asked, "another", Say::NoEntry);
    assert_eq!(outcome(&mut node), Some(Ok(None)));
}

#[test]
fn silence_is_asked_again_and_ends() {
    let mut node = Node::<Cfs>::new("a");
    ask(&mut node, Caching::Path);
    node.run(Duration::from_secs(40));
    let attempts = lookups(&mut node).into_iter().map(|lookup| lookup.attempt).collect::<Vec<_>>();
    assert_eq!(attempts[0], 1);
    assert!(attempts.len() >= 3, "{attempts:?}");
    let mut node = Node::<Cfs>::new("a");
    node.serve(GET, &get(Caching::Off)).expect("taken");
    node.run(Duration::from_secs(40));
    assert_eq!(outcome(&mut node), Some(Err(Refusal::Deadline)));
    node.serve(GET, &get(Caching::Off)).expect("taken");
    let Some(Effect::Route { id, dispatch: Dispatch::EndNode, .. }) = node.effects().pop() else { panic!("asked") };
    node.failed(id, Failure::NoWillingNode);
    assert_eq!(outcome(&mut node), Some(Err(Refusal::NoWillingNode)));
}

#[test]
fn a_question_ends_at_a_replica_and_the_block_goes_back_the_way_it_came() {
    let mut node = Node::<Cfs>::new("a");
    put(&mut node, BLOCK, 3600);
    let (before, first) = (node_id("before"), node_id("first"));
    let (verdict, effects) = pass(&mut node, vec![first, before], Caching::Path);
    assert_eq!(verdict, prost_peerlet::Verdict::Stop);
    let [Effect::Send { id, to, payload }] = &effects[..] else { panic!("one answer: {effects:?}") };
    let sent = says(payload).expect("an answer");
    assert_eq!((*to, sent.asker, &sent.path[..], sent.contacts), (before, node_id("asker"), &[first][..], 2));
    assert!(matches!(&sent.say, Say::Found { bytes, cached: false, .. } if bytes[..] == *BLOCK));
    // Where the node before is gone, the answer finds the asker by its id.
    node.failed(*id, Failure::Unreachable);
    let [Effect::Route { key, payload: again, .. }] = &node.effects()[..] else { panic!("sent again") };
    assert_eq!((*key, again), (node_id("asker"), payload));

    // It passes by a node, which keeps a copy, and has a connection to the asker.
    let mut relay = Node::<Cfs>::with_settings("before", &[]);
    relay.state.round_trips.insert(node_id("asker"), 1000);
    relay.deliver(node_id("a"), payload).expect("taken");
    let [Effect::Send { to, .. }] = &relay.effects()[..] else { panic!("passed on") };
    assert_eq!((*to, relay.peerlet.has_cached(&BlockId::of(BLOCK))), (node_id("asker"), true));
    // And the next question ends there; the node before it gets a copy too.
    let (verdict, effects) = pass(&mut relay, vec![first], Caching::Path);
    assert_eq!(verdict, prost_peerlet::Verdict::Stop);
    let [Effect::Send { to: copied, payload: copy, .. }, Effect::Send { to, payload, .. }] = &effects[..] else {
        panic!("a copy and the answer: {effects:?}")
    };
    assert_eq!((*copied, *to), (first, node_id("asker")));
    assert!(matches!(says(payload).map(|answer| answer.say), Some(Say::Found { cached: true, .. })));
    let mut next = Node::<Cfs>::new("first");
    next.deliver(node_id("before"), copy).expect("taken");
    assert!(next.peerlet.has_cached(&BlockId::of(BLOCK)));
    // Without caching, caches are not asked.
    let (verdict, _) = pass(&mut relay, Vec::new(), Caching::Replicas);
    assert_ne!(verdict, prost_peerlet::Verdict::Stop);
}

#[test]
fn a_relay_keeps_no_bytes_that_are_not_the_block() {
    let mut relay = Node::<Cfs>::new("b");
    let id = BlockId::of(BLOCK);
    let answer = Answer {
        number: 1,
        asker: node_id("asker"),
        id,
        caching: Caching::Path,
        path: vec![],
        server: node_id("s"),
        contacts: 1,
        say: say(b"evil"),
    };
    relay.deliver(node_id("s"), &LookupMessage::Answer(answer).encode()).expect("passed on");
    assert_eq!(relay.act(|cfs| cfs.status().cached_blocks), 0);
}

#[test]
fn the_nearest_replica_is_asked_and_the_next_one_at_the_next_attempt() {
    let mut node = Node::<Cfs>::new("a");
    let key = key_of(&BlockId::of(BLOCK));
    let at = |steps: u32| Id { low: key.low.wrapping_add(steps), ..key };
    node.state.others = (1..=5).map(at).collect();
    node.state.round_trips = [(at(1), 90), (at(2), 10), (at(3), 50), (at(4), 1)].into();
    node.state.elsewhere.insert(key);
    let next = |verdict| match verdict {
        prost_peerlet::Verdict::Rewrite(rewritten) => rewritten.next,
        other => panic!("{other:?}"),
    };
    let (verdict, _) = pass(&mut node, Vec::new(), Caching::Replicas);
    assert_eq!(next(verdict), Some(at(2)));
    // A replica without the block leaves it to the node responsible.
    node.state.id = at(2);
    let (verdict, _) = pass(&mut node, Vec::new(), Caching::Replicas);
    assert_eq!(next(verdict), None);
    // Responsible, but asked not to answer: another replica is.
    let mut root = Node::<Cfs>::new("a");
    root.state.id = at(1);
    root.state.others = (2..=5).map(at).collect();
    let lookup = Lookup {
        number: 7,
        asker: node_id("asker"),
        kind: Kind::Content,
        id: BlockId::of(BLOCK),
        caching: Caching::Off,
        attempt: 1,
        avoid: vec![at(1)],
        path: Vec::new(),
    };
    let payload = LookupMessage::Lookup(lookup).encode();
    root.deliver_routed(key, node_id("asker"), &payload).expect("taken");
    let [Effect::Send { to, payload: passed, .. }] = &root.effects()[..] else { panic!("passed on") };
    assert_eq!((*to, passed), (at(3), &payload));
}

#[test]
fn a_replica_whose_record_is_not_the_block_gives_nothing() {
    let mut node = Node::<Cfs>::new("a");
    let id = BlockId::of(BLOCK);
    node.act(|_| {
        let name = [b"b", &id.0[20..]].concat();
        let value = [&u64::MAX.to_be_bytes(), b"rotten".as_slice()].concat();
        storage::put(storage::Place::At(key_of(&id)), &name, &value, None).expect("written");
    });
    let (verdict, effects) = pass(&mut node, Vec::new(), Caching::Path);
    assert!(matches!(verdict, prost_peerlet::Verdict::Rewrite(_)) && effects.is_empty());
    // A good copy of the block mends it.
    put(&mut node, BLOCK, 60);
    assert!(content(&mut node, BLOCK));
}

#[test]
fn lists_in_messages_are_bounded() {
    let ids = |count: usize| (0..count as u32).map(|low| Id { low, ..Id::ZERO }).collect::<Vec<_>>();
    let with = |avoid, path| {
        let id = BlockId::of(BLOCK);
        let (kind, caching) = (Kind::Content, Caching::Path);
        LookupMessage::Lookup(Lookup { number: 1, asker: Id::ZERO, kind, id, caching, attempt: 0, avoid, path })
            .encode()
    };
    assert!(LookupMessage::decode(&with(ids(MAX_AVOID), ids(MAX_PATH))).is_some());
    assert!(LookupMessage::decode(&with(ids(MAX_AVOID + 1), ids(0))).is_none());
    assert!(LookupMessage::decode(&with(ids(0), ids(MAX_PATH + 1))).is_none());
    let mut node = Node::<Cfs>::new("a");
    let (verdict, _) = pass(&mut node, ids(MAX_PATH), Caching::Path);
    assert_eq!(verdict, prost_peerlet::Verdict::Pass);
}
