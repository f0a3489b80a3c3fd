//! Answers under way, whose lists will soon be those of other nodes.
//!
//! In Zave's model a node asks another and takes over its list in one step, so that no list is ever under way, and the dead
//! answer nobody. Here an answer takes its time, and may arrive after its sender has died: a node cannot tell it from that of
//! one that lives, and takes it over. The one step of the model is then the sending of the answer. Who judges what failures
//! take from a node therefore counts what has been sent to it as what it has.

use std::sync::{Arc, Mutex, PoisonError};

use prost_kbr::{Message, NodeId};

use super::{Picture, Seat};
use crate::{Index, World};

/// Most answers that are followed at once.
const MAX: usize = 4096;

/// An answer about neighbours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    from: Index,
    to: Index,
    request: u64,
}

/// Answers that were sent, filled by the world's observer.
#[derive(Debug, Clone, Default)]
pub(super) struct Mail(Arc<Mutex<Vec<Sent>>>);

impl Mail {
    /// A node hands a frame to the network.
    pub(super) fn observe(&self, from: Index, to: Index, message: &Message) {
        if let Message::Neighbours { request, .. } | Message::Changes { request, .. } | Message::Unchanged { request } =
            message
        {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { from, to, request: *request });
        }
    }

    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The answers that are waited for, with the successors that their senders had.
#[derive(Debug, Default)]
pub(super) struct Coming(Vec<(Sent, NodeId, Vec<NodeId>)>);

impl Coming {
    /// Notes what was sent since the last look, at which the picture was as it is.
    pub(super) fn note(&mut self, world: &World, mail: &Mail, picture: &Picture) {
        for sent in mail.take() {
            if let Some(seat) = picture.seat(sent.from).filter(|seat| seat.joined) {
                self.0.push((sent, seat.id, seat.successors.clone()));
            }
        }
        if self.0.len() > MAX {
            self.forget(world);
        }
    }

    fn forget(&mut self, world: &World) {
        let awaited = |sent: &Sent| world.node(sent.to).is_some_and(|node| node.ring().awaits_successors(sent.request));
        self.0.retain(|(sent, ..)| awaited(sent));
    }

    /// The lists that nodes will have once what is under way has arrived.
    pub(super) fn lists(&mut self, world: &World, picture: &Picture, most: usize) -> Vec<(Index, Vec<NodeId>)> {
        self.forget(world);
        let list = |(sent, from, list): &(Sent, NodeId, Vec<NodeId>)| {
            let seat = picture.seat(sent.to)?;
            Some((sent.to, adopted(seat, *from, list, most)?))
        };
        self.0.iter().filter_map(list).collect()
    }
}

/// The list of a node that takes over another's; none where that does not stand in its list or before its first.
fn adopted(seat: &Seat, from: NodeId, list: &[NodeId], most: usize) -> Option<Vec<NodeId>> {
    let way = |id: &NodeId| seat.id.distance_to(*id);
    let known = match seat.successors.iter().position(|id| *id == from) {
        Some(at) => &seat.successors[..at],
        None if seat.successors.first().is_none_or(|first| way(&from) < way(first)) => &[],
        None => return None,
    };
    let list = list.iter().take_while(|id| **id != seat.id).filter(|id| !seat.lost.contains(id));
    let mut adopted: Vec<NodeId> = Vec::new();
    for id in known.iter().chain([&from]).chain(list).take_while(|id| **id != seat.id) {
        if adopted.last().is_some_and(|last| way(last) >= way(id)) {
            break;
        }
        adopted.push(*id);
    }
    adopted.truncate(most);
    Some(adopted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(place: u8) -> NodeId {
        let mut bytes = [0; NodeId::LEN];
        bytes[0] = place;
        NodeId::from_bytes(bytes)
    }

    fn ids(places: &[u8]) -> Vec<NodeId> {
        places.iter().map(|place| id(*place)).collect()
    }

    /// What a node at 100 with this list makes of the list of another.
    fn makes(of: &[u8], from: u8, list: &[u8]) -> Option<Vec<NodeId>> {
        let seat = Seat { id: id(100), successors: ids(of), lost: vec![id(77)], ..Seat::default() };
        adopted(&seat, id(from), &ids(list), 3)
    }

    #[test]
    fn a_list_is_taken_over_from_its_first_or_a_nearer_one_or_behind_one_of_it() {
        assert_eq!(makes(&[110, 120, 130], 110, &[115, 120, 130]), Some(ids(&[110, 115, 120])));
        assert_eq!(makes(&[110, 120, 130], 105, &[110, 120]), Some(ids(&[105, 110, 120])));
        assert_eq!(makes(&[110, 120, 130], 120, &[140, 150]), Some(ids(&[110, 120, 140])));
        assert_eq!(makes(&[110, 120, 130], 125, &[130]), None);
        assert_eq!(makes(&[], 50, &[77, 60, 100, 110]), Some(ids(&[50, 60])), "to itself, and without the dead");
        assert_eq!(makes(&[110], 110, &[120, 115]), Some(ids(&[110, 120])));
    }
}
