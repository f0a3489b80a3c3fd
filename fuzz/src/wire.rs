//! Frames between nodes.

use bytes::{Bytes, BytesMut};
use prost_kbr::wire::{encode, frame_length};
use prost_kbr::{
    AppId, Dispatch, Envelope, Failure, Header, Hop, Id, Listed, Message, Outcome, Part, Peer, Purpose, Refusal, Routed,
};

/// A frame of each kind, without its length.
pub fn frames() -> Vec<Vec<u8>> {
    let peers: Vec<Peer> = (1..4).map(peer).collect();
    let hops = vec![Hop { node: Id::hash(b"hop"), rtt_us: 1500 }];
    let refused = vec![(Id::hash(b"refused"), Refusal::Denied)];
    let app = AppId { provider: [7; 32], name: "dht".parse().expect("a name") };
    let header = Header { app, locator: "blake3:00".to_owned() }.encode();
    let envelope = Envelope {
        id: 7,
        origin: peer(1),
        key: Some(Id::hash(b"key")),
        purpose: Purpose::App(Dispatch::EndNode),
        hops: 3,
        remaining_ms: 30_000,
        refused: refused.clone(),
        via: vec![Id::hash(b"hop")],
        path: Some(hops.clone()),
    };
    let lookup = Envelope { key: None, purpose: Purpose::Lookup, path: None, refused: vec![], ..envelope.clone() };
    let payload = Bytes::from_static(b"payload");
    [
        Message::Ping { nonce: 1 },
        Message::Pong { nonce: u64::MAX },
        Message::GetNeighbours { request: 2, part: Part::Successors, known: 9 },
        Message::Unchanged { request: 2 },
        Message::Neighbours { request: 2, joined: true, predecessors: peers.clone(), successors: peers.clone() },
        Message::Changes {
            request: 2,
            digest: 9,
            predecessors: vec![Listed::New(peer(3))],
            successors: vec![Listed::Same(1), Listed::New(peer(4)), Listed::Same(2)],
        },
        Message::FindPredecessor { request: 3, key: Id::hash(b"key") },
        Message::Predecessor { request: 3, peer: peer(9) },
        Message::Notify,
        Message::Arrived,
        Message::Candidate { peer: peer(4), hops: 2 },
        Message::GetNext { request: 5, key: Id::hash(b"key") },
        Message::Next { request: 5, mine: false, next: peers.clone() },
        Message::Link,
        Message::Linked { accepted: true },
        Message::Unlink,
        Message::GetLinks { request: 6 },
        Message::Links { request: 6, links: peers.clone() },
        Message::Leave { predecessors: peers.clone(), successors: peers.clone() },
        Message::Route { seq: 4, routed: Routed { envelope, header, payload: payload.clone() } },
        Message::Route { seq: 5, routed: Routed { envelope: lookup, header: Bytes::new(), payload: Bytes::new() } },
        Message::Acknowledge { runs: vec![(4, 2), (9, 1)] },
        ended(Outcome {
            id: 7,
            purpose: Purpose::Replicas(3),
            result: Ok(peer(2)),
            replicas: peers,
            hops: 3,
            path: Some(hops),
        }),
        ended(Outcome::failed(8, Purpose::Lookup, Failure::NoWillingNode(refused))),
        ended(Outcome::failed(9, Purpose::App(Dispatch::PerHop), Failure::HandlerFailed("why".into()))),
        Message::Upper(payload),
    ]
    .iter()
    .map(|message| encoded(message).to_vec())
    .collect()
}

fn ended(outcome: Outcome) -> Message {
    Message::Outcome { via: vec![Id::hash(b"hop")], origin: peer(1), outcome }
}

/// The message as a frame without its length, which must be right.
pub fn encoded(message: &Message) -> Bytes {
    let mut frame = BytesMut::new();
    if let Some(payload) = encode(message, &mut frame) {
        frame.extend_from_slice(&payload);
    }
    let body = frame.split_off(4);
    assert_eq!(frame_length(&frame), Ok(Some(body.len())));
    body.freeze()
}

fn peer(n: u8) -> Peer {
    Peer { id: Id::hash(&[n]), addr: ([127, 0, 0, n], 4433).into() }
}
