//! The peerlet on one node: what programs ask, and whom it believes.

use prost_peerlet::cast::Upcalls;
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::testing::{Effect, Node, node_id};
use prost_peerlet::{Dispatch, Id, Message, NodeId};
use prost_scribe_api::{self as api, Access, Group};

use crate::rules::{Rules, key, sign_rules, sign_wish, sign_words};
use crate::{Scribe, members::Members};

fn group(name: &str) -> Group {
    Group { name: name.to_owned(), creator: None }
}

/// What the node routes and sends to itself arrives.
fn settle(node: &mut Node<Scribe>) -> Vec<Effect> {
    let mut rest = Vec::new();
    for _ in 0..20 {
        for effect in node.effects() {
            let me = node.state.id;
            let (id, key, payload) = match effect {
                Effect::Route { id, key, payload, .. } => (id, Some(key), payload),
                Effect::Send { id, to, payload } if to == me => (id, None, payload),
                other => {
                    rest.push(other);
                    continue;
                }
            };
            let dispatch = Dispatch::EndNode;
            let message = Message { id, key, dispatch, origin: me, previous: me, hops: 0, payload };
            node.deliver_message(message).expect("handled");
        }
    }
    rest
}

fn answer(effects: &[Effect], request: u64) -> Option<Result<Vec<u8>, String>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Respond { request: to, outcome } if *to == request => Some(outcome.clone()),
        _ => None,
    })
}

fn ask(node: &mut Node<Scribe>, method: &str, body: &[u8]) -> Result<Vec<u8>, String> {
    let request = node.serve(method, body).map_err(|error| format!("{error:?}"))?;
    let effects = settle(node);
    answer(&effects, request).expect("it is answered")
}

#[test]
fn a_group_on_one_node_works_from_its_creation_to_its_end() {
    let mut node = Node::<Scribe>::new("a");
    let refused = ask(&mut node, api::JOIN, &cbor::encode(&api::Join { group: group("news"), takes_anycast: false }));
    assert_eq!(refused, Err("the group's rules do not allow it".to_owned()), "nobody has created it");

    let create = api::Create { name: "news".to_owned(), join: Access::Anyone, publish: Access::Only(Vec::new()) };
    let created = ask(&mut node, api::CREATE, &cbor::encode(&create)).expect("created");
    let created: api::Created = cbor::decode(&created).expect("well formed");
    assert_eq!(created.key, key("news", node.state.id));

    let joined = ask(&mut node, api::JOIN, &cbor::encode(&api::Join { group: group("news"), takes_anycast: false }));
    let joined: api::Joined = cbor::decode(&joined.expect("joined")).expect("well formed");
    let publish = api::Publish { group: group("news"), data: Bytes::from("hello") };
    ask(&mut node, api::PUBLISH, &cbor::encode(&publish)).expect("published");
    let next = api::Next { subscription: joined.subscription, from: 0 };
    let batch = ask(&mut node, api::NEXT, &cbor::encode(&next)).expect("there is something");
    let batch: prost_peerlet::inbox::Batch = cbor::decode(&batch).expect("well formed");
    let items: Vec<api::Item> = batch.items.iter().map(|item| cbor::decode(item).expect("an item")).collect();
    assert!(matches!(&items[..], [api::Item::Message(message)]
        if message.publisher == node.state.id && *message.data == *b"hello"));

    let leave = api::Leave { group: group("news"), subscription: None };
    let left: api::Left =
        cbor::decode(&ask(&mut node, api::LEAVE, &cbor::encode(&leave)).expect("left")).expect("well");
    assert_eq!(left.ended, 1);
    assert_eq!(node.peerlet.groups(), []);
    assert!(ask(&mut node, api::NEXT, &cbor::encode(&next)).is_err());
}

#[test]
fn a_subscription_that_nobody_reads_is_forgotten_and_its_group_left() {
    let mut node = Node::<Scribe>::new("a");
    let create = api::Create { name: "g".to_owned(), join: Access::Anyone, publish: Access::Anyone };
    ask(&mut node, api::CREATE, &cbor::encode(&create)).expect("created");
    ask(&mut node, api::JOIN, &cbor::encode(&api::Join { group: group("g"), takes_anycast: false })).expect("joined");
    assert_eq!(node.peerlet.groups().len(), 1);
    node.run(core::time::Duration::from_secs(90));
    assert_eq!(node.peerlet.groups(), []);
}

fn rules(creator: NodeId, join: Access, publish: Access) -> Rules {
    Rules { name: "g".to_owned(), creator, join, publish, time: 1 }
}

#[test]
fn only_who_the_rules_name_may_join_and_publish_and_only_with_its_own_signature() {
    let (creator, friend, other) = (node_id("creator"), node_id("friend"), node_id("other"));
    let sign = |name: &str, sign: &dyn Fn() -> Vec<u8>| Node::<Scribe>::new(name).act(|_| sign());
    let access = || Access::Only(vec![friend]);
    let signed = sign("creator", &|| sign_rules(&rules(creator, access(), access())));
    let group = key("g", creator);
    let mut members = Members::default();
    let mut node = Node::<Scribe>::new("root");

    let wish = |name: &str| sign(name, &|| sign_wish(group));
    let words = |name: &str| sign(name, &|| sign_words(group, 1, Bytes::from("x")));
    let (friends, others) = ((wish("friend"), words("friend")), (wish("other"), words("other")));
    node.act(|_| {
        let rules = Some(signed.as_slice());
        assert!(members.may_join(group, rules, friend, &friends.0));
        assert!(!members.may_join(group, rules, friend, &others.0), "signed by another");
        assert!(!members.may_join(group, rules, other, &others.0), "not named");
        assert!(!members.may_join(group, rules, friend, b"nonsense"));
        assert!(!members.may_join(group, None, friend, &friends.0), "no such group");
        assert!(members.may_publish(group, rules, friend, b"", &friends.1));
        assert!(!members.may_publish(group, rules, friend, b"", &others.1));
        assert!(!members.may_publish(group, rules, other, b"", &others.1));
        assert!(!members.may_publish(Id::hash(b"another"), rules, friend, b"", &friends.1), "rules of another group");
        assert!(members.may_create(group, creator, &signed, b""));
        assert!(!members.may_create(group, other, &signed, b""));
        assert!(!members.may_create(key("h", creator), creator, &signed, b""));
    });
    let forged = sign("other", &|| sign_rules(&rules(creator, Access::Anyone, Access::Anyone)));
    node.act(|_| assert!(!Members::default().may_create(group, creator, &forged, b""), "not signed by its creator"));
}
