//! What the administration interface asks the driver, and what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use prost_kbr::{AppId, Dispatch, Header, Key, NodeId, Outcome, Peer};
use prost_manager::{CallFailure, InstallFailure, PublishFailure, Published, Search, Usage};
use prost_package::{Package, Resources};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// A question, with where its answer goes. A driver that drops the sender is shutting down.
#[derive(Debug)]
pub enum Ask {
    /// How is the node?
    Status(oneshot::Sender<Box<Status>>),
    /// Who is responsible for the key, and how does one get there?
    Lookup(Key, Search, oneshot::Sender<Outcome>),
    /// Which neighbours has this peer? None where it does not answer.
    Neighbours(Peer, oneshot::Sender<Option<Lists>>),
    /// Install a package here.
    Install(Box<Package>, oneshot::Sender<Result<AppId, InstallFailure>>),
    /// Put a package into the ring's store of code.
    Publish(Box<Package>, oneshot::Sender<Result<Published, PublishFailure>>),
    /// Remove an application, by name or full id, with its records.
    Remove(String, oneshot::Sender<Result<AppId, CallFailure>>),
    /// Ask an application something.
    Call {
        /// Its name or full id.
        app: String,
        /// What is asked.
        method: String,
        /// With what.
        body: Bytes,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Bytes, CallFailure>>,
    },
    /// Send an application's message into the ring, whether the application runs here or not.
    Send {
        /// The application, and where its code can be had.
        header: Header,
        /// The destination.
        key: Key,
        /// The type.
        dispatch: Dispatch,
        /// The data.
        payload: Bytes,
        /// Where the outcome goes.
        reply: oneshot::Sender<Outcome>,
    },
}

/// Predecessors and successors, nearest first.
pub type Lists = (Vec<Peer>, Vec<Peer>);

/// How a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node's id.
    pub id: NodeId,
    /// Its version.
    pub version: String,
    /// Where it can be reached.
    pub addr: SocketAddr,
    /// The ring's name.
    pub ring: String,
    /// `joining`, `bootstrap` (fewer members than a successor list holds), `member` or `left`.
    pub state: String,
    /// Seconds since it was started.
    pub uptime_s: f64,
    /// Nodes before it, nearest first.
    pub predecessors: Vec<Neighbour>,
    /// Nodes after it, nearest first.
    pub successors: Vec<Neighbour>,
    /// Fingers that are no successors.
    pub fingers: Vec<Neighbour>,
    /// Live connections.
    pub connections: usize,
    /// Applications it knows.
    pub peerlets: Vec<PeerletStatus>,
    /// What they have used together.
    pub usage: Usage,
    /// What is reserved for them together.
    pub reserved: Resources,
    /// What the node gives all applications together.
    pub totals: Resources,
    /// What it keeps of the code of others.
    pub content: ContentStatus,
    /// The latest installations, oldest first.
    pub installs: Vec<Install>,
    /// Refusals to run an application, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// What was done with keyed records since the start.
    pub records: RecordCounts,
}

/// What was done with keyed records, since the node was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Records kept for other nodes: written by them, or given by them in a comparison.
    pub kept: u64,
    /// Records taken from other nodes in a comparison.
    pub taken: u64,
    /// Records given to other nodes in a comparison.
    pub given: u64,
    /// Copies dropped after all replicas had them.
    pub dropped: u64,
    /// Whether records of keys that the node is responsible for are still on their way to it.
    pub settling: bool,
}

/// What a node keeps of the ring's store of code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentStatus {
    /// Bytes.
    pub bytes: u64,
    /// Bytes that it may take.
    pub most_bytes: u64,
    /// Applications of which it has some.
    pub applications: usize,
}

/// A package that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedStatus {
    /// The application's full id.
    pub app: String,
    /// Its code's locator, `blake3:` and the component's digest.
    pub locator: String,
    /// Pieces that it was cut into.
    pub pieces: usize,
    /// Copies of the piece that has the fewest.
    pub copies: usize,
}

/// A node that this one knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its id.
    pub id: NodeId,
    /// Where it can be reached.
    pub addr: SocketAddr,
    /// Smoothed round-trip time in microseconds; none where there is no connection.
    pub rtt_us: Option<u64>,
}

/// One application on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerletStatus {
    /// Its full id, `name@provider`.
    pub app: String,
    /// Its name.
    pub name: String,
    /// Its version, once known.
    pub version: Option<String>,
    /// `fetching`, `starting`, `running` or `failed: ` and the reason.
    pub state: String,
    /// What is reserved for it.
    pub reserved: Resources,
    /// What it has used, since it was installed.
    #[serde(flatten)]
    pub usage: Usage,
}

/// One installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Install {
    /// The application's full id.
    pub app: String,
    /// Its version.
    pub version: String,
    /// `local`, `previous-hop`, `overlay`, `content-store` or `url`.
    pub from: String,
    /// The node that the code came from.
    pub peer: Option<NodeId>,
    /// Bytes of manifest and component.
    pub bytes: u64,
    /// Milliseconds from the first message to the application running.
    pub ms: u64,
}
