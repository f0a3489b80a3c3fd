//! Requests of local programs: each is routed to the node responsible, tried again where that may help, and answered
//! exactly once.

use std::collections::BTreeMap;

use prost_dht_api::Refusal;
use prost_peerlet::{Failure, Key, Request};

use crate::api;
use crate::dht::{Dht, PER_TICK, ticks};
use crate::host::Host;
use crate::message::{Action, Answer, Operation, encode};

/// Most requests open at a time. Each keeps its payload for another attempt: together 16 MiB at most.
const MAX_OPEN: usize = 256;
/// After this long a request without an answer ends.
const DEADLINE: u64 = ticks(10_000);
/// After this long without an answer the operation is routed again: the node that had it may be gone.
const PATIENCE: u64 = ticks(3_000);
/// After this long an operation that failed is routed again: the ring needs a moment to heal.
const PAUSE: u64 = ticks(500);
/// How often an operation is routed at most.
const MAX_ATTEMPTS: u32 = 3;

/// The open requests, by the number that goes to the responsible node and comes back.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    /// The node's number for the request.
    client: u64,
    key: Key,
    payload: Vec<u8>,
    kind: Kind,
    /// The last attempt.
    message: Option<u64>,
    attempts: u32,
    retry_at: u64,
    deadline: u64,
    /// Why the last attempt came to nothing.
    refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Get,
    List,
}

impl Clients {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Dht {
    /// A local program asks for something.
    pub(crate) fn start_request(&mut self, host: &mut dyn Host, request: Request) {
        let (key, action) = match api::parse(&request) {
            Ok(parsed) => parsed,
            Err(refusal) => return refuse(host, request.id, &refusal),
        };
        if self.clients.open.len() >= MAX_OPEN {
            return refuse(host, request.id, &Refusal::Busy);
        }
        let kind = match action {
            Action::Put { .. } | Action::Remove { .. } => Kind::Write,
            Action::Get { .. } => Kind::Get,
            Action::List { .. } => Kind::List,
        };
        let number = self.draw(host);
        let payload = encode(&Operation { request: number, action });
        let (retry_at, deadline) = (self.tick + PATIENCE, self.tick + DEADLINE);
        let open = Open {
            client: request.id,
            key,
            payload,
            kind,
            message: None,
            attempts: 0,
            retry_at,
            deadline,
            refusal: None,
        };
        self.clients.open.insert(number, open);
        self.attempt(host, number);
    }

    /// The responsible node has answered. An answer to nothing that is open is dropped: it was answered before.
    pub(crate) fn on_answer(&mut self, host: &mut dyn Host, request: u64, outcome: Result<Answer, Refusal>) {
        let Some(open) = self.clients.open.get_mut(&request) else { return };
        match outcome {
            Ok(answer) => {
                let fits = match answer {
                    Answer::Stored { .. } => open.kind == Kind::Write,
                    Answer::Found { .. } => open.kind == Kind::Get,
                    Answer::Listed { .. } => open.kind == Kind::List,
                };
                if !fits {
                    return;
                }
                host.respond(open.client, Ok(&api::body(&answer)));
                self.clients.open.remove(&request);
            }
            Err(refusal) => open.came_to_nothing(self.tick, refusal),
        }
    }

    /// Whether the message that came to nothing was an attempt of a request.
    pub(crate) fn request_failed(&mut self, message: u64, reason: Failure) -> bool {
        let Some(open) = self.clients.open.values_mut().find(|open| open.message == Some(message)) else {
            return false;
        };
        open.came_to_nothing(self.tick, refusal(reason));
        true
    }

    /// Ends what is over and tries again what is due.
    pub(crate) fn tick_requests(&mut self, host: &mut dyn Host) {
        let now = self.tick;
        let is_due = |open: &Open| now >= open.deadline.min(open.retry_at);
        let due = self.clients.open.iter().filter(|(_, open)| is_due(open));
        let due: Vec<u64> = due.map(|(number, _)| *number).take(PER_TICK).collect();
        for number in due {
            let Some(open) = self.clients.open.get_mut(&number) else { continue };
            let is_over = now >= open.deadline || open.refusal.as_ref().is_some_and(|why| !why.is_transient());
            if !is_over && open.attempts < MAX_ATTEMPTS {
                self.attempt(host, number);
            } else if is_over || open.refusal.is_some() {
                refuse(host, open.client, open.refusal.as_ref().unwrap_or(&Refusal::Deadline));
                self.clients.open.remove(&number);
            } else {
                open.retry_at = open.deadline;
            }
        }
    }

    fn attempt(&mut self, host: &mut dyn Host, number: u64) {
        let Some(open) = self.clients.open.get_mut(&number) else { return };
        open.attempts += 1;
        open.retry_at = self.tick + PATIENCE;
        open.refusal = None;
        match host.route(open.key, &open.payload) {
            Ok(message) => open.message = Some(message),
            Err(refusal) => open.came_to_nothing(self.tick, refusal),
        }
    }
}

impl Open {
    fn came_to_nothing(&mut self, now: u64, refusal: Refusal) {
        self.message = None;
        self.retry_at = if refusal.is_transient() { now + PAUSE } else { now };
        self.refusal = Some(refusal);
    }
}

fn refuse(host: &mut dyn Host, client: u64, refusal: &Refusal) {
    host.respond(client, Err(&refusal.to_string()));
}

fn refusal(reason: Failure) -> Refusal {
    match reason {
        Failure::Deadline | Failure::Unreachable | Failure::TooManyHops => Refusal::Unreachable,
        Failure::NoWillingNode => Refusal::NoWillingNode,
        Failure::NotDurable | Failure::HandlerFailed => Refusal::Storage,
        Failure::Overloaded => Refusal::Busy,
    }
}
