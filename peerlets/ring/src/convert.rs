//! Between the kit's types and the node's.

use prost_contract as contract;
use prost_kbr::{Change, Dispatch, Failure, Interval};
use prost_peerlet as kit;

pub(crate) fn id(id: prost_kbr::Id) -> kit::Id {
    kit::Id::from_bytes(*id.as_bytes())
}

pub(crate) fn ring_id(id: kit::Id) -> prost_kbr::Id {
    prost_kbr::Id::from_bytes(id.to_bytes())
}

pub(crate) fn range(interval: Interval) -> kit::KeyRange {
    kit::KeyRange { after: id(interval.after()), upto: id(interval.upto()) }
}

pub(crate) fn interval(range: kit::KeyRange) -> Interval {
    Interval::open_closed(ring_id(range.after), ring_id(range.upto))
}

pub(crate) fn dispatch(dispatch: Dispatch) -> kit::Dispatch {
    match dispatch {
        Dispatch::PerHop => kit::Dispatch::PerHop,
        Dispatch::EndNode => kit::Dispatch::EndNode,
    }
}

pub(crate) fn ring_dispatch(dispatch: kit::Dispatch) -> Dispatch {
    match dispatch {
        kit::Dispatch::PerHop => Dispatch::PerHop,
        kit::Dispatch::EndNode => Dispatch::EndNode,
    }
}

pub(crate) fn failure(failure: &Failure) -> kit::Failure {
    match failure {
        Failure::Deadline => kit::Failure::Deadline,
        Failure::Unreachable | Failure::NotJoined => kit::Failure::Unreachable,
        Failure::NoWillingNode(_) => kit::Failure::NoWillingNode,
        Failure::TooManyHops => kit::Failure::TooManyHops,
        Failure::NotDurable => kit::Failure::NotDurable,
        Failure::HandlerFailed(_) => kit::Failure::HandlerFailed,
        Failure::Overloaded => kit::Failure::Overloaded,
    }
}

pub(crate) fn change(change: &Change) -> kit::Change {
    match change {
        Change::Joined(node) => kit::Change::Joined(id(*node)),
        Change::Left(node) => kit::Change::Left(id(*node)),
        Change::Gained(keys) => kit::Change::Gained(range(*keys)),
        Change::Lost(keys) => kit::Change::Lost(range(*keys)),
        Change::WatchedDown(node) => kit::Change::WatchedDown(id(*node)),
    }
}

pub(crate) fn message(message: &contract::Message) -> kit::Message {
    kit::Message {
        id: message.id,
        key: message.key.map(id),
        dispatch: dispatch(message.dispatch),
        origin: id(message.origin),
        previous: id(message.previous),
        hops: message.hops,
        payload: message.payload.to_vec(),
    }
}

pub(crate) fn verdict(verdict: kit::Verdict) -> contract::Verdict {
    match verdict {
        kit::Verdict::Pass => contract::Verdict::Pass,
        kit::Verdict::Stop => contract::Verdict::Stop,
        kit::Verdict::Rewrite(kit::Rewritten { key, payload, next }) => {
            contract::Verdict::Rewrite { key: ring_id(key), payload: payload.into(), next: next.map(ring_id) }
        }
    }
}

pub(crate) fn place(place: kit::storage::Place) -> contract::Place {
    match place {
        kit::storage::Place::Node => contract::Place::Node,
        kit::storage::Place::At(key) => contract::Place::At(ring_id(key)),
    }
}

pub(crate) fn storage_error(error: contract::StorageError) -> kit::storage::StorageError {
    match error {
        contract::StorageError::OverQuota => kit::storage::StorageError::OverQuota,
        contract::StorageError::TooLarge => kit::storage::StorageError::TooLarge,
        contract::StorageError::NotHere => kit::storage::StorageError::NotHere,
        contract::StorageError::Unavailable => kit::storage::StorageError::Unavailable,
    }
}

pub(crate) fn route_error(error: contract::SendError) -> kit::route::RouteError {
    match error {
        contract::SendError::TooLarge => kit::route::RouteError::TooLarge,
        contract::SendError::NotJoined => kit::route::RouteError::NotJoined,
    }
}

pub(crate) fn client_error(error: contract::ClientError) -> kit::client::ClientError {
    match error {
        contract::ClientError::Gone => kit::client::ClientError::Gone,
        contract::ClientError::TooLarge => kit::client::ClientError::TooLarge,
    }
}
