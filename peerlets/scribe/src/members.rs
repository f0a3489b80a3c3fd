//! What a tree tells, and asks: rules and signatures on one side, local programs on the other.

use std::collections::BTreeMap;

use prost_peerlet::cast::{Frame, Refusal, Upcalls, rules_at_root};
use prost_peerlet::soft_state::Recent;
use prost_peerlet::{Key, NodeId, cbor, client, log};
use prost_scribe_api::{Created, Item, Message, Published, Taken};

use crate::rules::{Checker, Rules, read_words};
use crate::subscriptions::Subscriptions;

/// Messages whose repetition is known.
const SEEN: usize = 4096;

/// The application above the tree.
pub(crate) struct Members {
    pub(crate) subscriptions: Subscriptions,
    /// Requests of local programs, by the number of what the tree does for them.
    pub(crate) asked: BTreeMap<u64, (u64, Done)>,
    checker: Checker,
    seen: Recent<(NodeId, u64)>,
    /// Groups that this node is expelled from.
    pub(crate) expelled: Vec<(Key, Refusal)>,
}

/// What a program is told in the end.
pub(crate) enum Done {
    Created(Created),
    Published(Published),
    Taken,
}

impl Default for Members {
    fn default() -> Members {
        Members {
            subscriptions: Subscriptions::default(),
            asked: BTreeMap::new(),
            checker: Checker::default(),
            seen: Recent::new(SEEN),
            expelled: Vec::new(),
        }
    }
}

impl Members {
    /// The rules of a group, where its creator has signed them.
    pub(crate) fn rules(&mut self, group: Key, signed: Option<&[u8]>) -> Option<Rules> {
        self.checker.rules(group, signed?)
    }

    fn end(&mut self, number: u64, outcome: Result<Option<NodeId>, Refusal>) {
        let Some((request, done)) = self.asked.remove(&number) else { return };
        let answer = match (outcome, done) {
            (Ok(Some(by)), Done::Taken) => Ok(cbor::encode(&Taken { by })),
            (Ok(_), Done::Created(created)) => Ok(cbor::encode(&created)),
            (Ok(_), Done::Published(published)) => Ok(cbor::encode(&published)),
            (Ok(None), Done::Taken) => Err(Refusal::NoTaker.to_string()),
            (Err(refusal), _) => Err(refusal.to_string()),
        };
        respond(request, answer.as_deref().map_err(String::as_str));
    }
}

impl Upcalls for Members {
    fn delivered(&mut self, group: Key, frame: &Frame) {
        let Some(words) = read_words(group, frame.publisher, &frame.data) else {
            log::warn("a message without a proper signature is dropped");
            return;
        };
        if self.seen.insert((frame.publisher, words.number), ()) {
            let (epoch, number) = (frame.sequence.epoch, frame.sequence.number);
            let message = Message { publisher: frame.publisher, time: words.time, epoch, number, data: words.data };
            self.subscriptions.push(group, &Item::Message(message));
        }
    }

    fn anycast(&mut self, group: Key, origin: NodeId, data: &[u8]) -> bool {
        self.subscriptions.offer(group, &Item::Anycast { origin, data: data.into() })
    }

    fn may_create(&mut self, group: Key, creator: NodeId, rules: &[u8], _: &[u8]) -> bool {
        let Some(rules) = self.rules(group, Some(rules)) else { return false };
        let before = rules_at_root(group).ok().flatten().and_then(|before| self.rules(group, Some(&before)));
        rules.creator == creator && before.is_none_or(|before| before.time <= rules.time)
    }

    fn are_rules(&mut self, group: Key, rules: &[u8]) -> bool {
        self.rules(group, Some(rules)).is_some()
    }

    fn may_join(&mut self, group: Key, rules: Option<&[u8]>, member: NodeId, credentials: &[u8]) -> bool {
        self.rules(group, rules).is_some_and(|rules| rules.may_join(member, credentials))
    }

    fn may_publish(&mut self, group: Key, rules: Option<&[u8]>, publisher: NodeId, _: &[u8], data: &[u8]) -> bool {
        self.rules(group, rules).is_some_and(|rules| rules.may_publish(publisher))
            && read_words(group, publisher, data).is_some()
    }

    fn created(&mut self, number: u64, outcome: Result<(), Refusal>) {
        self.end(number, outcome.map(|()| None));
    }

    fn published(&mut self, number: u64, outcome: Result<(), Refusal>) {
        self.end(number, outcome.map(|()| None));
    }

    fn anycast_ended(&mut self, number: u64, outcome: Result<NodeId, Refusal>) {
        self.end(number, outcome.map(Some));
    }

    fn refused(&mut self, group: Key, reason: Refusal) {
        self.expelled.push((group, reason));
    }
}

/// A program that has gone needs no answer.
pub(crate) fn respond(request: u64, outcome: Result<&[u8], &str>) {
    if client::respond(request, outcome).is_err() {
        log::debug("a program that waited has gone");
    }
}
