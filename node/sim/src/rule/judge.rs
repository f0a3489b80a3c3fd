//! Looks at the world after every event, and asks the rules.

use core::time::Duration;
use std::sync::Arc;

use prost_kbr::{Key, Message, NodeId, RingView, Time};

use super::coming::{Coming, Mail};
use super::{Asked, Assumption, Broken, Ended, Limits, Lookups, Moment, Picture, Reason, Rule, Seat, Tally, Trails};
use crate::world::Seen;
use crate::{Index, World};

/// How often everything is looked at, not only what has changed.
const ROUND: Duration = Duration::from_secs(1);

/// Whoever watches frames: when, from, to, and the frame.
pub type Observer = Box<dyn FnMut(Time, Index, Index, &Message) + Send>;

/// How long the members' lists have to be ideal before the operating assumption holds again: frames that were sent
/// before, and lists that are asked for no more often than this, still tell of older states.
pub const SETTLED: Duration = Duration::from_secs(15);

/// Checks rules as a world goes on. Each rule speaks up once.
pub struct Judge {
    limits: Limits,
    rules: Vec<Option<Box<dyn Rule>>>,
    trails: Trails,
    mail: Mail,
    coming: Coming,
    /// The lists that nodes will have once what is under way has arrived; looked for only where a member is lost.
    lists: Vec<(Index, Vec<NodeId>)>,
    picture: Picture,
    assumption: Assumption,
    lookups: Lookups,
    ideal_by: Option<Time>,
    calm_since: Option<Time>,
    /// Since when the members' lists have been as they should be, where the assumption does not hold.
    ideal_since: Option<Time>,
    /// Whether two processes have one id.
    cloned: bool,
    looked: Time,
    round: Time,
    /// What each node was like when it was looked at last.
    glances: Vec<Option<Glance>>,
    tally: Tally,
    broken: Vec<Broken>,
}

/// Enough of a node to tell whether another look at it could show anything new.
struct Glance {
    view: Arc<RingView>,
    connections: usize,
    declared_dead: u64,
}

impl Judge {
    /// With every rule.
    pub fn new(limits: Limits) -> Judge {
        let trails = Trails::new(limits.max_hops);
        let rules = super::rules(&limits, trails.clone());
        Judge::with(limits, rules, trails)
    }

    /// With these rules.
    pub fn with(limits: Limits, rules: Vec<Box<dyn Rule>>, trails: Trails) -> Judge {
        Judge {
            limits,
            rules: rules.into_iter().map(Some).collect(),
            trails,
            mail: Mail::default(),
            coming: Coming::default(),
            lists: Vec::new(),
            picture: Picture::default(),
            assumption: Assumption::default(),
            lookups: Lookups::default(),
            ideal_by: None,
            calm_since: None,
            ideal_since: None,
            cloned: false,
            looked: Time::ZERO,
            round: Time::ZERO,
            glances: Vec::new(),
            tally: Tally::default(),
            broken: Vec::new(),
        }
    }

    /// What the world has to call for every frame.
    pub fn observer(&self) -> Observer {
        let (trails, mail) = (self.trails.clone(), self.mail.clone());
        Box::new(move |now, from, to, message| {
            mail.observe(from, to, message);
            trails.observe(now, from, to, message);
        })
    }

    /// A lookup is about to be asked. Numbers are never used twice.
    pub fn asked(&mut self, now: Time, request: u64, node: Index, key: Key) {
        self.tally.asked += 1;
        self.lookups.ask(now, self.limits.deadline, &self.picture, (request, node, key));
    }

    /// A node stands still or is slow until then, so that its lookups may end late.
    pub fn excuse(&mut self, node: Index, until: Time) {
        self.lookups.excuse(node, until);
    }

    /// From then on the ring has to be ideal; none lifts the demand.
    pub fn demand_ideal(&mut self, by: Option<Time>) {
        self.ideal_by = by;
    }

    /// No fault disturbs the network or any process from now on; or one does.
    pub fn calm(&mut self, calm: bool) {
        self.calm_since = calm.then(|| self.calm_since.unwrap_or(self.looked));
    }

    /// Looks at what has happened since the last look.
    pub fn look(&mut self, world: &World, changed: &[Index], seen: &[Seen]) {
        let now = world.now();
        let round = now >= self.round;
        if changed.is_empty() && seen.is_empty() && !round {
            self.coming.note(world, &self.mail, &self.picture);
            return;
        }
        let all: Vec<Index>;
        let looked = if round {
            self.round = now + ROUND;
            let news = |node: &Index| changed.binary_search(node).is_ok() || self.is_news(world, *node);
            all = (0..world.count()).filter(news).collect();
            &all
        } else {
            changed
        };
        self.cloned = world.has_clones();
        self.glances.resize_with(world.count() as usize, || None);
        for node in looked {
            self.glances[*node as usize] = glance(world, *node);
        }
        let seats: Vec<_> = looked.iter().map(|node| (*node, seat(world, *node))).collect();
        let is_member = |seat: Option<&Seat>| seat.is_some_and(|seat| seat.joined);
        let lost = seats.iter().any(|(node, seat)| is_member(self.picture.seat(*node)) && !is_member(seat.as_ref()));
        self.lists = if lost { self.coming(world) } else { Vec::new() };
        let before = self.broken.len();
        self.update(now, seats, seen);
        if round && self.assumption.holds() && self.are_apart(world) {
            self.fail(Reason::Apart);
        }
        self.coming.note(world, &self.mail, &self.picture);
        for broken in &mut self.broken[before..] {
            broken.recent = broken.node.map(|node| world.recent(node)).unwrap_or_default();
        }
    }

    /// Whether two members that stand side by side cannot reach each other.
    fn are_apart(&self, world: &World) -> bool {
        let network = world.network();
        let members: Vec<Index> = self.picture.members().values().copied().collect();
        let after = members.iter().skip(1).chain(members.first());
        let mut pairs = members.iter().zip(after).filter(|(a, b)| a != b);
        !network.cut.is_empty() && pairs.any(|(a, b)| !network.passes(*a, *b) || !network.passes(*b, *a))
    }

    /// Whether a node may have changed since it was looked at last.
    fn is_news(&self, world: &World, node: Index) -> bool {
        let (seat, before) = (self.picture.seat(node), self.glances.get(node as usize).and_then(Option::as_ref));
        let (Some(seat), Some(before), Some(now)) = (seat, before, glance(world, node)) else {
            return world.is_alive(node) || seat.is_some();
        };
        let same = Arc::ptr_eq(&before.view, &now.view)
            && (before.connections, before.declared_dead) == (now.connections, now.declared_dead);
        !same || !seat.unmet.is_empty()
    }

    /// Takes in what some nodes are like now, and what was seen, and asks the rules.
    pub fn update(&mut self, now: Time, seats: Vec<(Index, Option<Seat>)>, seen: &[Seen]) {
        let held = now.since(self.looked).as_micros() as u64;
        self.tally.held_us += if self.assumption.holds() { held } else { 0 };
        self.looked = now;
        // First what has ended: a node that leaves ends its lookups, and is gone at the same instant.
        let ended = self.ended(seen);
        let changed: Vec<Index> = seats.iter().map(|(node, _)| *node).collect();
        let (mut lost, mut false_death) = (false, None);
        let members = self.picture.members().len();
        let mut moved = false;
        for (node, seat) in seats {
            if seat.is_none() {
                self.tally.orphaned += self.lookups.orphan(node);
            }
            let change = self.picture.set(now, node, seat);
            moved |= change.joined.is_some() || change.lost.is_some();
            lost |= change.lost.is_some();
            false_death = false_death.or(change.false_death.map(|dead| (node, dead)));
            self.tally.false_deaths += u64::from(change.false_death.is_some());
        }
        if moved || members != self.picture.members().len() {
            self.lookups.members_changed(&self.picture);
        }
        self.reconsider(now, lost, false_death.is_some());
        self.ask_rules(now, &changed, false_death, &ended);
    }

    /// Whether the operating assumption still holds, or holds again.
    fn reconsider(&mut self, now: Time, lost: bool, false_death: bool) {
        let Limits { successors, predecessors, .. } = self.limits;
        if self.cloned {
            self.fail(Reason::Clone);
        } else if false_death {
            self.fail(Reason::FalseDeath);
        } else if lost && !self.picture.is_sound(successors, &self.lists) {
            self.fail(Reason::Failures);
        } else if !self.assumption.holds() {
            let large = self.picture.members().len() > successors;
            let ideal = large && self.picture.members_are_ideal(successors, predecessors);
            let since = self.ideal_since.filter(|_| ideal).unwrap_or(now);
            self.ideal_since = ideal.then_some(since);
            if ideal && now.since(since) >= SETTLED {
                self.assumption.restore(now);
            }
        }
    }

    fn fail(&mut self, reason: Reason) {
        self.ideal_since = None;
        if self.assumption.holds() {
            *self.tally.breaks.entry(reason).or_default() += 1;
        }
        self.assumption.fail(reason);
    }

    fn ended(&mut self, seen: &[Seen]) -> Vec<Ended> {
        let mut ended = Vec::new();
        for seen in seen {
            let Seen::LookedUp { request, outcome, .. } = seen else { continue };
            let Some((asked, again)) = self.lookups.end(*request) else { continue };
            if !again {
                self.count(&asked, outcome.result.as_ref().ok().map(|peer| peer.id));
            }
            ended.push(Ended { asked, outcome: outcome.clone(), again });
        }
        ended
    }

    fn count(&mut self, asked: &Asked, named: Option<NodeId>) {
        match named {
            Some(named) => {
                self.tally.answered += 1;
                self.tally.correct += u64::from(asked.owners.contains(&named));
            }
            None => self.tally.failed += 1,
        }
    }

    fn ask_rules(&mut self, now: Time, changed: &[Index], false_death: Option<(Index, NodeId)>, ended: &[Ended]) {
        let overdue = self.lookups.overdue(now);
        let Judge { picture, assumption, ideal_by, calm_since, lookups, .. } = self;
        let (picture, assumption, ideal_by, calm_since) = (&*picture, &*assumption, *ideal_by, *calm_since);
        let (overdue, excused) = (&overdue, lookups.excused());
        let moment =
            Moment { now, picture, changed, assumption, false_death, ended, overdue, ideal_by, calm_since, excused };
        for slot in &mut self.rules {
            let Some(rule) = slot else { continue };
            if let Err(broken) = rule.check(&moment) {
                self.broken.push(Broken { rule: rule.name().to_owned(), ..broken });
                *slot = None;
            }
        }
    }

    /// The driver has found a rule broken by its own means.
    pub fn report(&mut self, rule: &str, broken: Broken) {
        self.broken.push(Broken { rule: rule.to_owned(), ..broken });
    }

    /// What it has seen last.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Whether the operating assumption holds.
    pub fn assumption(&self) -> &Assumption {
        &self.assumption
    }

    /// Whether these processes could die at once without breaking the operating assumption, where nodes will soon have these
    /// lists.
    pub fn may_lose(&self, nodes: &[Index], coming: &[(Index, Vec<NodeId>)]) -> bool {
        self.picture.without(nodes).is_sound(self.limits.successors, coming)
    }

    /// The successor lists that nodes will have once the answers that are under way to them have arrived.
    pub fn coming(&mut self, world: &World) -> Vec<(Index, Vec<NodeId>)> {
        self.coming.lists(world, &self.picture, self.limits.successors)
    }

    /// Whether all live processes are one ideal ring.
    pub fn is_ideal(&self) -> bool {
        self.picture.flaws(self.limits.successors, self.limits.predecessors).is_empty()
    }

    /// Lookups that have not ended.
    pub fn open_lookups(&self) -> usize {
        self.lookups.open()
    }

    /// What it has counted.
    pub fn tally(&self) -> Tally {
        Tally { most_visits: self.trails.most_visits(), most_sent: self.trails.most_sent(), ..self.tally.clone() }
    }

    /// Every rule that was broken, in order of time.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }
}

/// A glance at a node; none where its process does not run.
fn glance(world: &World, index: Index) -> Option<Glance> {
    let node = world.node(index)?;
    let (view, declared_dead) = (node.view(), node.ring().stats().declared_dead);
    Some(Glance { view, connections: world.connections(index), declared_dead })
}

/// What a node is like now; none where its process does not run.
fn seat(world: &World, index: Index) -> Option<Seat> {
    // The process that had the key first stands for a clone of it.
    let node = world.node(index).filter(|_| world.is_alive(index) && !world.is_clone(index))?;
    let view = node.view();
    let ids = |peers: &[prost_kbr::Peer]| peers.iter().map(|peer| peer.id).collect::<Vec<NodeId>>();
    let (successors, predecessors, fingers) = (ids(&view.successors), ids(&view.predecessors), ids(&view.fingers));
    let routed = successors.first().into_iter().chain(predecessors.first()).chain(&fingers);
    let met = |id: &NodeId| world.index(*id).is_some_and(|other| world.has_met(index, other));
    let unmet = routed.copied().filter(|id| !met(id)).collect();
    Some(Seat {
        id: view.me.id,
        joined: view.joined,
        unmet,
        successors,
        predecessors,
        fingers,
        connections: world.connections(index),
        declared_dead: node.ring().stats().declared_dead,
        lost: node.ring().lost().collect(),
    })
}
