//! A new version of the application that finds the records of the old one.

use core::time::Duration;
use std::time::Instant;

use prost_kbr::NodeId;
use prost_package::Package;
use serde::{Deserialize, Serialize};

use super::error::DemoError;
use super::say::count;
use super::steps::{Steps, Stored};
use crate::admin::ask::Status;

/// How long the new version may take, after all has been read through it, until it runs everywhere.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(100);

/// How an upgrade went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    /// The new version.
    pub version: String,
    /// Nodes that run it.
    pub nodes: usize,
    /// Nodes that ran the application, and run it still.
    pub of: usize,
    /// Files that came back byte for byte through it.
    pub verified: usize,
}

/// Whether this node runs the application: in this version, or in any.
fn runs(status: &Status, version: Option<&str>) -> bool {
    let is_wanted = |said: Option<&str>| version.is_none() || said == version;
    status.peerlets.iter().any(|peerlet| peerlet.state == "running" && is_wanted(peerlet.version.as_deref()))
}

impl Steps {
    /// Gives the new version to this node alone, and reads everything through it: the nodes that its messages come to have
    /// to get the new version, and must find what the old one has written.
    pub(super) fn upgrade(&mut self, at: NodeId, next: &Package, stored: &[Stored]) -> Result<Upgraded, DemoError> {
        let version = next.manifest.manifest().version.to_string();
        let name = self.processes().called(at);
        self.say().line(format!("giving version {version} of the dht to {name} alone"));
        self.give(at, &next.encode())?;
        let (verified, _) = self.read_back(at, stored)?;
        let start = Instant::now();
        loop {
            let statuses = self.statuses()?;
            let of = statuses.iter().filter(|status| runs(status, None)).count();
            let nodes = statuses.iter().filter(|status| runs(status, Some(&version))).count();
            // A node that no message has come to yet has no reason to get it.
            if nodes == of || start.elapsed() > PATIENCE {
                self.say().line(format!("version {version} runs on {nodes} of {}", count(of, "node")));
                return Ok(Upgraded { version, nodes, of, verified });
            }
            self.pause(LOOK)?;
        }
    }
}
