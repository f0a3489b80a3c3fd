//! What a node says to the one responsible for a key, and what that one answers.

use minicbor::{Decode, Encode};
use prost_dht_api::{MAX_LIST, MAX_NAME, MAX_VALUE};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{NodeId, cbor};

/// First byte of every message. A node that finds another one does not understand it.
const FORMAT: u8 = 1;

/// An operation, routed to the node responsible for its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Operation {
    /// The origin's number for it, the same for every attempt; goes into the answer.
    #[n(0)]
    pub(crate) request: u64,
    #[n(1)]
    pub(crate) action: Action,
}

/// What to do at a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Action {
    #[n(0)]
    Put {
        #[n(0)]
        name: Bytes,
        #[n(1)]
        value: Bytes,
        #[n(2)]
        expires_in: Option<u64>,
    },
    #[n(1)]
    Remove {
        #[n(0)]
        name: Bytes,
    },
    #[n(2)]
    Get {
        #[n(0)]
        name: Bytes,
    },
    #[n(3)]
    List {
        #[n(0)]
        prefix: Bytes,
        #[n(1)]
        after: Option<Bytes>,
        #[n(2)]
        max: u32,
    },
}

impl Action {
    /// What is wrong with it, if anything is.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let name_is_long = |name: &Bytes| name.len() > MAX_NAME;
        match self {
            Action::Put { name, .. } | Action::Remove { name } | Action::Get { name } if name_is_long(name) => {
                Some("the name is too long")
            }
            Action::Put { value, .. } if value.len() > MAX_VALUE => Some("the value is too long"),
            Action::Put { expires_in: Some(seconds), .. } if !(1..=prost_dht_api::MAX_EXPIRES_IN).contains(seconds) => {
                Some("expires_in is out of range")
            }
            Action::List { prefix, after, .. } if name_is_long(prefix) || after.as_ref().is_some_and(name_is_long) => {
                Some("the name is too long")
            }
            Action::List { max, .. } if !(1..=MAX_LIST).contains(max) => Some("max is out of range"),
            Action::Put { .. } | Action::Remove { .. } | Action::Get { .. } | Action::List { .. } => None,
        }
    }
}

/// The outcome of an [`Operation`], straight to its origin.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Reply {
    #[n(0)]
    pub(crate) request: u64,
    /// The answer, or the text of a refusal.
    #[n(1)]
    pub(crate) outcome: Result<Answer, String>,
}

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Answer {
    #[n(0)]
    Stored {
        #[n(0)]
        version: u64,
        #[n(1)]
        replicas: u32,
    },
    #[n(1)]
    Found {
        #[n(0)]
        found: Option<Found>,
    },
    #[n(2)]
    Listed {
        #[n(0)]
        names: Vec<Bytes>,
        #[n(1)]
        next: Option<Bytes>,
    },
}

/// A value, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Found {
    #[n(0)]
    pub(crate) value: Bytes,
    #[n(1)]
    pub(crate) version: u64,
    /// In seconds.
    #[n(2)]
    pub(crate) expires_in: Option<u64>,
    #[n(3)]
    pub(crate) from: NodeId,
}

/// Encodes a message.
pub(crate) fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(cbor::encode(message));
    bytes
}

/// Decodes an operation of which all bounds hold.
pub(crate) fn decode_operation(bytes: &[u8]) -> Option<Operation> {
    decode(bytes).filter(|operation: &Operation| operation.action.fault().is_none())
}

/// Decodes an answer.
pub(crate) fn decode_reply(bytes: &[u8]) -> Option<Reply> {
    decode(bytes)
}

fn decode<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Option<T> {
    let (format, body) = bytes.split_first()?;
    if *format == FORMAT { cbor::decode(body).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_back_and_what_is_cut_short_or_foreign_does_not() {
        let operation = Operation {
            request: 3,
            action: Action::Put { name: Bytes::from("n"), value: Bytes::from(vec![1; 5]), expires_in: Some(9) },
        };
        let reply = Reply { request: 3, outcome: Err("busy".to_owned()) };
        let whole = encode(&operation);

        assert_eq!(decode_operation(&whole), Some(operation));
        assert_eq!(decode_reply(&encode(&reply)), Some(reply));
        for end in 0..whole.len() {
            assert_eq!(decode_operation(&whole[..end]), None);
        }
        assert_eq!(decode_operation(&[&[FORMAT + 1], &whole[1..]].concat()), None);
        let long = Action::Get { name: Bytes::from(vec![0; MAX_NAME + 1]) };
        assert_eq!(decode_operation(&encode(&Operation { request: 1, action: long })), None);
    }
}
