//! Capability `route`.

use prost_contract::SendError;

use crate::bindings::prost::peerlet::route::{Host, Replicas, RouteError};
use crate::bindings::prost::peerlet::types::{Dispatch, Id, KeyRange};
use crate::meter;
use crate::state::{State, bounded};

/// Bytes of an id as it crosses the border.
const ID: usize = 24;

impl From<SendError> for RouteError {
    fn from(error: SendError) -> RouteError {
        match error {
            SendError::TooLarge => RouteError::TooLarge,
            SendError::NotJoined => RouteError::NotJoined,
        }
    }
}

impl Host for State {
    fn route(
        &mut self,
        key: Id,
        payload: Vec<u8>,
        dispatch: Dispatch,
        hint: Option<Id>,
    ) -> wasmtime::Result<Result<u64, RouteError>> {
        self.enter(meter::EFFECT, payload.len())?;
        let sent = bounded(self.turn.route(key.into(), payload, dispatch.into(), hint.map(Into::into)))?;
        Ok(sent.map_err(Into::into))
    }

    fn send(&mut self, to: Id, payload: Vec<u8>) -> wasmtime::Result<Result<u64, RouteError>> {
        self.enter(meter::EFFECT, payload.len())?;
        let sent = bounded(self.turn.send(to.into(), payload))?;
        Ok(sent.map_err(Into::into))
    }

    fn myself(&mut self) -> wasmtime::Result<Id> {
        self.enter(0, ID)?;
        Ok(self.turn.context().view.me.id.into())
    }

    fn local_lookup(&mut self, key: Id, max: u32, safe: bool) -> wasmtime::Result<Vec<Id>> {
        self.enter(meter::RING_QUERY, ID)?;
        Ok(self.turn.local_lookup(key.into(), max, safe).into_iter().map(Into::into).collect())
    }

    fn neighbour_set(&mut self, max: u32) -> wasmtime::Result<Vec<Id>> {
        self.enter(meter::RING_QUERY, ID)?;
        Ok(self.turn.neighbour_set(max).into_iter().map(Into::into).collect())
    }

    fn replica_set(&mut self, key: Id, max: u32) -> wasmtime::Result<Replicas> {
        self.enter(meter::RING_QUERY, ID)?;
        let replicas = self.turn.replica_set(key.into(), max);
        Ok(Replicas { nodes: replicas.nodes.into_iter().map(Into::into).collect(), complete: replicas.complete })
    }

    fn range(&mut self, node: Id, rank: u32) -> wasmtime::Result<Option<KeyRange>> {
        self.enter(meter::RING_QUERY, ID)?;
        Ok(self.turn.context().view.range(node.into(), rank as usize).map(Into::into))
    }

    fn round_trip(&mut self, node: Id) -> wasmtime::Result<Option<u32>> {
        self.enter(0, ID)?;
        let round_trip = self.turn.context().view.round_trip(node.into());
        Ok(round_trip.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)))
    }

    fn watch(&mut self, node: Id) -> wasmtime::Result<Result<(), RouteError>> {
        self.enter(meter::EFFECT, ID)?;
        let watched = bounded(self.turn.watch(node.into()))?;
        Ok(watched.map_err(Into::into))
    }

    fn unwatch(&mut self, node: Id) -> wasmtime::Result<()> {
        self.enter(meter::EFFECT, ID)?;
        bounded(self.turn.unwatch(node.into()))
    }
}
