//! Questions about lists of nodes that stand in the order of the ring.

use crate::id::{Interval, Key, NodeId};
use crate::message::Peer;

/// Which of `successors`, the nodes after `me`, is responsible for `key`; none where the list does not reach it.
pub(crate) fn owner_ahead(me: NodeId, successors: &[Peer], key: Key) -> Option<usize> {
    let last = successors.last()?;
    if !Interval::open_closed(me, last.id).contains(key) {
        return None;
    }
    let way = me.distance_to(key);
    Some(successors.partition_point(|peer| me.distance_to(peer.id) < way))
}

/// Which of `predecessors`, the nodes before this one, is responsible for `key`; none where the list does not reach it.
pub(crate) fn owner_behind(predecessors: &[Peer], key: Key) -> Option<usize> {
    let (first, last) = (predecessors.first()?, predecessors.last()?);
    if key == first.id {
        return Some(0);
    }
    if first.id == last.id || !Interval::open_closed(last.id, first.id).contains(key) {
        return None;
    }
    let way = key.distance_to(first.id);
    Some(predecessors.partition_point(|peer| peer.id.distance_to(first.id) <= way) - 1)
}

/// The longest beginning of `candidates` that goes on clockwise from `me`, each once, without reaching `me` again.
pub(crate) fn clockwise(me: NodeId, candidates: impl IntoIterator<Item = Peer>) -> Vec<Peer> {
    rising(candidates, |peer| me.distance_to(peer.id))
}

/// The longest beginning of `candidates` that goes on counter-clockwise from `me`, each once, without reaching `me`.
pub(crate) fn counter_clockwise(me: NodeId, candidates: impl IntoIterator<Item = Peer>) -> Vec<Peer> {
    rising(candidates, |peer| peer.id.distance_to(me))
}

fn rising(candidates: impl IntoIterator<Item = Peer>, way: impl Fn(&Peer) -> NodeId) -> Vec<Peer> {
    let mut list: Vec<Peer> = Vec::new();
    let mut reached = NodeId::ZERO;
    for candidate in candidates {
        let next = way(&candidate);
        if next <= reached {
            break;
        }
        reached = next;
        list.push(candidate);
    }
    list
}
