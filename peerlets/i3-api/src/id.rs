//! Identifiers of 256 bits: a prefix that says which node, a key that constraints bind, and a suffix for preferences.

use core::fmt;
use core::str::FromStr;

use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{Encode, Encoder, Write};
use prost_peerlet::{Id, Key};
use sha2::{Digest, Sha256};

/// Bytes of the key part of an id, as in the authors' implementation.
pub const KEY_LEN: usize = 16;
/// Bits in which a trigger's id must agree with a packet's at least (SIGCOMM 2002, section 2.3: the exact-match threshold).
pub const MIN_MATCH: u16 = 128;

const PREFIX_LEN: usize = 8;
const SUFFIX_AT: usize = PREFIX_LEN + KEY_LEN;

/// The key part of an id, or the secret that it is the image of.
pub type HalfKey = [u8; KEY_LEN];

/// An i3 identifier: eight bytes of prefix, sixteen of key, eight of suffix.
///
/// The prefix alone decides which node keeps its triggers, so all ids of one prefix are on one node. The prefix's last bit
/// tells public ids from private ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct I3Id([u8; I3Id::LEN]);

impl I3Id {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The id whose bytes these are.
    pub const fn from_bytes(bytes: [u8; I3Id::LEN]) -> I3Id {
        I3Id(bytes)
    }

    /// The id of these parts. The prefix's last bit becomes that of a public or a private id.
    pub fn of(is_public: bool, prefix: u64, key: HalfKey, suffix: u64) -> I3Id {
        let prefix = prefix & !1 | u64::from(is_public);
        let mut bytes = [0; I3Id::LEN];
        bytes[..PREFIX_LEN].copy_from_slice(&prefix.to_be_bytes());
        bytes[PREFIX_LEN..SUFFIX_AT].copy_from_slice(&key);
        bytes[SUFFIX_AT..].copy_from_slice(&suffix.to_be_bytes());
        I3Id(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; I3Id::LEN] {
        &self.0
    }

    /// The part that is routed by.
    pub fn prefix(&self) -> u64 {
        number(&self.0[..PREFIX_LEN])
    }

    /// The part that constraints bind.
    pub fn key(&self) -> HalfKey {
        let mut key = [0; KEY_LEN];
        key.copy_from_slice(&self.0[PREFIX_LEN..SUFFIX_AT]);
        key
    }

    /// The part that preferences are expressed in.
    pub fn suffix(&self) -> u64 {
        number(&self.0[SUFFIX_AT..])
    }

    /// The same id with another suffix.
    #[must_use]
    pub fn with_suffix(self, suffix: u64) -> I3Id {
        I3Id::of(self.is_public(), self.prefix(), self.key(), suffix)
    }

    /// Whether many know it: then only a left constraint protects it.
    pub fn is_public(&self) -> bool {
        self.prefix() & 1 == 1
    }

    /// The point of the ring that the id is routed to: its prefix, and zeros after it.
    ///
    /// The prefix is taken as it is, not hashed again. Public prefixes are hashes and private ones random, so the load is
    /// even already; and whoever chooses a prefix chooses the node, which is how a private trigger gets near its owner.
    pub fn ring_key(&self) -> Key {
        Id { high: self.prefix(), ..Id::ZERO }
    }

    /// Leading bits in which two ids agree.
    pub fn common_bits(&self, other: &I3Id) -> u16 {
        let mut bits = 0;
        for (mine, others) in self.0.iter().zip(&other.0) {
            let differ = (mine ^ others).leading_zeros() as u16;
            bits += differ;
            if differ < 8 {
                break;
            }
        }
        bits
    }
}

/// Whether `one` matches `packet` better than `other`: in more leading bits, or, where they tie, in the more significant
/// of the bits after the first difference. Two ids are never equally near, so that a packet has one winner.
pub fn is_nearer(packet: &I3Id, one: &I3Id, other: &I3Id) -> bool {
    let from = |id: &I3Id| -> [u8; I3Id::LEN] { core::array::from_fn(|at| id.0[at] ^ packet.0[at]) };
    from(one) < from(other)
}

/// The first bytes of SHA-256 over a label and parts, of which all but the last have a fixed length.
pub(crate) fn digest<const N: usize>(label: &str, parts: &[&[u8]]) -> [u8; N] {
    let mut hash = Sha256::new_with_prefix(label.as_bytes());
    parts.iter().for_each(|part| hash.update(part));
    let mut first = [0; N];
    first.copy_from_slice(&hash.finalize()[..N]);
    first
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl fmt::Display for I3Id {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for I3Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text is not an id of 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

impl fmt::Display for NotAnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an i3 id is 64 hexadecimal digits")
    }
}

impl core::error::Error for NotAnId {}

impl FromStr for I3Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<I3Id, NotAnId> {
        bytes_of_hex(text).map(I3Id).ok_or(NotAnId)
    }
}

/// Exactly so many bytes from hexadecimal digits.
pub(crate) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

impl<C> Encode<C> for I3Id {
    /// A byte string of 32 bytes.
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'a, C> Decode<'a, C> for I3Id {
    fn decode(d: &mut Decoder<'a>, _: &mut C) -> Result<I3Id, Error> {
        let bytes = d.bytes()?.try_into().map_err(|_| Error::message("an i3 id is 32 bytes"))?;
        Ok(I3Id(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(fill: u8) -> I3Id {
        I3Id::from_bytes([fill; I3Id::LEN])
    }

    #[test]
    fn the_parts_of_an_id_come_back_and_the_prefix_alone_is_routed_by() {
        let made = I3Id::of(true, 0x0102_0304_0506_0708, [9; KEY_LEN], 5);
        assert_eq!((made.prefix(), made.key(), made.suffix()), (0x0102_0304_0506_0709, [9; KEY_LEN], 5));
        assert!(made.is_public() && !I3Id::of(false, 7, [0; KEY_LEN], 0).is_public());
        assert_eq!(made.ring_key(), made.with_suffix(77).ring_key());
        assert_eq!(made.ring_key().high, made.prefix());
    }

    #[test]
    fn the_nearest_agrees_in_the_most_leading_bits_and_nobody_ties() {
        let flipped = |bit: usize, more: u8| {
            let mut bytes = [0xaa; I3Id::LEN];
            bytes[bit / 8] ^= 0x80 >> (bit % 8);
            bytes[I3Id::LEN - 1] ^= more;
            I3Id::from_bytes(bytes)
        };
        let packet = id(0xaa);
        assert_eq!(packet.common_bits(&flipped(133, 0)), 133);
        assert_eq!(packet.common_bits(&packet), 256);
        assert!(is_nearer(&packet, &flipped(200, 0), &flipped(133, 0)));
        assert!(is_nearer(&packet, &flipped(200, 1), &flipped(200, 2)));
        assert!(!is_nearer(&packet, &flipped(200, 2), &flipped(200, 1)));
    }

    #[test]
    fn text_is_64_hexadecimal_digits() {
        assert_eq!(id(0xaf).to_string().parse(), Ok(id(0xaf)));
        assert!(["", "zz", &"af".repeat(31), &"+f".repeat(32)].iter().all(|text| text.parse::<I3Id>().is_err()));
    }
}
