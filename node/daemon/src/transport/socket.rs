//! The UDP socket, and a look at every datagram for those that cannot be ours.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, UdpPoller};
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{info, warn};

/// Binds the socket and asks the kernel for large buffers. What it grants is logged: with less, bursts are lost.
pub(super) fn bind(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(listen)?;
    let state = UdpSocketState::new((&socket).into())?;
    let asked = state
        .set_recv_buffer_size((&socket).into(), BUFFER)
        .and_then(|()| state.set_send_buffer_size((&socket).into(), BUFFER));
    let receive = state.recv_buffer_size((&socket).into())?;
    let send = state.send_buffer_size((&socket).into())?;
    let local = socket.local_addr()?;
    if asked.is_err() || receive.min(send) < BUFFER {
        warn!(%local, receive, send, wanted = BUFFER, "UDP buffers are small; raise net.core.rmem_max and wmem_max");
    } else {
        info!(%local, receive, send, "UDP buffers");
    }
    Ok(socket)
}

/// A socket that counts what arrives and is not of this protocol. It drops nothing: QUIC does that by itself.
#[derive(Debug)]
pub(super) struct WatchedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    marks: Marks,
    foreign: Arc<AtomicU64>,
}

impl WatchedSocket {
    pub(super) fn new(inner: Arc<dyn AsyncUdpSocket>, marks: Marks, foreign: Arc<AtomicU64>) -> WatchedSocket {
        WatchedSocket { inner, marks, foreign }
    }

    fn watch(&self, bytes: &[u8], stride: usize) {
        let foreign = bytes.chunks(stride.max(1)).filter(|datagram| self.marks.is_foreign(datagram)).count();
        if foreign > 0 {
            self.foreign.fetch_add(foreign as u64, Ordering::Relaxed);
        }
    }
}

impl AsyncUdpSocket for WatchedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter().zip(meta.iter()).take(count) {
            self.watch(&buf[..meta.len], meta.stride);
        }
        Poll::Ready(Ok(count))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

/// Marks that a node puts into its connection ids, to know them again, also those of its life before a restart. They
/// keep nobody out who has seen one; they tell noise apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks(u64);

impl Marks {
    /// Marks under this key.
    pub(super) fn new(key: u64) -> Marks {
        Marks(key)
    }

    fn mark(self, nonce: [u8; 4]) -> [u8; 4] {
        // The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
        let mut z = self.0 ^ u64::from(u32::from_le_bytes(nonce)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) as u32).to_le_bytes()
    }

    /// Whether a datagram is neither a first packet of QUIC version 1 nor one of a connection that this node has, or
    /// had (RFC 9000, section 17).
    fn is_foreign(self, datagram: &[u8]) -> bool {
        match datagram {
            // Long header: the version.
            [first, version @ .., _] if first & 0xc0 == 0xc0 => !version.starts_with(&[0, 0, 0, 1]),
            // Short header: the connection id.
            [first, a, b, c, d, mark @ ..] if first & 0xc0 == 0x40 => !mark.starts_with(&self.mark([*a, *b, *c, *d])),
            _ => true,
        }
    }
}

impl ConnectionIdGenerator for Marks {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; 4];
        SystemRandom::new().fill(&mut nonce).expect("the system has random numbers");
        ConnectionId::new(&[nonce, self.mark(nonce)].concat())
    }

    fn cid_len(&self) -> usize {
        8
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Bytes asked for in each direction. With the kernel's usual 208 KiB, 1 to 15 in a hundred datagrams were lost at full
/// speed.
const BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_connections_and_first_packets_are_known_and_the_rest_is_foreign() {
        let mut marks = Marks::new(42);
        let cid = marks.generate_cid();
        let short = [&[0x40][..], &cid, &[1, 2, 3]].concat();
        assert!(!marks.is_foreign(&short));
        assert!(Marks::new(43).is_foreign(&short));
        assert!(!marks.is_foreign(&[0xc3, 0, 0, 0, 1, 8, 1, 2]));
        assert!(marks.is_foreign(&[0xc3, 0, 0, 0, 2, 8, 1, 2]));
        for bytes in [&b""[..], b"\x40", b"GET / HTTP/1.1\r\n", &[0xff; 1200], &[0x00; 64]] {
            assert!(marks.is_foreign(bytes), "{bytes:?}");
        }
    }
}
