//! Providers' keys.

use core::fmt;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::manifest::ManifestError;

/// Length of an Ed25519 secret seed, in bytes.
const SEED: usize = 32;

/// What stands before the seed in a PKCS#8 document of an Ed25519 key without its public half: version 0, the
/// algorithm 1.3.101.112, and the seed as an octet string in an octet string (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A provider's Ed25519 key pair.
pub struct ProviderKey(Ed25519KeyPair);

impl ProviderKey {
    /// The key pair of a secret seed.
    pub fn from_seed(seed: &[u8; SEED]) -> ProviderKey {
        ProviderKey(Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are an Ed25519 seed"))
    }

    /// The key pair in a PKCS#8 document (DER), with its public key (version 2, as ring writes it) or without
    /// (version 1, as `openssl genpkey` does). A public key that is there must be that of the secret one.
    pub fn from_pkcs8(der: &[u8]) -> Result<ProviderKey, ManifestError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(ProviderKey).map_err(|_| ManifestError::BadKey)
    }

    /// The PKCS#8 document (DER, version 1) of a secret seed: what `openssl pkey -inform DER` reads, as does
    /// [`from_pkcs8`](ProviderKey::from_pkcs8). It is as secret as the seed.
    pub fn pkcs8(seed: &[u8; SEED]) -> [u8; PKCS8_HEAD.len() + SEED] {
        let mut der = [0; PKCS8_HEAD.len() + SEED];
        let (head, tail) = der.split_at_mut(PKCS8_HEAD.len());
        head.copy_from_slice(&PKCS8_HEAD);
        tail.copy_from_slice(seed);
        der
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        public
    }

    /// The signature over these bytes.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl fmt::Debug for ProviderKey {
    /// The public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProviderKey({})", hex::encode(self.public()))
    }
}

/// Checks a signature by a key that someone else chose.
pub(crate) fn verify(public: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), ManifestError> {
    if is_weak(public) {
        return Err(ManifestError::BadKey);
    }
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| ManifestError::BadSignature)
}

/// The y coordinates of the eight points whose order divides the cofactor, little endian. Each x sign is a point.
///
/// Listed in Chalkias, Garillot, Nikolaenko, "Taming the Many EdDSAs" (SSR 2020), section 5.
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

/// Whether a public key is a point of small order, for which one signature fits every message, or is encoded in
/// another way than the one that every implementation writes. Such a key names no provider.
fn is_weak(public: &[u8; 32]) -> bool {
    let mut y = *public;
    y[31] &= 0x7f;
    let not_reduced = y[0] >= 0xed && y[1..31].iter().all(|byte| *byte == 0xff) && y[31] == 0x7f;
    not_reduced || SMALL_ORDER.contains(&y)
}
