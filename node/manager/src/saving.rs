//! Packages on the disk: what the operator installs is installed as soon as it will be there after a restart.

use prost_contract::LogLevel;
use prost_kbr::AppId;

use crate::io::{InstallFailure, Output};
use crate::node::{Committing, Node};

/// Whether code will be there after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saved {
    /// It will not.
    No,
    /// It will once this commit is durable.
    UnderWay(u64),
    /// It will.
    Durable,
}

impl Node {
    /// Keeps the package of an application that runs. Who has installed it is told when that is durable.
    pub(crate) fn save_package(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = &app.code else { return };
        let (saved, installs) = (code.saved, std::mem::take(&mut app.installs));
        match saved {
            Saved::Durable => self.answer_installs(installs, &Ok(id.clone())),
            Saved::UnderWay(commit) => {
                if let Some(Committing::Package { installs: waiting, .. }) = self.commits.get_mut(&commit) {
                    waiting.extend(installs);
                }
            }
            Saved::No => {
                let package = code.package.clone();
                let commit = self.take_commit(Committing::Package { app: id.clone(), installs });
                self.set_saved(id, Saved::No, Saved::UnderWay(commit));
                self.outbox.push_back(Output::SavePackage { commit, package });
            }
        }
    }

    /// The store has answered.
    pub(crate) fn on_package_saved(&mut self, id: &AppId, commit: u64, installs: Vec<u64>, durable: bool) {
        self.set_saved(id, Saved::UnderWay(commit), if durable { Saved::Durable } else { Saved::No });
        if durable {
            return self.answer_installs(installs, &Ok(id.clone()));
        }
        self.log(id, LogLevel::Warn, InstallFailure::NotDurable.to_string());
        self.answer_installs(installs, &Err(InstallFailure::NotDurable));
    }

    /// Takes the requests of all who wait for an application that they have installed.
    pub(crate) fn take_installs(&mut self, id: &AppId) -> Vec<u64> {
        let mut installs = self.apps.get_mut(id).map(|app| std::mem::take(&mut app.installs)).unwrap_or_default();
        for committing in self.commits.values_mut() {
            if let Committing::Package { app, installs: waiting } = committing
                && app == id
            {
                installs.append(waiting);
            }
        }
        installs
    }

    pub(crate) fn answer_installs(&mut self, installs: Vec<u64>, result: &Result<AppId, InstallFailure>) {
        let answer = |request| Output::Installed { request, result: result.clone() };
        self.outbox.extend(installs.into_iter().map(answer));
    }

    /// Other code may have come meanwhile, of which nothing is known by this.
    fn set_saved(&mut self, id: &AppId, from: Saved, to: Saved) {
        let code = self.apps.get_mut(id).and_then(|app| app.code.as_mut());
        if let Some(code) = code.filter(|code| code.saved == from) {
            code.saved = to;
        }
    }
}
