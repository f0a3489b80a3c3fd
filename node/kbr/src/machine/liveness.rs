//! Who is alive. A failed send or a missed answer only makes a node suspect; what fails it is the ping that follows
//! (Bamboo's second chance, USENIX 2004).

use super::Machine;
use crate::id::NodeId;
use crate::io::{Change, Output};
use crate::message::{Message, Peer};
use crate::probes::{Probe, TRIES};

/// Predecessors that are kept connected and pinged.
pub(super) const CLOSE_PREDECESSORS: usize = 4;
/// Dead nodes that are pinged in one round of keep-alive.
const RECALLS: usize = 4;

impl Machine {
    pub(super) fn handle_connected(&mut self, peer: Peer) {
        if peer.id == self.me.id {
            return;
        }
        self.book.connect(self.now, peer);
        // It may have been started again elsewhere before anyone missed it. Those who ask for it here must find it.
        self.ring.relocate(peer);
        self.fingers.relocate(peer);
        self.on_sign_of_life(peer);
        self.on_connected_for_join(peer);
    }

    pub(super) fn handle_disconnected(&mut self, id: NodeId) {
        let Some(peer) = self.book.peer(id) else { return };
        self.book.disconnect(id);
        self.acks.take(id);
        match self.probes.get(id) {
            // The ping was to make a new connection, and that has failed.
            Some(probe) if !probe.timed => {
                self.declare_dead(peer);
                self.tell_again(peer);
                return;
            }
            Some(_) => {
                self.probes.suspect(id);
                self.ping(peer, TRIES);
            }
            None if self.is_needed(id) || self.in_flight.waiting(id) > 0 => self.suspect(peer),
            None => {}
        }
        self.fail_questions(peer);
        self.retry_all(id);
        self.tell_again(peer);
    }

    /// Whether this node wants to know when a peer dies.
    fn is_needed(&self, id: NodeId) -> bool {
        self.ring.contains(id) || self.fingers.contains(id) || self.watched.contains(&id)
    }

    /// Routes around a node at once, and gives it a second chance.
    pub(super) fn suspect(&mut self, peer: Peer) {
        self.probe(peer);
        if self.probes.get(peer.id).is_some() {
            self.probes.suspect(peer.id);
        }
    }

    /// Pings a node, unless that is under way.
    pub(super) fn probe(&mut self, peer: Peer) {
        if self.probes.get(peer.id).is_some() {
            return;
        }
        if self.probes.is_full() {
            self.stats.overloaded += 1;
            return;
        }
        self.book.hint(self.now, peer);
        self.ping(peer, 1);
    }

    fn ping(&mut self, peer: Peer, tries: u8) {
        let peer = self.book.peer(peer.id).unwrap_or(peer);
        let nonce = self.random.number();
        let due = self.now + self.patience(peer);
        let timed = self.book.is_connected(peer.id);
        self.probes.start(Probe { peer, nonce, sent: self.now, tries, timed, due });
        self.send(peer, Message::Ping { nonce });
    }

    pub(super) fn on_pong(&mut self, from: Peer, nonce: u64) {
        let Some(probe) = self.probes.get(from.id).filter(|probe| probe.nonce == nonce) else {
            self.stats.dropped += 1;
            return;
        };
        self.probes.stop(from.id);
        if probe.timed {
            self.book.sample(from.id, self.now.since(probe.sent));
        }
        if self.fingers.adopt(from.id) {
            self.stats.fingers_fixed += 1;
        }
        self.settle_notifier(from.id);
        self.held.release(self.now);
    }

    /// Any frame shows that its sender lives. A ping to it goes on all the same: someone may wait for its answer.
    pub(super) fn on_sign_of_life(&mut self, peer: Peer) {
        if self.probes.trust(peer.id) {
            self.held.release(self.now);
        }
        if self.probes.find(peer.id) {
            self.stats.returned += 1;
            if self.is_member() {
                // It may have lived on in another ring, which this search then joins to ours.
                self.search_through(peer);
            }
        }
    }

    pub(super) fn handle_probe_timers(&mut self) {
        while let Some(probe) = self.probes.overdue(self.now) {
            self.stats.timeouts += 1;
            let heard = self.book.heard(probe.peer.id).is_some_and(|heard| heard > probe.sent);
            if heard {
                self.settle_notifier(probe.peer.id);
            } else if probe.tries < TRIES {
                self.ping(probe.peer, probe.tries + 1);
            } else {
                self.declare_dead(probe.peer);
            }
        }
    }

    /// Removes a node from everything that points to it, and remembers it.
    pub(super) fn declare_dead(&mut self, peer: Peer) {
        if self.ring.contains(peer.id) || self.fingers.contains(peer.id) {
            self.stats.declared_dead += 1;
            self.probes.lose(self.now, peer);
        }
        self.book.doubt(peer.id);
        self.forget(peer, Vec::new());
        self.report_down(peer.id);
    }

    /// Removes a node that is dead or has left. `vouched` are the nodes it named as its predecessors.
    pub(super) fn forget(&mut self, peer: Peer, vouched: Vec<Peer>) {
        self.probes.stop(peer.id);
        self.probes.trust(peer.id);
        let removed = self.ring.remove(peer.id);
        self.fingers.remove(peer.id);
        if let Some(tail) = removed.predecessor {
            self.rectify();
            if self.ring.predecessor().is_none() {
                self.ask_candidates(if vouched.is_empty() { tail } else { vouched });
            }
        }
        if removed.any {
            self.stabilize_at_once();
        }
        self.fail_questions(peer);
        self.give_up_all(peer.id);
        self.held.release(self.now);
    }

    pub(super) fn report_down(&mut self, id: NodeId) {
        if self.watched.remove(&id) {
            self.outbox.push_back(Output::Update(Change::WatchedDown(id)));
        }
    }

    /// Pings whoever has been silent for a period, and now and then a node that was lost.
    pub(super) fn handle_keep_alive_timer(&mut self) {
        if self.keep_alive_due.is_none_or(|due| due > self.now) {
            return;
        }
        let period = self.config.keep_alive;
        self.keep_alive_due = Some(self.now + self.random.jitter(period));
        let silent = |peer: &Peer| self.book.heard(peer.id).is_none_or(|heard| self.now.since(heard) >= period / 2);
        let kept: Vec<Peer> = self.kept().into_iter().filter(silent).collect();
        let (watched, unknown): (Vec<_>, Vec<_>) =
            self.watched.iter().copied().partition(|id| self.book.peer(*id).is_some());
        let watched: Vec<Peer> = watched.into_iter().filter_map(|id| self.book.peer(id)).filter(silent).collect();
        let lost = self.probes.recall(self.now, RECALLS, self.ring.is_alone());
        for peer in kept.into_iter().chain(watched).chain(lost) {
            self.probe(peer);
        }
        for id in unknown {
            self.report_down(id);
        }
    }

    /// The nodes to stay connected with: successors, the nearest predecessors, fingers; each once.
    pub(super) fn kept(&self) -> Vec<Peer> {
        let before = self.ring.predecessors().iter().take(CLOSE_PREDECESSORS).copied();
        let mut kept: Vec<Peer> =
            self.ring.successors().iter().copied().chain(before).chain(self.fingers.peers()).collect();
        kept.sort();
        kept.dedup_by_key(|peer| peer.id);
        kept
    }
}
