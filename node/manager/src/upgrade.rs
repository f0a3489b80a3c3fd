//! From one version of an application to another.
//!
//! A message says by its locator which code its origin runs. A node that runs other code asks those whom it would ask if it
//! had none, and fetches what comes after its own; meanwhile its own runs on.

use core::time::Duration;

use prost_contract::LogLevel;
use prost_kbr::{AppId, Header, NodeId, Peer, Refusal, Time};
use prost_package::{Digest, Locator, Manifest, Package, Resources};

use crate::app::{Code, Phase};
use crate::fetch::Fetch;
use crate::io::InstallFailure;
use crate::node::Node;
use crate::status::Source;

/// How long nobody is asked for a later version after somebody was, whatever came of it.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Later versions on their way at once.
const MAX_UPGRADES: usize = 2;

/// What is known of other versions of an application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upgrade {
    /// The later version that is on its way.
    pub(crate) fetch: Option<Box<Fetch>>,
    /// The code that was to replace what runs, and did not start.
    failed: Option<Digest>,
    not_before: Time,
}

impl Upgrade {
    /// This code did not start here: no message brings it again.
    pub(crate) fn note_failed(&mut self, code: Option<&Code>) {
        self.failed = code.map(|code| code.manifest().component.digest);
    }
}

impl Node {
    /// Whether the operator's package may take the place of what is installed: not where it comes before that, unless the
    /// policy pins it.
    pub(crate) fn may_replace(&mut self, id: &AppId, manifest: &Manifest) -> Result<(), InstallFailure> {
        let Some(installed) = self.installed(id) else { return Ok(()) };
        if manifest.contradicts(installed) {
            let (refusal, detail) = equivocation(manifest);
            self.count(refusal);
            self.log(id, LogLevel::Warn, format!("refused ({refusal}): {detail}"));
            return Err(InstallFailure::Refused { refusal, detail });
        }
        if manifest.is_before(installed) && !self.policy.pins(manifest) {
            return Err(InstallFailure::Older { installed: installed.version.to_string() });
        }
        Ok(())
    }

    /// A message may come from a later version of its application.
    pub(crate) fn consider_upgrade(&mut self, header: &Header, way: [Peer; 2]) {
        let Ok(Locator::Digest(digest)) = Locator::parse(&header.locator) else { return };
        let Some(installed) = self.installed(&header.app) else { return };
        if installed.component.digest == digest || self.policy.pins(installed) {
            return;
        }
        let now = self.now;
        let under_way = self.apps.values().filter(|app| app.upgrade.fetch.is_some()).count();
        let Some(app) = self.apps.get(&header.app).filter(|app| matches!(app.phase, Phase::Running)) else { return };
        if under_way >= MAX_UPGRADES || app.upgrade.not_before > now || app.upgrade.failed == Some(digest) {
            return;
        }
        let fetch = Fetch::new(header.app.clone(), self.sources(&way, true), Some(digest), now);
        if let Some(app) = self.apps.get_mut(&header.app) {
            app.upgrade.not_before = now + ASK_AGAIN;
            app.upgrade.fetch = Some(Box::new(fetch));
        }
        self.ask_next_source(&header.app);
    }

    /// What is wrong with a manifest beside the others that are known of its application.
    pub(crate) fn compare(&self, id: &AppId, manifest: &Manifest) -> Result<(), (Refusal, String)> {
        let Some(app) = self.apps.get(id) else { return Ok(()) };
        let fetched = app.fetch().and_then(Fetch::manifest);
        let installed = app.code.as_ref().map(Code::manifest);
        if [fetched, installed].into_iter().flatten().any(|other| other.contradicts(manifest)) {
            return Err(equivocation(manifest));
        }
        match installed {
            Some(installed) if !installed.is_before(manifest) => {
                Err((Refusal::FetchFailed, format!("version {} does not come after it", manifest.version)))
            }
            _ => Ok(()),
        }
    }

    /// All of a package is here. A later version takes the place of what runs, unless that has changed meanwhile.
    pub(crate) fn on_fetched(&mut self, id: &AppId, package: Package, source: Source, from: Option<NodeId>) {
        let Some(app) = self.apps.get_mut(id) else { return };
        if app.upgrade.fetch.take().is_some() {
            let wanted = app.started && !app.code.as_ref().is_some_and(|code| self.policy.pins(code.manifest()));
            let manifest = package.manifest.manifest();
            let judged = self.compare(id, manifest).and_then(|()| self.judge_new(manifest));
            if !wanted || judged.and_then(|grant| self.admit_new(id, grant)).is_err() {
                return self.keep_running(id);
            }
            self.make_way(id);
        }
        self.take_package(id, package, source, from);
    }

    /// What runs stops, and what replaces it is wanted from now on.
    pub(crate) fn make_way(&mut self, id: &AppId) {
        if self.apps.get(id).is_some_and(crate::app::App::is_up) {
            self.halt(id);
        }
        let now = self.now;
        if let Some(app) = self.apps.get_mut(id) {
            app.wanted_since = now;
        }
    }

    /// A fetch has come to nothing, and with it the application, unless that runs and needs it not.
    pub(crate) fn end_fetch(&mut self, id: &AppId, refusal: Refusal, line: String) {
        let upgrade = self.apps.get_mut(id).and_then(|app| app.upgrade.fetch.take());
        if upgrade.is_some() {
            self.keep_running(id);
        }
        match upgrade {
            None => self.fail(id, refusal, line),
            Some(_) if refusal == Refusal::Equivocation => {
                self.count(refusal);
                self.log(id, LogLevel::Warn, format!("refused ({refusal}): {line}"));
            }
            Some(_) => self.log(id, LogLevel::Debug, format!("not upgraded ({refusal}): {line}")),
        }
    }

    /// What runs is not replaced: what was reserved for its successor goes back.
    fn keep_running(&mut self, id: &AppId) {
        let running = self.apps.get(id).filter(|app| app.started).and_then(|app| app.code.as_ref());
        if let Some(amounts) = running.map(|code| Resources::of(&code.grant.budgets)) {
            self.admission.shrink(id, amounts);
        }
    }

    /// The policy has changed: what was on its way may not be wanted any more, or may be wanted now.
    pub(crate) fn forget_upgrades(&mut self) {
        self.apps.values_mut().for_each(|app| app.upgrade = Upgrade::default());
    }

    fn installed(&self, id: &AppId) -> Option<&Manifest> {
        self.apps.get(id)?.code.as_ref().map(Code::manifest)
    }
}

/// A provider has signed different code as one version: none of it that is not here already is run.
fn equivocation(manifest: &Manifest) -> (Refusal, String) {
    (Refusal::Equivocation, format!("its provider has signed other code as version {} too", manifest.version))
}
