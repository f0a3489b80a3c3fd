//! What is done with a ring, step by step.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use prost_kbr::{Key, NodeId};

use super::error::DemoError;
use super::ideal;
use super::input::Input;
use super::installs::{Installed, Installs};
use super::interrupt::Interrupt;
use super::processes::{Process, Processes};
use super::report::Hops;
use super::say::{Say, count, size};
use super::transfer::{Fingerprint, Seen, each};
use crate::admin::ask::Status;
use crate::admin_client::AdminClient;
use crate::dht_client::{DhtClient, DhtError};

/// How long one request is tried: nodes that share few cores compile the application all at once.
const PATIENCE: Duration = Duration::from_secs(90);
/// Most keys that are looked up to count hops.
const LOOKUPS: usize = 200;
/// How long the application may take until it runs on a node other than the first.
const SPREAD: Duration = Duration::from_secs(30);
/// Between two looks for that.
const LOOK: Duration = Duration::from_millis(100);
/// Between two lines on how far a transfer is.
const TELL: Duration = Duration::from_secs(2);
/// Most files that are named when they are wrong.
const MAX_NAMED: usize = 20;

/// A ring, and what has been seen of it.
pub(super) struct Steps {
    processes: Processes,
    installs: Installs,
    say: Say,
    interrupt: Interrupt,
    /// Ends the patience of every transfer.
    stop: Arc<AtomicBool>,
    retries: u64,
    first_message_s: f64,
}

/// A file as it was when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// What it is stored under.
    pub(super) input: Input,
    /// What must come back.
    pub(super) fingerprint: Fingerprint,
}

/// A node that was killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Killed {
    pub(super) node: NodeId,
    at: Instant,
    /// Seconds until all others knew their true neighbours again.
    pub(super) healed_s: f64,
}

/// How many of the keys that were looked up each node is responsible for.
pub(super) type Owners = BTreeMap<NodeId, usize>;

impl Steps {
    pub(super) fn new(processes: Processes, say: Say, interrupt: Interrupt) -> Steps {
        let (installs, stop) = (Installs::default(), Arc::new(AtomicBool::new(false)));
        Steps { processes, installs, say, interrupt, stop, retries: 0, first_message_s: 0.0 }
    }

    /// Gives the package to the first node, and to no other.
    pub(super) fn install(&mut self, package: &[u8]) -> Result<NodeId, DemoError> {
        let first = self.processes.alive().next().expect("a ring has a node");
        let id = first.id;
        self.say.line(format!(
            "giving the signed dht package ({}) to {} alone",
            size(package.len() as u64),
            first.name
        ));
        self.give(id, package)?;
        Ok(id)
    }

    /// Installs a package at this node.
    pub(super) fn give(&mut self, node: NodeId, package: &[u8]) -> Result<(), DemoError> {
        self.admin(node).install(package).map_err(DemoError::Install)?;
        self.look();
        Ok(())
    }

    /// Stores every file from one node. Tells what was stored, and the seconds it took. A file that cannot be read any
    /// more is passed over.
    pub(super) fn store(&mut self, writer: NodeId, files: &[Input]) -> Result<(Vec<Stored>, f64), DemoError> {
        let (name, dht) = self.client(writer);
        let (say, first) = (self.say, OnceLock::new());
        say.line(format!("storing {} from {name}", count(files.len(), "file")));
        let put = |input: &Input| {
            let mut file = match File::open(&input.path) {
                Ok(file) => Seen::new(file),
                Err(error) => return Ok(Err(error)),
            };
            match dht.put(&input.name, &mut file) {
                Ok(_) => {
                    first.get_or_init(|| say.seconds());
                    Ok(Ok(Stored { input: input.clone(), fingerprint: file.fingerprint() }))
                }
                Err(DhtError::Input(error)) => Ok(Err(error)),
                Err(error) => Err(DemoError::Store { name: input.shown(), cause: error.to_string() }),
            }
        };
        let start = Instant::now();
        let results = self.each("stored", files, put)?;
        let seconds = start.elapsed().as_secs_f64();
        self.retries += dht.retries();
        self.first_message_s = first.into_inner().unwrap_or_default();
        let mut stored = Vec::new();
        for (input, result) in files.iter().zip(results) {
            match result {
                Ok(file) => stored.push(file),
                Err(error) => say.line(format!("passed over {}: {error}", input.shown())),
            }
        }
        self.say_rate("stored", &stored, seconds);
        Ok((stored, seconds))
    }

    /// Looks up some of the files' keys from one node: how far it is, and who is responsible.
    pub(super) fn look_up(&mut self, from: NodeId, stored: &[Stored]) -> Result<(Hops, Owners), DemoError> {
        let wanted = stored.len().min(LOOKUPS);
        let spread = (0..wanted).map(|i| &stored[i * stored.len() / wanted]);
        let keys: Vec<Key> = spread.map(|file| Key::hash(&file.input.name)).collect();
        let admin = self.admin(from);
        let found = self.each("looked up", &keys, |key| Ok(admin.lookup(*key)))?;
        let (mut hops, mut owners, mut failed) = (Vec::new(), Owners::new(), 0);
        for lookup in found {
            match lookup.map(|lookup| (lookup.result, lookup.hops)) {
                Ok((Ok(owner), distance)) => {
                    hops.push(distance);
                    *owners.entry(owner.id).or_default() += 1;
                }
                Ok((Err(_), _)) | Err(_) => failed += 1,
            }
        }
        if failed > 0 {
            self.say.line(format!("{} came to nothing", count(failed, "lookup")));
        }
        let distance = Hops::of(&hops);
        self.say.line(format!(
            "looked up {}: {:.2} hops on average, {} at most; {} responsible",
            count(hops.len(), "key"),
            distance.mean,
            distance.max,
            count(owners.len(), "node"),
        ));
        Ok((distance, owners))
    }

    /// A node other than the one that stored, on which the application runs by now: the last that got it.
    pub(super) fn choose_reader(&mut self, writer: NodeId) -> Result<NodeId, DemoError> {
        let start = Instant::now();
        loop {
            self.check()?;
            if let Some(reader) = self.installs.latest_but(writer) {
                return Ok(reader);
            }
            if start.elapsed() > SPREAD {
                return Err(DemoError::NotSpread { seconds: SPREAD.as_secs() });
            }
            self.interrupt.sleep(LOOK)?;
        }
    }

    /// Reads every file through one node and compares. Tells how many came back right, and the seconds it took.
    pub(super) fn read_back(&mut self, reader: NodeId, stored: &[Stored]) -> Result<(usize, f64), DemoError> {
        let (name, dht) = self.client(reader);
        self.say.line(format!("reading {} back through {name}", count(stored.len(), "file")));
        let get = |file: &Stored| {
            let mut seen = Seen::new(io::sink());
            let wrong = match dht.get_to(&file.input.name, &mut seen) {
                Ok(Some(_)) if seen.fingerprint() == file.fingerprint => None,
                Ok(Some(_)) => Some("it differs".to_owned()),
                Ok(None) => Some("it is gone".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            Ok(wrong)
        };
        let start = Instant::now();
        let results = self.each("read", stored, get)?;
        let seconds = start.elapsed().as_secs_f64();
        self.retries += dht.retries();
        let wrong = stored.iter().zip(&results).filter_map(|(file, wrong)| Some((file, wrong.as_ref()?)));
        for (file, wrong) in wrong.clone().take(MAX_NAMED) {
            self.say.line(format!("WRONG: {}: {wrong}", file.input.shown()));
        }
        let right = stored.len() - wrong.count();
        self.say_rate("read", stored, seconds);
        self.say.line(format!("{right} of {} byte for byte", count(stored.len(), "file")));
        Ok((right, seconds))
    }

    /// Kills the node that is responsible for most files, but neither of these two; in a ring of two the one that
    /// stored. Waits until all others know their true neighbours again.
    pub(super) fn kill(&mut self, writer: NodeId, reader: NodeId, owners: &Owners) -> Result<Killed, DemoError> {
        let others = self.processes.alive().map(|node| node.id).filter(|id| ![writer, reader].contains(id));
        let victim = others.max_by_key(|id| owners.get(id)).unwrap_or(writer);
        let looked_up: usize = owners.values().sum();
        self.say.line(format!(
            "killing {} without warning: it is responsible for {} of {looked_up} keys",
            self.processes.called(victim),
            owners.get(&victim).copied().unwrap_or(0),
        ));
        self.look();
        let start = Instant::now();
        self.processes.kill(victim)?;
        ideal::wait(&mut self.processes, self.say, &self.interrupt)?;
        let healed_s = start.elapsed().as_secs_f64();
        self.say.line(format!("the ring has closed the gap after {healed_s:.2} s"));
        Ok(Killed { node: victim, at: start, healed_s })
    }

    /// Waits until every record has all its copies again, and tells the seconds since the kill.
    pub(super) fn wait_after_kill(&mut self, killed: &Killed, once: u64) -> Result<f64, DemoError> {
        self.wait_whole(once)?;
        let seconds = killed.at.elapsed().as_secs_f64();
        self.say.line(format!("every record has all its copies again {seconds:.2} s after the kill, or sooner"));
        Ok(seconds)
    }

    /// Every installation seen; a last look is taken.
    pub(super) fn installs(&mut self) -> Vec<Installed> {
        self.look();
        self.installs.list().to_vec()
    }

    /// An error where a node installed the application more than once.
    pub(super) fn check_installs(&self) -> Result<(), DemoError> {
        self.installs.check(&self.processes)
    }

    pub(super) fn processes(&self) -> &Processes {
        &self.processes
    }

    pub(super) fn processes_mut(&mut self) -> &mut Processes {
        &mut self.processes
    }

    pub(super) fn say(&self) -> Say {
        self.say
    }

    /// Waits, and looks after the ring.
    pub(super) fn pause(&mut self, time: Duration) -> Result<(), DemoError> {
        self.interrupt.sleep(time)?;
        self.check()
    }

    /// How every living node is.
    pub(super) fn statuses(&mut self) -> Result<Vec<Status>, DemoError> {
        self.processes.check()?;
        let silent = |node: &Process, error| DemoError::Silent { node: node.name.clone(), error };
        self.processes.alive().map(|node| node.admin.status().map_err(|error| silent(node, error))).collect()
    }

    pub(super) fn into_processes(self) -> Processes {
        self.processes
    }

    /// Requests that were made again.
    pub(super) fn retries(&self) -> u64 {
        self.retries
    }

    /// Seconds from the demo's start until the first file was stored.
    pub(super) fn first_message_s(&self) -> f64 {
        self.first_message_s
    }

    /// Does something for every item, and looks after the ring meanwhile.
    fn each<I: Sync, T: Send>(
        &mut self,
        done_to: &str,
        items: &[I],
        work: impl Fn(&I) -> Result<T, DemoError> + Sync,
    ) -> Result<Vec<T>, DemoError> {
        let stop = self.stop.clone();
        let mut told = Instant::now();
        let results = each(items, &stop, work, |done| {
            if let Err(error) = self.check() {
                // What is under way must not wait for answers: without the ring, it fails at once.
                stop.store(true, Ordering::Relaxed);
                self.processes.end();
                return Err(error);
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.say.line(format!("{done_to} {done} of {}", items.len()));
            }
            Ok(())
        });
        self.look();
        // A node that has ended explains every other failure.
        results.map_err(|error| self.processes.check().err().unwrap_or(error))
    }

    fn check(&mut self) -> Result<(), DemoError> {
        self.processes.check()?;
        self.look();
        Ok(())
    }

    fn look(&mut self) {
        self.installs.look(&self.processes, self.say);
    }

    fn admin(&self, node: NodeId) -> AdminClient {
        self.processes.get(node).expect("the ring's nodes are known").admin.clone()
    }

    fn client(&self, node: NodeId) -> (String, DhtClient) {
        let dht = DhtClient::new(self.admin(node)).with_patience(PATIENCE).with_stop(self.stop.clone());
        (self.processes.called(node), dht)
    }

    fn say_rate(&self, what: &str, files: &[Stored], seconds: f64) {
        let bytes: u64 = files.iter().map(|file| file.fingerprint.size).sum();
        let (files_a_second, rate) = (files.len() as f64 / seconds, size((bytes as f64 / seconds) as u64));
        let files = count(files.len(), "file");
        self.say
            .line(format!("{what} {files}, {}, in {seconds:.2} s: {files_a_second:.0} files/s, {rate}/s", size(bytes)));
    }
}
