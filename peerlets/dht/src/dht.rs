//! One instance of the application: what it remembers, and where each event goes.

use std::collections::VecDeque;

use prost_dht_api::Refusal;
use prost_peerlet::{Failure, Id, Key, Message, NodeId, Request};

use crate::client::Clients;
use crate::host::Host;
use crate::message::{self, Answer, Operation, Reply, encode};

/// How often open requests are looked at while there are any. Their deadlines count in these.
const TICK_MS: u64 = 250;
/// Open requests that one tick brings forward at most, so that an event stays within its limits.
pub(crate) const PER_TICK: usize = 32;
/// Most finished writes that are remembered, to answer another attempt at one without writing again.
const MAX_DONE: usize = 1024;

/// Ticks in this many milliseconds.
pub(crate) const fn ticks(ms: u64) -> u64 {
    ms.div_ceil(TICK_MS)
}

/// The dht on one node.
#[derive(Debug, Default)]
pub(crate) struct Dht {
    pub(crate) clients: Clients,
    /// Ticks so far; time as far as deadlines are concerned.
    pub(crate) tick: u64,
    tick_is_set: bool,
    done: VecDeque<(NodeId, u64, Answer)>,
    drawn: u64,
}

impl Dht {
    /// A local program asks.
    pub(crate) fn handle_serve(&mut self, host: &mut dyn Host, request: Request) {
        self.start_request(host, request);
        self.set_tick(host);
    }

    /// A message has arrived: an operation for a key of this node, or an answer. What makes no sense is dropped.
    pub(crate) fn handle_deliver(&mut self, host: &mut dyn Host, message: &Message) {
        let understood = match message.key {
            Some(key) => message::decode_operation(&message.payload)
                .map(|operation| self.on_operation(host, message.origin, key, operation)),
            None => message::decode_reply(&message.payload).and_then(|reply| self.on_reply(host, reply)),
        };
        if understood.is_none() {
            host.log(&format!("dropped a message from {} that makes no sense", message.previous.short()));
        }
        self.set_tick(host);
    }

    /// The timer has run out.
    pub(crate) fn handle_fired(&mut self, host: &mut dyn Host) {
        self.tick += 1;
        self.tick_is_set = false;
        self.tick_requests(host);
        self.set_tick(host);
    }

    /// A message of this node came to nothing. Where it was an answer, its origin asks again.
    pub(crate) fn handle_failed(&mut self, host: &mut dyn Host, message: u64, reason: Failure) {
        self.request_failed(message, reason);
        self.set_tick(host);
    }

    fn on_operation(&mut self, host: &mut dyn Host, origin: NodeId, key: Key, operation: Operation) {
        let Operation { request, action } = operation;
        let known = self.done.iter().find(|(node, number, _)| (*node, *number) == (origin, request));
        let outcome = match known {
            Some((_, _, answer)) => Ok(answer.clone()),
            None => crate::records::perform(host, key, action),
        };
        if let (None, Ok(answer @ Answer::Stored { .. })) = (known, &outcome) {
            self.done.truncate(MAX_DONE - 1);
            self.done.push_front((origin, request, answer.clone()));
        }
        let outcome = outcome.map_err(|refusal| refusal.to_string());
        if origin == host.myself() {
            self.on_reply(host, Reply { request, outcome });
        } else {
            host.send(origin, &encode(&Reply { request, outcome }));
        }
    }

    fn on_reply(&mut self, host: &mut dyn Host, reply: Reply) -> Option<()> {
        let outcome = match reply.outcome {
            Ok(answer) => Ok(answer),
            Err(text) => Err(text.parse::<Refusal>().ok()?),
        };
        self.on_answer(host, reply.request, outcome);
        Some(())
    }

    /// A number that other nodes cannot well guess, and that differs from those of earlier instances.
    pub(crate) fn draw(&mut self, host: &dyn Host) -> u64 {
        self.drawn += 1;
        let seed = [&host.myself().to_bytes()[..], &host.now_ms().to_be_bytes(), &self.drawn.to_be_bytes()].concat();
        Id::hash(&seed).high
    }

    fn set_tick(&mut self, host: &mut dyn Host) {
        if !self.clients.is_empty() && !self.tick_is_set {
            self.tick_is_set = host.set_timer(TICK_MS);
        }
    }
}
