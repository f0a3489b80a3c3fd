//! `prost peerlet test`: a peerlet's own tests, and then what becomes of it on simulated rings to which things happen.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use prost_kbr::Refusal;
use prost_package::{Grant, Package, ProviderKey};
use prost_sim::apps::{Program, Runtime};
use prost_sim::report::{PeerletReport, Report};
use prost_sim::scenario::{self, Options, Peerlet, Scenario, Workload};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::{output, sim};
use super::build::{self, Said, Stop};
use super::project::{FILE, Language, Project};
use super::sign::Release;
use crate::exit;
use crate::simulated::Sandboxed;

const AFTER_HELP: &str = "\
What is asked is said in peerlet.toml:
  [test]
  calls = 400          # under each condition
  failures = 0.05      # share of them that may fail
  [[test.call]]
  method = \"greet\"
  body = \"name-{i}\"    # as prost sim --call has it; {i} counts the rounds
Ends with 1 where a test fails, the peerlet traps, or too many calls fail; with 65 where nothing is asked. The same
sources and the same seed give the same figures.";

/// How long the ring rests before anything is asked.
const REST: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct TestArgs {
    /// Directory of the peerlet.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Only under this condition, and none of the peerlet's own tests.
    #[arg(long, value_enum, value_name = "CONDITION")]
    only: Option<Condition>,
    /// What everything random follows from [default: that of peerlet.toml, or 1].
    #[arg(long)]
    seed: Option<u64>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What happens to a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Condition {
    /// Nothing.
    Quiet,
    /// A packet in a hundred is lost, a frame in a hundred comes twice, and they overtake each other.
    Loss,
    /// Three times a tenth of the nodes dies, and as many new ones come.
    Crashes,
    /// The network falls into two for half a minute.
    Partition,
}

impl Condition {
    const ALL: [Condition; 4] = [Condition::Quiet, Condition::Loss, Condition::Crashes, Condition::Partition];

    fn describe(self) -> &'static str {
        match self {
            Condition::Quiet => "quiet",
            Condition::Loss => "loss, duplicates, reordering",
            Condition::Crashes => "crashes and joins",
            Condition::Partition => "a partition, and its end",
        }
    }

    /// The phases, as `prost sim --scenario study` reads them.
    fn study(self, nodes: u32) -> String {
        let phase = |more: &str, time: &str| format!("[[phase]]\ntime = \"{time}\"\n{more}\n");
        match self {
            Condition::Quiet => phase("", "2m"),
            Condition::Loss => phase("network = { loss = 0.01, duplicate = 0.01, jitter = 0.3 }", "2m"),
            Condition::Crashes => {
                let few = (nodes / 10).max(1);
                let storm = phase(&format!("crash = 0.1\nstart = {few}\nover = \"20s\""), "40s");
                phase("", "20s") + &storm.repeat(3)
            }
            Condition::Partition => phase("", "20s") + &phase("cut = 2", "30s") + &phase("cut = 1", "90s"),
        }
    }
}

/// What came of the peerlet under one condition.
#[derive(Debug, Serialize)]
struct Played {
    condition: Condition,
    asked: u64,
    answered: u64,
    failed: u64,
    /// The failures, by reason.
    by_reason: std::collections::BTreeMap<String, u64>,
    traps: u64,
    refusals: u64,
    fuel_per_event: f64,
    /// Bytes of records on a node, on average.
    stored_bytes: f64,
    nodes: u64,
}

impl Played {
    fn of(condition: Condition, report: &Report) -> Played {
        let empty = PeerletReport::default();
        let peerlet = report.peerlet.as_ref().unwrap_or(&empty);
        Played {
            condition,
            asked: peerlet.calls.asked,
            answered: peerlet.calls.answered,
            failed: peerlet.calls.failed,
            by_reason: peerlet.calls.by_reason.clone(),
            traps: peerlet.traps.values().sum(),
            refusals: peerlet.refusals.values().sum(),
            fuel_per_event: peerlet.fuel.per_event,
            stored_bytes: peerlet.stored_bytes.map_or(0.0, |stored| stored.mean),
            nodes: peerlet.running,
        }
    }

    /// What is wrong with it, if anything is.
    fn fault(&self, failures: f64) -> Option<String> {
        let share = self.failed as f64 / self.asked.max(1) as f64;
        let condition = self.condition.describe();
        if self.traps > 0 {
            return Some(format!("under '{condition}' it trapped {} times", self.traps));
        }
        (share > failures).then(|| {
            let reasons: Vec<String> =
                self.by_reason.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            let (of, share, most) = (self.asked, share * 100.0, failures * 100.0);
            format!(
                "under '{condition}' {} of {of} calls failed ({}): {share:.1} %, and {most:.1} % may",
                self.failed,
                reasons.join(", ")
            )
        })
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.condition.describe().to_owned(),
            self.asked.to_string(),
            self.answered.to_string(),
            self.failed.to_string(),
            self.traps.to_string(),
            self.refusals.to_string(),
            format!("{:.0}", self.fuel_per_event),
            output::size(self.stored_bytes.round() as u64),
        ]
    }
}

const HEAD: [&str; 8] = ["condition", "asked", "answered", "failed", "traps", "refusals", "fuel/event", "stored/node"];

/// Tests it, and says what came of it.
pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let project = Project::open(&args.dir)?;
    let tests = &project.file.test;
    if tests.call.is_empty() {
        let cause = format!("{} does not say what is asked", args.dir.join(FILE).display());
        return Err(Failure::new(exit::DATA, cause).hint("add a [[test.call]] with a method and a body"));
    }
    if args.only.is_none() {
        own_tests(&project)?;
    }
    let component = build::component(&args.dir, &Stop::never(), Said::Shown)?;
    // The key of nobody: what runs in virtual time need not be believed by anyone.
    let package = Release::of(&project)?.sign(&ProviderKey::from_seed(&[0; 32]), &component)?;
    let conditions = args.only.map_or_else(|| Condition::ALL.to_vec(), |only| vec![only]);
    let seed = args.seed.unwrap_or(tests.seed);
    let runtime = Once::new()?;
    let mut results = Vec::new();
    for condition in conditions {
        eprintln!("{} nodes in virtual time: {}", tests.nodes, condition.describe());
        results.push(Played::of(condition, &play(condition, &package, &project, seed, &runtime)?));
    }
    if args.json {
        output::json(&results)?;
    } else {
        output::table(&HEAD, &results.iter().map(Played::row).collect::<Vec<_>>())?;
    }
    match results.iter().find_map(|result| result.fault(tests.failures)) {
        None => Ok(()),
        Some(fault) => Err(Failure::new(exit::FAILED, fault)
            .hint(format!("see what it does with `prost peerlet dev`, or allow more in {FILE}"))),
    }
}

/// The tests that the author has written, in the language's own way.
fn own_tests(project: &Project) -> Result<(), Failure> {
    let (program, arguments): (&str, &[&str]) = match project.language() {
        Some(Language::Rust) => ("cargo", &["test", "--quiet"]),
        Some(Language::Python) if has(&project.dir, "test_", ".py") => ("python3", &["-m", "unittest", "-q"]),
        Some(Language::Js) if has(&project.dir, "", ".test.js") => ("node", &["--test"]),
        _ => return Ok(()),
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&project.dir);
    // Results go to standard output, and these are none of this command's.
    let ended = build::run_tool(&mut command, &Stop::never(), false).map_err(|error| missing(program, &error))?;
    eprint!("{}", String::from_utf8_lossy(&ended.stdout));
    if ended.success {
        return Ok(());
    }
    Err(Failure::new(exit::FAILED, "the peerlet's own tests fail").hint("see the messages above"))
}

fn has(dir: &Path, begin: &str, end: &str) -> bool {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).any(|name| name.starts_with(begin) && name.ends_with(end))
}

fn missing(program: &str, error: &io::Error) -> Failure {
    Failure::new(exit::UNAVAILABLE, format!("cannot run {program}: {error}")).hint("install it")
}

/// The sandbox for all runs: the component is the same in each, and compiling takes longest of all where it is large.
#[derive(Clone)]
struct Once(Arc<Mutex<Compiler>>);

/// A sandbox, and what it has compiled.
type Compiler = (Sandboxed, Option<Arc<dyn Program>>);

impl Once {
    fn new() -> Result<Once, Failure> {
        let sandbox = Sandboxed::new().map_err(|error| Failure::new(exit::INTERNAL, error))?;
        Ok(Once(Arc::new(Mutex::new((sandbox, None)))))
    }
}

impl Runtime for Once {
    fn compile(&mut self, component: &Bytes, grant: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = &inner.1 {
            return Ok(program.clone());
        }
        let program = inner.0.compile(component, grant)?;
        inner.1 = Some(program.clone());
        Ok(program)
    }
}

fn play(
    condition: Condition,
    package: &Package,
    project: &Project,
    seed: u64,
    runtime: &Once,
) -> Result<Report, Failure> {
    let tests = &project.file.test;
    let study = tempfile::NamedTempFile::new()
        .and_then(|file| std::fs::write(file.path(), condition.study(tests.nodes)).map(|()| file))
        .map_err(|error| Failure::new(exit::CANNOT_CREATE, format!("cannot write a temporary file: {error}")))?;
    let options = Options {
        nodes: tests.nodes,
        seed,
        scenario: Scenario::Study(study.path().to_owned()),
        rest: REST,
        lookups: 0,
        ..Options::default()
    };
    let (calls, installs) = (tests.calls, tests.installs);
    let workload = Workload { messages: 0, calls, installs, asks: project.asks(), ..Workload::default() };
    let peerlet = Peerlet { package: package.clone(), runtime: Box::new(runtime.clone()), workload };
    let outcome = scenario::run_peerlet(&options, peerlet, &mut |_| {}).map_err(|error| sim::failed(error, None))?;
    Ok(outcome.report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(failed: u64, traps: u64) -> Played {
        Played {
            condition: Condition::Loss,
            asked: 100,
            answered: 100 - failed,
            failed,
            by_reason: [("deadline".to_owned(), failed)].into(),
            traps,
            refusals: 0,
            fuel_per_event: 12_345.6,
            stored_bytes: 2048.0,
            nodes: 9,
        }
    }

    #[test]
    fn a_trap_is_a_fault_and_so_are_too_many_failures() {
        assert_eq!(played(5, 0).fault(0.05), None);
        let failed = played(6, 0).fault(0.05).expect("too many");
        assert!(failed.contains("6 of 100 calls failed (6 deadline)"), "{failed}");
        assert!(played(0, 1).fault(1.0).expect("a trap").contains("trapped 1 times"));
    }

    #[test]
    fn a_row_has_a_cell_for_each_head() {
        assert_eq!(played(5, 0).row().len(), HEAD.len());
        assert_eq!(played(5, 0).row()[6..], ["12346", "2.0 KiB"]);
    }

    #[test]
    fn each_condition_is_a_study_that_the_simulator_reads() {
        for condition in Condition::ALL {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), condition.study(7)).expect("room");
            let scenario = Scenario::Study(file.path().to_owned());
            let plan = scenario::Plan::of(&Options { nodes: 7, scenario, ..Options::default() });
            assert!(plan.is_ok_and(|plan| plan.time() >= Duration::from_secs(120)), "{condition:?}");
        }
    }
}
