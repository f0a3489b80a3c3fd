//! From a package to a running application: policy, compiler, `init`; and back when that fails.

use core::time::Duration;

use prost_contract::{CONTRACT, LogLevel};
use prost_kbr::{AppId, Header, NodeId, Refusal};
use prost_package::{Chunks, Decision, Grant, Locator, Manifest, Package, Resources};

use crate::app::{Code, Phase};
use crate::io::{InstallFailure, Output};
use crate::node::Node;
use crate::saving::Saved;
use crate::status::{Installation, Source};

/// How long an application that could not be had or started is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Starts in a row that may fail before an application that has run is left alone for a while.
const MAX_RESTARTS: u32 = 5;

impl Node {
    /// What an application that is not installed yet gets here. Asked before any byte of its code is.
    pub(crate) fn judge_new(&self, manifest: &Manifest) -> Result<Grant, (Refusal, String)> {
        let grant = self.judge(manifest)?;
        if manifest.is_expired(self.now_ms() / 1000) {
            return Err((Refusal::BadPackage, "its manifest has expired".to_owned()));
        }
        Ok(grant)
    }

    /// What an application gets here: policy and contract. Expiry ends installing, not running.
    pub(crate) fn judge(&self, manifest: &Manifest) -> Result<Grant, (Refusal, String)> {
        let grant = match self.policy.decide(manifest) {
            Decision::Deny { rule } => return Err((Refusal::Denied, format!("denied by {rule}"))),
            Decision::Allow { grant, .. } => grant,
        };
        if let Some(missing) = grant.missing(manifest) {
            return Err((Refusal::MissingCapability, format!("asks for '{missing}', which is not granted")));
        }
        if manifest.world != CONTRACT {
            return Err((Refusal::BadPackage, format!("is built for {}, this node has {CONTRACT}", manifest.world)));
        }
        Ok(grant)
    }

    /// All is here: to the compiler. The policy may have changed since the manifest was judged.
    pub(crate) fn take_package(&mut self, id: &AppId, package: Package, source: Source, from: Option<NodeId>) {
        let judged = self.judge(package.manifest.manifest());
        let grant = match judged.and_then(|grant| self.admit_new(id, grant)) {
            Ok(grant) => grant,
            Err((refusal, line)) => return self.fail(id, refusal, line),
        };
        let locator = Locator::Digest(package.manifest.manifest().component.digest).to_string();
        let header = Header { app: id.clone(), locator }.encode();
        let (now, chunks) = (self.now, Chunks::of(&package.component));
        let Some(app) = self.apps.get_mut(id) else { return };
        app.set_code(Code { package, chunks, grant, header, source, from, saved: Saved::No, recorded: false }, now);
        self.start_compile(id);
    }

    pub(crate) fn start_compile(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = &app.code else { return };
        // Code that has never started, and replaces none that has, kept nothing here.
        let was_up = app.is_up() && (app.started || app.previous.is_some());
        app.phase = Phase::Compiling;
        self.outbox.push_back(Output::Compile {
            app: id.clone(),
            manifest: code.package.manifest.clone(),
            component: code.package.component.clone(),
            grant: code.grant.clone(),
        });
        if !was_up {
            self.settle_app(id);
        }
    }

    /// The compiler has answered.
    pub(crate) fn on_compiled(&mut self, id: &AppId, micros: u64, result: Result<(), (Refusal, String)>) {
        let Some(app) = self.apps.get_mut(id).filter(|app| matches!(app.phase, Phase::Compiling)) else { return };
        app.usage.compile_micros = app.usage.compile_micros.saturating_add(micros);
        if let Err((refusal, line)) = result {
            return self.fail(id, refusal, line);
        }
        app.phase = Phase::Starting;
        app.push_init();
        self.ready.insert(id.clone());
    }

    /// `init` has returned well, and what it wrote is durable.
    pub(crate) fn on_started(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id).filter(|app| matches!(app.phase, Phase::Starting)) else { return };
        app.phase = Phase::Running;
        app.previous = None;
        app.upgraded_from = None;
        app.started = true;
        if let Some(code) = &app.code {
            self.admission.shrink(id, Resources::of(&code.grant.budgets));
        }
        self.plan_renewal(id);
        self.record_installation(id);
        self.save_package(id);
    }

    fn record_installation(&mut self, id: &AppId) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        let Some(code) = app.code.as_mut().filter(|code| !code.recorded) else { return };
        code.recorded = true;
        let record = Installation {
            app: id.clone(),
            version: code.manifest().version.to_string(),
            source: code.source,
            peer: code.from,
            bytes: code.package.manifest.bytes().len() as u64 + code.package.component.len() as u64,
            millis: u64::try_from(now.since(app.wanted_since).as_millis()).unwrap_or(u64::MAX),
        };
        self.remember(record);
    }

    /// `init` has failed. What never ran is given up; what has run is tried again, later each time. An instance whose
    /// `init` returned is still there, and is not started twice: `gone` says that there is none.
    pub(crate) fn on_start_failed(&mut self, id: &AppId, line: String, gone: bool) {
        let now = self.now;
        let Some(app) = self.apps.get_mut(id) else { return };
        app.back_off(now);
        if !app.started || app.restarts > MAX_RESTARTS {
            self.halt(id);
            return self.fail(id, Refusal::InitFailed, line);
        }
        self.log(id, LogLevel::Warn, format!("init failed: {line}"));
        if gone {
            self.restart(id);
        } else {
            self.halt(id);
            self.start_compile(id);
        }
    }

    /// The instance is gone, its code is not: a new one starts from storage.
    pub(crate) fn restart(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        app.usage.memory_bytes = 0;
        if matches!(app.phase, Phase::Running | Phase::Starting) {
            app.phase = Phase::Starting;
            app.push_init();
        }
        self.ready.insert(id.clone());
    }

    /// Drops the instance and its compiled code. What it was given and has not answered has not happened, and waits
    /// again.
    pub(crate) fn halt(&mut self, id: &AppId) {
        let Some(app) = self.apps.get_mut(id) else { return };
        self.outbox.push_back(Output::Stop(id.clone()));
        app.usage.memory_bytes = 0;
        let under_way = std::mem::take(&mut app.under_way);
        app.put_back(under_way.into_iter());
        app.drop_init();
    }

    /// The application cannot be had or started: everything that waits for it is refused, unless the code that it was
    /// to replace can run on.
    pub(crate) fn fail(&mut self, id: &AppId, refusal: Refusal, line: String) {
        let until = self.now + RETRY_AFTER;
        self.log(id, LogLevel::Warn, format!("refused ({refusal}): {line}"));
        let Some(app) = self.apps.get_mut(id) else { return };
        let (installs, previous) = (std::mem::take(&mut app.installs), app.previous.take());
        for request in installs {
            self.count(refusal);
            let result = Err(InstallFailure::Refused { refusal, detail: line.clone() });
            self.outbox.push_back(Output::Installed { request, result });
        }
        if let Some(previous) = previous {
            return self.roll_back(id, previous);
        }
        let Some(app) = self.apps.get_mut(id) else { return };
        app.phase = Phase::Failed { refusal, until };
        if !app.started {
            app.code = None;
            self.admission.release(id);
        }
        self.release_all(id, refusal);
        if refusal == Refusal::Denied {
            self.forget(id);
        }
    }

    fn roll_back(&mut self, id: &AppId, mut previous: Code) {
        let now = self.now;
        match self.judge(previous.manifest()).and_then(|grant| self.admit(id, grant, None)) {
            Ok(grant) => previous.grant = grant,
            Err((refusal, line)) => {
                self.log(id, LogLevel::Warn, format!("stopped ({refusal}): {line}"));
                return self.stop(id, refusal);
            }
        }
        self.log(id, LogLevel::Warn, format!("goes on with version {}", previous.manifest().version));
        let Some(app) = self.apps.get_mut(id) else { return };
        app.upgrade.note_failed(app.code.as_ref());
        app.code = Some(previous);
        app.started = true;
        app.upgraded_from = None;
        app.restarts = 0;
        app.refill(now);
        self.start_compile(id);
    }
}
