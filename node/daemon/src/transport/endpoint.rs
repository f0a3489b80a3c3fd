//! The one QUIC endpoint of a node.

use std::net::SocketAddr;
use std::sync::Arc;

use prost_certs::{Admission, Identity, SERVER_NAME, client_config, peer_id, server_config};
use prost_kbr::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, ConnectError, Connecting, Connection, EndpointConfig, Runtime, ServerConfig, TokioRuntime,
    TransportConfig,
};
use ring::hmac;
use rustls_pki_types::CertificateDer;

use super::settings::{Settings, TransportError, bound_incoming, transport_config};
use super::socket::{self, Marks, WatchedSocket};
use super::stats::TransportStats;

/// A QUIC endpoint that shows this node's certificate and checks everyone else's.
pub(super) struct Endpoint {
    pub(super) quic: quinn::Endpoint,
    identity: Arc<Identity>,
    admission: Admission,
    transport: Arc<TransportConfig>,
}

impl Endpoint {
    pub(super) fn bind(
        settings: &Settings,
        identity: Arc<Identity>,
        admission: Admission,
        stats: &TransportStats,
    ) -> Result<Endpoint, TransportError> {
        let transport = Arc::new(transport_config(&settings.limits));
        let tls = server_config(&identity, &admission, stats.rejections());
        let tls = QuicServerConfig::try_from(tls).expect("the cipher suite of QUIC's first packets is there");
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(transport.clone());
        bound_incoming(&mut server);

        let (config, marks) = endpoint_config(&identity);
        let failed = |error| TransportError::Bind(settings.listen, error);
        let socket = TokioRuntime.wrap_udp_socket(socket::bind(settings.listen).map_err(failed)?).map_err(failed)?;
        let socket = Arc::new(WatchedSocket::new(socket, marks, stats.foreign()));
        let quic = quinn::Endpoint::new_with_abstract_socket(config, Some(server), socket, Arc::new(TokioRuntime));
        Ok(Endpoint { quic: quic.map_err(failed)?, identity, admission, transport })
    }

    /// Begins a handshake; with an id, only that node will do.
    pub(super) fn connect(
        &self,
        addr: SocketAddr,
        expected: Option<NodeId>,
        stats: &TransportStats,
    ) -> Result<Connecting, ConnectError> {
        let expected = expected.map(|id| *id.as_bytes());
        let tls = client_config(&self.identity, &self.admission, expected, stats.rejections());
        let tls = QuicClientConfig::try_from(tls).expect("the cipher suite of QUIC's first packets is there");
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.transport.clone());
        self.quic.connect_with(config, addr, SERVER_NAME)
    }

    /// Who is at the other end, by the certificate of this very connection.
    pub(super) fn peer(&self, connection: &Connection) -> Option<NodeId> {
        let certificates = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        peer_id(&certificates, &self.admission).ok().map(NodeId::from_bytes)
    }
}

/// Keys that outlive the process: a node that was killed and comes back knows the connections of its former life, and
/// tells their peers at once that they are gone (RFC 9000, section 10.3), not only when they time out.
fn endpoint_config(identity: &Identity) -> (EndpointConfig, Marks) {
    // Signatures of Ed25519 are the same each time, and only the node itself can make them.
    let secret = blake3::hash(&identity.sign(RESET_DOMAIN, b""));
    let marks = Marks::new(u64::from_le_bytes(*secret.as_bytes().first_chunk().expect("a hash has 32 bytes")));
    let reset_key = blake3::derive_key(RESET_DOMAIN, secret.as_bytes());
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset_key)));
    config.cid_generator(move || Box::new(marks));
    // The fixed bit tells foreign datagrams apart.
    config.grease_quic_bit(false);
    (config, marks)
}

const RESET_DOMAIN: &str = "prost 2026 stateless reset v1";
