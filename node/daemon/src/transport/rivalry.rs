//! Which of two connections between the same two nodes stays.

use std::time::Duration;

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

/// The connection that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) direction: Direction,
    /// Whether its peer has the same incarnation.
    pub(super) same: bool,
    /// How long it has been there.
    pub(super) age: Duration,
}

/// Judges a new connection that `peer` dialled. `live` is the one that there is; `greeted` is whether this node has dialled
/// too, and waits for the answer to its greeting. A greeting arrives within `late` or never.
pub(super) fn judge(me: NodeId, peer: NodeId, live: Option<Present>, greeted: bool, late: Duration) -> Verdict {
    // Both greeted at once, and the answer to ours was faster than their greeting. One that was sent later comes from a
    // peer that has lost the connection: with it, it would not have greeted.
    let crossed = |live: Present| live.direction == Direction::Outbound && live.same && live.age <= late;
    match live {
        Some(live) if me < peer && crossed(live) => Verdict::Reject,
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
    const LATE: Duration = Duration::from_secs(5);

    fn present(direction: Direction, same: bool) -> Option<Present> {
        Some(Present { direction, same, age: LATE })
    }

    fn judge(me: NodeId, peer: NodeId, live: Option<Present>, greeted: bool) -> Verdict {
        super::judge(me, peer, live, greeted, LATE)
    }

    #[test]
    fn of_two_that_greeted_at_once_the_dial_of_the_smaller_id_stays() {
        assert_eq!(judge(SMALL, LARGE, None, true), Verdict::Reject);
        assert_eq!(judge(LARGE, SMALL, None, true), Verdict::Adopt);
        assert_eq!(judge(SMALL, LARGE, present(Direction::Outbound, true), false), Verdict::Reject);
    }

    #[test]
    fn without_a_rival_any_connection_is_taken() {
        assert_eq!(judge(SMALL, LARGE, None, false), Verdict::Adopt);
        assert_eq!(judge(LARGE, SMALL, None, false), Verdict::Adopt);
    }

    #[test]
    fn a_peer_that_dials_again_has_lost_the_old_connection() {
        assert_eq!(judge(SMALL, LARGE, present(Direction::Inbound, true), false), Verdict::Replace);
        assert_eq!(judge(SMALL, LARGE, present(Direction::Outbound, false), false), Verdict::Replace);
        assert_eq!(judge(LARGE, SMALL, present(Direction::Outbound, true), false), Verdict::Replace);
        let old = Present { direction: Direction::Outbound, same: true, age: LATE + Duration::from_millis(1) };
        assert_eq!(judge(SMALL, LARGE, Some(old), false), Verdict::Replace, "no greeting is under way for so long");
    }
}
