//! `prost peerlet dev`: a peerlet on a ring of real nodes, built anew and upgraded there at each save.

mod logs;
mod watch;

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use clap::Args;
use prost_package::ProviderKey;
use semver::BuildMetadata;
use serde::{Deserialize, Serialize};

use super::super::failure::Failure;
use super::build::{self, Said, Stop};
use super::project::{Call, Project};
use super::sign::Release;
use crate::admin_client::AdminClient;
use crate::demo::DemoError;
use crate::demo::local::{self, LocalNode, LocalRing, Stage};
use crate::exit;
use logs::Logs;
use watch::Watch;

const AFTER_HELP: &str = "\
The nodes are processes of this machine, with everything in a temporary directory; Ctrl-C ends them and removes it. The
peerlet is given to the first node, and its messages bring it to others, as everywhere. What it logs is shown.
A save that does not compile leaves the old version running.
Ends with 0 after Ctrl-C, with 1 where the sources do not compile at the start or a node fails, and else as
prost peerlet build does.";

/// Between two looks at sources, logs and nodes.
const LOOK: Duration = Duration::from_millis(100);
/// How long a build that nobody wants any more has to end.
const LEAVE: Duration = Duration::from_secs(5);
/// How long the nodes may take to compile what they are given.
const INSTALL: Duration = Duration::from_secs(600);
/// Where other commands find the ring, in the peerlet's directory.
const RING_FILE: &str = "target/prost-dev.json";
/// Longest such file, in bytes.
const MAX_RING_FILE: u64 = 1 << 20;

#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct DevArgs {
    /// Directory of the peerlet.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Nodes of the ring.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    nodes: usize,
    /// Give the peerlet to every node at once, so that each can be called.
    #[arg(long)]
    everywhere: bool,
}

/// Runs it until it is told to end.
pub(super) fn run(args: &DevArgs) -> Result<(), Failure> {
    let project = Project::open(&args.dir)?;
    let failed = |error: DemoError| Failure::new(error.code(), error);
    let stage = Stage::new().map_err(failed)?;
    stage.say(format!("building {}", project.file.name));
    let key = local::provider().map_err(failed)?;
    let mut watch = Watch::new(&args.dir);
    // Both take a while, and neither needs the other.
    let (stop, dir) = (Stop::when_told(), args.dir.clone());
    let theirs = stop.clone();
    let first = thread::spawn(move || build::component(&dir, &theirs, Said::Kept));
    let ring = stage.ring(args.nodes, &key, project.file.name.as_str());
    let built = match &ring {
        Ok(_) => wait(first, &stop, &stage),
        Err(_) => {
            stop.now();
            wait(first, &stop, &stage)
        }
    };
    if ring.is_ok() && built.as_ref().is_some_and(Result::is_ok) {
        stage.say("built; giving it to the ring");
    }
    let mut ring = match ring {
        Err(DemoError::Interrupted) => return Ok(()),
        other => other.map_err(failed)?,
    };
    let Some(built) = built else { return Ok(()) };
    built?;
    let nodes = ring.nodes();
    let announced = Announced::write(&args.dir, &nodes)?;
    let job =
        Job { dir: args.dir.clone(), key: Arc::new(key), number: 0, nodes: nodes.clone(), everywhere: args.everywhere };
    let (theirs, component) = (job.clone(), project.component());
    let Some(version) = wait(thread::spawn(move || theirs.release(&component)), &stop, &stage) else { return Ok(()) };
    ring.say(version?);
    ring.say(how_to_call(&project, &nodes));
    let outcome = follow(&mut ring, &mut watch, job, project.file.name.as_str());
    drop(announced);
    match outcome {
        Err(DemoError::Interrupted) => Ok(()),
        other => other.map_err(failed),
    }
}

/// Waits for a build; none where the command was told to end meanwhile.
fn wait<T>(build: JoinHandle<T>, stop: &Stop, stage: &Stage) -> Option<T> {
    while !build.is_finished() {
        if stage.pause(LOOK).is_err() {
            stop.now();
            let start = Instant::now();
            while !build.is_finished() && start.elapsed() < LEAVE {
                thread::sleep(LOOK);
            }
            return None;
        }
    }
    build.join().ok()
}

/// What is done at each save.
#[derive(Clone)]
struct Job {
    dir: PathBuf,
    key: Arc<ProviderKey>,
    /// Saves before this one.
    number: u64,
    nodes: Vec<LocalNode>,
    everywhere: bool,
}

impl Job {
    /// Builds, and upgrades where there is something new. Tells in a line what was done.
    fn run(&self, stop: &Stop) -> Result<String, Failure> {
        let start = Instant::now();
        let component = build::component(&self.dir, stop, Said::Kept)?;
        let line = self.release(&component)?;
        Ok(format!("{line}, {:.1} s after the save", start.elapsed().as_secs_f64()))
    }

    /// Signs a component, and gives it to the nodes that run the application.
    fn release(&self, component: &Path) -> Result<String, Failure> {
        // Read again: what it says may be what was saved.
        let project = Project::open(&self.dir)?;
        let mut release = Release::of(&project)?;
        release.sequence = release.sequence.saturating_add(self.number);
        if self.number > 0 {
            // One version has one component: each save is a version of its own.
            release.version.build = BuildMetadata::new(&format!("save.{}", self.number)).unwrap_or_default();
        }
        let package = release.sign(&self.key, component)?;
        let (app, bytes) = (package.manifest.manifest().app().to_string(), package.encode());
        let runs = |node: &&LocalNode| {
            node.admin.status().is_ok_and(|status| status.peerlets.iter().any(|peerlet| peerlet.app == app))
        };
        let mut wanted: Vec<&LocalNode> = self.nodes.iter().filter(|node| self.everywhere || runs(node)).collect();
        if wanted.is_empty() {
            wanted.extend(self.nodes.first());
        }
        let version = release.version.to_string();
        thread::scope(|scope| {
            let give = |node: &LocalNode| install(&node.admin, &bytes, &app, &version);
            let given: Vec<_> = wanted.iter().map(|node| scope.spawn(move || give(node))).collect();
            given.into_iter().try_for_each(|given| given.join().unwrap_or(Ok(())))
        })?;
        let count = wanted.len();
        let nodes = if count == 1 { wanted[0].name.clone() } else { format!("{count} nodes") };
        Ok(format!("{} {} runs on {nodes}", release.name, release.version))
    }
}

/// Installs a package, and waits until it runs: many nodes that share few cores compile a large one for minutes.
fn install(admin: &AdminClient, package: &[u8], app: &str, version: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let error = match admin.install(package) {
        Err(error) if error.is_transient() => error,
        other => return Ok(other.map(drop)?),
    };
    while start.elapsed() < INSTALL {
        let peerlets = admin.status()?.peerlets;
        // One that was refused is there no more, and the node's log has said why.
        let Some(peerlet) = peerlets.into_iter().find(|peerlet| peerlet.app == app) else { break };
        if peerlet.state == "running" && peerlet.version.as_deref() == Some(version) {
            return Ok(());
        }
        if peerlet.state.starts_with("failed") {
            return Err(Failure::new(exit::FAILED, format!("{version} is {}", peerlet.state)));
        }
        thread::sleep(LOOK);
    }
    Err(error.into())
}

/// Shows logs, and upgrades at each save, until there is a reason to end.
fn follow(ring: &mut LocalRing, watch: &mut Watch, mut job: Job, name: &str) -> Result<(), DemoError> {
    let mut logs = Logs::new(name, job.nodes.iter().map(|node| (node.name.clone(), node.log.clone())));
    let stop = Stop::when_told();
    let mut under_way: Option<JoinHandle<Result<String, Failure>>> = None;
    loop {
        let paused = ring.pause(LOOK);
        logs.new_lines().iter().for_each(|line| ring.say(line));
        if let Err(error) = paused {
            stop.now();
            let start = Instant::now();
            while under_way.as_ref().is_some_and(|build| !build.is_finished()) && start.elapsed() < LEAVE {
                thread::sleep(LOOK);
            }
            return Err(error);
        }
        if let Some(build) = under_way.take_if(|build| build.is_finished()) {
            match build.join() {
                Ok(Ok(line)) => ring.say(line),
                Ok(Err(failure)) => ring.say(format!(
                    "{}; the old version runs on",
                    failure.line().unwrap_or_else(|| "the build was stopped".to_owned())
                )),
                Err(_) => ring.say("error: the build broke off; the old version runs on"),
            }
        }
        if under_way.is_none() && watch.has_changed() {
            job.number += 1;
            let (job, stop) = (job.clone(), stop.clone());
            ring.say("saved; building");
            under_way = Some(thread::spawn(move || job.run(&stop)));
        }
    }
}

fn how_to_call(project: &Project, nodes: &[LocalNode]) -> String {
    let name = &project.file.name;
    let (method, body) = match project.file.test.call.first() {
        Some(Call { method, body }) => (method.as_str(), body.as_str().replace("{i}", "1")),
        None => ("METHOD", "BODY".to_owned()),
    };
    let body = if body.is_empty() { body } else { format!(" '{body}'") };
    let mut text = format!(
        "save a file to upgrade it, Ctrl-C ends the ring. To call it, in another terminal:\n  \
         prost peerlet call {name} {method}{body}          in this directory; --node 3 for another node\n"
    );
    if let Some(node) = nodes.first() {
        let (admin, token) = (node.admin.base_url(), node.token_file.display());
        text += &format!("  export PROST_ADMIN={admin} PROST_ADMIN_TOKEN_FILE={token}     for all other commands");
    }
    text
}

/// A ring, for other commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    pid: u32,
    pub(super) nodes: Vec<RingNode>,
}

/// One of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RingNode {
    /// Its administration interface.
    pub(super) admin: String,
    pub(super) token_file: PathBuf,
}

impl Ring {
    /// The ring that runs for the peerlet in this directory, if one does.
    pub(super) fn find(dir: &Path) -> Option<Ring> {
        let bytes = super::read(&dir.join(RING_FILE), MAX_RING_FILE).ok()?;
        let ring: Ring = serde_json::from_slice(&bytes).ok()?;
        // Where whoever ran it was killed, the file is still there.
        let first = ring.nodes.first()?;
        AdminClient::new(&first.admin, None).healthy().is_ok().then_some(ring)
    }
}

/// The ring's file, as long as the ring is there.
struct Announced(PathBuf);

impl Announced {
    fn write(dir: &Path, nodes: &[LocalNode]) -> Result<Announced, Failure> {
        let path = dir.join(RING_FILE);
        let node = |node: &LocalNode| RingNode {
            admin: node.admin.base_url().to_owned(),
            token_file: node.token_file.clone(),
        };
        let ring = Ring { pid: std::process::id(), nodes: nodes.iter().map(node).collect() };
        let json = serde_json::to_vec(&ring).map_err(|error| Failure::new(exit::INTERNAL, error))?;
        let written = fs::create_dir_all(dir.join("target")).and_then(|()| fs::write(&path, json));
        written.map_err(|error| Failure::writing(&path, &error))?;
        Ok(Announced(path))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // It may have gone with `target`.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_is_gone_is_not_found() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(Ring::find(dir.path()), None);
        fs::create_dir(dir.path().join("target")).expect("a directory");
        let dead = Ring { pid: 1, nodes: vec![RingNode { admin: "127.0.0.1:1".to_owned(), token_file: "t".into() }] };
        fs::write(dir.path().join(RING_FILE), serde_json::to_vec(&dead).expect("json")).expect("room");
        assert_eq!(Ring::find(dir.path()), None);
    }

    #[test]
    fn the_file_goes_with_the_ring() {
        let dir = tempfile::tempdir().expect("a directory");
        let announced = Announced::write(dir.path(), &[]).expect("room");
        assert!(dir.path().join(RING_FILE).is_file());
        drop(announced);
        assert!(!dir.path().join(RING_FILE).exists());
    }
}
