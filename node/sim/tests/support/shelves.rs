//! A ring with records at its keys, what these should say, and what can happen to them.

#![allow(dead_code, reason = "each test binary uses another part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Place, Point};
use prost_kbr::{AppId, Id, Key, NodeId};
use prost_package::{Acknowledgement, Package};
use prost_sim::{Act, Applications, Index, Seen, World, WorldConfig};

use crate::keyed::{Keyed, package};
use crate::support::{config, grow, ideal, run, settle};

/// A ring whose nodes run the application, and what its records should say.
pub(crate) struct Shelves {
    pub(crate) world: World,
    pub(crate) app: AppId,
    copies: usize,
    next_request: u64,
    /// What each name's record says at least: the last acknowledged write, and all after it that may have happened.
    pub(crate) possible: BTreeMap<String, Vec<Option<String>>>,
    written: u64,
    /// Writes under way, by request.
    writing: BTreeMap<u64, (String, String)>,
    pub(crate) acknowledged: usize,
    /// Replicas of a key that may be lost between two repairs.
    pub(crate) losses: usize,
    /// Writes of a storm at a time.
    pub(crate) burst: u64,
}

impl Shelves {
    pub(crate) fn new(seed: u64, count: u32, copies: u8, acknowledgement: Acknowledgement) -> Shelves {
        Shelves::with(config(seed), count, copies, acknowledgement)
    }

    pub(crate) fn with(config: WorldConfig, count: u32, copies: u8, acknowledgement: Acknowledgement) -> Shelves {
        let mut world = World::new(config);
        world.host_apps(Applications::new(Box::new(Keyed)));
        grow(&mut world, count);
        run(&mut world, Duration::from_millis(200) * count);
        assert!(settle(&mut world, Duration::from_secs(120)), "{:?}", ideal(&world));
        world.seen();
        let package: Package = package(copies, acknowledgement);
        world.act(Act::Install { node: 0, request: 1, package: Box::new(package.clone()) });
        run(&mut world, Duration::from_secs(2));
        Shelves {
            world,
            app: package.manifest.manifest().app(),
            copies: usize::from(copies),
            next_request: 10,
            possible: BTreeMap::new(),
            written: 0,
            writing: BTreeMap::new(),
            acknowledged: 0,
            losses: usize::from(copies).saturating_sub(1),
            burst: 6,
        }
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        run(&mut self.world, Duration::from_secs(seconds));
    }

    /// A local program asks at a node; the number of its request.
    pub(crate) fn ask(&mut self, node: Index, method: &str, body: &str) -> u64 {
        self.next_request += 1;
        let (app, method, body) = (self.app.to_string(), method.to_owned(), Bytes::from(body.to_owned()));
        self.world.act(Act::Call { node, request: self.next_request, app, method, body });
        self.next_request
    }

    /// The answers that have come since, by request.
    pub(crate) fn answers(&mut self) -> BTreeMap<u64, Result<Bytes, String>> {
        let answer = |seen| match seen {
            Seen::Responded { request, outcome, .. } => Some((request, outcome.map_err(|failure| failure.to_string()))),
            _ => None,
        };
        self.world.seen().into_iter().filter_map(answer).collect()
    }

    /// Begins to write these names, each with a value of its own, from this node. A name that is still being written is
    /// left alone: a record has one writer at a time.
    pub(crate) fn start_writes(&mut self, node: Index, names: &[String]) {
        self.collect();
        for name in names {
            if self.writing.values().any(|(writing, _)| writing == name) {
                continue;
            }
            self.written += 1;
            let value = format!("value-{}", self.written);
            let request = self.ask(node, "put", &format!("{name} {value}"));
            self.possible.entry(name.clone()).or_insert_with(|| vec![None]).push(Some(value.clone()));
            self.writing.insert(request, (name.clone(), value));
        }
    }

    /// Takes the answers to writes.
    pub(crate) fn collect(&mut self) {
        for (request, outcome) in self.answers() {
            if let Some((name, value)) = self.writing.remove(&request)
                && outcome.is_ok()
            {
                self.acknowledged += 1;
                self.acknowledge(&name, &Some(value));
            }
        }
    }

    /// Writes these names and gives that time; how many were acknowledged.
    pub(crate) fn write(&mut self, node: Index, names: &[String], seconds: u64) -> usize {
        let before = self.acknowledged;
        self.start_writes(node, names);
        self.pass(seconds);
        self.collect();
        self.acknowledged - before
    }

    /// What was possible before an acknowledged write is not any more.
    pub(crate) fn acknowledge(&mut self, name: &str, value: &Option<String>) {
        let possible = self.possible.get_mut(name).expect("it was written");
        let at = possible.iter().position(|known| known == value).expect("it was written");
        possible.drain(..at);
    }

    /// Reads every name from this node and compares.
    pub(crate) fn check_reads(&mut self, node: Index) {
        let names: Vec<String> = self.possible.keys().cloned().collect();
        let asked: BTreeMap<u64, String> = names.into_iter().map(|name| (self.ask(node, "get", &name), name)).collect();
        self.pass(12);
        let answers = self.answers();
        for (request, name) in asked {
            let said = match answers.get(&request) {
                Some(Ok(value)) => Some(String::from_utf8(value.to_vec()).expect("text")),
                Some(Err(line)) if line == "nothing" => None,
                other => panic!("{name} cannot be read at {node}: {other:?}"),
            };
            assert!(
                self.possible[&name].contains(&said),
                "{name} says {said:?}, not one of {:?}",
                self.possible[&name]
            );
        }
    }

    /// The nodes that hold a copy of a record, by how many come before them from its key on.
    pub(crate) fn held_by(&self, name: &str) -> Vec<usize> {
        let key = Key::hash(name.as_bytes());
        let mut order: Vec<(NodeId, Index)> = self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        order.sort_by_key(|(id, _)| key.distance_to(*id));
        let held = |node: Index| self.world.record(node, &self.app, Place::At(key), name.as_bytes()).is_some();
        order.iter().enumerate().filter(|(_, (_, node))| held(*node)).map(|(steps, _)| steps).collect()
    }

    /// The disks spoil copies of each record, up to so many of it; how many in all.
    pub(crate) fn rot(&mut self, most: usize, dice: &mut Dice) -> usize {
        let names: Vec<String> = self.possible.keys().cloned().collect();
        let mut spoilt = 0;
        for name in names {
            let point = Point { key: Key::hash(name.as_bytes()), name: name.clone().into_bytes() };
            let spared = dice.below(self.copies as u64) as usize;
            let others = (0..self.copies).filter(|steps| *steps != spared).take(most);
            for node in others.map(|steps| self.replica(&name, steps)).collect::<Vec<Index>>() {
                spoilt += usize::from(self.world.spoil(node, &self.app, &point));
            }
        }
        spoilt
    }

    /// Whether every record lies on the first nodes of its replica set, the same on each, and nowhere else.
    pub(crate) fn check_places(&self) -> Result<(), String> {
        let members: Vec<(NodeId, Index)> = self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        for name in self.possible.keys() {
            let key = Key::hash(name.as_bytes());
            let mut order = members.clone();
            order.sort_by_key(|(id, _)| key.distance_to(*id));
            let values: Vec<Option<Bytes>> = order
                .iter()
                .map(|(_, node)| self.world.record(*node, &self.app, Place::At(key), name.as_bytes()))
                .collect();
            let (there, elsewhere) = values.split_at(self.copies.min(values.len()));
            let distinct: BTreeSet<&Option<Bytes>> = there.iter().collect();
            if distinct.len() != 1 || elsewhere.iter().any(Option::is_some) {
                let held: Vec<bool> = values.iter().map(Option::is_some).collect();
                return Err(format!("{name}: {} values, held {held:?}", distinct.len()));
            }
        }
        Ok(())
    }

    pub(crate) fn wait_for_places(&mut self, seconds: u64) {
        for _ in 0..seconds {
            if self.check_places().is_ok() {
                return;
            }
            self.pass(1);
        }
        panic!("after {seconds} s: {:?}", self.check_places());
    }

    /// A new node joins.
    pub(crate) fn join(&mut self) -> Index {
        let node = self.world.spawn();
        self.world.act(Act::Start { node, known: vec![0] });
        self.pass(10);
        node
    }

    /// A new node joins, and meanwhile each name is read again and again.
    pub(crate) fn join_under_reads(&mut self) {
        let node = self.world.spawn();
        self.world.act(Act::Start { node, known: vec![0] });
        let names: Vec<String> = self.possible.keys().cloned().collect();
        let mut asked = BTreeMap::new();
        for _ in 0..30 {
            asked.extend(names.iter().map(|name| (self.ask(0, "get", name), name.clone())));
            run(&mut self.world, Duration::from_millis(100));
        }
        self.pass(15);
        let mut read = 0;
        for (request, outcome) in self.answers() {
            let Some(name) = asked.remove(&request) else { continue };
            let said = match &outcome {
                Ok(value) => Some(String::from_utf8(value.to_vec()).expect("text")),
                Err(line) if line == "nothing" => None,
                // It came to nothing, and said so.
                Err(_) => continue,
            };
            assert!(self.possible[&name].contains(&said), "{name} says {said:?} while a node joins");
            read += 1;
        }
        assert!(read > 20 * names.len(), "{read} of {} reads were answered", 30 * names.len());
    }

    /// Has a node leave, and waits until its records are where they belong.
    pub(crate) fn leave(&mut self, leaver: Index) {
        self.world.act(Act::Leave { node: leaver });
        self.pass(10);
        assert!(!self.world.is_alive(leaver), "ten seconds are enough for a farewell");
        self.wait_for_places(120);
    }

    /// The node that comes `steps` after the one responsible for a name.
    pub(crate) fn replica(&self, name: &str, steps: usize) -> Index {
        let key = Id::hash(name.as_bytes());
        let mut order: Vec<(NodeId, Index)> = self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        order.sort_by_key(|(id, _)| key.distance_to(*id));
        order[steps].1
    }
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("name-{number}")).collect()
}

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Shelves {
    pub(crate) fn alive(&self) -> Vec<Index> {
        (0..self.world.count()).filter(|node| self.world.is_alive(*node)).collect()
    }

    pub(crate) fn any_alive(&self, dice: &mut Dice) -> Index {
        let alive = self.alive();
        alive[dice.below(alive.len() as u64) as usize]
    }

    /// Writes go on from all over the ring while nodes crash, some with their disks, come back, join and leave: of any
    /// key's replicas at most all but one between two repairs.
    pub(crate) fn storm(&mut self, rounds: u64, dice: &mut Dice) {
        let mut next_name = 0;
        let mut away: Vec<Index> = Vec::new();
        for _ in 0..rounds {
            // Some are new, some are written again.
            let names: Vec<String> = (0..self.burst)
                .map(|_| {
                    next_name += dice.below(2);
                    format!("storm-{}", next_name - next_name.min(dice.below(2 * self.burst)))
                })
                .collect();
            let writer = self.any_alive(dice);
            let distinct: Vec<String> = names.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
            self.start_writes(writer, &distinct);
            run(&mut self.world, Duration::from_millis(dice.below(900)));
            match dice.below(5) {
                0 if self.copies > 1 && self.alive().len() > 8 => {
                    // Neighbours, as many as may be lost at once.
                    let first = format!("storm-{}", dice.below(next_name + 1));
                    for steps in 0..1 + dice.below(self.losses as u64) as usize {
                        let node = self.replica(&first, steps);
                        if node != 0 && self.world.is_alive(node) {
                            self.world.act(Act::Crash { node });
                            if dice.below(3) == 0 {
                                self.world.wipe(node);
                            }
                            away.push(node);
                        }
                    }
                    self.wait_for_repair();
                }
                1 => {
                    if let Some(node) = away.pop() {
                        self.world.act(Act::Restart { node, known: vec![0] });
                        self.pass(3);
                    }
                }
                2 => drop(self.join()),
                3 if self.alive().len() > 8 => {
                    let node = self.any_alive(dice);
                    if node != 0 {
                        self.world.act(Act::Leave { node });
                        self.wait_for_repair();
                    }
                }
                _ => self.pass(2),
            }
        }
        self.pass(15);
        self.collect();
    }

    /// The ring is whole again and the records are where they belong: then more may be lost.
    pub(crate) fn wait_for_repair(&mut self) {
        assert!(settle(&mut self.world, Duration::from_secs(120)), "{:?}", ideal(&self.world));
        self.pass(15);
        self.collect();
        self.wait_for_places(120);
    }
}
