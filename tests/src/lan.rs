//! Nodes on hosts of their own, with a network between them that can be cut.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use prost_contract::Capability;
use prost_kbr::{Key, NodeId};
use prost_node::standard::DHT;
use tempfile::TempDir;

use crate::binary::Output;
use crate::network::{Host, Network};
use crate::node::{Node, POLICY, Starting, tail};
use crate::package::{allow, provider};
use crate::ring::knows_its_neighbours;
use crate::wait_until;

/// Length of the successor lists.
const SUCCESSORS: usize = 4;
/// Where each node listens, at its host's address.
const PORT: u16 = 4433;

/// Running nodes, which end with it. They are named by their numbers.
pub struct Lan {
    nodes: Vec<Node>,
    network: Network,
    root: TempDir,
}

impl Lan {
    /// Starts an open ring, all of which lets the dht of [`provider`] run, in the namespace of
    /// [`in_own_network`](crate::in_own_network).
    ///
    /// # Panics
    ///
    /// Where a node does not start.
    #[track_caller]
    pub fn start(nodes: u8) -> Lan {
        let root = tempfile::Builder::new().prefix("prost-tests-").tempdir().expect("there is room for files");
        let mut lan = Lan { nodes: Vec::new(), network: Network::of(nodes), root };
        let hosts = lan.network.hosts();
        let founder = hosts[0].run(|| lan.spawn(&hosts[0], &[]).up());
        let bootstrap = ["--bootstrap".into(), founder.listen.to_string().into()];
        let joining: Vec<Starting> = hosts[1..].iter().map(|host| host.run(|| lan.spawn(host, &bootstrap))).collect();
        let joined = joining.into_iter().map(Starting::up);
        lan.nodes = [founder].into_iter().chain(joined).collect();
        lan
    }

    /// A node's process on the host on which the calling thread is.
    fn spawn(&self, host: &Host, args: &[OsString]) -> Starting {
        let dir = self.root.path().join(host.addr.to_string());
        DirBuilder::new().mode(0o700).create(&dir).expect("the name is new");
        write_policy(&dir);
        let listen = format!("{}:{PORT}", host.addr);
        let mut line: Vec<OsString> = ["--ring", "test", "--listen", &listen].map(OsString::from).into();
        line.extend(["--successors".into(), SUCCESSORS.to_string().into()]);
        line.extend(["--policy".into(), dir.join(POLICY).into()]);
        line.extend(args.iter().cloned());
        Node::spawn(&dir, &line)
    }

    /// Asks a node, on its host: from nowhere else does its administration interface answer.
    pub fn on<T: Send>(&self, node: usize, ask: impl FnOnce(&Node) -> T + Send) -> T {
        let node_there = &self.nodes[node];
        self.network.hosts()[node].run(|| ask(node_there))
    }

    /// The network, to be cut.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The numbers of all nodes, in ring order.
    pub fn in_ring_order(&self) -> Vec<usize> {
        let mut numbers: Vec<usize> = (0..self.nodes.len()).collect();
        numbers.sort_unstable_by_key(|number| self.nodes[*number].id);
        numbers
    }

    /// The ids of these nodes, in ring order.
    pub fn ids(&self, of: &[usize]) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = of.iter().map(|number| self.nodes[*number].id).collect();
        ids.sort_unstable();
        ids
    }

    /// Who of these is responsible for a key, where there are no others.
    pub fn owner(&self, of: &[usize], key: Key) -> NodeId {
        let ids = self.ids(of);
        ids[ids.partition_point(|id| *id < key) % ids.len()]
    }

    /// Waits until each of these knows its true neighbours among them, and nobody else.
    ///
    /// # Panics
    ///
    /// Where that does not come about in time.
    #[track_caller]
    pub fn until_ring(&self, of: &[usize], patience: Duration) {
        let ids = self.ids(of);
        let knows = |number: &usize| {
            let status = self.on(*number, |node| node.admin.status());
            status.is_ok_and(|status| knows_its_neighbours(&status, &ids, SUCCESSORS))
        };
        let formed = wait_until(patience, || of.iter().all(knows));
        assert!(formed, "{of:?} are not a ring of their own\n{}\n{}", self.views(), self.tails());
    }

    /// What each node believes of the ring.
    fn views(&self) -> String {
        let shown = |number| self.on(number, |node| node.ask(&["ring", "show"]));
        let view = |number| {
            let Output { stdout, stderr, .. } = shown(number);
            format!("--- node {number}\n{stdout}{stderr}")
        };
        (0..self.nodes.len()).map(view).collect()
    }

    /// What all nodes logged last.
    pub fn tails(&self) -> String {
        self.nodes.iter().map(|node| tail(&node.dir)).collect::<Vec<_>>().join("\n")
    }
}

fn write_policy(dir: &Path) {
    let capabilities: Vec<Capability> = DHT.capabilities.iter().map(|(capability, _)| *capability).collect();
    fs::write(dir.join(POLICY), allow(&provider(), &capabilities)).expect("the directory is writable");
}
