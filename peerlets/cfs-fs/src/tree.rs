//! The blocks of one content, below its inode.

use prost_cfs_api::BlockId;

use crate::format::{FANOUT, covered, encode_ids};

/// Groups ids of data blocks into indirect blocks until as few are left as an inode takes. `store` keeps a block. Gives the
/// levels and the ids that are left.
pub(crate) fn raise<E>(
    mut ids: Vec<BlockId>,
    mut store: impl FnMut(Vec<u8>) -> Result<BlockId, E>,
) -> Result<(u8, Vec<BlockId>), E> {
    let mut depth = 0;
    while ids.len() > FANOUT {
        ids = ids.chunks(FANOUT).map(|group| store(encode_ids(group))).collect::<Result<_, E>>()?;
        depth += 1;
    }
    Ok((depth, ids))
}

/// A part of a tree: ids that cover consecutive data blocks, each so many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) depth: u8,
    /// The first data block below the first id.
    pub(crate) first: u64,
    pub(crate) ids: Vec<BlockId>,
}

impl Level {
    /// The ids that cover any of these data blocks.
    pub(crate) fn cut(&self, from: u64, upto: u64) -> Level {
        let each = covered(self.depth);
        let index = |block: u64| usize::try_from(block.saturating_sub(self.first) / each).unwrap_or(usize::MAX);
        let start = index(from).min(self.ids.len());
        let end = index(upto.saturating_add(each - 1)).clamp(start, self.ids.len());
        Level { depth: self.depth, first: self.first + start as u64 * each, ids: self.ids[start..end].to_vec() }
    }

    /// The level below, from the contents of these ids' blocks, of which only the last may be short.
    pub(crate) fn below(&self, contents: Vec<Vec<BlockId>>) -> Result<Level, &'static str> {
        let depth = self.depth.saturating_sub(1);
        let full = contents.len().saturating_sub(1);
        if contents.iter().take(full).any(|ids| ids.len() != FANOUT) {
            return Err("an indirect block is short");
        }
        Ok(Level { depth, first: self.first, ids: contents.concat() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(count: u32) -> Vec<BlockId> {
        (0..count).map(|number| BlockId::of(&number.to_be_bytes())).collect()
    }

    #[test]
    fn as_many_levels_as_the_blocks_need() {
        let mut stored = 0;
        let mut store = |block: Vec<u8>| {
            stored += 1;
            Ok::<_, ()>(BlockId::of(&block))
        };
        assert_eq!(raise(ids(224), &mut store), Ok((0, ids(224))));
        assert_eq!(raise(ids(225), &mut store).map(|(depth, ids)| (depth, ids.len())), Ok((1, 2)));
        assert_eq!(raise(ids(224 * 224 + 1), &mut store).map(|(depth, ids)| (depth, ids.len())), Ok((2, 2)));
        assert_eq!(stored, 2 + 225 + 2);
    }

    #[test]
    fn a_cut_covers_what_is_asked_for_and_no_more() {
        let level = Level { depth: 1, first: 448, ids: ids(5) };
        assert_eq!(level.cut(448, 449), Level { depth: 1, first: 448, ids: ids(5)[..1].to_vec() });
        assert_eq!(level.cut(671, 673), Level { depth: 1, first: 448, ids: ids(5)[..2].to_vec() });
        assert_eq!(level.cut(672, 99_999), Level { depth: 1, first: 672, ids: ids(5)[1..].to_vec() });
        assert_eq!(level.cut(99_999, 100_000).ids, []);
    }
}
