//! Bytes a node and a second.

use crate::world::{Traffic, World};

/// Adds up what nodes have sent during some stretches of time, and how long they have lived in them.
#[derive(Debug, Default)]
pub struct TrafficMeter {
    sent: Traffic,
    node_us: u128,
    /// What had been sent, and the time that nodes had lived, when the present stretch began.
    began: Option<(Traffic, u128)>,
}

/// Bytes that a live node sends, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// For the ring.
    pub maintenance: f64,
    /// For routed messages.
    pub messages: f64,
    /// For new connections.
    pub handshakes: f64,
}

impl TrafficMeter {
    /// A stretch begins, and another ends where one is under way. `node_us` is the time that all nodes together have
    /// lived so far, in microseconds.
    pub fn begin(&mut self, world: &World, node_us: u128) {
        self.end(world, node_us);
        self.began = Some((sent_by_all(world), node_us));
    }

    /// The stretch ends.
    pub fn end(&mut self, world: &World, node_us: u128) {
        let Some((before, lived)) = self.began.take() else { return };
        let now = sent_by_all(world);
        self.sent.maintenance += now.maintenance - before.maintenance;
        self.sent.messages += now.messages - before.messages;
        self.sent.handshakes += now.handshakes - before.handshakes;
        self.node_us += node_us - lived;
    }

    /// The rates over all stretches that have ended; zero where no node has lived in one.
    pub fn rates(&self) -> Rates {
        let rate = |bytes: u64| if self.node_us == 0 { 0.0 } else { bytes as f64 * 1e6 / self.node_us as f64 };
        Rates {
            maintenance: rate(self.sent.maintenance),
            messages: rate(self.sent.messages),
            handshakes: rate(self.sent.handshakes),
        }
    }
}

fn sent_by_all(world: &World) -> Traffic {
    let mut all = Traffic::default();
    for node in 0..world.count() {
        let sent = world.traffic(node);
        all.maintenance += sent.maintenance;
        all.messages += sent.messages;
        all.handshakes += sent.handshakes;
    }
    all
}
