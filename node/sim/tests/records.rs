//! Keyed records: nothing acknowledged is lost while fewer nodes fail than hold it, whatever else the ring does, and
//! every record ends up where it belongs, as often as its package asks, and nowhere else.

#[path = "support/keyed.rs"]
mod keyed;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost_contract::Place;
use prost_kbr::{AppId, Id, Key, NodeId};
use prost_package::{Acknowledgement, Package};
use prost_sim::{Act, Applications, Index, Network, Seen, World};

use keyed::{Keyed, package};
use support::{config, grow, ideal, run, settle};

/// A ring whose nodes run the application, and what its records should say.
struct Shelves {
    world: World,
    app: AppId,
    copies: usize,
    next_request: u64,
    /// What each name's record says at least: the last acknowledged write, and all after it that may have happened.
    possible: BTreeMap<String, Vec<Option<String>>>,
    written: u64,
    /// Writes under way, by request.
    writing: BTreeMap<u64, (String, String)>,
    acknowledged: usize,
}

impl Shelves {
    fn new(seed: u64, count: u32, copies: u8, acknowledgement: Acknowledgement) -> Shelves {
        let mut world = World::new(config(seed));
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
        }
    }

    fn pass(&mut self, seconds: u64) {
        run(&mut self.world, Duration::from_secs(seconds));
    }

    /// A local program asks at a node; the number of its request.
    fn ask(&mut self, node: Index, method: &str, body: &str) -> u64 {
        self.next_request += 1;
        let (app, method, body) = (self.app.to_string(), method.to_owned(), Bytes::from(body.to_owned()));
        self.world.act(Act::Call { node, request: self.next_request, app, method, body });
        self.next_request
    }

    /// The answers that have come since, by request.
    fn answers(&mut self) -> BTreeMap<u64, Result<Bytes, String>> {
        let answer = |seen| match seen {
            Seen::Responded { request, outcome, .. } => Some((request, outcome.map_err(|failure| failure.to_string()))),
            _ => None,
        };
        self.world.seen().into_iter().filter_map(answer).collect()
    }

    /// Begins to write these names, each with a value of its own, from this node. A name that is still being written is
    /// left alone: a record has one writer at a time.
    fn start_writes(&mut self, node: Index, names: &[String]) {
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
    fn collect(&mut self) {
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
    fn write(&mut self, node: Index, names: &[String], seconds: u64) -> usize {
        let before = self.acknowledged;
        self.start_writes(node, names);
        self.pass(seconds);
        self.collect();
        self.acknowledged - before
    }

    /// What was possible before an acknowledged write is not any more.
    fn acknowledge(&mut self, name: &str, value: &Option<String>) {
        let possible = self.possible.get_mut(name).expect("it was written");
        let at = possible.iter().position(|known| known == value).expect("it was written");
        possible.drain(..at);
    }

    /// Reads every name from this node and compares.
    fn check_reads(&mut self, node: Index) {
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

    /// Whether every record lies on the first nodes of its replica set, the same on each, and nowhere else.
    fn check_places(&self) -> Result<(), String> {
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

    fn wait_for_places(&mut self, seconds: u64) {
        for _ in 0..seconds {
            if self.check_places().is_ok() {
                return;
            }
            self.pass(1);
        }
        panic!("after {seconds} s: {:?}", self.check_places());
    }

    /// A new node joins.
    fn join(&mut self) -> Index {
        let node = self.world.spawn();
        self.world.act(Act::Start { node, known: vec![0] });
        self.pass(10);
        node
    }

    /// Has a node leave, and waits until its records are where they belong.
    fn leave(&mut self, leaver: Index) {
        self.world.act(Act::Leave { node: leaver });
        self.pass(10);
        assert!(!self.world.is_alive(leaver), "ten seconds are enough for a farewell");
        self.wait_for_places(120);
    }

    /// The node that comes `steps` after the one responsible for a name.
    fn replica(&self, name: &str, steps: usize) -> Index {
        let key = Id::hash(name.as_bytes());
        let mut order: Vec<(NodeId, Index)> = self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        order.sort_by_key(|(id, _)| key.distance_to(*id));
        order[steps].1
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("name-{number}")).collect()
}

#[test]
fn a_write_is_on_all_replicas_before_it_is_acknowledged() {
    let mut shelves = Shelves::new(1, 12, 3, Acknowledgement::All);
    assert_eq!(shelves.write(0, &names(40), 10), 40);
    assert_eq!(shelves.check_places(), Ok(()));
    shelves.check_reads(7);
}

#[test]
fn what_was_acknowledged_survives_the_crash_of_all_replicas_but_one_again_and_again() {
    let mut shelves = Shelves::new(2, 16, 3, Acknowledgement::All);
    assert_eq!(shelves.write(0, &names(40), 10), 40);
    for round in 0..3 {
        let name = format!("name-{round}");
        let dying: Vec<Index> = (0..2).map(|steps| shelves.replica(&name, steps)).collect();
        dying.iter().for_each(|node| shelves.world.act(Act::Crash { node: *node }));
        shelves.wait_for_places(90);
        let reader = shelves.replica(&name, 3);
        shelves.check_reads(reader);
    }
}

#[test]
fn records_move_to_a_node_that_joins_and_from_one_that_leaves() {
    let mut shelves = Shelves::new(3, 8, 3, Acknowledgement::Majority);
    assert_eq!(shelves.write(0, &names(60), 10), 60);
    for _ in 0..4 {
        let node = shelves.join();
        shelves.wait_for_places(120);
        shelves.check_reads(node);
    }
    for name in ["name-1", "name-2", "name-3"] {
        let leaver = shelves.replica(name, 0);
        shelves.leave(leaver);
        let reader = shelves.replica(name, 2);
        shelves.check_reads(reader);
    }
}

#[test]
fn a_single_copy_follows_the_ring_through_orderly_changes() {
    let mut shelves = Shelves::new(4, 6, 1, Acknowledgement::One);
    assert_eq!(shelves.write(0, &names(40), 10), 40);
    shelves.join();
    shelves.wait_for_places(120);
    let leaver = shelves.replica("name-5", 0);
    shelves.leave(leaver);
    let reader = shelves.replica("name-5", 0);
    shelves.check_reads(reader);
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Shelves {
    fn alive(&self) -> Vec<Index> {
        (0..self.world.count()).filter(|node| self.world.is_alive(*node)).collect()
    }

    fn any_alive(&self, dice: &mut Dice) -> Index {
        let alive = self.alive();
        alive[dice.below(alive.len() as u64) as usize]
    }

    /// Writes go on from all over the ring while nodes crash, some with their disks, come back, join and leave: of any
    /// key's replicas at most all but one between two repairs.
    fn storm(&mut self, rounds: u64, dice: &mut Dice) {
        let mut next_name = 0;
        let mut away: Vec<Index> = Vec::new();
        for _ in 0..rounds {
            let names: Vec<String> = (0..6)
                .map(|_| {
                    next_name += dice.below(2);
                    format!("storm-{}", next_name - next_name.min(dice.below(12)))
                })
                .collect();
            let writer = self.any_alive(dice);
            let distinct: Vec<String> = names.into_iter().collect::<BTreeSet<String>>().into_iter().collect();
            self.start_writes(writer, &distinct);
            run(&mut self.world, Duration::from_millis(dice.below(900)));
            match dice.below(5) {
                0 if self.alive().len() > 8 => {
                    // Neighbours, as many as may be lost at once.
                    let first = format!("storm-{}", dice.below(next_name + 1));
                    for steps in 0..1 + dice.below(self.copies as u64 - 1) as usize {
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
    fn wait_for_repair(&mut self) {
        assert!(settle(&mut self.world, Duration::from_secs(120)), "{:?}", ideal(&self.world));
        self.pass(15);
        self.collect();
        self.wait_for_places(120);
    }
}

#[test]
fn a_storm_of_crashes_joins_and_leaves_loses_nothing_that_was_acknowledged() {
    for seed in 0..4 {
        let mut dice = Dice(seed);
        let acknowledgement = [Acknowledgement::All, Acknowledgement::Majority][usize::from(seed % 2 == 1)];
        let mut shelves = Shelves::new(100 + seed, 12, 3, acknowledgement);
        shelves.storm(40, &mut dice);
        shelves.wait_for_repair();
        let reader = shelves.any_alive(&mut dice);
        shelves.check_reads(reader);
        assert!(shelves.acknowledged > 100, "{}", shelves.acknowledged);
    }
}

#[test]
fn two_sides_of_a_partition_both_write_and_agree_on_the_newer_when_they_meet() {
    let mut shelves = Shelves::new(7, 12, 3, Acknowledgement::All);
    assert_eq!(shelves.write(0, &names(30), 10), 30);
    let sides: Vec<u8> = (0..shelves.world.count()).map(|node| (node % 2) as u8).collect();
    shelves.world.act(Act::Network(Box::new(Network { sides, ..Network::default() })));
    shelves.pass(30);
    // Each side writes the same names, one after the other, and each name's later write is the newer.
    let earlier = shelves.write(0, &names(30), 12);
    let later = shelves.write(1, &names(30), 12);
    assert!(earlier > 20 && later > 20, "{earlier} and {later} were acknowledged");
    shelves.world.act(Act::Network(Box::default()));
    assert!(settle(&mut shelves.world, Duration::from_secs(180)), "{:?}", ideal(&shelves.world));
    shelves.wait_for_places(180);
    for reader in [2, 3] {
        shelves.check_reads(reader);
    }
}

#[test]
fn what_was_deleted_stays_deleted_when_a_copy_comes_back() {
    let mut shelves = Shelves::new(8, 10, 3, Acknowledgement::Majority);
    assert_eq!(shelves.write(0, &names(12), 10), 12);
    let away = shelves.replica("name-3", 1);
    shelves.world.act(Act::Crash { node: away });
    assert!(settle(&mut shelves.world, Duration::from_secs(120)));
    let asked: Vec<u64> = names(12).iter().map(|name| shelves.ask(0, "delete", name)).collect();
    shelves.pass(12);
    let answers = shelves.answers();
    assert!(asked.iter().all(|request| answers[request].is_ok()), "{answers:?}");
    for possible in shelves.possible.values_mut() {
        *possible = vec![None];
    }
    shelves.world.act(Act::Restart { node: away, known: vec![0] });
    assert!(settle(&mut shelves.world, Duration::from_secs(120)));
    shelves.wait_for_places(120);
    shelves.check_reads(away);
}
