//! A ring of nodes on loopback.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::ops::{Index, IndexMut};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use prost_certs::{CA_CERTIFICATE, CertificateAuthority, NODE_CERTIFICATE, NODE_KEY, UnixTime, Validity};
use prost_contract::Capability;
use prost_kbr::{Key, NodeId};
use prost_node::admin::ask::{Neighbour, Status};
use prost_node::admin_client::Lookup;
use prost_node::standard::DHT;
use prost_package::Package;
use tempfile::TempDir;

use crate::node::{Node, POLICY, Starting, tail};
use crate::package::{allow, provider};
use crate::slots::Slot;
use crate::{PATIENCE, wait_until};

/// The ring's name, unless the plan says another.
const NAME: &str = "test";

/// What a ring is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    nodes: usize,
    successors: usize,
    connections: usize,
    closed: bool,
    policy: String,
    flags: Vec<String>,
}

impl Plan {
    /// A closed ring of so many nodes, all of which let the dht of [`provider`] run, with successor lists of four.
    pub fn of(nodes: usize) -> Plan {
        let capabilities: Vec<Capability> = DHT.capabilities.iter().map(|(capability, _)| *capability).collect();
        Plan {
            nodes,
            successors: 4,
            connections: 40,
            closed: true,
            policy: allow(&provider(), &capabilities),
            flags: Vec::new(),
        }
    }

    /// With successor lists of this length.
    #[must_use]
    pub fn successors(self, successors: usize) -> Plan {
        Plan { successors, ..self }
    }

    /// Without fingers, so that messages take several hops.
    #[must_use]
    pub fn without_fingers(self) -> Plan {
        Plan { connections: 8, ..self }
    }

    /// With this policy on every node.
    #[must_use]
    pub fn policy(self, policy: String) -> Plan {
        Plan { policy, ..self }
    }

    /// With these flags besides on every node.
    #[must_use]
    pub fn flags(self, flags: &[&str]) -> Plan {
        Plan { flags: flags.iter().map(ToString::to_string).collect(), ..self }
    }

    /// Without an authority.
    #[must_use]
    pub fn open(self) -> Plan {
        Plan { closed: false, ..self }
    }

    /// Starts it, and waits until every node knows its true neighbours.
    ///
    /// # Panics
    ///
    /// Where that does not come about in time.
    #[track_caller]
    pub fn start(self) -> Ring {
        let slot = Slot::take();
        let root = tempfile::Builder::new().prefix("prost-tests-").tempdir().expect("there is room for files");
        let authority = CertificateAuthority::generate(NAME, validity()).expect("a proper name");
        let started = self.nodes;
        let mut ring = Ring { nodes: Vec::new(), started, plan: self, authority, root, _slot: slot };
        ring.fill();
        ring.until_ideal();
        ring
    }
}

/// Running nodes, which end with it.
pub struct Ring {
    nodes: Vec<Node>,
    started: usize,
    plan: Plan,
    authority: CertificateAuthority,
    root: TempDir,
    _slot: Slot,
}

impl Ring {
    fn fill(&mut self) {
        let founder = self.directory("node-0");
        self.nodes.push(Node::start(&founder, &self.args(&founder)));
        let joining: Vec<Starting> = (1..self.plan.nodes).map(|number| self.spawn(&format!("node-{number}"))).collect();
        self.nodes.extend(joining.into_iter().map(Starting::up));
    }

    /// The authority of a closed ring.
    pub fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    /// Where a test can put files that end with the ring.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// All nodes that have been started and not been forgotten, in the order of their start.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Starts one more node, which joins through the first.
    #[track_caller]
    pub fn join(&mut self) -> &mut Node {
        let node = self.spawn(&format!("node-{}", self.started)).up();
        self.started += 1;
        self.nodes.push(node);
        self.nodes.last_mut().expect("one was just added")
    }

    /// Starts a node whose process has ended with the same directory, to join through another.
    #[track_caller]
    pub fn restart(&mut self, at: usize) {
        let dir = self.nodes[at].dir.clone();
        let args = self.args(&dir);
        self.nodes[at] = Node::start(&dir, &args);
    }

    /// The process of one more node, with these flags besides.
    pub fn spawn_with(&self, dir: &Path, flags: &[&str]) -> Starting {
        let mut args = self.args(dir);
        for flag in flags.chunks(2) {
            // The one that was said before must not be said twice.
            if let Some(at) = args.iter().position(|arg| arg == flag[0]) {
                args.drain(at..at + 2);
            }
            args.extend(flag.iter().map(OsString::from));
        }
        Node::spawn(dir, &args)
    }

    /// A directory with what a node of the ring needs.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.path(name);
        DirBuilder::new().mode(0o700).create(&dir).expect("the name is new");
        if self.plan.closed {
            let identity = self.authority.issue(name, validity()).expect("a proper name");
            identity.save(&dir.join(NODE_CERTIFICATE), &dir.join(NODE_KEY)).expect("the directory is writable");
            fs::write(dir.join(CA_CERTIFICATE), self.authority.certificate_pem()).expect("the directory is writable");
        }
        fs::write(dir.join(POLICY), &self.plan.policy).expect("the directory is writable");
        dir
    }

    fn spawn(&self, name: &str) -> Starting {
        let dir = self.directory(name);
        Node::spawn(&dir, &self.args(&dir))
    }

    /// How the node in this directory is started.
    fn args(&self, dir: &Path) -> Vec<OsString> {
        let successors = self.plan.successors.to_string();
        let mut args: Vec<OsString> = ["--ring", NAME, "--successors", &successors].map(OsString::from).into();
        args.extend(["--connections".into(), self.plan.connections.to_string().into()]);
        args.extend(["--policy".into(), dir.join(POLICY).into()]);
        args.extend(self.plan.flags.iter().map(OsString::from));
        let member = self.nodes.iter().find(|node| node.dir != dir && node.admin.healthy().is_ok());
        if let Some(member) = member {
            args.extend(["--bootstrap".into(), member.listen.to_string().into()]);
        }
        args
    }

    /// Ends a node without warning, and forgets it.
    pub fn kill(&mut self, at: usize) {
        self.nodes.remove(at).kill();
    }

    /// Takes a node out of what the ring is expected to be.
    pub fn take(&mut self, at: usize) -> Node {
        self.nodes.remove(at)
    }

    /// The ids of all nodes, in ring order.
    pub fn ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        ids.sort_unstable();
        ids
    }

    /// The first `count` nodes that are responsible for a key, as numbers of [`Ring::nodes`].
    pub fn replicas(&self, key: Key, count: usize) -> Vec<usize> {
        let ids = self.ids();
        let first = ids.partition_point(|id| *id < key);
        let rank = |rank: usize| ids[(first + rank) % ids.len()];
        (0..count.min(ids.len())).map(|at| self.number(rank(at))).collect()
    }

    /// The node with this id, as a number of [`Ring::nodes`].
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[track_caller]
    pub fn number(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == id).expect("a node of the ring")
    }

    /// A name whose key fits.
    ///
    /// # Panics
    ///
    /// Where none of many does.
    #[track_caller]
    pub fn name_where(&self, mut fits: impl FnMut(&Ring, Key) -> bool) -> String {
        let mut names = (0..200_000).map(|number| format!("name-{number}"));
        names.find(|name| fits(self, Key::hash(name.as_bytes()))).expect("no arc of the ring is that short")
    }

    /// What a node finds out about a key.
    ///
    /// # Panics
    ///
    /// Where it does not answer.
    #[track_caller]
    pub fn lookup(&self, from: usize, key: Key) -> Lookup {
        self.nodes[from].admin.lookup(key).unwrap_or_else(|error| panic!("{error}\n{}", self.tails()))
    }

    /// Installs a package on all nodes.
    #[track_caller]
    pub fn install(&self, package: &Package) {
        for node in &self.nodes {
            node.install(package);
        }
    }

    /// Waits until every node knows its true neighbours and no others.
    ///
    /// # Panics
    ///
    /// Where that does not come about in time.
    #[track_caller]
    pub fn until_ideal(&self) {
        let ids = self.ids();
        let is_ideal = || {
            self.nodes.iter().all(|node| {
                node.admin.status().is_ok_and(|status| knows_its_neighbours(&status, &ids, self.plan.successors))
            })
        };
        assert!(wait_until(PATIENCE, is_ideal), "the ring is not ideal\n{}\n{}", self.views(), self.tails());
    }

    /// Waits until it is so.
    ///
    /// # Panics
    ///
    /// Where it is not in time: with what the nodes logged last.
    #[track_caller]
    pub fn until(&self, what: &str, patience: Duration, is_so: impl FnMut() -> bool) {
        assert!(wait_until(patience, is_so), "not in time: {what}\n{}", self.tails());
    }

    /// What each node believes of the ring.
    fn views(&self) -> String {
        let short = |known: &[Neighbour]| known.iter().map(|node| node.id.short()).collect::<Vec<_>>().join(" ");
        let view = |node: &Node| match node.admin.status() {
            Ok(Status { state, successors, predecessors, .. }) => {
                format!("{} {state}, after it {}, before it {}", node.id, short(&successors), short(&predecessors))
            }
            Err(error) => format!("{} {error}", node.id),
        };
        self.nodes.iter().map(view).collect::<Vec<_>>().join("\n")
    }

    /// What all nodes logged last.
    pub fn tails(&self) -> String {
        self.nodes.iter().map(|node| tail(&node.dir)).collect::<Vec<_>>().join("\n")
    }
}

impl Index<usize> for Ring {
    type Output = Node;

    fn index(&self, at: usize) -> &Node {
        &self.nodes[at]
    }
}

impl IndexMut<usize> for Ring {
    fn index_mut(&mut self, at: usize) -> &mut Node {
        &mut self.nodes[at]
    }
}

/// Whether successors and predecessors are the true ones, as far as a node lists them. `ids` are those of all members, sorted.
pub(crate) fn knows_its_neighbours(status: &Status, ids: &[NodeId], successors: usize) -> bool {
    let Ok(at) = ids.binary_search(&status.id) else { return false };
    let (before, after) = (&ids[..at], &ids[at + 1..]);
    let next = after.iter().chain(before).take(successors);
    let previous = before.iter().rev().chain(after.iter().rev());
    let joined = matches!(status.state.as_str(), "member" | "bootstrap");
    let others = |id: &NodeId| *id != status.id;
    let known = status.successors.iter().map(|node| node.id).filter(others);
    let behind: Vec<NodeId> = status.predecessors.iter().map(|node| node.id).filter(others).collect();
    let enough = behind.len() >= successors.min(ids.len() - 1);
    joined && known.eq(next.copied()) && enough && behind.iter().eq(previous.take(behind.len()))
}

fn validity() -> Validity {
    Validity::days(UnixTime::now(), 30)
}
