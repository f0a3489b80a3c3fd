//! Finding a place in a ring: joining one, joining again after losing all successors, and merging with another.
//!
//! All three are one search: ask some member for the nearest node before this one, follow until a node names itself,
//! take its first successor, and adopt that node together with its whole list (Zave's join).

use core::net::SocketAddr;
use core::time::Duration;

use super::{Machine, Membership};
use crate::id::Interval;
use crate::io::Output;
use crate::message::{Message, Peer};
use crate::planted::Bug;
use crate::questions::Query;
use crate::time::Time;

use super::neighbours::Answer;

/// Most addresses that are tried in turn.
const MAX_KNOWN: usize = 64;
/// Most nodes that a search asks on its way.
const MAX_STEPS: u8 = 64;
/// The wait after the first fruitless pass over all addresses; it doubles with each pass, this often.
const BACK_OFF: Duration = Duration::from_millis(250);
const MAX_DOUBLINGS: u32 = 5;
/// Nodes remembered that are tried at once: after a while all but a few of them may be dead.
const AT_ONCE: usize = 8;
/// How often a node that has lost everyone dials the addresses that it once joined through.
const REJOIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum Step {
    /// Waiting for a connection to this address.
    Dialling(SocketAddr),
    /// Waiting for a connection to any of those that are pinged.
    Trying,
    /// Waiting for an answer; the question has the timer.
    Asking,
}

#[derive(Debug, Clone)]
struct Search {
    step: Step,
    steps: u8,
    /// The node that would be the predecessor.
    before: Option<Peer>,
}

/// Ways into the ring, and the search that is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Join {
    known: Vec<SocketAddr>,
    /// Those of them that were not dialled yet.
    untried: Vec<SocketAddr>,
    attempts: u32,
    /// A member that has proposed itself to this node, which was in no ring: the surest way into one.
    pub(super) offered: Option<Peer>,
    /// How often this node has looked for a larger ring.
    looks: usize,
    search: Option<Search>,
    pub(super) due: Option<Time>,
}

impl Join {
    pub(super) fn is_untried(&self, addr: SocketAddr) -> bool {
        self.untried.contains(&addr)
    }
}

impl Machine {
    pub(super) fn start_join(&mut self, known: Vec<SocketAddr>) {
        let others = known.iter().filter(|addr| **addr != self.me.addr);
        let mut others: Vec<SocketAddr> = others.take(MAX_KNOWN).copied().collect();
        if self.membership == Membership::Outside && self.join.due.is_none() && self.join.search.is_none() {
            if known.is_empty() {
                self.become_member();
            } else {
                self.join.due = Some(self.now);
            }
        }
        others.retain(|addr| !self.join.known.contains(addr));
        others.truncate(MAX_KNOWN - self.join.known.len());
        self.join.untried.extend(&others);
        self.join.known.append(&mut others);
    }

    pub(super) fn handle_join_timer(&mut self) {
        if self.join.due.is_none_or(|due| due > self.now) {
            return;
        }
        self.join.due = None;
        match &self.join.search {
            Some(Search { step: Step::Dialling(..) | Step::Trying, .. }) => self.on_search_failed(),
            Some(Search { step: Step::Asking, .. }) => {}
            None if self.is_member() => self.start_rejoin(),
            None => self.dial_known(),
        }
    }

    /// Tries a member that has proposed itself, else the next of the addresses of the beginning, or of the nodes met since.
    fn dial_known(&mut self) {
        if let Some(member) = self.join.offered.take() {
            self.search_through(member);
            return;
        }
        let attempt = self.join.attempts as usize;
        self.join.attempts = self.join.attempts.wrapping_add(1);
        let count = self.join.known.len();
        let (pass, turn) = (attempt / count.max(1), attempt % count.max(1));
        // In every other pass only what the operator named: strangers that have connected since may be of no ring at all.
        let met: Vec<Peer> = if pass % 2 == 1 { self.book.all().collect() } else { Vec::new() };
        if !met.is_empty() {
            self.try_met(&met, pass / 2 * count + turn);
        } else if count > 0 {
            self.search_at(self.join.known[turn]);
        } else {
            self.join.due = Some(self.now + self.random.jitter(BACK_OFF * (1 << MAX_DOUBLINGS)));
        }
    }

    /// Starts a search through one of the nodes met that is connected, or through the first that answers of some that are
    /// not: in turn, as those connected may themselves be in no ring.
    fn try_met(&mut self, met: &[Peer], turn: usize) {
        let next = met[turn % met.len()];
        if self.book.is_connected(next.id) {
            self.search_through(next);
            return;
        }
        self.join.search = Some(Search { step: Step::Trying, steps: 0, before: None });
        self.join.due = Some(self.now + self.config.timeout_max * 2);
        let others = met.iter().cycle().skip(turn * AT_ONCE % met.len()).take(met.len().min(AT_ONCE)).copied();
        let others = others.filter(|peer| !self.book.is_connected(peer.id));
        for peer in [next].into_iter().chain(others.collect::<Vec<Peer>>()) {
            self.probe(peer);
        }
    }

    /// Starts a search through whoever is at an address.
    fn search_at(&mut self, addr: SocketAddr) {
        self.join.untried.retain(|untried| *untried != addr);
        if let Some(peer) = self.book.connected_at(addr) {
            self.ask_about_place(peer);
            return;
        }
        let until = self.now + self.config.timeout_max * 2;
        self.join.search = Some(Search { step: Step::Dialling(addr), steps: 0, before: None });
        self.join.due = Some(until);
        self.outbox.push_back(Output::Dial { addr });
    }

    /// Alone after having known others: in turn through a node remembered, of these every other time the predecessor, and at
    /// an address of the beginning. Those remembered may be many and all dead, and must not keep this node from the others for as long as it takes to find that out.
    fn start_rejoin(&mut self) {
        if !self.ring.successors().is_empty() {
            return;
        }
        let remembered = self.ring.neighbours().chain(self.fingers.peers()).chain(self.book.all());
        let usable_peer = |peer: &Peer| peer.id != self.me.id && !self.probes.is_lost(peer.id);
        let usable: Vec<Peer> = remembered.filter(usable_peer).collect();
        let attempt = self.join.attempts as usize;
        self.join.attempts = self.join.attempts.wrapping_add(1);
        let (turn, known) = (attempt / 2, self.join.known.len());
        // A predecessor answers, or will soon be known to be dead: through it this node finds all that it knows of.
        if attempt.is_multiple_of(4)
            && let Some(near) = self.ring.predecessor().filter(usable_peer)
        {
            self.search_through(near);
        } else if !usable.is_empty() && (attempt.is_multiple_of(2) || known == 0) {
            self.search_through(usable[turn % usable.len()]);
        } else if known > 0 {
            self.search_at(self.join.known[turn % known]);
        }
    }

    /// Starts a search, unless one is under way.
    pub(super) fn search_through(&mut self, peer: Peer) {
        if matches!(self.join.search, Some(Search { step: Step::Asking, .. })) || peer.id == self.me.id {
            return;
        }
        self.stats.searches += 1;
        self.join.due = None;
        self.join.search = Some(Search { step: Step::Asking, steps: 0, before: None });
        self.ask_before(peer);
    }

    fn ask_before(&mut self, peer: Peer) {
        match self.ask(peer, Query::Before) {
            Some(request) => self.send(peer, Message::FindPredecessor { request, key: self.me.id }),
            None => self.on_search_failed(),
        }
    }

    pub(super) fn on_connected_for_join(&mut self, peer: Peer) {
        // Whoever has just connected is as good a way in as the one dialled, whose address may have another name here.
        if matches!(self.join.search, Some(Search { step: Step::Dialling(..) | Step::Trying, .. })) {
            self.ask_about_place(peer);
        }
    }

    pub(super) fn handle_dial_failed(&mut self, failed: SocketAddr) {
        if let Some(Search { step: Step::Dialling(addr), .. }) = self.join.search
            && addr == failed
        {
            self.on_search_failed();
        }
    }

    pub(super) fn on_predecessor(&mut self, from: Peer, request: u64, peer: Peer) {
        let Some(question) = self.answered(from, request) else {
            self.stats.dropped += 1;
            return;
        };
        if question.query != Query::Before {
            return;
        }
        if peer.id != from.id && peer.id != self.me.id && !self.config.has(Bug::JoinsAnywhere) {
            self.follow(from, peer);
        } else if self.ask_neighbours(from, Query::Successors).is_none() {
            self.on_search_failed();
        }
    }

    /// Asks the next node of a search, which must be nearer than the last.
    fn follow(&mut self, last: Peer, next: Peer) {
        let Some(search) = &mut self.join.search else { return };
        search.steps += 1;
        if search.steps < MAX_STEPS && Interval::open(last.id, self.me.id).contains(next.id) {
            self.ask_before(next);
        } else {
            self.on_search_failed();
        }
    }

    pub(super) fn on_search_successors(&mut self, before: Peer, answer: Answer) {
        let Some((_, successors)) = answer else {
            self.on_search_failed();
            return;
        };
        // A member that knows this node from an earlier life still lists it.
        let next = successors.into_iter().find(|peer| peer.id != self.me.id).unwrap_or(before);
        if !Interval::open(before.id, next.id).contains(self.me.id) && !self.config.has(Bug::JoinsAnywhere) {
            // It has learned of a node between, or was no member when it said that there is none.
            self.follow(before, next);
            return;
        }
        if let Some(search) = &mut self.join.search {
            search.before = Some(before);
        }
        if self.ask_neighbours(next, Query::Successor).is_none() {
            self.on_search_failed();
        }
    }

    pub(super) fn on_search_successor(&mut self, successor: Peer, answer: Answer) {
        let Some((_, successors)) = answer else {
            self.on_search_failed();
            return;
        };
        let before = self.join.search.take().and_then(|search| search.before);
        self.join.due = None;
        self.join.attempts = 0;
        let successors = if self.config.has(Bug::JoinsWithOne) { Vec::new() } else { successors };
        if self.ring.is_nearer_successor(successor.id) {
            self.adopt_successors(successor, &successors);
            if self.is_member() {
                self.stabilize_at_once();
            } else {
                self.become_member();
                self.ask_for_links(successor);
            }
            self.send(successor, Message::Notify);
        }
        // Where it stands in another ring than this node, its successor comes after this node all the same.
        if let Some(before) = before.filter(|before| before.id != successor.id) {
            self.send(before, Message::Arrived);
        }
    }

    pub(super) fn on_search_failed(&mut self) {
        self.join.search = None;
        if self.is_member() {
            self.join.due = self.ring.successors().is_empty().then(|| self.now + self.random.jitter(REJOIN));
            return;
        }
        let passes = self.join.attempts / (self.join.known.len() as u32).max(1);
        let wait = BACK_OFF * (1 << passes.min(MAX_DOUBLINGS));
        self.join.due = Some(self.now + self.random.jitter(wait));
    }

    fn become_member(&mut self) {
        self.membership = Membership::Member;
        self.outbox.push_back(Output::Joined);
        self.repair_due = Some(self.now + self.random.jitter(self.config.fingers_min));
        self.keep_alive_due = Some(self.now + self.random.jitter(self.config.keep_alive / 4));
        self.stabilize_at_once();
    }

    /// The ring may be a piece of a larger one: asks at an address that this node once joined through or a node
    /// met earlier, of those that are not near it on the ring.
    pub(super) fn look_for_others(&mut self) {
        if self.join.search.is_some() || self.join.due.is_some() || self.config.has(Bug::ForgetsTheDead) {
            return;
        }
        // Two rings may hold together by this alone, that a member of one was told of a member of the other.
        if let Some(addr) = self.untried() {
            self.search_at(addr);
            return;
        }
        self.join.looks = self.join.looks.wrapping_add(1);
        let pick = self.random.number() as usize;
        if self.join.looks.is_multiple_of(2) {
            // All members of a large ring may have joined through the same few addresses, which must not hear of it often.
            let any = self.ring.is_short() || self.join.looks.is_multiple_of(8);
            let far = |addr: &&SocketAddr| self.ring.neighbours().all(|peer| peer.addr != **addr);
            let strange = |addr: &&SocketAddr| far(addr) && (any || !self.book.has_met(**addr));
            let known: Vec<SocketAddr> = self.join.known.iter().filter(strange).copied().collect();
            if !known.is_empty() {
                self.search_at(known[pick % known.len()]);
                return;
            }
        }
        let strange = |peer: &Peer| !self.ring.contains(peer.id) && !self.fingers.contains(peer.id);
        let others: Vec<Peer> = self.book.all().filter(strange).collect();
        if !others.is_empty() {
            self.ask_about_place(others[pick % others.len()]);
        }
    }

    /// An address of the beginning where nobody was met yet, and none was looked for.
    pub(super) fn untried(&self) -> Option<SocketAddr> {
        self.join.untried.iter().copied().find(|addr| !self.book.has_met(*addr))
    }

    /// Finds out whether a node is in the same ring. A member of a large ring proposes itself: that costs two frames where it
    /// is, a search would cost a connection for each step.
    fn ask_about_place(&mut self, peer: Peer) {
        self.join.search = None;
        if self.is_member() && !self.ring.is_short() {
            self.join.due = None;
            self.propose_to(peer, self.me);
        } else {
            self.search_through(peer);
        }
    }

    /// No successor is left: the search begins again, at once where someone is remembered.
    pub(super) fn rejoin_if_lost(&mut self) {
        let idle = self.join.search.is_none() && self.join.due.is_none();
        if self.ring.successors().is_empty() && idle && self.has_known_others() {
            self.join.due = Some(self.now);
        }
    }

    fn has_known_others(&self) -> bool {
        let others = self.ring.predecessors().iter().copied().chain(self.fingers.peers());
        others.count() > 0 || !self.join.known.is_empty()
    }
}
