//! Plays a plan: what all of its stages have in common.

use core::time::Duration;
use std::fs::File;
use std::io::BufWriter;
use std::sync::Arc;

use prost_kbr::{Config, Key, NodeId, Time};

use super::byzantine::Liars;
use super::crowd::Crowd;
use super::cut::Fabric;
use super::error::Error;
use super::events::{Agenda, Due};
use super::heal::Heal;
use super::options::Options;
use super::peerlet::Running;
use super::plan::{Churn, Plan};
use super::watch::Watch;
use super::workload::Peerlet;
use super::{Outcome, Progress};
use crate::latency::{self, Latency};
use crate::measure::{History, Lookups, Tally, TrafficMeter};
use crate::network::Network;
use crate::random::Random;
use crate::report::Mark;
use crate::world::{Act, Index, Seen, World, WorldConfig};

/// Ways into the ring that a newcomer knows.
const KNOWN: usize = 3;
/// Events after which progress is told at the latest.
const TELL_EVENTS: u64 = 10_000;
/// What the seed of the driver's choices differs by from that of the world.
const DRIVER: u64 = 0x6472_6976_6572;

/// A run under way.
pub(super) struct Driver<'a> {
    pub(super) options: &'a Options,
    pub(super) plan: Plan,
    pub(super) routing: Config,
    pub(super) latency: Arc<dyn Latency>,
    pub(super) world: World,
    pub(super) random: Random,
    pub(super) agenda: Agenda,
    pub(super) crowd: Crowd,
    pub(super) fabric: Fabric,
    pub(super) history: History,
    pub(super) lookups: Lookups,
    pub(super) traffic: TrafficMeter,
    pub(super) connections: Tally,
    /// When connections were last counted.
    pub(super) sampled: Time,
    pub(super) marks: Vec<Mark>,
    pub(super) heal: Option<Heal>,
    pub(super) churn: Option<Churn>,
    /// The nodes that lie.
    pub(super) liars: Liars,
    pub(super) asking: super::asking::Asking,
    /// The application on the ring.
    pub(super) peerlet: Option<Box<Running>>,
    /// Whether what happens now counts.
    pub(super) measured: bool,
    /// Messages that each node had handled when the measurement began.
    pub(super) handled: Vec<u64>,
    pub(super) watch: &'a mut dyn Watch,
    pub(super) progress: &'a mut dyn FnMut(Progress),
    pub(super) label: &'static str,
    /// When the run ends, as far as can be told.
    pub(super) ends: Time,
    told: u64,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        options: &'a Options,
        plan: Plan,
        peerlet: Option<Peerlet>,
        watch: &'a mut dyn Watch,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Result<Driver<'a>, Error> {
        let latency = latency::parse(&options.latency, options.seed)?;
        let routing = routing(options);
        let network = Network { loss: options.loss, jitter: options.jitter, ..Network::default() };
        let mut world = World::new(WorldConfig {
            seed: options.seed,
            routing: routing.clone(),
            latency: Arc::clone(&latency),
            network: network.clone(),
            remember: if options.rules { 20 } else { 0 },
        });
        if let Some(path) = &options.trace {
            let file = File::create(path).map_err(|source| Error::File { path: path.clone(), source })?;
            world.trace_to(Box::new(BufWriter::new(file)));
        }
        let mut running = None;
        if let Some(peerlet) = peerlet {
            let (peerlet, applications) = Running::new(peerlet, options.seed)?;
            world.host_apps(applications);
            running = Some(Box::new(peerlet));
        }
        Ok(Driver {
            options,
            latency,
            random: Random::new(options.seed ^ DRIVER),
            agenda: Agenda::default(),
            crowd: Crowd::default(),
            fabric: Fabric::new(network, options.unreachable_pairs),
            // A lookup ends at its deadline, and the world learns of it at once.
            history: History::new(plan.parts(), routing.deadline + Duration::from_secs(5)),
            lookups: Lookups::default(),
            traffic: TrafficMeter::default(),
            connections: Tally::default(),
            sampled: Time::ZERO,
            marks: Vec::new(),
            heal: None,
            churn: None,
            liars: Liars::default(),
            asking: super::asking::Asking::default(),
            peerlet: running,
            measured: false,
            handled: Vec::new(),
            watch,
            progress,
            label: "grow",
            ends: world.now(),
            told: 0,
            plan,
            routing,
            world,
        })
    }

    pub(super) fn run(mut self) -> Result<Outcome, Error> {
        self.watch.begin(&mut self.world);
        self.estimate_end();
        self.grow()?;
        self.rest();
        self.install()?;
        self.start_workload(self.plan.time());
        for phase in std::mem::take(&mut self.plan.phases) {
            self.play_phase(&phase);
        }
        self.finish();
        Ok(self.outcome())
    }

    /// Goes on to this time, doing what is due on the way.
    pub(super) fn play(&mut self, until: Time) {
        while let Some((at, due)) = self.agenda.next(until) {
            self.advance(at);
            match due {
                Due::End(node) => self.end_session(node),
                Due::Start(node) => self.start(node),
                Due::Ask => self.ask_next(),
                Due::Look => self.look(),
                Due::Message => self.send_next(),
                Due::Call => self.call_next(),
            }
        }
        self.advance(until);
    }

    fn advance(&mut self, until: Time) {
        while self.world.step(until) {
            self.observe();
            if self.world.events() >= self.told + TELL_EVENTS {
                self.tell();
            }
        }
    }

    /// Does something to the world.
    pub(super) fn act(&mut self, act: Act) {
        self.world.act(act);
        self.observe();
    }

    /// Takes note of what the last event has changed.
    fn observe(&mut self) {
        let changed = self.world.changed();
        changed.iter().for_each(|node| self.refresh(*node));
        for seen in self.world.seen() {
            if let Seen::LookedUp { node, request, outcome } = seen {
                let lives = self.crowd.members.contains(node);
                self.lookups.ended(self.world.now(), request, &outcome, lives, &self.history);
            } else {
                self.on_seen(seen);
            }
        }
        self.watch.after_event(&self.world, &changed);
    }

    /// Takes note of whether a node lives and is a member.
    pub(super) fn refresh(&mut self, node: Index) {
        let (now, id) = (self.world.now(), self.world.peer(node).id);
        let live = self.world.is_alive(node);
        // Whoever sees all does not count on those who lie, and asks none of them.
        let member =
            live && !self.liars.contains(node) && self.world.node(node).is_some_and(|machine| machine.view().joined);
        if member && !self.crowd.members.contains(node) {
            let part = (self.fabric.parts() > 1).then(|| self.fabric.part(node));
            self.history.join(now, id, node, part);
        } else if !member && self.crowd.members.contains(node) {
            self.history.leave(now, id);
        }
        if !live {
            self.forget_runner(node);
        }
        self.crowd.set(now, node, live, member);
    }

    /// Starts a node that has a number already, through members that it can reach.
    pub(super) fn start(&mut self, node: Index) {
        let (fabric, part) = (&self.fabric, self.fabric.part(node));
        let reachable = |other: Index| other != node && fabric.part(other) == part;
        let known = self.crowd.members.pick_some(KNOWN, &mut self.random, reachable);
        self.act(Act::Start { node, known });
        self.refresh(node);
    }

    /// A node that has not been there before, in its place in the network.
    pub(super) fn newcomer(&mut self) -> Index {
        self.newcomer_with(None)
    }

    /// The same with an id of its own choice.
    pub(super) fn newcomer_with(&mut self, id: Option<NodeId>) -> Index {
        let node = match id {
            Some(id) => self.world.spawn_with(id),
            None => self.world.spawn(),
        };
        if self.fabric.admit(node, self.crowd.live.nodes(), &mut self.random) {
            self.renew_network();
        }
        node
    }

    /// Tells the world how the network is now.
    pub(super) fn renew_network(&mut self) {
        self.act(Act::Network(Box::new(self.fabric.network().clone())));
    }

    pub(super) fn crash(&mut self, node: Index) {
        self.act(Act::Crash { node });
        self.refresh(node);
    }

    pub(super) fn leave(&mut self, node: Index) {
        self.act(Act::Leave { node });
        self.refresh(node);
    }

    pub(super) fn key(&mut self) -> Key {
        let mut bytes = [0; Key::LEN];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.random.number().to_be_bytes()[..chunk.len()]);
        }
        Key::from_bytes(bytes)
    }

    pub(super) fn mark(&mut self, text: String) {
        self.marks.push(Mark { at_s: seconds(self.world.now()), text });
    }

    /// Says how far the run has come.
    pub(super) fn tell(&mut self) {
        self.told = self.world.events();
        let now = self.world.now();
        (self.progress)(Progress {
            virtual_s: seconds(now),
            of_s: seconds(self.ends.max(now)),
            events: self.told,
            phase: self.label,
            nodes_alive: self.crowd.live.len() as u32,
        });
    }
}

pub(super) fn seconds(time: Time) -> f64 {
    time.as_micros() as f64 / 1e6
}

/// The settings of each node's routing layer.
pub(super) fn routing(options: &Options) -> Config {
    let default = Config::default();
    Config {
        successors: options.successors,
        predecessors: options.successors,
        fall_over: default.fall_over.min(options.successors),
        connections: options.connections.unwrap_or(default.connections),
        ..default
    }
}
