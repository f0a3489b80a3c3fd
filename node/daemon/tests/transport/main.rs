//! Transports that talk to each other, and to those that they should not talk to.

mod hostile;
mod raw;
mod support;

use std::time::Duration;

use bytes::Bytes;
use prost_certs::Rejection;
use prost_kbr::{Dispatch, Envelope, Id, Key, Message, NodeId, Peer, Purpose, Routed};
use prost_node::transport::{Arrival, Direction, Limits, Refused};
use tokio::time::Instant;

use support::{Node, Ring, assert_works, connect, ping, run};

const NOBODY: NodeId = Id::from_bytes([0x55; 20]);

/// The n-th frame of a mixture of all classes and sizes.
fn mixed(n: u64, origin: Peer) -> Message {
    let size = if n.is_multiple_of(500) { 200 << 10 } else { (n * 37 % 1500) as usize };
    let payload = Bytes::from(vec![n as u8; size]);
    match n % 8 {
        0 | 1 => Message::Ping { nonce: n },
        2 => Message::Upper([&n.to_be_bytes()[..], &payload].concat().into()),
        _ => {
            let envelope = Envelope {
                id: n,
                origin,
                key: Some(Key::hash(b"key")),
                purpose: Purpose::App(Dispatch::EndNode),
                hops: 1,
                remaining_ms: 1000,
                refused: Vec::new(),
                via: Vec::new(),
                path: None,
            };
            let header = Bytes::from_static(b"header");
            Message::Route { seq: n, routed: Routed { envelope, header, payload } }
        }
    }
}

fn of_class<'a>(messages: impl IntoIterator<Item = &'a Message>, like: &Message) -> Vec<&'a Message> {
    messages.into_iter().filter(|message| message.class() == like.class()).collect()
}

#[test]
fn frames_of_every_class_and_size_arrive_whole_and_in_order() {
    run(async {
        let ring = Ring::new();
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        let (from, to) = (a.me(), b.me());
        let messages: Vec<Message> = (0..10_000).map(|n| mixed(n, from)).collect();
        for turn in messages.chunks(250) {
            let before = b.received(from.id).len();
            turn.iter().for_each(|message| a.transport.send(to, message.clone()));
            a.transport.flush();
            b.until(|node| node.received(from.id).len() == before + turn.len()).await;
        }
        let received = b.received(from.id);
        for like in [&messages[0], &messages[2], &messages[3]] {
            let (sent, got) = (of_class(&messages, like), of_class(received.iter().copied(), like));
            assert!(sent.len() > 1000);
            assert!(sent == got, "{:?}: {} sent, {} received", like.class(), sent.len(), got.len());
        }
        let (sent, got) = (a.transport.stats(), b.transport.stats());
        assert_eq!(sent.frames_sent.get(), 10_000);
        assert_eq!(got.frames_received.get(), 10_000);
        assert_eq!(sent.frames_overflowed.get() + sent.frames_undelivered.get(), 0);
    });
}

#[test]
fn three_that_keep_each_other_have_one_connection_a_pair() {
    run(async {
        let ring = Ring::new();
        let mut nodes = [ring.node(), ring.node(), ring.node()];
        let peers = nodes.each_ref().map(Node::me);
        nodes.iter_mut().for_each(|node| node.transport.keep(peers.to_vec()));
        let others = |me: Peer| peers.into_iter().filter(move |peer| *peer != me);
        let complete = |node: &Node| others(node.me()).all(|peer| node.connected(peer.id) == 1);
        let [a, b, c] = &mut nodes;
        tokio::join!(a.until(complete), b.until(complete), c.until(complete));
        assert_works(a, b, 1).await;
        assert_works(b, c, 2).await;
        assert_works(c, a, 3).await;
        for node in [a, b, c] {
            let mut expected: Vec<Peer> = others(node.me()).collect();
            expected.sort();
            let connections = node.transport.connections();
            let found: Vec<Peer> = connections.iter().map(|c| Peer { id: c.id, addr: c.addr }).collect();
            assert_eq!(found, expected);
            assert!(connections.iter().all(|c| c.rtt > Duration::ZERO && c.bytes_sent > 0 && c.bytes_received > 0));
            assert!(!node.log.iter().any(|arrival| matches!(arrival, Arrival::Disconnected { .. })));
        }
    });
}

#[test]
fn two_that_dial_each_other_at_once_end_with_one_connection_and_lose_nothing() {
    run(async {
        let ring = Ring::new();
        let mut rivals = 0;
        for round in 0..20 {
            let (mut a, mut b) = (ring.node(), ring.node());
            let (x, y) = (a.me(), b.me());
            for n in 0..10 {
                a.transport.send(y, ping(n));
                b.transport.send(x, ping(n));
            }
            tokio::join!(
                a.until(|node| node.received(y.id).len() == 10),
                b.until(|node| node.received(x.id).len() == 10)
            );
            a.listen_for(Duration::from_millis(20)).await;
            b.listen_for(Duration::from_millis(20)).await;
            for (node, peer) in [(&a, y), (&b, x)] {
                assert_eq!((node.connected(peer.id), node.disconnected(peer.id)), (1, 0), "round {round}");
                assert_eq!(node.transport.connections().len(), 1);
            }
            let directions = [&a, &b].map(|node| node.transport.connections()[0].direction);
            assert!(
                directions == [Direction::Inbound, Direction::Outbound]
                    || directions == [Direction::Outbound, Direction::Inbound]
            );
            assert_works(&mut a, &mut b, 99).await;
            rivals += a.transport.stats().refused(Refused::Duplicate) + b.transport.stats().refused(Refused::Duplicate);
        }
        assert!(rivals > 0, "no round had two connections to choose from");
    });
}

#[test]
fn who_does_not_take_what_arrives_holds_up_the_sender_and_loses_nothing() {
    run(async {
        let ring = Ring::new();
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        let (x, y) = (a.me(), b.me());
        let large = Message::Upper(Bytes::from(vec![1; 512 << 10]));
        let received = |node: &Node| node.transport.stats().frames_received.get();
        // The inbox has room for 32 of them, the queue for 16.
        for turn in 1..=3 {
            (0..15).for_each(|_| a.transport.send(y, large.clone()));
            a.transport.flush();
            while received(&b) < (15 * turn).min(32) {
                a.listen_for(Duration::from_millis(20)).await;
            }
        }
        a.listen_for(Duration::from_millis(500)).await;
        assert!((32..36).contains(&received(&b)), "{}", received(&b));
        b.until(|node| node.received(x.id).len() == 45).await;
        assert_eq!(a.transport.stats().frames_overflowed.get(), 0);
    });
}

#[test]
fn a_round_trip_time_comes_with_the_connection_and_then_every_second() {
    run(async {
        let ring = Ring::new();
        let (mut a, b) = (ring.node(), ring.node());
        a.transport.dial(b.me().addr);
        let mut turn = Vec::new();
        let is_rtt = |arrival: &&Arrival| matches!(arrival, Arrival::RoundTrip { id, rtt } if *id == b.me().id && !rtt.is_zero());
        while turn.iter().filter(is_rtt).count() < 3 {
            a.transport.next(&mut turn).await;
        }
        assert!(matches!(turn[0], Arrival::Connected { .. }));
        assert!(is_rtt(&&turn[1]));
    });
}

#[test]
fn a_node_of_another_ring_is_turned_away() {
    run(async {
        let ring = Ring::new();
        let mut a = ring.node();
        let b = ring.node_as(ring.identity(), "127.0.0.1:0", "another");
        let addr = b.me().addr;
        a.transport.dial(addr);
        a.until(|node| !node.log.is_empty()).await;
        assert_eq!(a.log, [Arrival::DialFailed { addr }]);
        assert_eq!(b.transport.stats().refused(Refused::WrongRing), 1);
        assert_eq!(b.transport.stats().connected.get(), 0);
    });
}

#[test]
fn another_node_than_the_one_meant_is_not_talked_to() {
    run(async {
        let ring = Ring::new();
        let (mut a, mut b) = (ring.node(), ring.node());
        a.send(Peer { id: NOBODY, addr: b.me().addr }, ping(1));
        a.until(|node| !node.log.is_empty()).await;
        assert_eq!(a.log, [Arrival::Disconnected { id: NOBODY }]);
        let stats = a.transport.stats();
        assert_eq!(stats.rejections().get(Rejection::UnexpectedId), 1);
        assert_eq!((stats.frames_undelivered.get(), stats.dial_failures.get()), (1, 1));
        assert_eq!(b.transport.stats().connected.get(), 0);
        connect(&mut a, &mut b).await;
        assert_works(&mut a, &mut b, 2).await;
    });
}

#[test]
fn nobody_dials_himself() {
    run(async {
        let mut a = Ring::new().node();
        let me = a.me();
        a.transport.dial(me.addr);
        a.until(|node| node.log.len() == 1).await;
        a.send(me, ping(1));
        a.until(|node| node.log.len() == 2).await;
        a.send(Peer { id: NOBODY, addr: me.addr }, ping(1));
        a.until(|node| node.log.len() == 3).await;
        let failed = Arrival::DialFailed { addr: me.addr };
        assert_eq!(a.log, [failed, Arrival::Disconnected { id: me.id }, Arrival::Disconnected { id: NOBODY }]);
        assert_eq!(a.transport.stats().refused(Refused::Oneself), 2);
    });
}

#[test]
fn a_dial_to_one_who_is_connected_already_is_answered_and_changes_nothing() {
    run(async {
        let ring = Ring::new();
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        let (x, y) = (a.me(), b.me());
        a.transport.dial(y.addr);
        a.until(|node| node.connected(y.id) == 2).await;
        assert_works(&mut a, &mut b, 1).await;
        assert_eq!((a.disconnected(y.id), b.connected(x.id), b.disconnected(x.id)), (0, 1, 0));
    });
}

#[test]
fn what_was_sent_before_a_close_arrives_and_then_the_end() {
    run(async {
        let ring = Ring::new();
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        let (x, y) = (a.me(), b.me());
        (0..500).for_each(|n| a.transport.send(y, mixed(n, x)));
        let begun = Instant::now();
        let closed = a.transport.close(Duration::from_secs(5));
        tokio::join!(closed, b.until(|node| node.disconnected(x.id) == 1));
        assert_eq!(b.received(x.id).len(), 500);
        assert_eq!(b.log.last(), Some(&Arrival::Disconnected { id: x.id }));
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert!(b.transport.connections().is_empty());
    });
}

#[test]
fn a_peer_that_falls_silent_is_lost_after_the_idle_time() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { idle: Duration::from_secs(1), ..Limits::default() };
        let mut a = ring.node();
        let silent = raw::Silent::start(&ring, ring.identity(), a.me());
        let id = silent.me.id;
        a.until(|node| node.connected(id) == 1).await;
        let begun = Instant::now();
        silent.vanish();
        a.until(|node| node.disconnected(id) == 1).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(a.transport.stats().disconnected.get(), 1);
    });
}

#[test]
fn a_peer_that_was_killed_and_comes_back_is_connected_again_long_before_the_idle_time() {
    run(async {
        let ring = Ring::new();
        let identity = ring.identity();
        let mut a = ring.node();
        let first = raw::Silent::start(&ring, identity.clone(), a.me());
        let old = first.me;
        a.until(|node| node.connected(old.id) == 1).await;
        first.vanish();
        let begun = Instant::now();
        let mut b = ring.node_as(identity, &old.addr.to_string(), "test");
        b.send(a.me(), ping(1));
        a.until(|node| node.received(old.id).contains(&&ping(1))).await;
        assert_eq!((a.connected(old.id), a.disconnected(old.id)), (2, 1));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_works(&mut a, &mut b, 2).await;
    });
}

#[test]
fn a_peer_that_was_killed_and_came_back_ends_its_former_connections_when_it_hears_of_them() {
    run(async {
        let ring = Ring::new();
        let identity = ring.identity();
        let mut a = ring.node();
        let first = raw::Silent::start(&ring, identity.clone(), a.me());
        let old = first.me;
        a.until(|node| node.connected(old.id) == 1).await;
        first.vanish();
        let _b = ring.node_as(identity, &old.addr.to_string(), "test");
        let begun = Instant::now();
        a.send(old, ping(1));
        a.until(|node| node.disconnected(old.id) == 1).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_kept_peer_is_dialled_until_it_is_there_and_told_of_once() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { handshake: Duration::from_millis(300), ..Limits::default() };
        let identity = ring.identity();
        let mut a = ring.node();
        let gone = ring.node_as(identity.clone(), "127.0.0.1:0", "test");
        let peer = gone.me();
        gone.transport.close(Duration::from_secs(1)).await;
        a.transport.keep(vec![peer]);
        a.until(|node| node.transport.stats().dial_failures.get() >= 1 && !node.log.is_empty()).await;
        a.listen_for(Duration::from_secs(3)).await;
        assert!(a.transport.stats().dials.get() >= 2);
        assert_eq!(a.log, [Arrival::Disconnected { id: peer.id }]);
        let mut b = ring.node_as(identity, &peer.addr.to_string(), "test");
        a.until(|node| node.connected(peer.id) == 1).await;
        assert_works(&mut a, &mut b, 1).await;
    });
}

#[test]
fn a_connection_that_nobody_wants_ends_when_nothing_is_said() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { idle: Duration::from_secs(2), ..Limits::default() };
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        let (x, y) = (a.me(), b.me());
        for n in 0..6 {
            b.listen_for(Duration::from_millis(500)).await;
            assert_works(&mut a, &mut b, n).await;
        }
        assert_eq!(a.disconnected(y.id) + b.disconnected(x.id), 0);
        tokio::join!(a.until(|node| node.disconnected(y.id) == 1), b.until(|node| node.disconnected(x.id) == 1));
    });
}

#[test]
fn a_connection_that_was_released_ends_sooner_unless_it_is_kept_or_used() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { released: Duration::from_secs(1), ..Limits::default() };
        let (mut a, mut b, mut c, mut d, mut e) = (ring.node(), ring.node(), ring.node(), ring.node(), ring.node());
        for other in [&mut b, &mut c, &mut d, &mut e] {
            connect(&mut a, other).await;
        }
        let (x, y, z) = (a.me(), b.me(), c.me());
        for released in [y.id, z.id, d.me().id, e.me().id] {
            a.transport.release(released);
        }
        a.transport.keep(vec![z]);
        a.send(d.me(), ping(1));
        e.send(x, ping(1));
        let (u, v) = (x.id, e.me().id);
        tokio::join!(
            a.until(|node| node.received(v).contains(&&ping(1))),
            d.until(|node| node.received(u).contains(&&ping(1)))
        );
        tokio::join!(a.until(|node| node.disconnected(y.id) == 1), b.until(|node| node.disconnected(x.id) == 1));
        for other in [&mut c, &mut d, &mut e] {
            assert_works(&mut a, other, 2).await;
            assert_eq!(a.disconnected(other.me().id), 0);
        }
    });
}

#[test]
fn too_much_for_one_who_cannot_be_reached_is_dropped_and_counted() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
        let mut a = ring.node();
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        let peer = Peer { id: NOBODY, addr: closed.local_addr().expect("its address") };
        (0..100).for_each(|_| a.transport.send(peer, Message::Upper(Bytes::from(vec![0; 512 << 10]))));
        a.until(|node| node.disconnected(NOBODY) == 1).await;
        let stats = a.transport.stats();
        assert_eq!((stats.frames_sent.get(), stats.frames_overflowed.get()), (16, 84));
        assert_eq!(stats.frames_undelivered.get(), 16);
    });
}

#[test]
fn who_comes_when_the_house_is_full_is_refused() {
    run(async {
        let mut ring = Ring::new();
        ring.limits = Limits { inbound: 1, ..Limits::default() };
        let (mut a, mut b, mut c) = (ring.node(), ring.node(), ring.node());
        connect(&mut b, &mut a).await;
        c.transport.dial(a.me().addr);
        c.until(|node| !node.log.is_empty()).await;
        assert_eq!(c.log, [Arrival::DialFailed { addr: a.me().addr }]);
        assert_eq!(a.transport.stats().refused(Refused::Limit), 1);
        // Its own dials are not counted among the guests.
        connect(&mut a, &mut c).await;
        assert_works(&mut a, &mut b, 1).await;
    });
}
