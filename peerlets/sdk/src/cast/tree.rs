//! Scribe's tree: what it keeps, how it is called, and who handles which event.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::access::within;
use super::group::{Group, delay};
use super::history::History;
use super::parent::is_gone;
use super::wire::{self, Anycast, Ask, Control, Read};
use super::{CREDENTIALS, Refusal, Settings, Upcalls};
use crate::cbor;
use crate::questions::{Patience, Questions, Received, Target};
use crate::soft_state::Recent;
use crate::time::Instant;
use crate::timers::Timers;
use crate::{Change, Failure, Key, Message, NodeId, Verdict, random, route};

/// Publications and creations under way at most; each keeps its body.
const ASKED: usize = 32;
/// How long a root is asked.
const PATIENCE: Patience = Patience {
    deadline: Duration::from_secs(15),
    again: Duration::from_secs(4),
    pause: Duration::from_millis(500),
    attempts: 4,
};
/// A root that is known is asked once, and then whoever routing finds.
const DIRECT: Patience = Patience {
    deadline: Duration::from_secs(4),
    again: Duration::from_secs(4),
    pause: Duration::from_millis(500),
    attempts: 1,
};
/// Messages of which it is remembered what they were, to know what has failed.
const SENT: usize = 4096;
/// Searches of this node, and those that it has taken, at most; and those that it has sent on, which it keeps whole.
pub(super) const SEARCHES: usize = 256;
const PASSED_ON: usize = 32;
/// Effects of an event after which what can wait does. What comes due at once adds no more than 70 to that, of the 256
/// that an event may have.
const EFFECTS: usize = 100;

/// The groups of this node. It watches their parents ([`route::watch`]), and ends the watch over a node that is none any more.
/// `channel` tells its messages from the application's others: it is the first byte.
#[derive(Debug)]
pub struct Tree<A> {
    /// The application, which the tree calls.
    pub app: A,
    pub(super) channel: u8,
    pub(super) settings: Settings,
    pub(super) groups: BTreeMap<Key, Group>,
    pub(super) children: usize,
    pub(super) timers: Timers<Due>,
    pub(super) questions: Questions<Asked>,
    pub(super) direct: Questions<Asked>,
    pub(super) sent: Recent<u64, Sent>,
    pub(super) history: History,
    /// Anycasts of this node that have not ended.
    pub(super) searches: BTreeSet<u64>,
    /// Searches that this node has sent on, for the case that they did not arrive.
    pub(super) passed_on: Recent<u64, Anycast>,
    pub(super) taken: Recent<(NodeId, u64)>,
    pub(super) epoch: u64,
    /// Since when it answers for its keys as it does now.
    pub(super) since: Option<Instant>,
    effects: usize,
}

/// What comes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// Heartbeats, refreshes, and a look at how things are.
    Beat(Key),
    /// To see whether the parent is silent.
    Silence(Key),
    /// Another attempt to join.
    Join(Key),
    /// To ask for missing frames.
    Gap(Key),
    /// To give up frames that others wait for.
    Order(Key),
    /// The end of an anycast.
    Search(u64),
}

/// What a root was asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Create {
        number: u64,
    },
    /// With the question, where another than the root may have been asked.
    Publish {
        group: Key,
        number: u64,
        body: Option<Vec<u8>>,
    },
}

/// What a message was.
#[derive(Debug)]
pub(super) enum Sent {
    /// To a parent or a child.
    To(NodeId),
    Join(Key, u64),
}

impl<A: Upcalls> Tree<A> {
    /// No groups yet. The channel and the two after it are the tree's.
    pub fn new(channel: u8, settings: Settings, app: A) -> Tree<A> {
        Tree {
            app,
            channel,
            settings,
            groups: BTreeMap::new(),
            children: 0,
            timers: Timers::default(),
            questions: Questions::new(channel.wrapping_add(1), ASKED, PATIENCE),
            direct: Questions::new(channel.wrapping_add(2), ASKED, DIRECT),
            sent: Recent::new(SENT),
            history: History::default(),
            searches: BTreeSet::new(),
            passed_on: Recent::new(PASSED_ON),
            taken: Recent::new(SEARCHES),
            epoch: 0,
            since: None,
            effects: 0,
        }
    }

    /// Creates a group: its root keeps these rules with the keyed records of the group, and gives them to whoever takes a
    /// child ([`Upcalls`]). A group needs no creation where the application asks for no rules. Its creator may create it
    /// again, with other rules. Returns the number with which [`Upcalls::created`] tells how it ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] and [`Refusal::TooLarge`].
    pub fn create(&mut self, group: Key, rules: &[u8], credentials: &[u8]) -> Result<u64, Refusal> {
        within(CREDENTIALS, rules)?;
        within(CREDENTIALS, credentials)?;
        let number = random::number();
        let ask = Ask::Create { group, rules: rules.into(), credentials: credentials.into() };
        let asked = self.questions.ask(Target::Key(group), &cbor::encode(&ask), Asked::Create { number });
        asked.map(|_| number).map_err(|_| Refusal::Full)
    }

    /// Hand every `deliver` in. False where the message is none of the tree's.
    pub fn deliver(&mut self, message: &Message) -> bool {
        self.effects = 0;
        let received = match self.questions.receive(message) {
            Received::Other => self.direct.receive(message),
            received => received,
        };
        match received {
            Received::Question(question) => self.on_ask(&question),
            Received::Answer { about, body, .. } => self.on_answer(about, &body),
            Received::Late => {}
            Received::Other => return self.receive(message),
        }
        true
    }

    fn receive(&mut self, message: &Message) -> bool {
        match wire::read(self.channel, &message.payload) {
            None => return false,
            Some(Read::Data { group, frame }) if message.key.is_none() => {
                self.on_data(message.previous, group, frame, &message.payload);
            }
            Some(Read::Control(control)) => self.on_control(message, control),
            Some(Read::Data { .. } | Read::Nonsense) => {}
        }
        true
    }

    fn on_control(&mut self, message: &Message, control: Control) {
        let from = message.previous;
        match (message.key, control) {
            (Some(key), Control::Join(join)) if key == join.group => self.join_at_root(message.origin, join),
            (Some(key), Control::Anycast(search)) if key == search.group => self.search_on(search),
            (Some(_), _) => {}
            (None, Control::Join(join)) => self.join_here(from, join),
            (None, Control::Anycast(search)) => self.search_on(search),
            (None, Control::State(state)) => self.on_state(from, state),
            (None, Control::Refused { group, number, member, reason }) => {
                self.on_refused(from, group, number, member, Refusal::from_code(reason).unwrap_or(Refusal::Forbidden));
            }
            (None, Control::Elsewhere { group, number, candidates }) => {
                self.on_elsewhere(from, group, number, &candidates);
            }
            (None, Control::Leave { group }) => self.remove_child(group, from),
            (None, Control::Refresh { group }) => self.on_refresh(from, group),
            (None, Control::Missing { group, epoch, numbers }) => self.on_missing(from, group, epoch, &numbers),
            (None, Control::Found { number, taken }) => {
                self.end_search(number, if taken { Ok(message.origin) } else { Err(Refusal::NoTaker) });
            }
        }
    }

    /// Hand every `forward` in. None where the message is none of the tree's.
    pub fn forward(&mut self, message: &Message) -> Option<Verdict> {
        self.effects = 0;
        let myself = route::myself();
        let stops = match wire::read(self.channel, &message.payload)? {
            _ if message.origin == myself => false,
            Read::Control(Control::Join(join)) if message.key == Some(join.group) => {
                let is_proven = message.origin == message.previous;
                self.join_in_passing(message.origin, join, is_proven)
            }
            Read::Control(Control::Anycast(search)) if self.groups.contains_key(&search.group) => {
                self.search_on(search);
                true
            }
            Read::Control(_) | Read::Data { .. } | Read::Nonsense => false,
        };
        Some(if stops { Verdict::Stop } else { Verdict::Pass })
    }

    /// Hand every `fired` in.
    pub fn fired(&mut self, timer: u64) {
        self.effects = 0;
        for due in self.timers.due(timer) {
            if self.effects > EFFECTS {
                self.timers.set(due, Duration::from_millis(1));
                continue;
            }
            match due {
                Due::Beat(group) => self.beat(group),
                Due::Silence(group) => self.look_for_silence(group),
                Due::Join(group) => self.attempt(group),
                Due::Gap(group) => self.ask_for_missing(group),
                Due::Order(group) => self.give_up_order(group),
                Due::Search(number) => self.end_search(number, Err(Refusal::Unreachable)),
            }
        }
        let late = self.questions.due(timer).into_iter().chain(self.direct.due(timer));
        for (asked, _) in late.collect::<Vec<_>>() {
            self.ended(asked, Err(Refusal::Unreachable));
        }
    }

    /// Hand every `failed` in. False where the message was none of the tree's.
    pub fn failed(&mut self, message: u64, reason: Failure) -> bool {
        self.effects = 0;
        let failed = self.questions.failed(message, reason).or_else(|| self.direct.failed(message, reason));
        if let Some((asked, reason)) = failed {
            let refusal = if reason == Failure::NotDurable { Refusal::Storage } else { Refusal::Unreachable };
            self.ended(asked, Err(refusal));
            return true;
        }
        let is_gone = is_gone(reason);
        match self.sent.get(&message) {
            Some(Sent::To(node)) if is_gone => self.gone(*node),
            Some(Sent::To(..)) => {}
            Some(Sent::Join(group, number)) => self.join_failed(*group, *number),
            None => match self.passed_on.get(&message).cloned() {
                Some(search) => self.search_on(search),
                None => return false,
            },
        }
        true
    }

    /// Hand every `update` in.
    pub fn update(&mut self, change: &Change) {
        self.effects = 0;
        match change {
            Change::WatchedDown(node) => self.gone(*node),
            Change::Gained(range) => {
                self.since = Some(Instant::now());
                self.responsibility(|group| range.contains(group), true);
            }
            Change::Lost(range) => self.responsibility(|group| range.contains(group), false),
            Change::Joined(_) | Change::Left(_) => {}
        }
    }

    /// Sends to one node. What cannot be sent is as good as lost: whoever misses it asks again.
    pub(super) fn tell(&mut self, to: NodeId, control: &Control) -> Option<u64> {
        self.effects += 1;
        route::send(to, &wire::control(self.channel, control)).ok()
    }

    /// Sends to a parent or a child, whose failure matters.
    pub(super) fn tell_relative(&mut self, to: NodeId, payload: &[u8]) {
        self.effects += 1;
        if let Ok(message) = route::send(to, payload) {
            self.sent.insert(message, Sent::To(to));
        }
    }
}

/// The nearest of them last.
pub(super) fn by_delay(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_by_key(|node| core::cmp::Reverse(delay(*node)));
    nodes
}
