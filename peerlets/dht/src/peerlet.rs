//! Programs' requests become operations of the DHT tier, and how those end becomes answers.

use prost_dht_api::Refusal;
use prost_peerlet::dht::{Ended, Values};
use prost_peerlet::{Failure, Message, NodeId, Peerlet, Request, Result, Verdict, client, log};

use crate::api;

/// First byte of the messages.
const CHANNEL: u8 = 2;
/// Most requests open at a time. Each keeps its payload for another attempt: together 16 MiB at most.
const MAX_OPEN: usize = 256;
/// Copies of each record: what the package asks for.
const COPIES: u32 = 3;

/// The dht on one node. An operation is known by the request that it answers.
pub struct Dht {
    values: Values<u64>,
}

impl Default for Dht {
    fn default() -> Dht {
        Dht { values: Values::new(CHANNEL, MAX_OPEN, COPIES) }
    }
}

impl Peerlet for Dht {
    fn serve(&mut self, request: Request) -> Result {
        match api::parse(&request) {
            Err(refusal) => answer(request.id, Err(refusal)),
            Ok((key, operation)) => {
                if self.values.perform(key, operation, request.id).is_err() {
                    answer(request.id, Err(Refusal::Busy));
                }
            }
        }
        Ok(())
    }

    fn deliver(&mut self, message: Message) -> Result {
        match self.values.deliver(&message)? {
            Some(ended) => ended.into_iter().for_each(tell),
            None => log::warn(&format!("dropped a message from {} that makes no sense", message.previous.short())),
        }
        Ok(())
    }

    fn forward(&mut self, message: Message, _: NodeId) -> Verdict {
        self.values.forward(&message)
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.values.failed(message, reason).into_iter().for_each(tell);
    }

    fn fired(&mut self, timer: u64, _: u64) {
        self.values.due(timer).into_iter().for_each(tell);
    }
}

fn tell((request, result): Ended<u64>) {
    answer(request, result.map(|answer| api::body(&answer)).map_err(api::refusal));
}

fn answer(request: u64, outcome: core::result::Result<Vec<u8>, Refusal>) {
    let text = outcome.as_ref().err().map(Refusal::to_string);
    let outcome = outcome.as_deref().map_err(|_| text.as_deref().unwrap_or_default());
    // A client that has gone needs no answer.
    if client::respond(request, outcome).is_err() {
        log::debug("the client has gone");
    }
}

prost_peerlet::peerlet!(Dht);
