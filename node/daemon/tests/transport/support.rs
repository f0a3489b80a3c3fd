//! Nodes to talk with, on loopback and on one thread.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prost_certs::{Admission, CertificateAuthority, Identity, UnixTime, Validity};
use prost_kbr::{Message, NodeId, Peer};
use prost_node::transport::{Arrival, Limits, Settings, Transport};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::timeout;

/// Longest that any test may take.
const TEST: Duration = Duration::from_secs(60);

/// Runs a test on a thread's own runtime.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).expect("a runtime");
    runtime.block_on(async { timeout(TEST, test).await.expect("the test ends in time") });
}

/// A ring's authority and its name.
pub(crate) struct Ring {
    pub(crate) authority: CertificateAuthority,
    pub(crate) admission: Admission,
    pub(crate) limits: Limits,
}

impl Ring {
    pub(crate) fn new() -> Ring {
        Ring::named("test")
    }

    pub(crate) fn named(name: &str) -> Ring {
        let authority = CertificateAuthority::generate(name, validity()).expect("an authority");
        let admission = Admission::closed(authority.certificate_pem()).expect("its certificate");
        Ring { authority, admission, limits: Limits::default() }
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::new(self.authority.issue("node", validity()).expect("an identity"))
    }

    pub(crate) fn node(&self) -> Node {
        self.node_as(self.identity(), "127.0.0.1:0", "test")
    }

    pub(crate) fn node_as(&self, identity: Arc<Identity>, listen: &str, ring: &str) -> Node {
        let bound = Transport::bind(self.settings(listen, ring), identity, self.admission.clone());
        Node { transport: bound.expect("a transport"), log: Vec::new() }
    }

    pub(crate) fn settings(&self, listen: &str, ring: &str) -> Settings {
        let listen = listen.parse().expect("an address");
        Settings { listen, advertise: None, ring: ring.into(), limits: self.limits.clone() }
    }
}

fn validity() -> Validity {
    Validity::days(UnixTime::now(), 1)
}

/// A transport and everything that it has reported, but for round-trip times.
pub(crate) struct Node {
    pub(crate) transport: Transport,
    pub(crate) log: Vec<Arrival>,
}

impl Node {
    pub(crate) fn me(&self) -> Peer {
        self.transport.local()
    }

    pub(crate) fn send(&mut self, to: Peer, message: Message) {
        self.transport.send(to, message);
        self.transport.flush();
    }

    pub(crate) async fn take(&mut self) {
        let mut turn = Vec::new();
        self.transport.next(&mut turn).await;
        turn.retain(|arrival| !matches!(arrival, Arrival::RoundTrip { .. }));
        self.log.append(&mut turn);
    }

    /// Takes what arrives until it is enough.
    pub(crate) async fn until(&mut self, enough: impl Fn(&Node) -> bool) {
        while !enough(self) {
            self.take().await;
        }
    }

    /// Takes what arrives for so long.
    pub(crate) async fn listen_for(&mut self, time: Duration) {
        let _ = timeout(time, self.until(|_| false)).await;
    }

    pub(crate) fn connected(&self, id: NodeId) -> usize {
        self.log.iter().filter(|arrival| matches!(arrival, Arrival::Connected { peer } if peer.id == id)).count()
    }

    pub(crate) fn disconnected(&self, id: NodeId) -> usize {
        self.log.iter().filter(|arrival| **arrival == Arrival::Disconnected { id }).count()
    }

    /// The frames of this peer, in the order of their arrival.
    pub(crate) fn received(&self, id: NodeId) -> Vec<&Message> {
        let frames = self.log.iter().filter_map(|arrival| match arrival {
            Arrival::Received { from, message } if *from == id => Some(message),
            _ => None,
        });
        frames.collect()
    }
}

/// Connects the first to the second.
pub(crate) async fn connect(one: &mut Node, other: &mut Node) {
    one.transport.dial(other.me().addr);
    let (one_id, other_id) = (one.me().id, other.me().id);
    tokio::join!(
        one.until(|node| node.connected(other_id) > node.disconnected(other_id)),
        other.until(|node| node.connected(one_id) > node.disconnected(one_id))
    );
}

pub(crate) fn ping(nonce: u64) -> Message {
    Message::Ping { nonce }
}

/// Both ways, whatever happened before: the pair works.
pub(crate) async fn assert_works(one: &mut Node, other: &mut Node, nonce: u64) {
    let (a, b) = (one.me(), other.me());
    one.send(b, ping(nonce));
    other.send(a, ping(nonce));
    tokio::join!(
        one.until(|node| node.received(b.id).contains(&&ping(nonce))),
        other.until(|node| node.received(a.id).contains(&&ping(nonce)))
    );
}
