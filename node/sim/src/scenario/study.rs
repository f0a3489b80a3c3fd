//! Studies: scenarios that a TOML file describes. The format is in `docs/simulator.md`.

mod bounds;

pub(super) use bounds::half;

use core::ops::Range;
use core::time::Duration;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::byzantine::Byzantine;
use super::error::Error;
use super::options::Options;
use super::plan::{Churn, Conditions, Phase, Plan};
use super::span;
use crate::sessions::{Lifetimes, Sessions};

/// Longest file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Most phases of a study.
const MAX_PHASES: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StudyFile {
    #[serde(default, deserialize_with = "bounds::nodes")]
    nodes: Option<u32>,
    #[serde(default)]
    phase: Vec<Spanned<PhaseFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseFile {
    name: Option<String>,
    #[serde(deserialize_with = "bounds::time")]
    time: Duration,
    #[serde(default = "yes")]
    measured: bool,
    #[serde(default)]
    lookups: u64,
    #[serde(default, deserialize_with = "bounds::askers")]
    askers: Option<u32>,
    #[serde(default, deserialize_with = "bounds::share")]
    crash: f64,
    #[serde(default, deserialize_with = "bounds::share")]
    leave: f64,
    #[serde(default)]
    start: u32,
    #[serde(default, with = "span")]
    over: Duration,
    churn: Option<ChurnFile>,
    #[serde(default, deserialize_with = "bounds::parts")]
    cut: Option<u8>,
    byzantine: Option<Byzantine>,
    #[serde(default)]
    network: NetworkFile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChurnFile {
    #[serde(deserialize_with = "bounds::time")]
    median: Duration,
    #[serde(default)]
    lifetimes: Lifetimes,
    #[serde(default, deserialize_with = "bounds::share")]
    graceful: f64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NetworkFile {
    #[serde(default, deserialize_with = "bounds::some_share")]
    jitter: Option<f64>,
    #[serde(default, deserialize_with = "bounds::loss")]
    loss: Option<f64>,
    #[serde(default, deserialize_with = "bounds::burst")]
    loss_burst: Option<f64>,
    #[serde(default, deserialize_with = "bounds::some_share")]
    duplicate: Option<f64>,
    #[serde(default, deserialize_with = "bounds::delay")]
    extra_delay: Option<Duration>,
    bandwidth: Option<u64>,
}

fn yes() -> bool {
    true
}

/// Where in the text a mistake is, and what is wrong.
type Mistake = (Range<usize>, String);

/// Reads a study's file. Nodes and askers that it does not name are those of the options.
pub(super) fn read(path: &Path, options: &Options) -> Result<Plan, Error> {
    let text = std::fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let at = |line, reason| Error::Study { path: path.to_owned(), line, reason };
    if text.len() > MAX_FILE {
        return Err(at(1, format!("longer than {MAX_FILE} bytes")));
    }
    let text = String::from_utf8(text).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        at(line_of(valid, valid.len()), "not UTF-8".to_owned())
    })?;
    parse(&text, options).map_err(|(place, reason)| at(line_of(text.as_bytes(), place.start), reason))
}

fn parse(text: &str, options: &Options) -> Result<Plan, Mistake> {
    let file: StudyFile =
        toml::from_str(text).map_err(|error| (error.span().unwrap_or(0..0), error.message().to_owned()))?;
    let nodes = file.nodes.unwrap_or(options.nodes);
    if file.phase.is_empty() || file.phase.len() > MAX_PHASES {
        return Err((0..0, format!("a study has 1 to {MAX_PHASES} phases, each a [[phase]]")));
    }
    let (mut lookups, mut started) = (0u64, nodes);
    let mut phases = Vec::new();
    for (number, phase) in file.phase.into_iter().enumerate() {
        let place = phase.span();
        let phase = phase.into_inner();
        lookups = lookups.saturating_add(phase.lookups);
        started = started.saturating_add(phase.start);
        check(&phase, lookups, started).map_err(|reason| (place, reason))?;
        phases.push(expand(phase, number + 1, options));
    }
    Ok(Plan { nodes, phases })
}

/// What no single value shows.
fn check(phase: &PhaseFile, lookups: u64, started: u32) -> Result<(), String> {
    if lookups > Options::MAX_LOOKUPS {
        return Err(format!("more than {} lookups up to here", Options::MAX_LOOKUPS));
    }
    if started > Options::MAX_NODES {
        return Err(format!("more than {} nodes started up to here", Options::MAX_NODES));
    }
    if phase.over > phase.time {
        return Err("`over` is longer than the phase".to_owned());
    }
    if phase.crash + phase.leave > 1.0 {
        return Err("`crash` and `leave` are more than all nodes together".to_owned());
    }
    Ok(())
}

fn expand(phase: PhaseFile, number: usize, options: &Options) -> Phase {
    let network = phase.network;
    let churn = |churn: ChurnFile| Churn {
        sessions: Sessions { lifetimes: churn.lifetimes, median: churn.median },
        graceful: churn.graceful,
    };
    Phase {
        name: phase.name.unwrap_or_else(|| format!("phase {number}")),
        label: "study",
        time: phase.time,
        measured: phase.measured,
        lookups: phase.lookups,
        askers: phase.askers.or(options.askers).unwrap_or(10),
        crash: phase.crash,
        leave: phase.leave,
        start: phase.start,
        over: phase.over,
        churn: phase.churn.map(churn),
        cut: phase.cut,
        byzantine: phase.byzantine,
        conditions: Conditions {
            jitter: network.jitter,
            loss: network.loss,
            loss_burst: network.loss_burst,
            duplicate: network.duplicate,
            extra_delay: network.extra_delay,
            bandwidth: network.bandwidth,
        },
    }
}

/// The line, from 1, of a place in the text.
fn line_of(text: &[u8], place: usize) -> usize {
    1 + text[..place.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::ByzantineKind;

    fn line_and_reason(text: &str) -> (usize, String) {
        let (place, reason) = parse(text, &Options::default()).expect_err("a mistake");
        (line_of(text.as_bytes(), place.start), reason)
    }

    #[test]
    fn a_study_says_everything_that_a_phase_can_be() {
        let text = r#"
            nodes = 500
            [[phase]]
            time = "10m"
            [[phase]]
            name = "storm"
            time = "1h"
            measured = false
            lookups = 5000
            askers = 5
            crash = 0.25
            leave = 0.125
            start = 100
            over = "10s"
            cut = 3
            byzantine = { share = 0.25, kind = "lie" }
            churn = { median = "10m", lifetimes = "pareto", graceful = 0.5 }
            network = { loss = 0.01, loss_burst = 4, jitter = 0.1, duplicate = 0.02, extra_delay = "5ms", bandwidth = 9 }
        "#;
        let plan = parse(text, &Options::default()).unwrap();
        assert_eq!((plan.nodes, plan.phases.len(), plan.parts()), (500, 2, 3));
        let quiet = Phase { askers: 10, ..Phase::quiet("phase 1", "study", Duration::from_secs(600)) };
        assert_eq!(plan.phases[0], quiet);
        let sessions = Sessions { lifetimes: Lifetimes::Pareto, median: Duration::from_secs(600) };
        let storm = Phase {
            name: "storm".to_owned(),
            label: "study",
            time: Duration::from_secs(3600),
            measured: false,
            lookups: 5000,
            askers: 5,
            crash: 0.25,
            leave: 0.125,
            start: 100,
            over: Duration::from_secs(10),
            churn: Some(Churn { sessions, graceful: 0.5 }),
            cut: Some(3),
            byzantine: Some(Byzantine { share: 0.25, kind: ByzantineKind::Lie }),
            conditions: Conditions {
                jitter: Some(0.1),
                loss: Some(0.01),
                loss_burst: Some(4.0),
                duplicate: Some(0.02),
                extra_delay: Some(Duration::from_millis(5)),
                bandwidth: Some(9),
            },
        };
        assert_eq!(plan.phases[1], storm);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let cases = [
            ("[[phase]]\ntime = \"1m\"\ncrush = 0.5\n", 3, "unknown field"),
            ("[[phase]]\ntime = \"1m\"\ncrash = 1.5\n", 3, "0 to 1"),
            ("nodes = 5\n[[phase]]\ntime = \"soon\"\n", 3, "soon"),
            ("nodes = 5\n[[phase]]\nlookups = 4\n", 2, "missing field"),
            ("nodes = 0\n[[phase]]\ntime = \"1m\"\n", 1, "0 is not in 1 to"),
            ("nodes = 7\n", 1, "1 to 1000 phases"),
            ("[[phase]]\ntime = \"1m\"\n[[phase]]\ntime = \"1m\"\nover = \"2m\"\n", 3, "`over`"),
            ("[[phase]]\ntime = \"1m\"\nbyzantine = { share = 0.9 }\n", 3, "0 to 0.5"),
            ("[[phase]]\ntime = \"1m\"\ncut = 99\n", 3, "1 to 8"),
            ("[[phase]]\ntime = \"1m\"\n\nnetwork = { loss = 0.9 }\n", 4, "0 to 0.5"),
            ("[[phase]]\ntime = \"1m\"\nlookups = 99_000_000\n", 1, "lookups"),
            ("[[phase]\n", 1, ""),
        ];
        for (text, line, part) in cases {
            let (found, reason) = line_and_reason(text);
            assert!(found == line && reason.contains(part), "line {found}: {reason}\nfor\n{text}");
        }
    }
}
