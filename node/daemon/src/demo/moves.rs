//! Records that follow the ring: where they are, and that every one has all its copies again after a node has joined, left
//! or died.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use prost_kbr::NodeId;
use serde::{Deserialize, Serialize};

use super::error::DemoError;
use super::say::size;
use super::steps::Steps;
use crate::standard::DHT;

/// How long the copies may take until they are where they belong.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(200);
/// How long nothing may have come before no more is taken to come.
const STILL: Duration = Duration::from_secs(2);
/// Between two lines on how far they are.
const TELL: Duration = Duration::from_secs(2);

/// What a change of the ring moved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The node that joined or left.
    pub node: NodeId,
    /// Copies of records that nodes got from others because of it.
    pub copies: u64,
    /// Bytes of records that it has after it joined, or had before it left.
    pub bytes: u64,
    /// Seconds until every record had all its copies, where they belong: from its start, or from the word that it is to end.
    pub seconds: f64,
    /// Files that came back byte for byte afterwards.
    pub verified: usize,
}

/// What one node keeps for the application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    bytes: u64,
    /// Copies that it got from others since it started.
    got: u64,
}

/// What the living nodes keep.
pub(super) type Shelves = BTreeMap<NodeId, Kept>;

fn bytes(shelves: &Shelves) -> u64 {
    shelves.values().map(|kept| kept.bytes).sum()
}

/// Copies that the nodes got between two looks.
fn moved(before: &Shelves, after: &Shelves) -> u64 {
    let had = |node| before.get(node).map_or(0, |kept| kept.got);
    after.iter().map(|(node, kept)| kept.got.saturating_sub(had(node))).sum()
}

/// How many copies of each record so many nodes keep.
fn copies(nodes: usize) -> u64 {
    (nodes as u64).min(u64::from(DHT.replicas))
}

/// Whether each record can have all its copies: a ring of no more nodes than copies has one of each on every node.
fn can_be_whole(shelves: &Shelves) -> bool {
    let copies = copies(shelves.len());
    let mut each = shelves.values().map(|kept| kept.bytes);
    let first = each.next();
    if shelves.len() as u64 == copies {
        each.all(|bytes| Some(bytes) == first)
    } else {
        bytes(shelves).is_multiple_of(copies)
    }
}

impl Steps {
    /// The bytes of all records, each counted once. Waits until the copies that nobody had to wait for are written too.
    pub(super) fn stored_once(&mut self) -> Result<u64, DemoError> {
        let start = Instant::now();
        let (mut last, mut since) = (self.shelves()?, start);
        loop {
            self.pause(LOOK)?;
            let now = self.shelves()?;
            let (sum, copies) = (bytes(&now), copies(now.len()));
            if now != last {
                since = Instant::now();
            }
            if since.elapsed() >= STILL && can_be_whole(&now) && !self.is_settling()? {
                self.tell_where(&now);
                return Ok(sum / copies);
            }
            if start.elapsed() > PATIENCE {
                return Err(DemoError::NotWhole {
                    seconds: PATIENCE.as_secs(),
                    there: sum,
                    wanted: sum - sum % copies,
                });
            }
            last = now;
        }
    }

    /// Starts one more node, which joins the ring through this one, and waits until it has what belongs to it.
    pub(super) fn join(&mut self, through: NodeId, once: u64) -> Result<Moved, DemoError> {
        let (before, start) = (self.shelves()?, Instant::now());
        let node = self.processes_mut().join(through)?;
        let name = self.processes().called(node);
        self.say().line(format!("{name} joins the ring; it has nothing yet"));
        let after = self.wait_whole(once)?;
        let (seconds, copies) = (start.elapsed().as_secs_f64(), moved(&before, &after));
        let bytes = after.get(&node).map_or(0, |kept| kept.bytes);
        self.say().line(format!(
            "{name} keeps {} {seconds:.2} s after its start, in {copies} copies that moved",
            size(bytes)
        ));
        self.tell_where(&after);
        Ok(Moved { node, copies, bytes, seconds, verified: 0 })
    }

    /// Tells a node to leave and waits until the others have what it had: the one that keeps most, but neither the reader
    /// nor, where there is another, the newcomer.
    pub(super) fn leave(&mut self, reader: NodeId, newcomer: NodeId, once: u64) -> Result<Moved, DemoError> {
        let before = self.shelves()?;
        let others = before.iter().filter(|(node, _)| ![reader, newcomer].contains(node));
        let node = others.max_by_key(|(_, kept)| kept.bytes).map_or(newcomer, |(node, _)| *node);
        let bytes = before.get(&node).map_or(0, |kept| kept.bytes);
        let (name, start) = (self.processes().called(node), Instant::now());
        self.say().line(format!("{name}, which keeps {}, is told to leave", size(bytes)));
        let left = self.processes_mut().leave(node)?;
        self.say().line(format!("{name} has given away what it had, and has left after {left:.2} s"));
        let after = self.wait_whole(once)?;
        let (seconds, copies) = (start.elapsed().as_secs_f64(), moved(&before, &after));
        self.say().line(format!("the others have all of it after {seconds:.2} s, in {copies} copies that moved"));
        self.tell_where(&after);
        Ok(Moved { node, copies, bytes, seconds, verified: 0 })
    }

    /// Waits until every record has its copies, and no node has any beyond them.
    pub(super) fn wait_whole(&mut self, once: u64) -> Result<Shelves, DemoError> {
        let (start, mut told) = (Instant::now(), Instant::now());
        loop {
            let shelves = self.shelves()?;
            let (there, wanted) = (bytes(&shelves), once * copies(shelves.len()));
            if there == wanted && !self.is_settling()? {
                return Ok(shelves);
            }
            if start.elapsed() > PATIENCE {
                return Err(DemoError::NotWhole { seconds: PATIENCE.as_secs(), there, wanted });
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.say().line(format!("{} of records, of {} when each has its copies", size(there), size(wanted)));
            }
            self.pause(LOOK)?;
        }
    }

    fn shelves(&mut self) -> Result<Shelves, DemoError> {
        let statuses = self.statuses()?;
        let kept = |status: &crate::admin::ask::Status| Kept {
            bytes: status.usage.storage_bytes,
            got: status.records.kept + status.records.taken,
        };
        Ok(statuses.iter().map(|status| (status.id, kept(status))).collect())
    }

    fn is_settling(&mut self) -> Result<bool, DemoError> {
        Ok(self.statuses()?.iter().any(|status| status.records.settling))
    }

    /// One line with what each node keeps, in the order of the ring.
    fn tell_where(&self, shelves: &Shelves) {
        let name = |node: &NodeId| {
            self.processes().get(*node).map_or_else(|| node.short().to_string(), |node| node.name.clone())
        };
        let each: Vec<String> =
            shelves.iter().map(|(node, kept)| format!("{} {}", name(node), size(kept.bytes))).collect();
        self.say().line(format!("records at {}", each.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelves(kept: &[(u8, u64, u64)]) -> Shelves {
        kept.iter().map(|(node, bytes, got)| (NodeId::hash(&[*node]), Kept { bytes: *bytes, got: *got })).collect()
    }

    #[test]
    fn what_moved_is_what_nodes_got_that_are_there_afterwards() {
        let (before, after) = (shelves(&[(1, 10, 5), (2, 10, 7)]), shelves(&[(1, 20, 9), (3, 5, 2)]));
        assert_eq!(moved(&before, &after), 4 + 2);
        assert_eq!(bytes(&after), 25);
    }

    #[test]
    fn copies_that_are_missing_show_where_they_can() {
        assert!(can_be_whole(&shelves(&[(1, 10, 0), (2, 10, 0), (3, 10, 0)])));
        assert!(!can_be_whole(&shelves(&[(1, 12, 0), (2, 9, 0), (3, 12, 0)])), "a sum that happens to be right");
        assert!(can_be_whole(&shelves(&[(1, 10, 0), (2, 10, 0), (3, 5, 0), (4, 5, 0)])));
        assert!(!can_be_whole(&shelves(&[(1, 10, 0), (2, 10, 0), (3, 5, 0), (4, 4, 0)])));
    }

    #[test]
    fn a_small_ring_keeps_a_copy_on_each_node() {
        assert_eq!([copies(1), copies(2), copies(3), copies(9)], [1, 2, 3, 3]);
    }
}
