//! Ed25519 as Prost uses it: one encoding of a key, no weak keys, signatures that have exactly one form.

use ring::signature::{ED25519, UnparsedPublicKey};

use crate::rejection::Rejection;

/// An Ed25519 public key, as RFC 8032 encodes it.
pub type PublicKey = [u8; 32];

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The signature is not one of this key over this statement in this domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Checks a signature that [`Identity::sign`](crate::Identity::sign) made for `statement` in `domain`.
///
/// Strict: what it accepts, every careful Ed25519 library accepts. Keys and nonces of small order, keys that are not in
/// canonical form, and scalars beyond the group order are refused.
pub fn verify(key: &PublicKey, domain: &str, statement: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    verify_strict(key, &preimage(domain, statement), signature)
}

/// What is signed for a statement. The label cannot begin a TLS handshake signature (64 spaces), a certificate (0x30)
/// or a COSE structure (0x84), and the length keeps the end of the domain where it is.
pub(crate) fn preimage(domain: &str, statement: &[u8]) -> Vec<u8> {
    let length = (domain.len() as u64).to_be_bytes();
    [STATEMENT_LABEL, &length, domain.as_bytes(), statement].concat()
}

/// The key's SubjectPublicKeyInfo: the one encoding that is accepted.
pub(crate) fn spki(key: &PublicKey) -> [u8; SPKI_LEN] {
    let mut spki = [0; SPKI_LEN];
    spki[..SPKI_PREFIX.len()].copy_from_slice(&SPKI_PREFIX);
    spki[SPKI_PREFIX.len()..].copy_from_slice(key);
    spki
}

/// Takes the key out of a SubjectPublicKeyInfo that must be exactly what [`spki`] makes of it.
pub(crate) fn key_from_spki(spki: &[u8]) -> Result<PublicKey, Rejection> {
    let Some(key) = spki.strip_prefix(&SPKI_PREFIX).and_then(|key| PublicKey::try_from(key).ok()) else {
        // The algorithm stands at the front: elsewhere these bytes are part of another algorithm's key.
        let front = &spki[..spki.len().min(SPKI_PREFIX.len() + 4)];
        let ed25519 = front.windows(ED25519_OID.len()).any(|window| window == ED25519_OID);
        return Err(if ed25519 { Rejection::NonCanonicalKey } else { Rejection::KeyAlgorithm });
    };
    check_key(&key)?;
    Ok(key)
}

fn verify_strict(key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    // The first half of a signature is a point too. Ring compares its encoding and checks the scalar's range.
    let nonce: &PublicKey = signature.first_chunk().ok_or(BadSignature)?;
    if check_key(key).is_err() || check_key(nonce).is_err() {
        return Err(BadSignature);
    }
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).map_err(|_| BadSignature)
}

/// Refuses encodings that are not the shortest of their point, and the eight points of small order, under which
/// signatures can be made without any secret.
fn check_key(key: &PublicKey) -> Result<(), Rejection> {
    let mut y = *key;
    y[31] &= 0x7f;
    if y[31] == 0x7f && y[1..31].iter().all(|byte| *byte == 0xff) && y[0] >= 0xed {
        return Err(Rejection::NonCanonicalKey);
    }
    if SMALL_ORDER.contains(&y) { Err(Rejection::SmallOrderKey) } else { Ok(()) }
}

const STATEMENT_LABEL: &[u8] = b"prost 2026 statement v1\0";

/// `SEQUENCE { SEQUENCE { OID 1.3.101.112 }, BIT STRING, 0 unused bits`: RFC 8410, section 4.
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const SPKI_LEN: usize = SPKI_PREFIX.len() + 32;
const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// The y coordinates, little endian, of the points whose order divides the cofactor 8; either sign of x.
const SMALL_ORDER: [PublicKey; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn lenient(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
    }

    fn pair() -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).expect("32 bytes are a seed");
        let key = pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes");
        (pair, key)
    }

    /// Under a key of small order, nonce one and scalar zero verify for one message in at most eight.
    fn forge(key: &PublicKey) -> (Vec<u8>, [u8; 64]) {
        let mut signature = [0; 64];
        signature[0] = 1;
        let found = (0..=255u8).map(|n| vec![n]).find(|message| lenient(key, message, &signature));
        (found.expect("a message for which the forgery holds"), signature)
    }

    #[test]
    fn keys_of_small_order_are_refused_because_anyone_can_sign_for_them() {
        for y in SMALL_ORDER {
            let (message, signature) = forge(&y);
            assert_eq!(verify_strict(&y, &message, &signature), Err(BadSignature));
            let mut negated = y;
            negated[31] |= 0x80;
            assert_eq!(key_from_spki(&spki(&y)), Err(Rejection::SmallOrderKey));
            assert_eq!(key_from_spki(&spki(&negated)), Err(Rejection::SmallOrderKey));
        }
    }

    #[test]
    fn a_nonce_of_small_order_is_refused() {
        // The key of seed 00..1f, nonce the neutral point, scalar k*a: verifies for "prost" by the bare equation.
        let key = hex::decode("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8").expect("hex");
        let signature = hex::decode(
            "01000000000000000000000000000000000000000000000000000000000000001cc9488dbec374338e2ade2aebe3d8f190289f62e3\
             47518211c893c679d5d40f",
        )
        .expect("hex");
        assert!(lenient(&key, b"prost", &signature));
        let key = key.try_into().expect("32 bytes");
        assert_eq!(verify_strict(&key, b"prost", &signature), Err(BadSignature));
    }

    #[test]
    fn a_scalar_beyond_the_group_order_is_refused() {
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").expect("hex");
        let (pair, key) = pair();
        let mut signature: [u8; 64] = pair.sign(b"message").as_ref().try_into().expect("64 bytes");
        assert_eq!(verify_strict(&key, b"message", &signature), Ok(()));
        let mut carry = 0;
        for (digit, addend) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*digit) + u16::from(addend) + carry;
            (*digit, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(verify_strict(&key, b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn encodings_beyond_the_field_are_refused() {
        for low in 0xed..=0xff {
            let mut key = [0xff; 32];
            key[0] = low;
            assert_eq!(key_from_spki(&spki(&key)), Err(Rejection::NonCanonicalKey), "{low:x}");
            key[31] = 0x7f;
            assert_eq!(key_from_spki(&spki(&key)), Err(Rejection::NonCanonicalKey), "{low:x}");
        }
    }

    #[test]
    fn only_the_44_byte_spki_is_taken() {
        let (_, key) = pair();
        let good = spki(&key);
        assert_eq!(key_from_spki(&good), Ok(key));

        let with_parameters = [&hex::decode("302c300706032b65700500032100").expect("hex")[..], &key].concat();
        let with_trailing_byte = [&good[..], &[0]].concat();
        let with_long_length = [&hex::decode("30812a300506032b6570032100").expect("hex")[..], &key].concat();
        let with_unused_bits = [&hex::decode("302a300506032b6570032101").expect("hex")[..], &key].concat();
        for bad in [with_parameters, with_trailing_byte, with_long_length, with_unused_bits, good[..43].to_vec()] {
            assert_eq!(key_from_spki(&bad), Err(Rejection::NonCanonicalKey), "{}", hex::encode(bad));
        }
        let x25519 = [&hex::decode("302a300506032b656e032100").expect("hex")[..], &key].concat();
        for bad in [x25519, Vec::new(), vec![0x30, 0x00]] {
            assert_eq!(key_from_spki(&bad), Err(Rejection::KeyAlgorithm), "{}", hex::encode(bad));
        }
    }

    #[test]
    fn domain_and_statement_cannot_trade_bytes() {
        assert_ne!(preimage("ab", b"c"), preimage("a", b"bc"));
        assert_ne!(preimage("", b"abc"), preimage("abc", b""));
    }
}
