//! What goes into a [`Machine`](crate::Machine) and what comes out.

use core::net::SocketAddr;
use core::time::Duration;

use bytes::Bytes;

use crate::failure::{Failure, Refusal};
use crate::header::Dispatch;
use crate::id::{Interval, Key, NodeId};
use crate::message::{Message, MessageId, Outcome, Peer, Routed};

/// Most paths of a redundant lookup.
pub const MAX_PATHS: u8 = 8;

/// What can happen to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Become a member through any of these addresses; with none, found a ring. Answered by [`Output::Joined`].
    Join {
        /// Addresses of members, tried in turn and again until one answers.
        known: Vec<SocketAddr>,
    },
    /// A connection to this peer is up, and has proven its id. Comes before any frame from it: frames from peers that
    /// were never connected are dropped.
    Connected {
        /// The peer, with the address it can be dialled at.
        peer: Peer,
    },
    /// There is no connection to this peer any more: it was lost, or a dial failed.
    Disconnected {
        /// The peer.
        id: NodeId,
    },
    /// No one could be reached at an address that [`Output::Dial`] named.
    DialFailed {
        /// The address.
        addr: SocketAddr,
    },
    /// A round-trip time that the transport measured.
    RoundTrip {
        /// The peer.
        id: NodeId,
        /// The transport's smoothed estimate.
        rtt: Duration,
    },
    /// A frame. The transport has authenticated the sender.
    Received {
        /// Who sent it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// Send a message into the ring, or straight to a node. Ends in exactly one [`Output::Ended`].
    Route(RouteRequest),
    /// Who is responsible for the key? Ends in exactly one [`Output::Ended`].
    Lookup {
        /// Chosen by the caller, from the same space as the ids of routed messages.
        id: MessageId,
        /// The key.
        key: Key,
        /// Zero for the node responsible, which then answers itself. Else any node may answer that knows as many of the
        /// first nodes responsible, which takes less time and may be a little out of date.
        replicas: u8,
    },
    /// Who is responsible for the key, asked over several paths that share no node, so that no one node can answer for the
    /// ring? Ends in exactly one [`Output::Ended`]. Slower and dearer than [`Input::Lookup`].
    LookupRedundant {
        /// As for [`Input::Lookup`].
        id: MessageId,
        /// The key.
        key: Key,
        /// How many paths, 1 to [`MAX_PATHS`].
        paths: u8,
    },
    /// Answers [`Output::Forward`].
    Verdict {
        /// The origin of the message.
        origin: NodeId,
        /// The message.
        id: MessageId,
        /// What the applications said.
        verdict: Verdict,
    },
    /// Answers [`Output::Deliver`].
    Handled {
        /// The origin of the message.
        origin: NodeId,
        /// The message.
        id: MessageId,
        /// How it went.
        handling: Handling,
    },
    /// Ask this peer for its neighbours, for a walk round the ring. Answered by [`Output::Neighbours`].
    AskNeighbours {
        /// Comes back in the answer.
        request: u64,
        /// The peer to ask; this node itself is answered at once.
        peer: Peer,
    },
    /// Send this to a peer's upper layer, without acknowledgement.
    SendUpper {
        /// The peer.
        to: Peer,
        /// What the upper layers understand.
        payload: Bytes,
    },
    /// Leave the ring: tell the neighbours, then [`Output::Left`].
    Leave,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRequest {
    /// Unique for this node, for ever: drivers start counting at a random number.
    pub id: MessageId,
    /// The destination key; none for a direct send to `hint`.
    pub key: Option<Key>,
    /// The PROST application type.
    pub dispatch: Dispatch,
    /// An encoded [`Header`](crate::Header).
    pub header: Bytes,
    /// The application's data.
    pub payload: Bytes,
    /// The first hop to take, or for a direct send its destination.
    pub hint: Option<NodeId>,
    /// How long until it ends in [`Failure::Deadline`]; none for the configured time.
    pub deadline: Option<Duration>,
}

/// What the applications on this node decided about a message that is about to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as it is.
    Pass,
    /// It goes on changed.
    Rewrite {
        /// The destination from here on.
        key: Key,
        /// The data from here on.
        payload: Bytes,
        /// The next hop; none leaves the choice to routing.
        next: Option<NodeId>,
    },
    /// It ends here, as delivered.
    Stop,
}

/// How the delivery of a message went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handling {
    /// Handled, and what it wrote is durable.
    Done,
    /// It was this node's to handle, and that failed.
    Failed(Failure),
    /// This node will not run the application: the next node of the replica set is asked.
    Refused(Refusal),
}

/// What a node wants done, in the order it wants it done.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to whoever is at this address. Answered by [`Input::Connected`] or [`Input::DialFailed`].
    Dial {
        /// The address.
        addr: SocketAddr,
    },
    /// Send a frame, dialling the peer first where there is no connection. Where that fails: [`Input::Disconnected`].
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: Message,
    },
    /// These peers are the node's neighbours and fingers: keep one connection to each open, and dial those that have
    /// none. Replaces the set said before.
    Keep(Vec<Peer>),
    /// The connection to this peer was made to measure it, and has served: it may end as soon as nobody speaks on it.
    Release(NodeId),
    /// A message of type 0 is about to go on from here. Answered by [`Input::Verdict`]; without an answer in half of the
    /// message's remaining time it goes on as it is. Direct sends pass through no node and are not shown.
    Forward {
        /// The message.
        routed: Routed,
        /// The node it came from; this node where it starts here.
        previous: Peer,
        /// The next hop that routing would take.
        next: NodeId,
    },
    /// A message has arrived: this node is responsible for its key, or was addressed. Answered by [`Input::Handled`].
    Deliver {
        /// The message.
        routed: Routed,
        /// The node it came from; this node where it started here.
        previous: Peer,
    },
    /// A message or a lookup that started here has ended.
    Ended(Outcome),
    /// The neighbourhood has changed.
    Update(Change),
    /// Answers [`Input::AskNeighbours`].
    Neighbours {
        /// From the question.
        request: u64,
        /// Predecessors and successors, nearest first; none where the peer did not answer.
        neighbours: Option<(Vec<Peer>, Vec<Peer>)>,
    },
    /// The node has become a member of the ring.
    Joined,
    /// The node has told its neighbours that it leaves; nothing more will come.
    Left,
    /// A frame for the layer above.
    Upper {
        /// Who sent it.
        from: Peer,
        /// What.
        payload: Bytes,
    },
}

/// A change of the neighbourhood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node entered the successor list or the predecessor list.
    Joined(NodeId),
    /// A node left both.
    Left(NodeId),
    /// Responsibility for these keys came to this node.
    Gained(Interval),
    /// Responsibility for these keys went to another.
    Lost(Interval),
    /// A node that [`Machine::watch`](crate::Machine::watch) named has become unreachable.
    WatchedDown(NodeId),
}

/// Why a machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimerKind {
    /// A round of stabilisation.
    Stabilize,
    /// The repair of one finger.
    FixFinger,
    /// Liveness of the neighbours.
    KeepAlive,
    /// A question to a peer has gone unanswered.
    Question,
    /// A hop has gone unacknowledged.
    Hop,
    /// A message has reached its deadline.
    Deadline,
    /// Acknowledgements are due.
    Acknowledge,
    /// The next attempt to join.
    Join,
}
