//! Who is being pinged, who is suspect, and who was lost.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::message::Peer;
use crate::time::Time;

/// Most pings that wait at once.
pub(crate) const MAX_PROBES: usize = 2048;
/// Most dead nodes that are remembered, to find them again after a partition.
pub(crate) const MAX_LOST: usize = 64;
/// Pings before a node is dead.
pub(crate) const TRIES: u8 = 2;
/// Time between two pings of dead nodes while some have been tried little. Each costs a handshake in vain, about 4 KB, so
/// that their number must not decide what they cost.
const RECALL: Duration = Duration::from_secs(7);
/// Pings of the same dead node after which the time is twice as long.
const RECALLS: u32 = 8;
/// The longest time, as a multiple of the shortest.
const SLOWEST: u32 = 6;

/// A ping without an answer yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) peer: Peer,
    pub(crate) nonce: u64,
    pub(crate) sent: Time,
    pub(crate) tries: u8,
    /// Whether the connection was up when the ping was sent, so that the answer's time is a round trip.
    pub(crate) timed: bool,
    pub(crate) due: Time,
}

#[derive(Debug, Clone)]
struct Lost {
    peer: Peer,
    since: Time,
    tries: u32,
    tried: Time,
}

/// Bounded tables of the liveness of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    probes: BTreeMap<NodeId, Probe>,
    due: BTreeSet<(Time, NodeId)>,
    suspects: BTreeSet<NodeId>,
    lost: BTreeMap<NodeId, Lost>,
    recall: Time,
}

impl Probes {
    pub(crate) fn get(&self, id: NodeId) -> Option<Probe> {
        self.probes.get(&id).copied()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.probes.len() >= MAX_PROBES
    }

    pub(crate) fn start(&mut self, probe: Probe) {
        self.stop(probe.peer.id);
        self.due.insert((probe.due, probe.peer.id));
        self.probes.insert(probe.peer.id, probe);
    }

    pub(crate) fn stop(&mut self, id: NodeId) -> Option<Probe> {
        let probe = self.probes.remove(&id)?;
        self.due.remove(&(probe.due, id));
        Some(probe)
    }

    /// Takes one ping that is due.
    pub(crate) fn overdue(&mut self, now: Time) -> Option<Probe> {
        let (_, id) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        self.stop(id)
    }

    pub(crate) fn earliest(&self) -> Option<Time> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn is_suspect(&self, id: NodeId) -> bool {
        self.suspects.contains(&id)
    }

    /// Only nodes that are pinged are suspect, so the number of pings bounds them.
    pub(crate) fn suspect(&mut self, id: NodeId) {
        self.suspects.insert(id);
    }

    /// Says whether the node was suspect.
    pub(crate) fn trust(&mut self, id: NodeId) -> bool {
        self.suspects.remove(&id)
    }

    pub(crate) fn is_lost(&self, id: NodeId) -> bool {
        self.lost.contains_key(&id)
    }

    pub(crate) fn lost_peer(&self, id: NodeId) -> Option<Peer> {
        self.lost.get(&id).map(|lost| lost.peer)
    }

    pub(crate) fn lost(&self) -> impl Iterator<Item = NodeId> {
        self.lost.keys().copied()
    }

    /// Remembers a dead node; where there are too many, the one dead for longest is forgotten.
    pub(crate) fn lose(&mut self, now: Time, peer: Peer) {
        if self.lost.len() >= MAX_LOST {
            let oldest = self.lost.values().min_by_key(|lost| (lost.since, lost.peer)).map(|lost| lost.peer.id);
            oldest.and_then(|id| self.lost.remove(&id));
        }
        self.lost.insert(peer.id, Lost { peer, since: now, tries: 0, tried: now });
    }

    /// A dead node has shown a sign of life.
    pub(crate) fn find(&mut self, id: NodeId) -> bool {
        self.lost.remove(&id).is_some()
    }

    /// Whether it is time to ping a dead node.
    pub(crate) fn is_recall_due(&self, now: Time) -> bool {
        self.recall <= now && !self.lost.is_empty()
    }

    /// The time until the next, on average.
    pub(crate) fn recall_pace(&self) -> Duration {
        let least = self.lost.values().map(|lost| lost.tries).min().unwrap_or(0);
        RECALL * (1 + least / RECALLS).min(SLOWEST)
    }

    pub(crate) fn next_recall(&mut self, at: Time) {
        self.recall = at;
    }

    /// Up to `most` dead nodes to be pinged: those tried least, and of these the ones not tried for longest.
    pub(crate) fn recall(&mut self, now: Time, most: usize) -> Vec<Peer> {
        let mut turn: Vec<(u32, Time, NodeId)> =
            self.lost.iter().map(|(id, lost)| (lost.tries, lost.tried, *id)).collect();
        turn.sort();
        turn.truncate(most);
        let recall = |(_, _, id)| {
            let lost: &mut Lost = self.lost.get_mut(&id)?;
            lost.tries = lost.tries.saturating_add(1);
            lost.tried = now;
            Some(lost.peer)
        };
        turn.into_iter().filter_map(recall).collect()
    }

    /// Whether a node is held for dead and was not pinged lately; it is now.
    pub(crate) fn recheck(&mut self, now: Time, id: NodeId) -> bool {
        let Some(lost) = self.lost.get_mut(&id).filter(|lost| now.since(lost.tried) >= RECALL) else { return false };
        lost.tried = now;
        true
    }

    /// Every suspect is being pinged, so that its case is decided.
    pub(crate) fn assert_invariants(&self) {
        for id in &self.suspects {
            assert!(self.probes.contains_key(id), "{id:?} stays suspect");
        }
        assert_eq!(self.probes.len(), self.due.len(), "each ping has its timer");
    }
}
