//! What a scenario is asked to do, on the command line.

use core::time::Duration;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prost_sim::latency::parse_span;
use prost_sim::scenario::{ByzantineKind, Options, Scenario};
use prost_sim::sessions::Lifetimes;

use crate::cli::failure::Failure;
use crate::exit;

/// Everything but the size and the seed.
#[derive(Debug, Clone, Args)]
pub(super) struct ScenarioArgs {
    /// What happens to the ring.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Name::Stable)]
    scenario: Name,
    /// The file of `--scenario study`: phases, in TOML.
    #[arg(long, value_name = "FILE")]
    study: Option<PathBuf>,
    /// How long is measured.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "1h")]
    duration: Duration,
    /// Lookups asked meanwhile, by random nodes for random keys.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    lookups: u64,
    /// Nodes that ask for each key at once [default: 1 in `stable`, else 10].
    #[arg(long, value_name = "COUNT")]
    askers: Option<u32>,
    /// Let any node answer a lookup that knows so many of the first nodes responsible [default: only the one responsible].
    #[arg(long, value_name = "COUNT")]
    replicas: Option<u8>,
    /// Ask lookups node by node, over so many paths that share no node [default: nodes pass them on].
    #[arg(long, value_name = "COUNT", conflicts_with = "replicas")]
    paths: Option<u8>,
    /// How far nodes are from each other: planetlab, wonder, fixed:TIME for the round trip, or a file with a matrix.
    #[arg(long, value_name = "MODEL", default_value = "planetlab")]
    latency: String,
    /// Length of the successor lists.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    successors: usize,
    /// Connections that a node keeps at most [default: the routing layer's own bound].
    #[arg(long, value_name = "COUNT")]
    connections: Option<usize>,
    /// How long the ring rests between having grown and being measured.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "2m")]
    rest: Duration,
    /// Check the rules of the ring after every event.
    #[arg(long)]
    rules: bool,
    #[command(flatten, next_help_heading = "Churn, massacre and partition")]
    faults: FaultArgs,
    #[command(flatten, next_help_heading = "Nodes that lie")]
    byzantine: ByzantineArgs,
    #[command(flatten, next_help_heading = "Network")]
    network: NetworkArgs,
}

#[derive(Debug, Clone, Args)]
struct FaultArgs {
    /// `churn`: median time from a node's start to its end.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "1h")]
    session_median: Duration,
    /// `churn`: how the lengths of sessions are distributed.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Law::Exponential)]
    lifetimes: Law,
    /// `churn`: share of the sessions that end with a leave instead of a crash.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    graceful: f64,
    /// `massacre`: share of the nodes that crash.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    crash: f64,
    /// `partition`: parts into which the network falls.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    ways: u8,
    /// `partition`: how long that lasts.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "10m")]
    cut_time: Duration,
}

#[derive(Debug, Clone, Args)]
struct ByzantineArgs {
    /// Share of the nodes that lie, from a minute before the measurement on.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    byzantine: f64,
    /// What they do.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Kind::Drop)]
    byzantine_kind: Kind,
}

#[derive(Debug, Clone, Args)]
struct NetworkArgs {
    /// Chance that a packet is lost.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    loss: f64,
    /// Spread of the time that packets take: the sigma of a lognormal factor.
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0)]
    jitter: f64,
    /// Share of the pairs of nodes that never reach each other; 0.023 on PlanetLab.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    unreachable_pairs: f64,
}

/// The scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Nobody comes or goes.
    Stable,
    /// Nodes crash all the time, and new ones take their place.
    Churn,
    /// Half of the nodes crash at one instant.
    Massacre,
    /// The network falls into parts for a while.
    Partition,
    /// The population doubles in ten seconds.
    FlashCrowd,
    /// The phases of a file.
    Study,
}

/// Distributions of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Law {
    /// Deaths are a Poisson process.
    Exponential,
    /// Many sessions are short and some very long.
    Pareto,
}

/// What Byzantine nodes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// They accept messages and drop them.
    Drop,
    /// They say of every key that they are responsible.
    Lie,
    /// New nodes whose ids were mined behind one key, which every second group of lookups asks for.
    Sybil,
}

impl ScenarioArgs {
    /// The options of a run with this size and this seed.
    pub(super) fn options(&self, nodes: u32, seed: u64) -> Result<Options, Failure> {
        let (faults, network) = (&self.faults, &self.network);
        Ok(Options {
            nodes,
            seed,
            scenario: self.scenario()?,
            duration: self.duration,
            session_median: faults.session_median,
            lifetimes: match faults.lifetimes {
                Law::Exponential => Lifetimes::Exponential,
                Law::Pareto => Lifetimes::Pareto,
            },
            graceful: faults.graceful,
            lookups: self.lookups,
            askers: self.askers,
            replicas: self.replicas,
            paths: self.paths,
            latency: self.latency.clone(),
            successors: self.successors,
            connections: self.connections,
            loss: network.loss,
            jitter: network.jitter,
            unreachable_pairs: network.unreachable_pairs,
            byzantine: self.byzantine.byzantine,
            byzantine_kind: match self.byzantine.byzantine_kind {
                Kind::Drop => ByzantineKind::Drop,
                Kind::Lie => ByzantineKind::Lie,
                Kind::Sybil => ByzantineKind::Sybil,
            },
            crash: faults.crash,
            ways: faults.ways,
            cut_time: faults.cut_time,
            rest: self.rest,
            rules: self.rules,
            trace: None,
        })
    }

    fn scenario(&self) -> Result<Scenario, Failure> {
        let usage = |cause: &str, next: &str| Failure::new(exit::USAGE, cause).hint(next);
        match (self.scenario, &self.study) {
            (Name::Study, Some(file)) => Ok(Scenario::Study(file.clone())),
            (Name::Study, None) => Err(usage("--scenario study needs a file", "name it with --study FILE")),
            (_, Some(_)) => Err(usage("--study goes with --scenario study only", "leave one of them out")),
            (Name::Stable, None) => Ok(Scenario::Stable),
            (Name::Churn, None) => Ok(Scenario::Churn),
            (Name::Massacre, None) => Ok(Scenario::Massacre),
            (Name::Partition, None) => Ok(Scenario::Partition),
            (Name::FlashCrowd, None) => Ok(Scenario::FlashCrowd),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ScenarioArgs,
    }

    fn options(line: &str) -> Result<Options, Failure> {
        let words = std::iter::once("sim").chain(line.split_whitespace());
        Line::try_parse_from(words).expect("the line is understood").args.options(1000, 0)
    }

    #[test]
    fn a_line_that_says_nothing_asks_for_the_default() {
        assert_eq!(options(""), Ok(Options::default()));
    }

    #[test]
    fn each_option_has_its_place() {
        let line = "--scenario churn --duration 90s --lookups 5 --askers 3 --paths 4 --latency fixed:50ms --successors 8 \
                    --connections 32 --rest 1m --rules --session-median 10m --lifetimes pareto --graceful 0.25 \
                    --byzantine 0.25 --byzantine-kind lie --crash 0.75 --ways 3 --cut-time 5m --loss 0.01 --jitter 0.1 --unreachable-pairs 0.023";
        let expected = Options {
            nodes: 1000,
            seed: 0,
            scenario: Scenario::Churn,
            duration: Duration::from_secs(90),
            session_median: Duration::from_secs(600),
            lifetimes: Lifetimes::Pareto,
            graceful: 0.25,
            lookups: 5,
            askers: Some(3),
            replicas: None,
            paths: Some(4),
            latency: "fixed:50ms".to_owned(),
            successors: 8,
            connections: Some(32),
            loss: 0.01,
            jitter: 0.1,
            unreachable_pairs: 0.023,
            byzantine: 0.25,
            byzantine_kind: ByzantineKind::Lie,
            crash: 0.75,
            ways: 3,
            cut_time: Duration::from_secs(300),
            rest: Duration::from_secs(60),
            rules: true,
            trace: None,
        };
        assert_eq!(options(line), Ok(expected));
    }

    #[test]
    fn a_study_has_a_file_and_nothing_else_has() {
        let study = options("--scenario study --study a.toml").expect("options").scenario;
        assert_eq!(study, Scenario::Study("a.toml".into()));
        for line in ["--scenario study", "--scenario churn --study a.toml", "--study a.toml"] {
            assert_eq!(options(line).expect_err(line).code, exit::USAGE);
        }
        assert!(Line::try_parse_from(["sim", "--duration", "soon"]).is_err());
    }
}
