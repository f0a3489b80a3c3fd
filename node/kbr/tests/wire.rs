//! Frames come back as they went, and nothing else is taken for one.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost_kbr::wire::{self, Class, FrameError, MAX_FRAME, MAX_PAYLOAD};
use prost_kbr::{Dispatch, Envelope, Failure, Hop, Id, Listed, Message, Outcome, Part, Peer, Purpose, Refusal, Routed};

fn id() -> impl Strategy<Value = Id> {
    any::<[u8; 20]>().prop_map(Id::from_bytes)
}

fn peer() -> impl Strategy<Value = Peer> {
    let addr = prop_oneof![
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| (ip, port).into()),
        any::<([u16; 8], u16)>().prop_map(|(ip, port)| (ip, port).into()),
    ];
    (id(), addr).prop_map(|(id, addr)| Peer { id, addr })
}

fn peers() -> impl Strategy<Value = Vec<Peer>> {
    vec(peer(), 0..=64)
}

fn refused() -> impl Strategy<Value = Vec<(Id, Refusal)>> {
    vec((id(), proptest::sample::select(&Refusal::ALL)), 0..=64)
}

fn path() -> impl Strategy<Value = Option<Vec<Hop>>> {
    option::of(vec((id(), any::<u32>()).prop_map(|(node, rtt_us)| Hop { node, rtt_us }), 0..=64))
}

fn purpose() -> impl Strategy<Value = Purpose> {
    let app = [Purpose::App(Dispatch::PerHop), Purpose::App(Dispatch::EndNode)];
    proptest::sample::select([&app[..], &[Purpose::Lookup, Purpose::Replicas(3), Purpose::Finger(4)]].concat())
}

fn failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        Just(Failure::Deadline),
        Just(Failure::Unreachable),
        refused().prop_map(Failure::NoWillingNode),
        Just(Failure::TooManyHops),
        Just(Failure::NotDurable),
        "\\PC{0,200}".prop_map(Failure::HandlerFailed),
        Just(Failure::NotJoined),
        Just(Failure::Overloaded),
    ]
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=most).prop_map(Bytes::from)
}

fn routed() -> impl Strategy<Value = Routed> {
    let envelope =
        ((any::<u64>(), peer(), option::of(id()), purpose()), (any::<u8>(), any::<u32>(), refused(), ids(), path()))
            .prop_map(|((id, origin, key, purpose), (hops, remaining_ms, refused, via, path))| Envelope {
                id,
                origin,
                key,
                purpose,
                hops,
                remaining_ms,
                refused,
                via,
                path,
            });
    (envelope, bytes(200), bytes(300)).prop_map(|(envelope, header, payload)| Routed { envelope, header, payload })
}

fn ids() -> impl Strategy<Value = Vec<Id>> {
    vec(id(), 0..=64)
}

fn outcome() -> impl Strategy<Value = Message> {
    let result = prop_oneof![peer().prop_map(Ok), failure().prop_map(Err)];
    let outcome = (any::<u64>(), purpose(), result, peers(), any::<u8>(), path());
    (ids(), peer(), outcome).prop_map(|(via, origin, (id, purpose, result, replicas, hops, path))| Message::Outcome {
        via,
        origin,
        outcome: Outcome { id, purpose, result, replicas, hops, path },
    })
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::Successors), Just(Part::Predecessors), Just(Part::Onward), Just(Part::Both)]
}

fn listed() -> impl Strategy<Value = Vec<Listed>> {
    vec(prop_oneof![any::<u8>().prop_map(Listed::Same), peer().prop_map(Listed::New)], 0..=64)
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<u64>().prop_map(|nonce| Message::Ping { nonce }),
        any::<u64>().prop_map(|nonce| Message::Pong { nonce }),
        (any::<u64>(), part(), any::<u64>()).prop_map(|(request, part, known)| Message::GetNeighbours {
            request,
            part,
            known
        }),
        any::<u64>().prop_map(|request| Message::Unchanged { request }),
        Just(Message::Link),
        Just(Message::Arrived),
        (peer(), any::<u8>()).prop_map(|(peer, hops)| Message::Candidate { peer, hops }),
        (any::<u64>(), id()).prop_map(|(request, key)| Message::GetNext { request, key }),
        (any::<u64>(), any::<bool>(), peers()).prop_map(|(request, mine, next)| Message::Next { request, mine, next }),
        any::<bool>().prop_map(|accepted| Message::Linked { accepted }),
        Just(Message::Unlink),
        any::<u64>().prop_map(|request| Message::GetLinks { request }),
        (any::<u64>(), peers()).prop_map(|(request, links)| Message::Links { request, links }),
        (any::<u64>(), any::<bool>(), peers(), peers()).prop_map(|(request, joined, predecessors, successors)| {
            Message::Neighbours { request, joined, predecessors, successors }
        }),
        (any::<u64>(), any::<u64>(), listed(), listed()).prop_map(|(request, digest, predecessors, successors)| {
            Message::Changes { request, digest, predecessors, successors }
        }),
        (any::<u64>(), id()).prop_map(|(request, key)| Message::FindPredecessor { request, key }),
        (any::<u64>(), peer()).prop_map(|(request, peer)| Message::Predecessor { request, peer }),
        Just(Message::Notify),
        (peers(), peers()).prop_map(|(predecessors, successors)| Message::Leave { predecessors, successors }),
        (any::<u64>(), routed()).prop_map(|(seq, routed)| Message::Route { seq, routed }),
        vec(any::<(u64, u32)>(), 0..=64).prop_map(|runs| Message::Acknowledge { runs }),
        outcome(),
        bytes(300).prop_map(Message::Upper),
    ]
}

/// The frame with its length, and where its payload begins.
fn frame(message: &Message) -> (Bytes, usize) {
    let mut frame = BytesMut::new();
    let payload = wire::encode(message, &mut frame);
    let head = frame.len();
    frame.extend_from_slice(&payload.unwrap_or_default());
    (frame.freeze(), head)
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(message in message()) {
        let (frame, _) = frame(&message);
        prop_assert_eq!(wire::frame_length(&frame), Ok(Some(frame.len() - 4)));
        prop_assert_eq!(wire::decode(frame.slice(4..)), Ok(message));
    }

    #[test]
    fn frames_follow_each_other(messages in vec(message(), 1..5)) {
        let mut stream = BytesMut::new();
        for message in &messages {
            let payload = wire::encode(message, &mut stream);
            stream.extend_from_slice(&payload.unwrap_or_default());
        }
        let mut stream = stream.freeze();
        for message in messages {
            let length = wire::frame_length(&stream).expect("a length").expect("a whole one");
            let frame = stream.split_to(4 + length);
            prop_assert_eq!(wire::decode(frame.slice(4..)), Ok(message));
        }
        prop_assert!(stream.is_empty());
    }

    #[test]
    fn a_truncated_frame_is_refused_at_every_byte(message in message()) {
        let (frame, head) = frame(&message);
        for end in 4..head {
            // An upper layer's frame is nothing but its payload.
            if !matches!(message, Message::Upper(_)) || end == 4 {
                prop_assert!(wire::decode(frame.slice(4..end)).is_err(), "{} of {} bytes", end, frame.len());
            }
        }
    }

    #[test]
    fn bytes_behind_an_item_are_refused(message in message()) {
        if !matches!(message, Message::Route { .. } | Message::Upper(_)) {
            let mut longer = BytesMut::from(&frame(&message).0[4..]);
            longer.extend_from_slice(&[0]);
            prop_assert!(wire::decode(longer.freeze()).is_err());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(kind in 0u8..16, body in vec(any::<u8>(), 0..300)) {
        let mut frame = vec![kind];
        frame.extend(body);
        if let Ok(message) = wire::decode(Bytes::from(frame)) {
            // Whatever is understood can be said again.
            let (again, _) = self::frame(&message);
            prop_assert_eq!(wire::decode(again.slice(4..)), Ok(message));
        }
    }

    #[test]
    fn no_changed_byte_makes_it_panic(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = frame(&message).0[4..].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(message) = wire::decode(Bytes::from(bytes)) {
            let (again, _) = frame(&message);
            prop_assert_eq!(wire::decode(again.slice(4..)), Ok(message));
        }
    }
}

fn some_peer(number: u8) -> Peer {
    Peer { id: Id::hash(&[number]), addr: ([10, 0, 0, number], 4000).into() }
}

fn some_route(payload: Bytes) -> Message {
    let envelope = Envelope {
        id: 7,
        origin: some_peer(1),
        key: Some(Id::hash(b"key")),
        purpose: Purpose::App(Dispatch::EndNode),
        hops: 3,
        remaining_ms: 15_000,
        refused: Vec::new(),
        via: Vec::new(),
        path: None,
    };
    Message::Route { seq: 9, routed: Routed { envelope, header: Bytes::from_static(b"header"), payload } }
}

#[test]
fn a_payload_is_never_copied() {
    let payload = Bytes::from(vec![7; 1000]);
    let mut head = BytesMut::new();
    let written = wire::encode(&some_route(payload.clone()), &mut head).expect("a payload");
    assert_eq!(written.as_ptr(), payload.as_ptr());
    assert!(head.len() < 200, "the head is {} bytes", head.len());

    head.extend_from_slice(&written);
    let frame = head.freeze();
    let Ok(Message::Route { routed, .. }) = wire::decode(frame.slice(4..)) else { panic!("it is a route") };
    assert_eq!(routed.payload.as_ptr(), frame[frame.len() - 1000..].as_ptr());
    assert_eq!(routed.header.as_ptr(), frame[frame.len() - 1006..].as_ptr());
}

#[test]
fn lengths_are_checked_before_anything_is_read() {
    assert_eq!(wire::frame_length(&[]), Ok(None));
    assert_eq!(wire::frame_length(&[0, 0, 1]), Ok(None));
    assert_eq!(wire::frame_length(&[0, 0, 1, 2]), Ok(Some(258)));
    assert_eq!(wire::frame_length(&[0, 0, 0, 0, 9]), Err(FrameError::Length(0)));
    assert_eq!(wire::frame_length(&(MAX_FRAME as u32).to_be_bytes()), Ok(Some(MAX_FRAME)));
    assert_eq!(wire::frame_length(&[255; 4]), Err(FrameError::Length(u64::from(u32::MAX))));
    assert_eq!(wire::decode(Bytes::new()), Err(FrameError::Length(0)));
    assert_eq!(wire::decode(Bytes::from_static(&[0])), Err(FrameError::Kind(0)));
    assert_eq!(wire::decode(Bytes::from_static(&[99, 1, 2])), Err(FrameError::Kind(99)));
    assert_eq!(wire::decode(Bytes::from_static(&[1, 0xff])), Err(FrameError::Malformed(1)));
}

#[test]
fn what_is_longer_than_its_bound_is_refused() {
    let too_many = vec![some_peer(1); 65];
    let leave = Message::Leave { predecessors: too_many.clone(), successors: Vec::new() };
    let (predecessors, successors) = (Vec::new(), too_many.clone());
    let neighbours = Message::Neighbours { request: 1, joined: true, predecessors, successors };
    let (predecessors, successors) = (vec![Listed::Same(0); 65], Vec::new());
    let changes = Message::Changes { request: 1, digest: 1, predecessors, successors };
    let acknowledge = Message::Acknowledge { runs: vec![(1, 1); 65] };
    let refused = vec![(Id::ZERO, Refusal::Denied); 65];
    let ended = |result| Outcome { result, ..Outcome::failed(1, Purpose::Lookup, Failure::Deadline) };
    let outcome = |result| Message::Outcome { via: Vec::new(), origin: some_peer(1), outcome: ended(result) };
    let back =
        Message::Outcome { via: vec![Id::ZERO; 65], origin: some_peer(1), outcome: ended(Err(Failure::Deadline)) };
    let links = Message::Links { request: 1, links: too_many };
    let refusals = outcome(Err(Failure::NoWillingNode(refused)));
    let text = outcome(Err(Failure::HandlerFailed("x".repeat(1025))));
    let payload = some_route(Bytes::from(vec![0; MAX_PAYLOAD + 1]));
    for message in [leave, neighbours, changes, acknowledge, refusals, text, back, links, payload] {
        let (frame, _) = frame(&message);
        let kind = frame[4];
        assert_eq!(wire::decode(frame.slice(4..)), Err(FrameError::Malformed(kind)));
    }
    assert!(wire::decode(frame(&some_route(Bytes::from(vec![0; MAX_PAYLOAD]))).0.slice(4..)).is_ok());
}

#[test]
fn a_list_that_claims_to_be_endless_is_refused() {
    // An acknowledgement of 2^60 runs, in nine bytes.
    let claim = [10, 0xa1, 0x00, 0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(wire::decode(Bytes::copy_from_slice(&claim)), Err(FrameError::Malformed(10)));
    // Lists within lists, deeper than anything here.
    let mut deep = vec![11];
    deep.extend([0x81; 5000]);
    assert_eq!(wire::decode(Bytes::from(deep)), Err(FrameError::Malformed(11)));
}

#[test]
fn each_kind_has_its_stream() {
    let outcome = Outcome::failed(1, Purpose::Lookup, Failure::Deadline);
    let control = [
        Message::Ping { nonce: 1 },
        Message::Pong { nonce: 1 },
        Message::GetNeighbours { request: 1, part: Part::Both, known: 0 },
        Message::Unchanged { request: 1 },
        Message::Changes { request: 1, digest: 1, predecessors: Vec::new(), successors: Vec::new() },
        Message::Link,
        Message::Unlink,
        Message::Neighbours { request: 1, joined: false, predecessors: Vec::new(), successors: Vec::new() },
        Message::FindPredecessor { request: 1, key: Id::ZERO },
        Message::Predecessor { request: 1, peer: some_peer(1) },
        Message::Notify,
        Message::Leave { predecessors: Vec::new(), successors: Vec::new() },
        Message::Acknowledge { runs: Vec::new() },
    ];
    assert!(control.iter().all(|message| message.class() == Class::Control));
    assert_eq!(some_route(Bytes::new()).class(), Class::Messages);
    assert_eq!(Message::Outcome { via: Vec::new(), origin: some_peer(1), outcome }.class(), Class::Messages);
    assert_eq!(Message::Upper(Bytes::new()).class(), Class::Bulk);
}
