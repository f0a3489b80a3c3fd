//! Trees in a store in memory that lies when it is told to.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use prost_cfs_api::{BlockId, Kind, Root};

use crate::{Address, Blocks, FANOUT, Fetched, FsError, NodeKind, Options, Reader, Sign, Top, extend, publish};

/// A block, and for how long it is kept.
type Kept = (Vec<u8>, u64);

#[derive(Debug, Default)]
struct Memory {
    blocks: Mutex<BTreeMap<(Kind, BlockId), Kept>>,
    /// Blocks that node 1 gives wrongly; where `all_lie`, every node does.
    lies: Mutex<BTreeSet<BlockId>>,
    all_lie: bool,
    /// Stores so many blocks, then fails.
    room: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("full")
    }
}

impl core::error::Error for Full {}

impl Blocks for Memory {
    type Error = Full;

    fn put(&self, kind: Kind, bytes: &[u8], ttl: u64) -> Result<bool, Full> {
        let id = if kind == Kind::Root { Root::decode(bytes).expect("signed").id() } else { BlockId::of(bytes) };
        let mut blocks = self.blocks.lock().expect("nobody panics");
        if self.room.is_some_and(|room| blocks.len() >= room) {
            return Err(Full);
        }
        Ok(blocks.insert((kind, id), (bytes.to_vec(), ttl)).is_some())
    }

    fn get(&self, kind: Kind, id: &BlockId, avoid: &[[u8; 20]]) -> Result<Option<Fetched>, Full> {
        let node = (1..).find(|node| !avoid.contains(&[*node; 20])).expect("some are left");
        let lies = self.lies.lock().expect("nobody panics").contains(id) && (node == 1 || self.all_lie);
        let found = self.blocks.lock().expect("nobody panics").get(&(kind, *id)).cloned();
        Ok(found.map(|(mut bytes, _)| {
            if lies {
                bytes[0] ^= 1;
            }
            Fetched { bytes, from: [node; 20] }
        }))
    }

    fn extend(&self, kind: Kind, id: &BlockId, ttl: u64) -> Result<bool, Full> {
        let mut blocks = self.blocks.lock().expect("nobody panics");
        Ok(blocks.get_mut(&(kind, *id)).map(|(_, until)| *until = ttl).is_some())
    }
}

struct Key(ed25519_dalek::SigningKey);

impl Sign for Key {
    fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    fn sign(&self, statement: &[u8]) -> [u8; 64] {
        ed25519_dalek::Signer::sign(&self.0, statement).to_bytes()
    }
}

fn key() -> Key {
    Key(ed25519_dalek::SigningKey::from_bytes(&[3; 32]))
}

fn options() -> Options {
    Options { salt: Vec::new(), ttl: 100, now: 1_700_000_000, window: 4 }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// A tree with small and large files, an empty one, a link and a program.
fn tree(dir: &Path) {
    fs::create_dir_all(dir.join("sub/deep")).expect("room");
    fs::write(dir.join("small"), "a few bytes").expect("room");
    fs::write(dir.join("empty"), "").expect("room");
    fs::write(dir.join("sub/exact"), bytes(3 * 8192)).expect("room");
    fs::write(dir.join("sub/deep/large"), bytes(8192 * (FANOUT + 5) + 77)).expect("room");
    std::os::unix::fs::symlink("sub/exact", dir.join("link")).expect("room");
}

fn address(top: BlockId, path: &str) -> Address {
    Address { top: Top::Root(top), path: path.to_owned() }
}

fn content(blocks: &Memory, address: &Address) -> Vec<u8> {
    let reader = Reader::new(blocks);
    let (_, inode) = reader.resolve(address).expect("it is there");
    let mut content = Vec::new();
    assert_eq!(reader.read(&inode, 0, u64::MAX, &mut content).expect("it is there"), inode.size);
    content
}

#[test]
fn a_tree_reads_back_byte_for_byte_whole_or_in_part() {
    let (dir, blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let published = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    assert_eq!((published.version, published.files), (1, 4));
    for path in ["small", "empty", "sub/exact", "sub/deep/large"] {
        let read = content(&blocks, &address(published.root, path));
        assert!(read == fs::read(dir.path().join(path)).expect("there"), "{path}");
    }
    let reader = Reader::new(&blocks);
    let (_, top) = reader.resolve(&address(published.root, "")).expect("there");
    let names: Vec<_> =
        reader.entries(&top).expect("there").into_iter().map(|entry| (entry.name, entry.kind)).collect();
    let expected =
        [("empty", NodeKind::File), ("link", NodeKind::Link), ("small", NodeKind::File), ("sub", NodeKind::Directory)];
    assert_eq!(names, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let (_, link) = reader.resolve(&address(published.root, "link")).expect("there");
    assert_eq!(reader.target(&link).expect("there"), "sub/exact");
    let (_, large) = reader.resolve(&address(published.root, "sub/deep/large")).expect("there");
    let whole = bytes(8192 * (FANOUT + 5) + 77);
    for (offset, length) in [(0, 1), (8191, 2), (8192 * 223, 8192 * 3), (8192 * 224 + 5, 10), (1_876_000, 1 << 40)] {
        let mut part = Vec::new();
        let read = reader.read(&large, offset, length, &mut part).expect("there");
        let end = whole.len().min((offset + length) as usize);
        assert!(part == whole[offset as usize..end] && read == part.len() as u64, "{offset} {length}");
    }
    assert_eq!(reader.read(&large, 1 << 40, 1, &mut Vec::new()).expect("there"), 0);
}

#[test]
fn an_update_stores_what_is_new_and_leaves_the_tree_before_readable() {
    let (dir, blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let first = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    fs::write(dir.path().join("small"), "other bytes").expect("room");
    let second = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    // The file's data and inode, the directory's data and inode, and the root.
    assert_eq!((second.root, second.version, second.stored), (first.root, 2, 5));
    assert_eq!(content(&blocks, &address(first.root, "small")), b"other bytes");
    let old = Address { top: Top::Snapshot(first.snapshot), path: "small".to_owned() };
    assert_eq!(content(&blocks, &old), b"a few bytes");
    let same = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    assert_eq!((same.snapshot, same.stored, same.version), (second.snapshot, 1, 3));
}

#[test]
fn an_update_that_fails_changes_nothing_that_is_read() {
    let (dir, mut blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let first = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    blocks.room = Some(blocks.blocks.lock().expect("nobody panics").len() + 3);
    fs::write(dir.path().join("sub/exact"), bytes(99_999)).expect("room");
    assert!(matches!(publish(&blocks, &key(), dir.path(), &options()), Err(FsError::Store(Full))));
    let (root, snapshot) = Reader::new(&blocks).root(&first.root).expect("there");
    assert_eq!((root.version, snapshot.directory), (1, first.snapshot));
    assert_eq!(content(&blocks, &address(first.root, "sub/exact")), bytes(3 * 8192));
}

#[test]
fn a_node_that_lies_is_avoided_and_where_all_do_nothing_is_believed() {
    let (dir, mut blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let published = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    let all = blocks.blocks.lock().expect("nobody panics").keys().map(|(_, id)| *id).collect();
    blocks.lies = Mutex::new(all);
    assert_eq!(content(&blocks, &address(published.root, "sub/exact")), bytes(3 * 8192));
    blocks.all_lie = true;
    let read = Reader::new(&blocks).resolve(&address(published.root, "small"));
    assert!(matches!(read, Err(FsError::Damaged(_))), "{read:?}");
}

#[test]
fn what_is_not_there_is_told_from_what_is_something_else() {
    let (dir, blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let root = publish(&blocks, &key(), dir.path(), &options()).expect("stored").root;
    let resolve = |path| Reader::new(&blocks).resolve(&address(root, path)).map(|_| ()).expect_err("not there");
    assert!(matches!(resolve("sub/nothing"), FsError::NotFound(path) if path == "sub/nothing"));
    assert!(matches!(resolve("small/nothing"), FsError::NotADirectory(path) if path == "small"));
    let nowhere = Reader::new(&blocks).resolve(&address(BlockId([1; 32]), ""));
    assert!(matches!(nowhere, Err(FsError::Missing(_))));
}

#[test]
fn an_extension_reaches_every_block_and_says_where_one_is_gone() {
    let (dir, blocks) = (tempfile::tempdir().expect("room"), Memory::default());
    tree(dir.path());
    let published = publish(&blocks, &key(), dir.path(), &options()).expect("stored");
    let extended = extend(&blocks, Top::Root(published.root), 500, 4).expect("all are there");
    {
        let mut held = blocks.blocks.lock().expect("nobody panics");
        assert!(held.values().all(|(_, ttl)| *ttl == 500));
        assert_eq!(extended.blocks, held.len() as u64);
        held.remove(&(Kind::Content, BlockId::of(&bytes(8192))));
    }
    assert!(matches!(extend(&blocks, Top::Root(published.root), 500, 4), Err(FsError::Missing(_))));
}

#[test]
fn addresses_read_back() {
    let id = BlockId::of(b"x");
    for (text, path) in [(format!("{id}"), ""), (format!("@{id}/a/b"), "a/b"), (format!("{id}//a/"), "a")] {
        let address: Address = text.parse().expect("an address");
        assert_eq!(address.path, path);
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    for bad in ["", "x", "/a", "@", &format!("@@{id}")] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
}
