//! What a run is asked to do.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

use prost_kbr::MAX_PATHS;
use prost_manager::Search;
use serde::{Deserialize, Serialize};

use super::byzantine::ByzantineKind;
use super::error::Error;
use super::span;
use crate::sessions::Lifetimes;

/// Which scenario is played.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// A converged ring in which nobody comes or goes.
    #[default]
    Stable,
    /// Sessions end all the time, and each node that dies is replaced by a new one at once.
    Churn,
    /// A share of the nodes, half by default, crashes at one instant.
    Massacre,
    /// The network falls into parts for a while.
    Partition,
    /// The population doubles in ten seconds.
    FlashCrowd,
    /// The phases that a TOML file describes.
    Study(PathBuf),
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scenario::Stable => "stable",
            Scenario::Churn => "churn",
            Scenario::Massacre => "massacre",
            Scenario::Partition => "partition",
            Scenario::FlashCrowd => "flash-crowd",
            Scenario::Study(_) => "study",
        })
    }
}

/// Everything that decides what a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Nodes of the ring when the measurement begins, 1 to [`Options::MAX_NODES`].
    pub nodes: u32,
    /// Decides everything that is random.
    pub seed: u64,
    /// What happens.
    pub scenario: Scenario,
    /// How long is measured. A study's file says so itself.
    #[serde(with = "span")]
    pub duration: Duration,
    /// Median time from a node's start to its end in `churn`.
    #[serde(with = "span")]
    pub session_median: Duration,
    /// How the lengths of sessions are distributed.
    pub lifetimes: Lifetimes,
    /// Share of the sessions that end with a leave instead of a crash, 0 to 1.
    pub graceful: f64,
    /// Lookups asked while it is measured, at most [`Options::MAX_LOOKUPS`]. A study's file says so itself.
    pub lookups: u64,
    /// Nodes that ask for the same key at the same instant; none for the scenario's own number, which is 1 for `stable`
    /// and 10 for all others, so that one can see whether they agree.
    pub askers: Option<u32>,
    /// Any node that knows so many of the first nodes responsible may answer a lookup (early termination), 1 to
    /// `successors`; none for the node responsible alone.
    pub replicas: Option<u8>,
    /// Lookups are asked over so many paths that share no node, 1 to 8, node by node; none for lookups that nodes pass on.
    /// Not together with `replicas`.
    pub paths: Option<u8>,
    /// The latency model: `planetlab`, `wonder`, `fixed:50ms` or the name of a file.
    pub latency: String,
    /// Length of the successor lists, 2 to 64.
    pub successors: usize,
    /// Connections that a node keeps at most; none for the routing layer's own bound.
    pub connections: Option<usize>,
    /// Chance that a packet is lost, 0 to 0.5.
    pub loss: f64,
    /// Spread of the one-way times: the sigma of a lognormal factor, 0 to 1.
    pub jitter: f64,
    /// Share of the pairs of nodes that can never reach each other, 0 to 0.2. 0.023 on PlanetLab (Freedman et al.,
    /// "Non-transitive connectivity and DHTs", WORLDS 2005).
    pub unreachable_pairs: f64,
    /// Share of the nodes that lie from a minute before the measurement on, 0 to 0.5. A study's file says so itself.
    pub byzantine: f64,
    /// What they do.
    pub byzantine_kind: ByzantineKind,
    /// Share of the nodes that `massacre` crashes, 0 to 1.
    pub crash: f64,
    /// Parts into which `partition` cuts the network, 2 to 8.
    pub ways: u8,
    /// How long `partition` keeps it cut.
    #[serde(with = "span")]
    pub cut_time: Duration,
    /// How long the ring rests between having grown and being measured. Fingers settle meanwhile.
    #[serde(with = "span")]
    pub rest: Duration,
    /// Whether the rules of the ring are checked after every event.
    pub rules: bool,
    /// Where a line for each input of each node is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 1000,
            seed: 0,
            scenario: Scenario::Stable,
            duration: Duration::from_secs(3600),
            session_median: Duration::from_secs(3600),
            lifetimes: Lifetimes::Exponential,
            graceful: 0.0,
            lookups: 10_000,
            askers: None,
            replicas: None,
            paths: None,
            latency: "planetlab".to_owned(),
            successors: 16,
            connections: None,
            loss: 0.0,
            jitter: 0.0,
            unreachable_pairs: 0.0,
            byzantine: 0.0,
            byzantine_kind: ByzantineKind::Drop,
            crash: 0.5,
            ways: 2,
            cut_time: Duration::from_secs(600),
            rest: Duration::from_secs(120),
            rules: false,
            trace: None,
        }
    }
}

impl Options {
    /// Most nodes at the start.
    pub const MAX_NODES: u32 = 1_000_000;
    /// Most lookups of a run: each is remembered until its end.
    pub const MAX_LOOKUPS: u64 = 10_000_000;
    /// Most nodes of a ring with unreachable pairs, which are listed one by one.
    pub const MAX_NODES_WITH_PAIRS: u32 = 10_000;
    /// Longest virtual time of a phase.
    pub const MAX_SPAN: Duration = Duration::from_secs(30 * 86_400);

    /// How the run's lookups are asked.
    pub fn search(&self) -> Search {
        match (self.paths, self.replicas) {
            (Some(paths), _) => Search::Paths(paths),
            (None, Some(replicas)) => Search::Replicas(replicas),
            (None, None) => Search::Owner,
        }
    }

    /// Whether all values are in range.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] names the first that is not, and its range.
    pub fn check(&self) -> Result<(), Error> {
        within("nodes", self.nodes, 1, Options::MAX_NODES)?;
        within("lookups", self.lookups, 0, Options::MAX_LOOKUPS)?;
        within("askers", self.askers.unwrap_or(1), 1, 100)?;
        within("successors", self.successors, 2, 64)?;
        within("replicas", self.replicas.map_or(1, usize::from), 1, self.successors)?;
        within("paths", self.paths.unwrap_or(1), 1, MAX_PATHS)?;
        if self.replicas.is_some() && self.paths.is_some() {
            return Err(Error::Option { name: "paths", reason: "leave it out, or replicas".to_owned() });
        }
        within("connections", self.connections.unwrap_or(64), 4, 65_536)?;
        within("graceful", self.graceful, 0.0, 1.0)?;
        within("loss", self.loss, 0.0, 0.5)?;
        within("jitter", self.jitter, 0.0, 1.0)?;
        within("unreachable_pairs", self.unreachable_pairs, 0.0, 0.2)?;
        within("byzantine", self.byzantine, 0.0, 0.5)?;
        within("crash", self.crash, 0.0, 1.0)?;
        within("ways", self.ways, 2, 8)?;
        spanned("duration", self.duration, Duration::from_secs(1))?;
        spanned("session_median", self.session_median, Duration::from_secs(1))?;
        spanned("cut_time", self.cut_time, Duration::from_secs(1))?;
        spanned("rest", self.rest, Duration::ZERO)?;
        if self.unreachable_pairs > 0.0 {
            within("nodes (with unreachable_pairs)", self.nodes, 1, Options::MAX_NODES_WITH_PAIRS)?;
        }
        Ok(())
    }
}

/// Fails where the value is out of range, and where it is no number.
pub(super) fn within<T: PartialOrd + fmt::Display>(name: &'static str, value: T, low: T, high: T) -> Result<(), Error> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(Error::Option { name, reason: format!("{value} is not in {low} to {high}") })
}

fn spanned(name: &'static str, value: Duration, low: Duration) -> Result<(), Error> {
    if value >= low && value <= Options::MAX_SPAN {
        return Ok(());
    }
    let [value, low, high] = [value, low, Options::MAX_SPAN].map(span::span_text);
    Err(Error::Option { name, reason: format!("{value} is not in {low} to {high}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_survives_json() {
        let options = Options { scenario: Scenario::Study("a.toml".into()), ..Options::default() };
        options.check().unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let broken = [
            ("nodes", Options { nodes: 0, ..Options::default() }),
            ("loss", Options { loss: f64::NAN, ..Options::default() }),
            ("replicas", Options { replicas: Some(17), ..Options::default() }),
            ("paths", Options { paths: Some(9), ..Options::default() }),
            ("paths", Options { paths: Some(1), replicas: Some(1), ..Options::default() }),
            ("ways", Options { ways: 1, ..Options::default() }),
            ("duration", Options { duration: Duration::ZERO, ..Options::default() }),
        ];
        for (field, options) in broken {
            let Err(Error::Option { name, .. }) = options.check() else { panic!("{field} passed") };
            assert_eq!(name, field);
        }
    }
}
