//! The finger table: long ways round the ring. Never used to decide who is responsible.
//!
//! The ring beyond the nearest successors is divided into slots, each the same factor wider than the one before it; in
//! the classic table (Stoica et al., SIGCOMM 2001) that factor is two. A slot's finger may be any node in it, so the
//! nearest by round-trip time among the first [`SAMPLES`] after its start is chosen (proximity neighbour selection:
//! Gummadi et al., SIGCOMM 2003; Dabek et al., NSDI 2004, section 4.3).

use std::collections::BTreeMap;

use crate::id::{Id, NodeId};
use crate::message::Peer;

/// Nodes of a slot that are measured. DHash++ found little gain beyond (NSDI 2004, figure 9).
pub(crate) const SAMPLES: usize = 16;
/// Most slots, whatever the cap on connections.
pub(crate) const MAX_SLOTS: usize = 64;

/// How often a slot without a finger is tried in quick succession: nodes that point to few have no room for more.
const ATTEMPTS: u32 = 4;

/// Parts that an octave is divided into where slots begin and end.
const FINE: u32 = 16;
/// 2^(k / [`FINE`]) for each k, as a fraction of 2^63.
const POWERS: [u64; FINE as usize] = [
    0x8000_0000_0000_0000,
    0x85AA_C367_CC48_7B15,
    0x8B95_C1E3_EA8B_D6E7,
    0x91C3_D373_AB11_C336,
    0x9837_F051_8DB8_A96F,
    0x9EF5_3260_91A1_11AE,
    0xA5FE_D6A9_B151_38EA,
    0xAD58_3EEA_42A1_4AC6,
    0xB504_F333_F9DE_6484,
    0xBD08_A39F_580C_36BF,
    0xC567_2A11_5506_DADD,
    0xCE24_8C15_1F84_80E4,
    0xD744_FCCA_D69D_6AF4,
    0xE0CC_DEEC_2A94_E111,
    0xEAC0_C6E7_DD24_392F,
    0xF525_7D15_2486_CC2C,
];

/// The place of a slot, the nearest first.
pub(crate) type Slot = usize;

/// How the ring is divided: from 2^`low` after this node to all the way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    low: u32,
    slots: usize,
}

impl Layout {
    /// Where a slot begins, in parts of an octave.
    fn begin(self, slot: Slot) -> u32 {
        let span = (Id::BITS - self.low) * FINE;
        self.low * FINE + span * slot as u32 / self.slots as u32
    }

    /// The slot that a node at this distance is in.
    fn slot(self, way: Id) -> Option<Slot> {
        let place = fine_log2(way)?;
        let last = (0..self.slots).rev().find(|slot| self.begin(*slot) <= place)?;
        Some(last)
    }
}

/// The binary logarithm of a distance, in parts of an octave.
fn fine_log2(way: Id) -> Option<u32> {
    let exponent = way.log2()?;
    // The 64 bits below and with the highest.
    let shift = Id::BITS - 1 - exponent;
    let mantissa = shifted(way, shift).high();
    let part = POWERS.partition_point(|power| *power <= mantissa) as u32 - 1;
    Some(exponent * FINE + part)
}

/// 2^(`place` / [`FINE`]) as a distance.
fn fine_power(place: u32) -> Id {
    let (exponent, part) = (place / FINE, place % FINE);
    let high = Id::from_high(POWERS[part as usize]);
    // The mantissa stands at the very top: 159 is its exponent there.
    unshifted(high, Id::BITS - 1 - exponent)
}

/// Shifted to the left.
fn shifted(id: Id, by: u32) -> Id {
    let bytes = id.as_bytes();
    let (whole, bits) = ((by / 8) as usize, by % 8);
    let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    let mut out = [0; Id::LEN];
    for (at, slot) in out.iter_mut().enumerate() {
        *slot = (((byte(at + whole) << 8 | byte(at + whole + 1)) << bits) >> 8) as u8;
    }
    Id::from_bytes(out)
}

/// Shifted to the right.
fn unshifted(id: Id, by: u32) -> Id {
    let bytes = id.as_bytes();
    let (whole, bits) = ((by / 8) as usize, by % 8);
    let byte = |at: Option<usize>| at.map_or(0, |at| u16::from(bytes[at]));
    let mut out = [0; Id::LEN];
    for (at, slot) in out.iter_mut().enumerate() {
        let (here, before) = (at.checked_sub(whole), at.checked_sub(whole + 1));
        *slot = ((byte(before) << 8 | byte(here)) >> bits) as u8;
    }
    Id::from_bytes(out)
}

/// The fingers of a node, one a slot, and who may become one.
#[derive(Debug, Clone)]
pub(crate) struct Fingers {
    me: NodeId,
    layout: Option<Layout>,
    most: usize,
    fingers: BTreeMap<Slot, Peer>,
    /// Nodes that have been asked to be this node's finger.
    asked: BTreeMap<Slot, Peer>,
    /// Nodes of a slot that have not been tried.
    candidates: BTreeMap<Slot, Vec<Peer>>,
    /// How many have been tried in the slot since it was divided off.
    tried: BTreeMap<Slot, u32>,
    next: Slot,
    changes: u64,
}

impl Fingers {
    /// At most `most` fingers.
    pub(crate) fn new(me: NodeId, most: usize) -> Fingers {
        Fingers {
            me,
            layout: None,
            most: most.min(MAX_SLOTS),
            fingers: BTreeMap::new(),
            asked: BTreeMap::new(),
            candidates: BTreeMap::new(),
            tried: BTreeMap::new(),
            next: 0,
            changes: 0,
        }
    }

    /// How often the fingers have changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Clockwise from this node.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.fingers.values().copied()
    }

    pub(crate) fn contains(&self, id: NodeId) -> bool {
        self.fingers.values().any(|peer| peer.id == id)
    }

    /// Divides the ring anew beyond the neighbour `nearest`, where that has moved by more than an octave; with none
    /// there is nothing to divide. Gives the fingers that have lost their place.
    pub(crate) fn divide(&mut self, nearest: Option<NodeId>) -> Vec<Peer> {
        let low = nearest.and_then(|node| self.me.distance_to(node).log2()).filter(|low| low + 1 < Id::BITS);
        let Some(low) = low.filter(|_| self.most > 0) else {
            self.layout = None;
            return self.clear();
        };
        if self.layout.is_some_and(|layout| layout.low.abs_diff(low) <= 1) {
            return Vec::new();
        }
        let layout = Layout { low, slots: self.most.min((Id::BITS - low) as usize * 4) };
        self.layout = Some(layout);
        self.candidates.clear();
        self.asked.clear();
        self.tried.clear();
        self.next = 0;
        self.changes += 1;
        let mut lost = Vec::new();
        for peer in std::mem::take(&mut self.fingers).into_values() {
            match layout.slot(self.me.distance_to(peer.id)) {
                Some(slot) if !self.fingers.contains_key(&slot) => {
                    self.fingers.insert(slot, peer);
                }
                _ => lost.push(peer),
            }
        }
        lost
    }

    /// The slot whose turn it is: one without a finger before the others. Says whether it has none.
    pub(crate) fn turn(&mut self) -> Option<(Slot, bool)> {
        let slots = self.layout?.slots;
        let from = self.next;
        let turns = (0..slots).map(|step| (from + step) % slots);
        let empty = turns.clone().find(|slot| !self.is_settled_at(*slot));
        let slot = empty.unwrap_or(from % slots);
        if empty.is_none() {
            self.next = (from + 1) % slots;
        }
        Some((slot, !self.fingers.contains_key(&slot)))
    }

    /// Whether each slot has a finger or has been tried often enough.
    pub(crate) fn is_settled(&self) -> bool {
        let slots = self.layout.map_or(0, |layout| layout.slots);
        (0..slots).all(|slot| self.is_settled_at(slot))
    }

    fn is_settled_at(&self, slot: Slot) -> bool {
        self.fingers.contains_key(&slot) || self.tried.get(&slot).is_some_and(|tried| *tried >= ATTEMPTS)
    }

    /// Candidates tried in a slot on average.
    pub(crate) fn effort(&self) -> u32 {
        let slots = self.layout.map_or(1, |layout| layout.slots.max(1));
        self.tried.values().sum::<u32>() / slots as u32
    }

    /// Where a slot begins.
    pub(crate) fn start(&self, slot: Slot) -> Option<Id> {
        let layout = self.layout.filter(|layout| slot < layout.slots)?;
        Some(self.me.plus(fine_power(layout.begin(slot))))
    }

    pub(crate) fn finger(&self, slot: Slot) -> Option<Peer> {
        self.fingers.get(&slot).copied()
    }

    /// The slot that a node would be in.
    pub(crate) fn slot_of(&self, id: NodeId) -> Option<Slot> {
        self.layout?.slot(self.me.distance_to(id))
    }

    /// Nodes that follow the start of a slot, in order: those within it become its candidates.
    pub(crate) fn propose(&mut self, slot: Slot, nodes: impl Iterator<Item = Peer>) {
        let taken = self.finger(slot);
        let within = |peer: &Peer| self.slot_of(peer.id) == Some(slot) && taken.is_none_or(|taken| taken.id != peer.id);
        let mut nodes: Vec<Peer> = nodes.take(SAMPLES).filter(within).collect();
        nodes.shrink_to_fit();
        self.candidates.insert(slot, nodes);
    }

    /// Another node that could be the finger of its slot.
    pub(crate) fn propose_one(&mut self, peer: Peer) {
        let Some(slot) = self.slot_of(peer.id) else { return };
        let nodes = self.candidates.entry(slot).or_default();
        if nodes.len() < SAMPLES
            && nodes.iter().all(|node| node.id != peer.id)
            && !self.fingers.values().any(|f| *f == peer)
        {
            nodes.push(peer);
        }
    }

    /// Takes the next candidate of a slot.
    pub(crate) fn take_candidate(&mut self, slot: Slot, better: impl Fn(&Peer) -> u64) -> Option<Peer> {
        let nodes = self.candidates.get_mut(&slot)?;
        let at = (0..nodes.len()).min_by_key(|at| (better(&nodes[*at]), *at))?;
        Some(nodes.remove(at))
    }

    /// A candidate of the slot has been tried, or there was none to try.
    pub(crate) fn note_tried(&mut self, slot: Slot) {
        let count = self.tried.entry(slot).or_default();
        *count = count.saturating_add(1);
    }

    /// The node is being asked to be the finger of the slot.
    pub(crate) fn ask(&mut self, slot: Slot, peer: Peer) {
        self.asked.insert(slot, peer);
    }

    /// Whether the node is being asked to be a finger.
    pub(crate) fn is_asked(&self, id: NodeId) -> bool {
        self.asked.values().any(|peer| peer.id == id)
    }

    /// A node has answered that question. Gives what it replaces where it has become a finger.
    pub(crate) fn answered(&mut self, peer: Peer, accepted: bool) -> Option<Option<Peer>> {
        let slot = self.asked.iter().find(|(_, asked)| asked.id == peer.id).map(|(slot, _)| *slot)?;
        self.asked.remove(&slot);
        if !accepted {
            return None;
        }
        self.changes += 1;
        Some(self.fingers.insert(slot, peer))
    }

    /// A node has been met at this address: its fingers point there.
    pub(crate) fn relocate(&mut self, peer: Peer) {
        for listed in self.fingers.values_mut() {
            if listed.id == peer.id && listed.addr != peer.addr {
                listed.addr = peer.addr;
                self.changes += 1;
            }
        }
    }

    /// Says whether the node was a finger.
    pub(crate) fn remove(&mut self, id: NodeId) -> bool {
        self.asked.retain(|_, peer| peer.id != id);
        for nodes in self.candidates.values_mut() {
            nodes.retain(|peer| peer.id != id);
        }
        let lost: Vec<Slot> = self.fingers.iter().filter(|(_, peer)| peer.id == id).map(|(slot, _)| *slot).collect();
        for slot in &lost {
            self.fingers.remove(slot);
            self.tried.remove(slot);
        }
        self.changes += u64::from(!lost.is_empty());
        !lost.is_empty()
    }

    /// Gives up all.
    fn clear(&mut self) -> Vec<Peer> {
        self.changes += u64::from(!self.fingers.is_empty());
        self.asked.clear();
        self.candidates.clear();
        self.tried.clear();
        std::mem::take(&mut self.fingers).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(place: u32) -> Peer {
        Peer { id: Id::ZERO.plus(fine_power(place)), addr: ([10, 0, 0, 1], place as u16).into() }
    }

    #[test]
    fn the_parts_of_an_octave_are_found_again() {
        for place in [0, 16, 37, 800, 801, 815, 160 * FINE - 1] {
            if place >= 63 * FINE {
                assert_eq!(fine_log2(fine_power(place)), Some(place));
            }
        }
        for exponent in 0..Id::BITS {
            assert_eq!(fine_power(exponent * FINE), Id::ZERO.plus_power(exponent));
            assert_eq!(fine_log2(Id::ZERO.plus_power(exponent)), Some(exponent * FINE));
        }
        assert_eq!(fine_log2(Id::ZERO), None);
    }

    #[test]
    fn slots_cover_the_ring_beyond_the_neighbours() {
        let mut fingers = Fingers::new(Id::ZERO, 12);
        fingers.divide(Some(peer(152 * FINE).id));
        let starts: Vec<u32> = (0..12).map(|slot| fine_log2(fingers.start(slot).unwrap()).unwrap()).collect();
        assert_eq!(starts[0], 152 * FINE);
        assert!(starts.is_sorted_by(|a, b| a < b));
        for (slot, start) in starts.iter().enumerate() {
            assert_eq!(fingers.slot_of(peer(*start).id), Some(slot));
            assert_eq!(fingers.slot_of(peer(start - 1).id), slot.checked_sub(1));
        }
    }

    #[test]
    fn a_node_becomes_a_finger_when_it_has_agreed() {
        let mut fingers = Fingers::new(Id::ZERO, 8);
        fingers.divide(Some(peer(152 * FINE).id));
        assert_eq!(fingers.turn(), Some((0, true)));
        let nodes = [peer(152 * FINE + 1), peer(152 * FINE + 3), peer(159 * FINE)];
        fingers.propose(0, nodes.into_iter());
        let chosen = fingers.take_candidate(0, |peer| u64::from(peer.addr.port() != nodes[1].addr.port())).unwrap();
        assert_eq!(chosen, nodes[1], "the nearest");
        fingers.ask(0, chosen);
        assert_eq!(fingers.answered(nodes[0], true), None, "it was not asked");
        assert_eq!(fingers.answered(chosen, true), Some(None));
        assert!(fingers.contains(chosen.id));
        assert_eq!(fingers.turn(), Some((1, true)), "the next that is empty");
        assert_eq!(fingers.take_candidate(0, |_| 0), Some(nodes[0]));
        assert_eq!(fingers.take_candidate(0, |_| 0), None, "the third is not in the slot");
        fingers.ask(0, nodes[0]);
        assert_eq!(fingers.answered(nodes[0], true), Some(Some(chosen)));
        assert!(fingers.remove(nodes[0].id) && !fingers.remove(nodes[0].id));
    }

    #[test]
    fn fingers_keep_their_places_unless_the_neighbours_move_far() {
        let mut fingers = Fingers::new(Id::ZERO, 8);
        fingers.divide(Some(peer(152 * FINE).id));
        for (slot, place) in [(0, 152 * FINE), (7, 159 * FINE)] {
            fingers.ask(slot, peer(place));
            fingers.answered(peer(place), true);
        }
        assert_eq!(fingers.divide(Some(peer(153 * FINE).id)), []);
        assert_eq!(fingers.divide(Some(peer(155 * FINE).id)), [peer(152 * FINE)], "it is a neighbour's place now");
        assert_eq!(fingers.peers().collect::<Vec<_>>(), [peer(159 * FINE)]);
        assert_eq!(fingers.divide(None), [peer(159 * FINE)]);
        assert_eq!(fingers.turn(), None);
    }
}
