//! Capability `storage`.

use bytes::Bytes;
use prost_contract::{self as contract, Records as _, Unavailable, Write, record_bytes};
use prost_kbr::Interval;

use crate::bindings::prost::peerlet::storage::{Allowance, Host, Place, StorageError};
use crate::bindings::prost::peerlet::types::{Id, KeyRange};
use crate::host::at_most;
use crate::meter;
use crate::state::State;

impl From<Place> for contract::Place {
    fn from(place: Place) -> contract::Place {
        match place {
            Place::Node => contract::Place::Node,
            Place::At(key) => contract::Place::At(key.into()),
        }
    }
}

impl State {
    fn named(&self, name: &[u8]) -> Result<(), StorageError> {
        if name.len() > self.limits.name_bytes as usize { Err(StorageError::TooLarge) } else { Ok(()) }
    }

    /// The answer of the store. A failure ends the event without effect, whatever the handler makes of it.
    fn stored<T>(&mut self, answer: Result<T, Unavailable>) -> Result<T, StorageError> {
        answer.map_err(|Unavailable| {
            self.turn.store_failed = true;
            StorageError::Unavailable
        })
    }

    /// Bytes that the application has now, the writes included that are not in the store yet.
    fn used(&self) -> u64 {
        self.context.storage_used.saturating_add_signed(self.records.growth())
    }

    /// A record belongs on the nodes that are, or would become, responsible for its key, once those before have handed it
    /// over. Only a member of a ring can tell that it is none of them.
    fn here(&self, place: contract::Place) -> Result<(), StorageError> {
        let contract::Place::At(key) = place else { return Ok(()) };
        let view = &self.context.view;
        let settles = self.context.settling.iter().any(|range| range.contains(key));
        let is_replica = !view.joined || view.replica_set(key, contract::MAX_COPIES).nodes.contains(&view.me.id);
        if is_replica && !settles { Ok(()) } else { Err(StorageError::NotHere) }
    }

    /// By how much a write changes the bytes stored.
    fn growth(&mut self, place: contract::Place, name: &[u8], value: &[u8]) -> Result<i64, StorageError> {
        let freed = self.records.size(place, name);
        let freed = self.stored(freed)?;
        let taken = record_bytes(name.len(), value.len());
        let left = self.used().saturating_sub(freed);
        let too_much = self.context.storage_full || left.saturating_add(taken) > self.limits.storage_bytes;
        if taken > freed && too_much {
            return Err(StorageError::OverQuota);
        }
        Ok(taken.cast_signed().saturating_sub(freed.cast_signed()))
    }

    fn try_get(&mut self, place: Place, name: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.named(name)?;
        let place = place.into();
        self.here(place)?;
        let value = self.records.get(place, name);
        self.stored(value)
    }

    fn try_put(&mut self, place: contract::Place, name: &[u8], value: &[u8]) -> Result<i64, StorageError> {
        self.named(name)?;
        if value.len() > self.limits.value_bytes as usize {
            return Err(StorageError::TooLarge);
        }
        self.here(place)?;
        self.growth(place, name, value)
    }

    fn try_delete(&mut self, place: contract::Place, name: &[u8]) -> Result<i64, StorageError> {
        self.named(name)?;
        self.here(place)?;
        let freed = self.records.size(place, name);
        Ok(-self.stored(freed)?.cast_signed())
    }

    fn try_names(
        &mut self,
        place: Place,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        self.named(prefix)?;
        self.named(after.unwrap_or_default())?;
        let place = place.into();
        self.here(place)?;
        let names = self.records.names(place, prefix, after, at_most(max, meter::PAGE));
        self.stored(names)
    }

    /// Charges what a list of records has turned out to cost.
    fn listed(&mut self, items: usize, bytes: usize) -> wasmtime::Result<()> {
        self.charge(meter::RECORD_LISTED.saturating_mul(items as u64), bytes)
    }
}

impl Host for State {
    fn get(&mut self, place: Place, name: Vec<u8>) -> wasmtime::Result<Result<Option<Vec<u8>>, StorageError>> {
        self.enter(meter::RECORD_READ, name.len())?;
        let value = match self.try_get(place, &name) {
            Ok(value) => value.map(Vec::from),
            Err(error) => return Ok(Err(error)),
        };
        self.charge(0, value.as_ref().map_or(0, Vec::len))?;
        Ok(Ok(value))
    }

    fn put(
        &mut self,
        place: Place,
        name: Vec<u8>,
        value: Vec<u8>,
        expires_in: Option<u64>,
    ) -> wasmtime::Result<Result<(), StorageError>> {
        self.enter(meter::EFFECT + meter::RECORD_READ, name.len() + value.len())?;
        let place = place.into();
        let growth = match self.try_put(place, &name, &value) {
            Ok(growth) => growth,
            Err(error) => return Ok(Err(error)),
        };
        let now = self.context.now_ms;
        let expires = expires_in.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000)));
        self.write(Write { place, name, value: Some((Bytes::from(value), expires)) }, growth)?;
        Ok(Ok(()))
    }

    fn delete(&mut self, place: Place, name: Vec<u8>) -> wasmtime::Result<Result<(), StorageError>> {
        self.enter(meter::EFFECT + meter::RECORD_READ, name.len())?;
        let place = place.into();
        let growth = match self.try_delete(place, &name) {
            Ok(growth) => growth,
            Err(error) => return Ok(Err(error)),
        };
        self.write(Write { place, name, value: None }, growth)?;
        Ok(Ok(()))
    }

    fn names(
        &mut self,
        place: Place,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<Vec<u8>>, StorageError>> {
        self.enter(meter::RECORD_LIST, prefix.len() + after.as_ref().map_or(0, Vec::len))?;
        let names = match self.try_names(place, &prefix, after.as_deref(), max) {
            Ok(names) => names,
            Err(error) => return Ok(Err(error)),
        };
        self.listed(names.len(), names.iter().map(Vec::len).sum())?;
        Ok(Ok(names))
    }

    fn keys(
        &mut self,
        range: KeyRange,
        after: Option<Id>,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<Id>, StorageError>> {
        self.enter(meter::RECORD_LIST, size_of::<KeyRange>())?;
        let keys = self.records.keys(Interval::from(range), after.map(Into::into), at_most(max, meter::PAGE));
        let keys = match self.stored(keys) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error)),
        };
        self.listed(keys.len(), keys.len() * size_of::<Id>())?;
        Ok(Ok(keys.into_iter().map(Into::into).collect()))
    }

    fn usage(&mut self) -> wasmtime::Result<Allowance> {
        self.enter(0, size_of::<Allowance>())?;
        Ok(Allowance { used_bytes: self.used(), limit_bytes: self.limits.storage_bytes })
    }
}
