//! What a node asks its own store about keyed records, and the answers: those of the store's owner, the driver.

use prost_contract::{Copies, Entry, Kept, Point, Shelf, Unavailable};
use prost_kbr::{AppId, Interval, Key};
use serde::{Deserialize, Serialize};

/// Parts that a range is split into: with 16, a hundred thousand records are narrowed down to a page in three steps.
pub(crate) const PARTS: u64 = 16;
/// Bytes of values in one answer, but for the first.
const MAX_BYTES: usize = 256 << 10;
/// Entries read at a time.
const PAGE: usize = 1024;

/// A question about keyed records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// What does each application have in this range? Answered by [`Found::Summary`].
    Summary(Interval),
    /// Up to 16 parts of about the same size. Answered by [`Found::Parts`].
    Split {
        /// Whose.
        app: AppId,
        /// Of which range.
        range: Interval,
    },
    /// What is in each of these ranges? Answered by [`Found::Sums`].
    Sums {
        /// Whose.
        app: AppId,
        /// Which ranges.
        ranges: Vec<Interval>,
    },
    /// Which records are there, in order? Answered by [`Found::Entries`].
    Entries {
        /// Whose.
        app: AppId,
        /// In which range.
        range: Interval,
        /// Only those after this.
        after: Option<Point>,
        /// None after this.
        upto: Option<Point>,
        /// At most so many.
        max: usize,
    },
    /// What are these records? Answered by [`Found::Records`].
    Records {
        /// Whose.
        app: AppId,
        /// Which.
        points: Vec<Point>,
    },
}

/// The answer to a [`Look`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Each application that has records there.
    Summary(Vec<(AppId, Sum)>),
    /// The end of each part, and what is in it.
    Parts(Vec<(Key, Sum)>),
    /// One for each range.
    Sums(Vec<Sum>),
    /// A page.
    Entries {
        /// In order.
        entries: Vec<Entry>,
        /// Whether there are more after them.
        more: bool,
    },
    /// The first of the records that were asked for, as many as fit in one frame.
    Records(Vec<(Point, Option<Kept>)>),
    /// The store failed.
    Unavailable,
}

/// How many records, and a digest of which they are in which versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// The first 16 bytes of the BLAKE3 of their keys, names and versions; zeros where there are none.
    pub digest: [u8; 16],
}

/// Answers a question from a node's store.
pub fn look(shelf: &dyn Shelf, look: &Look) -> Found {
    try_look(shelf, look).unwrap_or(Found::Unavailable)
}

fn try_look(shelf: &dyn Shelf, look: &Look) -> Result<Found, Unavailable> {
    Ok(match look {
        Look::Summary(range) => {
            let mut apps = Vec::new();
            for app in shelf.apps() {
                let sum = sum(&*shelf.copies(&app), *range)?;
                if sum.count > 0 {
                    apps.push((app, sum));
                }
            }
            Found::Summary(apps)
        }
        Look::Split { app, range } => Found::Parts(split(&*shelf.copies(app), *range)?),
        Look::Sums { app, ranges } => {
            let copies = shelf.copies(app);
            Found::Sums(ranges.iter().map(|range| sum(&*copies, *range)).collect::<Result<_, _>>()?)
        }
        Look::Entries { app, range, after, upto, max } => {
            let mut entries = shelf.copies(app).entries(*range, after.as_ref(), max.saturating_add(1))?;
            let within = |entry: &Entry| upto.as_ref().is_none_or(|upto| !is_after(*range, &entry.point, upto));
            entries.truncate(entries.iter().take_while(|entry| within(entry)).count());
            let more = entries.len() > *max;
            entries.truncate(*max);
            Found::Entries { entries, more }
        }
        Look::Records { app, points } => Found::Records(records(&*shelf.copies(app), points)?),
    })
}

/// Whether one record comes after another in a range's order.
pub(crate) fn is_after(range: Interval, point: &Point, other: &Point) -> bool {
    place(range, point) > place(range, other)
}

/// Where a record stands in a range's order.
fn place(range: Interval, point: &Point) -> (bool, prost_kbr::Id, &[u8]) {
    let start = range.after();
    (point.key == start, start.distance_to(point.key), &point.name)
}

fn records(copies: &dyn Copies, points: &[Point]) -> Result<Vec<(Point, Option<Kept>)>, Unavailable> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for point in points {
        let kept = copies.kept(point)?;
        bytes += point.name.len() + kept.as_ref().and_then(|kept| kept.value.as_ref()).map_or(0, bytes::Bytes::len);
        if bytes > MAX_BYTES && !records.is_empty() {
            break;
        }
        records.push((point.clone(), kept));
    }
    Ok(records)
}

/// Calls `each` with every record of a range, in order.
fn walk(copies: &dyn Copies, range: Interval, mut each: impl FnMut(&Entry)) -> Result<(), Unavailable> {
    let mut after: Option<Point> = None;
    loop {
        let page = copies.entries(range, after.as_ref(), PAGE)?;
        page.iter().for_each(&mut each);
        if page.len() < PAGE {
            return Ok(());
        }
        after = page.last().map(|entry| entry.point.clone());
    }
}

/// A sum under way.
#[derive(Default)]
struct Adder {
    count: u64,
    hasher: blake3::Hasher,
}

impl Adder {
    fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.hasher.update(entry.point.key.as_bytes());
        self.hasher.update(&(entry.point.name.len() as u64).to_be_bytes()).update(&entry.point.name);
        self.hasher.update(&entry.version.at.to_be_bytes()).update(entry.version.node.as_bytes());
    }

    fn sum(&self) -> Sum {
        let mut digest = [0; 16];
        if self.count > 0 {
            digest.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        }
        Sum { count: self.count, digest }
    }
}

fn sum(copies: &dyn Copies, range: Interval) -> Result<Sum, Unavailable> {
    let mut adder = Adder::default();
    walk(copies, range, |entry| adder.add(entry))?;
    Ok(adder.sum())
}

/// Parts that end where a ring key ends, so that a record is never in two of them; the last one ends where the range
/// does.
fn split(copies: &dyn Copies, range: Interval) -> Result<Vec<(Key, Sum)>, Unavailable> {
    let mut count = 0;
    walk(copies, range, |_| count += 1)?;
    let size = u64::div_ceil(count, PARTS).max(1);
    let (mut parts, mut adder, mut last) = (Vec::new(), Adder::default(), None);
    walk(copies, range, |entry| {
        if let Some(end) = last.filter(|last| *last != entry.point.key && adder.count >= size) {
            parts.push((end, std::mem::take(&mut adder).sum()));
        }
        adder.add(entry);
        last = Some(entry.point.key);
    })?;
    parts.push((range.upto(), adder.sum()));
    Ok(parts)
}
