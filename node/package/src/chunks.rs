//! A component cut into chunks, each of which can be checked by itself.
//!
//! BLAKE3 hashes its input as a binary tree. A chunk here is 64 KiB of the component at a multiple of 64 KiB, and so a
//! whole subtree: the value of a chunk is that subtree's chaining value, and the values of all chunks merge to the
//! component's digest (the BLAKE3 paper, sections 2.1 and 6.4). Whoever knows the digest can check the list of values
//! before any chunk is there, and each chunk by its value alone, whoever sent it.

use blake3::Hasher;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::digest::Digest;
use crate::manifest::ComponentRef;
use crate::package::Package;

/// Bytes of every chunk but the last: a power of two times BLAKE3's own 1,024, as subtrees have, and what fits with its
/// proof in a frame between nodes.
pub const CHUNK: usize = 64 << 10;

/// Bytes of a value.
const VALUE: usize = 32;

/// The values of a component's chunks, in order. They lead to the component's digest: there is no other way to make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    size: u64,
    values: Vec<[u8; VALUE]>,
}

impl Chunks {
    /// The values of a component's chunks.
    pub fn of(component: &[u8]) -> Chunks {
        let count = count(component.len() as u64);
        let values = component.chunks(CHUNK).enumerate().map(|(index, chunk)| value(index, count, chunk)).collect();
        Chunks { size: component.len() as u64, values }
    }

    /// Reads a list of values as received; none where it is not the list of this component.
    pub fn verify(list: &[u8], component: &ComponentRef) -> Option<Chunks> {
        let (values, []) = list.as_chunks::<VALUE>() else { return None };
        let fits = (1..=Package::MAX_COMPONENT).contains(&component.size) && values.len() == count(component.size);
        let chunks = Chunks { size: component.size, values: values.to_vec() };
        (fits && root(&chunks.values) == *component.digest.as_bytes()).then_some(chunks)
    }

    /// The list, as [`verify`](Chunks::verify) reads it.
    pub fn encode(&self) -> Vec<u8> {
        self.values.concat()
    }

    /// How many chunks there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The value of a chunk; none where there is no such chunk.
    pub fn value(&self, index: usize) -> Option<Digest> {
        self.values.get(index).map(|value| Digest::from_bytes(*value))
    }

    /// Whether these bytes are this chunk.
    pub fn is_chunk(&self, index: usize, bytes: &[u8]) -> bool {
        let known = self.values.get(index);
        Some(bytes.len()) == length(self.size, index)
            && known.is_some_and(|known| *known == value(index, self.values.len(), bytes))
    }

    /// What leads from a chunk's value to the component's digest: the values beside it, from the chunk up. Empty where
    /// there is no such chunk.
    pub fn path(&self, index: usize) -> Vec<u8> {
        let (mut path, mut values, mut index) = (Vec::new(), &self.values[..], index);
        while values.len() > 1 {
            let (left, right) = values.split_at(left_of(values.len()));
            let beside = if index < left.len() { right } else { left };
            path.push(subtree(beside));
            (values, index) = if index < left.len() { (left, index) } else { (right, index - left.len()) };
        }
        path.reverse();
        path.concat()
    }
}

/// The value of a chunk of a component, where the path shows that it is one; none where it is not.
pub fn proven(component: &ComponentRef, index: usize, bytes: &[u8], path: &[u8]) -> Option<Digest> {
    if component.size > Package::MAX_COMPONENT || Some(bytes.len()) != length(component.size, index) {
        return None;
    }
    let (path, []) = path.as_chunks::<VALUE>() else { return None };
    let count = count(component.size);
    let own = value(index, count, bytes);
    (climb(own, index, count, path, true)? == *component.digest.as_bytes()).then(|| Digest::from_bytes(own))
}

/// How many chunks a component of this size has.
fn count(size: u64) -> usize {
    usize::try_from(size.div_ceil(CHUNK as u64)).unwrap_or(usize::MAX)
}

/// The bytes of a chunk; none where there is no such chunk.
fn length(size: u64, index: usize) -> Option<usize> {
    let rest = size.checked_sub((index as u64).checked_mul(CHUNK as u64)?)?;
    (rest > 0).then(|| usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK)))
}

/// A single chunk is the whole, and its value the digest itself.
fn value(index: usize, count: usize, bytes: &[u8]) -> [u8; VALUE] {
    if count == 1 {
        return *blake3::hash(bytes).as_bytes();
    }
    Hasher::new().set_input_offset((index * CHUNK) as u64).update(bytes).finalize_non_root()
}

/// How many of so many values stand left of the root: the largest power of two that leaves any.
fn left_of(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn root(values: &[[u8; VALUE]]) -> [u8; VALUE] {
    match values {
        [only] => *only,
        _ => {
            let (left, right) = values.split_at(left_of(values.len()));
            *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
        }
    }
}

fn subtree(values: &[[u8; VALUE]]) -> [u8; VALUE] {
    match values {
        [only] => *only,
        _ => {
            let (left, right) = values.split_at(left_of(values.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

/// The value of a tree of `count` chunks, from that of one of them and those beside its way up. None where these are too
/// few or too many.
fn climb(own: [u8; VALUE], index: usize, count: usize, path: &[[u8; VALUE]], is_root: bool) -> Option<[u8; VALUE]> {
    if count == 1 {
        return path.is_empty().then_some(own);
    }
    let ((beside, below), left) = (path.split_last()?, left_of(count));
    let (left, right) = if index < left {
        (climb(own, index, left, below, false)?, *beside)
    } else {
        (*beside, climb(own, index - left, count - left, below, false)?)
    };
    Some(if is_root {
        *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(&left, &right, Mode::Hash)
    })
}
