//! Who meets whom, and what both must speak.

use std::sync::Arc;

use prost_certs::{ALPN, CertificateDer, Rejection, Rejections, SERVER_NAME, client_config, server_config};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::quic::Connection;
use rustls::sign::CertifiedKey;

use crate::world::{
    Met, OPEN, SALT, TestRing, authority, dialled, dialler, dialler_of, meet, meet_as, meet_through, new_key,
    node_params, open_node, reason, server, valid,
};

#[test]
fn nodes_of_an_open_ring_meet_and_know_each_other_by_key() {
    let (a, b) = (open_node(), open_node());
    let (a_id, b_id) = (a.node_id(&OPEN).expect("an id"), b.node_id(&OPEN).expect("an id"));
    assert_ne!(a_id, b_id);
    let both = Met::Both { dialled: b_id, dialler: a_id };
    assert_eq!(meet(dialler(&a, &OPEN), dialled(&b, &OPEN)), both);
    assert_eq!(meet(dialler_of(&a, &OPEN, Some(b_id)), dialled(&b, &OPEN)), both);
}

#[test]
fn nodes_of_a_closed_ring_meet_and_know_each_other_by_key_and_salt() {
    let authority = authority();
    let ring = authority.admission();
    let (a, b) = (authority.issue("a", valid()).expect("a"), authority.issue("b", valid()).expect("b"));
    let (a_id, b_id) = (a.node_id(ring).expect("an id"), b.node_id(ring).expect("an id"));
    assert_eq!(meet(dialler_of(&a, ring, Some(b_id)), dialled(&b, ring)), Met::Both { dialled: b_id, dialler: a_id });
}

#[test]
fn a_dialler_without_certificate_is_refused() {
    let node = open_node();
    let mut bare = dialler(&node, &OPEN);
    bare.config.client_auth_cert_resolver = Arc::new(NoCertificate);
    assert_eq!(meet(bare, dialled(&node, &OPEN)), Met::RefusedByDialled(Rejection::NoCertificate));
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_second_certificate_is_refused_even_where_it_is_the_rings_authority() {
    let (node, key) = (open_node(), new_key());
    let certificate: CertificateDer<'_> = node_params().self_signed(&key).expect("a certificate").into();
    for second in [certificate.clone(), CertificateDer::from(vec![0; 8])] {
        let two = || vec![certificate.clone(), second.clone()];
        assert_eq!(
            meet(dialler(&node, &OPEN).showing(two(), &key), dialled(&node, &OPEN)),
            Met::RefusedByDialled(Rejection::ExtraCertificate)
        );
        assert_eq!(
            meet(dialler(&node, &OPEN), dialled(&node, &OPEN).showing(two(), &key)),
            Met::RefusedByDialler(Rejection::ExtraCertificate)
        );
    }
    let ring = TestRing::new();
    let (leaf, key) = ring.issue(&[SALT]);
    let with_issuer = dialler(&node, &OPEN).showing(vec![leaf.clone(), ring.certificate.clone()], &key);
    assert_eq!(meet(with_issuer, dialled(&node, &ring.admission)), Met::RefusedByDialled(Rejection::ExtraCertificate));
    let alone = dialler(&node, &OPEN).showing(vec![leaf], &key);
    assert!(matches!(meet(alone, dialled(&node, &ring.admission)), Met::Both { .. }));
}

#[test]
fn a_certificate_is_worth_nothing_without_its_key() {
    let (victim, thief) = (open_node(), new_key());
    let stolen = || vec![victim.certificate().clone()];
    let honest = open_node();
    assert_eq!(
        meet(dialler(&honest, &OPEN).showing(stolen(), &thief), dialled(&honest, &OPEN)),
        Met::RefusedByDialled(Rejection::HandshakeSignature)
    );
    // Even the victim itself is not fooled, nor is who dials the victim and no other.
    assert_eq!(
        meet(dialler(&victim, &OPEN).showing(stolen(), &thief), dialled(&victim, &OPEN)),
        Met::RefusedByDialled(Rejection::HandshakeSignature)
    );
    let expected = victim.node_id(&OPEN).ok();
    assert_eq!(
        meet(dialler_of(&honest, &OPEN, expected), dialled(&honest, &OPEN).showing(stolen(), &thief)),
        Met::RefusedByDialler(Rejection::HandshakeSignature)
    );
}

#[test]
fn the_dialler_refuses_another_node_than_it_dialled() {
    let (a, b, other) = (open_node(), open_node(), open_node());
    let expected = other.node_id(&OPEN).ok();
    assert_eq!(
        meet(dialler_of(&a, &OPEN, expected), dialled(&b, &OPEN)),
        Met::RefusedByDialler(Rejection::UnexpectedId)
    );
}

#[test]
fn both_ends_must_offer_the_protocol() {
    let node = open_node();
    let many: Vec<Vec<u8>> = (0..5_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    for protocols in [vec![], vec![b"h3".to_vec()], vec![b"prost/2".to_vec(), b"prost".to_vec()], many] {
        let mut foreign = dialler(&node, &OPEN);
        foreign.config.alpn_protocols = protocols.clone();
        assert_eq!(meet(foreign, dialled(&node, &OPEN)), Met::RefusedByDialled(Rejection::Alpn));
    }
    for protocols in [vec![], vec![b"h3".to_vec()]] {
        let mut foreign = dialled(&node, &OPEN);
        foreign.config.alpn_protocols = protocols;
        assert_eq!(meet(dialler(&node, &OPEN), foreign), Met::RefusedByDialled(Rejection::Alpn));
    }
    let met = meet_through(without_protocol, SERVER_NAME, dialler(&node, &OPEN), dialled(&node, &OPEN));
    assert_eq!(met, Met::RefusedByDialler(Rejection::Alpn));

    let mut bilingual = dialler(&node, &OPEN);
    bilingual.config.alpn_protocols = vec![b"h3".to_vec(), ALPN.to_vec()];
    assert!(matches!(meet(bilingual, dialled(&node, &OPEN)), Met::Both { .. }));
}

/// Takes the choice of protocol out of a flight that begins with EncryptedExtensions (RFC 8446, section 4.3.1).
fn without_protocol(flight: &mut Vec<u8>) {
    const CHOICE: &[u8] = b"\x00\x10\x00\x0a\x00\x08\x07prost/1";
    if let Some(at) = flight.windows(CHOICE.len()).position(|window| window == CHOICE) {
        assert_eq!(flight[..3], [8, 0, 0], "a short EncryptedExtensions");
        flight.drain(at..at + CHOICE.len());
        flight[3] -= CHOICE.len() as u8;
        flight[5] -= CHOICE.len() as u8;
    }
}

#[test]
fn only_our_server_name_is_answered() {
    let node = open_node();
    for name in ["example.org", "prost.invalid.example.org", "127.0.0.1", "::1"] {
        assert_eq!(
            meet_as(name, dialler(&node, &OPEN), dialled(&node, &OPEN)),
            Met::RefusedByDialled(Rejection::ServerName),
            "{name}"
        );
    }
    let mut silent = dialler(&node, &OPEN);
    silent.config.enable_sni = false;
    assert_eq!(meet(silent, dialled(&node, &OPEN)), Met::RefusedByDialled(Rejection::ServerName));
}

#[test]
fn tls_1_2_is_not_spoken() {
    let node = open_node();
    let dialled = dialled(&node, &OPEN);
    let mut connection = Connection::Server(server(dialled.config));
    assert!(connection.read_hs(&client_hello_of_tls_1_2()).is_err());
    assert_eq!(reason(&connection, &dialled.rejections, &Rejections::new()), Rejection::TlsVersion);
}

/// A ClientHello (RFC 5246, section 7.4.1.2) with everything but the extension that offers TLS 1.3.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[(u16, &[u8])] = &[
        (0, b"\x00\x10\x00\x00\x0dprost.invalid"),
        (10, &[0, 2, 0, 29]),
        (11, &[1, 0]),
        (13, &[0, 2, 8, 7]),
        (16, b"\x00\x08\x07prost/1"),
        (23, &[]),
    ];
    let mut encoded = Vec::new();
    for (kind, body) in extensions {
        encoded.extend(kind.to_be_bytes());
        encoded.extend((body.len() as u16).to_be_bytes());
        encoded.extend(*body);
    }
    let length = (encoded.len() as u16).to_be_bytes();
    let suites = [0, 2, 0xc0, 0x2b];
    let body = [&[3, 3][..], &[7; 32], &[0], &suites, &[1, 0], &length, &encoded].concat();
    [&[1, 0, 0, body.len() as u8][..], &body].concat()
}

#[test]
fn garbage_ends_a_handshake_before_any_verifier_is_asked() {
    let node = open_node();
    for bytes in [&[0xff; 64][..], &[1, 0, 0, 1, 0], &[11, 0, 0, 4, 0, 0, 0, 0]] {
        let dialled = dialled(&node, &OPEN);
        let mut connection = server(dialled.config);
        assert!(connection.read_hs(bytes).is_err());
        assert!(dialled.rejections.iter().all(|(_, count)| count == 0));
    }
}

#[test]
fn nothing_is_remembered_between_connections() {
    let (node, rejections) = (open_node(), Rejections::new());
    let server = server_config(&node, &OPEN, &rejections);
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!server.session_storage.can_cache());
    assert!(!server.ticketer.enabled());
    assert!(!server.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
    let client = client_config(&node, &OPEN, None, &rejections);
    assert!(!client.enable_early_data);
    assert!(!client.key_log.will_log("CLIENT_TRAFFIC_SECRET_0"));
}
