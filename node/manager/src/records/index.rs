//! What a range of keyed records sums up to, without a walk over them.
//!
//! A tree over the leading bits of the ring key, four children to a node. Each node knows how many records are in its
//! block of the circle and the sum of their digests, so that a change touches the nodes of one path, and a range is the
//! sum of a few nodes and at most two leaves that it cuts, whose records have to be read. A sum does not depend on the
//! order of its terms: the same records give the same sum, whatever the trees look like.
//!
//! Sums of digests are no defence against someone who chooses the records: who may give a node records can find other
//! ones with the same sum (Wagner, CRYPTO 2002). Who may do so may overwrite them anyway.

use prost_contract::{Entry, Point, Sum, Version};
use prost_kbr::{Id, Interval, Key};

/// Records of a block from which on it is divided: so many are read at each end of a range at most.
const LEAF: u64 = 64;
/// Bits of the key that a level tells apart.
const LEVEL: u32 = 2;
const CHILDREN: usize = 1 << LEVEL;

/// The sums of one application's keyed records on one node.
#[derive(Debug, Clone, Default)]
pub struct RangeIndex {
    root: Node,
}

/// A part of the circle: all keys that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    first: Key,
    bits: u32,
}

#[derive(Debug, Clone, Default)]
struct Node {
    total: Total,
    children: Option<Box<[Node; CHILDREN]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Total {
    count: u64,
    sum: u128,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    fn subtract(&mut self, other: Total) {
        self.count = self.count.wrapping_sub(other.count);
        self.sum = self.sum.wrapping_sub(other.sum);
    }

    fn of(point: &Point, version: Version) -> Total {
        let mut hasher = blake3::Hasher::new();
        hasher.update(point.key.as_bytes());
        hasher.update(&(point.name.len() as u64).to_be_bytes()).update(&point.name);
        hasher.update(&version.at.to_be_bytes()).update(version.node.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Total { count: 1, sum: u128::from_be_bytes(digest) }
    }
}

impl From<Total> for Sum {
    fn from(Total { count, sum }: Total) -> Sum {
        Sum { count, digest: sum.to_be_bytes() }
    }
}

impl Block {
    const WHOLE: Block = Block { first: Id::ZERO, bits: 0 };

    /// The block as an interval.
    pub fn range(&self) -> Interval {
        Interval::open_closed(before(self.first), self.last())
    }

    fn last(&self) -> Key {
        let mut bytes = *self.first.as_bytes();
        for (at, byte) in bytes.iter_mut().enumerate() {
            let kept = self.bits.saturating_sub(8 * at as u32).min(8);
            *byte |= 0xff_u8.checked_shr(kept).unwrap_or(0);
        }
        Id::from_bytes(bytes)
    }

    fn child(&self, which: usize) -> Block {
        let mut bytes = *self.first.as_bytes();
        bytes[self.bits as usize / 8] |= (which as u8) << (8 - LEVEL - self.bits % 8);
        Block { first: Id::from_bytes(bytes), bits: self.bits + LEVEL }
    }

    /// Which child of the block a key is in.
    fn place(&self, key: Key) -> usize {
        let byte = key.as_bytes()[self.bits as usize / 8];
        usize::from(byte >> (8 - LEVEL - self.bits % 8)) % CHILDREN
    }

    /// Whether nothing can be told apart in it.
    fn is_one_key(&self) -> bool {
        self.bits == Id::BITS
    }
}

/// The key just before this one.
fn before(key: Key) -> Key {
    key.plus(Id::from_bytes([u8::MAX; Id::LEN]))
}

impl Node {
    fn of(block: Block, entries: &[(Key, Total)]) -> Node {
        let mut node = Node::default();
        entries.iter().for_each(|(_, total)| node.total.add(*total));
        if node.total.count > LEAF && !block.is_one_key() {
            let mut parts: [Vec<(Key, Total)>; CHILDREN] = Default::default();
            entries.iter().for_each(|entry| parts[block.place(entry.0)].push(*entry));
            let mut which = 0;
            node.children = Some(Box::new(parts.map(|part| {
                let child = Node::of(block.child(which), &part);
                which += 1;
                child
            })));
        }
        node
    }

    fn cover(&self, block: Block, stretch: (Key, Key), size: u64, cells: &mut Vec<Cell>) {
        let (first, last) = (block.first.max(stretch.0), block.last().min(stretch.1));
        if self.total.count == 0 || first > last {
            return;
        }
        let whole = first == block.first && last == block.last();
        match &self.children {
            Some(children) if !whole || self.total.count > size => {
                for (which, child) in children.iter().enumerate() {
                    child.cover(block.child(which), stretch, size, cells);
                }
            }
            _ if whole => cells.push(Cell { last, what: What::Known(self.total) }),
            _ => cells.push(Cell { last, what: What::ToRead(Interval::open_closed(before(first), last)) }),
        }
    }
}

impl RangeIndex {
    /// A record has come in a version, has gone in one, or is there in another one. Gives a block that has grown too
    /// large to be one leaf, which [`refill`](RangeIndex::refill) divides.
    pub fn change(&mut self, point: &Point, old: Option<Version>, new: Option<Version>) -> Option<Block> {
        if old == new {
            return None;
        }
        let of = |version: Option<Version>| version.map_or(Total::default(), |version| Total::of(point, version));
        let (old, new) = (of(old), of(new));
        let (mut node, mut block) = (&mut self.root, Block::WHOLE);
        loop {
            node.total.subtract(old);
            node.total.add(new);
            if node.total.count <= LEAF / 2 {
                node.children = None;
            }
            let Some(children) = &mut node.children else { break };
            let which = block.place(point.key);
            (node, block) = (&mut children[which], block.child(which));
        }
        (node.total.count > LEAF && !block.is_one_key()).then_some(block)
    }

    /// The leaf that a key is in.
    pub fn leaf(&self, key: Key) -> Block {
        let (mut node, mut block) = (&self.root, Block::WHOLE);
        while let Some(children) = &node.children {
            let which = block.place(key);
            (node, block) = (&children[which], block.child(which));
        }
        block
    }

    /// What is in a leaf is these, in any order. Says whether that is what the index took to be there.
    pub fn refill<'a>(&mut self, leaf: Block, entries: impl IntoIterator<Item = &'a Entry>) -> bool {
        let entries: Vec<(Key, Total)> =
            entries.into_iter().map(|entry| (entry.point.key, Total::of(&entry.point, entry.version))).collect();
        let new = Node::of(leaf, &entries);
        let Some(old) = self.total_of(leaf) else { return false };
        let as_known = old == new.total;
        let (mut node, mut block) = (&mut self.root, Block::WHOLE);
        while block != leaf {
            node.total.subtract(old);
            node.total.add(new.total);
            let children = node.children.as_mut().expect("the tree goes down to the leaf");
            let which = block.place(leaf.first);
            (node, block) = (&mut children[which], block.child(which));
        }
        *node = new;
        as_known
    }

    /// None where the tree does not go down to it.
    fn total_of(&self, leaf: Block) -> Option<Total> {
        let (mut node, mut block) = (&self.root, Block::WHOLE);
        while block != leaf {
            let which = block.place(leaf.first);
            (node, block) = (node.children.as_ref()?.get(which)?, block.child(which));
        }
        Some(node.total)
    }

    /// All records.
    pub fn count(&self) -> u64 {
        self.root.total.count
    }

    /// What a range is made of, in one piece.
    pub fn cover(&self, range: Interval) -> Cover {
        self.cover_in(range, u64::MAX)
    }

    /// What a range is made of, in pieces that can be put together to so many parts.
    pub fn cover_in_parts(&self, range: Interval, parts: u64) -> Cover {
        let whole = self.cover_in(range, u64::MAX);
        let most: u64 =
            whole.cells.iter().map(|cell| if let What::Known(total) = cell.what { total.count } else { LEAF }).sum();
        self.cover_in(range, most.div_ceil(parts.max(1)).max(1))
    }

    fn cover_in(&self, range: Interval, size: u64) -> Cover {
        let mut cells = Vec::new();
        for stretch in stretches(range) {
            self.root.cover(Block::WHOLE, stretch, size, &mut cells);
        }
        let end = if range.contains(range.upto()) { range.upto() } else { before(range.upto()) };
        Cover { cells, size, end }
    }
}

/// A range as stretches from one key to another, both included, in ring order.
fn stretches(range: Interval) -> Vec<(Key, Key)> {
    let (after, upto) = (range.after(), range.upto());
    let (lowest, highest) = (Id::ZERO, Id::from_bytes([u8::MAX; Id::LEN]));
    let first = after.plus_power(0);
    let last = if range.contains(upto) { upto } else { before(upto) };
    if !range.contains(last) {
        return Vec::new();
    }
    if first <= last { vec![(first, last)] } else { vec![(first, highest), (lowest, last)] }
}

/// What a range is made of: sums that are known, and pieces of leaves that have to be read.
#[derive(Debug, Clone)]
pub struct Cover {
    cells: Vec<Cell>,
    size: u64,
    end: Key,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    last: Key,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Known(Total),
    ToRead(Interval),
}

impl Cell {
    fn total<E>(&self, read: &mut impl FnMut(Interval) -> Result<Vec<Entry>, E>) -> Result<Total, E> {
        let range = match self.what {
            What::Known(total) => return Ok(total),
            What::ToRead(range) => range,
        };
        let mut total = Total::default();
        read(range)?.iter().for_each(|entry| total.add(Total::of(&entry.point, entry.version)));
        Ok(total)
    }
}

impl Cover {
    /// The pieces that have to be read.
    pub fn to_read(&self) -> impl Iterator<Item = Interval> {
        self.cells.iter().filter_map(|cell| if let What::ToRead(range) = cell.what { Some(range) } else { None })
    }

    /// The sum of the range, where `read` gives the records of a piece.
    pub fn sum<E>(&self, mut read: impl FnMut(Interval) -> Result<Vec<Entry>, E>) -> Result<Sum, E> {
        let mut total = Total::default();
        for cell in &self.cells {
            total.add(cell.total(&mut read)?);
        }
        Ok(total.into())
    }

    /// The parts of the range: the last key of each, and its sum.
    pub fn parts<E>(&self, mut read: impl FnMut(Interval) -> Result<Vec<Entry>, E>) -> Result<Vec<(Key, Sum)>, E> {
        let (mut parts, mut part, mut last) = (Vec::new(), Total::default(), self.end);
        for cell in &self.cells {
            let total = cell.total(&mut read)?;
            if total.count == 0 {
                continue;
            }
            if part.count >= self.size {
                parts.push((last, std::mem::take(&mut part).into()));
            }
            part.add(total);
            last = cell.last;
        }
        parts.push((self.end, part.into()));
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
