//! i3 as a peerlet: what arrives goes to the half that it is for.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::ask::{Counts, Received};
use prost_peerlet::{Change, Failure, Message as Envelope, Peerlet, Request, Result, Timers, cbor, route};

use crate::client;
use crate::endpoints::Endpoints;
use crate::message::{Delivery, Message};
use crate::own::OwnTriggers;
use crate::sampler::Sampler;
use crate::sender::Sender;
use crate::server::Server;

/// How often what has expired is forgotten.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a program waits for the word of the node that keeps the triggers.
const WORD: Duration = Duration::from_secs(4);
/// Programs that may wait for that.
const WAITING: usize = 256;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Sweep,
    Word(u64),
}

/// The application on one node. Each trigger is copied to so many nodes after the one responsible for it.
#[derive(Debug)]
pub struct I3<const COPIES: u32 = 2> {
    pub(crate) server: Server,
    pub(crate) sender: Sender,
    pub(crate) own: OwnTriggers,
    pub(crate) endpoints: Endpoints,
    pub(crate) sampler: Sampler,
    pub(crate) counts: Counts,
    /// Requests that wait for a word, by the number of the question.
    words: BTreeMap<u64, u64>,
    timers: Timers<Due>,
}

impl<const COPIES: u32> Default for I3<COPIES> {
    fn default() -> I3<COPIES> {
        I3 {
            server: Server::default(),
            sender: Sender::default(),
            own: OwnTriggers::default(),
            endpoints: Endpoints::default(),
            sampler: Sampler::default(),
            counts: Counts::default(),
            words: BTreeMap::new(),
            timers: Timers::default(),
        }
    }
}

impl<const COPIES: u32> Peerlet for I3<COPIES> {
    fn deliver(&mut self, envelope: Envelope) -> Result {
        let (measures, made) = self.sampler.receive(&envelope);
        made.into_iter().for_each(client::chosen);
        if !measures {
            let message = cbor::decode(&envelope.payload)?;
            self.receive(&envelope, message);
        }
        Ok(())
    }

    fn update(&mut self, change: Change) {
        if let Change::Lost(range) = change {
            self.server.hand_over(range);
        }
    }

    fn fired(&mut self, timer: u64, _tag: u64) {
        self.own.due(timer).into_iter().for_each(client::inserted);
        self.sampler.due(timer).into_iter().for_each(client::chosen);
        self.endpoints.due(timer);
        for due in self.timers.due(timer) {
            match due {
                Due::Sweep => self.sweep(),
                Due::Word(number) => self.end_wait(number, None),
            }
        }
    }

    fn serve(&mut self, request: Request) -> Result {
        if let Err(wrong) = self.ask(&request) {
            client::refuse(request.id, &wrong);
        }
        Ok(())
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.sender.failed(message, &reason, &mut self.counts);
        self.sampler.failed(message, reason).into_iter().for_each(client::chosen);
    }
}

prost_peerlet::peerlet!(I3);

impl<const COPIES: u32> I3<COPIES> {
    fn receive(&mut self, envelope: &Envelope, message: Message) {
        let from = envelope.origin;
        match message {
            Message::Packet(packet) => {
                self.server.packet(envelope.key, packet, &mut self.sender, &mut self.counts);
            }
            Message::Deliver(delivery) => self.hand_out(envelope, delivery),
            // Whoever is responsible got it by routing.
            Message::Insert { number, trigger, nonce } if envelope.key == Some(trigger.id.ring_key()) => {
                self.server.insert(from, number, trigger, nonce, COPIES);
                self.watch_over();
            }
            Message::Remove { trigger, nonce } if envelope.key == Some(trigger.id.ring_key()) => {
                self.server.remove(from, &trigger, nonce, COPIES);
            }
            Message::Challenge { number, nonce } => self.own.challenged(number, nonce),
            Message::Acknowledge { number } => {
                self.own.acknowledged(number, from).into_iter().for_each(client::inserted)
            }
            Message::Refuse { number, why } => self.own.refused(number, why).into_iter().for_each(client::inserted),
            Message::Here { number, matched } => {
                if self.sender.learn(number, from) {
                    self.end_wait(number, Some(matched));
                }
            }
            Message::Copies(copies) => {
                self.server.copied(envelope, copies);
                self.watch_over();
            }
            Message::Gone { id, endpoint } => self.server.gone(envelope, &id, endpoint),
            Message::Insert { .. } | Message::Remove { .. } | Message::Hello => {}
        }
    }

    /// A packet for a program here. Whoever sends to one that has gone is told, where the connection proves who tells.
    fn hand_out(&mut self, envelope: &Envelope, delivery: Delivery) {
        let Delivery { address, id, rest, payload } = delivery;
        let received = Received { id, rest, payload };
        let is_here = address.node == route::myself();
        if is_here && self.endpoints.push(address.endpoint, &received) {
            return;
        }
        self.counts.homeless += 1;
        if let Some(id) = id
            && is_here
            && route::round_trip(envelope.origin).is_some()
        {
            let gone = Message::Gone { id, endpoint: address.endpoint };
            let _ = route::send(envelope.origin, &cbor::encode(&gone));
        }
    }

    /// A request waits for the word of the node that a packet's question goes to. False where too many wait.
    pub(crate) fn wait_for_word(&mut self, number: u64, request: u64) -> bool {
        if self.words.len() >= WAITING {
            return false;
        }
        self.words.insert(number, request);
        self.timers.set(Due::Word(number), WORD);
        true
    }

    fn end_wait(&mut self, number: u64, matched: Option<u32>) {
        if let Some(request) = self.words.remove(&number) {
            self.timers.cancel(&Due::Word(number));
            client::sent(request, matched);
        }
    }

    /// Has what expires looked after, as long as there is anything.
    pub(crate) fn watch_over(&mut self) {
        self.timers.set_if_idle(Due::Sweep, SWEEP);
    }

    fn sweep(&mut self) {
        self.server.sweep();
        for endpoint in self.endpoints.abandoned() {
            self.close(endpoint);
        }
        if !self.server.is_empty() || !self.endpoints.is_empty() {
            self.watch_over();
        }
    }
}
