//! Keeping a tree for longer. There is no deletion: what nobody extends goes by itself.

use core::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use prost_cfs_api::{BlockId, Kind};

use crate::address::Top;
use crate::blocks::Blocks;
use crate::error::FsError;
use crate::format::NodeKind;
use crate::lanes::pool;
use crate::read::Reader;

/// Deepest directory that is followed.
const MAX_DEPTH: usize = 128;

type Result<T, B> = core::result::Result<T, FsError<<B as Blocks>::Error>>;

/// What was extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    /// Blocks that live on.
    pub blocks: u64,
}

/// Extends all blocks of a tree by `ttl` seconds from now on, its root last, with so many at once.
///
/// # Errors
///
/// A block is not there, or not to be had: what was extended before lives on all the same.
pub fn extend<B: Blocks>(blocks: &B, tree: Top, ttl: u64, window: usize) -> Result<Extended, B> {
    let reader = Reader::new(blocks).with_window(window);
    let directory = match tree {
        Top::Root(id) => reader.root(&id)?.1.directory,
        Top::Snapshot(directory) => directory,
    };
    let count = AtomicU64::new(0);
    let longer = |kind, id: &BlockId| {
        count.fetch_add(1, Ordering::Relaxed);
        let is_there = blocks.extend(kind, id, ttl).map_err(FsError::Store)?;
        if is_there { Ok(()) } else { Err(FsError::Missing(*id)) }
    };
    pool(
        window,
        |id: BlockId| longer(Kind::Content, &id),
        |sender| {
            let seen = RefCell::new(BTreeSet::new());
            let send = |id: &BlockId| {
                let is_sent = !seen.borrow_mut().insert(*id) || sender.send(*id).is_ok();
                if is_sent { Ok(()) } else { Err(FsError::Malformed("nothing more is extended")) }
            };
            let mut open = vec![(directory, 0)];
            while let Some((id, depth)) = open.pop() {
                send(&id)?;
                let inode = reader.inode(&id)?;
                reader.all_ids(&inode, |ids| ids.iter().try_for_each(send))?;
                if inode.kind == NodeKind::Directory {
                    if depth == MAX_DEPTH {
                        return Err(FsError::Malformed("the directories are too deep"));
                    }
                    open.extend(reader.entries(&inode)?.into_iter().map(|entry| (entry.inode, depth + 1)));
                }
            }
            Ok(())
        },
    )?;
    if let Top::Root(id) = tree {
        longer(Kind::Root, &id)?;
    }
    Ok(Extended { blocks: count.into_inner() })
}
