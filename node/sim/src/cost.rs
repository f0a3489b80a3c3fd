//! What a frame costs on the wire, in bytes.
//!
//! A model of QUIC version 1 over IPv4 (RFC 9000, RFC 9001) with connection ids of eight bytes, as quinn sends it.

use prost_kbr::wire::Class;
use prost_kbr::{Message, Purpose};

/// IPv4 header without options (RFC 791) and UDP header (RFC 768).
pub const IP_UDP: u64 = 20 + 8;
/// The short header: first byte, connection id, packet number (RFC 9000, section 17.3.1).
pub const SHORT_HEADER: u64 = 1 + 8 + 2;
/// The authentication tag (RFC 9001, section 5.3).
pub const TAG: u64 = 16;
/// What each datagram has besides its QUIC frames.
pub const DATAGRAM: u64 = IP_UDP + SHORT_HEADER + TAG;
/// Header of a STREAM frame: type, stream id, offset of two bytes (RFC 9000, section 19.8).
pub const STREAM_HEADER: u64 = 4;
/// An ACK frame with one range (RFC 9000, section 19.3).
pub const ACK_FRAME: u64 = 6;
/// Longest UDP payload: what every path carries (RFC 9000, section 14.1).
pub const MAX_UDP_PAYLOAD: u64 = 1200;
/// What a datagram holds of QUIC frames.
pub const ROOM: u64 = MAX_UDP_PAYLOAD - SHORT_HEADER - TAG;
/// A datagram with nothing in it but an acknowledgement.
pub const ACK_DATAGRAM: u64 = DATAGRAM + ACK_FRAME;
/// Datagrams after which the receiver acknowledges at once (RFC 9000, section 13.2.2).
pub const ACK_EVERY: u32 = 2;
/// Longest time that an acknowledgement waits (RFC 9000, section 18.2, `max_ack_delay`), in microseconds.
pub const ACK_DELAY_US: u64 = 25_000;
/// A padded Initial datagram (RFC 9000, section 14.1).
pub const INITIAL: u64 = IP_UDP + MAX_UDP_PAYLOAD;
/// What the dialler sends: two padded Initials (ClientHello, acknowledgement), certificate, its proof and Finished
/// (about 1,300 bytes in two datagrams), and the greeting.
pub const HANDSHAKE_DIALLER: u64 = 2 * INITIAL + 1_300 + 2 * DATAGRAM + 150;
/// What the other side sends: a padded Initial with ServerHello and the start of its certificate, the rest of about
/// 1,300 bytes of certificate and proof, HANDSHAKE_DONE and session tickets, and the greeting.
pub const HANDSHAKE_LISTENER: u64 = INITIAL + 700 + 2 * DATAGRAM + 300;
/// What a dial to nobody sends in five seconds: Initials at 0, 1 and 3 s (RFC 9002, sections 6.2.1 and 6.2.2).
pub const HANDSHAKE_IN_VAIN: u64 = 3 * INITIAL;
/// A datagram with a CONNECTION_CLOSE frame or a stateless reset.
pub const CLOSE: u64 = DATAGRAM + 20;

/// Bytes for a frame that continues a datagram with room for it; none where it does not fit.
pub fn continued(frame: u64, room: u64) -> Option<u64> {
    let bytes = frame + STREAM_HEADER;
    (bytes <= room).then_some(bytes)
}

/// Datagrams that a frame fills which begins a new one, their bytes, and the room left in the last.
pub fn begun(frame: u64) -> (u32, u64, u64) {
    let piece = ROOM - STREAM_HEADER;
    let datagrams = frame.div_ceil(piece).max(1);
    let bytes = frame + datagrams * (DATAGRAM + STREAM_HEADER);
    let left = datagrams * piece - frame;
    (datagrams as u32, bytes, left)
}

/// Whether a frame serves the ring itself, and not a message that someone sent through it.
pub fn is_maintenance(message: &Message) -> bool {
    match message {
        Message::Route { routed, .. } => matches!(routed.envelope.purpose, Purpose::Finger(_)),
        Message::Outcome { outcome, .. } => matches!(outcome.purpose, Purpose::Finger(_)),
        Message::Acknowledge { .. } => false,
        other => other.class() == Class::Control,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_takes_several_datagrams() {
        assert_eq!(begun(10), (1, 10 + 59, ROOM - STREAM_HEADER - 10));
        assert_eq!(begun(1169), (1, 1169 + 59, 0));
        assert_eq!(begun(1170), (2, 1170 + 2 * 59, 1168));
    }

    #[test]
    fn a_frame_shares_a_datagram_only_where_it_fits() {
        assert_eq!(continued(10, 14), Some(14));
        assert_eq!(continued(11, 14), None);
    }

    #[test]
    fn a_handshake_takes_about_seven_thousand_bytes() {
        let both = HANDSHAKE_DIALLER + HANDSHAKE_LISTENER;
        assert!((5_000..8_000).contains(&both), "{both}");
    }
}
