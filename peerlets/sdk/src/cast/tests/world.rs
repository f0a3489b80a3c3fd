//! Several nodes and what they say to each other, in virtual time: routing as on a ring whose nodes know some neighbours on
//! both sides and some others, every message on its way for as long as its two ends are apart.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::super::{Cast, Frame, Refusal, Settings, Tree, Upcalls};
use crate::testing::{Effect, Node, node_id};
use crate::{Change, Dispatch, Failure, Id, Key, KeyRange, Message, NodeId, Peerlet, Result, Verdict};

pub(super) const CHANNEL: u8 = 7;
/// Neighbours on each side that a node knows.
const NEAR: usize = 4;

/// The application: it notes what it is told.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) heard: Vec<Vec<u8>>,
    pub(super) parents: Vec<Option<NodeId>>,
    pub(super) refused: Vec<Refusal>,
    pub(super) ended: BTreeMap<u64, core::result::Result<(), Refusal>>,
    pub(super) found: BTreeMap<u64, core::result::Result<NodeId, Refusal>>,
    pub(super) takes: bool,
    pub(super) offered: usize,
    pub(super) capacity: Option<usize>,
}

impl Upcalls for Notes {
    fn delivered(&mut self, _: Key, frame: &Frame) {
        self.heard.push(frame.data.clone());
    }

    fn anycast(&mut self, _: Key, _: NodeId, _: &[u8]) -> bool {
        self.offered += 1;
        self.takes
    }

    fn may_join(&mut self, _: Key, rules: Option<&[u8]>, _: NodeId, credentials: &[u8]) -> bool {
        rules.is_none_or(|rules| rules == credentials)
    }

    fn may_publish(&mut self, _: Key, rules: Option<&[u8]>, _: NodeId, credentials: &[u8], _: &[u8]) -> bool {
        rules.is_none_or(|rules| rules == credentials)
    }

    fn may_create(&mut self, _: Key, _: NodeId, _: &[u8], credentials: &[u8]) -> bool {
        credentials != b"impostor"
    }

    fn capacity(&mut self, _: Key, usual: usize) -> usize {
        self.capacity.unwrap_or(usual)
    }

    fn created(&mut self, number: u64, outcome: core::result::Result<(), Refusal>) {
        self.ended.insert(number, outcome);
    }

    fn published(&mut self, number: u64, outcome: core::result::Result<(), Refusal>) {
        self.ended.insert(number, outcome);
    }

    fn anycast_ended(&mut self, number: u64, outcome: core::result::Result<NodeId, Refusal>) {
        self.found.insert(number, outcome);
    }

    fn parent_changed(&mut self, _: Key, parent: Option<NodeId>) {
        self.parents.push(parent);
    }

    fn refused(&mut self, _: Key, reason: Refusal) {
        self.refused.push(reason);
    }
}

pub(super) struct App {
    pub(super) tree: Tree<Notes>,
}

impl Default for App {
    fn default() -> App {
        let settings = Settings { children: 4, history: 64 << 10, ..Settings::default() };
        App { tree: Tree::new(CHANNEL, settings, Notes::default()) }
    }
}

impl Peerlet for App {
    fn deliver(&mut self, message: Message) -> Result {
        self.tree.deliver(&message);
        Ok(())
    }

    fn forward(&mut self, message: Message, _: NodeId) -> Verdict {
        self.tree.forward(&message).unwrap_or(Verdict::Pass)
    }

    fn update(&mut self, change: Change) {
        self.tree.update(&change);
    }

    fn fired(&mut self, timer: u64, _: u64) {
        self.tree.fired(timer);
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.tree.failed(message, reason);
    }
}

/// Something on its way.
enum Event {
    Arrive { at: NodeId, message: Message },
    Failed { at: NodeId, message: u64, reason: Failure },
    Changed { at: NodeId, change: Change },
}

pub(super) struct World {
    pub(super) group: Key,
    pub(super) nodes: BTreeMap<NodeId, Node<App>>,
    watches: BTreeSet<(NodeId, NodeId)>,
    queue: BTreeMap<(Duration, u64), Event>,
    pub(super) now: Duration,
    count: u64,
    drawn: u64,
    /// Whether messages go twice, in percent.
    pub(super) twice: u64,
    /// Whether messages take up to three times as long, so that they overtake each other.
    pub(super) shuffled: bool,
    /// Nodes whose failure is noticed by nobody but by its silence.
    pub(super) unnoticed: bool,
}

impl World {
    pub(super) fn new(count: usize) -> World {
        let mut world = World {
            group: Id::hash(b"group"),
            nodes: BTreeMap::new(),
            watches: BTreeSet::new(),
            queue: BTreeMap::new(),
            now: Duration::ZERO,
            count: 0,
            drawn: 0,
            twice: 0,
            shuffled: false,
            unnoticed: false,
        };
        for number in 0..count {
            world.add(&format!("node {number}"));
        }
        world
    }

    /// A node of this name joins the ring: the next one loses what it has of its keys.
    pub(super) fn add(&mut self, name: &str) -> NodeId {
        let id = node_id(name);
        let mut node = Node::<App>::new(name);
        node.state.now = self.now;
        let next = self.nodes.range(id..).chain(self.nodes.range(..id)).next().map(|(id, _)| *id);
        self.nodes.insert(id, node);
        self.settle_ring();
        if let Some(next) = next.filter(|next| *next != id) {
            let range = self.range(id);
            // Records of the group move with it.
            let records = self.nodes[&next].state.clone();
            self.nodes.get_mut(&id).expect("it is new").state.copy_records(&records);
            self.push(Duration::from_millis(20), Event::Changed { at: next, change: Change::Lost(range) });
            self.push(Duration::ZERO, Event::Changed { at: id, change: Change::Gained(range) });
        }
        id
    }

    /// A node dies. Whoever watched it is told after a second.
    pub(super) fn kill(&mut self, id: NodeId) {
        let records = self.nodes.remove(&id).expect("it is there").state;
        let next = self.nodes.range(id..).chain(self.nodes.range(..)).next().map(|(id, _)| *id).expect("not the last");
        self.nodes.get_mut(&next).expect("it is there").state.copy_records(&records);
        self.settle_ring();
        let range = self.range(next);
        self.push(Duration::from_secs(2), Event::Changed { at: next, change: Change::Gained(range) });
        let watchers = self.watches.iter().filter(|(_, of)| *of == id).map(|(who, _)| *who);
        let watchers: Vec<NodeId> = watchers.filter(|_| !self.unnoticed).collect();
        for at in watchers {
            self.push(Duration::from_secs(1), Event::Changed { at, change: Change::WatchedDown(id) });
        }
    }

    fn settle_ring(&mut self) {
        let all: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        for (id, node) in &mut self.nodes {
            node.state.others = all.iter().copied().filter(|other| other != id).collect();
            let link = |other: &NodeId| (*other, 2 * latency(*id, *other).as_micros() as u32);
            node.state.round_trips = node.state.others.iter().map(link).collect();
        }
    }

    fn range(&self, id: NodeId) -> KeyRange {
        let before = self.nodes.range(..id).next_back().or(self.nodes.last_key_value()).map(|(id, _)| *id);
        KeyRange { after: before.expect("there are nodes"), upto: id }
    }

    pub(super) fn root(&self) -> NodeId {
        let (root, _) = self.nodes.range(self.group..).chain(self.nodes.range(..)).next().expect("there are nodes");
        *root
    }

    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        self.drawn += 1;
        Id::hash(&self.drawn.to_be_bytes()).high % bound.max(1)
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), event);
    }

    pub(super) fn act<T>(&mut self, at: NodeId, act: impl FnOnce(&mut Tree<Notes>) -> T) -> T {
        let now = self.now;
        let node = self.nodes.get_mut(&at).expect("it is there");
        node.state.now = now;
        let result = node.act(|app| act(&mut app.tree));
        self.collect(at);
        result
    }

    pub(super) fn tree(&self, at: NodeId) -> &Tree<Notes> {
        &self.nodes[&at].peerlet.tree
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn join_all(&mut self) {
        let group = self.group;
        for id in self.ids() {
            self.act(id, |tree| tree.join(group, b"")).expect("there is room");
        }
        self.run(20);
    }

    pub(super) fn publish(&mut self, at: NodeId, data: &[u8]) -> u64 {
        let group = self.group;
        self.act(at, |tree| tree.multicast(group, b"", data)).expect("there is room")
    }

    /// How often each node has heard this, of those that are members.
    pub(super) fn heard(&self, data: &[u8]) -> Vec<usize> {
        let members = self.nodes.values().filter(|node| node.peerlet.tree.is_member(self.group));
        members.map(|node| node.peerlet.tree.app.heard.iter().filter(|heard| *heard == data).count()).collect()
    }

    /// Lets so many seconds pass.
    pub(super) fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let timer = self.nodes.iter().filter_map(|(id, node)| Some((node.state.next_timer()?, *id))).min();
            let message = self.queue.keys().next().map(|(at, _)| *at);
            match (timer, message) {
                (Some((at, id)), _) if at <= end && message.is_none_or(|message| at < message) => {
                    self.now = self.now.max(at);
                    let node = self.nodes.get_mut(&id).expect("it is there");
                    node.state.now = at;
                    node.run(Duration::ZERO);
                    self.collect(id);
                }
                (_, Some(at)) if at <= end => {
                    self.now = at;
                    let (_, event) = self.queue.pop_first().expect("there is one");
                    self.happen(event);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { at, message } => self.arrive(at, message),
            Event::Failed { at, message, reason } => {
                if let Some(node) = self.nodes.get_mut(&at) {
                    node.state.now = self.now;
                    node.failed(message, reason);
                    self.collect(at);
                }
            }
            Event::Changed { at, change } => {
                if let Some(node) = self.nodes.get_mut(&at) {
                    node.state.now = self.now;
                    node.update(change);
                    self.collect(at);
                }
            }
        }
    }

    fn arrive(&mut self, at: NodeId, message: Message) {
        let Some(node) = self.nodes.get_mut(&at) else {
            let (origin, id) = (message.origin, message.id);
            match message.key {
                // Routing goes another way.
                Some(_) if self.nodes.contains_key(&message.previous) => {
                    let previous = message.previous;
                    self.go_on(previous, message);
                }
                _ => {
                    let reason = Failure::Unreachable;
                    self.push(Duration::from_millis(500), Event::Failed { at: origin, message: id, reason });
                }
            }
            return;
        };
        node.state.now = self.now;
        match message.key {
            Some(_) => self.go_on(at, message),
            None => {
                node.deliver_message(message).expect("handled");
                self.collect(at);
            }
        }
    }

    /// A routed message is at a node: it is delivered there or goes on.
    fn go_on(&mut self, at: NodeId, mut message: Message) {
        let key = message.key.expect("it is routed");
        let next = self.next_hop(at, key);
        let now = self.now;
        let node = self.nodes.get_mut(&at).expect("it is there");
        node.state.now = now;
        match next {
            None => {
                node.deliver_message(message).expect("handled");
                self.collect(at);
            }
            Some(next) => {
                let verdict = if message.dispatch == Dispatch::PerHop {
                    let verdict = node.forward(message.clone(), next);
                    self.collect(at);
                    verdict
                } else {
                    Verdict::Pass
                };
                if verdict == Verdict::Pass {
                    message.previous = at;
                    message.hops += 1;
                    self.send(at, next, message);
                }
            }
        }
    }

    /// The owner where it is a neighbour, else the link that ends nearest to the key.
    fn next_hop(&self, at: NodeId, key: Key) -> Option<NodeId> {
        let owner = *self.nodes.range(key..).chain(self.nodes.range(..)).next().expect("there are nodes").0;
        if owner == at {
            return None;
        }
        let ids: Vec<NodeId> = self.ids();
        let place = ids.iter().position(|id| *id == at).expect("it is there");
        let away = |steps: usize| ids[(place + steps) % ids.len()];
        let near: Vec<NodeId> =
            (1..=NEAR).flat_map(|steps| [away(steps), away(ids.len() - steps % ids.len())]).collect();
        if near.contains(&owner) {
            return Some(owner);
        }
        let far = (0..).map(|power| 1usize << power).take_while(|steps| *steps < ids.len()).map(away);
        let round = |id: NodeId| key.distance_to(id).min(id.distance_to(key));
        near.iter().copied().chain(far).min_by_key(|id| round(*id))
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let mut time = latency(from, to);
        if self.shuffled {
            time += time * self.draw(200) as u32 / 100;
        }
        if self.draw(100) < self.twice {
            let again = time + Duration::from_millis(self.draw(500));
            self.push(again, Event::Arrive { at: to, message: message.clone() });
        }
        self.push(time, Event::Arrive { at: to, message });
    }

    /// After an event at a node: what it has asked for is done. A cycle could only be through that node.
    fn collect(&mut self, at: NodeId) {
        self.assert_acyclic(at);
        let effects = self.nodes.get_mut(&at).expect("it is there").effects();
        for effect in effects {
            match effect {
                Effect::Send { id, to, payload } => {
                    let dispatch = Dispatch::EndNode;
                    let message = Message { id, key: None, dispatch, origin: at, previous: at, hops: 1, payload };
                    self.send(at, to, message);
                }
                Effect::Route { id, key, payload, dispatch, .. } => {
                    let message = Message { id, key: Some(key), dispatch, origin: at, previous: at, hops: 0, payload };
                    self.push(Duration::ZERO, Event::Arrive { at, message });
                }
                Effect::Watch(node) => drop(self.watches.insert((at, node))),
                Effect::Unwatch(node) => drop(self.watches.remove(&(at, node))),
                Effect::Respond { .. } | Effect::Push { .. } | Effect::Log { .. } => {}
            }
        }
    }

    fn assert_acyclic(&self, at: NodeId) {
        let parent = |of: NodeId| self.nodes.get(&of).and_then(|node| node.peerlet.tree.parent(self.group));
        let mut way = vec![at];
        while let Some(parent) = way.last().copied().and_then(parent) {
            assert!(!way.contains(&parent), "a cycle: {way:?}");
            way.push(parent);
        }
    }

    /// What holds once all is quiet: one root, every member below it, parents and children agree, nobody is there in vain.
    pub(super) fn assert_whole(&self) {
        let (group, root) = (self.group, self.root());
        for (id, node) in &self.nodes {
            let tree = &node.peerlet.tree;
            assert_eq!(tree.is_root(group) && !tree.groups().is_empty(), *id == root && !tree.groups().is_empty());
            if tree.groups().is_empty() {
                continue;
            }
            assert!(tree.is_member(group) || !tree.children(group).is_empty(), "{} is there in vain", id.short());
            assert!(tree.children(group).len() <= tree.settings().children.max(2));
            for child in tree.children(group) {
                let parent = self.nodes.get(&child).and_then(|child| child.peerlet.tree.parent(group));
                assert_eq!(parent, Some(*id), "a child of {} has another parent", id.short());
            }
            match tree.parent(group) {
                Some(parent) => assert!(self.tree(parent).children(group).contains(id), "{} is no child", id.short()),
                None => assert_eq!(*id, root, "{} has no parent", id.short()),
            }
            let mut way = Vec::new();
            let mut at = *id;
            while let Some(parent) = self.tree(at).parent(group) {
                way.insert(0, parent);
                at = parent;
            }
            assert_eq!((at, tree.path(group)), (root, way), "the way of {}", id.short());
        }
    }
}

/// From 5 to 105 milliseconds, the same both ways.
fn latency(one: NodeId, other: NodeId) -> Duration {
    let (low, high) = (one.min(other), one.max(other));
    let drawn = Id::hash(&[low.to_bytes(), high.to_bytes()].concat()).high % 100;
    Duration::from_millis(5 + drawn)
}
