//! Why a connection was closed: the error codes of this application protocol in QUIC's CONNECTION_CLOSE.

use quinn::{ConnectionError, VarInt};

/// Why one side closes a connection. Sent as the application error code of RFC 9000, section 19.19.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CloseCode {
    /// The node shuts down.
    Shutdown = 1,
    /// There is, or will be in a moment, another connection between the same two nodes.
    Duplicate = 2,
    /// Nothing was said for a while, and the connection is not wanted.
    Idle = 3,
    /// The node has as many connections as it may have.
    Limit = 4,
    /// What had to be said in a certain time was not.
    Timeout = 5,
    /// The peer is of another ring.
    WrongRing = 6,
    /// The peer speaks another version of the protocol.
    Version = 7,
    /// The peer broke the rules of the streams or of the greeting.
    Protocol = 8,
    /// A frame that cannot be decoded.
    BadFrame = 9,
    /// The length of a frame is zero, or more than its stream may carry.
    FrameLength = 10,
    /// A node has dialled itself.
    Oneself = 11,
}

impl CloseCode {
    /// The code on the wire.
    pub(super) fn on_wire(self) -> VarInt {
        VarInt::from(self as u8)
    }

    /// The code in words: the reason phrase that travels with it.
    pub const fn name(self) -> &'static str {
        match self {
            CloseCode::Shutdown => "shutdown",
            CloseCode::Duplicate => "duplicate",
            CloseCode::Idle => "idle",
            CloseCode::Limit => "limit",
            CloseCode::Timeout => "timeout",
            CloseCode::WrongRing => "wrong ring",
            CloseCode::Version => "version",
            CloseCode::Protocol => "protocol",
            CloseCode::BadFrame => "bad frame",
            CloseCode::FrameLength => "frame length",
            CloseCode::Oneself => "oneself",
        }
    }

    /// Whether the peer closed the connection with this code.
    pub(super) fn is(self, error: &ConnectionError) -> bool {
        matches!(error, ConnectionError::ApplicationClosed(close) if close.error_code == self.on_wire())
    }

    /// Closes the connection with this code. A connection that is closed already stays as it was closed.
    pub(super) fn close(self, connection: &quinn::Connection) {
        connection.close(self.on_wire(), self.name().as_bytes());
    }
}
