//! Between the contract's types as generated and as the rest of the node knows them.

use bytes::Bytes;
use prost_contract as contract;
use prost_kbr::{Change, Dispatch, Failure, Id, Interval};

use crate::bindings::exports::prost::peerlet::handler;
use crate::bindings::prost::peerlet::types;

impl From<Id> for types::Id {
    fn from(id: Id) -> types::Id {
        let (high, rest) = id.as_bytes().split_first_chunk().expect("an id has twenty bytes");
        let (middle, rest) = rest.split_first_chunk().expect("twelve bytes are left");
        let low = rest.first_chunk().expect("four bytes are left");
        types::Id {
            high: u64::from_be_bytes(*high),
            middle: u64::from_be_bytes(*middle),
            low: u32::from_be_bytes(*low),
        }
    }
}

impl From<types::Id> for Id {
    fn from(id: types::Id) -> Id {
        let mut bytes = [0; Id::LEN];
        bytes[..8].copy_from_slice(&id.high.to_be_bytes());
        bytes[8..16].copy_from_slice(&id.middle.to_be_bytes());
        bytes[16..].copy_from_slice(&id.low.to_be_bytes());
        Id::from_bytes(bytes)
    }
}

impl From<Interval> for types::KeyRange {
    fn from(interval: Interval) -> types::KeyRange {
        types::KeyRange { after: interval.after().into(), upto: interval.upto().into() }
    }
}

impl From<types::KeyRange> for Interval {
    fn from(range: types::KeyRange) -> Interval {
        Interval::open_closed(range.after.into(), range.upto.into())
    }
}

impl From<Dispatch> for types::Dispatch {
    fn from(dispatch: Dispatch) -> types::Dispatch {
        match dispatch {
            Dispatch::PerHop => types::Dispatch::PerHop,
            Dispatch::EndNode => types::Dispatch::EndNode,
        }
    }
}

impl From<types::Dispatch> for Dispatch {
    fn from(dispatch: types::Dispatch) -> Dispatch {
        match dispatch {
            types::Dispatch::PerHop => Dispatch::PerHop,
            types::Dispatch::EndNode => Dispatch::EndNode,
        }
    }
}

impl From<&Failure> for types::Failure {
    fn from(failure: &Failure) -> types::Failure {
        match failure {
            Failure::Deadline => types::Failure::Deadline,
            // A node outside of the ring reaches nobody: the contract has no reason of its own for it.
            Failure::Unreachable | Failure::NotJoined => types::Failure::Unreachable,
            Failure::NoWillingNode(_) => types::Failure::NoWillingNode,
            Failure::TooManyHops => types::Failure::TooManyHops,
            Failure::NotDurable => types::Failure::NotDurable,
            Failure::HandlerFailed(_) => types::Failure::HandlerFailed,
            Failure::Overloaded => types::Failure::Overloaded,
        }
    }
}

impl From<&Change> for handler::Change {
    fn from(change: &Change) -> handler::Change {
        match change {
            Change::Joined(node) => handler::Change::Joined((*node).into()),
            Change::Left(node) => handler::Change::Left((*node).into()),
            Change::Gained(range) => handler::Change::Gained((*range).into()),
            Change::Lost(range) => handler::Change::Lost((*range).into()),
            Change::WatchedDown(node) => handler::Change::WatchedDown((*node).into()),
        }
    }
}

impl<'a> From<&'a contract::Message> for types::Message<'a> {
    fn from(message: &'a contract::Message) -> types::Message<'a> {
        types::Message {
            id: message.id,
            key: message.key.map(Into::into),
            dispatch: message.dispatch.into(),
            origin: message.origin.into(),
            previous: message.previous.into(),
            hops: message.hops,
            payload: &message.payload,
        }
    }
}

impl<'a> From<&'a contract::Start> for handler::Start<'a> {
    fn from(start: &'a contract::Start) -> handler::Start<'a> {
        handler::Start {
            version: &start.version,
            upgraded_from: start.upgraded_from.as_deref(),
            settings: &start.settings,
        }
    }
}

impl<'a> From<&'a contract::Request> for handler::Request<'a> {
    fn from(request: &'a contract::Request) -> handler::Request<'a> {
        handler::Request { id: request.id, method: &request.method, body: &request.body }
    }
}

impl From<handler::Verdict> for contract::Verdict {
    fn from(verdict: handler::Verdict) -> contract::Verdict {
        match verdict {
            handler::Verdict::Pass => contract::Verdict::Pass,
            handler::Verdict::Stop => contract::Verdict::Stop,
            handler::Verdict::Rewrite(rewritten) => contract::Verdict::Rewrite {
                key: rewritten.key.into(),
                payload: Bytes::from(rewritten.payload),
                next: rewritten.next.map(Into::into),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_most_significant_word_first() {
        let bytes: [u8; Id::LEN] = core::array::from_fn(|at| at as u8);
        let words = types::Id::from(Id::from_bytes(bytes));
        assert_eq!((words.high, words.middle, words.low), (0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f, 0x1011_1213));
        assert_eq!(Id::from(words), Id::from_bytes(bytes));
    }
}
