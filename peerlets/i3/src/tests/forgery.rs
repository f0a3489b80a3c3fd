//! What strangers try.

use prost_i3_api::ask::{INSERT, Insert, Inserted};
use prost_i3_api::{Address, Hop, I3Id, Name, Target, Trigger, left_key, left_key_of_stack, right_key};
use prost_peerlet::NodeId;
use prost_peerlet::testing::node_id;

use super::world::{World, host};
use crate::message::{Ask, Copy, Message, Packet, TTL};
use crate::table::MOST_OF_ID;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn nodes() -> (World, [NodeId; 5]) {
    (World::of(&NAMES), NAMES.map(node_id))
}

fn trigger_to(name: &Name, node: NodeId, endpoint: u64) -> Trigger {
    let target =
        Target::Host { address: Address { node, endpoint }, secret: name.secret.expect("a name with a secret") };
    Trigger { id: name.id, prefix_len: 0, target, rate: None }
}

#[test]
fn a_trigger_to_somebody_elses_address_is_never_stored() {
    let (mut world, [a, victim, ..]) = nodes();
    let endpoint = world.open(victim);
    let name = Name::open("flood");
    let (owner, key) = (world.owner(&name.id), Some(name.id.ring_key()));
    let trigger = trigger_to(&name, victim, endpoint);
    // The challenge goes to the victim, which did not ask, and the attacker does not see the nonce.
    world.say(a, owner, key, &Message::Insert { number: 1, trigger: trigger.clone(), nonce: None });
    let challenges: Vec<_> =
        world.seen.iter().filter(|seen| matches!(seen.said, Some(Message::Challenge { .. }))).collect();
    assert!(matches!(&challenges[..], [seen] if seen.to == victim), "{challenges:?}");
    assert_eq!(world.send(a, &[name.id], "flood"), Some(0));
    // Nor does a nonce help that was given for another target.
    let mine = trigger_to(&name, a, 5);
    world.say(a, owner, key, &Message::Insert { number: 2, trigger: mine, nonce: None });
    let nonce = world.seen.iter().rev().find_map(|seen| match seen.said {
        Some(Message::Challenge { number: 2, nonce }) => Some(nonce),
        _ => None,
    });
    assert!(nonce.is_some());
    world.say(a, owner, key, &Message::Insert { number: 3, trigger, nonce });
    assert_eq!(world.send(a, &[name.id], "flood"), Some(0));
    assert_eq!(world.node(victim).peerlet.counts.homeless, 0);
}

#[test]
fn a_trigger_that_satisfies_no_constraint_is_refused_here_and_there() {
    let (mut world, [a, b, ..]) = nodes();
    let endpoint = world.open(a);
    let owned = Name::owned("bank", [7; 16]);
    let guess = Insert { secret: Some([8; 16]), ..host(endpoint, &owned) };
    assert!(world.ask::<_, Inserted>(a, INSERT, &guess).is_err_and(|why| why.contains("constraint")));
    // A node that does not look is told by the one that is responsible.
    let stolen = Trigger {
        target: Target::Host { address: Address { node: a, endpoint }, secret: [8; 16] },
        ..trigger_to(&owned, a, endpoint)
    };
    let owner = world.owner(&owned.id);
    world.say(a, owner, Some(owned.id.ring_key()), &Message::Insert { number: 1, trigger: stolen, nonce: None });
    assert!(world.seen.iter().any(|seen| seen.to == a && matches!(seen.said, Some(Message::Refuse { number: 1, .. }))));
    assert_eq!(world.send(b, &[owned.id], "secret"), Some(0));
}

#[test]
fn two_triggers_that_point_to_each_other_cannot_both_be_inserted() {
    let (mut world, [a, ..]) = nodes();
    let endpoint = world.open(a);
    let insert = |id: I3Id, to: I3Id| Insert { endpoint, id, prefix_len: 0, secret: None, stack: vec![to], rate: None };
    let second = I3Id::of(false, 2, [1; 16], 0);
    for first in [I3Id::of(false, 4, left_key_of_stack(&[second]), 0), I3Id::of(false, 4, right_key(&second), 0)] {
        let there = world.ask::<_, Inserted>(a, INSERT, &insert(first, second));
        let back = world.ask::<_, Inserted>(a, INSERT, &insert(second, first));
        assert!(there.is_ok() != back.is_ok(), "{there:?} {back:?}");
    }
}

#[test]
fn only_who_was_challenged_can_remove() {
    let (mut world, [a, b, c, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    let (owner, key) = (world.owner(&name.id), Some(name.id.ring_key()));
    let trigger = trigger_to(&name, b, endpoint);
    let other = trigger_to(&name, c, 9);
    world.say(c, owner, key, &Message::Insert { number: 2, trigger: other, nonce: None });
    let nonce = world.seen.iter().rev().find_map(|seen| match seen.said {
        Some(Message::Challenge { number: 2, nonce }) => Some(nonce),
        _ => None,
    });
    world.say(c, owner, key, &Message::Remove { trigger, nonce: nonce.expect("it was challenged") });
    world.say(c, owner, None, &Message::Gone { id: name.id, endpoint });
    assert_eq!(world.send(a, &[name.id], "still"), Some(1));
}

#[test]
fn a_copy_comes_from_the_replica_set_itself_or_not_at_all() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let (owner, trigger) = (world.owner(&name.id), trigger_to(&name, b, 1));
    let copy = |trigger: &Trigger| Message::Copies(vec![Copy { trigger: trigger.clone(), holder: b, left_ms: 30_000 }]);
    // A stranger, a member by way of the overlay, and a trigger that is nobody's to insert.
    world.say(node_id("stranger"), owner, None, &copy(&trigger));
    world.say(a, owner, Some(name.id.ring_key()), &copy(&trigger));
    let mut forged = trigger.clone();
    forged.target = Target::Host { address: Address { node: a, endpoint: 1 }, secret: [0; 16] };
    world.say(a, owner, None, &copy(&forged));
    assert_eq!(world.send(a, &[name.id], "nobody"), Some(0));
    world.say(a, owner, None, &copy(&trigger));
    assert_eq!(world.send(a, &[name.id], "a neighbour's word"), Some(1));
}

#[test]
fn a_senders_cache_learns_only_what_it_asked_for() {
    let (mut world, [a, b, c, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    world.say(c, a, None, &Message::Here { number: 1, matched: 1 });
    assert_eq!(world.send(a, &[name.id], "right"), Some(1));
    assert_eq!(world.texts(b, endpoint), ["right"]);
}

#[test]
fn an_address_behind_an_id_is_not_followed_by_nodes() {
    let (mut world, [a, b, ..]) = nodes();
    let endpoint = world.open(b);
    let address = Hop::Host(Address { node: b, endpoint });
    let nobody = Name::open("nobody");
    let packet = |stack: Vec<Hop>| Packet { stack, payload: "x".into(), ttl: TTL, ask: None };
    let owner = world.owner(&nobody.id);
    world.say(a, owner, None, &Message::Packet(packet(vec![Hop::Id(nobody.id), address])));
    assert!(world.received(b, endpoint).is_empty());
    let asked = prost_i3_api::ask::Send { stack: vec![address], payload: "direct".into(), confirm: false };
    world.ask::<_, prost_i3_api::ask::Sent>(a, "send", &asked).expect("it is sent");
    assert_eq!(world.texts(b, endpoint), ["direct"]);
}

#[test]
fn no_id_has_more_triggers_than_one_event_can_fire() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("crowd");
    let (owner, key) = (world.owner(&name.id), Some(name.id.ring_key()));
    // A neighbour shares far too many; what it may not have is dropped.
    for endpoint in 0..3 * MOST_OF_ID as u64 {
        let copy = Copy { trigger: trigger_to(&name, b, endpoint), holder: b, left_ms: 30_000 };
        world.deliver(a, owner, None, prost_peerlet::cbor::encode(&Message::Copies(vec![copy])));
    }
    let ask = Some(Ask { node: a, number: 1 });
    let packet = Packet { stack: vec![Hop::Id(name.id)], payload: "x".into(), ttl: TTL, ask };
    world.deliver(a, owner, key, prost_peerlet::cbor::encode(&Message::Packet(packet)));
    world.settle();
    let said = world.seen.iter().find_map(|seen| match seen.said {
        Some(Message::Here { matched, .. }) => Some(matched),
        _ => None,
    });
    assert_eq!(said, Some(MOST_OF_ID as u32));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let (owner, key) = (world.owner(&name.id), Some(name.id.ring_key()));
    for payload in [&[][..], &[0], &[0x82, 0, 0x80], &[0x9f], &[1], &[1, 9], &[0xff; 40], &[0x82, 11, 0x80]] {
        world.deliver(a, owner, key, payload.to_vec());
    }
    let long = Trigger {
        target: Target::Stack(vec![name.id; 16]),
        id: I3Id::of(true, 3, left_key_of_stack(&[name.id; 16]), 0),
        ..trigger_to(&name, b, 1)
    };
    let at = world.owner(&long.id);
    world.say(a, at, Some(long.id.ring_key()), &Message::Insert { number: 1, trigger: long, nonce: None });
    assert!(world.seen.iter().any(|seen| matches!(seen.said, Some(Message::Refuse { number: 1, .. }))));
    let deep = Packet { stack: vec![Hop::Id(name.id); 16], payload: "x".into(), ttl: TTL, ask: None };
    world.say(a, owner, key, &Message::Packet(deep));
    assert_eq!(world.node(owner).peerlet.counts.unmatched, 0);
    let key_of_other = left_key(&[0; 16]);
    assert_ne!(key_of_other, name.id.key());
}
