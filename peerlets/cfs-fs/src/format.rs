//! What stands in the blocks of a tree, as CBOR (RFC 8949).

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use prost_cfs_api::{BlockId, decode, encode};

/// Length of a data block in bytes; the last of a file is shorter (section 3 of the paper).
pub const BLOCK: usize = 8 << 10;
/// Most ids in an inode and in an indirect block, so that either fits in a block.
pub const FANOUT: usize = 224;
/// Most levels of indirect blocks.
pub(crate) const MAX_DEPTH: u8 = 3;
/// Longest file in bytes. Its ids are held in memory while it is published, a thousandth of it.
pub const MAX_FILE: u64 = 1 << 40;
/// Longest name in bytes.
pub const MAX_NAME: usize = 255;
/// Longest directory in bytes, as it is read whole: some hundred thousand names.
pub(crate) const MAX_DIRECTORY: u64 = 32 << 20;
/// Longest target of a symbolic link in bytes.
pub(crate) const MAX_TARGET: u64 = 4096;

/// What a root says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Snapshot {
    /// The inode of the tree's directory.
    #[n(0)]
    pub directory: BlockId,
    /// When it was published, in seconds since 1970, as the publisher says.
    #[n(1)]
    pub published: u64,
}

/// What an inode is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum NodeKind {
    /// A file.
    #[n(0)]
    File,
    /// A file that can be run.
    #[n(1)]
    Executable,
    /// A directory: its content are entries, each name once, in order.
    #[n(2)]
    Directory,
    /// A symbolic link: its content is what it points to.
    #[n(3)]
    Link,
}

/// A file, a directory or a link: its attributes, and where its content is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Inode {
    /// What it is.
    #[n(0)]
    pub kind: NodeKind,
    /// When it was changed last, in seconds since 1970.
    #[n(1)]
    pub modified: u64,
    /// Bytes of content.
    #[n(2)]
    pub size: u64,
    /// Levels of indirect blocks between the ids and the data.
    #[n(3)]
    pub depth: u8,
    /// The data blocks, or the uppermost indirect blocks.
    #[n(4)]
    pub ids: Vec<BlockId>,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// The name.
    #[n(0)]
    pub name: String,
    /// What it names.
    #[n(1)]
    pub kind: NodeKind,
    /// Its inode.
    #[n(2)]
    pub inode: BlockId,
}

impl Inode {
    /// The block.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a block whose id has been checked: its publisher may have made it up.
    pub(crate) fn decode(block: &[u8]) -> Result<Inode, &'static str> {
        let inode: Inode = decode(block).map_err(|_| "an inode is malformed")?;
        let most = match inode.kind {
            NodeKind::Directory => MAX_DIRECTORY,
            NodeKind::Link => MAX_TARGET,
            NodeKind::File | NodeKind::Executable => MAX_FILE,
        };
        if inode.size > most || inode.depth > MAX_DEPTH || inode.ids.len() > FANOUT {
            return Err("an inode is out of bounds");
        }
        if inode.ids.len() as u64 != inode.blocks().div_ceil(covered(inode.depth)) {
            return Err("an inode's size and its blocks do not fit together");
        }
        Ok(inode)
    }

    /// Data blocks.
    pub(crate) fn blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK as u64)
    }

    /// Length of a data block.
    pub(crate) fn length_of(&self, block: u64) -> usize {
        self.size.saturating_sub(block * BLOCK as u64).min(BLOCK as u64) as usize
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, NodeKind::File | NodeKind::Executable)
    }
}

/// Data blocks below one id, at this many levels above the data.
pub(crate) fn covered(depth: u8) -> u64 {
    (FANOUT as u64).pow(u32::from(depth))
}

/// The ids of an indirect block.
pub(crate) fn encode_ids(ids: &[BlockId]) -> Vec<u8> {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
    encode(&ByteVec::from(bytes))
}

pub(crate) fn decode_ids(block: &[u8]) -> Result<Vec<BlockId>, &'static str> {
    let bytes: ByteVec = decode(block).map_err(|_| "an indirect block is malformed")?;
    let (ids, []) = bytes.as_chunks() else { return Err("an indirect block is malformed") };
    if ids.len() > FANOUT {
        Err("an indirect block is too long")
    } else {
        Ok(ids.iter().copied().map(BlockId).collect())
    }
}

/// Reads a directory's content.
pub(crate) fn decode_entries(content: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let entries: Vec<Entry> = decode(content).map_err(|_| "a directory is malformed")?;
    let is_good = entries.iter().all(|entry| is_name(&entry.name));
    let is_sorted = entries.windows(2).all(|pair| pair[0].name < pair[1].name);
    if is_good && is_sorted { Ok(entries) } else { Err("a directory has a bad name, or names out of order") }
}

/// Whether a name is one that any system takes for one step of a path.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = !name.is_empty() && name.len() <= MAX_NAME && name != "." && name != "..";
    is_plain && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_and_indirect_blocks_fit_in_a_block() {
        let ids = vec![BlockId([0xff; 32]); FANOUT];
        let size = FANOUT as u64 * covered(2) * BLOCK as u64;
        let inode = Inode { kind: NodeKind::File, modified: u64::MAX, size, depth: 2, ids: ids.clone() };
        assert!(inode.encode().len() <= BLOCK && encode_ids(&ids).len() <= BLOCK);
        assert_eq!(Inode::decode(&inode.encode()), Ok(inode));
        assert_eq!(decode_ids(&encode_ids(&ids)), Ok(ids.clone()));
        assert!(decode_ids(&encode_ids(&[ids.as_slice(), &ids[..1]].concat())).is_err());
    }

    #[test]
    fn what_a_publisher_makes_up_is_refused() {
        let good = Inode { kind: NodeKind::File, modified: 0, size: 9000, depth: 0, ids: vec![BlockId([0; 32]); 2] };
        let bad = [
            Inode { size: 8192, ..good.clone() },
            Inode { size: 16385, ..good.clone() },
            Inode { depth: 1, ..good.clone() },
            Inode { depth: MAX_DEPTH + 1, ..good.clone() },
            Inode { size: u64::MAX, ..good.clone() },
            Inode { size: MAX_DIRECTORY + 1, kind: NodeKind::Directory, ..good.clone() },
        ];
        assert!(Inode::decode(&good.encode()).is_ok());
        bad.iter().for_each(|inode| assert!(Inode::decode(&inode.encode()).is_err(), "{inode:?}"));
        let entries = |names: &[&str]| {
            let entry = |name: &&str| Entry { name: (*name).to_owned(), kind: NodeKind::File, inode: BlockId([0; 32]) };
            encode(&names.iter().map(entry).collect::<Vec<_>>())
        };
        assert!(decode_entries(&entries(&["a", "b"])).is_ok());
        for names in [&["b", "a"][..], &["a", "a"], &[""], &[".."], &["."], &["a/b"], &["a\0"], &["x"; 2]] {
            assert!(decode_entries(&entries(names)).is_err(), "{names:?}");
        }
        assert!(!is_name(&"x".repeat(256)));
    }
}
