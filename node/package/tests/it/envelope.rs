//! Who signed, and what.

use bytes::Bytes;
use coset::{CborSerializable, CoseSign1, HeaderBuilder, TaggedCborSerializable, iana};
use prost_package::{ManifestError, ProviderKey, SignedManifest};
use ring::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};

use crate::support::{DOMAIN, enveloped, forge, header, key, manifest_of, payload_of, signed, tagged};

fn refusal(bytes: Bytes) -> ManifestError {
    SignedManifest::verify(bytes).expect_err("an envelope that must be refused was taken")
}

fn is_malformed(error: &ManifestError) -> bool {
    matches!(error, ManifestError::Malformed(_))
}

#[test]
fn a_signed_manifest_is_read_back() {
    let signed = signed();
    let received = SignedManifest::verify(signed.bytes().clone()).unwrap();
    assert_eq!(received, signed);
    assert_eq!(received.manifest(), &manifest_of(&key(1)));
    assert_eq!(received.manifest().app().to_string(), format!("dht@{}", hex::encode(key(1).public())));
}

#[test]
fn signing_the_same_twice_gives_the_same_bytes() {
    assert_eq!(signed().bytes(), signed().bytes());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = signed().bytes().to_vec();
    for position in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[position] ^= 1 << bit;
            assert!(SignedManifest::verify(bad.into()).is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn an_envelope_cut_anywhere_or_with_a_tail_is_refused() {
    let good = signed().bytes().clone();
    for length in 0..good.len() {
        assert!(SignedManifest::verify(good.slice(..length)).is_err(), "cut after {length} bytes");
    }
    let longer = [good.as_ref(), &[0]].concat();
    assert!(is_malformed(&refusal(longer.into())));
}

#[test]
fn only_its_own_provider_signs_a_manifest() {
    assert_eq!(SignedManifest::sign(manifest_of(&key(1)), &key(2)), Err(ManifestError::BadKey));

    let payload = payload_of(&manifest_of(&key(1)));
    let by_another = forge(header(&key(1).public()), payload.clone(), 2, DOMAIN);
    assert_eq!(refusal(tagged(by_another)), ManifestError::BadSignature);

    let key_id_of_the_signer = forge(header(&key(2).public()), payload.clone(), 2, DOMAIN);
    assert_eq!(refusal(tagged(key_id_of_the_signer)), ManifestError::BadKey);

    let key_id_of_another = forge(header(&key(2).public()), payload, 1, DOMAIN);
    assert_eq!(refusal(tagged(key_id_of_another)), ManifestError::BadSignature);
}

#[test]
fn a_signature_made_for_another_purpose_is_none() {
    let payload = payload_of(&manifest_of(&key(1)));
    for domain in [&b""[..], b"prost-peerlet-manifest-v2", b"prost-peerlet-manifest-v"] {
        let envelope = forge(header(&key(1).public()), payload.clone(), 1, domain);
        assert_eq!(refusal(tagged(envelope)), ManifestError::BadSignature);
    }
}

#[test]
fn other_headers_are_refused_though_the_signature_is_good() {
    let provider = key(1).public();
    let payload = payload_of(&manifest_of(&key(1)));
    let without_key_id = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).build();
    let without_algorithm = HeaderBuilder::new().key_id(provider.to_vec()).build();
    let other_algorithm = HeaderBuilder::new().algorithm(iana::Algorithm::ES256).key_id(provider.to_vec()).build();
    let one_more = HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(provider.to_vec())
        .text_value("more".to_owned(), true.into())
        .build();
    for bad in [without_key_id, without_algorithm, other_algorithm, one_more, header(&provider[..31])] {
        let envelope = tagged(forge(bad.clone(), payload.clone(), 1, DOMAIN));
        assert!(is_malformed(&refusal(envelope)), "{bad:?}");
    }
}

#[test]
fn what_the_signature_does_not_cover_cannot_be_changed_either() {
    let good = signed().bytes().clone();

    let mut unprotected = CoseSign1::from_tagged_slice(&good).unwrap();
    unprotected.unprotected = header(&key(1).public());
    assert!(is_malformed(&refusal(tagged(unprotected))));

    let untagged = CoseSign1::from_tagged_slice(&good).unwrap().to_vec().unwrap();
    assert!(is_malformed(&refusal(untagged.into())));

    // The signature's length, 64, in two bytes where one does.
    let at = good.len() - 66;
    assert_eq!(good[at..at + 2], [0x58, 64]);
    let respelt = [&good[..at], &[0x59, 0, 64], &good[at + 2..]].concat();
    assert_eq!(
        CoseSign1::from_tagged_slice(&respelt).unwrap(),
        CoseSign1::from_tagged_slice(&good).unwrap(),
        "the same to a COSE reader"
    );
    assert!(is_malformed(&refusal(respelt.into())));
}

#[test]
fn a_detached_payload_is_refused() {
    let mut envelope = CoseSign1::from_tagged_slice(signed().bytes()).unwrap();
    envelope.payload = None;
    assert!(is_malformed(&refusal(tagged(envelope))));
}

#[test]
fn another_encoding_of_the_same_fields_needs_a_signature_of_its_own() {
    let manifest = manifest_of(&key(1));
    let payload = payload_of(&manifest);
    // `"format": 1`, with the number in one byte more than it needs.
    let field = b"\x66format\x01";
    let at = payload.windows(field.len()).position(|window| window == field).unwrap() + field.len() - 1;
    let respelt = [&payload[..at], &[0x18, 1], &payload[at + 1..]].concat();
    assert_eq!(serde_cbor::from_slice::<prost_package::Manifest>(&respelt).unwrap(), manifest, "the same fields");

    let mut borrowed = CoseSign1::from_tagged_slice(signed().bytes()).unwrap();
    borrowed.payload = Some(respelt.clone());
    assert_eq!(refusal(tagged(borrowed)), ManifestError::BadSignature);

    let own = SignedManifest::verify(enveloped(respelt)).unwrap();
    assert_eq!(own.manifest(), &manifest);
    assert_ne!(own.bytes(), signed().bytes());
}

#[test]
fn a_signature_shifted_by_the_group_order_is_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut envelope = CoseSign1::from_tagged_slice(signed().bytes()).unwrap();
    let mut carry = 0;
    for (byte, order) in envelope.signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(carry, 0);
    assert_eq!(refusal(tagged(envelope)), ManifestError::BadSignature);
}

#[test]
fn a_key_for_which_one_signature_fits_all_is_refused() {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let fits_all = [neutral, [0; 32]].concat();
    UnparsedPublicKey::new(&ED25519, neutral).verify(b"anything", &fits_all).expect("a verifier alone takes it");

    let mut manifest = manifest_of(&key(1));
    manifest.provider = neutral;
    let mut envelope = forge(header(&neutral), payload_of(&manifest), 1, DOMAIN);
    envelope.signature = fits_all;
    assert_eq!(refusal(tagged(envelope)), ManifestError::BadKey);
}

#[test]
fn all_points_of_small_order_are_refused_in_every_spelling() {
    let points = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in points {
        for sign in [0, 0x80] {
            let mut provider: [u8; 32] = hex::decode(point).unwrap().try_into().unwrap();
            provider[31] |= sign;
            let mut manifest = manifest_of(&key(1));
            manifest.provider = provider;
            let envelope = tagged(forge(header(&provider), payload_of(&manifest), 1, DOMAIN));
            assert_eq!(refusal(envelope), ManifestError::BadKey, "{point}, sign {sign:#x}");
        }
    }
}

#[test]
fn an_envelope_beyond_the_limit_is_not_looked_at() {
    let bytes = Bytes::from(vec![0; SignedManifest::MAX + 1]);
    assert_eq!(refusal(bytes), ManifestError::TooLarge(SignedManifest::MAX + 1));
    assert!(is_malformed(&refusal(vec![0; SignedManifest::MAX].into())));
}

#[test]
fn keys_are_read_from_both_versions_of_pkcs8() {
    let seed = [9; 32];
    let expected = ProviderKey::from_seed(&seed).public();
    assert_eq!(ProviderKey::from_pkcs8(&ProviderKey::pkcs8(&seed)).unwrap().public(), expected);

    let written_by_ring = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    let public = ProviderKey::from_pkcs8(written_by_ring.as_ref()).unwrap().public();
    assert_eq!(public, written_by_ring.as_ref()[written_by_ring.as_ref().len() - 32..]);

    let mut halves_differ = written_by_ring.as_ref().to_vec();
    *halves_differ.last_mut().unwrap() ^= 1;
    for bad in [&halves_differ[..], b"", b"-----BEGIN PRIVATE KEY-----", &ProviderKey::pkcs8(&seed)[..47]] {
        assert_eq!(ProviderKey::from_pkcs8(bad).err(), Some(ManifestError::BadKey));
    }
}

#[test]
fn what_openssl_writes_is_a_key() {
    // `openssl genpkey -algorithm ed25519 -outform DER` gives this shape; seed and public key are those of RFC 8032,
    // section 7.1, test 1.
    let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    let der = hex::decode(format!("302e020100300506032b657004220420{seed}")).unwrap();
    let key = ProviderKey::from_pkcs8(&der).unwrap();
    assert_eq!(hex::encode(key.public()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(der, ProviderKey::pkcs8(&hex::decode(seed).unwrap().try_into().unwrap()));
}

#[test]
fn a_key_does_not_print_its_secret() {
    let shown = format!("{:?}", key(1));
    assert!(shown.contains(&hex::encode(key(1).public())));
    assert!(!shown.contains(&hex::encode([1; 32])));
}
