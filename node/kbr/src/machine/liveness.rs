//! Who is alive. A failed send or a missed answer only makes a node suspect; what fails it is the ping that follows
//! (Bamboo's second chance, USENIX 2004).

use core::time::Duration;

use super::Machine;
use crate::id::NodeId;
use crate::io::{Change, Output};
use crate::message::{Message, Peer};
use crate::planted::Bug;
use crate::probes::{Probe, TRIES};

/// Dead nodes that are pinged at once when one of them has answered: whatever kept them apart may be over for all.
const URGENT_RECALLS: usize = 16;
/// How often a node of a ring smaller than it should be looks for a larger one.
const LOOK_WHEN_SHORT: Duration = Duration::from_secs(20);
/// How often another member looks for a ring that its own has come apart from: so soon after a node was lost, and then
/// ever rarer (MIT Chord looks for each dead node after 60 to 960 seconds).
pub(super) const LOOK_SOON: Duration = Duration::from_secs(60);
const LOOK_LATEST: Duration = Duration::from_secs(960);
/// Who has been heard since then lives, where many have died.
const UNHEARD: Duration = Duration::from_secs(2);
/// Rounds of keep-alive in the time that a peer may be silent, so that none is silent for much longer.
const ROUNDS: u32 = 6;

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
        if self.fingers.contains(peer.id) {
            // It may have forgotten, as a process does that was started again.
            self.send(peer, Message::Link);
        }
    }

    pub(super) fn handle_round_trip(&mut self, id: NodeId, rtt: Duration) {
        self.book.measured(id, rtt);
        if let Some(peer) = self.book.peer(id) {
            self.consider(peer);
        }
    }

    pub(super) fn handle_disconnected(&mut self, id: NodeId) {
        let Some(peer) = self.book.peer(id) else { return };
        self.book.disconnect(id);
        self.backpointers.remove(id);
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
        self.is_near(id) || self.fingers.contains(id) || self.watched.contains(&id)
    }

    /// A connection has served its purpose. It may end where nothing here depends on it.
    pub(super) fn release(&mut self, id: NodeId) {
        let linked = self.backpointers.contains(id) || self.fingers.is_asked(id);
        let needed = linked || self.is_needed(id) || self.in_flight.waiting(id) > 0 || self.ring.contains(id);
        if !needed && self.book.is_connected(id) {
            self.outbox.push_back(Output::Release(id));
        }
    }

    /// Routes around a node at once, and gives it a second chance.
    pub(super) fn suspect(&mut self, peer: Peer) {
        if self.config.has(Bug::NoSecondChance) {
            return self.declare_dead(peer);
        }
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
        self.consider(from);
        self.release(from.id);
        self.settle_notifier(from.id);
        self.held.release(self.now);
    }

    /// Any frame shows that its sender lives. A ping to it goes on all the same: someone may wait for its answer.
    pub(super) fn on_sign_of_life(&mut self, peer: Peer) {
        if !self.config.has(Bug::SuspectForEver) && self.probes.trust(peer.id) {
            self.held.release(self.now);
        }
        if self.probes.find(peer.id) {
            self.stats.returned += 1;
            self.recall_all = true;
            self.on_returned(peer);
        }
    }

    pub(super) fn handle_probe_timers(&mut self) {
        while let Some(probe) = self.probes.overdue(self.now) {
            self.stats.timeouts += 1;
            let heard = self.book.heard(probe.peer.id).is_some_and(|heard| heard > probe.sent);
            if heard {
                if self.probes.trust(probe.peer.id) {
                    self.held.release(self.now);
                }
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
            self.note_death(peer);
        }
        let many = self.ring.contains(peer.id) && self.catch_up.note_loss(self.now);
        self.book.doubt(peer.id);
        self.forget(peer, Vec::new());
        self.report_down(peer.id);
        if many {
            self.probe_near(|this, peer| this.book.heard(peer.id).is_none_or(|heard| this.now.since(heard) > UNHEARD));
        }
    }

    /// Remembers a node as dead, to look for it again.
    pub(super) fn note_death(&mut self, peer: Peer) {
        self.stats.declared_dead += 1;
        if !self.config.has(Bug::ForgetsTheDead) {
            self.probes.lose(self.now, peer);
        }
        self.expect_others();
    }

    /// Removes a node that is dead or has left. `vouched` are the nodes it named as its predecessors.
    pub(super) fn forget(&mut self, peer: Peer, vouched: Vec<Peer>) {
        self.probes.stop(peer.id);
        self.probes.trust(peer.id);
        if self.config.has(Bug::FallsBackToSelf) && self.ring.successor().is_some_and(|first| first.id == peer.id) {
            self.ring.adopt_successors(peer, &[], |_| false);
        }
        let removed = self.ring.remove(peer.id);
        if self.config.has(Bug::DeadPredecessorStays) && removed.predecessor.is_some() {
            self.ring.insert_predecessor(peer);
        }
        if self.fingers.remove(peer.id) {
            self.finger_lost = Some(self.now);
        }
        self.backpointers.remove(peer.id);
        if let Some(tail) = removed.predecessor {
            self.rectify();
            if self.ring.predecessor().is_none() {
                self.ask_candidates(if vouched.is_empty() { tail } else { vouched });
            }
        }
        if removed.any {
            // The next in the lists are known by hearsay alone: all are asked at once, so that many that died together are
            // found out together.
            self.probe_near(|this, peer| !this.book.is_connected(peer.id));
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

    /// Pings whoever has been silent for long, and now and then a node that was lost.
    pub(super) fn handle_keep_alive_timer(&mut self) {
        if self.keep_alive_due.is_none_or(|due| due > self.now) {
            return;
        }
        let period = self.config.keep_alive;
        self.keep_alive_due = Some(self.now + self.random.jitter(period / ROUNDS));
        let silent_for = |peer: &Peer, most| self.book.heard(peer.id).is_none_or(|heard| self.now.since(heard) >= most);
        let silent = |peer: &Peer| silent_for(peer, period);
        let near = self.near().into_iter().filter(silent);
        let links = self.fingers.peers().chain(self.backpointers.peers());
        let links = links.filter(|peer| silent_for(peer, self.config.keep_alive_links));
        let links: Vec<Peer> = near.chain(links).collect();
        let (watched, unknown): (Vec<_>, Vec<_>) =
            self.watched.iter().copied().partition(|id| self.book.peer(*id).is_some());
        let watched: Vec<Peer> = watched.into_iter().filter_map(|id| self.book.peer(id)).filter(silent).collect();
        let urgent = std::mem::take(&mut self.recall_all) || self.ring.is_alone();
        let lost = if urgent {
            self.probes.recall(self.now, URGENT_RECALLS)
        } else if self.probes.is_recall_due(self.now) {
            let pace = self.random.jitter(self.probes.recall_pace());
            self.probes.next_recall(self.now + pace);
            self.probes.recall(self.now, 1)
        } else {
            Vec::new()
        };
        if self.look_due.is_none_or(|due| due <= self.now) {
            self.look_pace = match self.untried() {
                _ if self.ring.is_short() => LOOK_WHEN_SHORT,
                Some(_) => LOOK_SOON,
                None => (self.look_pace * 2).min(LOOK_LATEST),
            };
            self.look_due = Some(self.now + self.random.jitter(self.look_pace));
            self.look_for_others();
        }
        for peer in links.into_iter().chain(watched).chain(lost) {
            self.probe(peer);
        }
        for id in unknown {
            self.report_down(id);
        }
    }

    /// A node is lost: where the ring has come apart, the other part is to be found soon.
    fn expect_others(&mut self) {
        self.look_pace = LOOK_SOON / 2;
        let soon = self.now + self.random.jitter(LOOK_SOON);
        self.look_due = Some(self.look_due.map_or(soon, |due| due.min(soon)));
    }

    /// Asks whether the near neighbours live about which there is a doubt.
    fn probe_near(&mut self, is_doubtful: impl Fn(&Machine, &Peer) -> bool) {
        let near: Vec<Peer> = self.near().into_iter().filter(|peer| is_doubtful(self, peer)).collect();
        for peer in near {
            self.probe(peer);
        }
    }

    /// Successors that a connection is kept to, nearest first: all of them in a ring too small for fingers.
    pub(super) fn near_successors(&self) -> &[Peer] {
        let successors = self.ring.successors();
        if self.ring.is_short() { successors } else { &successors[..self.config.near().min(successors.len())] }
    }

    /// The same for predecessors.
    pub(super) fn near_predecessors(&self) -> &[Peer] {
        let predecessors = self.ring.predecessors();
        if self.ring.is_short() { predecessors } else { &predecessors[..self.config.near().min(predecessors.len())] }
    }

    pub(super) fn near(&self) -> Vec<Peer> {
        self.near_successors().iter().chain(self.near_predecessors()).copied().collect()
    }

    fn is_near(&self, id: NodeId) -> bool {
        self.near_successors().iter().chain(self.near_predecessors()).any(|peer| peer.id == id)
    }

    /// The nodes to stay connected with: the nearest neighbours and fingers; each once.
    pub(super) fn kept(&self) -> Vec<Peer> {
        let mut kept: Vec<Peer> = self.near().into_iter().chain(self.fingers.peers()).collect();
        kept.sort();
        kept.dedup_by_key(|peer| peer.id);
        kept
    }
}
