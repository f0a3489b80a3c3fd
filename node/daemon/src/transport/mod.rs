//! The network: one QUIC endpoint, and one persistent connection to each peer.
//!
//! A connection is mutual TLS 1.3 between two certificates of the ring (see `prost_certs`); an id is believed only from
//! the certificate of the connection. Each side opens one stream for each [`Class`](prost_kbr::wire::Class) of frames,
//! which begins with the number of its class; the first thing on the control stream is a greeting. What follows are
//! frames as [`prost_kbr::wire`] has them. Frames of one class arrive in the order in which they were sent.
//!
//! Who drives a transport takes what has arrived ([`Transport::next`]), sends ([`Transport::send`]), and at the end of
//! its turn calls [`Transport::flush`]: many frames a write are several times faster than one by one. All of it runs
//! on one thread, on a [`tokio::runtime::LocalRuntime`] or within a [`tokio::task::LocalSet`].

mod accept;
mod assembly;
mod code;
mod dial;
mod endpoint;
mod hello;
mod inbox;
mod links;
mod live;
mod outbox;
mod reader;
mod rivalry;
mod settings;
mod socket;
mod stats;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prost_certs::{Admission, Identity};
use prost_kbr::{Message, NodeId, Peer};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Instant, timeout_at};

pub use code::CloseCode;
pub use inbox::Arrival;
pub use rivalry::Direction;
pub use settings::{Limits, Settings, TransportError};
pub use stats::{Counter, Refused, TransportStats};

use endpoint::Endpoint;
use inbox::Inbox;
use links::Shared;
use outbox::Outbox;

/// A node's connections. See the [module](self).
///
/// Every [`Arrival::Connected`] is followed by exactly one [`Arrival::Disconnected`] before the next `Connected` of the
/// same peer, but for those that answer [`Transport::dial`]. Dropping a transport closes its connections without waiting for anything; see [`Transport::close`].
pub struct Transport {
    shared: Rc<Shared>,
    dirty: Vec<Rc<Outbox>>,
    tasks: [AbortHandle; 2],
}

/// A connection, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The peer.
    pub id: NodeId,
    /// Where the peer can be dialled.
    pub addr: SocketAddr,
    /// Who dialled.
    pub direction: Direction,
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Bytes in UDP datagrams to the peer.
    pub bytes_sent: u64,
    /// Bytes in UDP datagrams from the peer.
    pub bytes_received: u64,
    /// Packets to the peer that were lost.
    pub lost_packets: u64,
    /// How long it has been up.
    pub age: Duration,
}

impl Transport {
    /// Listens, and lets others in from now on.
    ///
    /// # Panics
    ///
    /// Outside of a [`tokio::runtime::LocalRuntime`] and of a [`tokio::task::LocalSet`].
    pub fn bind(
        settings: Settings,
        identity: Arc<Identity>,
        admission: Admission,
    ) -> Result<Transport, TransportError> {
        settings.check()?;
        let id = NodeId::from_bytes(identity.node_id(&admission)?);
        let stats = TransportStats::default();
        let endpoint = Endpoint::bind(&settings, identity, admission, &stats)?;
        let bound = endpoint.quic.local_addr().map_err(|error| TransportError::Bind(settings.listen, error))?;
        let mut addr = settings.advertise.unwrap_or(bound);
        if addr.port() == 0 {
            addr.set_port(bound.port());
        }
        let mut random = [[0; 8]; 2];
        SystemRandom::new().fill(random.as_flattened_mut()).expect("the system has random numbers");
        let shared = Rc::new(Shared {
            me: Peer { id, addr },
            ring: settings.ring,
            incarnation: u64::from_ne_bytes(random[0]),
            dials: Semaphore::new(settings.limits.dials),
            limits: settings.limits,
            endpoint,
            inbox: Inbox::default(),
            stats,
            guests: Rc::default(),
            links: RefCell::default(),
            dialled_addrs: RefCell::default(),
            writers: Cell::new(0),
            writer_ended: tokio::sync::Notify::new(),
            closing: Cell::new(false),
            next_number: Cell::new(0),
            random: Cell::new(u64::from_ne_bytes(random[1])),
        });
        let tasks = [
            spawn_local(accept::accept(shared.clone())).abort_handle(),
            spawn_local(upkeep::look_after(shared.clone())).abort_handle(),
        ];
        Ok(Transport { shared, dirty: Vec::new(), tasks })
    }

    /// This node: its id, and the address that it advertises.
    pub fn local(&self) -> Peer {
        self.shared.me
    }

    /// Waits until something has arrived and appends what is there to `turn`, at most 1024 arrivals. Cancel safe.
    pub async fn next(&mut self, turn: &mut Vec<Arrival>) {
        self.shared.inbox.arrival().await;
        self.shared.inbox.take(turn);
    }

    /// Queues a frame for a peer, dialling it first where there is no connection; where that fails, its
    /// [`Arrival::Disconnected`] follows. The frame leaves at the next [`Transport::flush`]. Where too much waits for the
    /// peer already, the frame is dropped and counted.
    pub fn send(&mut self, to: Peer, message: Message) {
        self.dirty.extend(self.shared.send(to, &message));
    }

    /// Ends a turn: what was queued is written.
    pub fn flush(&mut self) {
        self.dirty.drain(..).for_each(|outbox| outbox.wake());
    }

    /// Connects to whoever is at this address. Answered by [`Arrival::Connected`] or [`Arrival::DialFailed`].
    ///
    /// Where it turns out that the node there is connected already, the answer is another `Connected`.
    pub fn dial(&mut self, addr: SocketAddr) {
        if self.shared.report_again(|peer| peer.addr == addr) {
            return;
        }
        let mut dialled = self.shared.dialled_addrs.borrow_mut();
        if dialled.contains(&addr) {
            return;
        }
        if dialled.len() >= MAX_DIALLED_ADDRS {
            self.shared.inbox.report(Arrival::DialFailed { addr });
            return;
        }
        dialled.push(addr);
        spawn_local(dial::dial_addr(self.shared.clone(), addr));
    }

    /// Says which peers to stay connected with. They are dialled, and dialled again after a loss, ever more rarely
    /// while that fails; the first failure is reported as [`Arrival::Disconnected`]. Connections to others are closed
    /// when nothing was said on them for [`Limits::idle`]. Replaces the set said before.
    pub fn keep(&mut self, peers: Vec<Peer>) {
        self.shared.keep(&peers);
    }

    /// Says that a connection, if there is one to this peer, is not needed any more: it is closed when nothing was said on
    /// it for [`Limits::released`] from now. Whoever speaks on it takes that back, and so does keeping the peer.
    pub fn release(&mut self, peer: NodeId) {
        let links = &mut *self.shared.links.borrow_mut();
        let Some(link) = links.get_mut(&peer) else { return };
        let sent = link.outbox.frames();
        if let Some(live) = &mut link.live {
            live.released = Some((Instant::now(), sent + live.received()));
        }
    }

    /// The connections that there are, by id.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let links = self.shared.links.borrow();
        let live = links.iter().filter_map(|(id, link)| Some((*id, link.addr, link.live.as_ref()?)));
        let mut connections: Vec<_> = live
            .map(|(id, addr, live)| {
                let stats = live.connection.stats();
                ConnectionInfo {
                    id,
                    addr,
                    direction: live.direction,
                    rtt: stats.path.rtt,
                    bytes_sent: stats.udp_tx.bytes,
                    bytes_received: stats.udp_rx.bytes,
                    lost_packets: stats.path.lost_packets,
                    age: live.since.elapsed(),
                }
            })
            .collect();
        connections.sort_unstable_by_key(|connection| connection.id);
        connections
    }

    /// What was counted so far.
    pub fn stats(&self) -> &TransportStats {
        &self.shared.stats
    }

    /// Sends what is queued, waits until the peers have it, and closes all connections with [`CloseCode::Shutdown`]. Takes
    /// at most about as long as said; what has not been delivered then is lost.
    pub async fn close(mut self, within: Duration) {
        let until = Instant::now() + within;
        self.flush();
        self.shared.stop();
        let outboxes: Vec<_> = self.shared.links.borrow().values().map(|link| link.outbox.clone()).collect();
        outboxes.iter().for_each(|outbox| outbox.end());
        let written = async {
            while self.shared.writers.get() > 0 {
                self.shared.writer_ended.notified().await;
            }
        };
        // In either case the connections are closed.
        let _ = timeout_at(until, written).await;
        self.end();
        let _ = timeout_at(until, self.shared.endpoint.quic.wait_idle()).await;
    }

    fn end(&self) {
        self.shared.stop();
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.inbox.close();
        let code = CloseCode::Shutdown;
        self.shared.endpoint.quic.close(code.on_wire(), code.name().as_bytes());
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.end();
    }
}

/// Most addresses that are dialled at a time without knowing who is there.
const MAX_DIALLED_ADDRS: usize = 64;
