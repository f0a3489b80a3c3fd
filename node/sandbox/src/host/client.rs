//! Capability `client`.

use prost_contract as contract;

use crate::bindings::prost::peerlet::client::{ClientError, Host};
use crate::meter;
use crate::state::{State, bounded};

impl From<contract::ClientError> for ClientError {
    fn from(error: contract::ClientError) -> ClientError {
        match error {
            contract::ClientError::Gone => ClientError::Gone,
            contract::ClientError::TooLarge => ClientError::TooLarge,
        }
    }
}

impl Host for State {
    fn respond(&mut self, request: u64, outcome: Result<Vec<u8>, String>) -> wasmtime::Result<Result<(), ClientError>> {
        self.enter(meter::EFFECT, outcome.as_ref().map_or_else(String::len, Vec::len))?;
        let answered = bounded(self.turn.respond(request, outcome))?;
        Ok(answered.map_err(Into::into))
    }

    fn push(&mut self, request: u64, item: Vec<u8>) -> wasmtime::Result<Result<(), ClientError>> {
        self.enter(meter::EFFECT, item.len())?;
        let pushed = bounded(self.turn.push(request, item))?;
        Ok(pushed.map_err(Into::into))
    }
}
