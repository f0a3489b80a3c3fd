//! What has arrived, for the driver to take.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use prost_kbr::{Message, NodeId, Peer};
use tokio::sync::Notify;

/// Something that happened on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A connection to this peer is up, and both sides have said that they are of this ring.
    Connected {
        /// The peer, and where it says that it can be dialled.
        peer: Peer,
    },
    /// There is no connection to this peer: it ended, or a dial failed.
    Disconnected {
        /// The peer.
        id: NodeId,
    },
    /// No node of this ring could be reached at an address that was dialled.
    DialFailed {
        /// The address.
        addr: SocketAddr,
    },
    /// A frame.
    Received {
        /// Who sent it: the id that the peer has proven.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// A measured round-trip time.
    RoundTrip {
        /// The peer.
        id: NodeId,
        /// QUIC's smoothed estimate.
        rtt: Duration,
    },
}

/// Arrivals in order. Readers of streams fill it and wait while it is full; the driver empties it.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: RefCell<VecDeque<(usize, Arrival)>>,
    bytes: Cell<usize>,
    waiting: Cell<bool>,
    closed: Cell<bool>,
    arrived: Notify,
    room: Notify,
}

impl Inbox {
    /// Appends one that stands for so many bytes of frames. Never fails: who appends frames asks [`Inbox::is_full`].
    pub(super) fn push(&self, arrival: Arrival, bytes: usize) {
        self.queue.borrow_mut().push_back((bytes, arrival));
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// Appends one and tells the driver.
    pub(super) fn report(&self, arrival: Arrival) {
        self.push(arrival, 0);
        self.wake();
    }

    /// Tells the driver that something was appended.
    pub(super) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// Whether frames must wait.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.get() >= MAX_BYTES || self.queue.borrow().len() >= MAX_ARRIVALS
    }

    /// Waits until there is room again.
    pub(super) async fn room(&self) {
        while self.is_full() && !self.closed.get() {
            self.waiting.set(true);
            self.room.notified().await;
        }
    }

    /// Waits until there is something. Cancel safe.
    pub(super) async fn arrival(&self) {
        while self.queue.borrow().is_empty() {
            self.arrived.notified().await;
        }
    }

    /// Moves what is there into `turn`, at most [`MAX_TURN`].
    pub(super) fn take(&self, turn: &mut Vec<Arrival>) {
        let mut queue = self.queue.borrow_mut();
        let count = queue.len().min(MAX_TURN);
        let mut bytes = 0;
        turn.extend(queue.drain(..count).map(|(size, arrival)| {
            bytes += size;
            arrival
        }));
        self.bytes.set(self.bytes.get() - bytes);
        // Half of it, so that readers do not wake for every frame that leaves.
        let relaxed = self.bytes.get() < MAX_BYTES / 2 && queue.len() < MAX_ARRIVALS / 2;
        if relaxed && self.waiting.replace(false) {
            self.room.notify_waiters();
        }
    }

    /// Lets everyone go who waits for room: nobody will take anything any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.room.notify_waiters();
    }
}

/// Most arrivals that one call takes.
pub(super) const MAX_TURN: usize = 1024;
const MAX_ARRIVALS: usize = 8192;
const MAX_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn ping(nonce: u64) -> Arrival {
        Arrival::Received { from: NodeId::ZERO, message: Message::Ping { nonce } }
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken_when_half_is_taken() {
        let inbox = Inbox::default();
        for nonce in 0..MAX_ARRIVALS as u64 {
            assert!(!inbox.is_full());
            inbox.push(ping(nonce), 1);
        }
        assert!(inbox.is_full());
        let mut turn = Vec::new();
        tokio::join!(inbox.room(), async {
            while inbox.is_full() || turn.len() <= MAX_ARRIVALS / 2 {
                inbox.arrival().await;
                inbox.take(&mut turn);
            }
        });
        assert!(turn.iter().zip(0..).all(|(arrival, nonce)| *arrival == ping(nonce)));
    }

    #[test]
    fn bytes_fill_it_as_well() {
        let inbox = Inbox::default();
        inbox.push(ping(0), MAX_BYTES);
        assert!(inbox.is_full());
        inbox.take(&mut Vec::new());
        assert!(!inbox.is_full());
    }
}
