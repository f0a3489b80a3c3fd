//! Certificates that must not get anyone in, shown on either side of a connection.

use prost_certs::{Admission, CertificateAuthority, CertificateDer, Identity, Rejection};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey,
    date_time_ymd,
};

use crate::world::{
    Met, OPEN, SALT, TestRing, authority, dialled, dialler, meet, new_key, node_params, open_node, valid,
    valid_around_now,
};

/// Shows the certificate on either side of a connection; both times it must be refused for this reason.
fn refused_on_both_sides(certificate: &CertificateDer<'static>, key: &KeyPair, admission: &Admission, why: Rejection) {
    // The certificate that the liar's settings come with is never shown, and the liar takes whom it meets.
    let own = open_node();
    let show = || vec![certificate.clone()];
    let liar = dialler(&own, &OPEN).showing(show(), key);
    assert_eq!(meet(liar, dialled(&own, admission)), Met::RefusedByDialled(why));
    let liar = dialled(&own, &OPEN).showing(show(), key);
    assert_eq!(meet(dialler(&own, admission), liar), Met::RefusedByDialler(why));
}

/// A self-signed certificate in an open ring, spoiled.
fn spoiled(spoil: impl FnOnce(&mut CertificateParams)) -> (CertificateDer<'static>, KeyPair) {
    let (key, mut params) = (new_key(), node_params());
    spoil(&mut params);
    (params.self_signed(&key).expect("a certificate").into(), key)
}

/// A public key that nobody has, under the name of an algorithm.
struct Claimed(&'static SignatureAlgorithm, Vec<u8>);

impl PublicKeyData for Claimed {
    fn der_bytes(&self) -> &[u8] {
        &self.1
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0
    }
}

#[test]
fn keys_of_other_algorithms_are_refused() {
    let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
    let certificate = node_params().self_signed(&ecdsa).expect("a certificate").into();
    refused_on_both_sides(&certificate, &new_key(), &OPEN, Rejection::KeyAlgorithm);

    // An RSA key's modulus need not be one to be seen as RSA's.
    let (issuer, rsa) = (new_key(), Claimed(&PKCS_RSA_SHA256, vec![0x5a; 270]));
    let certificate =
        node_params().signed_by(&rsa, &Issuer::new(node_params(), &issuer)).expect("a certificate").into();
    refused_on_both_sides(&certificate, &issuer, &OPEN, Rejection::KeyAlgorithm);
}

#[test]
fn weak_and_ambiguous_keys_are_refused() {
    let mut beyond_the_field = vec![0xff; 32];
    beyond_the_field[31] = 0x7f;
    for (bytes, why) in [(vec![0; 32], Rejection::SmallOrderKey), (beyond_the_field, Rejection::NonCanonicalKey)] {
        let (issuer, weak) = (new_key(), Claimed(&PKCS_ED25519, bytes));
        let certificate = node_params().signed_by(&weak, &Issuer::new(node_params(), &issuer)).expect("a certificate");
        refused_on_both_sides(&certificate.into(), &issuer, &OPEN, why);
    }
}

#[test]
fn a_key_in_another_encoding_is_refused() {
    // Long enough for lengths of two bytes.
    let (der, key) = spoiled(|params| params.distinguished_name.push(DnType::OrganizationName, "x".repeat(200)));
    let canonical = hex::decode("302a300506032b6570032100").expect("hex");
    let with_null_parameters = hex::decode("302c300706032b65700500032100").expect("hex");
    let other = resigned(&der, &key, &canonical, &with_null_parameters);
    refused_on_both_sides(&other, &key, &OPEN, Rejection::NonCanonicalKey);
    // The tool that spoils certificates does not spoil those it does not change.
    assert_eq!(resigned(&der, &key, &canonical, &canonical), der);
}

/// The certificate with one piece of its body replaced, two-byte lengths mended, signed anew.
fn resigned(der: &[u8], key: &KeyPair, piece: &[u8], by: &[u8]) -> CertificateDer<'static> {
    let body_length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let (body, algorithm) = (&der[8..8 + body_length], &der[8 + body_length..der.len() - 67]);
    let at = body.windows(piece.len()).position(|window| window == piece).expect("the piece is in the body");
    let body = sequence(&[&body[..at], by, &body[at + piece.len()..]].concat());
    let signature = key.sign(&body).expect("a signature");
    let signature = [&[0x03, 65, 0], &signature[..]].concat();
    sequence(&[&body[..], algorithm, &signature].concat()).into()
}

fn sequence(contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("a short certificate").to_be_bytes();
    [&[0x30, 0x82, length[0], length[1]], contents].concat()
}

#[test]
fn certificates_outside_their_dates_are_refused_beyond_the_skew() {
    const MINUTE: i64 = 60;
    const DAY: i64 = 24 * 60 * MINUTE;
    let honest = open_node();
    for (before, after, why) in [
        (DAY, -DAY / 2, Some(Rejection::Expired)),
        (DAY, -11 * MINUTE, Some(Rejection::Expired)),
        (DAY, -9 * MINUTE, None),
        (-9 * MINUTE, DAY, None),
        (-11 * MINUTE, DAY, Some(Rejection::NotYetValid)),
        (-DAY, 2 * DAY, Some(Rejection::NotYetValid)),
    ] {
        let node = Identity::generate_open("node", valid_around_now(before, after)).expect("an identity");
        let (out, into) = (
            meet(dialler(&node, &OPEN), dialled(&honest, &OPEN)),
            meet(dialler(&honest, &OPEN), dialled(&node, &OPEN)),
        );
        match why {
            Some(why) => assert_eq!((out, into), (Met::RefusedByDialled(why), Met::RefusedByDialler(why))),
            None => assert!(matches!((out, into), (Met::Both { .. }, Met::Both { .. })), "{before} {after}"),
        }
    }
}

#[test]
fn a_certificate_of_a_closed_ring_expires_too() {
    let authority = authority();
    let ring = authority.admission();
    let late = authority.issue("late", valid_around_now(86_400, -3_600)).expect("an identity");
    let member = authority.issue("member", valid()).expect("an identity");
    assert_eq!(meet(dialler(&late, ring), dialled(&member, ring)), Met::RefusedByDialled(Rejection::Expired));
}

#[test]
fn a_certificate_for_ever_is_refused() {
    let (certificate, key) = spoiled(|params| params.not_after = date_time_ymd(9999, 12, 31));
    refused_on_both_sides(&certificate, &key, &OPEN, Rejection::Lifetime);
}

#[test]
fn other_authorities_nodes_are_refused() {
    let (ours, theirs) = (authority(), CertificateAuthority::generate("other ring", valid()).expect("an authority"));
    let namesake = authority();
    let member = ours.issue("node", valid()).expect("an identity");
    for (stranger, why) in [
        (theirs.issue("node", valid()).expect("an identity"), Rejection::UnknownIssuer),
        (namesake.issue("node", valid()).expect("an identity"), Rejection::CertificateSignature),
        (open_node(), Rejection::UnknownIssuer),
    ] {
        assert_eq!(
            meet(dialler(&stranger, ours.admission()), dialled(&member, ours.admission())),
            Met::RefusedByDialled(why)
        );
        assert_eq!(
            meet(dialler(&member, ours.admission()), dialled(&stranger, ours.admission())),
            Met::RefusedByDialler(why)
        );
    }
}

#[test]
fn an_open_ring_takes_only_what_is_signed_by_its_own_key() {
    let member = authority().issue("node", valid()).expect("an identity");
    let node = open_node();
    assert_eq!(meet(dialler(&member, &OPEN), dialled(&node, &OPEN)), Met::RefusedByDialled(Rejection::UnknownIssuer));

    let (key, issuer) = (new_key(), new_key());
    let certificate = node_params().signed_by(&key, &Issuer::new(node_params(), &issuer)).expect("a certificate");
    refused_on_both_sides(&certificate.into(), &key, &OPEN, Rejection::CertificateSignature);
}

#[test]
fn certificates_for_other_purposes_are_refused() {
    let (authoritative, key) = spoiled(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    refused_on_both_sides(&authoritative, &key, &OPEN, Rejection::Purpose);
    let (purposeless, key) = spoiled(|params| params.extended_key_usages.clear());
    refused_on_both_sides(&purposeless, &key, &OPEN, Rejection::Purpose);

    let node = open_node();
    let (for_servers, key) = spoiled(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let show = || vec![for_servers.clone()];
    assert_eq!(
        meet(dialler(&node, &OPEN).showing(show(), &key), dialled(&node, &OPEN)),
        Met::RefusedByDialled(Rejection::Purpose)
    );
    assert!(matches!(meet(dialler(&node, &OPEN), dialled(&node, &OPEN).showing(show(), &key)), Met::Both { .. }));
}

#[test]
fn a_closed_ring_wants_exactly_one_salt() {
    let ring = TestRing::new();
    let upper_case = SALT.to_uppercase().replace("PROST:SALT", "prost:salt");
    for salts in [&[][..], &["prost:salt:00"], &["prost:salt:"], &[&upper_case], &[SALT, SALT]] {
        let (leaf, key) = ring.issue(salts);
        refused_on_both_sides(&leaf, &key, &ring.admission, Rejection::Salt);
    }
}

#[test]
fn malformed_certificates_are_refused() {
    let (good, key) = spoiled(|_| ());
    let mut trailing = good.to_vec();
    trailing.push(0);
    let mut indefinite_length = good.to_vec();
    indefinite_length[1] = 0x80;
    let cut = good[..good.len() - 1].to_vec();
    let long_length = [&[0x30, 0x83, 0x00], &good[2..]].concat();
    let (critical, _) = spoiled(|params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    for bad in [trailing, indefinite_length, cut, long_length, critical.to_vec(), vec![0x30], vec![0xff; 400]] {
        refused_on_both_sides(&bad.into(), &key, &OPEN, Rejection::Malformed);
    }
}

#[test]
fn long_certificates_are_refused_unread() {
    let (certificate, key) = spoiled(|params| {
        let extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5; 4096]);
        params.custom_extensions.push(extension);
    });
    refused_on_both_sides(&certificate, &key, &OPEN, Rejection::Oversized);
    refused_on_both_sides(&vec![0; 60_000].into(), &key, &OPEN, Rejection::Oversized);
}
