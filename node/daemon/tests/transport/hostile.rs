//! What a hostile or broken peer can send, and that it costs the others nothing.

use std::time::Duration;

use prost_certs::Rejection;
use prost_kbr::Peer;
use prost_kbr::wire::{Class, MAX_FRAME};
use prost_node::transport::{Arrival, CloseCode, Limits, Refused, Settings, Transport, TransportError};
use quinn::ConnectionError;

use crate::raw::{RawHello, Stranger, dial, number, proper_tls};
use crate::support::{Node, Ring, assert_works, connect, ping, run};

/// Two nodes that are connected, and a stranger who dials the first.
struct Scene {
    ring: Ring,
    a: Node,
    b: Node,
}

impl Scene {
    async fn with(limits: Limits) -> Scene {
        let mut ring = Ring::new();
        ring.limits = limits;
        let (mut a, mut b) = (ring.node(), ring.node());
        connect(&mut a, &mut b).await;
        Scene { ring, a, b }
    }

    async fn new() -> Scene {
        Scene::with(Limits::default()).await
    }

    async fn stranger(&self) -> Stranger {
        Stranger::dial(&self.ring, self.a.me().addr).await
    }

    /// A stranger who has been let in, and its control stream.
    async fn guest(&mut self) -> (Stranger, quinn::SendStream) {
        let stranger = self.stranger().await;
        let control = stranger.say(&stranger.hello()).await;
        self.a.until(|node| node.connected(stranger.id) == 1).await;
        (stranger, control)
    }

    fn refused(&self, reason: Refused) -> u64 {
        self.a.transport.stats().refused(reason)
    }

    /// The two that were connected still are, with the same connection.
    async fn assert_unharmed(mut self) {
        assert_works(&mut self.a, &mut self.b, u64::MAX).await;
        let Peer { id, .. } = self.b.me();
        assert_eq!((self.a.connected(id), self.a.disconnected(id)), (1, 0));
    }
}

/// Sends bytes on a stream as a guest; the connection must end with the code, the reason counted, the guest reported as
/// gone.
async fn assert_ruins(class: Class, bytes: &[u8], code: CloseCode, reason: Refused) {
    let mut scene = Scene::new().await;
    let (guest, mut control) = scene.guest().await;
    if class == Class::Control {
        control.write_all(bytes).await.expect("room");
    } else {
        guest.stream(&[&[number(class)], bytes].concat()).await;
    }
    let (end, ()) = tokio::join!(guest.end(), scene.a.until(|node| node.disconnected(guest.id) == 1));
    assert_eq!(end, (code as u64, code.name().to_owned()));
    assert_eq!(scene.refused(reason), 1);
    assert!(scene.a.received(guest.id).iter().all(|message| **message == ping(1)));
    scene.assert_unharmed().await;
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

#[test]
fn a_length_that_no_frame_has_ends_the_connection() {
    run(async {
        let (code, reason) = (CloseCode::FrameLength, Refused::FrameLength);
        for length in [0, MAX_FRAME as u32 + 1, u32::MAX] {
            assert_ruins(Class::Control, &length.to_be_bytes(), code, reason).await;
            assert_ruins(Class::Bulk, &length.to_be_bytes(), code, reason).await;
        }
        // A proper frame elsewhere, but too long for pings and the like.
        assert_ruins(Class::Control, &(512u32 << 10).to_be_bytes(), code, reason).await;
    });
}

#[test]
fn bytes_that_are_no_frame_end_the_connection() {
    run(async {
        assert_ruins(Class::Messages, &frame(&[9, 0, 0]), CloseCode::BadFrame, Refused::FrameMalformed).await;
        assert_ruins(Class::Control, &frame(&[1, 0xff]), CloseCode::BadFrame, Refused::FrameMalformed).await;
        assert_ruins(Class::Control, &frame(&[77, 1, 2]), CloseCode::BadFrame, Refused::FrameKind).await;
        let good_then_bad = [frame(&[1, 1]), frame(&[1, 1, 1])].concat();
        assert_ruins(Class::Control, &good_then_bad, CloseCode::BadFrame, Refused::FrameMalformed).await;
    });
}

#[test]
fn a_stream_of_no_class_or_a_second_of_one_ends_the_connection() {
    run(async {
        for bytes in [&[3][..], &[0xff, 1, 2], &[number(Class::Control)]] {
            let mut scene = Scene::new().await;
            let (guest, _control) = scene.guest().await;
            let _stream = guest.stream(bytes).await;
            assert_eq!(guest.end().await.0, CloseCode::Protocol as u64);
            assert_eq!(scene.refused(Refused::Streams), 1);
            scene.assert_unharmed().await;
        }
    });
}

#[test]
fn no_more_streams_can_be_opened_than_there_are_classes() {
    run(async {
        let mut scene = Scene::new().await;
        let (guest, _control) = scene.guest().await;
        let streams = (guest.stream(&[1]).await, guest.stream(&[2]).await);
        let soon = Duration::from_millis(300);
        assert!(tokio::time::timeout(soon, guest.connection.open_uni()).await.is_err());
        assert!(tokio::time::timeout(soon, guest.connection.open_bi()).await.is_err());
        drop(streams);
        scene.assert_unharmed().await;
    });
}

#[test]
fn a_frame_that_is_begun_and_not_finished_ends_the_connection() {
    run(async {
        let mut scene = Scene::with(Limits { stall: Duration::from_secs(1), ..Limits::default() }).await;
        let (guest, _control) = scene.guest().await;
        let (idle, _idle_control) = scene.guest().await;
        let _stream =
            guest.stream(&[&[number(Class::Bulk)][..], &(1u32 << 19).to_be_bytes(), &[12; 5000]].concat()).await;
        scene.a.until(|node| node.disconnected(guest.id) == 1).await;
        assert_eq!(guest.end().await.0, CloseCode::Timeout as u64);
        assert_eq!(scene.refused(Refused::Stalled), 1);
        // Who has nothing to say may be silent.
        assert!(idle.connection.close_reason().is_none());
        scene.assert_unharmed().await;
    });
}

#[test]
fn a_frame_that_comes_in_drops_ends_the_connection_too() {
    run(async {
        let limits = Limits { stall: Duration::from_secs(60), frame: Duration::from_secs(2), ..Limits::default() };
        let mut scene = Scene::with(limits).await;
        let (guest, _control) = scene.guest().await;
        let mut stream = guest.stream(&[&[number(Class::Bulk)][..], &(1u32 << 19).to_be_bytes()].concat()).await;
        while stream.write_all(&[12]).await.is_ok() {
            scene.a.listen_for(Duration::from_millis(100)).await;
        }
        assert_eq!(guest.end().await.0, CloseCode::Timeout as u64);
        assert_eq!(scene.refused(Refused::Stalled), 1);
        scene.assert_unharmed().await;
    });
}

#[test]
fn who_does_not_listen_is_not_talked_to() {
    run(async {
        let mut scene = Scene::new().await;
        let (guest, _control) = scene.guest().await;
        drop(guest.connection.accept_uni().await.expect("the node's control stream"));
        while scene.a.disconnected(guest.id) == 0 {
            scene.a.send(guest.peer(), ping(2));
            scene.a.listen_for(Duration::from_millis(20)).await;
        }
        assert_eq!(guest.end().await.0, CloseCode::Protocol as u64);
        assert_eq!(scene.refused(Refused::Streams), 1);
        scene.assert_unharmed().await;
    });
}

#[test]
fn a_stream_that_ends_within_a_frame_or_is_reset_ends_the_connection() {
    run(async {
        for reset in [false, true] {
            let mut scene = Scene::new().await;
            let (guest, _control) = scene.guest().await;
            let mut stream = guest.stream(&[number(Class::Bulk), 0, 0, 1]).await;
            if reset {
                stream.reset(1u8.into()).expect("an open stream")
            } else {
                stream.finish().expect("an open stream")
            }
            let code = if reset { CloseCode::Protocol } else { CloseCode::BadFrame };
            assert_eq!(guest.end().await.0, code as u64);
            scene.assert_unharmed().await;
        }
    });
}

async fn assert_not_greeted(bytes: &[u8], code: CloseCode, reason: Refused) {
    let scene = Scene::new().await;
    let stranger = scene.stranger().await;
    let _stream = stranger.stream(bytes).await;
    assert_eq!(stranger.end().await.0, code as u64);
    assert_eq!(scene.refused(reason), 1);
    assert_eq!(scene.a.connected(stranger.id), 0);
    scene.assert_unharmed().await;
}

#[test]
fn anything_but_a_greeting_first_ends_the_connection() {
    run(async {
        let (code, reason) = (CloseCode::Protocol, Refused::Greeting);
        assert_not_greeted(&[number(Class::Messages)], code, reason).await;
        assert_not_greeted(&[9, 9, 9], code, reason).await;
        assert_not_greeted(&[&[0][..], &frame(&[1, 1])].concat(), code, reason).await;
        assert_not_greeted(&[&[0, 0xff, 0xff][..], &[0; 4096]].concat(), code, reason).await;
        assert_not_greeted(&[0, 0, 3, 0x9f, 0x9f, 0x9f], code, reason).await;
    });
}

#[test]
fn a_greeting_must_be_for_this_session_this_ring_and_this_version() {
    run(async {
        type Change = fn(&mut RawHello);
        let changes: [(Change, CloseCode, Refused); 4] = [
            (|hello| hello.binding[0] ^= 1, CloseCode::Protocol, Refused::Greeting),
            (|hello| hello.advertised.set_port(0), CloseCode::Protocol, Refused::Greeting),
            (|hello| hello.ring = "other".into(), CloseCode::WrongRing, Refused::WrongRing),
            (|hello| hello.version = 2, CloseCode::Version, Refused::Version),
        ];
        for (change, code, reason) in changes {
            let scene = Scene::new().await;
            let stranger = scene.stranger().await;
            let mut hello = stranger.hello();
            change(&mut hello);
            let _stream = stranger.say(&hello).await;
            assert_eq!(stranger.end().await.0, code as u64);
            assert_eq!(scene.refused(reason), 1);
            scene.assert_unharmed().await;
        }
    });
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    run(async {
        let scene = Scene::with(Limits { greeting: Duration::from_millis(300), ..Limits::default() }).await;
        let stranger = scene.stranger().await;
        assert_eq!(stranger.end().await.0, CloseCode::Timeout as u64);
        assert_eq!(scene.refused(Refused::GreetingTimeout), 1);
        scene.assert_unharmed().await;
    });
}

#[test]
fn who_is_seen_at_another_address_than_he_says_is_dialled_where_he_says() {
    run(async {
        let mut scene = Scene::new().await;
        let stranger = scene.stranger().await;
        let advertised = "0.0.0.0:7777".parse().expect("an address");
        let _control = stranger.say(&RawHello { advertised, ..stranger.hello() }).await;
        scene.a.until(|node| node.connected(stranger.id) == 1).await;
        let seen = Peer { id: stranger.id, addr: "127.0.0.1:7777".parse().expect("an address") };
        assert!(scene.a.log.contains(&Arrival::Connected { peer: seen }));
    });
}

#[test]
fn without_a_certificate_nobody_comes_in() {
    run(async {
        let mut scene = Scene::new().await;
        let mut tls = proper_tls(&scene.ring, &scene.ring.identity());
        tls.client_auth_cert_resolver = std::sync::Arc::new(NoCertificate);
        assert_turned_away(&mut scene, tls, Rejection::NoCertificate).await;
        scene.assert_unharmed().await;
    });
}

#[test]
fn with_another_protocol_nobody_comes_in() {
    run(async {
        for protocols in [vec![b"h3".to_vec()], Vec::new()] {
            let mut scene = Scene::new().await;
            let mut tls = proper_tls(&scene.ring, &scene.ring.identity());
            tls.alpn_protocols = protocols;
            assert_turned_away(&mut scene, tls, Rejection::Alpn).await;
            scene.assert_unharmed().await;
        }
    });
}

#[test]
fn with_a_certificate_of_another_authority_nobody_comes_in() {
    run(async {
        // An authority can take another's name, but not its key.
        for (name, reason) in [("other", Rejection::UnknownIssuer), ("test", Rejection::CertificateSignature)] {
            let mut scene = Scene::new().await;
            let tls = proper_tls(&scene.ring, &Ring::named(name).identity());
            assert_turned_away(&mut scene, tls, reason).await;
            scene.assert_unharmed().await;
        }
    });
}

async fn assert_turned_away(scene: &mut Scene, tls: rustls::ClientConfig, reason: Rejection) {
    let (_endpoint, result) = dial(tls, scene.a.me().addr).await;
    let error = match result {
        Err(error) => error,
        // A client is done with TLS 1.3 before the server has looked at its certificate.
        Ok(connection) => connection.closed().await,
    };
    assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
    assert_eq!(scene.a.transport.stats().rejections().get(reason), 1);
    assert_eq!(scene.a.transport.stats().connected.get(), 1);
}

#[test]
fn foreign_datagrams_are_counted_and_ignored() {
    run(async {
        let mut scene = Scene::new().await;
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let before = scene.a.transport.stats().foreign_datagrams();
        assert_eq!(before, 0, "its own peers are not foreign");
        let datagrams = [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 1200], &[0xff; 1200], &[0x40; 1], &[0x40; 1200]];
        for datagram in datagrams {
            socket.send_to(datagram, scene.a.me().addr).await.expect("sent");
        }
        let counted = |node: &Node| node.transport.stats().foreign_datagrams() == datagrams.len() as u64;
        while !counted(&scene.a) {
            scene.a.listen_for(Duration::from_millis(20)).await;
        }
        scene.assert_unharmed().await;
    });
}

#[test]
fn settings_that_cannot_work_are_refused() {
    run(async {
        let ring = Ring::new();
        let bind = |settings: Settings| Transport::bind(settings, ring.identity(), ring.admission.clone()).err();
        let unspecified = ring.settings("0.0.0.0:0", "test");
        assert!(matches!(bind(unspecified.clone()), Some(TransportError::Advertise(_))));
        let advertise = Some("127.0.0.1:0".parse().expect("an address"));
        assert!(bind(Settings { advertise, ..unspecified }).is_none());
        for name in [String::new(), "r".repeat(65)] {
            assert!(matches!(bind(ring.settings("127.0.0.1:0", &name)), Some(TransportError::RingName)));
        }
        let taken = ring.node();
        let same = ring.settings(&taken.me().addr.to_string(), "test");
        assert!(matches!(bind(same), Some(TransportError::Bind(..))));
    });
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
