//! Whole nodes in this process, as `prost node` runs them, and packages for them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use prost_certs::{Admission, CertificateAuthority, Identity, UnixTime, Validity};
use prost_contract::{CONTRACT, Capability};
use prost_kbr::{AppId, Dispatch, Header, Key, Outcome, Peer};
use prost_manager::{Input, Node, Settings};
use prost_node::admin::ask::{Ask, Status};
use prost_node::compiler::Compiler;
use prost_node::download::{self, Downloader};
use prost_node::driver::{Clock, Driver, Inboxes, Parts};
use prost_node::looker::Looker;
use prost_node::metrics::Metrics;
use prost_node::store::{DataDir, Store};
use prost_node::transport::{self, Limits, Transport};
use prost_node::workers::Workers;
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, Policy, ProviderKey, SignedManifest};
use prost_sandbox::Signer;
use tempfile::TempDir;
use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, oneshot};

/// The ring's name.
const RING: &str = "bench";
/// Questions that may wait for a driver.
const ASKS: usize = 4096;

/// Who lets nodes into the ring.
pub(crate) struct Authority(CertificateAuthority);

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority(CertificateAuthority::generate(RING, validity()).expect("an authority"))
    }

    fn issue(&self) -> (Arc<Identity>, Admission) {
        (Arc::new(self.0.issue("node", validity()).expect("an identity")), self.0.admission().clone())
    }
}

fn validity() -> Validity {
    Validity::days(UnixTime::now(), 1)
}

/// A node on a thread of its own, which ends with it.
pub(crate) struct Host {
    pub(crate) peer: Peer,
    asks: mpsc::Sender<Ask>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _disk: TempDir,
}

impl Host {
    /// Founds a ring, or joins one. Everything may run, within the budgets that a policy grants where it says nothing.
    pub(crate) fn start(authority: &Authority, compiler: Compiler, known: Vec<SocketAddr>) -> Host {
        let disk = tempfile::tempdir().expect("a directory");
        let data = DataDir::open(disk.path()).expect("a data directory");
        let who = authority.issue();
        let (asks, asked) = mpsc::channel(ASKS);
        let (stop, stopped) = oneshot::channel();
        let (up, when_up) = oneshot::channel();
        let run = move || {
            LocalRuntime::new().expect("a runtime").block_on(async move {
                let serving = serve(who, data, compiler, known, up, asked, stopped);
                tokio::task::spawn_local(serving).await.expect("the node ends well");
            });
        };
        let thread = std::thread::Builder::new().name("driver".to_owned()).spawn(run).expect("a thread");
        let peer = when_up.blocking_recv().expect("the node starts");
        Host { peer, asks, stop: Some(stop), thread: Some(thread), _disk: disk }
    }

    /// Asks the node; the answer is there later.
    pub(crate) fn begin<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.blocking_send(ask(reply)).expect("the node runs");
        answer
    }

    /// Asks the node.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        self.begin(ask).blocking_recv().expect("the node runs")
    }

    pub(crate) fn install(&self, package: &Package) -> AppId {
        self.ask(|reply| Ask::Install(Box::new(package.clone()), reply)).expect("it is installed")
    }

    pub(crate) fn remove(&self, app: &AppId) {
        self.ask(|reply| Ask::Remove(app.to_string(), reply)).expect("it is removed");
    }

    pub(crate) fn status(&self) -> Status {
        *self.ask(Ask::Status)
    }

    /// Sends a message of an application to a key.
    pub(crate) fn send(&self, header: &Header, key: Key, payload: &Bytes) -> oneshot::Receiver<Outcome> {
        let (header, payload) = (header.clone(), payload.clone());
        self.begin(|reply| Ask::Send { header, key, dispatch: Dispatch::EndNode, payload, reply })
    }

    /// Asks an application.
    pub(crate) fn call(&self, app: &AppId) -> Answer {
        let (app, method, body) = (app.to_string(), "go".to_owned(), Bytes::new());
        self.begin(|reply| Ask::Call { app, method, body, reply })
    }

    /// Does something while `goes_on`, so many times at once; how often it ended.
    pub(crate) fn repeat<T>(
        &self,
        window: usize,
        mut begin: impl FnMut(&Host) -> oneshot::Receiver<T>,
        mut goes_on: impl FnMut(u64) -> bool,
        mut ended: impl FnMut(T),
    ) -> u64 {
        let (mut open, mut begun, mut count) = (VecDeque::new(), 0, 0);
        loop {
            while open.len() < window && goes_on(begun) {
                open.push_back(begin(self));
                begun += 1;
            }
            let Some(answer) = open.pop_front() else { return count };
            ended(answer.blocking_recv().expect("the node runs"));
            count += 1;
        }
    }
}

/// An application's answer, later.
pub(crate) type Answer = oneshot::Receiver<Result<Bytes, prost_manager::CallFailure>>;

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the node ends well");
        }
    }
}

async fn serve(
    (identity, admission): (Arc<Identity>, Admission),
    data: DataDir,
    compiler: Compiler,
    known: Vec<SocketAddr>,
    up: oneshot::Sender<Peer>,
    asks: mpsc::Receiver<Ask>,
    stop: oneshot::Receiver<()>,
) {
    let clock = Clock::start();
    let listen = "127.0.0.1:0".parse().expect("an address");
    let settings = transport::Settings { listen, advertise: None, ring: RING.into(), limits: Limits::default() };
    let transport = Transport::bind(settings, identity, admission).expect("a transport");
    let me = transport.local();
    let (done_sender, done) = mpsc::channel(1024);
    let (batch_sender, committed) = mpsc::channel(1024);
    // Fails only after the end.
    let on_commit = Box::new(move |batch| drop(batch_sender.blocking_send(batch)));
    let store = Store::open(&data, me.id, on_commit).expect("a store");
    let signers = Arc::new(|_: &AppId| -> Arc<dyn Signer> { Arc::new(Nobody) });
    let workers = Workers::start(compiler, signers, done_sender).expect("a sandbox");
    let settings = Settings {
        ring: prost_kbr::Config::default(),
        policy: Arc::new(Policy::default_only(true)),
        wall_origin_ms: clock.wall_origin_ms(),
        newest_version: store.newest_version(),
        content: prost_manager::ContentSettings::default(),
    };
    let node = Node::new(me, settings, *blake3::hash(me.id.as_bytes()).as_bytes(), clock.now());
    let (looked_sender, looked) = mpsc::channel(64);
    let looker = Looker::start(store.shelf(), looked_sender).expect("a thread");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (download_sender, downloads) = mpsc::channel(1);
    let downloader = Downloader::start(download::Settings::web(), download_sender).expect("a thread");
    let parts = Parts { node, transport, store, looker, downloader, workers, clock, metrics, ring: RING.into() };
    let (_policies, policies) = mpsc::channel(1);
    let mut driver = Driver::new(parts, Inboxes { asks, done, committed, looked, downloads, policies, stop });
    driver.handle(Input::Ring(prost_kbr::Input::Join { known }));
    up.send(me).expect("the main thread waits");
    driver.run().await.expect("the node runs");
}

/// Signs nothing: no component of these benchmarks asks for it.
pub(crate) struct Nobody;

impl Signer for Nobody {
    fn sign(&self, _: &[u8]) -> prost_sandbox::Signature {
        prost_sandbox::Signature { public_key: Vec::new(), bytes: Vec::new() }
    }

    fn verify(&self, _: prost_kbr::NodeId, _: &[u8], _: &prost_sandbox::Signature) -> bool {
        false
    }
}

/// Waits until nodes are one ring.
pub(crate) fn until_ring(hosts: &[&Host]) {
    for _ in 0..600 {
        if hosts.iter().all(|host| host.status().successors.len() + 1 >= hosts.len()) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the nodes do not find each other");
}

/// A package of a component that asks for these capabilities, and the header of its messages.
pub(crate) fn package(name: &str, component: Vec<u8>, capabilities: &[Capability]) -> (Package, Header) {
    let key = ProviderKey::from_seed(&[7; 32]);
    let component = Bytes::from(component);
    let digest = Digest::of(&component);
    let manifest = Manifest {
        format: 1,
        name: name.parse().expect("a name"),
        provider: key.public(),
        version: semver::Version::new(1, 0, 0),
        sequence: 1,
        component: ComponentRef { digest, size: component.len() as u64 },
        world: CONTRACT.to_owned(),
        capabilities: capabilities.iter().map(|asked| (*asked, "to be measured".to_owned())).collect(),
        budgets: Budgets::default(),
        replicas: 1,
        acknowledgement: Acknowledgement::One,
        expires: None,
    };
    let header = Header { app: manifest.app(), locator: format!("blake3:{}", blake3::hash(&component).to_hex()) };
    let manifest = SignedManifest::sign(manifest, &key).expect("a proper manifest");
    (Package::new(manifest, component).expect("the manifest is of this component"), header)
}
