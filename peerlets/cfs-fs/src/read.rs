//! Reading a tree, and checking all of it.

use std::io::Write;

use prost_cfs_api::{BlockId, Kind, Root, decode, verify};

use crate::address::{Address, Top};
use crate::blocks::Blocks;
use crate::error::FsError;
use crate::format::{BLOCK, Entry, Inode, NodeKind, Snapshot, decode_entries, decode_ids};
use crate::lanes::ordered;
use crate::tree::Level;

/// Blocks that are fetched ahead of what has been read, if nobody says otherwise: 40 KiB, the paper's window (section 7).
pub const WINDOW: usize = 5;
/// Wrong answers for one block before it is given up.
const MAX_WRONG: usize = 4;
/// Data blocks whose ids are fetched at a time.
const SEGMENT: u64 = 8192;

type Result<T, B> = core::result::Result<T, FsError<<B as Blocks>::Error>>;

/// Reads trees out of a store that it does not trust.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a, B> {
    blocks: &'a B,
    window: usize,
}

impl<'a, B: Blocks> Reader<'a, B> {
    /// A reader with the paper's [`WINDOW`].
    pub fn new(blocks: &'a B) -> Reader<'a, B> {
        Reader { blocks, window: WINDOW }
    }

    /// With so many blocks ahead, at least one.
    #[must_use]
    pub fn with_window(self, window: usize) -> Reader<'a, B> {
        Reader { window, ..self }
    }

    /// A block that is the one of its id. A node whose answer is not is told to the store as one to avoid.
    ///
    /// # Errors
    ///
    /// The block is not to be had.
    pub fn block(&self, kind: Kind, id: &BlockId) -> Result<Vec<u8>, B> {
        let mut avoid = Vec::new();
        while avoid.len() < MAX_WRONG {
            let fetched = self.blocks.get(kind, id, &avoid).map_err(FsError::Store)?;
            let fetched = fetched.ok_or(FsError::Missing(*id))?;
            if verify(kind, id, &fetched.bytes).is_ok() {
                return Ok(fetched.bytes);
            }
            avoid.push(fetched.from);
        }
        Err(FsError::Damaged(*id))
    }

    /// The newest root of an id, and the tree that it names.
    ///
    /// # Errors
    ///
    /// The root is not to be had, or names no tree.
    pub fn root(&self, id: &BlockId) -> Result<(Root, Snapshot), B> {
        let block = self.block(Kind::Root, id)?;
        let root = Root::decode(&block).map_err(|_| FsError::Damaged(*id))?;
        let snapshot = decode(&root.payload).map_err(|_| FsError::Malformed("the root names no directory"))?;
        Ok((root, snapshot))
    }

    /// An inode.
    ///
    /// # Errors
    ///
    /// It is not to be had, or is none.
    pub fn inode(&self, id: &BlockId) -> Result<Inode, B> {
        Inode::decode(&self.block(Kind::Content, id)?).map_err(FsError::Malformed)
    }

    /// The inode of an address, with its id.
    ///
    /// # Errors
    ///
    /// [`FsError::NotFound`] and [`FsError::NotADirectory`] among others. Links are not followed.
    pub fn resolve(&self, address: &Address) -> Result<(BlockId, Inode), B> {
        let mut id = match address.top {
            Top::Root(root) => self.root(&root)?.1.directory,
            Top::Snapshot(directory) => directory,
        };
        let mut inode = self.inode(&id)?;
        let mut way = String::new();
        for name in address.path.split('/').filter(|name| !name.is_empty()) {
            if inode.kind != NodeKind::Directory {
                return Err(FsError::NotADirectory(way));
            }
            way = if way.is_empty() { name.to_owned() } else { format!("{way}/{name}") };
            let entries = self.entries(&inode)?;
            let found = entries.binary_search_by(|entry| entry.name.as_str().cmp(name));
            id = found.map(|at| entries[at].inode).map_err(|_| FsError::NotFound(way.clone()))?;
            inode = self.inode(&id)?;
        }
        Ok((id, inode))
    }

    /// The names in a directory, in order.
    ///
    /// # Errors
    ///
    /// It is none, or a block of it is not to be had.
    pub fn entries(&self, directory: &Inode) -> Result<Vec<Entry>, B> {
        if directory.kind != NodeKind::Directory {
            return Err(FsError::NotADirectory(String::new()));
        }
        decode_entries(&self.content(directory)?).map_err(FsError::Malformed)
    }

    /// What a link points to.
    ///
    /// # Errors
    ///
    /// It is no text, or a block of it is not to be had.
    pub fn target(&self, link: &Inode) -> Result<String, B> {
        String::from_utf8(self.content(link)?).map_err(|_| FsError::Malformed("a link is no text"))
    }

    /// Writes `length` bytes from `offset` on, or as many as there are. Returns how many.
    ///
    /// # Errors
    ///
    /// A block is not to be had, or the output fails; a part may have been written.
    pub fn read(&self, inode: &Inode, offset: u64, length: u64, output: &mut dyn Write) -> Result<u64, B> {
        let end = offset.saturating_add(length).min(inode.size);
        if offset >= end {
            return Ok(0);
        }
        let (first, last) = (offset / BLOCK as u64, end.div_ceil(BLOCK as u64));
        for from in (first..last).step_by(SEGMENT as usize) {
            let upto = last.min(from + SEGMENT);
            let ids = self.ids(inode, from, upto)?;
            let fetch = |at: usize| {
                let block = self.block(Kind::Content, &ids[at])?;
                let is_right = block.len() == inode.length_of(from + at as u64);
                if is_right { Ok(block) } else { Err(FsError::Malformed("a data block has the wrong length")) }
            };
            ordered(self.window, ids.len(), fetch, |at, block| {
                let begins = (from + at as u64) * BLOCK as u64;
                let start = offset.saturating_sub(begins).min(block.len() as u64) as usize;
                let stop = (end - begins).min(block.len() as u64) as usize;
                output.write_all(&block[start..stop]).map_err(FsError::Output)
            })?;
        }
        Ok(end - offset)
    }

    /// All blocks below an inode, level by level: what [`extend`](crate::extend()) goes through.
    pub(crate) fn all_ids(&self, inode: &Inode, mut each: impl FnMut(&[BlockId]) -> Result<(), B>) -> Result<(), B> {
        for from in (0..inode.blocks()).step_by(SEGMENT as usize) {
            self.descend(inode, from, inode.blocks().min(from + SEGMENT), &mut each)?;
        }
        Ok(())
    }

    /// The ids of data blocks.
    fn ids(&self, inode: &Inode, from: u64, upto: u64) -> Result<Vec<BlockId>, B> {
        let mut lowest = Vec::new();
        self.descend(inode, from, upto, &mut |ids| {
            lowest = ids.to_vec();
            Ok(())
        })?;
        let expected = usize::try_from(upto - from).unwrap_or(usize::MAX);
        if lowest.len() == expected { Ok(lowest) } else { Err(FsError::Malformed("an indirect block is short")) }
    }

    fn descend(
        &self,
        inode: &Inode,
        from: u64,
        upto: u64,
        each: &mut dyn FnMut(&[BlockId]) -> Result<(), B>,
    ) -> Result<(), B> {
        let mut level = Level { depth: inode.depth, first: 0, ids: inode.ids.clone() }.cut(from, upto);
        each(&level.ids)?;
        while level.depth > 0 {
            let mut contents = Vec::with_capacity(level.ids.len());
            let fetch = |at: usize| {
                let block = self.block(Kind::Content, &level.ids[at])?;
                decode_ids(&block).map_err(FsError::Malformed)
            };
            ordered(self.window, level.ids.len(), fetch, |_, ids| {
                contents.push(ids);
                Ok(())
            })?;
            level = level.below(contents).map_err(FsError::Malformed)?.cut(from, upto);
            each(&level.ids)?;
        }
        Ok(())
    }

    fn content(&self, inode: &Inode) -> Result<Vec<u8>, B> {
        let mut content = Vec::new();
        self.read(inode, 0, inode.size, &mut content)?;
        Ok(content)
    }
}
