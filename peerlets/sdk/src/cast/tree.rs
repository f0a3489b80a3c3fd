//! Scribe's tree: what it keeps, how it is called, and who handles which event.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::group::{Group, delay};
use super::history::History;
use super::parent::is_gone;
use super::wire::{self, Anycast, Ask, Control, Read};
use super::{CREDENTIALS, Cast, DATA, Refusal, Settings, Upcalls};
use crate::cbor::{self, Bytes};
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
/// Messages of which it is remembered what they were, to know what has failed.
const SENT: usize = 4096;
/// Searches of this node, and those of others that it has taken part in or taken, at most.
pub(super) const SEARCHES: usize = 256;
/// Effects of an event after which what can wait does. What comes due at once adds no more than 70 to that, of the 256
/// that an event may have.
const EFFECTS: usize = 100;

/// The groups of this node. `channel` tells its messages from the application's others: it is the first byte.
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
    pub(super) sent: Recent<u64, Sent>,
    pub(super) history: History,
    /// Anycasts of this node that have not ended.
    pub(super) searches: BTreeSet<u64>,
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
    Search(Box<Anycast>),
}

impl<A: Upcalls> Tree<A> {
    /// No groups yet. The channel and the one after it are the tree's.
    pub fn new(channel: u8, settings: Settings, app: A) -> Tree<A> {
        Tree {
            app,
            channel,
            settings,
            groups: BTreeMap::new(),
            children: 0,
            timers: Timers::default(),
            questions: Questions::new(channel.wrapping_add(1), ASKED, PATIENCE),
            sent: Recent::new(SENT),
            history: History::default(),
            searches: BTreeSet::new(),
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
        match self.questions.receive(message) {
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
        for (asked, _) in self.questions.due(timer) {
            self.ended(asked, Err(Refusal::Unreachable));
        }
    }

    /// Hand every `failed` in. False where the message was none of the tree's.
    pub fn failed(&mut self, message: u64, reason: Failure) -> bool {
        self.effects = 0;
        if let Some((asked, reason)) = self.questions.failed(message, reason) {
            let refusal = if reason == Failure::NotDurable { Refusal::Storage } else { Refusal::Unreachable };
            self.ended(asked, Err(refusal));
            return true;
        }
        let is_gone = is_gone(reason);
        match self.sent.get(&message) {
            Some(Sent::To(node)) if is_gone => self.gone(*node),
            Some(Sent::To(..)) => {}
            Some(Sent::Join(group, number)) => self.join_failed(*group, *number),
            Some(Sent::Search(search)) => self.search_on(Anycast::clone(search)),
            None => return false,
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

    /// Whom this node gets the group's frames from; none at the root, and where it looks for one.
    pub fn parent(&self, group: Key) -> Option<NodeId> {
        self.groups.get(&group)?.parent
    }

    /// Whom it sends them to.
    pub fn children(&self, group: Key) -> Vec<NodeId> {
        self.groups.get(&group).map_or_else(Vec::new, |group| group.children.keys().copied().collect())
    }

    /// The way to the root as last heard: the root first, the parent last. Empty at the root.
    pub fn path(&self, group: Key) -> Vec<NodeId> {
        self.groups.get(&group).map_or_else(Vec::new, |group| group.path.clone())
    }

    /// Whether this node is the group's root, as far as it knows.
    pub fn is_root(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_root)
    }

    /// Whether this node is a member.
    pub fn is_member(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.membership.is_some())
    }

    /// Whether the way from this node to the root is whole, as far as it knows.
    pub fn is_attached(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_root || group.rooted && group.parent.is_some())
    }

    /// The group's rules, where this node knows them.
    pub fn rules(&self, group: Key) -> Option<&[u8]> {
        self.groups.get(&group)?.rules()
    }

    /// Groups that this node has an entry for, as a member, on the way of others, or as the root.
    pub fn groups(&self) -> Vec<Key> {
        self.groups.keys().copied().collect()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
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

impl<A: Upcalls> Cast for Tree<A> {
    fn join(&mut self, group: Key, credentials: &[u8]) -> Result<(), Refusal> {
        within(CREDENTIALS, credentials)?;
        if !self.enter(group) {
            return Err(Refusal::Full);
        }
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.membership = Some(credentials.into());
        }
        self.seek(group);
        Ok(())
    }

    fn leave(&mut self, group: Key) {
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.membership = None;
            self.prune(group);
        }
    }

    fn multicast(&mut self, group: Key, credentials: &[u8], data: &[u8]) -> Result<u64, Refusal> {
        within(CREDENTIALS, credentials)?;
        within(DATA, data)?;
        let number = random::number();
        let ask = Ask::Publish { group, number, credentials: credentials.into(), data: data.into() };
        let body = cbor::encode(&ask);
        // The root is known to members: a publication need not be routed to it.
        let known = self.groups.get(&group).filter(|entry| entry.rooted).and_then(|entry| entry.path.first());
        let (target, again) = match known {
            Some(root) => (Target::Node(*root), Some(body.clone())),
            None => (Target::Key(group), None),
        };
        let asked = self.questions.ask(target, &body, Asked::Publish { group, number, body: again });
        asked.map(|_| number).map_err(|_| Refusal::Full)
    }

    fn anycast(&mut self, group: Key, data: &[u8]) -> Result<u64, Refusal> {
        within(DATA, data)?;
        self.start_search(group, Bytes::from(data))
    }
}

fn within(most: usize, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > most { Err(Refusal::TooLarge) } else { Ok(()) }
}

/// The nearest of them last.
pub(super) fn by_delay(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.sort_by_key(|node| core::cmp::Reverse(delay(*node)));
    nodes
}
