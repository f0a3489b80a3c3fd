//! Nodes that lie: what others send them is swallowed or answered falsely before the node itself, which is honest, sees it.

use prost_kbr::{Key, Message, Outcome, Peer, Purpose, Routed};

use super::{Index, World};

/// How a Byzantine node treats what others ask of it. It keeps its place in the ring as any other node does: it pings,
/// stabilises and takes part in repairs, so that nobody takes it for dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deceit {
    /// It acknowledges messages and drops them, and does not answer those who ask for the next node on the way to a key.
    Drop,
    /// It says that it is responsible, whatever the key.
    Claim,
    /// The same for this key alone. With all others it is honest.
    ClaimOne(Key),
}

impl Deceit {
    fn is_about(self, key: Option<Key>) -> bool {
        match self {
            Deceit::Drop | Deceit::Claim => true,
            Deceit::ClaimOne(claimed) => key == Some(claimed),
        }
    }
}

impl World {
    /// A Byzantine node deals with a frame in its own way. Says whether it did.
    pub(super) fn deceive(&mut self, node: Index, from: Index, message: &Message) -> bool {
        let Some(deceit) = self.liars.get(&node).copied() else { return false };
        let me = self.peer(node);
        if !self.members.contains_key(&me.id) {
            return false;
        }
        let (first, second) = match message {
            Message::Route { seq, routed } if deceit.is_about(routed.envelope.key) => {
                let claim = (deceit != Deceit::Drop).then(|| claim(me, routed));
                (Some(Message::Acknowledge { runs: vec![(*seq, 1)] }), claim)
            }
            Message::GetNext { key, .. } if deceit == Deceit::Drop && deceit.is_about(Some(*key)) => (None, None),
            Message::GetNext { request, key } if deceit.is_about(Some(*key)) => {
                (Some(Message::Next { request: *request, mine: true, next: Vec::new() }), None)
            }
            _ => return false,
        };
        for answer in first.into_iter().chain(second) {
            self.transmit(node, from, answer);
        }
        true
    }
}

/// The outcome of a message that this node says it was responsible for, to the node that it came from.
fn claim(me: Peer, routed: &Routed) -> Message {
    let envelope = &routed.envelope;
    let replicas = match envelope.purpose {
        Purpose::Replicas(_) | Purpose::Finger(_) => vec![me],
        Purpose::App(_) | Purpose::Lookup => Vec::new(),
    };
    let (id, purpose, hops) = (envelope.id, envelope.purpose, envelope.hops);
    let outcome = Outcome { id, purpose, result: Ok(me), replicas, hops, path: envelope.path.clone() };
    let mut via = envelope.via.clone();
    via.pop();
    Message::Outcome { via, origin: envelope.origin, outcome }
}
