//! Capability `storage`.

use prost_contract as contract;
use prost_kbr::Interval;

use crate::bindings::prost::peerlet::storage::{Allowance, Host, Place, StorageError};
use crate::bindings::prost::peerlet::types::{Id, KeyRange};
use crate::meter;
use crate::state::{State, bounded};

impl From<Place> for contract::Place {
    fn from(place: Place) -> contract::Place {
        match place {
            Place::Node => contract::Place::Node,
            Place::At(key) => contract::Place::At(key.into()),
        }
    }
}

impl From<contract::StorageError> for StorageError {
    fn from(error: contract::StorageError) -> StorageError {
        match error {
            contract::StorageError::OverQuota => StorageError::OverQuota,
            contract::StorageError::TooLarge => StorageError::TooLarge,
            contract::StorageError::NotHere => StorageError::NotHere,
            contract::StorageError::Unavailable => StorageError::Unavailable,
        }
    }
}

impl State {
    /// Charges what a list of records has turned out to cost.
    fn listed(&mut self, items: usize, bytes: usize) -> wasmtime::Result<()> {
        self.charge(meter::RECORD_LISTED.saturating_mul(items as u64), bytes)
    }
}

impl Host for State {
    fn get(&mut self, place: Place, name: Vec<u8>) -> wasmtime::Result<Result<Option<Vec<u8>>, StorageError>> {
        self.enter(meter::RECORD_READ, name.len())?;
        let value = match self.turn.get(place.into(), &name) {
            Ok(value) => value.map(Vec::from),
            Err(error) => return Ok(Err(error.into())),
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
        let written = bounded(self.turn.put(place.into(), name, value, expires_in))?;
        Ok(written.map_err(Into::into))
    }

    fn delete(&mut self, place: Place, name: Vec<u8>) -> wasmtime::Result<Result<(), StorageError>> {
        self.enter(meter::EFFECT + meter::RECORD_READ, name.len())?;
        let deleted = bounded(self.turn.delete(place.into(), name))?;
        Ok(deleted.map_err(Into::into))
    }

    fn names(
        &mut self,
        place: Place,
        prefix: Vec<u8>,
        after: Option<Vec<u8>>,
        max: u32,
    ) -> wasmtime::Result<Result<Vec<Vec<u8>>, StorageError>> {
        self.enter(meter::RECORD_LIST, prefix.len() + after.as_ref().map_or(0, Vec::len))?;
        let names = match self.turn.names(place.into(), &prefix, after.as_deref(), max) {
            Ok(names) => names,
            Err(error) => return Ok(Err(error.into())),
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
        let keys = match self.turn.keys(Interval::from(range), after.map(Into::into), max) {
            Ok(keys) => keys,
            Err(error) => return Ok(Err(error.into())),
        };
        self.listed(keys.len(), keys.len() * size_of::<Id>())?;
        Ok(Ok(keys.into_iter().map(Into::into).collect()))
    }

    fn usage(&mut self) -> wasmtime::Result<Allowance> {
        self.enter(0, size_of::<Allowance>())?;
        Ok(Allowance { used_bytes: self.turn.used(), limit_bytes: self.turn.limits().storage_bytes })
    }
}
