//! A value as it is stored.

use super::Found;
use crate::cbor::Bytes;
use crate::route;
use crate::time::wall_ms;

/// First byte of a record.
const FORMAT: u8 = 1;
/// Bytes before the value.
const HEAD: usize = 25;

/// `format (1) | version (u64) | expiry (u64, milliseconds since 1970, zero for none) | writer (u64) | value`.
pub(super) struct Record<'a> {
    pub(super) version: u64,
    pub(super) expires_at: Option<u64>,
    /// The number of the question that wrote it.
    pub(super) writer: u64,
    pub(super) value: &'a [u8],
}

impl<'a> Record<'a> {
    /// None where something else wrote it.
    pub(super) fn read(stored: &'a [u8]) -> Option<Record<'a>> {
        let (head, value) = stored.split_first_chunk::<HEAD>()?;
        let (&FORMAT, numbers) = head.split_first()? else { return None };
        let number = |at: usize| numbers[8 * at..8 * at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let expires_at = Some(number(1)).filter(|at| *at > 0);
        Some(Record { version: number(0), expires_at, writer: number(2), value })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.value.len());
        bytes.push(FORMAT);
        for number in [self.version, self.expires_at.unwrap_or(0), self.writer] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(self.value);
        bytes
    }

    /// As an answer has it. A record that should be gone by this node's clock has no time left.
    pub(super) fn found(&self) -> Found {
        Found {
            value: Bytes::from(self.value),
            version: self.version,
            expires_in: self.expires_in(),
            from: route::myself(),
        }
    }

    /// Seconds until it is gone, rounded up.
    pub(super) fn expires_in(&self) -> Option<u64> {
        self.expires_at.map(|at| at.saturating_sub(wall_ms()).div_ceil(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_what_is_none_does_not() {
        let record = Record { version: 7, expires_at: None, writer: u64::MAX, value: b"value" };
        let bytes = record.write();
        let read = Record::read(&bytes).expect("a record");
        assert_eq!((read.version, read.expires_at, read.writer, read.value), (7, None, u64::MAX, &b"value"[..]));
        assert!(Record::read(&bytes[..HEAD - 1]).is_none());
        assert!(Record::read(&[0; 40]).is_none());
    }
}
