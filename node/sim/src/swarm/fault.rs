//! The faults that a run can have, and how strong they are.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// A kind of fault. The letter and number are those of the list of faults: N for the network, P for processes, C for
/// clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FaultId {
    /// Packets are lost; strength: per mille, to 300.
    #[serde(rename = "N1-loss")]
    Loss,
    /// Frames come twice; strength: per mille, to 500.
    #[serde(rename = "N2-duplicate")]
    Duplicate,
    /// Frames are late, and one in a thousand takes 100 times as long; strength: mean in milliseconds, to 300.
    #[serde(rename = "N3-delay")]
    Delay,
    /// Connections stand still for a while; strength: per mille a second, to 20.
    #[serde(rename = "N4-clog")]
    Clog,
    /// The network falls apart: into halves, uneven parts or three, or one node is cut off.
    #[serde(rename = "N5-partition")]
    Partition,
    /// A node hears others and is not heard, or the other way round.
    #[serde(rename = "N6-one-way")]
    OneWay,
    /// Some pairs cannot reach each other; strength: per mille of the pairs, to 50.
    #[serde(rename = "N7-pairs")]
    Pairs,
    /// Such pairs that come and go every few seconds.
    #[serde(rename = "N7-flapping-pairs")]
    FlappingPairs,
    /// Nodes are cut off one by one, and come back in another order; strength: how many at most.
    #[serde(rename = "N8-swizzle")]
    Swizzle,
    /// Packets are lost 40 in a row; strength: per mille, to 250.
    #[serde(rename = "N9-burst-loss")]
    BurstLoss,
    /// Nodes send slowly; strength: kilobits a second, 64 to 100,000.
    #[serde(rename = "N10-bandwidth")]
    Bandwidth,
    /// A connection breaks, and both ends learn of it.
    #[serde(rename = "N11-break")]
    Break,
    /// A node's address changes, and its connections migrate.
    #[serde(rename = "N12-rebind")]
    Rebind,
    /// A connection is gone at one end, and the other does not know.
    #[serde(rename = "N12-half-open")]
    HalfOpen,
    /// A newcomer knows dead nodes first, and one that lives.
    #[serde(rename = "N13-stale-peers")]
    StalePeers,
    /// Several processes die at once, and start again at once through the same node; strength: how many at most.
    #[serde(rename = "N13-restart-storm")]
    RestartStorm,
    /// A process dies and starts again a while later.
    #[serde(rename = "P1-crash-restart")]
    CrashRestart,
    /// The same, within the time that others take to notice. A wiped disk makes no difference to routing.
    #[serde(rename = "P2-quick-restart")]
    QuickRestart,
    /// A process dies for ever.
    #[serde(rename = "P3-death")]
    Death,
    /// A process stands still for up to two minutes.
    #[serde(rename = "P4-pause")]
    Pause,
    /// A process takes long over each event; strength: microseconds an event, to 10,000.
    #[serde(rename = "P5-slow")]
    Slow,
    /// Neighbours die at the same instant; strength: how many, below the length of the successor list unless the run
    /// breaks the operating assumption.
    #[serde(rename = "P6-adjacent-crash")]
    AdjacentCrash,
    /// Every session ends, and a newcomer takes its place; exponential sessions; strength: median in seconds.
    #[serde(rename = "P7-exponential-churn")]
    ExponentialChurn,
    /// The same with sessions of Pareto's distribution.
    #[serde(rename = "P7-pareto-churn")]
    ParetoChurn,
    /// The population grows by as many again in ten seconds.
    #[serde(rename = "P7-flash-crowd")]
    FlashCrowd,
    /// Many nodes leave in a proper way within a few seconds.
    #[serde(rename = "P7-mass-leave")]
    MassLeave,
    /// A second process with a node's key joins at another address, and dies a while later.
    #[serde(rename = "P8-clone")]
    Clone,
    /// A clock jumps, and drifts from then on; strength: seconds, to an hour.
    #[serde(rename = "C1-clock")]
    Clock,
}

impl FaultId {
    /// Every kind, in order.
    pub const ALL: [FaultId; 28] = [
        FaultId::Loss,
        FaultId::Duplicate,
        FaultId::Delay,
        FaultId::Clog,
        FaultId::Partition,
        FaultId::OneWay,
        FaultId::Pairs,
        FaultId::FlappingPairs,
        FaultId::Swizzle,
        FaultId::BurstLoss,
        FaultId::Bandwidth,
        FaultId::Break,
        FaultId::Rebind,
        FaultId::HalfOpen,
        FaultId::StalePeers,
        FaultId::RestartStorm,
        FaultId::CrashRestart,
        FaultId::QuickRestart,
        FaultId::Death,
        FaultId::Pause,
        FaultId::Slow,
        FaultId::AdjacentCrash,
        FaultId::ExponentialChurn,
        FaultId::ParetoChurn,
        FaultId::FlashCrowd,
        FaultId::MassLeave,
        FaultId::Clone,
        FaultId::Clock,
    ];

    /// How much rarer it is than others: crowds come and go once or twice in a run.
    fn rarity(self) -> u64 {
        if matches!(self, FaultId::FlashCrowd | FaultId::MassLeave) { 10 } else { 1 }
    }

    /// The range that the strength is drawn from: least and most.
    fn strengths(self) -> (u32, u32) {
        match self {
            FaultId::Loss => (5, 300),
            FaultId::Duplicate => (5, 500),
            FaultId::Delay => (1, 300),
            FaultId::Clog => (1, 20),
            FaultId::Pairs | FaultId::FlappingPairs => (5, 50),
            FaultId::Swizzle => (2, 5),
            FaultId::BurstLoss => (10, 250),
            FaultId::Bandwidth => (64, 100_000),
            FaultId::RestartStorm => (2, 6),
            FaultId::Slow => (100, 10_000),
            FaultId::AdjacentCrash => (1, 8),
            FaultId::ExponentialChurn | FaultId::ParetoChurn => (84, 3600),
            FaultId::Clock => (1, 3600),
            _ => (1, 1),
        }
    }
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A fault that a run has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its kind.
    pub id: FaultId,
    /// Mean time between the end of one strike and the next, in milliseconds.
    pub every_ms: u64,
    /// Mean time that a strike lasts, in milliseconds, where it lasts.
    pub lasts_ms: u64,
    /// How strong it is; see the kind.
    pub strength: u32,
}

impl Fault {
    /// Draws how often, how long and how strong.
    pub fn draw(id: FaultId, random: &mut Random) -> Fault {
        let (least, most) = id.strengths();
        // Small values as likely as large ones: each doubling has the same chance.
        let doublings = (most / least).max(1).ilog2();
        let scale = 1 << random.below(u64::from(doublings) + 1);
        let strength = (least * scale + random.below(u64::from(least * scale)) as u32).min(most);
        let every_ms = [5_000, 15_000, 45_000][random.below(3) as usize] * id.rarity();
        let lasts_ms = [1_000, 8_000, 40_000][random.below(3) as usize];
        Fault { id, every_ms, lasts_ms, strength }
    }
}
