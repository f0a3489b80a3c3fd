//! What happens, as text.

use prost_kbr::{Message, Peer};

use crate::events::{Due, Event};
use crate::world::World;

impl World {
    pub(crate) fn note(&mut self, text: impl FnOnce(&World) -> String) {
        if let Some(mut log) = self.log.take() {
            log.push(text(self));
            self.log = Some(log);
        }
    }

    pub(crate) fn clock(&self) -> String {
        format!("{:>10.3} ms", self.now.as_micros() as f64 / 1000.0)
    }

    pub(crate) fn describe(&self, due: &Due) -> String {
        let node = due.node;
        match due.pending.map(|at| &self.pending[at].event) {
            None => format!("{node} wakes: {:?}", self.nodes[node].machine.poll_timeout().map(|(_, kind)| kind)),
            Some(Event::Frame { from, message }) => format!("{node} hears from {from}: {}", self.brief(message)),
            Some(Event::Notice { dead }) => format!("{node} loses its connection to {dead}"),
            Some(Event::Connect { to, .. }) => format!("{node} has dialled {to}"),
        }
    }

    fn brief(&self, message: &Message) -> String {
        let places = |peers: &[Peer]| peers.iter().map(|peer| self.place(peer.id)).collect::<Vec<_>>();
        match message {
            Message::Neighbours { predecessors, successors, joined, .. } => {
                let (before, after) = (places(predecessors), places(successors));
                format!("Neighbours, member {joined}, before {before:?}, after {after:?}")
            }
            Message::Predecessor { peer, .. } => format!("Predecessor {}", self.place(peer.id)),
            Message::Route { routed, .. } => format!("Route toward {:?}", routed.envelope.key),
            other => format!("{other:?}"),
        }
    }
}
