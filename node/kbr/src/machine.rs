//! One member of the ring, as a state machine.

mod catch_up;
mod delivery;
mod hops;
mod join;
mod liveness;
mod merge;
mod neighbours;
mod origin;
mod repair;
mod report;
mod routing;
mod seek;
mod stabilize;
mod table;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::acks::Acks;
use crate::answers::Answers;
use crate::backpointers::Backpointers;
use crate::book::Book;
use crate::config::Config;
use crate::fingers::Fingers;
use crate::id::NodeId;
use crate::io::{Input, Output, TimerKind};
use crate::message::{Message, Peer};
use crate::pending::{Pending, Waiting};
use crate::planted::Bug;
use crate::probes::Probes;
use crate::questions::{Query, Questions};
use crate::random::Random;
use crate::ring::Ring;
use crate::stats::Stats;
use crate::time::Time;
use crate::transit::{Held, InFlight};
use crate::view::RingView;
use crate::wanderers::Wanderers;
use crate::window::Window;

use catch_up::CatchUp;
use delivery::Told;
use join::Join;
use neighbours::Remembered;
use report::Reported;
use seek::Seeks;
use stabilize::Stabilizer;
use table::Table;

/// Most nodes that can be watched.
pub const MAX_WATCHED: usize = 1024;

/// Outputs that room is kept for while there are none. Only the busiest turns need more, and each takes hundreds of bytes.
const IDLE_OUTBOX: usize = 8;

/// How far a node has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RingState {
    /// Not a member of a ring yet.
    Joining,
    /// A member that knows fewer successors than configured: the ring is small or still forming, and what it promises
    /// about failures is not its full promise.
    Bootstrap,
    /// A member with a full successor list.
    Member,
    /// Has left the ring, for good.
    Left,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Outside,
    Member,
    Left,
}

/// One member of the ring, without socket, clock or task. See the crate's documentation for how it is driven.
#[derive(Debug, Clone)]
pub struct Machine {
    me: Peer,
    config: Config,
    now: Time,
    random: Random,
    outbox: VecDeque<Output>,
    stats: Stats,
    membership: Membership,

    ring: Ring,
    fingers: Fingers,
    backpointers: Backpointers,
    book: Book,
    table: Table,
    questions: Questions,
    /// The last lists of the first neighbours, so that they need not be sent again.
    remembered: Remembered,
    /// This node's own, as others have them.
    answers: Answers,
    probes: Probes,
    join: Join,
    stabilizer: Stabilizer,
    catch_up: CatchUp,
    /// A node that has notified us while its claim depends on whether the present predecessor is alive.
    notifier: Option<Peer>,
    repair_due: Option<Time>,
    /// When a finger has last died or left.
    finger_lost: Option<Time>,
    keep_alive_due: Option<Time>,
    /// Lost nodes are to be pinged soon, whoever's turn it is.
    recall_all: bool,
    /// When this node next looks for another ring, and how long after that again, on average.
    look_due: Option<Time>,
    look_pace: Duration,

    pending: Pending,
    seeks: Seeks,
    waiting: Waiting,
    in_flight: InFlight,
    held: Held,
    wanderers: Wanderers,
    acks: Acks,
    window: Window,
    told: Told,

    watched: BTreeSet<NodeId>,
    reported: Reported,
    view: Arc<RingView>,
}

impl Machine {
    /// A node that is not part of a ring yet.
    pub fn new(me: Peer, config: Config, seed: [u8; 32], now: Time) -> Machine {
        let mut random = Random::new(seed);
        // Far from wrapping round, and unlike those of the node's last life.
        let first_seq = random.number() >> 16;
        let predecessors = if config.has(Bug::UncutPredecessors) { usize::MAX } else { config.predecessors };
        Machine {
            me,
            now,
            outbox: VecDeque::new(),
            stats: Stats::default(),
            membership: Membership::Outside,
            ring: Ring::new(me.id, config.successors, predecessors),
            fingers: Fingers::new(me.id, config.fingers()),
            backpointers: Backpointers::new(config.fingers()),
            book: Book::new(&config),
            table: Table::default(),
            questions: Questions::default(),
            remembered: Remembered::default(),
            answers: Answers::default(),
            probes: Probes::default(),
            join: Join::default(),
            stabilizer: Stabilizer::new(config.stabilize_min),
            catch_up: CatchUp::default(),
            notifier: None,
            repair_due: None,
            finger_lost: None,
            keep_alive_due: None,
            recall_all: false,
            look_due: None,
            look_pace: liveness::LOOK_SOON / 2,
            pending: Pending::new(config.max_pending),
            seeks: Seeks::default(),
            waiting: Waiting::default(),
            in_flight: InFlight::new(first_seq),
            held: Held::default(),
            wanderers: Wanderers::default(),
            acks: Acks::default(),
            window: Window::default(),
            told: Told::default(),
            watched: BTreeSet::new(),
            reported: Reported::new(now),
            view: Arc::new(report::outside(me)),
            random,
            config,
        }
    }

    /// Handles one event. A hostile message changes counters, never the caller's control flow.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.now = self.now.max(now);
        if self.membership == Membership::Left {
            return;
        }
        match input {
            Input::Join { known } => self.start_join(known),
            Input::Connected { peer } => self.handle_connected(peer),
            Input::Disconnected { id } => self.handle_disconnected(id),
            Input::DialFailed { addr } => self.handle_dial_failed(addr),
            Input::RoundTrip { id, rtt } => self.handle_round_trip(id, rtt),
            Input::Received { from, message } => self.handle_message(from, message),
            Input::Route(request) => self.start_route(request),
            Input::Lookup { id, key, replicas } => self.start_lookup(id, key, replicas),
            Input::LookupRedundant { id, key, paths } => self.start_redundant(id, key, paths),
            Input::Verdict { origin, id, verdict } => self.handle_verdict((origin, id), verdict),
            Input::Handled { origin, id, handling } => self.handle_handled((origin, id), handling),
            Input::AskNeighbours { request, peer } => self.start_walk(request, peer),
            Input::SendUpper { to, payload } => self.start_upper(to, payload),
            Input::Leave => self.start_leave(),
        }
        self.settle();
    }

    /// Handles all timers that are due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = self.now.max(now);
        if self.membership == Membership::Left {
            return;
        }
        self.handle_join_timer();
        self.handle_question_timers();
        self.handle_probe_timers();
        self.handle_stabilize_timer();
        self.handle_repair_timer();
        self.handle_keep_alive_timer();
        self.handle_hop_timers();
        self.handle_origin_timers();
        self.handle_acknowledge_timer();
        self.settle();
    }

    /// The next thing to do; none when the machine is drained.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outbox.pop_front();
        if output.is_none() && self.outbox.capacity() > IDLE_OUTBOX {
            self.outbox.shrink_to(IDLE_OUTBOX);
        }
        output
    }

    /// When the machine wants to be woken next, and why.
    pub fn poll_timeout(&self) -> Option<(Time, TimerKind)> {
        if self.membership == Membership::Left {
            return None;
        }
        let timers = [
            (self.stabilizer.due, TimerKind::Stabilize),
            (self.repair_due, TimerKind::FixFinger),
            (self.keep_alive_due, TimerKind::KeepAlive),
            (self.questions.earliest(), TimerKind::Question),
            (self.probes.earliest(), TimerKind::Question),
            (self.in_flight.earliest(), TimerKind::Hop),
            (self.held.earliest(), TimerKind::Hop),
            (self.pending.earliest(), TimerKind::Deadline),
            (self.waiting.earliest(), TimerKind::Deadline),
            (self.acks.earliest(), TimerKind::Acknowledge),
            (self.join.due, TimerKind::Join),
        ];
        timers.into_iter().filter_map(|(due, kind)| due.map(|due| (due, kind))).min()
    }

    /// What this node knows of the ring now.
    pub fn view(&self) -> Arc<RingView> {
        Arc::clone(&self.view)
    }

    /// What this node has counted so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// The nodes that this one declared dead and has not heard of since, as far as it remembers them, in order of id.
    pub fn lost(&self) -> impl Iterator<Item = NodeId> {
        self.probes.lost()
    }

    /// Where this node would dial another, as far as it knows.
    pub fn address_of(&self, id: NodeId) -> Option<SocketAddr> {
        let listed = || self.ring.neighbours().find(|peer| peer.id == id);
        self.book.peer(id).or_else(listed).or_else(|| self.probes.lost_peer(id)).map(|peer| peer.addr)
    }

    /// Whether the answer to this question, which is still waited for, may become part of the successor list.
    pub fn awaits_successors(&self, request: u64) -> bool {
        self.questions.get(request).is_some_and(|question| question.query.is_about_successors())
    }

    /// Whether the answer to this question, which is still waited for, names the node that a search would ask last.
    pub fn awaits_place(&self, request: u64) -> bool {
        self.questions.get(request).is_some_and(|question| question.query == Query::Successors)
    }

    /// The node that a search has asked last: this one takes it for its first successor, with its list, once it answers.
    pub fn joins_before(&self) -> Option<NodeId> {
        self.questions.asked(&Query::Successor).map(|peer| peer.id)
    }

    /// Whether this node was told of this address at its start, and has not dialled it yet.
    pub fn is_untried(&self, addr: SocketAddr) -> bool {
        self.join.is_untried(addr)
    }

    /// Whether this error is planted, for the layer above.
    #[doc(hidden)]
    pub fn has_planted(&self, bug: Bug) -> bool {
        self.config.has(bug)
    }

    /// How far this node has come.
    pub fn ring_state(&self) -> RingState {
        match self.membership {
            Membership::Outside => RingState::Joining,
            Membership::Member if self.ring.is_short() => RingState::Bootstrap,
            Membership::Member => RingState::Member,
            Membership::Left => RingState::Left,
        }
    }

    /// Whether the node knows fewer successors than configured. Everyone knows everyone then, and the ring does not
    /// yet survive what a larger one does.
    pub fn bootstrap(&self) -> bool {
        self.ring.is_short()
    }

    /// Report [`Change::WatchedDown`](crate::Change::WatchedDown) once when this node becomes unreachable. At most
    /// [`MAX_WATCHED`] nodes can be watched; says whether there was room.
    pub fn watch(&mut self, node: NodeId) -> bool {
        let room = self.watched.len() < MAX_WATCHED || self.watched.contains(&node);
        if room && node != self.me.id {
            self.watched.insert(node);
        }
        room
    }

    /// Undoes [`watch`](Machine::watch).
    pub fn unwatch(&mut self, node: NodeId) {
        self.watched.remove(&node);
    }

    fn handle_message(&mut self, from: NodeId, message: Message) {
        if from == self.me.id {
            self.stats.dropped += 1;
            return;
        }
        // Without a connection there is no address to answer to: the transport reports connections first.
        let Some(from) = self.book.hear(self.now, from) else {
            self.stats.dropped += 1;
            return;
        };
        self.on_sign_of_life(from);
        match message {
            Message::Ping { nonce } => self.send(from, Message::Pong { nonce }),
            Message::Pong { nonce } => self.on_pong(from, nonce),
            Message::GetNeighbours { request, part, known } => self.on_get_neighbours(from, request, part, known),
            Message::Unchanged { request } => self.on_unchanged(from, request),
            Message::Neighbours { request, joined, predecessors, successors } => {
                self.on_neighbours(from, request, joined.then_some((predecessors, successors)));
            }
            Message::Changes { request, digest, predecessors, successors } => {
                self.on_changes(from, request, digest, (&predecessors, &successors));
            }
            Message::FindPredecessor { request, key } => self.on_find_predecessor(from, request, key),
            Message::Predecessor { request, peer } => self.on_predecessor(from, request, peer),
            Message::Notify => self.on_notify(from),
            Message::Arrived => self.on_arrived(from),
            Message::Candidate { peer, hops } => self.on_candidate(peer, hops),
            Message::GetNext { request, key } => self.on_get_next(from, request, key),
            Message::Next { request, mine, next } => self.on_next(from, request, mine, next),
            Message::Link => self.on_link(from),
            Message::Linked { accepted } => self.on_linked(from, accepted),
            Message::Unlink => self.on_unlink(from),
            Message::GetLinks { request } => self.on_get_links(from, request),
            Message::Links { request, links } => self.on_links(from, request, links),
            Message::Leave { predecessors, .. } => self.on_leave(from, predecessors),
            Message::Route { seq, routed } => self.on_route(from, seq, routed),
            Message::Acknowledge { runs } => self.on_acknowledge(from, &runs),
            Message::Outcome { via, origin, outcome } => self.on_outcome(from, via, origin, outcome),
            Message::Upper(payload) => self.outbox.push_back(Output::Upper { from, payload }),
        }
    }

    fn is_member(&self) -> bool {
        self.membership == Membership::Member
    }

    fn send(&mut self, to: Peer, message: Message) {
        self.outbox.push_back(Output::Send { to, message });
    }

    /// Ends every event: what changed is reported, and the machine checks itself.
    fn settle(&mut self) {
        self.report();
        if cfg!(debug_assertions) {
            self.ring.assert_invariants();
            self.probes.assert_invariants();
        }
    }
}
