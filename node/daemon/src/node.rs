//! Starting and stopping a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use prost_certs::{Admission, CertificateDer, Identity, UnixTime};
use prost_kbr::{AppId, NodeId};
use prost_manager::{ContentSettings, Input, Node, Settings};
use prost_package::{Package, Policy};
use prost_sandbox::{EngineError, Signature, Signer};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::runtime::LocalRuntime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::admin::{self, Admin, Token, TokenError};
use crate::compiler::{Cache, ChildCompiler, Compiler};
use crate::config::{Config, ConfigError};
use crate::download::Downloader;
use crate::driver::{Clock, Driver, DriverError, Inboxes, Parts};
use crate::exit;
use crate::looker::Looker;
use crate::metrics::Metrics;
use crate::store::{Batch, DataDir, Store, StoreError};
use crate::transport::{self, Limits, Transport, TransportError};
use crate::workers::{Signers, Workers};

/// Results that may wait for the driver.
const RESULTS: usize = 1024;
/// Name of the file in the data directory that says where a running node can be reached.
pub const NODE_FILE: &str = "node.json";
/// What statements of peerlets are signed under.
const STATEMENT_DOMAIN: &str = "prost peerlet statement v1";

/// Where a running node can be reached: what [`NODE_FILE`] holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reachable {
    /// Its id.
    pub id: NodeId,
    /// Its UDP address, as other nodes dial it.
    pub listen: SocketAddr,
    /// The address of its administration interface.
    pub admin: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk, or what is on it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The administration interface cannot listen.
    #[error("the administration interface cannot listen at {0}: {1}")]
    Admin(SocketAddr, io::Error),
    /// Its token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The sandbox.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The node ran, and then could not go on.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// A member to join through cannot be found.
    #[error("the bootstrap address {0} cannot be resolved: {1}")]
    Bootstrap(String, io::Error),
    /// Anything else that the operating system refused.
    #[error("{0}: {1}")]
    System(&'static str, io::Error),
}

impl NodeError {
    /// The exit code that stands for it.
    pub fn code(&self) -> u8 {
        match self {
            NodeError::Config(error) => error.code,
            NodeError::Store(error) => error.exit_code(),
            NodeError::Transport(TransportError::Bind(..)) | NodeError::Admin(..) | NodeError::Token(_) => {
                exit::CANNOT_CREATE
            }
            NodeError::Transport(_) => exit::CONFIG,
            NodeError::Bootstrap(..) => exit::UNAVAILABLE,
            NodeError::Engine(_) | NodeError::Driver(_) | NodeError::System(..) => exit::INTERNAL,
        }
    }
}

/// Runs a node until SIGTERM or SIGINT; it leaves the ring before it ends. SIGHUP reads the policy file again.
pub fn run(config: Config) -> Result<(), NodeError> {
    let runtime = LocalRuntime::new().map_err(|error| NodeError::System("no runtime can be started", error))?;
    // As a task of its own: to wake what `block_on` itself polls takes a system call, and that once a turn.
    match runtime.block_on(async { tokio::task::spawn_local(serve(config)).await }) {
        Ok(ended) => ended,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

async fn serve(config: Config) -> Result<(), NodeError> {
    let clock = Clock::start();
    let data = DataDir::open(&config.data_dir)?;
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_millis(clock.wall_origin_ms()));
    let (identity, admission) = config.identity.load(&config.ring, now)?;
    let identity = Arc::new(identity);
    if config.identity.is_open() {
        tracing::info!("no authority is configured: this ring is open to every node");
    }
    let transport = Transport::bind(network(&config), identity.clone(), admission.clone())?;
    let me = transport.local();

    let (done_sender, done) = mpsc::channel(RESULTS);
    let (batch_sender, committed) = mpsc::channel::<Batch>(RESULTS);
    let store = Store::open(
        &data,
        me.id,
        Box::new(move |batch| {
            // The driver has gone: nobody waits for this any more.
            let _ = batch_sender.blocking_send(batch);
        }),
    )?;
    let compiler = compiler(&data, &identity)?;
    let workers = Workers::start(compiler, signers(identity, admission), done_sender)?;
    let (looked_sender, looked) = mpsc::channel(RESULTS);
    let looker = Looker::start(store.shelf(), looked_sender)
        .map_err(|error| NodeError::System("no thread can be started", error))?;
    let (download_sender, downloads) = mpsc::channel(RESULTS);
    let downloader = Downloader::start(config.downloads(), download_sender)
        .map_err(|error| NodeError::System("no thread can be started", error))?;
    let metrics = Arc::new(Metrics::new().expect("the series are well named"));
    let (ask_sender, asks) = mpsc::channel(admin::QUEUE);
    let admin = start_admin(&config, &data, ask_sender, metrics.clone())?;
    announce(&data, &Reachable { id: me.id, listen: me.addr, admin: admin.addr(), pid: std::process::id() })?;
    tracing::info!(id = %me.id, addr = %me.addr, admin = %admin.addr(), ring = config.ring, "the node is up");

    let settings = Settings {
        ring: config.kbr(),
        policy: Arc::new(config.policy.clone()),
        wall_origin_ms: clock.wall_origin_ms(),
        newest_version: store.newest_version(),
        content: ContentSettings { most_bytes: config.content_bytes, held: store.shelves() },
    };
    let node = Node::new(me, settings, seed(), clock.now());
    let (policy_sender, policies) = mpsc::channel(1);
    let (stop_sender, stop) = oneshot::channel();
    let signals = tokio::task::spawn_local(watch_signals(config.clone(), policy_sender, stop_sender));

    let restored = store.packages()?;
    let ring = config.ring.clone();
    let parts = Parts { node, transport, store, looker, downloader, workers, clock, metrics, ring };
    let inboxes = Inboxes { asks, done, committed, looked, downloads, policies, stop };
    let mut driver = Driver::new(parts, inboxes);
    for (app, bytes) in restored {
        match Package::decode(bytes) {
            Ok(package) => driver.handle(Input::Restore(package)),
            Err(error) => tracing::warn!(%app, %error, "a package on disk is damaged and was passed over"),
        }
    }
    driver.handle(Input::Ring(prost_kbr::Input::Join { known: members(&config)? }));
    let ended = driver.run().await;
    signals.abort();
    drop(admin);
    // A stale file would only say where the node was.
    let _ = data.dir().remove_file(NODE_FILE);
    tracing::info!("the node has left");
    Ok(ended?)
}

fn compiler(data: &DataDir, identity: &Identity) -> Result<Compiler, NodeError> {
    let child = ChildCompiler::this_program().map_err(|error| NodeError::System("this program has no path", error))?;
    let cache = Cache::open(data, identity)
        .map_err(|error| NodeError::System("the directory of compiled code cannot be opened", error))?;
    Ok(Compiler::in_child(child, Some(cache)))
}

fn network(config: &Config) -> transport::Settings {
    let advertise = config.advertise.or_else(|| outward(config.listen));
    transport::Settings { listen: config.listen, advertise, ring: config.ring.clone(), limits: Limits::default() }
}

/// The address from which this machine reaches others, where the node listens at all of its addresses. Nothing is sent.
fn outward(listen: SocketAddr) -> Option<SocketAddr> {
    if !listen.ip().is_unspecified() {
        return None;
    }
    // Documentation addresses (RFC 5737, RFC 3849): any address that the default route leads to will do.
    let (local, beyond): (IpAddr, IpAddr) = match listen.ip() {
        IpAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        IpAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    };
    let loopback: IpAddr = if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let found = UdpSocket::bind((local, 0)).and_then(|socket| {
        socket.connect((beyond, 9))?;
        socket.local_addr()
    });
    Some(SocketAddr::new(found.map_or(loopback, |addr| addr.ip()), listen.port()))
}

fn members(config: &Config) -> Result<Vec<SocketAddr>, NodeError> {
    let mut known = Vec::new();
    for member in &config.bootstrap {
        let resolved = member.resolve().map_err(|error| NodeError::Bootstrap(member.to_string(), error))?;
        known.extend(resolved);
    }
    Ok(known)
}

fn start_admin(
    config: &Config,
    data: &DataDir,
    asks: mpsc::Sender<admin::ask::Ask>,
    metrics: Arc<Metrics>,
) -> Result<Admin, NodeError> {
    let token = if config.admin_token_named { Token::read(&config.admin_token_file)? } else { Token::generate(data)? };
    let cannot = |error| NodeError::Admin(config.admin_listen, error);
    let listener = TcpListener::bind(config.admin_listen).map_err(cannot)?;
    let remote = !config.admin_listen.ip().is_loopback();
    Admin::start(admin::Parts { listener, token, asks, metrics, remote }).map_err(cannot)
}

fn announce(data: &DataDir, reachable: &Reachable) -> Result<(), NodeError> {
    let text = serde_json::to_vec(reachable).expect("addresses are plain data");
    data.write(NODE_FILE, &text).map_err(|error| NodeError::System("node.json cannot be written", error))
}

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).expect("the system has random numbers");
    seed
}

/// SIGTERM and SIGINT end the node; SIGHUP reads the policy again, and keeps the old one where the new is wrong.
async fn watch_signals(config: Config, policies: mpsc::Sender<Arc<Policy>>, stop: oneshot::Sender<()>) {
    let listen = |kind| signal(kind).map_err(|error| tracing::error!(%error, "a signal cannot be listened to"));
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()))
    else {
        return;
    };
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            _ = hup.recv() => {
                if let Some(policy) = config.policy_file.as_deref().and_then(read_policy)
                    && policies.send(Arc::new(policy)).await.is_err()
                {
                    return;
                }
            }
        }
    }
    tracing::info!("leaving the ring");
    // The driver has ended by itself where this fails.
    let _ = stop.send(());
}

fn read_policy(path: &Path) -> Option<Policy> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the policy cannot be read; the old one stays");
            return None;
        }
    };
    match Policy::parse(&text) {
        Ok(policy) => {
            tracing::info!(path = %path.display(), "the policy has been read again");
            Some(policy)
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the policy is wrong; the old one stays");
            None
        }
    }
}

fn signers(identity: Arc<Identity>, admission: Admission) -> Signers {
    Arc::new(move |app: &AppId| {
        Arc::new(NodeSigner { identity: identity.clone(), admission: admission.clone(), app: app.to_string() })
            as Arc<dyn Signer>
    })
}

/// Signs statements of one application with the node's key. What travels as the public key is the node's certificate,
/// since in a closed ring the id comes from more than the key.
struct NodeSigner {
    identity: Arc<Identity>,
    admission: Admission,
    app: String,
}

impl NodeSigner {
    /// What is signed: the application's id, a zero byte, the statement. No id contains a zero byte.
    fn bound(&self, statement: &[u8]) -> Vec<u8> {
        [self.app.as_bytes(), &[0], statement].concat()
    }
}

impl Signer for NodeSigner {
    fn sign(&self, statement: &[u8]) -> Signature {
        Signature {
            public_key: self.identity.certificate().to_vec(),
            bytes: self.identity.sign(STATEMENT_DOMAIN, &self.bound(statement)).to_vec(),
        }
    }

    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool {
        let certificates = [CertificateDer::from(signature.public_key.as_slice())];
        let id = prost_certs::peer_id(&certificates, &self.admission);
        if id.map(NodeId::from_bytes) != Ok(signer) {
            return false;
        }
        let Ok(key) = prost_certs::peer_public_key(&certificates) else { return false };
        prost_certs::verify(&key, STATEMENT_DOMAIN, &self.bound(statement), &signature.bytes).is_ok()
    }
}
