//! Who fetched the application, from whom, and what it cost: seen as it happens.

use std::collections::BTreeMap;

use prost_kbr::NodeId;
use serde::{Deserialize, Serialize};

use super::error::DemoError;
use super::processes::Processes;
use super::say::{Say, size};
use crate::admin::ask::Install;

/// One installation, as the report has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The node.
    pub node: NodeId,
    /// The application's full id.
    pub app: String,
    /// Its version.
    pub version: String,
    /// `local`, `previous-hop`, `overlay` or `url`.
    pub from: String,
    /// The node that the code came from; none where it was given.
    pub peer: Option<NodeId>,
    /// Bytes of manifest and component.
    pub bytes: u64,
    /// Milliseconds from the first message to the application running.
    pub ms: u64,
}

/// Every installation seen so far, in the order seen.
#[derive(Debug, Default)]
pub(super) struct Installs {
    seen: Vec<Installed>,
}

impl Installs {
    /// Asks every living node, and says what is new. A node that does not answer is asked next time.
    pub(super) fn look(&mut self, processes: &Processes, say: Say) {
        for node in processes.alive() {
            let Ok(status) = node.admin.status() else { continue };
            for new in self.take(node.id, &status.installs) {
                say.line(describe(&new, processes));
            }
        }
    }

    /// An error where a node installed the same version of an application more than once.
    pub(super) fn check(&self, processes: &Processes) -> Result<(), DemoError> {
        let mut times: BTreeMap<(NodeId, &str, &str), u32> = BTreeMap::new();
        for install in &self.seen {
            *times.entry((install.node, install.app.as_str(), install.version.as_str())).or_default() += 1;
        }
        match times.into_iter().find(|(_, times)| *times > 1) {
            Some(((node, ..), _)) => Err(DemoError::FetchedTwice(processes.called(node))),
            None => Ok(()),
        }
    }

    /// All of them.
    pub(super) fn list(&self) -> &[Installed] {
        &self.seen
    }

    /// The node other than this one that was seen to install something last.
    pub(super) fn latest_but(&self, node: NodeId) -> Option<NodeId> {
        self.seen.iter().rev().map(|install| install.node).find(|other| *other != node)
    }

    /// What a node tells, oldest first, beyond what it told before.
    fn take(&mut self, node: NodeId, told: &[Install]) -> Vec<Installed> {
        let known = self.seen.iter().filter(|install| install.node == node).count();
        let new = told.iter().skip(known).map(|install| Installed {
            node,
            app: install.app.clone(),
            version: install.version.clone(),
            from: install.from.clone(),
            peer: install.peer,
            bytes: install.bytes,
            ms: install.ms,
        });
        let new: Vec<Installed> = new.collect();
        self.seen.extend(new.iter().cloned());
        new
    }
}

fn describe(install: &Installed, processes: &Processes) -> String {
    let name = format!("{} {}", install.app.split('@').next().unwrap_or_default(), install.version);
    let node = processes.called(install.node);
    let whence = match install.peer {
        Some(peer) => format!("fetched {name} from {} ({})", processes.called(peer), install.from),
        None => format!("was given {name} ({})", install.from),
    };
    format!("{node} {whence}, {} in {} ms", size(install.bytes), install.ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(app: &str) -> Install {
        Install {
            app: app.to_owned(),
            version: "1.2.3".to_owned(),
            from: "previous-hop".to_owned(),
            peer: None,
            bytes: 9,
            ms: 1,
        }
    }

    #[test]
    fn each_installation_is_new_once() {
        let (one, other) = (NodeId::hash(b"one"), NodeId::hash(b"other"));
        let mut installs = Installs::default();

        assert_eq!(installs.take(one, &[install("a")]).len(), 1);
        assert_eq!(installs.take(one, &[install("a")]).len(), 0);
        assert_eq!(installs.take(other, &[install("a")]).len(), 1);
        let new = installs.take(one, &[install("a"), install("b")]);
        assert_eq!(new.iter().map(|install| install.app.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(installs.list().len(), 3);
        assert_eq!(installs.latest_but(one), Some(other));
        assert_eq!(installs.latest_but(other), Some(one));
    }
}
