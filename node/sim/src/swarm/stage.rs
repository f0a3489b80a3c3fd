//! A world with its judge, and someone who asks lookups.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost_kbr::{Config, Id, Key, RingState, Time};
use prost_manager::Search;

use super::conditions::{Conditions, Effect};
use super::{FaultId, Options, Spread};
use crate::random::Random;
use crate::rule::{Broken, Judge, Limits};
use crate::world::Act;
use crate::{Index, World, WorldConfig};

/// A node's inputs that are kept for the report of a broken rule.
const REMEMBER: usize = 24;

/// A run's world, and what is known of it outside of it.
pub(super) struct Stage {
    pub(super) options: Options,
    pub(super) world: World,
    pub(super) judge: Judge,
    pub(super) random: Random,
    /// Whom each process knew when it started.
    pub(super) known: BTreeMap<Index, Vec<Index>>,
    /// Processes that died, or left, and could start again.
    pub(super) dead: Vec<Index>,
    /// Nodes whose clock runs wrong.
    pub(super) drifting: BTreeSet<Index>,
    /// Nodes that are slow.
    pub(super) slow: BTreeSet<Index>,
    /// Dead processes that start again, and clones that die, and when.
    pub(super) returning: BTreeSet<(Time, Index)>,
    pub(super) strikes: BTreeMap<FaultId, u64>,
    /// Events after which the run is given up as one that does not end.
    pub(super) most_events: u64,
    conditions: Conditions,
    next_lookup: Option<Time>,
    requests: u64,
}

impl Stage {
    pub(super) fn new(options: Options, routing: Config) -> Stage {
        let (least, most) = (options.rtt_least_ms, options.rtt_most_ms);
        let latency = Spread::new(options.seed, Duration::from_millis(least), Duration::from_millis(most));
        let conditions = Conditions::new(f64::from(options.jitter_pm) / 1000.0);
        let judge = Judge::new(Limits::from(&routing));
        let config = WorldConfig {
            seed: options.seed,
            routing,
            latency: Arc::new(latency),
            network: conditions.network(),
            remember: REMEMBER,
        };
        let mut world = World::new(config);
        world.observe(judge.observer());
        Stage {
            world,
            judge,
            // Another sequence than the one that the options were drawn from.
            random: Random::new(options.seed ^ 0x5357_4152_4d00_0001),
            known: BTreeMap::new(),
            dead: Vec::new(),
            drifting: BTreeSet::new(),
            slow: BTreeSet::new(),
            returning: BTreeSet::new(),
            strikes: BTreeMap::new(),
            most_events: u64::MAX,
            conditions,
            next_lookup: None,
            requests: 0,
            options,
        }
    }

    pub(super) fn now(&self) -> Time {
        self.world.now()
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.judge.broken().is_empty()
    }

    /// Lets time pass, with the judge looking on. Stops early where a rule is broken.
    pub(super) fn advance(&mut self, until: Time) {
        while self.now() < until && !self.is_broken() {
            let next = self.next_lookup.unwrap_or(until).min(until);
            while self.world.step(next) {
                self.look();
                if self.world.events() > self.most_events {
                    let text = format!("{} events, and no end", self.most_events);
                    self.judge.report("H1 bounded work", Broken::somewhere(self.now(), text));
                }
                if self.is_broken() {
                    return;
                }
            }
            self.look();
            if self.next_lookup.is_some_and(|at| at <= self.now()) {
                self.ask_someone();
                let mean = Duration::from_millis(self.options.lookup_every_ms);
                self.next_lookup = Some(self.now() + self.random.exponential(mean) + Duration::from_millis(1));
            }
        }
    }

    /// Lets the judge see what has happened.
    pub(super) fn look(&mut self) {
        let (changed, seen) = (self.world.changed(), self.world.seen());
        self.judge.look(&self.world, &changed, &seen);
    }

    /// Does something to the world, and looks at what it has done.
    pub(super) fn act(&mut self, act: Act) {
        self.world.act(act);
        self.look();
    }

    /// Lookups from now on, by random members for random keys; or none any more.
    pub(super) fn lookups(&mut self, on: bool) {
        self.next_lookup = on.then(|| self.now());
    }

    fn ask_someone(&mut self) {
        let members = self.members();
        let Some(node) = self.random.pick(&members).copied() else { return };
        let key = self.key();
        self.ask(node, key);
    }

    pub(super) fn ask(&mut self, node: Index, key: Key) {
        self.requests += 1;
        let request = self.requests;
        self.judge.asked(self.now(), request, node, key);
        self.act(Act::Lookup { node, request, key, search: Search::Owner });
    }

    pub(super) fn key(&mut self) -> Key {
        let mut bytes = [0; Id::LEN];
        bytes.fill_with(|| self.random.number() as u8);
        Id::from_bytes(bytes)
    }

    /// The id of some member.
    pub(super) fn some_id(&mut self) -> Id {
        let ids: Vec<Id> = self.judge.picture().members().keys().copied().collect();
        self.random.pick(&ids).copied().unwrap_or_default()
    }

    /// Nodes whose process runs, without clones.
    pub(super) fn live(&self) -> Vec<Index> {
        (0..self.world.count()).filter(|node| self.world.is_alive(*node) && !self.world.is_clone(*node)).collect()
    }

    /// Live nodes that are in a ring, in the order of the ring.
    pub(super) fn members(&self) -> Vec<Index> {
        let is_in = |node: &Index| matches!(self.world.state(*node), Some(RingState::Bootstrap | RingState::Member));
        self.judge.picture().members().values().copied().filter(is_in).collect()
    }

    pub(super) fn begin(&mut self, id: FaultId, effect: Effect) {
        self.conditions.begin(id, effect);
        self.network();
    }

    pub(super) fn end(&mut self, id: FaultId) {
        self.conditions.end(id);
        self.network();
    }

    /// The network is as it should be again.
    pub(super) fn calm(&mut self) {
        self.conditions.clear();
        self.network();
    }

    fn network(&mut self) {
        let network = self.conditions.network();
        self.act(Act::Network(Box::new(network)));
    }

    pub(super) fn struck(&mut self, id: FaultId) {
        *self.strikes.entry(id).or_default() += 1;
    }
}
