//! Whoever comes to the QUIC port with anything but a proper node's words gets a typed refusal, and costs nobody
//! anything.

use std::net::UdpSocket;
use std::sync::Arc;

use prost_certs::{Admission, CertificateAuthority, NODE_CERTIFICATE, UnixTime, Validity};
use prost_kbr::Key;
use prost_kbr::wire::{Class, MAX_FRAME};
use prost_node::transport::Limits;
use prost_tests::{Plan, Ring};
use quinn::ConnectionError;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::raw::{RawHello, Stranger, dial, number, proper_tls};
use crate::support;

const FRAMES: &str = "prost_connections_refused_total";
const HANDSHAKES: &str = "prost_handshakes_refused_total";

/// A ring, and a member of it that does not behave.
struct Scene {
    ring: Ring,
    /// The same authority, as bare clients use it.
    members: support::Ring,
}

impl Scene {
    fn new() -> Scene {
        let ring = Plan::of(3).start();
        let dir = ring.path("authority");
        std::fs::create_dir(&dir).expect("the name is new");
        let (certificate, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        ring.authority().save(&certificate, &key).expect("room");
        let authority = CertificateAuthority::load(&certificate, &key).expect("it was just written");
        let admission = Admission::closed(authority.certificate_pem()).expect("its certificate");
        Scene { members: support::Ring { authority, admission, limits: Limits::default() }, ring }
    }

    fn counted(&self, series: &str, reason: &str) -> f64 {
        self.ring[0].metric(series, &[("reason", reason)])
    }

    /// The reason was counted once more; the ring is as it was, and works.
    #[track_caller]
    fn assert_refused(&self, series: &str, reason: &str, before: f64) {
        self.ring[0].until_metric(series, &[("reason", reason)], before + 1.0);
        assert_eq!(self.ring[0].ask(&["health"]).ok(), "ready\n");
        self.ring.until_ideal();
        let key = Key::hash(reason.as_bytes());
        let owner = self.ring[self.ring.replicas(key, 1)[0]].id;
        assert_eq!(self.ring.lookup(0, key).result.map(|peer| peer.id), Ok(owner));
    }

    /// A handshake with this TLS must fail, for this reason.
    #[track_caller]
    fn assert_turned_away(&self, tls: rustls::ClientConfig, reason: &str) {
        let before = self.counted(HANDSHAKES, reason);
        support::run(async {
            let (_endpoint, result) = dial(tls, self.ring[0].listen).await;
            let error = match result {
                Err(error) => error,
                // A client is done with TLS 1.3 before the server has looked at its certificate.
                Ok(connection) => connection.closed().await,
            };
            assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{reason}: {error}");
        });
        self.assert_refused(HANDSHAKES, reason, before);
    }

    /// A member of the ring, let in properly, says this on a stream: its connection must end, for this reason.
    #[track_caller]
    fn assert_ruins(&self, class: Class, bytes: &[u8], close: &str, reason: &str) {
        let before = self.counted(FRAMES, reason);
        support::run(async {
            let guest = Stranger::dial(&self.members, self.ring[0].listen).await;
            let mut control = guest.say(&guest.hello()).await;
            let other;
            if class == Class::Control {
                control.write_all(bytes).await.expect("room");
            } else {
                other = guest.stream(&[&[number(class)], bytes].concat()).await;
                let _ = &other;
            }
            assert_eq!(guest.end().await.1, close, "{reason}");
        });
        self.assert_refused(FRAMES, reason, before);
    }

    /// A member of the ring greets with these bytes: it must not be let in, for this reason.
    #[track_caller]
    fn assert_not_greeted(&self, greeting: impl FnOnce(&Stranger) -> Vec<u8>, reason: &str) {
        let before = self.counted(FRAMES, reason);
        support::run(async {
            let stranger = Stranger::dial(&self.members, self.ring[0].listen).await;
            let _stream = stranger.stream(&greeting(&stranger)).await;
            stranger.end().await;
        });
        self.assert_refused(FRAMES, reason, before);
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body].concat()
}

#[test]
fn foreign_datagrams_are_counted_and_ignored() {
    let scene = Scene::new();
    let before = scene.ring[0].metric("prost_foreign_datagrams_total", &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let foreign = [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 1200], &[0xff; 1200], &[0x16, 3, 1], &[0x40; 1200]];
    for datagram in foreign {
        socket.send_to(datagram, scene.ring[0].listen).expect("sent");
    }
    scene.ring[0].until_metric("prost_foreign_datagrams_total", &[], before + foreign.len() as f64);
    assert_eq!(scene.ring[0].ask(&["health"]).ok(), "ready\n");
    scene.ring.until_ideal();
}

#[test]
fn who_does_not_belong_to_the_ring_is_turned_away() {
    let scene = Scene::new();
    let proper = || proper_tls(&scene.members, &scene.members.identity());

    let mut other_protocol = proper();
    other_protocol.alpn_protocols = vec![b"h3".to_vec()];
    scene.assert_turned_away(other_protocol, "alpn");

    let mut nameless = proper();
    nameless.client_auth_cert_resolver = Arc::new(NoCertificate);
    scene.assert_turned_away(nameless, "no_certificate");

    // An authority can take another's name, but not its key.
    let foreign = proper_tls(&scene.members, &support::Ring::named("other").identity());
    scene.assert_turned_away(foreign, "unknown_issuer");
    let namesake = proper_tls(&scene.members, &support::Ring::named("test").identity());
    scene.assert_turned_away(namesake, "certificate_signature");
}

#[test]
fn a_certificate_is_worth_nothing_without_its_key() {
    let scene = Scene::new();
    let mine = scene.members.authority.issue("thief", Validity::days(UnixTime::now(), 1)).expect("a proper name");
    let key = scene.ring.path("thief.key");
    mine.save(&scene.ring.path("thief.pem"), &key).expect("room");
    let stolen = CertificateDer::from_pem_file(scene.ring[1].dir.join(NODE_CERTIFICATE)).expect("a certificate");

    let mut tls = proper_tls(&scene.members, &mine);
    tls.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair(vec![stolen], &key)));

    scene.assert_turned_away(tls, "handshake_signature");
}

#[test]
fn a_member_that_sends_malformed_frames_is_cut_off() {
    let scene = Scene::new();
    for length in [0, MAX_FRAME as u32 + 1, u32::MAX] {
        scene.assert_ruins(Class::Bulk, &length.to_be_bytes(), "frame length", "frame_length");
    }
    // A proper frame elsewhere, but too long for pings and the like.
    scene.assert_ruins(Class::Control, &(512_u32 << 10).to_be_bytes(), "frame length", "frame_length");
    scene.assert_ruins(Class::Messages, &frame(&[9, 0, 0]), "bad frame", "frame_malformed");
    scene.assert_ruins(Class::Control, &frame(&[1, 0xff]), "bad frame", "frame_malformed");
    scene.assert_ruins(Class::Control, &frame(&[77, 1, 2]), "bad frame", "frame_kind");
}

#[test]
fn a_member_that_does_not_greet_properly_is_not_let_in() {
    let scene = Scene::new();
    let hello = |change: fn(&mut RawHello)| {
        move |stranger: &Stranger| {
            let mut hello = stranger.hello();
            change(&mut hello);
            let body = serde_cbor::to_vec(&hello).expect("plain data");
            [&[0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
        }
    };
    scene.assert_not_greeted(|_| vec![9, 9, 9], "greeting");
    scene.assert_not_greeted(|_| vec![0, 0, 3, 0x9f, 0x9f, 0x9f], "greeting");
    scene.assert_not_greeted(hello(|hello| hello.binding[0] ^= 1), "greeting");
    scene.assert_not_greeted(hello(|hello| hello.version = 200), "version");
    scene.assert_not_greeted(hello(|hello| hello.ring = "other".to_owned()), "wrong_ring");
}

/// Certificates with the key of a file, whether they fit or not.
fn pair(certificates: Vec<CertificateDer<'static>>, key: &std::path::Path) -> Arc<CertifiedKey> {
    let der = PrivateKeyDer::from_pem_file(key).expect("a key");
    let PrivateKeyDer::Pkcs8(der) = der else { panic!("keys are in PKCS#8") };
    Arc::new(CertifiedKey::new(certificates, any_eddsa_type(&der).expect("an Ed25519 key")))
}

#[derive(Debug)]
struct NoCertificate;

impl rustls::client::ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}
