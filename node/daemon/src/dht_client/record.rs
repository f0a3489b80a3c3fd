//! How a value stands in a record: in the record itself, or cut into chunks under keys of their own.

use prost_dht_api::{MAX_NAME, MAX_VALUE};
use prost_kbr::Id;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

/// Longest value that stands in the record itself, in bytes: the first byte says how the rest is to be read.
pub(super) const MAX_INLINE: usize = MAX_VALUE - 1;
/// Length of every chunk but the last, in bytes. Below the longest value by what leaves room on the way.
pub(super) const CHUNK: usize = 48 << 10;
/// Most chunks of one value. Bounds what a hostile index can make a reader ask for.
pub(super) const MAX_CHUNKS: u32 = 1 << 17;
/// Longest value, in bytes: 6 GiB.
pub const MAX_SIZE: u64 = MAX_CHUNKS as u64 * CHUNK as u64;

const INLINE: u8 = 0;
const INDEX: u8 = 1;

/// What a record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// The value.
    Inline(Vec<u8>),
    /// Where the value is.
    Index(Index),
}

/// Where the chunks of a value are, and how to tell that they are right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    /// Length of the value in bytes.
    pub(super) size: u64,
    /// BLAKE3 of the value.
    pub(super) digest: ByteArray<32>,
    /// Random, for each time that a value is stored: chunks of different values never share a key.
    pub(super) upload: Upload,
    /// Length of every chunk but the last, in bytes.
    chunk: u32,
    /// Number of chunks.
    pub(super) count: u32,
}

/// One time that a value was stored.
pub(super) type Upload = ByteArray<16>;

impl Record {
    /// The record's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Record::Inline(value) => [&[INLINE], value.as_slice()].concat(),
            Record::Index(index) => {
                let index = serde_cbor::to_vec(index).expect("numbers and bytes are always encoded");
                [&[INDEX], index.as_slice()].concat()
            }
        }
    }

    /// Reads a record that anybody may have written.
    pub(super) fn decode(mut record: Vec<u8>) -> Result<Record, BadRecord> {
        match record.first() {
            Some(&INLINE) => {
                record.remove(0);
                Ok(Record::Inline(record))
            }
            Some(&INDEX) => {
                let index: Index = serde_cbor::from_slice(&record[1..]).map_err(|_| BadRecord::Malformed)?;
                index.check().map(Record::Index)
            }
            _ => Err(BadRecord::Malformed),
        }
    }
}

impl Index {
    /// The index of a value that was cut into chunks of [`CHUNK`] bytes.
    pub(super) fn new(upload: Upload, size: u64, digest: [u8; 32]) -> Result<Index, BadRecord> {
        let count = u32::try_from(size.div_ceil(CHUNK as u64)).map_err(|_| BadRecord::Bounds)?;
        Index { size, digest: ByteArray::new(digest), upload, chunk: CHUNK as u32, count }.check()
    }

    /// Length of a chunk, in bytes.
    pub(super) fn chunk_length(&self, i: u32) -> usize {
        let before = u64::from(i) * u64::from(self.chunk);
        // At most `chunk`, and so at most MAX_VALUE.
        self.size.saturating_sub(before).min(u64::from(self.chunk)) as usize
    }

    fn check(self) -> Result<Index, BadRecord> {
        let chunk = u64::from(self.chunk);
        let proper = (1..=MAX_VALUE as u64).contains(&chunk)
            && (1..=MAX_CHUNKS).contains(&self.count)
            && self.size.div_ceil(chunk) == u64::from(self.count);
        if proper { Ok(self) } else { Err(BadRecord::Bounds) }
    }
}

/// A record that no client of ours wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRecord {
    #[error("it is malformed")]
    Malformed,
    #[error("its sizes do not fit together or are out of bounds")]
    Bounds,
}

/// Where a record stands: its key, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) key: Id,
    pub(super) name: Vec<u8>,
}

impl Place {
    /// Of a value: the SHA-1 of its name, under its name, or where that is too long for one, under the SHA-1.
    pub(super) fn of_value(name: &[u8]) -> Place {
        let key = Id::hash(name);
        let name = if name.len() <= MAX_NAME { name.to_vec() } else { key.as_bytes().to_vec() };
        Place { key, name }
    }

    /// Of a chunk: the SHA-1 of upload, number and the value's name, under upload and number.
    pub(super) fn of_chunk(name: &[u8], upload: &Upload, i: u32) -> Place {
        let own = [upload.as_slice(), &i.to_be_bytes()].concat();
        Place { key: Id::hash(&[own.as_slice(), name].concat()), name: own }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn index(size: u64, chunk: u32, count: u32) -> Index {
        Index { size, digest: ByteArray::new([1; 32]), upload: ByteArray::new([2; 16]), chunk, count }
    }

    fn read_back(record: Record) -> Result<Record, BadRecord> {
        Record::decode(record.encode())
    }

    #[test]
    fn records_read_back_as_they_were_written() {
        let small = Record::Inline(b"value".to_vec());
        let none = Record::Inline(Vec::new());
        let large = Index::new(ByteArray::new([3; 16]), 100_000, [4; 32]).map(Record::Index).expect("a proper size");

        for record in [small, none, large] {
            assert_eq!(read_back(record.clone()), Ok(record));
        }
    }

    #[test]
    fn an_index_whose_numbers_do_not_fit_together_is_refused() {
        assert!(read_back(Record::Index(index(100_000, 49_152, 3))).is_ok());
        let hostile = [
            index(100_000, 49_152, 2),
            index(100_000, 49_152, 4),
            index(0, 49_152, 0),
            index(0, 0, 0),
            index(1, 0, 1),
            index(u64::MAX, u32::MAX, u32::MAX),
            index(1 << 40, MAX_VALUE as u32 + 1, 1 << 24),
            index(u64::from(MAX_CHUNKS) + 1, 1, MAX_CHUNKS + 1),
        ];
        for index in hostile {
            assert_eq!(read_back(Record::Index(index.clone())), Err(BadRecord::Bounds), "{index:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let mut long = Record::Index(index(100_000, 49_152, 3)).encode();
        long.push(0);
        for bytes in [vec![], vec![2, 3], vec![INDEX], vec![INDEX, 0xff], long] {
            assert_eq!(Record::decode(bytes.clone()), Err(BadRecord::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn the_chunks_of_a_value_cover_it_exactly() {
        for size in [CHUNK as u64, CHUNK as u64 + 1, 3 * CHUNK as u64 - 1, MAX_SIZE] {
            let index = Index::new(ByteArray::new([0; 16]), size, [0; 32]).expect("a proper size");
            let covered: u64 = (0..index.count).map(|i| index.chunk_length(i) as u64).sum();
            assert_eq!(covered, size);
            assert_eq!(index.chunk_length(index.count), 0);
        }
        assert!(Index::new(ByteArray::new([0; 16]), MAX_SIZE + 1, [0; 32]).is_err());
    }

    #[test]
    fn every_place_is_another() {
        let (one, other) = (ByteArray::new([1; 16]), ByteArray::new([2; 16]));
        let places = [
            Place::of_value(b"a"),
            Place::of_value(&[b'a'; MAX_NAME]),
            Place::of_value(&[b'a'; MAX_NAME + 1]),
            Place::of_chunk(b"a", &one, 0),
            Place::of_chunk(b"a", &one, 1),
            Place::of_chunk(b"a", &other, 0),
            Place::of_chunk(b"b", &one, 0),
        ];
        assert!(places.iter().all(|place| place.name.len() <= MAX_NAME));
        let keys: BTreeSet<Id> = places.iter().map(|place| place.key).collect();
        assert_eq!(keys.len(), places.len());
    }
}
