//! What is under way and will soon change the lists of other nodes.
//!
//! In Zave's model a node asks another and takes over its list in one step, so that no list is ever under way, and the dead
//! answer nobody. Here an answer takes its time, and may arrive after its sender has died: a node cannot tell it from that of
//! one that lives, and takes it over. The one step of the model is then the sending of the answer. Who judges what failures
//! take from a node therefore counts what has been sent to it as what it has.
//!
//! The same goes for a node that was asked while it was no member, says so, and is one when the others hear of it. And joining
//! is one step there: the joiner has its list at the very moment at which the node before it is asked. Here it learns its
//! successor from that node, and then asks the successor; who joins between the two after that is not in its list.
//!
//! Whom a node holds for dead it leaves out of what it takes over. Of a process that has started again it may hear before
//! the answer arrives, or not: both lists are counted.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use prost_kbr::{Message, NodeId, Time};

use super::{Picture, Seat};
use crate::{Index, World};

/// Most answers that are followed at once.
const MAX: usize = 4096;
/// What has not arrived after this time went with its connection.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// An answer about neighbours, or with no request the word that its sender is no member.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    from: Index,
    to: Index,
    request: Option<u64>,
}

/// What was sent, filled by the world's observer.
#[derive(Debug, Clone, Default)]
pub(super) struct Mail(Arc<Mutex<Vec<Sent>>>);

impl Mail {
    /// A node hands a frame to the network.
    pub(super) fn observe(&self, from: Index, to: Index, message: &Message) {
        let request = match message {
            Message::Leave { .. } | Message::Neighbours { joined: false, .. } => None,
            Message::Neighbours { request, .. } | Message::Changes { request, .. } | Message::Unchanged { request } => {
                Some(*request)
            }
            _ => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { from, to, request });
    }

    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The word of a node that it is no member, to another.
#[derive(Debug)]
struct Farewell {
    from: NodeId,
    to: Index,
    until: Time,
    /// Whether the other has been seen to list the node: as soon as it does not any more, it has heard.
    listed: bool,
}

/// What has not arrived.
#[derive(Debug, Default)]
pub(super) struct Coming {
    /// The answers that are waited for, with the successors that their senders had.
    answers: Vec<(Index, u64, NodeId, Vec<NodeId>)>,
    farewells: Vec<Farewell>,
}

impl Coming {
    /// Notes what was sent since the last look, at which the picture was as it is.
    pub(super) fn note(&mut self, world: &World, mail: &Mail, picture: &Picture) {
        let now = world.now();
        self.farewells.retain_mut(|farewell| {
            let lists = picture.seat(farewell.to).is_some_and(|seat| seat.successors.contains(&farewell.from));
            let heard = std::mem::replace(&mut farewell.listed, lists) && !lists;
            !heard && now < farewell.until
        });
        for Sent { from, to, request } in mail.take() {
            let Some(seat) = picture.seat(from) else { continue };
            match request {
                Some(request) if seat.joined => self.answers.push((to, request, seat.id, seat.successors.clone())),
                Some(_) => {}
                None => self.farewells.push(Farewell { from: seat.id, to, until: now + UNDER_WAY, listed: false }),
            }
        }
        if self.answers.len() > MAX {
            self.forget(world);
        }
    }

    fn forget(&mut self, world: &World) {
        let awaits = |to: Index, request| {
            let ring = world.node(to).map(|node| node.ring());
            ring.is_some_and(|ring| ring.awaits_successors(request) || ring.awaits_place(request))
        };
        self.answers.retain(|(to, request, ..)| awaits(*to, *request));
    }

    /// The lists that nodes will have once what is under way has arrived.
    pub(super) fn lists(&mut self, world: &World, picture: &Picture, most: usize) -> Vec<(Index, Vec<NodeId>)> {
        self.forget(world);
        let member = |id: NodeId| picture.members().get(&id).and_then(|node| picture.seat(*node));
        let alive = |id: &NodeId| world.index(*id).is_some_and(|node| world.is_alive(node));
        let takes = |node: Index, from: NodeId, list: &[NodeId]| {
            let seat = picture.seat(node);
            let lost = |id: &NodeId| seat.is_some_and(|seat| seat.lost.contains(id));
            let either = [&lost as &dyn Fn(&NodeId) -> bool, &|id| lost(id) && !alive(id)];
            let mut lists =
                either.map(|passed_over| adopted(seat?, from, list, most, passed_over)).map(|list| Some((node, list?)));
            if lists[0] == lists[1] {
                lists[1] = None;
            }
            lists.into_iter().flatten()
        };
        let joins = |node: Index, next: NodeId| {
            let list: &[NodeId] = member(next).map_or(&[], |seat| &seat.successors);
            takes(node, next, list)
        };
        let taken = self.answers.iter().flat_map(|(to, request, from, list)| {
            let me = world.node(*to).map(|node| node.ring());
            if me.is_some_and(|ring| ring.awaits_place(*request)) {
                let id = world.peer(*to).id;
                return joins(*to, list.iter().copied().find(|next| *next != id).unwrap_or(*from));
            }
            takes(*to, *from, list)
        });
        let asked = picture.seats().keys().filter_map(|node| Some((*node, world.node(*node)?.ring().joins_before()?)));
        let asked = asked.flat_map(|(node, next)| joins(node, next));
        let left = self.farewells.iter().filter_map(|Farewell { from, to, .. }| {
            let list = &picture.seat(*to)?.successors;
            let others = list.iter().copied().filter(|id| id != from);
            list.contains(from).then(|| (*to, others.collect()))
        });
        taken.chain(asked).chain(left).collect()
    }
}

/// The list of a node that takes over another's, but for some; none where that does not stand in its list or before its first.
fn adopted(
    seat: &Seat,
    from: NodeId,
    list: &[NodeId],
    most: usize,
    passed_over: impl Fn(&NodeId) -> bool,
) -> Option<Vec<NodeId>> {
    let way = |id: &NodeId| seat.id.distance_to(*id);
    let known = match seat.successors.iter().position(|id| *id == from) {
        Some(at) => &seat.successors[..at],
        None if seat.successors.first().is_none_or(|first| way(&from) < way(first)) => &[],
        None => return None,
    };
    let list = list.iter().take_while(|id| **id != seat.id).filter(|id| !passed_over(id));
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
        let seat = Seat { id: id(100), successors: ids(of), ..Seat::default() };
        adopted(&seat, id(from), &ids(list), 3, |known| *known == id(77))
    }

    /// A node at 100 that lists this one.
    fn listing(place: u8) -> Picture {
        let mut picture = Picture::default();
        let seat = |place: u8, successors| Seat { id: id(place), joined: true, successors, ..Seat::default() };
        picture.set(Time::ZERO, 0, Some(seat(100, ids(&[place, 130]))));
        picture.set(Time::ZERO, 1, Some(seat(110, ids(&[130, 100]))));
        picture
    }

    #[test]
    fn a_node_that_has_told_another_that_it_is_no_member_counts_as_removed_there_until_it_is() {
        let latency = Arc::new(crate::latency::Fixed(Duration::from_millis(10)));
        let (routing, network) = (prost_kbr::Config::default(), crate::Network::default());
        let world = World::new(crate::WorldConfig { seed: 1, routing, latency, network, remember: 0 });
        let mail = Mail::default();
        let mut coming = Coming::default();
        mail.observe(1, 0, &Message::Leave { predecessors: Vec::new(), successors: Vec::new() });
        mail.observe(0, 1, &Message::Notify);
        coming.note(&world, &mail, &listing(110));
        assert_eq!(coming.lists(&world, &listing(110), 3), [(0, ids(&[130]))]);
        coming.note(&world, &mail, &listing(110));
        assert_eq!(coming.lists(&world, &listing(120), 3), [], "it lists the node no more");
        coming.note(&world, &mail, &listing(120));
        assert_eq!(coming.lists(&world, &listing(110), 3), [], "and has heard, should it list it again");
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
