//! What one node knows of another: its half of their connection, or of the way to one.

use prost_kbr::{Message, Time};

use super::Index;
use crate::cost;

/// Most frames that wait for a connection to one peer.
pub(super) const MAX_UNSENT: usize = 4096;

/// One node's side of things with one peer. The daemon's transport has the same (`transport/links.rs`).
#[derive(Debug)]
pub(super) struct Half {
    pub(super) peer: Index,
    /// Apart, as half of the peers that a node remembers are not connected.
    pub(super) live: Option<Box<Live>>,
    /// A dial of this node by the peer's id.
    pub(super) dial: Option<Dial>,
    /// A dial of this node, by id or by address, that has greeted and waits for the answer.
    pub(super) greeted: Option<u64>,
    /// Frames that wait for a connection.
    pub(super) unsent: Vec<Message>,
    /// Whether the node keeps the peer connected.
    pub(super) wanted: bool,
    /// Whether the node waits to hear of this peer, so that a failure must be told.
    pub(super) owed: bool,
    pub(super) failures: u32,
    /// No dial begins before.
    pub(super) quiet_until: Time,
}

/// A dial under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dial {
    /// Tells it from all others; the connection's number if it comes to one.
    pub(super) number: u64,
    pub(super) begins: Time,
    /// Whether it has one of the node's places for handshakes.
    pub(super) seated: bool,
}

/// A connection that is open, as this node sees it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) number: u64,
    pub(super) outbound: bool,
    /// The peer's life: a process that starts again greets with another incarnation.
    pub(super) life: u32,
    pub(super) since: Time,
    /// Microseconds there and back.
    pub(super) rtt_us: u64,
    /// The idle timer counts from here: when something was last heard, or first sent after that (RFC 9000, section 10.1).
    pub(super) fresh: Time,
    /// Whether something was sent since something was heard.
    pub(super) asked: bool,
    /// Since when the node needs it no more. Whoever speaks on it takes that back.
    pub(super) released: Option<Time>,
    /// When the last frame of each class arrives: the next cannot be earlier.
    pub(super) streams: [Time; 3],
    pub(super) packing: Packing,
    pub(super) debt: Debt,
    /// Whether the path is in a burst of losses.
    pub(super) burst: bool,
    /// The connection stands still until then.
    pub(super) clogged: Time,
    /// The second for which it was drawn whether it clogs.
    pub(super) drawn: u64,
}

/// The datagram that was begun last.
#[derive(Debug, Default)]
pub(super) struct Packing {
    at: Time,
    room: u64,
}

/// Acknowledgements that this node owes.
#[derive(Debug, Default)]
pub(super) struct Debt {
    datagrams: u32,
    since: Time,
    maintenance: bool,
}

/// An acknowledgement that went in a datagram of its own, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) maintenance: bool,
}

impl Half {
    pub(super) fn new(peer: Index, now: Time) -> Half {
        Half {
            peer,
            live: None,
            dial: None,
            greeted: None,
            unsent: Vec::new(),
            wanted: false,
            owed: false,
            failures: 0,
            quiet_until: now,
        }
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_spent(&self, now: Time) -> bool {
        let idle = self.live.is_none() && self.dial.is_none() && self.greeted.is_none();
        idle && !self.wanted && self.quiet_until <= now
    }

    /// The open connection, if it has this number.
    pub(super) fn live_as(&mut self, number: u64) -> Option<&mut Live> {
        self.live.as_deref_mut().filter(|live| live.number == number)
    }
}

impl Live {
    pub(super) fn new(number: u64, outbound: bool, life: u32, rtt_us: u64, now: Time) -> Live {
        Live {
            number,
            outbound,
            life,
            since: now,
            rtt_us,
            fresh: now,
            asked: false,
            released: None,
            streams: [now; 3],
            packing: Packing::default(),
            debt: Debt::default(),
            burst: false,
            clogged: Time::ZERO,
            drawn: u64::MAX,
        }
    }

    /// Something is heard from the peer at this time, which may be a little ahead.
    pub(super) fn heard(&mut self, at: Time) {
        self.fresh = self.fresh.max(at);
        self.asked = false;
    }

    /// Something that the peer acknowledges is sent.
    pub(super) fn said(&mut self, now: Time) {
        if !self.asked {
            self.asked = true;
            self.fresh = self.fresh.max(now);
        }
    }
}

impl Packing {
    /// Bytes that a frame adds to what is sent, and the datagrams that it begins.
    pub(super) fn add(&mut self, now: Time, frame: u64) -> (u64, u32) {
        if self.at == now
            && let Some(bytes) = cost::continued(frame, self.room)
        {
            self.room -= bytes;
            return (bytes, 0);
        }
        let (datagrams, bytes, room) = cost::begun(frame);
        (self.at, self.room) = (now, room);
        (bytes, datagrams)
    }
}

impl Debt {
    /// Datagrams have arrived. Says whether acknowledgements of their own were sent: for what was owed before, and now.
    pub(super) fn owe(&mut self, now: Time, datagrams: u32, maintenance: bool) -> [Option<Acknowledged>; 2] {
        if datagrams == 0 {
            return [None; 2];
        }
        let late = self.expire(now);
        if self.datagrams == 0 {
            (self.since, self.maintenance) = (now, maintenance);
        }
        self.datagrams += datagrams;
        let due = self.datagrams >= cost::ACK_EVERY;
        [late, due.then(|| self.settle())]
    }

    /// A datagram is sent. Says whether an acknowledgement of its own went before it, and whether one goes with it.
    pub(super) fn ride(&mut self, now: Time) -> (Option<Acknowledged>, bool) {
        let late = self.expire(now);
        let rides = self.datagrams > 0;
        self.datagrams = 0;
        (late, rides)
    }

    /// What has been sent because it could wait no longer.
    pub(super) fn overdue(&self, now: Time) -> Option<Acknowledged> {
        let waited = now.as_micros().saturating_sub(self.since.as_micros());
        let due = self.datagrams > 0 && waited >= cost::ACK_DELAY_US;
        due.then_some(Acknowledged { maintenance: self.maintenance })
    }

    fn expire(&mut self, now: Time) -> Option<Acknowledged> {
        let late = self.overdue(now)?;
        self.datagrams = 0;
        Some(late)
    }

    fn settle(&mut self) -> Acknowledged {
        self.datagrams = 0;
        Acknowledged { maintenance: self.maintenance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: Option<Acknowledged> = Some(Acknowledged { maintenance: true });

    const fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn every_second_datagram_is_acknowledged_at_once() {
        let mut debt = Debt::default();
        assert_eq!(debt.owe(at(10), 1, true), [None, None]);
        assert_eq!(debt.owe(at(20), 1, true), [None, ACK]);
        assert_eq!(debt.owe(at(30), 1, true), [None, None]);
        assert_eq!(debt.owe(at(40), 0, true), [None, None]);
    }

    #[test]
    fn an_acknowledgement_waits_for_a_datagram_to_ride_with_but_not_for_long() {
        let mut debt = Debt::default();
        let _ = debt.owe(at(0), 1, true);
        assert_eq!(debt.ride(at(24_999)), (None, true));
        assert_eq!(debt.ride(at(24_999)), (None, false));
        let _ = debt.owe(at(30_000), 1, true);
        assert_eq!(debt.overdue(at(55_000)), ACK);
        assert_eq!(debt.ride(at(55_000)), (ACK, false));
    }

    #[test]
    fn frames_of_one_instant_share_a_datagram() {
        let mut packing = Packing::default();
        assert_eq!(packing.add(at(5), 100), (159, 1));
        assert_eq!(packing.add(at(5), 100), (104, 0));
        assert_eq!(packing.add(at(6), 100), (159, 1));
        assert_eq!(packing.add(at(6), 1_169), (1_228, 1));
    }

    #[test]
    fn the_idle_timer_counts_from_the_first_thing_said_after_the_last_heard() {
        let mut live = Live::new(1, true, 1, 0, at(0));
        live.heard(at(10));
        live.said(at(20));
        live.said(at(30));
        assert_eq!(live.fresh, at(20));
        live.heard(at(40));
        assert_eq!(live.fresh, at(40));
    }
}
