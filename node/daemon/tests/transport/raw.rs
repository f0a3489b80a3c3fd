//! Peers that do not behave: one that vanishes, and bare QUIC clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use prost_certs::{Identity, Rejections, SERVER_NAME, client_config};
use prost_kbr::wire::Class;
use prost_kbr::{NodeId, Peer};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, SendStream};
use serde::Serialize;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use crate::support::{Ring, ping};

/// A node in a thread of its own, which connects to another and can vanish without a word.
pub(crate) struct Silent {
    pub(crate) me: Peer,
    vanish: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Silent {
    pub(crate) fn start(ring: &Ring, identity: Arc<Identity>, to: Peer) -> Silent {
        let (settings, admission) = (ring.settings("127.0.0.1:0", "test"), ring.admission.clone());
        let (vanish, vanished) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let runtime = runtime.expect("a runtime");
            let transport = runtime.block_on(async {
                let bound = prost_node::transport::Transport::bind(settings, identity, admission);
                let mut transport = bound.expect("a transport");
                tell.send(transport.local()).expect("the test listens");
                transport.send(to, ping(0));
                // Arrivals are few: nobody has to take them.
                let _ = vanished.await;
                transport
            });
            // Without a runtime nobody is left who could send a last word.
            drop(runtime);
            drop(transport);
        });
        let me = told.recv().expect("the node is up");
        Silent { me, vanish, thread }
    }

    pub(crate) fn vanish(self) {
        self.vanish.send(()).expect("the node is there");
        self.thread.join().expect("the node ends");
    }
}

/// TLS as a proper node of the ring has it.
pub(crate) fn proper_tls(ring: &Ring, identity: &Identity) -> rustls::ClientConfig {
    client_config(identity, &ring.admission, None, &Rejections::new())
}

/// Dials with this TLS. The endpoint must live as long as the connection is used.
pub(crate) async fn dial(
    tls: rustls::ClientConfig,
    addr: SocketAddr,
) -> (Endpoint, Result<Connection, ConnectionError>) {
    let endpoint = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("an endpoint");
    let tls = QuicClientConfig::try_from(tls).expect("a cipher suite for QUIC");
    let config = quinn::ClientConfig::new(Arc::new(tls));
    let connecting = endpoint.connect_with(config, addr, SERVER_NAME).expect("a dial");
    let result = connecting.await;
    (endpoint, result)
}

/// A proper member of the ring up to and including its handshake.
pub(crate) struct Stranger {
    pub(crate) id: NodeId,
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

/// What the protocol says that a greeting is, written down a second time.
#[derive(Serialize)]
pub(crate) struct RawHello {
    pub(crate) version: u8,
    pub(crate) ring: String,
    pub(crate) advertised: SocketAddr,
    pub(crate) incarnation: u64,
    #[serde(with = "serde_bytes")]
    pub(crate) binding: [u8; 32],
}

impl Stranger {
    pub(crate) async fn dial(ring: &Ring, addr: SocketAddr) -> Stranger {
        let identity = ring.identity();
        let id = NodeId::from_bytes(identity.node_id(&ring.admission).expect("an id"));
        let (endpoint, connection) = dial(proper_tls(ring, &identity), addr).await;
        Stranger { id, connection: connection.expect("a handshake"), _endpoint: endpoint }
    }

    /// As it calls itself. Nobody is there.
    pub(crate) fn peer(&self) -> Peer {
        Peer { id: self.id, addr: self.hello().advertised }
    }

    pub(crate) fn hello(&self) -> RawHello {
        let mut binding = [0; 32];
        let exported = self.connection.export_keying_material(&mut binding, b"EXPORTER-prost-hello-v1", b"test");
        exported.expect("keying material");
        let advertised = "127.0.0.1:9".parse().expect("an address");
        RawHello { version: 1, ring: "test".into(), advertised, incarnation: 7, binding }
    }

    /// Opens a stream that begins with these bytes.
    pub(crate) async fn stream(&self, bytes: &[u8]) -> SendStream {
        let mut stream = self.connection.open_uni().await.expect("a stream");
        stream.write_all(bytes).await.expect("room");
        stream
    }

    pub(crate) async fn say(&self, hello: &RawHello) -> SendStream {
        let body = serde_cbor::to_vec(hello).expect("a greeting");
        self.stream(&[&[number(Class::Control)][..], &(body.len() as u16).to_be_bytes(), &body].concat()).await
    }

    /// How the other side closed the connection: its code, and its reason.
    pub(crate) async fn end(&self) -> (u64, String) {
        match self.connection.closed().await {
            ConnectionError::ApplicationClosed(close) => {
                (close.error_code.into_inner(), String::from_utf8_lossy(&close.reason).into_owned())
            }
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn number(class: Class) -> u8 {
    match class {
        Class::Control => 0,
        Class::Messages => 1,
        Class::Bulk => 2,
    }
}
