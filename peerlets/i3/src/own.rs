//! The triggers that programs inserted through this node: inserted, acknowledged, refreshed, removed.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_i3_api::ask::Own as OwnStatus;
use prost_i3_api::{I3Id, Trigger};
use prost_peerlet::time::Instant;
use prost_peerlet::{NodeId, Timers, cbor, random, route};

use crate::message::{Message, Refusal};
use crate::nonce::Nonce;
use crate::times::{ACK_TIMEOUT, REFRESH, TRIES};

/// Triggers of one endpoint: removing them all is one event.
const MOST_OF_ENDPOINT: usize = 64;
/// Triggers of all programs.
const MOST: usize = 1024;

/// One of them.
#[derive(Debug)]
struct Own {
    endpoint: u64,
    trigger: Trigger,
    nonce: Option<Nonce>,
    /// Insertions since the last acknowledgement.
    tries: u32,
    acknowledged: Option<(NodeId, Instant)>,
    /// The request that waits for the first acknowledgement.
    request: Option<u64>,
}

/// How a request to insert ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) request: u64,
    pub(crate) outcome: Result<NodeId, &'static str>,
}

/// All of them, by a number that is drawn for each: challenges to what this node did not ask for have none.
#[derive(Debug, Default)]
pub(crate) struct OwnTriggers {
    own: BTreeMap<u64, Own>,
    timers: Timers<u64>,
}

impl OwnTriggers {
    /// Inserts a trigger. The request is ended when a node keeps it.
    pub(crate) fn insert(&mut self, endpoint: u64, trigger: Trigger, request: u64) -> Result<(), &'static str> {
        let of_endpoint = self.own.values().filter(|own| own.endpoint == endpoint).count();
        if self.own.len() >= MOST || of_endpoint >= MOST_OF_ENDPOINT {
            return Err("this node has inserted too many triggers");
        }
        if self.own.values().any(|own| own.trigger.id == trigger.id && own.trigger.target == trigger.target) {
            return Err("this trigger was inserted already");
        }
        let number = random::number();
        let request = Some(request);
        self.own.insert(number, Own { endpoint, trigger, nonce: None, tries: 0, acknowledged: None, request });
        self.attempt(number);
        Ok(())
    }

    /// A node wants to know whether a trigger is wanted.
    pub(crate) fn challenged(&mut self, number: u64, nonce: Nonce) {
        if let Some(own) = self.own.get_mut(&number) {
            own.nonce = Some(nonce);
            self.send(number);
        }
    }

    /// A node keeps a trigger.
    pub(crate) fn acknowledged(&mut self, number: u64, by: NodeId) -> Option<Ended> {
        let own = self.own.get_mut(&number)?;
        own.tries = 0;
        own.acknowledged = Some((by, Instant::now()));
        self.timers.set(number, REFRESH);
        own.request.take().map(|request| Ended { request, outcome: Ok(by) })
    }

    /// A node refuses a trigger. One that was there once is tried again, as the refusal may be over.
    pub(crate) fn refused(&mut self, number: u64, why: Refusal) -> Option<Ended> {
        let own = self.own.get_mut(&number)?;
        self.timers.set(number, REFRESH);
        let request = own.request.take()?;
        self.forget(number);
        Some(Ended { request, outcome: Err(why.text()) })
    }

    /// A timer has run out: refreshes what is due.
    pub(crate) fn due(&mut self, timer: u64) -> Vec<Ended> {
        let mut ended = Vec::new();
        for number in self.timers.due(timer) {
            let Some(own) = self.own.get_mut(&number) else { continue };
            if own.tries >= TRIES
                && let Some(request) = own.request.take()
            {
                self.forget(number);
                ended.push(Ended { request, outcome: Err("no node has taken the trigger in time") });
                continue;
            }
            self.attempt(number);
        }
        ended
    }

    /// Removes the triggers that fit. Tells how many.
    pub(crate) fn remove(&mut self, mut fits: impl FnMut(u64, &I3Id) -> bool) -> (usize, Vec<Ended>) {
        let those = self.own.iter().filter(|(_, own)| fits(own.endpoint, &own.trigger.id)).map(|(number, _)| *number);
        let those: Vec<u64> = those.take(MOST_OF_ENDPOINT).collect();
        let mut ended = Vec::new();
        for number in &those {
            let Some(own) = self.forget(*number) else { continue };
            if let Some(nonce) = own.nonce {
                let message = Message::Remove { trigger: own.trigger.clone(), nonce };
                // It expires if this is lost.
                let _ = route::route(own.trigger.id.ring_key(), &cbor::encode(&message));
            }
            ended.extend(own.request.map(|request| Ended { request, outcome: Err("the trigger was removed") }));
        }
        (those.len(), ended)
    }

    /// How they are.
    pub(crate) fn list(&self) -> Vec<OwnStatus> {
        let status = |own: &Own| OwnStatus {
            endpoint: own.endpoint,
            trigger: own.trigger.clone(),
            node: own.acknowledged.map(|(node, _)| node),
            age_ms: own.acknowledged.map_or(0, |(_, at)| Instant::now().since(at).as_millis() as u64),
        };
        self.own.values().map(status).collect()
    }

    fn forget(&mut self, number: u64) -> Option<Own> {
        self.timers.cancel(&number);
        self.own.remove(&number)
    }

    fn attempt(&mut self, number: u64) {
        let Some(own) = self.own.get_mut(&number) else { return };
        own.tries += 1;
        // Whoever does not answer for long is asked at the pace of refreshing, for as long as the endpoint is open.
        let pause: Duration = if own.tries > TRIES { REFRESH } else { ACK_TIMEOUT };
        self.timers.set(number, pause);
        self.send(number);
    }

    /// By routing, so that it finds whoever is responsible now.
    fn send(&self, number: u64) {
        let Some(own) = self.own.get(&number) else { return };
        let message = Message::Insert { number, trigger: own.trigger.clone(), nonce: own.nonce };
        // A node that is not in the ring yet tries again at the time of the next attempt.
        let _ = route::route(own.trigger.id.ring_key(), &cbor::encode(&message));
    }
}
