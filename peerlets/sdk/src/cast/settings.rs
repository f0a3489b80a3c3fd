//! What an application chooses.

use core::time::Duration;

/// How a tree is kept. All nodes of an application use the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A parent that has sent no data for so long sends a heartbeat (JSAC 2002, section III-C).
    pub heartbeat: Duration,
    /// A child whose parent is silent for so long looks for another. More than one heartbeat.
    pub silence: Duration,
    /// A child says that it is still there this often; its parent forgets it after three times as long.
    pub refresh: Duration,
    /// Children that a node serves in a group, unless [`Upcalls::capacity`](super::Upcalls::capacity) says otherwise.
    pub children: usize,
    /// Groups that a node has an entry for at most, as a member or on the way of others.
    pub groups: usize,
    /// Bytes of past frames that a node keeps of a group, for children that have missed some; zero for none.
    pub history: usize,
    /// Whether members get frames in the order of the root: one that comes early waits for those before it, up to the
    /// time that a repair takes.
    pub ordered: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(15),
            refresh: Duration::from_secs(20),
            children: 16,
            groups: 1024,
            history: 0,
            ordered: false,
        }
    }
}
