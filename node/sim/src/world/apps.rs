//! Applications on the nodes of a world: compiled once, run at once, and answered when the virtual time has come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost_contract::{Capability, Change, Event as Told, Execution, Outcome, Point, Shelf};
use prost_kbr::{AppId, Refusal};
use prost_manager::{ContentSettings, Found, Input, Look, Output, RunEvent, Space, look};
use prost_package::{Digest, Grant, Package, SignedManifest, Url};

use super::acts::WALL_ORIGIN_MS;
use super::store::Store;
use super::{Index, Seen, World};
use crate::apps::{AppUsage, Applications, Guest, Home, Program, digest};
use crate::trace::Mark;

type Compiled = Result<Arc<dyn Program>, (Refusal, String)>;

/// What all nodes of a world share: the runtime, and what it has compiled.
pub(super) struct Shared {
    pub(super) applications: Applications,
    /// By component, capabilities, and whether WASI is there.
    compiled: BTreeMap<(Digest, BTreeSet<Capability>, bool), Compiled>,
}

/// What a node has for applications: those that are loaded, and its disk.
#[derive(Default)]
pub(super) struct Apps {
    loaded: BTreeMap<AppId, Loaded>,
    store: Store,
    usage: AppUsage,
    /// What is being downloaded from where.
    pub(super) downloads: BTreeMap<u64, Url>,
}

impl Apps {
    /// The newest version among the keyed records on the disk.
    pub(super) fn newest_version(&self) -> u64 {
        self.store.newest_version()
    }

    /// The shelves on the disk, with what each takes.
    fn shelves(&self) -> Vec<(AppId, u64)> {
        let all = self.store.apps().into_iter().filter(|app| app.name.is_reserved());
        all.map(|app| (app.clone(), self.store.used(&app))).collect()
    }
}

impl std::fmt::Debug for Apps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Apps").field("usage", &self.usage).finish_non_exhaustive()
    }
}

/// An application that was loaded in this life of a node.
#[derive(Default)]
struct Loaded {
    /// Counts how often it was stopped: answers about earlier starts do not matter any more.
    start: u32,
    guest: Option<Box<dyn Guest>>,
}

/// What the trace says of an application.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(super) enum Did {
    Compile = 1,
    Run = 2,
    Commit = 3,
    Respond = 4,
    Install = 5,
    Route = 6,
    Download = 7,
    Publish = 8,
}

impl World {
    /// From now on nodes run applications. To be called before the first node starts.
    pub fn host_apps(&mut self, applications: Applications) {
        self.policy = applications.policy.clone();
        self.shared = Some(Box::new(Shared { applications, compiled: BTreeMap::new() }));
    }

    /// What the applications on a node have done over all of its lives; none in a world without applications.
    pub fn app_usage(&self, node: Index) -> Option<AppUsage> {
        let host = self.hosts.get(node as usize)?;
        let apps = host.apps.as_ref()?;
        let mut usage = AppUsage { stored_bytes: apps.store.used_by_all(), ..apps.usage.clone() };
        if let Some(node) = &host.node {
            usage.refuse(&node.stats().refusals);
        }
        Some(usage)
    }

    /// What one record of an application on a node says, whether it is durable yet or not.
    pub fn record(&self, node: Index, app: &AppId, place: prost_contract::Place, name: &[u8]) -> Option<bytes::Bytes> {
        let apps = self.hosts.get(node as usize)?.apps.as_ref()?;
        apps.store.records(app, 0).get(place, name).ok()?
    }

    /// The disk of a node whose process does not run is empty from now on. What it has done is still known.
    pub fn wipe(&mut self, node: Index) {
        let host = self.hosts.get_mut(node as usize).filter(|host| !host.is_alive());
        if let Some(apps) = host.and_then(|host| host.apps.as_mut()) {
            apps.store = Store::default();
        }
    }

    /// What a node keeps of the code of others.
    pub(super) fn content_settings(&self, index: Index) -> ContentSettings {
        let Some(shared) = &self.shared else { return ContentSettings::default() };
        let held = self.hosts[index as usize].apps.as_ref().map(|apps| apps.shelves()).unwrap_or_default();
        ContentSettings { most_bytes: shared.applications.content_bytes, held }
    }

    /// The disk of a node spoils its copy of a record, which is noticed when it is read. Says whether it had a sound one.
    pub fn spoil(&mut self, node: Index, app: &AppId, point: &Point) -> bool {
        let apps = self.hosts.get_mut(node as usize).and_then(|host| host.apps.as_mut());
        apps.is_some_and(|apps| apps.store.spoil(app, point))
    }

    /// A node's disk has that much room from now on, as far as the node is told. It keeps what it is given all the same.
    pub fn set_space(&mut self, node: Index, space: Space) {
        if self.is_alive(node) {
            self.input_later(node, 0, Input::SetSpace(space));
        }
    }

    /// The packages on a node's disk are there again when it starts.
    pub(super) fn restore_apps(&mut self, index: Index) {
        if self.shared.is_none() {
            return;
        }
        let apps = self.hosts[index as usize].apps.get_or_insert_default();
        let packages: Vec<Package> = apps.store.packages().cloned().collect();
        packages.into_iter().for_each(|package| self.input_later(index, 0, Input::Restore(package)));
    }

    /// The process ends, and its applications with it.
    pub(super) fn end_apps(&mut self, index: Index) {
        let now = self.now;
        let host = &mut self.hosts[index as usize];
        let (Some(apps), Some(node)) = (&mut host.apps, &host.node) else { return };
        apps.usage.refuse(&node.stats().refusals);
        apps.loaded.clear();
        apps.downloads.clear();
        apps.store.crash(now);
    }

    /// Whether an answer is about what runs now, and not about what has been stopped.
    pub(super) fn still_matters(&self, index: Index, start: u32, input: &Input) -> bool {
        let (Input::Compiled { app, .. } | Input::Ran { app, .. }) = input else { return true };
        let apps = self.hosts[index as usize].apps.as_ref();
        apps.and_then(|apps| apps.loaded.get(app)).is_some_and(|loaded| loaded.start == start)
    }

    pub(super) fn on_app_output(&mut self, index: Index, output: Output) {
        match output {
            Output::Compile { app, manifest, component, grant } => {
                self.compile(index, app, &manifest, &component, &grant);
            }
            Output::Run { app, events } => self.run_app(index, app, events),
            Output::Commit { commit, app, changes } => self.commit(index, commit, &app, changes),
            Output::Look { look, at } => self.look_up(index, look, &at),
            Output::Stop(app) => {
                if let Some(apps) = &mut self.hosts[index as usize].apps {
                    let loaded = apps.loaded.entry(app).or_default();
                    *loaded = Loaded { start: loaded.start + 1, guest: None };
                }
            }
            Output::Download { download, url } => self.download(index, download, url),
            Output::DownloadRest { download, .. } => self.download_rest(index, download),
            Output::CancelDownload(download) => self.cancel_download(index, download),
            Output::SavePackage { commit, package } => self.save(index, commit, package),
            Output::Forget(app) => {
                if let Some(apps) = &mut self.hosts[index as usize].apps {
                    apps.store.forget(&app);
                }
            }
            Output::Respond { call: request, outcome } => {
                let said = outcome.as_ref().map_or_else(|failure| failure.to_string().into(), Clone::clone);
                self.note_app(index, Did::Respond, &said);
                self.seen.push(Seen::Responded { node: index, request, outcome });
            }
            Output::Installed { request, result } => {
                self.note_app(index, Did::Install, &[u8::from(result.is_ok())]);
                self.seen.push(Seen::Installed { node: index, request, result });
            }
            Output::Published { request, result } => {
                self.note_app(index, Did::Publish, &[u8::from(result.is_ok())]);
                self.seen.push(Seen::Published { node: index, request, result });
            }
            Output::Routed { request, outcome } => {
                let handled_by = outcome.result.as_ref().map_or(&[][..], |peer| peer.id.as_bytes());
                self.note_app(index, Did::Route, handled_by);
                self.seen.push(Seen::Routed { node: index, request, outcome });
            }
            Output::Log { app, level, line } => {
                let micros = self.now.as_micros();
                let (s, us) = (micros / 1_000_000, micros % 1_000_000);
                self.trace.line(format_args!("{s}.{us:06} {index} {} logs {level:?} {line}", app.name));
            }
            // As at the daemon: a call has one answer, and items in between have nowhere to go.
            Output::Push { .. } => {}
            Output::Dial(_)
            | Output::Send { .. }
            | Output::Keep(_)
            | Output::Release(_)
            | Output::Joined
            | Output::Left
            | Output::LookedUp { .. }
            | Output::Neighbours { .. }
            | Output::Removed { .. } => {}
        }
    }

    fn compile(
        &mut self,
        index: Index,
        app: AppId,
        manifest: &SignedManifest,
        component: &bytes::Bytes,
        grant: &Grant,
    ) {
        let Some(shared) = &mut self.shared else { return };
        let code = manifest.manifest().component.digest;
        let key = (code, grant.capabilities.clone(), grant.wasi);
        let compiled =
            shared.compiled.entry(key).or_insert_with(|| shared.applications.runtime.compile(component, grant));
        let host = &mut self.hosts[index as usize];
        let apps = host.apps.get_or_insert_default();
        let loaded = apps.loaded.entry(app.clone()).or_default();
        let result = match compiled {
            Ok(program) => {
                let home = Home { node: host.peer.id, app: app.clone() };
                loaded.guest = Some(program.load(&home, grant));
                Ok(())
            }
            Err((refusal, line)) => Err((*refusal, line.clone())),
        };
        let start = loaded.start;
        self.note_app(index, Did::Compile, code.as_bytes());
        let micros = Applications::compile_us(component);
        self.answer_later(index, start, micros, Input::Compiled { app, micros, result });
    }

    /// The events run at once, on the records of this moment: until the batch is answered nothing else changes them.
    fn run_app(&mut self, index: Index, app: AppId, events: Vec<RunEvent>) {
        let host = &mut self.hosts[index as usize];
        let now_ms = WALL_ORIGIN_MS + host.clock.show(self.now).as_micros() / 1000;
        let Some(apps) = &mut host.apps else { return };
        let Some(Loaded { start, guest: Some(guest) }) = apps.loaded.get_mut(&app) else { return };
        let start = *start;
        let are_messages: Vec<bool> =
            events.iter().map(|run| matches!(run.event, Told::Deliver(_) | Told::Forward { .. })).collect();
        let (records, used) = (apps.store.records(&app, now_ms), apps.store.used(&app));
        let mut executions = guest.run(events, records, used);
        let mut after_us = 0;
        for (execution, is_message) in executions.iter_mut().zip(are_messages) {
            execution.receipt.micros = Applications::run_us(execution.receipt.fuel);
            after_us += execution.receipt.micros;
            apps.usage.count(execution, is_message);
        }
        self.note_app(index, Did::Run, &digest::executions(&app, &executions));
        self.answer_later(index, start, after_us, Input::Ran { app, executions });
    }

    /// What is in the store at this moment is the answer, a little later.
    fn look_up(&mut self, index: Index, number: u64, at: &Look) {
        let found = self.hosts[index as usize].apps.as_mut().map_or(Found::Unavailable, |apps| {
            let found = look(&apps.store, at);
            apps.store.heed_damage();
            found
        });
        self.input_later(index, Applications::LOOK_US, Input::Looked { look: number, found });
    }

    fn commit(&mut self, index: Index, commit: u64, app: &AppId, changes: Vec<Change>) {
        let Some(shared) = &self.shared else { return };
        let takes_us = shared.applications.commit.as_micros() as u64;
        let durable_at = self.after_us(takes_us);
        self.note_app(index, Did::Commit, &digest::changes(&changes));
        let host = &mut self.hosts[index as usize];
        let now_ms = WALL_ORIGIN_MS + host.clock.show(self.now).as_micros() / 1000;
        let store = &mut host.apps.get_or_insert_default().store;
        store.settle(self.now);
        store.submit(durable_at, now_ms, app, changes);
        let used = store.used(app);
        self.input_later(index, takes_us, Input::Committed { commit, result: Ok(used) });
    }

    fn save(&mut self, index: Index, commit: u64, package: Package) {
        let Some(shared) = &self.shared else { return };
        let takes_us = shared.applications.commit.as_micros() as u64;
        let durable_at = self.after_us(takes_us);
        let host = &mut self.hosts[index as usize];
        let app = package.manifest.manifest().app();
        let installation = host.node.as_ref().and_then(|node| node.installations().filter(|one| one.app == app).last());
        if let Some(installation) = installation.cloned() {
            self.seen.push(Seen::Runs { node: index, installation });
        }
        let store = &mut host.apps.get_or_insert_default().store;
        let used = store.used(&app);
        store.save(durable_at, package);
        self.input_later(index, takes_us, Input::Committed { commit, result: Ok(used) });
    }

    pub(super) fn note_app(&mut self, index: Index, did: Did, bytes: &[u8]) {
        self.trace.note(self.now, index, Mark::App, did as u64, &[bytes]);
    }
}

impl AppUsage {
    fn count(&mut self, execution: &Execution, is_message: bool) {
        self.events += 1;
        self.messages += u64::from(is_message);
        self.fuel += execution.receipt.fuel;
        if let Outcome::Trapped(trap) = &execution.outcome {
            *self.traps.entry(trap.kind.name()).or_default() += 1;
        }
    }

    fn refuse(&mut self, refusals: &BTreeMap<Refusal, u64>) {
        refusals.iter().for_each(|(refusal, count)| *self.refusals.entry(*refusal).or_default() += count);
    }
}
