//! Points on the ring, and ranges of them.

use core::fmt;

use sha1::{Digest, Sha1};

use crate::bindings::prost::peerlet::types::{Id, Key, KeyRange};

impl Id {
    /// Length in bytes.
    pub const LEN: usize = 20;
    /// The point zero.
    pub const ZERO: Id = Id { high: 0, middle: 0, low: 0 };

    /// The point whose big-endian bytes these are.
    pub fn from_bytes(bytes: [u8; Id::LEN]) -> Id {
        let word = |at: usize| bytes[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let low = bytes[16..].iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        Id { high: word(0), middle: word(8), low }
    }

    /// Big-endian bytes.
    pub fn to_bytes(self) -> [u8; Id::LEN] {
        let mut bytes = [0; Id::LEN];
        bytes[..8].copy_from_slice(&self.high.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.middle.to_be_bytes());
        bytes[16..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// The key of a name: its SHA-1 (Chord, SIGCOMM 2001, section 4.1).
    pub fn hash(name: &[u8]) -> Key {
        Id::from_bytes(Sha1::digest(name).into())
    }

    /// The clockwise way from here to `other`, as a number: zero where they are the same point.
    pub fn distance_to(self, other: Id) -> Id {
        let (low, borrow) = other.low.overflowing_sub(self.low);
        let (middle, first) = other.middle.overflowing_sub(self.middle);
        let (middle, second) = middle.overflowing_sub(u64::from(borrow));
        let high = other.high.wrapping_sub(self.high).wrapping_sub(u64::from(first || second));
        Id { high, middle, low }
    }

    /// The first eight hexadecimal digits, for logs.
    pub fn short(self) -> String {
        format!("{:08x}", self.high >> 32)
    }
}

impl fmt::Display for Id {
    /// Forty hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}{:08x}", self.high, self.middle, self.low)
    }
}

impl KeyRange {
    /// Every key there is.
    pub const WHOLE: KeyRange = KeyRange { after: Id::ZERO, upto: Id::ZERO };

    /// Whether the key lies in the range.
    pub fn contains(&self, key: Key) -> bool {
        if self.after == self.upto {
            return true;
        }
        let way = self.after.distance_to(key);
        way != Id::ZERO && way <= self.after.distance_to(self.upto)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(low: u32) -> Id {
        Id { low, ..Id::ZERO }
    }

    #[test]
    fn bytes_and_text_have_the_most_significant_digit_first() {
        let bytes: [u8; Id::LEN] = core::array::from_fn(|at| at as u8);

        let id = Id::from_bytes(bytes);

        assert_eq!(id.to_bytes(), bytes);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f10111213");
        assert_eq!(id.short(), "00010203");
    }

    #[test]
    fn a_name_hashes_to_its_sha1() {
        assert_eq!(Id::hash(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn order_is_that_of_the_bytes() {
        let mut ids: Vec<Id> = (0..64u8).map(|name| Id::hash(&[name])).collect();

        ids.sort();

        assert!(ids.is_sorted_by_key(|id| id.to_bytes()));
    }

    #[test]
    fn distances_go_clockwise_and_borrow_across_words() {
        assert_eq!(id(3).distance_to(id(10)), id(7));
        assert_eq!(id(10).distance_to(id(10)), Id::ZERO);
        assert_eq!(id(1).distance_to(Id::ZERO), Id { high: u64::MAX, middle: u64::MAX, low: u32::MAX });
        let across = Id { high: 1, ..Id::ZERO };
        assert_eq!(id(1).distance_to(across), Id { high: 0, middle: u64::MAX, low: u32::MAX });
    }

    #[test]
    fn a_range_leaves_out_its_start_and_takes_its_end_also_across_zero() {
        let across = KeyRange { after: id(u32::MAX), upto: id(5) };

        assert!(!across.contains(id(u32::MAX)));
        assert!(across.contains(Id { middle: 1, ..Id::ZERO }));
        assert!(across.contains(id(5)));
        assert!(!across.contains(id(6)));
        assert!(KeyRange::WHOLE.contains(Id::ZERO));
    }
}
