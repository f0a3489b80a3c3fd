//! What the operator says: install, restore, remove, a new policy; and how an application ends here.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_contract::LogLevel;
use prost_kbr::{AppId, NodeId, Refusal};
use prost_package::{Decision, Grant, Package, Policy, Resources};

use crate::app::{App, Phase};
use crate::io::{CallFailure, InstallFailure, Output};
use crate::node::{Committing, Node};
use crate::provision::MAX_APPS;
use crate::saving::Saved;
use crate::status::Source;

impl Node {
    /// The operator installs a package.
    pub(crate) fn start_install(&mut self, request: u64, package: Package) {
        let id = package.manifest.manifest().app();
        match self.begin_install(&id, request, &package) {
            Ok(false) => {}
            Ok(true) => self.take_package(&id, package, Source::Local, None),
            Err(failure) => self.outbox.push_back(Output::Installed { request, result: Err(failure) }),
        }
    }

    /// Makes room for a package; says whether it is to be taken, or is there already.
    fn begin_install(&mut self, id: &AppId, request: u64, package: &Package) -> Result<bool, InstallFailure> {
        let manifest = package.manifest.manifest();
        self.may_replace(id, manifest)?;
        if let Some(app) = self.apps.get_mut(id)
            && let Some(code) = &app.code
        {
            if code.package.manifest == package.manifest && app.is_up() {
                app.installs.push(request);
                if let Phase::Running = app.phase {
                    self.save_package(id);
                }
                return Ok(false);
            }
            if !app.started {
                return Err(InstallFailure::Busy);
            }
        }
        if let Err((refusal, detail)) = self.judge_new(manifest).and_then(|grant| self.admit_new(id, grant)) {
            self.count(refusal);
            return Err(InstallFailure::Refused { refusal, detail });
        }
        if !self.make_room(id) {
            self.admission.release(id);
            let detail = format!("{MAX_APPS} applications are known here already");
            return Err(InstallFailure::Refused { refusal: Refusal::QueueFull, detail });
        }
        self.make_way(id);
        let now = self.now;
        let app = self.apps.entry(id.clone()).or_insert_with(|| App::new(id.clone(), Phase::Compiling, now));
        app.installs.push(request);
        Ok(true)
    }

    /// A package that was installed before this node was started again.
    pub(crate) fn start_restore(&mut self, package: Package) {
        let id = package.manifest.manifest().app();
        if self.apps.contains_key(&id) {
            return;
        }
        let judged = self.judge(package.manifest.manifest()).and_then(|grant| self.admit_new(&id, grant));
        if let Err((refusal, line)) = judged {
            self.count(refusal);
            return self.log(&id, LogLevel::Warn, format!("not started again ({refusal}): {line}"));
        }
        if !self.make_room(&id) {
            self.admission.release(&id);
            return self.log(&id, LogLevel::Warn, format!("not started again: more than {MAX_APPS} applications"));
        }
        self.apps.insert(id.clone(), App::new(id.clone(), Phase::Compiling, self.now));
        self.take_package(&id, package, Source::Local, None);
        let Some(app) = self.apps.get_mut(&id) else { return };
        app.started = true;
        if let Some(code) = &mut app.code {
            code.saved = Saved::Durable;
        }
    }

    /// The operator removes an application. One that policy has stopped has its package and records on the disk still:
    /// its full id is enough.
    pub(crate) fn on_remove(&mut self, request: u64, name: &str) {
        let can_have_records = |id: AppId| {
            if id.name.is_reserved() { Err(CallFailure::NotInstalled(name.to_owned())) } else { Ok(id) }
        };
        let found = self.resolve(name).and_then(can_have_records);
        if let Ok(id) = &found {
            self.stop(id, Refusal::Leaving);
            self.outbox.push_back(Output::Forget(id.clone()));
        }
        self.outbox.push_back(Output::Removed { request, result: found });
    }

    /// The operator's policy has changed: what it denies stops, what it grants otherwise starts anew, and what failed
    /// before may be tried again. Where the node gives less in all than before, those keep their place that were admitted
    /// first: each in its turn runs on if what those before it left is enough for it, and stops if not.
    pub(crate) fn on_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
        self.forget_upgrades();
        self.forget_denied();
        let admitted = self.admission.begin_anew(self.policy.totals());
        let shares: BTreeMap<AppId, Resources> = admitted.iter().cloned().collect();
        let others: Vec<AppId> = self.apps.keys().filter(|id| !shares.contains_key(*id)).cloned().collect();
        for id in admitted.into_iter().map(|(id, _)| id).chain(others) {
            let Some(app) = self.apps.get(&id) else { continue };
            match (&app.code, &app.phase) {
                (Some(_), _) => self.judge_again(&id),
                (None, Phase::Fetching(_)) => self.judge_fetch(&id, shares.get(&id)),
                (None, _) => self.forget(&id),
            }
        }
    }

    /// What an application that is here gets under a policy that has changed.
    fn judge_again(&mut self, id: &AppId) {
        let Some(code) = self.apps.get(id).and_then(|app| app.code.as_ref()) else { return };
        let (manifest, before) = (code.package.manifest.clone(), code.grant.clone());
        match self.judge(manifest.manifest()).and_then(|grant| self.admit_again(id, grant)) {
            Err((refusal, line)) => {
                self.log(id, LogLevel::Warn, format!("stopped ({refusal}): {line}"));
                self.stop(id, refusal);
            }
            Ok(grant) if grant != before => self.regrant(id, grant),
            Ok(_) => {}
        }
    }

    /// Whether a fetch goes on under a policy that has changed. Once all is here, it is judged by its manifest again.
    fn judge_fetch(&mut self, id: &AppId, share: Option<&Resources>) {
        if let Decision::Deny { rule } = self.policy.decide_app(id) {
            return self.fail(id, Refusal::Denied, format!("denied by {rule}"));
        }
        if let Some(Err(no_room)) = share.map(|share| self.admission.reserve(id, *share)) {
            self.fail(id, Refusal::OverBudget, no_room.to_string());
        }
    }

    fn regrant(&mut self, id: &AppId, grant: Grant) {
        let now = self.now;
        self.halt(id);
        let Some(app) = self.apps.get_mut(id) else { return };
        if let Some(code) = &mut app.code {
            code.grant = grant;
        }
        app.refill(now);
        self.start_compile(id);
    }

    /// Ends an application here: its instance, its queue, its timers. Its records stay.
    pub(crate) fn stop(&mut self, id: &AppId, refusal: Refusal) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let uncommitted = app.take_uncommitted();
        if app.code.is_some() {
            self.halt(id);
        }
        let installs = self.take_installs(id);
        self.answer_installs(installs, &Err(InstallFailure::Refused { refusal, detail: "it was stopped".to_owned() }));
        uncommitted.into_iter().for_each(|entry| self.refuse(entry.end.into_answer(), refusal));
        self.release_all(id, refusal);
        self.forget(id);
    }

    /// Refuses all that waits for an application, and takes back all that it has asked for.
    pub(crate) fn release_all(&mut self, id: &AppId, refusal: Refusal) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let waiting = app.take_all();
        let watched: Vec<NodeId> = app.watching.iter().copied().collect();
        app.usage.timers = 0;
        app.in_flight = 0;
        waiting.into_iter().for_each(|waiting| self.refuse(waiting.answer, refusal));
        self.calls.all_of(id).into_iter().for_each(|call| self.respond(call, Err(CallFailure::Refused(refusal))));
        watched.into_iter().for_each(|node| self.unwatch(id, node));
        self.timers.forget(id);
        self.sent.retain(|_, owner| owner != id);
    }

    /// Forgets an application that nothing waits for.
    pub(crate) fn forget(&mut self, id: &AppId) {
        self.apps.remove(id);
        self.admission.release(id);
        self.ready.remove(id);
        self.forget_records_of(id);
        let gone = self.commits.extract_if(.., |_, committing| committing.app() == id);
        let gone: Vec<Committing> = gone.map(|(_, committing)| committing).collect();
        gone.into_iter().for_each(|committing| self.on_records_committed(committing, false));
        self.stats.executions.retain(|(owner, ..), _| owner != id);
    }
}
