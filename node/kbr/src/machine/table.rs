//! Which of the nodes that this one is linked to brings a message on best.
//!
//! A link is a connection that is kept anyway: to the nearest neighbours on both sides, to fingers, and to nodes whose
//! finger this node is. A message may take any of them that ends nearer to its key on the circle, in either direction,
//! so each link serves both its ends. Among those the choice weighs the time that the link takes against the way that
//! remains after it, as DHash++ does (Dabek et al., NSDI 2004, section 4.3).

use core::ops::RangeInclusive;
use core::time::Duration;

use crate::id::{Id, NodeId};
use crate::message::Peer;

/// What another hop costs at least, in 256ths of a typical round trip: going on is worth it only where the next node
/// is much nearer. Like [`BITS`], the best of a sweep over the PlanetLab matrix.
const HOP: u64 = 230;
/// What each halving of the way that remains costs, in 256ths of a typical round trip, times the fourth power of the
/// connections that nodes may have. The more they are, the more halvings a hop brings, and the less the choice among links
/// need look at progress: with 64 a message takes the way of the least time, with 40 one of few hops that takes a few
/// percent longer.
const BITS: u64 = 168_000_000;
/// The least and the most that it costs.
const BIT: RangeInclusive<u64> = 4..=64;
/// One-way times that a message waits for a connection to be made: two for the handshake, one for itself.
const DIAL: u64 = 5;
/// A typical round trip before anything is measured.
const UNKNOWN: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Link {
    /// The way from this node, in 2^-64ths of the ring.
    way: u64,
    /// One way, in microseconds; that of making a connection first where there is none.
    time: u64,
    peer: Peer,
}

/// All links of a node, clockwise.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    me: NodeId,
    links: Vec<Link>,
    /// A typical round trip, in microseconds: that to neighbours, who are not chosen for being near.
    typical: u64,
    /// The mean distance of two neighbours, in 2^-64ths of the ring.
    spacing: u64,
    /// What a halving of the way costs, in 256ths of a typical round trip.
    bit: u64,
}

/// Where a message is to go, as seen from one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Clockwise from the node to the key, in 2^-64ths of the ring.
    key: u64,
    /// What a halving of it costs, in 256ths of a typical round trip.
    bit: u64,
}

impl Table {
    /// `most` are the connections that a node may have, `near` the nearest neighbours, `farthest` the last known successor
    /// and its place in the list. `known` gives a node's round-trip time, where it was measured, and whether it is connected.
    pub(super) fn new(
        me: NodeId,
        most: usize,
        near: &[Peer],
        others: &[Peer],
        farthest: Option<(NodeId, usize)>,
        known: impl Fn(NodeId) -> (Option<Duration>, bool),
    ) -> Table {
        let samples: Vec<u64> = near.iter().filter_map(|peer| known(peer.id).0).map(micros).collect();
        let unknown = micros(UNKNOWN);
        let typical = samples.iter().sum::<u64>().checked_div(samples.len() as u64).unwrap_or(unknown).max(1);
        let link = |peer: &Peer| {
            let (measured, connected) = known(peer.id);
            let measured = measured.map_or(typical, micros);
            let time = if connected { measured / 2 } else { measured * DIAL / 2 };
            Link { way: me.distance_to(peer.id).high(), time, peer: *peer }
        };
        let mut links: Vec<Link> = near.iter().chain(others).map(link).collect();
        links.sort_by_key(|link| (link.way, link.peer.id));
        links.dedup_by_key(|link| link.peer.id);
        let spacing = farthest.map_or(u64::MAX, |(last, count)| me.distance_to(last).high() / count.max(1) as u64);
        let bit = (BITS / (most.max(1) as u64).saturating_pow(4)).clamp(*BIT.start(), *BIT.end());
        Table { me, links, typical, spacing: spacing.max(1), bit }
    }

    /// A typical round trip, in microseconds.
    pub(super) fn typical(&self) -> u64 {
        self.typical
    }

    pub(super) fn way(&self, key: Id) -> Way {
        Way { key: self.me.distance_to(key).high(), bit: self.bit }
    }

    /// The same for a message that nobody waits for: few hops, whatever time they take.
    pub(super) fn leisurely_way(&self, key: Id) -> Way {
        Way { bit: *BIT.end(), ..self.way(key) }
    }

    /// The best link that ends nearer to the key than this node is, and what it costs in microseconds.
    pub(super) fn nearer(&self, way: Way, usable: impl Fn(&Peer) -> bool) -> Option<(Peer, u64)> {
        let here = round(way.key);
        let better = self.links.iter().filter_map(|link| {
            let left = round(way.key.wrapping_sub(link.way));
            (left < here).then(|| (link.time + self.cost_of_rest(left, way.bit), link))
        });
        let mut best: Option<(u64, &Link)> = None;
        for (cost, link) in better {
            if best.is_none_or(|(least, _)| cost < least) && usable(&link.peer) {
                best = Some((cost, link));
            }
        }
        best.map(|(cost, link)| (link.peer, cost))
    }

    /// The nearest link before the key, clockwise.
    pub(super) fn before(&self, way: Way, usable: impl Fn(&Peer) -> bool) -> Option<Peer> {
        let end = self.links.partition_point(|link| link.way < way.key);
        self.links[..end].iter().rev().map(|link| link.peer).find(usable)
    }

    /// Whether any link ends at the key or beyond it.
    pub(super) fn reaches(&self, way: Way) -> bool {
        self.links.last().is_some_and(|last| last.way >= way.key)
    }

    /// What it costs, in microseconds, to make a connection to a node and send it something.
    pub(super) fn cost_of_dial(&self) -> u64 {
        self.typical * DIAL / 2
    }

    fn cost_of_rest(&self, left: u64, bit: u64) -> u64 {
        let nodes = left / self.spacing + 1;
        let halvings = nodes.ilog2();
        // The logarithm's fraction, taken to be linear: enough to tell a node a little nearer from one much nearer.
        let fraction = ((u128::from(nodes) * 16) >> halvings) as u64 - 16;
        self.typical * (HOP * 16 + bit * (u64::from(halvings) * 16 + fraction)) / 4096
    }
}

/// The shorter way round.
fn round(way: u64) -> u64 {
    way.min(way.wrapping_neg())
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX >> 16)
}
