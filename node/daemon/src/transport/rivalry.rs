//! Which of two connections between the same two nodes stays.

use prost_kbr::NodeId;

/// Who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// This node.
    Outbound,
}

/// What becomes of a connection that the peer dialled and greeted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the one.
    Adopt,
    /// It is the one, and the connection that there is ends.
    Replace,
    /// It ends.
    Reject,
}

/// Judges a new connection that `peer` dialled. `live` is the connection that there is and whether its peer has the same
/// incarnation; `greeted` is whether this node has dialled too, and waits for the answer to its greeting.
pub(super) fn judge(me: NodeId, peer: NodeId, live: Option<(Direction, bool)>, greeted: bool) -> Verdict {
    match live {
        // Both greeted at once, and the answer to ours was faster than their greeting.
        Some((Direction::Outbound, true)) if me < peer => Verdict::Reject,
        Some(_) => Verdict::Replace,
        None if greeted && me < peer => Verdict::Reject,
        None => Verdict::Adopt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NodeId = NodeId::from_bytes([1; 20]);
    const LARGE: NodeId = NodeId::from_bytes([2; 20]);

    #[test]
    fn of_two_that_greeted_at_once_the_dial_of_the_smaller_id_stays() {
        assert_eq!(judge(SMALL, LARGE, None, true), Verdict::Reject);
        assert_eq!(judge(LARGE, SMALL, None, true), Verdict::Adopt);
        assert_eq!(judge(SMALL, LARGE, Some((Direction::Outbound, true)), false), Verdict::Reject);
    }

    #[test]
    fn without_a_rival_any_connection_is_taken() {
        assert_eq!(judge(SMALL, LARGE, None, false), Verdict::Adopt);
        assert_eq!(judge(LARGE, SMALL, None, false), Verdict::Adopt);
    }

    #[test]
    fn a_peer_that_dials_again_has_lost_the_old_connection() {
        assert_eq!(judge(SMALL, LARGE, Some((Direction::Inbound, true)), false), Verdict::Replace);
        assert_eq!(judge(SMALL, LARGE, Some((Direction::Outbound, false)), false), Verdict::Replace);
        assert_eq!(judge(LARGE, SMALL, Some((Direction::Outbound, true)), false), Verdict::Replace);
    }
}
