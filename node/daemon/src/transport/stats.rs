//! What a transport counts.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prost_certs::Rejections;

/// A number that only grows. Lives on the transport's thread.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    pub(super) fn count(&self) {
        self.add(1);
    }
}

/// Why a connection, or an attempt at one, was refused or ended by this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refused {
    /// The handshake broke QUIC. What broke TLS is among [`TransportStats::rejections`].
    Handshake,
    /// The handshake was not finished in time.
    HandshakeTimeout,
    /// The greeting was not said in time.
    GreetingTimeout,
    /// The peer began with something that is not a greeting of this connection.
    Greeting,
    /// The peer speaks another version of the protocol.
    Version,
    /// The peer is of another ring.
    WrongRing,
    /// A node dialled itself.
    Oneself,
    /// There was a connection between the same two nodes already.
    Duplicate,
    /// As many connections as there may be.
    Limit,
    /// As many connections from the peer's network as there may be.
    PrefixLimit,
    /// The peer broke the rules of the streams.
    Streams,
    /// The length of a frame was zero, or more than its stream may carry.
    FrameLength,
    /// The body of a frame was not what its kind says, or the stream ended within it.
    FrameMalformed,
    /// A frame of an unknown kind.
    FrameKind,
    /// A frame was begun and not finished in time.
    Stalled,
}

impl Refused {
    /// Every reason, in the order of declaration.
    pub const ALL: [Refused; 15] = [
        Refused::Handshake,
        Refused::HandshakeTimeout,
        Refused::GreetingTimeout,
        Refused::Greeting,
        Refused::Version,
        Refused::WrongRing,
        Refused::Oneself,
        Refused::Duplicate,
        Refused::Limit,
        Refused::PrefixLimit,
        Refused::Streams,
        Refused::FrameLength,
        Refused::FrameMalformed,
        Refused::FrameKind,
        Refused::Stalled,
    ];

    /// The reason as the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::Handshake => "handshake",
            Refused::HandshakeTimeout => "handshake_timeout",
            Refused::GreetingTimeout => "greeting_timeout",
            Refused::Greeting => "greeting",
            Refused::Version => "version",
            Refused::WrongRing => "wrong_ring",
            Refused::Oneself => "oneself",
            Refused::Duplicate => "duplicate",
            Refused::Limit => "limit",
            Refused::PrefixLimit => "prefix_limit",
            Refused::Streams => "streams",
            Refused::FrameLength => "frame_length",
            Refused::FrameMalformed => "frame_malformed",
            Refused::FrameKind => "frame_kind",
            Refused::Stalled => "stalled",
        }
    }
}

/// Counters of one transport, since it was made.
#[derive(Debug, Default)]
pub struct TransportStats {
    /// Dials begun.
    pub dials: Counter,
    /// Dials that led to no connection. Those that yielded to another connection to the same peer are not among them.
    pub dial_failures: Counter,
    /// Handshakes of others begun.
    pub accepts: Counter,
    /// Handshakes of others that had to prove their address first.
    pub retries: Counter,
    /// Connections that were reported.
    pub connected: Counter,
    /// Reported connections that ended.
    pub disconnected: Counter,
    /// Frames queued for sending.
    pub frames_sent: Counter,
    /// Their bytes.
    pub bytes_sent: Counter,
    /// Frames received.
    pub frames_received: Counter,
    /// Their bytes.
    pub bytes_received: Counter,
    /// Frames that were dropped because their queue was full, or there was no room for another peer.
    pub frames_overflowed: Counter,
    /// Frames that were queued for a connection that ended, or never came to be.
    pub frames_undelivered: Counter,
    refused: [Counter; Refused::ALL.len()],
    foreign: Arc<AtomicU64>,
    rejections: Arc<Rejections>,
}

impl TransportStats {
    /// How often connections were refused for this reason.
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused[reason as usize].get()
    }

    /// Refusals by the TLS handshake, by reason.
    pub fn rejections(&self) -> &Arc<Rejections> {
        &self.rejections
    }

    /// UDP datagrams that are not of this protocol: not QUIC version 1, or for no connection that this node can have had.
    pub fn foreign_datagrams(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(&self, reason: Refused) {
        self.refused[reason as usize].count();
    }

    pub(super) fn foreign(&self) -> Arc<AtomicU64> {
        self.foreign.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_name() {
        let stats = TransportStats::default();
        for reason in Refused::ALL {
            assert_eq!(stats.refused(reason), 0, "{}", reason.name());
            stats.refuse(reason);
        }
        assert!(Refused::ALL.iter().all(|reason| stats.refused(*reason) == 1));
        assert_eq!(Refused::ALL.map(Refused::name).into_iter().collect::<BTreeSet<_>>().len(), Refused::ALL.len());
    }
}
