//! What a node asks its own store about keyed records, and the answers: those of the store's owner, the driver.

use prost_contract::{Copies, Entry, Kept, Point, Shelf, Sum, Unavailable};
use prost_kbr::{AppId, Interval, Key};

/// Parts that a range is split into: with 16, a hundred thousand records are narrowed down to a page in three steps.
pub(crate) const PARTS: u64 = 16;
/// Bytes of values in one answer, but for the first.
const MAX_BYTES: usize = 256 << 10;
/// Bytes of values that one check reads, but for the last.
const CHECK_BYTES: usize = 4 << 20;

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
    /// Are the records on the disk what was written? Answered by [`Found::Checked`].
    Check {
        /// Only those after this, in the order of applications, keys and names.
        after: Option<(AppId, Point)>,
        /// At most so many.
        max: usize,
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
    /// Some have been read.
    Checked {
        /// How many.
        records: u64,
        /// How many keyed records are there in all.
        total: u64,
        /// The last one that was read; none at the end.
        last: Option<(AppId, Point)>,
        /// All that are known to be damaged.
        damaged: Vec<(AppId, Point)>,
    },
    /// The store failed.
    Unavailable,
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
                let sum = shelf.copies(&app).sum(*range)?;
                if sum.count > 0 {
                    apps.push((app, sum));
                }
            }
            Found::Summary(apps)
        }
        Look::Split { app, range } => Found::Parts(shelf.copies(app).parts(*range, PARTS)?),
        Look::Sums { app, ranges } => {
            let copies = shelf.copies(app);
            Found::Sums(ranges.iter().map(|range| copies.sum(*range)).collect::<Result<_, _>>()?)
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
        Look::Check { after, max } => check(shelf, after.as_ref(), *max)?,
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

fn check(shelf: &dyn Shelf, after: Option<&(AppId, Point)>, max: usize) -> Result<Found, Unavailable> {
    let (mut records, mut bytes, mut total, mut last) = (0, 0, 0, None);
    for app in shelf.apps() {
        let copies = shelf.copies(&app);
        // From this point on the whole circle is one block, of which nothing has to be read.
        let highest = Key::from_bytes([u8::MAX; Key::LEN]);
        total += copies.sum(Interval::open_closed(highest, highest))?.count;
        if last.is_some() || after.is_some_and(|(begun, _)| app < *begun) {
            continue;
        }
        let after = after.filter(|(begun, _)| *begun == app).map(|(_, point)| point);
        let checked = copies.check(after, max.saturating_sub(records).max(1), CHECK_BYTES.saturating_sub(bytes))?;
        records += checked.records;
        bytes += checked.bytes;
        last = checked.last.map(|point| (app, point));
    }
    Ok(Found::Checked { records: records as u64, total, last, damaged: shelf.damaged() })
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
