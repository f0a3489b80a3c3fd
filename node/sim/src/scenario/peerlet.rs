//! An application on the ring: installed before the first phase, and asked while phases last.

use core::time::Duration;

use bytes::Bytes;
use prost_kbr::{AppId, Header, Key, Time};
use prost_package::{Locator, Package};

use super::crowd::Roll;
use super::driver::Driver;
use super::error::Error;
use super::events::Due;
use super::workload::{Origins, Payload, Peerlet, Workload};
use crate::apps::Applications;
use crate::measure::PeerletMeter;
use crate::random::Random;
use crate::world::{Act, Index, Route, Seen};

/// What the seed of the workload differs by from that of the world. With its own numbers it changes nobody else's.
const WORKLOAD: u64 = 0x0070_6565_726c_6574;
/// How long the package may take to start where it is installed.
const INSTALL: Duration = Duration::from_secs(60);
/// How long calls that are under way at the end may take: as long as a node gives them, and a little more.
const CALLS: Duration = Duration::from_secs(35);
const SECOND: Duration = Duration::from_secs(1);

/// The application of a run.
pub(super) struct Running {
    pub(super) package: Package,
    pub(super) workload: Workload,
    pub(super) meter: PeerletMeter,
    /// Nodes that run it.
    runners: Roll,
    header: Header,
    app: String,
    random: Random,
    messages: Spread,
    calls: Spread,
    /// How installing it went, for each node that has answered.
    installed: Vec<Result<(), String>>,
}

/// So many things over a stretch of time: each has an equal share of it and happens somewhere in that.
#[derive(Debug, Default)]
struct Spread {
    began: Time,
    time: Duration,
    count: u64,
    /// How many have been drawn.
    drawn: u64,
    next: Option<Time>,
}

impl Spread {
    fn new(began: Time, time: Duration, count: u64, random: &mut Random) -> Spread {
        let mut spread = Spread { began, time, count, drawn: 0, next: None };
        spread.draw(random);
        spread
    }

    /// Goes on to the next.
    fn draw(&mut self, random: &mut Random) {
        self.next = None;
        if self.drawn < self.count {
            let share = self.time.as_micros() as u64 / self.count;
            let begins = (self.time.as_micros() * u128::from(self.drawn) / u128::from(self.count)) as u64;
            self.next = Some(self.began + Duration::from_micros(begins + random.below(share)));
            self.drawn += 1;
        }
    }
}

impl Running {
    pub(super) fn new(peerlet: Peerlet, seed: u64) -> Result<(Running, Applications), Error> {
        let policy = peerlet.policy()?.into();
        let Peerlet { package, runtime, workload } = peerlet;
        let manifest = package.manifest.manifest();
        let locator = Locator::Digest(manifest.component.digest).to_string();
        let running = Running {
            header: Header { app: manifest.app(), locator },
            app: manifest.app().to_string(),
            meter: PeerletMeter::default(),
            runners: Roll::default(),
            random: Random::new(seed ^ WORKLOAD),
            messages: Spread::default(),
            calls: Spread::default(),
            installed: Vec::new(),
            package,
            workload,
        };
        Ok((running, Applications { policy, ..Applications::new(runtime) }))
    }

    fn payload(&mut self, number: u64, key: Key) -> Option<Bytes> {
        match &self.workload.payload {
            Payload::Text(text) => text.bytes(number, key).ok(),
            Payload::Bytes(count) => {
                let mut bytes = vec![0; *count as usize];
                for chunk in bytes.chunks_mut(8) {
                    chunk.copy_from_slice(&self.random.number().to_be_bytes()[..chunk.len()]);
                }
                Some(bytes.into())
            }
        }
    }

    fn key(&mut self) -> Key {
        let mut bytes = [0; Key::LEN];
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.random.number().to_be_bytes()[..chunk.len()]);
        }
        Key::from_bytes(bytes)
    }
}

impl Driver<'_> {
    /// Installs the package, as an operator does, and waits until it runs.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] where a node will not have it.
    pub(super) fn install(&mut self) -> Result<(), Error> {
        let Some(running) = &mut self.peerlet else { return Ok(()) };
        self.label = "install";
        let count = running.workload.installs as usize;
        let nodes = self.crowd.members.pick_some(count, &mut running.random, |_| true);
        let package = running.package.clone();
        for (request, node) in (0..).zip(&nodes) {
            self.act(Act::Install { node: *node, request, package: Box::new(package.clone()) });
        }
        let latest = self.world.now() + INSTALL;
        loop {
            let installed = self.peerlet.as_ref().map_or(&[][..], |running| &running.installed);
            if let Some(Err(reason)) = installed.iter().find(|result| result.is_err()) {
                return Err(Error::NotInstalled { reason: reason.clone() });
            }
            if installed.len() >= nodes.len() && !nodes.is_empty() {
                break;
            }
            if self.world.now() >= latest {
                let reason = format!("no answer after {} virtual seconds", INSTALL.as_secs());
                return Err(Error::NotInstalled { reason });
            }
            self.play(self.world.now() + SECOND);
            self.tell();
        }
        Ok(())
    }

    /// Begins to ask, for so long.
    pub(super) fn start_workload(&mut self, time: Duration) {
        let now = self.world.now();
        let Some(Running { workload, random, messages, calls, .. }) = self.peerlet.as_deref_mut() else { return };
        *messages = Spread::new(now, time, workload.messages, random);
        *calls = Spread::new(now, time, workload.calls, random);
    }

    /// Puts what comes next on the agenda, which each phase begins anew.
    pub(super) fn resume_workload(&mut self) {
        let Some(running) = &self.peerlet else { return };
        let next = [(running.messages.next, Due::Message), (running.calls.next, Due::Call)];
        for (at, due) in next {
            if let Some(at) = at {
                self.agenda.add(at, due);
            }
        }
    }

    /// A program sends a message.
    pub(super) fn send_next(&mut self) {
        let (now, members) = (self.world.now(), &self.crowd.members);
        let Some(running) = self.peerlet.as_deref_mut() else { return };
        let number = running.messages.drawn - 1;
        let origin = running.origin(members);
        let key = running.key();
        let payload = running.payload(number, key);
        running.messages.draw(&mut running.random);
        if let Some(next) = running.messages.next {
            self.agenda.add(next, Due::Message);
        }
        let (Some(node), Some(payload)) = (origin, payload) else {
            let why = if origin.is_none() { NOBODY } else { BAD_TEXT };
            return running.meter.messages.not_asked(now, why);
        };
        let request = running.meter.messages.ask(now, node);
        let (header, dispatch) = (running.header.clone(), running.workload.dispatch);
        self.act(Act::Route { node, request, route: Box::new(Route { header, key, dispatch, payload }) });
    }

    /// A program calls the application.
    pub(super) fn call_next(&mut self) {
        let (now, seed, members) = (self.world.now(), self.options.seed, &self.crowd.members);
        let Some(running) = self.peerlet.as_deref_mut() else { return };
        let number = running.calls.drawn - 1;
        let origin = running.origin(members);
        let asks = running.workload.asks.len().max(1) as u64;
        let round = number / asks;
        let key = Key::hash(&[seed.to_be_bytes(), round.to_be_bytes()].concat());
        let ask = running.workload.asks.get((number % asks) as usize);
        let ask = ask.and_then(|ask| Some((ask.method.clone(), ask.body.bytes(round, key).ok()?)));
        running.calls.draw(&mut running.random);
        if let Some(next) = running.calls.next {
            self.agenda.add(next, Due::Call);
        }
        let (Some(node), Some((method, body))) = (origin, ask) else {
            let why = if origin.is_none() { NOBODY } else { BAD_TEXT };
            return running.meter.calls.not_asked(now, why);
        };
        let request = running.meter.calls.ask(now, node);
        let app = running.app.clone();
        self.act(Act::Call { node, request, app, method, body });
    }

    /// Takes note of what has come of it.
    pub(super) fn on_seen(&mut self, seen: Seen) {
        let now = self.world.now();
        let members = &self.crowd.members;
        let Some(running) = self.peerlet.as_deref_mut() else { return };
        match seen {
            Seen::Installed { result, .. } => {
                running.installed.push(result.map(|_| ()).map_err(|failure| failure.to_string()));
            }
            Seen::Runs { node, installation } => {
                running.runners.add(node);
                running.meter.installed(now, &installation, running.runners.len());
            }
            Seen::Routed { node, request, outcome } => {
                running.meter.routed(now, request, &outcome, members.contains(node));
            }
            Seen::Responded { node, request, outcome } => {
                running.meter.responded(now, request, &outcome, members.contains(node));
            }
            Seen::LookedUp { .. } | Seen::Joined { .. } | Seen::Left { .. } | Seen::Published { .. } => {}
        }
    }

    /// A node lives no more, and none of these comes back: its disk is of no use.
    pub(super) fn forget_runner(&mut self, node: Index) {
        let now = self.world.now();
        let Some(running) = self.peerlet.as_deref_mut() else { return };
        self.world.wipe(node);
        if running.runners.remove(node) {
            running.meter.count_running(now, running.runners.len());
        }
    }

    /// Waits for the calls that are under way.
    pub(super) fn finish_workload(&mut self) {
        let latest = self.world.now() + CALLS;
        let is_open = |driver: &Self| driver.peerlet.as_ref().is_some_and(|running| running.meter.is_open());
        while is_open(self) && self.world.now() < latest {
            self.play(self.world.now() + SECOND);
        }
        let members = &self.crowd.members;
        if let Some(running) = self.peerlet.as_deref_mut() {
            running.meter.close(|node| members.contains(node));
        }
    }
}

/// Why a message was not sent or a call not made: no node runs the application any more.
const NOBODY: &str = "nobody-runs-it";
/// The same: the text makes no bytes with this number.
const BAD_TEXT: &str = "bad-text";

impl Running {
    /// The application.
    pub(super) fn app(&self) -> &AppId {
        &self.header.app
    }

    /// From when to when it is asked.
    pub(super) fn span(&self) -> (Time, Time) {
        (self.messages.began, self.messages.began + self.messages.time)
    }

    fn origin(&mut self, members: &Roll) -> Option<Index> {
        match self.workload.origins {
            Origins::Running => self.runners.pick(&mut self.random),
            Origins::Any => members.pick(&mut self.random),
        }
    }
}
