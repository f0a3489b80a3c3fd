//! Publishing a directory of this machine.

use core::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::UNIX_EPOCH;

use prost_cfs_api::{BlockId, Kind, Root, encode};

use crate::blocks::Blocks;
use crate::error::FsError;
use crate::format::{BLOCK, Entry, Inode, MAX_DIRECTORY, MAX_FILE, MAX_TARGET, NodeKind, Snapshot, is_name};
use crate::lanes::pool;
use crate::read::Reader;
use crate::tree::raise;

/// Deepest directory below the one that is published.
const MAX_DEPTH: usize = 128;

type Result<T, B> = core::result::Result<T, FsError<<B as Blocks>::Error>>;

/// A publisher's key.
pub trait Sign {
    /// The public half.
    fn public(&self) -> [u8; 32];
    /// An Ed25519 signature.
    fn sign(&self, statement: &[u8]) -> [u8; 64];
}

/// How to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Tells several trees of one key apart; at most 32 bytes.
    pub salt: Vec<u8>,
    /// Seconds that the blocks are to live.
    pub ttl: u64,
    /// The time, in seconds since 1970.
    pub now: u64,
    /// Blocks that are on their way at once.
    pub window: usize,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The root, the same for each update.
    pub root: BlockId,
    /// The tree as it is now, under the hash of its directory.
    pub snapshot: BlockId,
    /// Version of the root.
    pub version: u64,
    /// Files in the tree.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that were stored, the root among them.
    pub stored: u64,
    /// Blocks that were there and live on.
    pub kept: u64,
}

/// Publishes a directory: all blocks first, and when every one of them is kept, one signed root. Blocks that are there are
/// not sent again. Whoever reads meanwhile reads the tree before.
///
/// # Errors
///
/// The tree before is still the one that is read, unless the error is about the root alone, which may be kept all the same.
pub fn publish<B: Blocks>(blocks: &B, key: &dyn Sign, directory: &Path, options: &Options) -> Result<Published, B> {
    let root = Root::id_of(&key.public(), &options.salt);
    // What was there before says which version is the next, and that blocks may be there.
    let before = match Reader::new(blocks).root(&root) {
        Ok((before, _)) => Some(before.version),
        Err(FsError::Missing(_)) => None,
        Err(error) => return Err(error),
    };
    let (stored, kept) = (AtomicU64::new(0), AtomicU64::new(0));
    let store = |block: Vec<u8>| {
        let was_there = before.is_some()
            && blocks.extend(Kind::Content, &BlockId::of(&block), options.ttl).map_err(FsError::Store)?;
        let was_there = was_there || blocks.put(Kind::Content, &block, options.ttl).map_err(FsError::Store)?;
        (if was_there { &kept } else { &stored }).fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let (snapshot, files, bytes) = pool(options.window, store, |sender| {
        let walk = Walk { sender, seen: RefCell::default(), files: RefCell::default() };
        let snapshot = walk.directory::<B>(directory, 0)?;
        let (files, bytes) = walk.files.into_inner();
        Ok((snapshot, files, bytes))
    })?;
    let payload = encode(&Snapshot { directory: snapshot, published: options.now });
    let version = before.map_or(1, |before| before + 1);
    let signed = Root { publisher: key.public(), salt: options.salt.clone(), version, payload };
    let block = signed.encode(key.sign(&signed.statement()));
    blocks.put(Kind::Root, &block, options.ttl).map_err(FsError::Store)?;
    let (stored, kept) = (stored.into_inner() + 1, kept.into_inner());
    Ok(Published { root, snapshot, version, files, bytes, stored, kept })
}

/// A walk through a directory. Blocks go to the workers as they come.
struct Walk<'a> {
    sender: &'a SyncSender<Vec<u8>>,
    /// Blocks that have gone there.
    seen: RefCell<BTreeSet<BlockId>>,
    /// Files, and their bytes.
    files: RefCell<(u64, u64)>,
}

impl Walk<'_> {
    fn directory<B: Blocks>(&self, path: &Path, depth: usize) -> Result<BlockId, B> {
        let failed = |error| FsError::Input(path.to_owned(), error);
        if depth > MAX_DEPTH {
            return Err(FsError::TooLarge(path.to_owned()));
        }
        let mut entries = Vec::new();
        for found in fs::read_dir(path).map_err(failed)? {
            let found = found.map_err(failed)?;
            let path = found.path();
            let name = found.file_name().into_string().ok().filter(|name| is_name(name));
            let name = name.ok_or_else(|| FsError::BadName(path.clone()))?;
            let kind = found.file_type().map_err(|error| FsError::Input(path.clone(), error))?;
            let (kind, inode) = if kind.is_dir() {
                (NodeKind::Directory, self.directory::<B>(&path, depth + 1)?)
            } else if kind.is_symlink() {
                (NodeKind::Link, self.link::<B>(&path)?)
            } else if kind.is_file() {
                self.file::<B>(&path)?
            } else {
                // Sockets, pipes and devices have no content.
                continue;
            };
            entries.push(Entry { name, kind, inode });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let content = encode(&entries);
        if content.len() as u64 > MAX_DIRECTORY {
            return Err(FsError::TooLarge(path.to_owned()));
        }
        // The time of a directory is no part of it: the same tree has the same id.
        self.inode::<B>(NodeKind::Directory, 0, path, &mut content.as_slice())
    }

    fn file<B: Blocks>(&self, path: &Path) -> Result<(NodeKind, BlockId), B> {
        let failed = |error| FsError::Input(path.to_owned(), error);
        let mut file = File::open(path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let kind = if found.permissions().mode() & 0o100 != 0 { NodeKind::Executable } else { NodeKind::File };
        let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let inode = self.inode::<B>(kind, modified.map_or(0, |time| time.as_secs()), path, &mut file)?;
        self.files.borrow_mut().0 += 1;
        Ok((kind, inode))
    }

    fn link<B: Blocks>(&self, path: &Path) -> Result<BlockId, B> {
        let target = fs::read_link(path).map_err(|error| FsError::Input(path.to_owned(), error))?;
        let target = target.into_os_string().into_string().map_err(|_| FsError::BadName(path.to_owned()))?;
        if target.len() as u64 > MAX_TARGET {
            return Err(FsError::TooLarge(path.to_owned()));
        }
        self.inode::<B>(NodeKind::Link, 0, path, &mut target.as_bytes())
    }

    /// Stores a content and its inode.
    fn inode<B: Blocks>(
        &self,
        kind: NodeKind,
        modified: u64,
        path: &Path,
        content: &mut dyn Read,
    ) -> Result<BlockId, B> {
        let (mut ids, mut size) = (Vec::new(), 0);
        loop {
            let mut block = Vec::with_capacity(BLOCK);
            let read = content.take(BLOCK as u64).read_to_end(&mut block);
            size += read.map_err(|error| FsError::Input(path.to_owned(), error))? as u64;
            if size > MAX_FILE {
                return Err(FsError::TooLarge(path.to_owned()));
            }
            let is_last = block.len() < BLOCK;
            if !block.is_empty() {
                ids.push(self.store::<B>(block)?);
            }
            if is_last {
                break;
            }
        }
        if matches!(kind, NodeKind::File | NodeKind::Executable) {
            self.files.borrow_mut().1 += size;
        }
        let (depth, ids) = raise(ids, |block| self.store::<B>(block))?;
        self.store::<B>(Inode { kind, modified, size, depth, ids }.encode())
    }

    fn store<B: Blocks>(&self, block: Vec<u8>) -> Result<BlockId, B> {
        let id = BlockId::of(&block);
        if self.seen.borrow_mut().insert(id) && self.sender.send(block).is_err() {
            // The workers have failed, and say why.
            return Err(FsError::Malformed("nothing more is stored"));
        }
        Ok(id)
    }
}
