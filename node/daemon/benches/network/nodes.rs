//! A ring of three: a whole node in the middle, as `prost node` runs it, and a light one at each end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost_certs::{Admission, CertificateAuthority, Identity, UnixTime, Validity};
use prost_kbr::{AppId, NodeId, Peer};
use prost_manager::{Input, Node, Settings};
use prost_node::compiler::Compiler;
use prost_node::download::{self, Downloader};
use prost_node::driver::{Clock, Driver, Inboxes, Parts};
use prost_node::looker::Looker;
use prost_node::metrics::Metrics;
use prost_node::store::{DataDir, Store};
use prost_node::transport::{self, Limits, Transport};
use prost_node::workers::Workers;
use prost_package::Policy;
use prost_sandbox::Signer;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use crate::PAYLOAD;
use crate::light::{Light, Seen, Targets, Work};
use crate::table::Sample;
use crate::worker::{self, Meter, Orderer, Placement, orders};

/// The ring's name.
const RING: &str = "bench";

/// The three nodes.
pub(crate) struct Trio {
    middle: Meter,
    near_thread: Meter,
    near: Orderer<(Work, Targets)>,
    near_seen: Arc<Seen>,
    far_seen: Arc<Seen>,
    metrics: Arc<Metrics>,
    targets: Targets,
    /// What would end the node in the middle and what it could be asked with, and its disk.
    _kept: (oneshot::Sender<()>, TempDir),
}

impl Trio {
    /// Starts the three and waits until each knows the others.
    pub(crate) fn start() -> Trio {
        let validity = || Validity::days(UnixTime::now(), 1);
        let authority = CertificateAuthority::generate(RING, validity()).expect("an authority");
        let admission = authority.admission().clone();
        let identity = || (Arc::new(authority.issue("node", validity()).expect("an identity")), admission.clone());

        let disk = tempfile::tempdir().expect("a directory");
        let data = DataDir::open(disk.path()).expect("a data directory");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let (stop, stopped) = oneshot::channel();
        let (up, member) = oneshot::channel();
        let who = identity();
        let of_middle = metrics.clone();
        let middle = worker::spawn("middle", move || middle(who, data, of_middle, up, stopped));
        let member = member.blocking_recv().expect("the node starts");

        let (near_seen, far_seen) = (Arc::<Seen>::default(), Arc::<Seen>::default());
        let (near, near_ready, near_thread) = light("near", identity(), member, near_seen.clone());
        let (_, far_ready, _) = light("far", identity(), member, far_seen.clone());
        near_ready.blocking_recv().expect("it joins");
        let far = far_ready.blocking_recv().expect("it joins");
        // The node in the middle learns of its neighbours in the same rounds.
        std::thread::sleep(Duration::from_secs(1));
        let targets = Targets { middle: member.id, far };
        Trio { middle, near_thread, near, near_seen, far_seen, metrics, targets, _kept: (stop, disk) }
    }

    /// Sends so many, and measures the node in the middle.
    pub(crate) fn measure(&self, work: Work, count: u64, window: u64, placement: Placement) -> Sample {
        worker::place([&self.near_thread, &self.middle], placement);
        self.middle.sample(count, || {
            self.near.give((work, self.targets), count, window).blocking_recv().expect("the near node runs");
        })
    }

    /// Whether anything happened that makes the figures doubtful.
    pub(crate) fn summary(&self) -> String {
        let retries = self.near_seen.retries.load(Ordering::Relaxed) + self.far_seen.retries.load(Ordering::Relaxed);
        let text = String::from_utf8(self.metrics.render()).expect("metrics are text");
        let of_interest = |line: &&str| line.contains("retried");
        let lines: Vec<&str> = text.lines().filter(of_interest).collect();
        format!("messages sent again: {retries} by the ends; by the node in the middle: {}", lines.join(", "))
    }
}

fn bind((identity, admission): (Arc<Identity>, Admission)) -> Transport {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let settings = transport::Settings { listen, advertise: None, ring: RING.into(), limits: Limits::default() };
    Transport::bind(settings, identity, admission).expect("a transport")
}

/// The whole node. It founds the ring.
async fn middle(
    who: (Arc<Identity>, Admission),
    data: DataDir,
    metrics: Arc<Metrics>,
    up: oneshot::Sender<Peer>,
    stop: oneshot::Receiver<()>,
) {
    let clock = Clock::start();
    let transport = bind(who);
    let me = transport.local();
    let (done_sender, done) = mpsc::channel(1024);
    let (batch_sender, committed) = mpsc::channel(1024);
    // Fails only after the end.
    let on_commit = Box::new(move |batch| drop(batch_sender.blocking_send(batch)));
    let store = Store::open(&data, me.id, on_commit).expect("a store");
    let signers = Arc::new(|_: &AppId| -> Arc<dyn Signer> { unreachable!("no peerlet is started") });
    let workers = Workers::start(Compiler::here(), signers, done_sender).expect("a sandbox");
    let settings = Settings {
        ring: prost_kbr::Config::default(),
        policy: Arc::new(Policy::default_only(true)),
        wall_origin_ms: clock.wall_origin_ms(),
        newest_version: store.newest_version(),
        content: prost_manager::ContentSettings::default(),
    };
    let node = Node::new(me, settings, [3; 32], clock.now());
    let (looked_sender, looked) = mpsc::channel(1);
    let looker = Looker::start(store.shelf(), looked_sender).expect("a thread");
    let (download_sender, downloads) = mpsc::channel(1);
    let downloader = Downloader::start(download::Settings::web(), download_sender).expect("a thread");
    let parts = Parts { node, transport, store, looker, downloader, workers, clock, metrics, ring: RING.into() };
    let (_asks, asks) = mpsc::channel(1);
    let (_policies, policies) = mpsc::channel(1);
    let mut driver = Driver::new(parts, Inboxes { asks, done, committed, looked, downloads, policies, stop });
    driver.handle(Input::Ring(prost_kbr::Input::Join { known: Vec::new() }));
    up.send(me).expect("the main thread waits");
    driver.run().await.expect("the node runs");
}

type Started = (Orderer<(Work, Targets)>, oneshot::Receiver<NodeId>, Meter);

fn light(name: &str, who: (Arc<Identity>, Admission), member: Peer, seen: Arc<Seen>) -> Started {
    let (ready, when_ready) = oneshot::channel();
    let (orderer, orders) = orders();
    let meter = worker::spawn(name, move || async move {
        Light::new(bind(who), member, PAYLOAD, seen).run(ready, orders).await;
    });
    (orderer, when_ready, meter)
}
