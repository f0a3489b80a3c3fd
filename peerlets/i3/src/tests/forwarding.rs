//! What becomes of packets: one receiver, many, the nearest, chains, the cache.

use prost_i3_api::ask::{INSERT, Insert, Inserted, LIST, Listed, PRIVATE, Private};
use prost_i3_api::{Hop, I3Id, Name, Rate, left_key, left_key_of_stack};
use prost_peerlet::NodeId;
use prost_peerlet::testing::node_id;

use super::world::{SECOND, World, host};
use crate::message::{Message, Packet, TTL};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn nodes() -> (World, [NodeId; 6]) {
    (World::of(&NAMES), NAMES.map(node_id))
}

#[test]
fn a_packet_reaches_who_listens_and_the_sender_learns_whether_anyone_does() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    assert_eq!(world.send(a, &[name.id], "too early"), Some(0));
    let endpoint = world.listen(b, &name);
    assert_eq!(world.send(a, &[name.id], "hello"), Some(1));
    let received = world.received(b, endpoint);
    assert_eq!(received.len(), 1);
    assert_eq!((received[0].id, &received[0].rest, &received[0].payload[..]), (Some(name.id), &vec![], &b"hello"[..]));
}

#[test]
fn all_receivers_of_an_id_get_one_copy_each() {
    let (mut world, [a, rest @ ..]) = nodes();
    let name = Name::open("group");
    let members: Vec<(NodeId, u64)> =
        (0..20).map(|at| rest[at % rest.len()]).map(|node| (node, world.listen(node, &name))).collect();
    assert_eq!(world.send(a, &[name.id], "to all"), Some(20));
    for (node, endpoint) in members {
        assert_eq!(world.texts(node, endpoint), ["to all"]);
    }
}

#[test]
fn of_different_ids_the_one_with_the_longest_common_prefix_gets_the_packet_alone() {
    let (mut world, [a, b, c, d, ..]) = nodes();
    let service = Name::open("service");
    let at = |suffix: u64| Name { id: service.id.with_suffix(suffix), ..service.clone() };
    let listeners = [(b, 0x1100 << 48), (c, 0x1200 << 48), (d, 0x8000 << 48)];
    let endpoints = listeners.map(|(node, suffix)| (node, world.listen(node, &at(suffix))));
    let mut expected: [Vec<&str>; 3] = Default::default();
    // The last two tie with the first two receivers in their common bits; the bits after the difference decide.
    for (suffix, to, text) in [
        (0x1101 << 48, 0, "near the first"),
        (0x12ff << 48, 1, "near the second"),
        (0x9000 << 48, 2, "near the third"),
        (0x1200 << 48, 1, "exactly the second"),
        (0x1400 << 48, 0, "a tie"),
        (0x1600 << 48, 1, "another tie"),
    ] {
        assert_eq!(world.send(a, &[service.id.with_suffix(suffix)], text), Some(1));
        expected[to].push(text);
    }
    for ((node, endpoint), expected) in endpoints.into_iter().zip(expected) {
        assert_eq!(world.texts(node, endpoint), expected);
    }
}

#[test]
fn a_trigger_can_ask_for_more_bits_than_the_least() {
    let (mut world, [a, b, c, ..]) = nodes();
    let service = Name::open("service");
    let (strict, loose) = (world.open(b), world.open(c));
    for (node, endpoint, suffix, prefix_len) in [(b, strict, 0x1100 << 48, 256), (c, loose, 0xff00 << 48, 0)] {
        let asked = Insert { id: service.id.with_suffix(suffix), prefix_len, ..host(endpoint, &service) };
        world.ask::<_, Inserted>(node, INSERT, &asked).expect("it is taken");
    }
    world.send(a, &[service.id.with_suffix(0x1101 << 48)], "not all bits");
    world.send(a, &[service.id.with_suffix(0x1100 << 48)], "all bits");
    assert_eq!(world.texts(c, loose), ["not all bits"]);
    assert_eq!(world.texts(b, strict), ["all bits"]);
}

#[test]
fn fewer_than_128_common_bits_are_no_match() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    world.listen(b, &name);
    let flipped = |bit: usize| {
        let mut bytes = *name.id.as_bytes();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        I3Id::from_bytes(bytes)
    };
    assert_eq!(world.send(a, &[flipped(127)], "no"), Some(0));
    assert_eq!(world.send(a, &[flipped(128)], "yes"), Some(1));
}

#[test]
fn a_stack_goes_through_services_in_its_order_and_they_see_what_is_left() {
    let (mut world, [a, b, c, d, ..]) = nodes();
    let [first, second, dest] = ["first", "second", "dest"].map(Name::open);
    let services = [(b, first.clone()), (c, second.clone()), (d, dest.clone())];
    let [one, two, end] = services.map(|(node, name)| (node, world.listen(node, &name)));
    world.send(a, &[first.id, second.id, dest.id], "raw");

    let at_first = world.received(one.0, one.1).remove(0);
    assert_eq!(at_first.rest, [Hop::Id(second.id), Hop::Id(dest.id)]);
    let rest: Vec<I3Id> = vec![second.id, dest.id];
    world.send(one.0, &rest, "raw, once");
    let at_second = world.received(two.0, two.1).remove(0);
    assert_eq!((&at_second.payload[..], at_second.rest), (&b"raw, once"[..], vec![Hop::Id(dest.id)]));
    world.send(two.0, &[dest.id], "raw, once, twice");
    assert_eq!(world.texts(end.0, end.1), ["raw, once, twice"]);
}

#[test]
fn an_id_without_a_trigger_is_passed_over() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    assert_eq!(world.send(a, &[Name::open("nobody").id, name.id], "past nobody"), Some(0));
    assert_eq!(world.texts(b, endpoint), ["past nobody"]);
}

#[test]
fn a_receiver_can_put_a_service_in_front_of_itself() {
    let (mut world, [a, b, c, ..]) = nodes();
    let (service, mine) = (Name::open("filter"), Name::open("mine"));
    let at_service = world.listen(b, &service);
    let at_mine = world.listen(c, &mine);
    let stack = vec![service.id, mine.id];
    let id = I3Id::of(true, 77, left_key_of_stack(&stack), 0);
    let asked = Insert { endpoint: at_mine, id, prefix_len: 0, secret: None, stack, rate: None };
    world.ask::<_, Inserted>(c, INSERT, &asked).expect("it is bound to this stack");
    world.send(a, &[id], "for the filter first");
    assert_eq!(world.received(b, at_service)[0].rest, [Hop::Id(mine.id)]);
}

#[test]
fn after_the_first_packet_the_next_go_straight_to_the_node_of_the_trigger() {
    let (mut world, [a, b, ..]) = nodes();
    let name = (0..).map(|at| Name::open(&format!("name {at}"))).find(|name| ![a, b].contains(&world.owner(&name.id)));
    let name = name.expect("most are elsewhere");
    let endpoint = world.listen(b, &name);
    world.send(a, &[name.id], "routed");
    world.seen.clear();
    world.send(a, &[name.id], "straight");
    let owner = world.owner(&name.id);
    let packets: Vec<_> = world.seen.iter().filter(|seen| matches!(seen.said, Some(Message::Packet(_)))).collect();
    assert!(matches!(&packets[..], [seen] if (seen.from, seen.to, seen.key) == (a, owner, None)), "{packets:?}");
    assert_eq!(world.texts(b, endpoint), ["routed", "straight"]);
}

#[test]
fn where_the_cached_node_is_dead_the_packet_is_routed() {
    let (mut world, [a, b, ..]) = nodes();
    let name = (0..).map(|at| Name::open(&format!("name {at}"))).find(|name| ![a, b].contains(&world.owner(&name.id)));
    let name = name.expect("most are elsewhere");
    let endpoint = world.listen(b, &name);
    world.send(a, &[name.id], "routed");
    let owner = world.owner(&name.id);
    world.crash(owner);
    // A copy of the trigger was with the next node.
    world.send(a, &[name.id], "round the dead");
    assert_eq!(world.texts(b, endpoint), ["routed", "round the dead"]);
}

#[test]
fn where_another_has_become_responsible_the_packet_goes_on_and_the_sender_learns_it() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    world.send(a, &[name.id], "before");
    let newcomer = (0..).map(|at| format!("new {at}")).find(|new| {
        let id = node_id(new);
        id >= name.id.ring_key() && id < world.owner(&name.id)
    });
    let newcomer = world.join(&newcomer.expect("some name falls between"));
    assert_eq!(world.owner(&name.id), newcomer);
    world.send(a, &[name.id], "after");
    world.seen.clear();
    world.send(a, &[name.id], "at last");
    let first = world.seen.iter().find(|seen| matches!(seen.said, Some(Message::Packet(_)))).expect("a packet");
    assert_eq!((first.to, first.key), (newcomer, None));
    assert_eq!(world.texts(b, endpoint), ["before", "after", "at last"]);
}

#[test]
fn a_trigger_takes_no_more_than_its_rate() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("slow");
    let endpoint = world.open(b);
    let asked = Insert { rate: Some(Rate { per_second: 2, burst: 3 }), ..host(endpoint, &name) };
    world.ask::<_, Inserted>(b, INSERT, &asked).expect("it is taken");
    (0..10).for_each(|at| assert_eq!(world.send(a, &[name.id], &format!("{at}")), Some(1)));
    assert_eq!(world.texts(b, endpoint), ["0", "1", "2"]);
    world.run(SECOND);
    (0..10).for_each(|at| assert_eq!(world.send(a, &[name.id], &format!("later {at}")), Some(1)));
    assert_eq!(world.texts(b, endpoint).len(), 5);
}

#[test]
fn a_packet_fires_a_bounded_number_of_triggers() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    let owner = world.owner(&name.id);
    for (ttl, arrives) in [(0, 0), (1, 1), (TTL, 2)] {
        let packet = Packet { stack: vec![Hop::Id(name.id)], payload: "x".into(), ttl, ask: None };
        world.say(a, owner, Some(name.id.ring_key()), &Message::Packet(packet));
        assert_eq!(world.received(b, endpoint).len(), arrives);
    }
}

#[test]
fn a_private_id_is_on_the_nearest_of_the_nodes_that_were_measured_or_are_linked() {
    let (mut world, [a, b, ..]) = nodes();
    for (at, node) in NAMES.iter().enumerate().skip(1) {
        world.node(a).state.round_trips.insert(node_id(node), 100_000 - at as u32 * 10_000);
    }
    world.node(a).state.round_trips.insert(b, 5_000);
    let linked: prost_i3_api::ask::Chosen = world.ask(a, PRIVATE, &Private { samples: 0 }).expect("it is linked");
    assert_eq!((linked.node, linked.round_trip, world.owner(&linked.id)), (b, 5_000, b));
    let sampled: prost_i3_api::ask::Chosen = world.ask(a, PRIVATE, &Private { samples: 32 }).expect("they answer");
    assert_eq!(sampled.node, world.owner(&sampled.id));
    assert!(sampled.round_trip <= 5_000, "{sampled:?}: of 32 random ids one is there or here");
    assert!(!sampled.id.is_public() && sampled.id.key() == left_key(&sampled.secret));
}

#[test]
fn a_list_says_what_is_inserted_and_what_is_kept() {
    let (mut world, [_, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    let owner = world.owner(&name.id);
    let own = world.ask::<_, Listed>(b, LIST, &()).expect("a list").own;
    assert_eq!((own.len(), own[0].endpoint, own[0].node), (1, endpoint, Some(owner)));
    let kept = world.ask::<_, Listed>(owner, LIST, &()).expect("a list").kept;
    assert_eq!((kept.len(), kept[0].holder, kept[0].responsible), (1, b, true));
}
