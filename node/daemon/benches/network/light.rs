//! The nodes at both ends: a transport and a routing machine, and nothing above them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost_kbr::{
    AppId, Config, Dispatch, Handling, Header, Input, Machine, NodeId, Outcome, Output, Peer, RouteRequest,
};
use prost_node::driver::Clock;
use prost_node::transport::{Arrival, Transport};
use tokio::sync::oneshot;

use crate::worker::{Order, Orders};

/// What a light node does on order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Messages for the far node, by way of the one in the middle.
    Forward,
    /// Questions to the one in the middle.
    Lookup,
}

/// What is known of a light node from outside.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Messages that were sent again.
    pub(crate) retries: AtomicU64,
}

/// Where the messages go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets {
    pub(crate) middle: NodeId,
    pub(crate) far: NodeId,
}

/// An order under way.
struct Running {
    order: Order<Work>,
    started: u64,
    ended: u64,
}

/// A node without disk, sandbox and applications.
pub(crate) struct Light {
    machine: Machine,
    transport: Transport,
    clock: Clock,
    next_id: u64,
    running: Option<Running>,
    targets: Option<Targets>,
    header: Bytes,
    payload: Bytes,
    seen: Arc<Seen>,
}

impl Light {
    /// A node that is about to join the ring of `member`.
    pub(crate) fn new(transport: Transport, member: Peer, payload: usize, seen: Arc<Seen>) -> Light {
        let clock = Clock::start();
        let me = transport.local();
        let mut seed = [0; 32];
        seed[..20].copy_from_slice(me.id.as_bytes());
        let mut machine = Machine::new(me, Config::default(), seed, clock.now());
        machine.handle(clock.now(), Input::Join { known: vec![member.addr] });
        let app = AppId { provider: [7; 32], name: "bench".parse().expect("a name") };
        let locator = format!("blake3:{}", "0f".repeat(32));
        let header = Header { app, locator }.encode();
        let payload = Bytes::from(vec![7; payload]);
        Light { machine, transport, clock, next_id: 1 << 32, running: None, targets: None, header, payload, seen }
    }

    /// Runs until the process ends. `ready` is told when the node knows both others.
    pub(crate) async fn run(mut self, ready: oneshot::Sender<NodeId>, mut orders: Orders<(Work, Targets)>) {
        let mut arrivals = Vec::new();
        let mut ready = Some(ready);
        self.drain();
        loop {
            if self.knows_all()
                && let Some(ready) = ready.take()
            {
                ready.send(self.transport.local().id).expect("the main thread waits");
            }
            self.transport.flush();
            let due = self.machine.poll_timeout();
            let timer = async {
                match due {
                    Some((at, _)) => tokio::time::sleep(at.since(self.clock.now())).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.transport.next(&mut arrivals) => {}
                Some(order) = orders.recv() => {
                    let Order { what: (what, targets), count, window, done } = order;
                    self.targets = Some(targets);
                    self.running = Some(Running { order: Order { what, count, window, done }, started: 0, ended: 0 });
                }
                () = timer => {}
            }
            for arrival in arrivals.drain(..) {
                self.machine.handle(self.clock.now(), input(arrival));
            }
            let now = self.clock.now();
            if self.machine.poll_timeout().is_some_and(|(at, _)| at <= now) {
                self.machine.handle_timeout(now);
            }
            self.drain();
        }
    }

    fn knows_all(&self) -> bool {
        let view = self.machine.view();
        view.successors.len() == 2 && view.predecessors.len() == 2
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.machine.poll_output() {
                self.on_output(output);
            }
            if !self.start_some() {
                break;
            }
        }
        self.seen.retries.store(self.machine.stats().retries, Ordering::Relaxed);
    }

    fn on_output(&mut self, output: Output) {
        match output {
            Output::Dial { addr } => self.transport.dial(addr),
            Output::Send { to, message } => self.transport.send(to, message),
            Output::Keep(peers) => self.transport.keep(peers),
            Output::Release(id) => self.transport.release(id),
            Output::Deliver { routed, .. } => {
                let (origin, id) = (routed.envelope.origin.id, routed.envelope.id);
                let handling = Handling::Done;
                self.machine.handle(self.clock.now(), Input::Handled { origin, id, handling });
            }
            Output::Ended(outcome) => self.on_ended(&outcome),
            Output::Forward { .. } | Output::Upper { .. } => panic!("no one sends such"),
            Output::Update(_) | Output::Neighbours { .. } | Output::Joined | Output::Left => {}
        }
    }

    fn on_ended(&mut self, outcome: &Outcome) {
        let running = self.running.as_mut().expect("only orders send messages");
        let hops = if running.order.what == Work::Forward { 2 } else { 1 };
        let arrived = outcome.result.is_ok() && outcome.hops == hops;
        assert!(arrived, "a message has not gone as it should: {outcome:?}");
        running.ended += 1;
        if running.ended == running.order.count
            && let Some(running) = self.running.take()
        {
            running.order.done.send(()).expect("the main thread waits");
        }
    }

    /// Starts as many as the window has room for; says whether there was any.
    fn start_some(&mut self) -> bool {
        let (Some(running), Some(targets)) = (&mut self.running, self.targets) else { return false };
        let room = running.order.window - (running.started - running.ended);
        let count = room.min(running.order.count - running.started);
        running.started += count;
        let work = running.order.what;
        for _ in 0..count {
            self.next_id += 1;
            let id = self.next_id;
            let input = match work {
                Work::Lookup => Input::Lookup { id, key: targets.middle, replicas: 0 },
                Work::Forward => Input::Route(RouteRequest {
                    id,
                    key: Some(targets.far),
                    dispatch: Dispatch::EndNode,
                    header: self.header.clone(),
                    payload: self.payload.clone(),
                    hint: Some(targets.middle),
                    deadline: None,
                }),
            };
            self.machine.handle(self.clock.now(), input);
        }
        count > 0
    }
}

fn input(arrival: Arrival) -> Input {
    match arrival {
        Arrival::Connected { peer } => Input::Connected { peer },
        Arrival::Disconnected { id } => Input::Disconnected { id },
        Arrival::DialFailed { addr } => Input::DialFailed { addr },
        Arrival::Received { from, message } => Input::Received { from, message },
        Arrival::RoundTrip { id, rtt } => Input::RoundTrip { id, rtt },
    }
}
