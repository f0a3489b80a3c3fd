//! Identifiers on the ring, and the intervals between them.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::{Digest, Sha1};

/// A point on the ring of 2^160 identifiers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Id([u8; Id::LEN]);

impl Ord for Id {
    /// As numbers. Tables are searched by id at every turn, and two comparisons of words take less than one of bytes.
    fn cmp(&self, other: &Id) -> Ordering {
        let ((high, low), (other_high, other_low)) = (self.halves(), other.halves());
        high.cmp(&other_high).then(low.cmp(&other_low))
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A point that messages are routed to.
pub type Key = Id;

/// A node, derived from its certificate.
pub type NodeId = Id;

impl Id {
    /// Length in bytes.
    pub const LEN: usize = 20;
    /// Length in bits.
    pub const BITS: u32 = 160;
    /// The point zero.
    pub const ZERO: Id = Id([0; Id::LEN]);

    /// The point whose big-endian bytes these are.
    pub const fn from_bytes(bytes: [u8; Id::LEN]) -> Id {
        Id(bytes)
    }

    /// Big-endian bytes.
    pub const fn as_bytes(&self) -> &[u8; Id::LEN] {
        &self.0
    }

    /// The key of a name: its SHA-1 (Chord, SIGCOMM 2001, section 4.1).
    pub fn hash(name: &[u8]) -> Id {
        Id(Sha1::digest(name).into())
    }

    /// The point `other` further on, clockwise, modulo 2^160.
    pub fn plus(self, other: Id) -> Id {
        let ((high, low), (other_high, other_low)) = (self.digits(), other.digits());
        let (low, carry) = low.overflowing_add(other_low);
        Id::from_digits(high.wrapping_add(other_high).wrapping_add(u32::from(carry)), low)
    }

    /// The point 2^`exponent` further on; `exponent` is below [`Id::BITS`]. The start of a finger.
    pub fn plus_power(self, exponent: u32) -> Id {
        assert!(exponent < Id::BITS, "2^{exponent} is off the ring");
        let mut power = [0; Id::LEN];
        power[Id::LEN - 1 - (exponent / 8) as usize] = 1 << (exponent % 8);
        self.plus(Id(power))
    }

    /// The clockwise way from here to `other`, as a number: zero where they are the same point.
    pub fn distance_to(self, other: Id) -> Id {
        let ((high, low), (other_high, other_low)) = (self.digits(), other.digits());
        let (low, borrow) = other_low.overflowing_sub(low);
        Id::from_digits(other_high.wrapping_sub(high).wrapping_sub(u32::from(borrow)), low)
    }

    /// The number in two digits that a machine can add: 32 bits above 128.
    fn digits(self) -> (u32, u128) {
        let (high, low) = self.0.split_at(4);
        let high = high.try_into().expect("four bytes");
        let low = low.try_into().expect("the other sixteen");
        (u32::from_be_bytes(high), u128::from_be_bytes(low))
    }

    /// The number in two digits, the higher one the longer.
    fn halves(self) -> (u128, u32) {
        let (high, low) = self.0.split_at(16);
        let high = high.try_into().expect("sixteen bytes");
        let low = low.try_into().expect("the other four");
        (u128::from_be_bytes(high), u32::from_be_bytes(low))
    }

    fn from_digits(high: u32, low: u128) -> Id {
        let mut bytes = [0; Id::LEN];
        bytes[..4].copy_from_slice(&high.to_be_bytes());
        bytes[4..].copy_from_slice(&low.to_be_bytes());
        Id(bytes)
    }

    /// The position of the highest bit that is set; none for zero.
    pub fn log2(self) -> Option<u32> {
        let byte = self.0.iter().position(|byte| *byte != 0)?;
        Some(Id::BITS - 1 - (byte as u32 * 8 + self.0[byte].leading_zeros()))
    }

    /// The 64 highest bits: enough to compare ways that differ by more than 2^-64 of the ring.
    pub(crate) fn high(self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("twenty bytes"))
    }

    /// The point whose 64 highest bits these are, all others zero.
    pub(crate) fn from_high(high: u64) -> Id {
        let mut bytes = [0; Id::LEN];
        bytes[..8].copy_from_slice(&high.to_be_bytes());
        Id(bytes)
    }

    /// The first eight hexadecimal digits, for logs and tables.
    pub fn short(self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 40 hexadecimal digits")]
pub struct BadId;

impl FromStr for Id {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Id, BadId> {
        if text.len() != 2 * Id::LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadId);
        }
        let mut bytes = [0; Id::LEN];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| BadId)?;
        }
        Ok(Id(bytes))
    }
}

impl Serialize for Id {
    /// Hexadecimal for people, twenty bytes for machines.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(D::Error::custom);
        }
        let bytes: [u8; Id::LEN] = serde_bytes::deserialize(deserializer)?;
        Ok(Id(bytes))
    }
}

/// A piece of the ring, clockwise from one end to the other.
///
/// Where both ends are the same point, an interval that includes an end is the whole ring and one that excludes both
/// is the whole ring but that point: the convention of Chord, where a node alone is its own successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    after: Id,
    upto: Id,
    closed: bool,
}

impl Interval {
    /// `(after, before)`: neither end.
    pub const fn open(after: Id, before: Id) -> Interval {
        Interval { after, upto: before, closed: false }
    }

    /// `(after, upto]`: the range of a node `upto` whose predecessor is `after`.
    pub const fn open_closed(after: Id, upto: Id) -> Interval {
        Interval { after, upto, closed: true }
    }

    /// The end that is not included.
    pub const fn after(&self) -> Id {
        self.after
    }

    /// The far end.
    pub const fn upto(&self) -> Id {
        self.upto
    }

    /// Whether the point lies in the interval.
    pub fn contains(&self, id: Id) -> bool {
        if self.after == self.upto {
            return self.closed || id != self.after;
        }
        let to_end = self.after.distance_to(self.upto);
        let to_id = self.after.distance_to(id);
        to_id != Id::ZERO && (to_id < to_end || (self.closed && to_id == to_end))
    }
}
