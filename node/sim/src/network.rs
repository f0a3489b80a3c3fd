//! What the network does to frames, besides delaying them: loss, jitter, duplication, cuts, congestion.

use core::time::Duration;
use std::collections::BTreeSet;

/// The conditions of the network. The default is a network without faults.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Spread of a frame's one-way time: the sigma of a lognormal factor, 0 to 1.
    pub jitter: f64,
    /// Chance that a packet is lost, 0 to 1. QUIC sends it again: a lost packet is a late frame, and what follows on its
    /// stream waits for it.
    pub loss: f64,
    /// Mean length of a burst of losses, in packets; 0 or 1 for independent losses (Gilbert and Elliott's model).
    pub loss_burst: f64,
    /// Chance that a frame arrives a second time, up to a second later, 0 to 1.
    pub duplicate: f64,
    /// Mean of an exponential extra delay of each frame; zero for none. It reorders frames of different streams.
    pub extra_delay: Duration,
    /// Chance that a frame takes 100 times as long, as far as QUIC lets it: what packets that were sent later show to be
    /// missing is sent again.
    pub tail: f64,
    /// Chance, a second and a connection, that it stands still for a while (N4), and the mean of that while.
    pub clog: (f64, Duration),
    /// Bytes a second that each node can send; none for no bound. What does not fit waits in its queue.
    pub bandwidth: Option<u64>,
    /// Ordered pairs (from, to) whose packets are lost without notice, for as long as they are listed here.
    pub cut: BTreeSet<(u32, u32)>,
    /// The side each node is on; packets between different sides are lost. Nodes that are not listed are on side 0.
    pub sides: Vec<u8>,
}

impl Network {
    /// Whether packets from one node to another get through at all.
    pub fn passes(&self, from: u32, to: u32) -> bool {
        let side = |node: u32| self.sides.get(node as usize).copied().unwrap_or(0);
        side(from) == side(to) && (self.cut.is_empty() || !self.cut.contains(&(from, to)))
    }
}
