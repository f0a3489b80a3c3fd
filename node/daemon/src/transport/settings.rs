//! What a transport is told, and what it tells QUIC.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prost_certs::Rejection;
use quinn::{ServerConfig, TransportConfig, VarInt};

use super::hello::MAX_RING;

/// Where a node listens, and what for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The UDP address to listen at. Port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The address that others reach this node at; none where that is the one it listens at. Port 0 stands for the port
    /// listened at.
    pub advertise: Option<SocketAddr>,
    /// The name of the ring: 1 to 64 bytes. Nodes of another ring are not talked to.
    pub ring: String,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of a transport. The defaults are those of the design; tests and small machines may want others.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most peers, whoever dialled. Beyond, dials fail and others are refused.
    pub connections: usize,
    /// Most connections that others dialled, those whose handshake is under way included.
    pub inbound: usize,
    /// Most of these from one IPv4 /24 or IPv6 /48. Loopback is exempt.
    pub per_prefix: usize,
    /// Most own handshakes at a time. More dials wait for their turn.
    pub dials: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long the greeting may take after it.
    pub greeting: Duration,
    /// How long a frame that was begun may go without another byte.
    pub stall: Duration,
    /// How long a frame may take from its first byte to its last.
    pub frame: Duration,
    /// How long a connection lives on which nothing is said.
    pub idle: Duration,
    /// How long one lives that routing has no use for any more, counted from then.
    pub released: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 512,
            inbound: 256,
            per_prefix: 8,
            dials: 64,
            handshake: Duration::from_secs(5),
            greeting: Duration::from_secs(5),
            stall: Duration::from_secs(10),
            frame: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            released: Duration::from_secs(5),
        }
    }
}

/// A transport cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The UDP port cannot be had.
    #[error("cannot listen at {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// Other nodes cannot dial such an address.
    #[error("{0} is not an address that other nodes can dial: say which to advertise")]
    Advertise(SocketAddr),
    /// The ring's name is empty or too long.
    #[error("the name of a ring has 1 to {MAX_RING} bytes")]
    RingName,
    /// The identity is not one for a ring with this admission.
    #[error("the certificate is not one for this ring: {0}")]
    Identity(#[from] Rejection),
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), TransportError> {
        if self.ring.is_empty() || self.ring.len() > MAX_RING {
            return Err(TransportError::RingName);
        }
        let advertised = self.advertise.unwrap_or(self.listen);
        if advertised.ip().is_unspecified() { Err(TransportError::Advertise(advertised)) } else { Ok(()) }
    }
}

/// Flow control and timeouts of a connection.
///
/// The windows bound what a peer can make this node hold: [`RECEIVE_WINDOW`] that QUIC buffers, and a frame begun on
/// each stream. Nothing is said of packet sizes: a raised first MTU stalls quinn where segmentation is offloaded. There is no
/// keep-alive: routing pings the peers that it needs.
pub(super) fn transport_config(limits: &Limits) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from(STREAMS))
        .max_concurrent_bidi_streams(VarInt::from(0u8))
        .stream_receive_window(VarInt::from(STREAM_RECEIVE_WINDOW))
        .receive_window(VarInt::from(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(limits.idle.try_into().ok());
    config
}

/// Bounds for handshakes that have not been accepted yet.
pub(super) fn bound_incoming(config: &mut ServerConfig) {
    config
        .max_incoming(MAX_INCOMING)
        .incoming_buffer_size(INCOMING_BUFFER)
        .incoming_buffer_size_total(INCOMING_BUFFER_TOTAL);
}

/// Streams that a peer may open: one a class, all of one direction.
const STREAMS: u8 = 3;
const STREAM_RECEIVE_WINDOW: u32 = 256 << 10;
const RECEIVE_WINDOW: u32 = 1 << 20;
const SEND_WINDOW: u64 = 1 << 20;
const MAX_INCOMING: usize = 256;
const INCOMING_BUFFER: u64 = 32 << 10;
const INCOMING_BUFFER_TOTAL: u64 = 8 << 20;
