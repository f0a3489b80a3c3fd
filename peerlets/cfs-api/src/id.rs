//! Names of blocks.

use core::fmt;
use core::str::FromStr;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

/// How a block proves itself (section 4 of the paper).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Kind {
    /// Its id is the SHA-256 of its bytes. It never changes.
    #[n(0)]
    Content,
    /// Its id is the hash of a public key and a salt, and the key has signed it: see [`Root`](crate::Root). A newer
    /// version takes its place.
    #[n(1)]
    Root,
}

/// The id of a block: 32 bytes, of which the first twenty are its key on the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub [u8; BlockId::LEN]);

impl BlockId {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The id of a content block: the SHA-256 of its bytes.
    pub fn of(bytes: &[u8]) -> BlockId {
        BlockId(Sha256::digest(bytes).into())
    }

    /// Where on the ring the block lives.
    pub fn key(&self) -> [u8; 20] {
        let mut key = [0; 20];
        key.copy_from_slice(&self.0[..20]);
        key
    }
}

impl fmt::Display for BlockId {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({self})")
    }
}

/// The text is no id of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id of a block has 64 hexadecimal digits")
    }
}

impl core::error::Error for BadId {}

impl FromStr for BlockId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<BlockId, BadId> {
        let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        if digits.len() != 2 * BlockId::LEN || text.len() != digits.len() {
            return Err(BadId);
        }
        let mut id = [0; BlockId::LEN];
        id.iter_mut().zip(digits.chunks_exact(2)).for_each(|(byte, pair)| *byte = pair[0] << 4 | pair[1]);
        Ok(BlockId(id))
    }
}

impl<C> Encode<C> for BlockId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'a, C> Decode<'a, C> for BlockId {
    fn decode(d: &mut Decoder<'a>, _: &mut C) -> Result<BlockId, decode::Error> {
        let bytes = d.bytes()?.try_into().map_err(|_| decode::Error::message("an id of a block has 32 bytes"))?;
        Ok(BlockId(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_hash_that_other_programs_compute_and_reads_back() {
        let id = BlockId::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((id.to_string().as_str(), text.parse()), (text, Ok(id)));
        assert_eq!(id.key()[..], id.0[..20]);
        for bad in ["", "ba78", &text[1..], &format!("{text}0"), &text.replace('b', "g"), &text.replace('b', "é")] {
            assert_eq!(bad.parse::<BlockId>(), Err(BadId), "{bad}");
        }
    }
}
