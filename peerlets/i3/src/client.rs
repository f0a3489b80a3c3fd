//! What local programs ask.

use prost_i3_api::ask::{
    CLOSE, Chosen, Close, INSERT, Insert, Inserted, LIST, Listed, NEXT, Next, OPEN, Open, Opened, PRIVATE, Private,
    REMOVE, Remove, SEND, Send, Sent,
};
use prost_i3_api::{Address, MAX_PAYLOAD, MAX_STACK, Target, Trigger, left_key_of_stack};
use prost_peerlet::route::{self, RouteError};
use prost_peerlet::{Request, cbor, client, log};

use crate::message::{Packet, TTL};
use crate::own::Ended;
use crate::peerlet::I3;
use crate::sampler::{self, Made};

/// What is wrong with a request, for the program.
type Wrong = String;

const NO_ENDPOINT: &str = "there is no such endpoint; open one";
const BUSY: &str = "the node is busy; try again";

impl<const COPIES: u32> I3<COPIES> {
    pub(crate) fn ask(&mut self, request: &Request) -> Result<(), Wrong> {
        let Request { id, body, .. } = request;
        match request.method.as_str() {
            OPEN => {
                let Open { lease } = read(body)?;
                let endpoint = self.endpoints.open(lease).ok_or("too many programs listen at this node")?;
                self.watch_over();
                answer(*id, &Opened { node: route::myself(), endpoint });
            }
            CLOSE => {
                let Close { endpoint } = read(body)?;
                if !self.endpoints.contains(endpoint) {
                    return Err(NO_ENDPOINT.into());
                }
                self.close(endpoint);
                answer(*id, &());
            }
            NEXT => {
                let Next { endpoint, from } = read(body)?;
                if !self.endpoints.next(endpoint, *id, from) {
                    return Err(NO_ENDPOINT.into());
                }
            }
            INSERT => self.insert(*id, read(body)?)?,
            REMOVE => {
                let Remove { endpoint, id: removed } = read(body)?;
                let (count, ended) =
                    self.own.remove(|of, id| *id == removed && endpoint.is_none_or(|endpoint| endpoint == of));
                ended.into_iter().for_each(inserted);
                if count == 0 {
                    return Err("no trigger of this id was inserted through this node".into());
                }
                answer(*id, &());
            }
            PRIVATE => {
                let Private { samples } = read(body)?;
                if samples == 0 {
                    let chosen = sampler::nearest_link().ok_or("this node is connected to no other")?;
                    answer(*id, &chosen);
                } else if !self.sampler.start(*id, samples) {
                    return Err(BUSY.into());
                }
            }
            SEND => self.send(*id, read(body)?)?,
            LIST => {
                let listed = Listed { own: self.own.list(), kept: self.server.list(), counts: self.counts };
                answer(*id, &listed);
            }
            other => {
                let known = [OPEN, CLOSE, NEXT, INSERT, REMOVE, PRIVATE, SEND, LIST].join(", ");
                return Err(format!("no method '{}'; there are {known}", other.escape_debug()));
            }
        }
        Ok(())
    }

    fn insert(&mut self, request: u64, asked: Insert) -> Result<(), Wrong> {
        let Insert { endpoint, id, prefix_len, secret, stack, rate } = asked;
        if !self.endpoints.contains(endpoint) {
            return Err(NO_ENDPOINT.into());
        }
        let target = if stack.is_empty() {
            let secret = secret.ok_or("a trigger to a program needs the secret of its id")?;
            Target::Host { address: Address { node: route::myself(), endpoint }, secret }
        } else {
            Target::Stack(stack)
        };
        let trigger = Trigger { id, prefix_len, target, rate };
        if !trigger.is_sound() {
            return Err(format!("a stack has 1 to {MAX_STACK} ids, a prefix at most 256 bits"));
        }
        if trigger.constraint().is_none() {
            return Err(match &trigger.target {
                Target::Stack(ids) => {
                    let key: String = left_key_of_stack(ids).iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("the trigger satisfies no constraint; the key of an id for this stack is {key}")
                }
                Target::Host { .. } => "the trigger satisfies no constraint; is this the secret of the id?".into(),
            });
        }
        Ok(self.own.insert(endpoint, trigger, request)?)
    }

    fn send(&mut self, request: u64, asked: Send) -> Result<(), Wrong> {
        let Send { stack, payload, confirm } = asked;
        if !(1..=MAX_STACK).contains(&stack.len()) || payload.len() > MAX_PAYLOAD {
            return Err(format!("a packet has 1 to {MAX_STACK} ids and at most {MAX_PAYLOAD} bytes"));
        }
        let packet = Packet { stack, payload, ttl: TTL, ask: None };
        let number = self.sender.send(packet, confirm, &mut self.counts).map_err(wording)?;
        match number.filter(|_| confirm) {
            Some(number) if self.wait_for_word(number, request) => {}
            _ => answer(request, &Sent { matched: None }),
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, endpoint: u64) {
        self.endpoints.close(endpoint);
        let (_, ended) = self.own.remove(|of, _| of == endpoint);
        ended.into_iter().for_each(inserted);
    }
}

fn wording(error: RouteError) -> Wrong {
    let why = match error {
        RouteError::OverBudget => BUSY,
        RouteError::TooLarge => "the packet is too large",
        RouteError::NotJoined => "this node is in no ring yet; try again",
    };
    why.to_owned()
}

/// A request to insert has ended.
pub(crate) fn inserted(ended: Ended) {
    match ended.outcome {
        Ok(node) => answer(ended.request, &Inserted { node }),
        Err(why) => refuse(ended.request, why),
    }
}

/// A request for a private id has ended.
pub(crate) fn chosen((request, chosen): Made) {
    match chosen {
        Some(chosen) => answer::<Chosen>(request, &chosen),
        None => refuse(request, "no node answered in time; try again"),
    }
}

/// A request to send has ended.
pub(crate) fn sent(request: u64, matched: Option<u32>) {
    answer(request, &Sent { matched });
}

pub(crate) fn refuse(request: u64, why: &str) {
    respond(request, Err(why));
}

fn answer<T: minicbor::Encode<()>>(request: u64, body: &T) {
    respond(request, Ok(&cbor::encode(body)));
}

fn respond(request: u64, outcome: Result<&[u8], &str>) {
    if client::respond(request, outcome).is_err() {
        log::debug("a program that asked has gone");
    }
}

fn read<'a, T: minicbor::Decode<'a, ()>>(body: &'a [u8]) -> Result<T, Wrong> {
    cbor::decode(body).map_err(|error| format!("the request is malformed: {error}"))
}
