//! Signed roots: the one kind of block that its publisher can replace.

use core::fmt;

use ed25519_dalek::{Signature, VerifyingKey};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::BlockId;

/// Longest salt, in bytes.
pub const MAX_SALT: usize = 32;
/// Longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1024;

/// What is hashed before key and salt, so that an id of a root is that of nothing else.
const ID_CONTEXT: &[u8] = b"prost cfs root id\0";
/// What is signed before the statement, so that a signature means nothing elsewhere.
const SIGN_CONTEXT: &[u8] = b"prost cfs root\0";

/// What a publisher signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The publisher's Ed25519 key.
    pub publisher: [u8; 32],
    /// Tells a publisher's roots apart; at most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
    /// Strictly greater than all before it.
    pub version: u64,
    /// What it says; at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
}

/// A root with its signature, as a block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Signed {
    #[n(0)]
    publisher: ByteArray<32>,
    #[n(1)]
    salt: ByteVec,
    #[n(2)]
    version: u64,
    #[n(3)]
    payload: ByteVec,
    #[n(4)]
    signature: ByteArray<64>,
}

/// Why bytes are not the block of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRoot {
    /// They are no root in its one encoding, or a part is too long.
    Malformed,
    /// The publisher's key has not signed it.
    Signature,
    /// They are a block of another id.
    OtherId,
}

impl fmt::Display for BadRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRoot::Malformed => "it is no signed root",
            BadRoot::Signature => "its signature is wrong",
            BadRoot::OtherId => "its bytes are not those of the id",
        })
    }
}

impl core::error::Error for BadRoot {}

impl Root {
    /// The id of the root of a key and a salt.
    pub fn id_of(publisher: &[u8; 32], salt: &[u8]) -> BlockId {
        BlockId(Sha256::new().chain_update(ID_CONTEXT).chain_update(publisher).chain_update(salt).finalize().into())
    }

    /// Its id.
    pub fn id(&self) -> BlockId {
        Root::id_of(&self.publisher, &self.salt)
    }

    /// What its publisher signs.
    pub fn statement(&self) -> Vec<u8> {
        let mut statement = SIGN_CONTEXT.to_vec();
        statement.push(self.salt.len() as u8);
        statement.extend(&self.salt);
        statement.extend(self.version.to_be_bytes());
        statement.extend(&self.payload);
        statement
    }

    /// The block, with the publisher's signature over the [`statement`](Root::statement).
    pub fn encode(&self, signature: [u8; 64]) -> Vec<u8> {
        crate::encode(&Signed {
            publisher: self.publisher.into(),
            salt: self.salt.clone().into(),
            version: self.version,
            payload: self.payload.clone().into(),
            signature: signature.into(),
        })
    }

    /// Reads a block, and checks its signature. Keys of small order, which sign anything, are refused (`verify_strict`).
    ///
    /// # Errors
    ///
    /// [`BadRoot`].
    pub fn decode(block: &[u8]) -> Result<Root, BadRoot> {
        let signed: Signed = crate::decode(block).map_err(|_| BadRoot::Malformed)?;
        // One root has one encoding, so that equal versions can be compared byte by byte.
        let is_short = signed.salt.len() <= MAX_SALT && signed.payload.len() <= MAX_PAYLOAD;
        if !is_short || crate::encode(&signed) != block {
            return Err(BadRoot::Malformed);
        }
        let root = Root {
            publisher: *signed.publisher,
            salt: signed.salt.into(),
            version: signed.version,
            payload: signed.payload.into(),
        };
        let key = VerifyingKey::from_bytes(&root.publisher).map_err(|_| BadRoot::Signature)?;
        key.verify_strict(&root.statement(), &Signature::from_bytes(&signed.signature))
            .map_err(|_| BadRoot::Signature)?;
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;
    use crate::{Kind, verify};

    fn root(version: u64) -> (Root, [u8; 64]) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let publisher = key.verifying_key().to_bytes();
        let root = Root { publisher, salt: b"site".to_vec(), version, payload: vec![1, 2, 3] };
        let signature = key.sign(&root.statement()).to_bytes();
        (root, signature)
    }

    #[test]
    fn a_root_reads_back_and_proves_its_id() {
        let (root, signature) = root(3);
        let block = root.encode(signature);
        assert_eq!(Root::decode(&block), Ok(root.clone()));
        assert_eq!(verify(Kind::Root, &root.id(), &block), Ok(()));
        assert_eq!(verify(Kind::Root, &BlockId::of(&block), &block), Err(BadRoot::OtherId));
    }

    #[test]
    fn no_byte_of_a_root_can_be_changed() {
        let (root, signature) = root(3);
        let block = root.encode(signature);
        for at in 0..block.len() {
            let mut changed = block.clone();
            changed[at] ^= 1;
            assert!(verify(Kind::Root, &root.id(), &changed).is_err(), "byte {at}");
            assert!(Root::decode(&block[..at]).is_err());
        }
        assert_eq!(Root::decode(&[block.as_slice(), &[0]].concat()), Err(BadRoot::Malformed));
    }

    #[test]
    fn a_signature_of_another_version_or_by_a_weak_key_is_none() {
        let (root_3, signature) = root(3);
        let (root_4, _) = root(4);
        assert_eq!(Root::decode(&root_4.encode(signature)), Err(BadRoot::Signature));
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(Root::decode(&Root { publisher: one, ..root_3 }.encode([0; 64])), Err(BadRoot::Signature));
    }

    #[test]
    fn what_is_too_long_is_no_root() {
        let (root, signature) = root(3);
        let long = Root { salt: vec![0; MAX_SALT + 1], ..root.clone() };
        assert_eq!(Root::decode(&long.encode(signature)), Err(BadRoot::Malformed));
        let long = Root { payload: vec![0; MAX_PAYLOAD + 1], ..root };
        assert_eq!(Root::decode(&long.encode(signature)), Err(BadRoot::Malformed));
    }
}
