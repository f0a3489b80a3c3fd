//! `prost sim`: thousands of nodes in one process and in virtual time.

mod options;
mod peerlet;
mod progress;
mod run;
mod swarm;
mod sweep;
mod text;

use std::path::Path;

use clap::{Args, Subcommand};
use prost_sim::latency::LatencyError;
use prost_sim::plot::PlotError;
use prost_sim::report::Violation;
use prost_sim::scenario;
use ring::rand::{SecureRandom, SystemRandom};

use super::failure::Failure;
use crate::exit;

/// What to do. Without a command, one run of a scenario.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = RUN_HELP)]
pub(super) struct SimArgs {
    #[command(subcommand)]
    command: Option<SimCommand>,
    #[command(flatten)]
    run: run::RunArgs,
}

const AFTER_HELP: &str = "\
A time has a unit: 500ms, 90s, 10m, 1.5h. A run in which a rule of the ring was broken ends with code 1.
The same options and the same seed give the same run, and the same trace hash, on any machine.";
const RUN_HELP: &str = "\
A time has a unit: 500ms, 90s, 10m, 1.5h.
The same options and the same seed give the same run, and the same trace hash, on any machine.
With --peerlet, say how often the application is asked and with what:
  prost sim --nodes 200 --duration 10m --peerlet echo.prost --messages 2000 --payload 'hello {i}'
  prost sim --nodes 200 --duration 10m --peerlet echo.prost --call 'echo:hello {i}' --calls 500
Exit codes: 1 where a rule of the ring was broken or no node will install the package, 64 for a wrong line, 65 for
a file that is damaged or no package, 66 for one that cannot be read, 73 for one that cannot be written.";

#[derive(Debug, Clone, Subcommand)]
enum SimCommand {
    /// The same scenario with several sizes and seeds, as a table.
    #[command(after_help = AFTER_HELP)]
    Sweep(Box<sweep::SweepArgs>),
    /// Small rings under random faults: each seed draws its own, and every rule is checked after every event.
    Swarm(swarm::SwarmArgs),
    /// One seed of `swarm` again.
    Replay(swarm::ReplayArgs),
}

/// Does it.
pub(super) fn run(args: &SimArgs) -> Result<(), Failure> {
    match &args.command {
        None => run::run(&args.run),
        Some(SimCommand::Sweep(args)) => sweep::run(args),
        Some(SimCommand::Swarm(args)) => swarm::swarm(args),
        Some(SimCommand::Replay(args)) => swarm::replay(args),
    }
}

/// A seed that nobody has chosen. It has 53 bits, so that programs that read the numbers of JSON as floating point get
/// it right.
fn random_seed() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::new(exit::INTERNAL, "the system has no random numbers").hint("choose a --seed"))?;
    Ok(u64::from_le_bytes(bytes) >> 11)
}

/// How many runs go on at once where nobody says.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The end of a command whose runs broke rules.
fn broken<'a>(violations: impl IntoIterator<Item = (u64, &'a Violation)>) -> Result<(), Failure> {
    let mut violations = violations.into_iter();
    let Some((seed, first)) = violations.next() else { return Ok(()) };
    let more = match violations.count() {
        0 => String::new(),
        more => format!(", and {more} more violations"),
    };
    let cause = format!("seed {seed}: {} was broken at {:.6} s: {}{more}", first.rule, first.time, first.text);
    Err(Failure::new(exit::FAILED, cause).hint("the same options with this seed and --trace FILE show every input"))
}

/// The failure of a run that could not be made. Which of its files cannot be had decides the code.
pub(super) fn failed(error: scenario::Error, trace: Option<&Path>) -> Failure {
    let code = match &error {
        scenario::Error::Option { .. } | scenario::Error::Latency(LatencyError::Fixed(_)) => exit::USAGE,
        scenario::Error::Latency(LatencyError::Read { .. }) => exit::NO_INPUT,
        scenario::Error::Latency(_) | scenario::Error::Study { .. } => exit::DATA,
        scenario::Error::File { path, .. } if trace == Some(path) => exit::CANNOT_CREATE,
        scenario::Error::File { .. } => exit::NO_INPUT,
        scenario::Error::NotGrown { .. } | scenario::Error::NotInstalled { .. } => exit::FAILED,
    };
    let hint = match &error {
        scenario::Error::NotInstalled { .. } => Some("see what it asks for with `prost peerlet inspect`"),
        _ => None,
    };
    let failure = Failure::new(code, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl From<PlotError> for Failure {
    fn from(error: PlotError) -> Failure {
        match error {
            PlotError::Write { .. } => Failure::new(exit::CANNOT_CREATE, error).hint("name another place with --plot"),
            PlotError::Draw { .. } => Failure::new(exit::INTERNAL, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_random_and_survive_floating_point() {
        let seeds = [random_seed(), random_seed()].map(|seed| seed.expect("random numbers"));
        assert_ne!(seeds[0], seeds[1]);
        assert!(seeds.iter().all(|seed| *seed as f64 as u64 == *seed));
    }

    #[test]
    fn broken_rules_end_with_code_one_and_name_the_first() {
        assert_eq!(broken([]), Ok(()));
        let violation =
            Violation { rule: "R2".to_owned(), time: 1.5, node: Some(3), text: "no live successor".to_owned() };
        let failure = broken([(7, &violation), (8, &violation)]).expect_err("rules were broken");
        assert_eq!(failure.code, exit::FAILED);
        let line = failure.line().expect("a line");
        assert!(line.contains("seed 7: R2 was broken at 1.500000 s: no live successor, and 1 more"), "{line}");
    }
}
