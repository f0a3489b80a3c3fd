//! The ideal ring: every node knows exactly its true neighbours.

use core::time::Duration;
use std::time::Instant;

use prost_kbr::NodeId;

use super::error::DemoError;
use super::interrupt::Interrupt;
use super::processes::Processes;
use super::say::{Say, count};
use crate::admin::ask::Status;

/// How long the ring may take to become ideal.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(100);
/// Between two lines on how far it is.
const TELL: Duration = Duration::from_millis(500);

/// What one node believes of its neighbours, nearest first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    me: NodeId,
    successors: Vec<NodeId>,
    predecessor: Option<NodeId>,
}

/// Waits until every living node knows its true neighbours and no other.
pub(super) fn wait(processes: &mut Processes, say: Say, interrupt: &Interrupt) -> Result<(), DemoError> {
    let mut ids: Vec<NodeId> = processes.alive().map(|node| node.id).collect();
    ids.sort_unstable();
    let length = prost_kbr::Config::default().successors;
    let start = Instant::now();
    let (mut told, mut told_at) = (0, start);
    loop {
        processes.check()?;
        let views = processes.alive().filter_map(|node| Some(view(&node.admin.status().ok()?)));
        let right = views.filter(|view| is_right(view, &ids, length)).count();
        if right != told && (right == ids.len() || told_at.elapsed() >= TELL) {
            say.line(format!("{right} of {} know their true neighbours", count(ids.len(), "node")));
            (told, told_at) = (right, Instant::now());
        }
        if right == ids.len() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(DemoError::NoRing { seconds: PATIENCE.as_secs(), right, nodes: ids.len() });
        }
        interrupt.sleep(LOOK)?;
    }
}

fn view(status: &Status) -> View {
    View {
        me: status.id,
        successors: status.successors.iter().map(|node| node.id).collect(),
        predecessor: status.predecessors.first().map(|node| node.id),
    }
}

/// Whether the successors are the next `length` members, or all others, in order, and the predecessor the one before.
/// `ids` are those of all members, sorted.
fn is_right(view: &View, ids: &[NodeId], length: usize) -> bool {
    let Ok(at) = ids.binary_search(&view.me) else { return false };
    let (before, after) = (&ids[..at], &ids[at + 1..]);
    let next = after.iter().chain(before).take(length);
    let previous = before.last().or(after.last());
    // A node alone may count itself for its own neighbour.
    let others = |id: &&NodeId| **id != view.me;
    view.successors.iter().filter(others).eq(next) && view.predecessor.as_ref().filter(others) == previous
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8) -> NodeId {
        let mut bytes = [0; 20];
        bytes[0] = first;
        NodeId::from_bytes(bytes)
    }

    fn right(me: u8, successors: &[u8], predecessor: Option<u8>, members: &[u8], length: usize) -> bool {
        let ids = |numbers: &[u8]| -> Vec<NodeId> { numbers.iter().map(|number| id(*number)).collect() };
        let view = View { me: id(me), successors: ids(successors), predecessor: predecessor.map(id) };
        is_right(&view, &ids(members), length)
    }

    #[test]
    fn the_true_neighbours_are_the_next_ones_round_the_circle() {
        let members = [10, 20, 30, 40, 50];
        assert!(right(30, &[40, 50], Some(20), &members, 2));
        assert!(right(50, &[10, 20], Some(40), &members, 2));
        assert!(right(10, &[20, 30, 40, 50], Some(50), &members, 16));

        assert!(!right(30, &[50, 10], Some(20), &members, 2), "a member is passed over");
        assert!(!right(30, &[40], Some(20), &members, 2), "the list is short");
        assert!(!right(30, &[40, 50, 10], Some(20), &members, 2), "the list is long");
        assert!(!right(30, &[40, 45], Some(20), &members, 2), "one is no member");
        assert!(!right(30, &[40, 50], Some(10), &members, 2), "the predecessor is another");
        assert!(!right(30, &[40, 50], None, &members, 2), "there is no predecessor");
        assert!(!right(35, &[40, 50], Some(30), &members, 2), "it is no member itself");
    }

    #[test]
    fn a_node_alone_is_its_own_neighbour_or_has_none() {
        assert!(right(10, &[], None, &[10], 16));
        assert!(right(10, &[10], Some(10), &[10], 16));
        assert!(!right(10, &[20], None, &[10], 16));
    }
}
