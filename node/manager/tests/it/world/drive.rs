//! How a world goes on: events, network, sandboxes, disks.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost_contract::{Change, Execution, Outcome};
use prost_kbr::{AppId, Header, Input as Ring, Message, NodeId, Peer, Purpose, Refusal, wire};
use prost_manager::{Input, NotDurable, Output, RunEvent, look};

use super::{DIAL_FAILS, Disk, Event, Fate, MAX_WAKES, RecordFate, Seen, Step, Tally, World, pair, shelf};
use crate::guest::{Component, Instance};
use crate::packages::app_of;

/// Whether a frame is one of those by which nodes compare and copy keyed records.
fn is_about_records(payload: &[u8]) -> bool {
    payload.first() == Some(&0xff)
}

impl World {
    pub(super) fn at_time(&mut self, after: Duration, event: Event) {
        self.events.insert((self.now + after, self.next_event), event);
        self.next_event += 1;
    }

    /// One way, the same for a pair at all times: 2 to 20 ms.
    fn latency(&self, a: NodeId, b: NodeId) -> Duration {
        let (a, b) = pair(a, b);
        let bytes = a.as_bytes().iter().chain(b.as_bytes());
        let mix = bytes.fold(7u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        Duration::from_micros(2_000 + mix % 18_000)
    }

    pub(super) fn step(&mut self) -> bool {
        let Some(((time, _), event)) = self.events.pop_first() else { return false };
        self.now = time;
        match event {
            Event::Compiled { node, .. } => self.steps.push((node, Step::Compiled)),
            Event::Ran { node, .. } => self.steps.push((node, Step::Ran)),
            Event::Committed { node, .. } => self.steps.push((node, Step::Committed)),
            Event::Wake(_)
            | Event::Ring(..)
            | Event::Connect { .. }
            | Event::Frame { .. }
            | Event::Looked { .. }
            | Event::Web(..) => {}
        }
        match event {
            Event::Wake(id) => self.wake(id),
            Event::Ring(id, input) => self.ring_input(id, input),
            Event::Connect { from, to, expected } => self.connect(from, to, expected),
            Event::Frame { from, to, connection, bytes } => self.arrive(from, to, connection, bytes),
            Event::Compiled { node, app, generation, component } => self.compiled(node, app, generation, &component),
            Event::Ran { node, app, generation, executions } => {
                let host = self.hosts.get_mut(&node).expect("a node");
                if host.generations.get(&app).copied().unwrap_or(0) == generation {
                    host.under_way.remove(&app);
                    let tally = host.tallies.entry(app.clone()).or_default();
                    executions.iter().for_each(|execution| tally.count(execution));
                    self.input(node, Input::Ran { app, executions });
                }
            }
            Event::Web(node, reply) => self.web_replies(node, reply),
            Event::Looked { node, look, found } => self.input(node, Input::Looked { look, found }),
            Event::Committed { node, commit, result } => {
                self.see(node, Seen::Committed(commit, result.is_ok()));
                self.input(node, Input::Committed { commit, result });
            }
        }
        true
    }

    pub(super) fn see(&mut self, node: NodeId, seen: Seen) {
        let now = self.now;
        self.hosts.get_mut(&node).expect("a node").journal.push((now, seen));
    }

    fn wake(&mut self, id: NodeId) {
        let now = self.now;
        let host = self.hosts.get_mut(&id).expect("a node");
        if host.wake != Some(now) {
            return;
        }
        host.wake = None;
        if !host.alive {
            return;
        }
        let (when, count) = host.wakes;
        host.wakes = if when == now { (now, count + 1) } else { (now, 1) };
        assert!(host.wakes.1 <= MAX_WAKES, "{id:?} spins: {:?}", host.node.poll_timeout());
        host.node.handle_timeout(now);
        self.drain(id);
    }

    fn compiled(&mut self, node: NodeId, app: AppId, generation: u64, component: &[u8]) {
        let host = self.hosts.get_mut(&node).expect("a node");
        if host.generations.get(&app).copied().unwrap_or(0) != generation {
            return;
        }
        let result = match Component::parse(component) {
            Some(component) => {
                host.loaded.insert(app.clone(), component);
                host.instances.remove(&app);
                Ok(())
            }
            None => Err((Refusal::BadComponent, "not a component\nat all".to_owned())),
        };
        let host = self.hosts.get_mut(&node).expect("a node");
        let micros = host.compiler.as_micros() as u64;
        host.tallies.entry(app.clone()).or_default().compile_micros += micros;
        self.input(node, Input::Compiled { app, micros, result });
    }

    fn connect(&mut self, from: NodeId, to: SocketAddr, expected: Option<NodeId>) {
        let there = self.at.get(&to).copied();
        let there = there.filter(|id| self.hosts[id].alive && expected.is_none_or(|expected| expected == *id));
        if let Some(expected) = expected {
            self.hosts.get_mut(&from).expect("a node").dialling.remove(&expected);
        }
        let Some(there) = there.filter(|there| *there != from && self.hosts[&from].alive) else {
            let input = match expected {
                Some(id) => {
                    self.hosts.get_mut(&from).expect("a node").unsent.remove(&id);
                    Ring::Disconnected { id }
                }
                None => Ring::DialFailed { addr: to },
            };
            return self.ring_input(from, input);
        };
        if !self.connections.contains_key(&pair(from, there)) {
            self.connections.insert(pair(from, there), self.next_event);
            let (one, other) = (self.hosts[&from].peer, self.hosts[&there].peer);
            let rtt = self.latency(from, there) * 2;
            self.ring_input(there, Ring::Connected { peer: one });
            self.ring_input(there, Ring::RoundTrip { id: from, rtt });
            self.ring_input(from, Ring::Connected { peer: other });
            self.ring_input(from, Ring::RoundTrip { id: there, rtt });
        } else if expected.is_none() {
            let peer = self.hosts[&there].peer;
            self.ring_input(from, Ring::Connected { peer });
        }
        let unsent = self.hosts.get_mut(&from).expect("a node").unsent.remove(&there);
        for message in unsent.unwrap_or_default() {
            self.transmit(from, there, &message);
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: &Message) {
        let mut frame = BytesMut::new();
        let payload = wire::encode(message, &mut frame);
        frame.extend_from_slice(&payload.unwrap_or_default());
        let connection = self.connections[&pair(from, to)];
        let earlier = self.arrivals.get(&(from, to)).copied().unwrap_or_default();
        let arrival = (self.now + self.latency(from, to)).max(earlier);
        self.arrivals.insert((from, to), arrival);
        let after = arrival.since(self.now);
        self.at_time(after, Event::Frame { from, to, connection, bytes: frame.freeze() });
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, connection: u64, bytes: Bytes) {
        if self.connections.get(&pair(from, to)) != Some(&connection) {
            return;
        }
        let mut message = wire::decode(bytes.slice(4..)).expect("a frame");
        if self.loses_records && matches!(&message, Message::Upper(payload) if is_about_records(payload)) {
            return;
        }
        self.steps.extend(step_of(&message).map(|step| (to, step)));
        if let (Message::Upper(payload), Some(meddler)) = (&message, &mut self.meddler)
            && !is_about_records(payload)
        {
            let code = serde_cbor::from_slice(payload).expect("a frame of the code protocol");
            match meddler(from, to, &code) {
                Fate::Arrives => {}
                Fate::Lost => return,
                Fate::Says(code) => message = Message::Upper(serde_cbor::to_vec(&code).expect("plain data").into()),
            }
        }
        if let (Message::Upper(payload), Some(meddler)) = (&message, &mut self.record_meddler)
            && is_about_records(payload)
        {
            match meddler(from, to, &shelf::read(payload)) {
                RecordFate::Arrives => {}
                RecordFate::Lost => return,
                RecordFate::Says(frame) => message = Message::Upper(shelf::write(&frame)),
            }
        }
        self.ring_input(to, Ring::Received { from, message });
    }

    fn dial(&mut self, from: NodeId, to: Peer) {
        if self.hosts.get_mut(&from).expect("a node").dialling.insert(to.id) {
            let there = self.at.get(&to.addr).is_some_and(|id| self.hosts[id].alive);
            let after = if there { self.latency(from, to.id) * 2 } else { DIAL_FAILS };
            self.at_time(after, Event::Connect { from, to: to.addr, expected: Some(to.id) });
        }
    }

    pub(super) fn drain(&mut self, id: NodeId) {
        while let Some(output) = self.hosts.get_mut(&id).expect("a node").node.poll_output() {
            let now = self.now;
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{now:?} {id:?} {output:?}"));
            }
            self.on_output(id, output);
        }
        let host = self.hosts.get_mut(&id).expect("a node");
        if let Some(audit) = self.auditor {
            audit(host);
        }
        if let Some((at, _)) = host.node.poll_timeout() {
            let at = at.max(self.now);
            if host.wake.is_none_or(|wake| wake > at) {
                host.wake = Some(at);
                let after = at.since(self.now);
                self.at_time(after, Event::Wake(id));
            }
        }
    }

    fn on_output(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Dial(to) => {
                self.at_time(Duration::from_millis(20), Event::Connect { from: id, to, expected: None });
            }
            Output::Send { to, message } => self.send(id, to, message),
            // A connection that nobody needs does no harm.
            Output::Release(_) => {}
            Output::Keep(peers) => {
                for peer in peers {
                    if !self.connections.contains_key(&pair(id, peer.id)) {
                        self.dial(id, peer);
                    }
                }
            }
            Output::Compile { app, component, .. } => {
                let host = &self.hosts[&id];
                let generation = host.generations.get(&app).copied().unwrap_or(0);
                let after = host.compiler;
                self.see(id, Seen::Compile(app.clone()));
                self.at_time(after, Event::Compiled { node: id, app, generation, component });
            }
            Output::Run { app, events } => self.run(id, &app, events),
            Output::Stop(app) => {
                self.see(id, Seen::Stop(app.clone()));
                let host = self.hosts.get_mut(&id).expect("a node");
                *host.generations.entry(app.clone()).or_default() += 1;
                host.under_way.remove(&app);
                host.loaded.remove(&app);
                host.instances.remove(&app);
            }
            Output::Commit { commit, app, changes } => self.commit(id, commit, &app, changes),
            Output::Look { look: number, at } => {
                let found = look(&self.hosts[&id].shelves, &at);
                self.at_time(Duration::from_millis(1), Event::Looked { node: id, look: number, found });
            }
            Output::Download { download, url } => self.download(id, download, &url),
            Output::DownloadRest { download, bytes } => self.download_rest(id, download, bytes),
            Output::CancelDownload(download) => self.cancel_download(id, download),
            Output::SavePackage { commit, package } => {
                let app = app_of(&package);
                self.see(id, Seen::Saved(app.clone()));
                self.write(id, commit, &app, Vec::new());
            }
            Output::Forget(app) => {
                let host = self.hosts.get_mut(&id).expect("a node");
                host.records.remove(&app);
                host.shelves.forget(&app);
                self.see(id, Seen::Forgot(app));
            }
            Output::Respond { call, outcome } => {
                assert!(self.hosts.get_mut(&id).expect("a node").open_calls.remove(&call), "a second answer");
                self.see(id, Seen::Responded(call, outcome));
            }
            Output::Push { call, item } => self.see(id, Seen::Pushed(call, item)),
            Output::Installed { request, result } => self.see(id, Seen::Installed(request, result)),
            Output::Published { request, result } => self.see(id, Seen::Published(request, result)),
            Output::Removed { request, result } => self.see(id, Seen::Removed(request, result)),
            Output::LookedUp { request, .. } => self.see(id, Seen::LookedUp(request)),
            Output::Routed { request, outcome } => self.see(id, Seen::Routed(request, outcome)),
            Output::Log { line, .. } => {
                assert!(!line.contains(char::is_control), "{line:?}");
                self.see(id, Seen::Logged(line));
            }
            Output::Joined | Output::Left | Output::Neighbours { .. } => {}
        }
    }

    fn send(&mut self, from: NodeId, to: Peer, message: Message) {
        match &message {
            Message::Upper(payload) if !is_about_records(payload) => {
                let code = serde_cbor::from_slice(payload).expect("a frame of the code protocol");
                self.see(from, Seen::Asked(to.id, code));
            }
            Message::Upper(payload) => {
                let frame = shelf::read(payload);
                self.see(from, Seen::Records(to.id, frame));
            }
            Message::Route { routed, .. }
                if routed.envelope.origin.id == from && matches!(routed.envelope.purpose, Purpose::App(_)) =>
            {
                assert!(Header::decode(&routed.header).is_some());
                self.see(from, Seen::Sent(to.id, String::from_utf8_lossy(&routed.payload).into_owned()));
            }
            _ => {}
        }
        if self.connections.contains_key(&pair(from, to.id)) {
            self.transmit(from, to.id, &message);
        } else {
            self.hosts.get_mut(&from).expect("a node").unsent.entry(to.id).or_default().push(message);
            self.dial(from, to);
        }
    }

    fn run(&mut self, id: NodeId, app: &AppId, events: Vec<RunEvent>) {
        let host = self.hosts.get_mut(&id).expect("a node");
        assert!(host.under_way.insert(app.clone()), "one batch at a time");
        let component = host.loaded.get(app).expect("its code was compiled").clone();
        let mut records = host.records.get(app).cloned().unwrap_or_default();
        let mut executions = Vec::new();
        let mut took = Duration::ZERO;
        let mut seen = Vec::new();
        for RunEvent { event, context } in events {
            let instance = host.instances.entry(app.clone()).or_insert_with(|| Instance::new(component.clone()));
            let execution = instance.run(&event, &context, &records);
            records.extend(execution.writes.iter().map(|write| write.name.clone()));
            took += host.sandbox;
            seen.push(Seen::Ran(app.clone(), event, execution.outcome.clone()));
            let trapped = matches!(execution.outcome, Outcome::Trapped(_));
            executions.push(execution);
            if trapped {
                host.instances.remove(app);
                break;
            }
            if executions.len() >= host.slice {
                break;
            }
        }
        let generation = host.generations.get(app).copied().unwrap_or(0);
        seen.into_iter().for_each(|seen| self.see(id, seen));
        self.at_time(took, Event::Ran { node: id, app: app.clone(), generation, executions });
    }

    fn commit(&mut self, id: NodeId, commit: u64, app: &AppId, changes: Vec<Change>) {
        let names = changes.iter().map(|change| String::from_utf8_lossy(&name(change)).into_owned()).collect();
        self.see(id, Seen::Commit(commit, names));
        self.write(id, commit, app, changes);
    }

    fn write(&mut self, id: NodeId, commit: u64, app: &AppId, changes: Vec<Change>) {
        let host = self.hosts.get_mut(&id).expect("a node");
        let records = host.records.entry(app.clone()).or_default();
        let (after, result) = match host.disk {
            Disk::Works(after) if app.name.is_reserved() => (after, Ok(host.shelves.change(app, changes))),
            Disk::Works(after) => {
                records.extend(changes.iter().map(name));
                (after, Ok(100 * records.len() as u64))
            }
            Disk::Breaks(after) => (after, Err(NotDurable)),
            Disk::Refuses | Disk::RefusesOnce => {
                if host.disk == Disk::RefusesOnce {
                    host.disk = Disk::Works(Duration::from_millis(4));
                }
                self.see(id, Seen::Committed(commit, false));
                let now = self.now;
                let host = self.hosts.get_mut(&id).expect("a node");
                return host.node.handle(now, Input::Committed { commit, result: Err(NotDurable) });
            }
            Disk::Hangs => return,
        };
        self.at_time(after, Event::Committed { node: id, commit, result });
    }
}

/// The name by which the disk knows a record.
fn name(change: &Change) -> Vec<u8> {
    match change {
        Change::Node { name, .. } => name.clone(),
        Change::Keep(point, _) | Change::Drop(point, _) => point.key.as_bytes().to_vec(),
    }
}

/// What the arrival of a frame is to applications; none where it is about the ring.
fn step_of(message: &Message) -> Option<Step> {
    match message {
        Message::Route { routed, .. } if matches!(routed.envelope.purpose, Purpose::App(_)) => Some(Step::Message),
        Message::Outcome { outcome, .. } if matches!(outcome.purpose, Purpose::App(_)) => Some(Step::Outcome),
        Message::Upper(payload) if !is_about_records(payload) => Some(Step::Code(payload.len())),
        _ => None,
    }
}

impl Tally {
    fn count(&mut self, execution: &Execution) {
        self.calls += 1;
        self.traps += u64::from(matches!(execution.outcome, Outcome::Trapped(_)));
        self.refusals += u64::from(matches!(execution.outcome, Outcome::Refused(_)));
        self.fuel += execution.receipt.fuel;
        self.micros += execution.receipt.micros;
    }
}
