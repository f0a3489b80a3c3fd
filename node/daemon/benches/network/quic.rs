//! Bare quinn, with the same TLS, the same windows and the same socket buffers as the node has.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use prost_certs::{Admission, Identity, Rejections, SERVER_NAME, UnixTime, Validity, client_config, server_config};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::udp::UdpSocketState;
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt};

/// Bytes of a length before each frame.
pub(crate) const PREFIX: usize = 4;
/// Streams that may be open at once, where each message has one.
const STREAMS: u32 = 1024;
const BUFFER: usize = 4 << 20;

/// An endpoint on loopback.
pub(crate) fn endpoint() -> Endpoint {
    let identity = Identity::generate_open("bench", Validity::days(UnixTime::now(), 1)).expect("an identity");
    let rejections = Rejections::new();
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .stream_receive_window(VarInt::from_u32(256 << 10))
        .receive_window(VarInt::from_u32(1 << 20))
        .send_window(1 << 20);
    let transport = Arc::new(transport);

    let tls = server_config(&identity, &Admission::Open, &rejections);
    let mut server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a TLS 1.3 suite")));
    server.transport_config(transport.clone());
    let tls = client_config(&identity, &Admission::Open, None, &rejections);
    let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a TLS 1.3 suite")));
    client.transport_config(transport);

    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let state = UdpSocketState::new((&socket).into()).expect("its state");
    // As in a node: less is granted on some machines, to both alike.
    let _ = state.set_recv_buffer_size((&socket).into(), BUFFER);
    let _ = state.set_send_buffer_size((&socket).into(), BUFFER);
    let config = EndpointConfig::default();
    let mut endpoint = Endpoint::new(config, Some(server), socket, Arc::new(TokioRuntime)).expect("an endpoint");
    endpoint.set_default_client_config(client);
    endpoint
}

pub(crate) async fn connect(endpoint: &Endpoint, to: SocketAddr) -> Connection {
    endpoint.connect(to, SERVER_NAME).expect("an address").await.expect("a connection")
}

pub(crate) async fn accept(endpoint: &Endpoint) -> Connection {
    endpoint.accept().await.expect("the endpoint is open").await.expect("a connection")
}

pub(crate) fn address(endpoint: &Endpoint) -> SocketAddr {
    endpoint.local_addr().expect("it is bound")
}

/// Frames out of the pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Frames(BytesMut);

impl Frames {
    /// Takes a piece and shows each frame that is whole, without its length; one within the piece is not copied.
    pub(crate) fn take(&mut self, mut piece: Bytes, mut each: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            let need = PREFIX.saturating_sub(self.0.len()).min(piece.len());
            self.0.extend_from_slice(&piece.split_to(need));
            let Some(whole) = whole(&self.0) else { return };
            let need = (whole - self.0.len()).min(piece.len());
            self.0.extend_from_slice(&piece.split_to(need));
            if self.0.len() < whole {
                return;
            }
            each(&self.0[PREFIX..]);
            self.0.clear();
        }
        while let Some(whole) = whole(&piece).filter(|whole| *whole <= piece.len()) {
            each(&piece[PREFIX..whole]);
            piece.advance(whole);
        }
        self.0.extend_from_slice(&piece);
    }
}

/// Bytes of the frame that begins here, its length included.
fn whole(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|length| PREFIX + u32::from_be_bytes(*length) as usize)
}

/// Appends a frame.
pub(crate) fn put(frame: &[u8], to: &mut BytesMut) {
    to.extend_from_slice(&(frame.len() as u32).to_be_bytes());
    to.extend_from_slice(frame);
}
