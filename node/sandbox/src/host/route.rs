//! Capability `route`.

use bytes::Bytes;
use prost_contract::Effect;

use crate::bindings::prost::peerlet::route::{Host, Replicas, RouteError};
use crate::bindings::prost::peerlet::types::{Dispatch, Id, KeyRange};
use crate::host::at_most;
use crate::meter;
use crate::state::State;

/// Bytes of an id as it crosses the border.
const ID: usize = 24;

impl State {
    fn may_send(&self, payload: usize) -> Result<(), RouteError> {
        if payload > self.limits.payload_bytes as usize {
            return Err(RouteError::TooLarge);
        }
        if self.context.view.joined { Ok(()) } else { Err(RouteError::NotJoined) }
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
        let length = payload.len();
        self.enter(meter::EFFECT, length)?;
        if let Err(error) = self.may_send(length) {
            return Ok(Err(error));
        }
        let id = self.next_id();
        let payload = Bytes::from(payload);
        let hint = hint.map(Into::into);
        self.effect(Effect::Route { id, key: key.into(), payload, dispatch: dispatch.into(), hint }, length)?;
        Ok(Ok(id))
    }

    fn send(&mut self, to: Id, payload: Vec<u8>) -> wasmtime::Result<Result<u64, RouteError>> {
        let length = payload.len();
        self.enter(meter::EFFECT, length)?;
        if let Err(error) = self.may_send(length) {
            return Ok(Err(error));
        }
        let id = self.next_id();
        self.effect(Effect::Send { id, to: to.into(), payload: Bytes::from(payload) }, length)?;
        Ok(Ok(id))
    }

    fn myself(&mut self) -> wasmtime::Result<Id> {
        self.enter(0, ID)?;
        Ok(self.context.view.me.id.into())
    }

    fn local_lookup(&mut self, key: Id, max: u32, safe: bool) -> wasmtime::Result<Vec<Id>> {
        self.enter(meter::RING_QUERY, ID)?;
        let nodes = self.context.view.local_lookup(key.into(), at_most(max, meter::NODES), safe);
        Ok(nodes.into_iter().map(Into::into).collect())
    }

    fn neighbour_set(&mut self, max: u32) -> wasmtime::Result<Vec<Id>> {
        self.enter(meter::RING_QUERY, ID)?;
        let nodes = self.context.view.neighbour_set(at_most(max, meter::NODES));
        Ok(nodes.into_iter().map(Into::into).collect())
    }

    fn replica_set(&mut self, key: Id, max: u32) -> wasmtime::Result<Replicas> {
        self.enter(meter::RING_QUERY, ID)?;
        let bound = at_most(max, meter::NODES);
        let replicas = self.context.view.replica_set(key.into(), bound);
        let complete = replicas.complete && bound == max as usize;
        Ok(Replicas { nodes: replicas.nodes.into_iter().map(Into::into).collect(), complete })
    }

    fn range(&mut self, node: Id, rank: u32) -> wasmtime::Result<Option<KeyRange>> {
        self.enter(meter::RING_QUERY, ID)?;
        Ok(self.context.view.range(node.into(), rank as usize).map(Into::into))
    }

    fn round_trip(&mut self, node: Id) -> wasmtime::Result<Option<u32>> {
        self.enter(0, ID)?;
        let round_trip = self.context.view.round_trip(node.into());
        Ok(round_trip.map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)))
    }

    fn watch(&mut self, node: Id) -> wasmtime::Result<Result<(), RouteError>> {
        self.enter(meter::EFFECT, ID)?;
        if !self.context.view.joined {
            return Ok(Err(RouteError::NotJoined));
        }
        self.effect(Effect::Watch(node.into()), ID)?;
        Ok(Ok(()))
    }

    fn unwatch(&mut self, node: Id) -> wasmtime::Result<()> {
        self.enter(meter::EFFECT, ID)?;
        self.effect(Effect::Unwatch(node.into()), ID)
    }
}
