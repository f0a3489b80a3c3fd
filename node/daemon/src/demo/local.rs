//! A ring of real processes on this machine, for those who want the ring and not the show.

use core::time::Duration;
use std::path::{Path, PathBuf};

use prost_contract::Capability;
use prost_package::{Budgets, ProviderKey};
use tempfile::TempDir;

use super::error::DemoError;
use super::interrupt::Interrupt;
use super::processes::{Processes, log_file};
use super::say::{Say, count};
use super::{MAX_NODES, MIN_NODES, ideal, prepare};
use crate::admin_client::AdminClient;
use crate::config::ADMIN_TOKEN_FILE;

/// A ring that has begun as an ideal one. Dropping it ends every process and removes what they had on the disk.
pub(crate) struct LocalRing {
    // Before the directory, so that nobody writes into it any more when it goes.
    processes: Processes,
    _root: TempDir,
    say: Say,
    interrupt: Interrupt,
}

/// One of its nodes.
#[derive(Debug, Clone)]
pub(crate) struct LocalNode {
    /// What it is called.
    pub(crate) name: String,
    /// A client of its administration interface, with its token.
    pub(crate) admin: AdminClient,
    /// File with that token.
    pub(crate) token_file: PathBuf,
    /// Its log.
    pub(crate) log: PathBuf,
}

/// What listens to SIGINT and SIGTERM from now on, and tells what happens on standard error.
pub(crate) struct Stage {
    say: Say,
    interrupt: Interrupt,
}

impl Stage {
    /// The process listens to signals from then on.
    pub(crate) fn new() -> Result<Stage, DemoError> {
        Ok(Stage { say: Say::new(), interrupt: Interrupt::listen()? })
    }

    /// Says a line.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        self.say.line(text);
    }

    /// Sleeps. An error once the process was told to end.
    pub(crate) fn pause(&self, time: Duration) -> Result<(), DemoError> {
        self.interrupt.sleep(time)
    }

    /// Starts so many nodes in a temporary directory, on which this application of this provider may run with whatever it
    /// asks for, and nothing else.
    pub(crate) fn ring(&self, nodes: usize, provider: &ProviderKey, application: &str) -> Result<LocalRing, DemoError> {
        if !(MIN_NODES..=MAX_NODES).contains(&nodes) {
            return Err(DemoError::Nodes(nodes));
        }
        let cannot = |error| DemoError::System { what: "make a temporary directory", error };
        let root = tempfile::Builder::new().prefix("prost-dev-").tempdir().map_err(cannot)?;
        let policy = prepare::policy_for(provider, application, &Capability::ALL, &generous());
        let dirs = prepare::nodes(root.path(), nodes, &policy)?;
        let mut processes = Processes::start(dirs, nodes, self.say, &self.interrupt)?;
        ideal::wait(&mut processes, self.say, &self.interrupt)?;
        self.say(format!("a ring of {} runs in {}", count(nodes, "node"), root.path().display()));
        Ok(LocalRing { processes, _root: root, say: self.say, interrupt: self.interrupt.clone() })
    }
}

impl LocalRing {
    /// The nodes, in the order in which they were started.
    pub(crate) fn nodes(&self) -> Vec<LocalNode> {
        let of = |dir: &Path| (dir.join(ADMIN_TOKEN_FILE), log_file(dir));
        let alive = self.processes.alive().map(|node| {
            let (token_file, log) = of(&node.dir);
            LocalNode { name: node.name.clone(), admin: node.admin.clone(), token_file, log }
        });
        alive.collect()
    }

    /// Sleeps. An error where a node has ended by itself, or the process was told to end.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<(), DemoError> {
        self.interrupt.sleep(time)?;
        self.processes.check()
    }

    /// Says a line.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        self.say.line(text);
    }
}

impl Drop for LocalRing {
    fn drop(&mut self) {
        self.processes.abandon();
    }
}

/// The key of a provider that nobody has met.
pub(crate) fn provider() -> Result<ProviderKey, DemoError> {
    prepare::provider()
}

/// More than an author asks for: what counts on this ring is what the package says.
fn generous() -> Budgets {
    Budgets {
        memory_bytes: 2 << 30,
        storage_bytes: 64 << 30,
        fuel_per_event: 1 << 40,
        fuel_per_second: 1 << 40,
        messages_per_second: 1_000_000,
        bytes_per_second: 1 << 34,
        written_bytes_per_second: 1 << 34,
        timers: 65_536,
        queue: 65_536,
    }
}

#[cfg(test)]
mod tests {
    use prost_package::{Decision, Policy};

    use super::*;
    use crate::standard::DHT;

    #[test]
    fn a_package_gets_all_that_it_asks_for() {
        let key = ProviderKey::from_seed(&[1; 32]);
        let policy = prepare::policy_for(&key, DHT.name, &Capability::ALL, &generous());
        let policy = Policy::parse(&policy).expect("it is a policy");
        let package = DHT.package(&key);
        let Decision::Allow { grant, .. } = policy.decide(package.manifest.manifest()) else { panic!("it is allowed") };
        assert_eq!(grant.budgets, DHT.budgets());
    }
}
