//! `prost demo`: a ring of real processes that installs an application on demand, keeps a directory of files in it, loses
//! a node, gets another, sees one leave, upgrades the application, and gives the files back each time.

mod error;
mod ideal;
mod input;
mod installs;
mod interrupt;
pub(crate) mod local;
mod moves;
mod prepare;
mod processes;
mod report;
mod sample;
mod say;
mod show;
mod steps;
mod transfer;
mod upgrade;

use std::path::PathBuf;

pub use error::DemoError;
pub use installs::Installed;
pub use moves::Moved;
pub use report::{Hops, Report};
pub use upgrade::Upgraded;

use self::interrupt::Interrupt;
use self::say::Say;

/// Fewest nodes of a demo: one that holds and one that is left.
pub const MIN_NODES: usize = 2;
/// Most nodes of a demo. More processes say nothing new on one machine.
pub const MAX_NODES: usize = 64;
/// Most files of a demo.
pub const MAX_FILES: usize = 100_000;

/// Name of the demo's ring.
const RING: &str = "demo";

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many nodes, [`MIN_NODES`] to [`MAX_NODES`].
    pub nodes: usize,
    /// The directory whose files are stored; none for a sample that the demo makes.
    pub input: Option<PathBuf>,
    /// Print the report as JSON, not as a summary.
    pub json: bool,
    /// Let the ring run on after the report, until SIGINT or SIGTERM.
    pub keep: bool,
}

/// Shows it. What happens is told on standard error, the report goes to standard output.
///
/// Succeeds only if every byte came back right each time. No process outlives the call. The
/// process listens to SIGINT and SIGTERM from then on: they end the demo in order.
pub fn run(options: &Options) -> Result<Report, DemoError> {
    if !(MIN_NODES..=MAX_NODES).contains(&options.nodes) {
        return Err(DemoError::Nodes(options.nodes));
    }
    let (say, interrupt) = (Say::new(), Interrupt::listen()?);
    let cannot = |error| DemoError::System { what: "make a temporary directory", error };
    let root = tempfile::Builder::new().prefix("prost-demo-").tempdir().map_err(cannot)?;
    let outcome = show::show(options, root.path(), say, &interrupt);
    if let Some(log) = outcome.as_ref().err().and_then(DemoError::log) {
        say.line(format!("the end of its log:\n{log}"));
    }
    if outcome.as_ref().is_err_and(DemoError::is_of_the_ring) {
        say.line(format!("the nodes' directories and logs stay in {}", root.keep().display()));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_needs_two_nodes() {
        for nodes in [0, 1, MAX_NODES + 1] {
            let refused = run(&Options { nodes, input: None, json: false, keep: false });
            assert!(matches!(refused, Err(DemoError::Nodes(n)) if n == nodes));
        }
        assert_eq!(DemoError::Nodes(1).to_string(), "a demo has 2 to 64 nodes, not 1");
    }
}
