//! Capability `client`.

use bytes::Bytes;
use prost_contract::Effect;

use crate::bindings::prost::peerlet::client::{ClientError, Host};
use crate::meter;
use crate::state::State;

impl Host for State {
    fn respond(&mut self, request: u64, outcome: Result<Vec<u8>, String>) -> wasmtime::Result<Result<(), ClientError>> {
        let length = outcome.as_ref().map_or_else(String::len, Vec::len);
        self.enter(meter::EFFECT, length)?;
        if length > self.limits.payload_bytes as usize {
            return Ok(Err(ClientError::TooLarge));
        }
        if !self.answer(request) {
            return Ok(Err(ClientError::Gone));
        }
        self.effect(Effect::Respond { request, outcome: outcome.map(Bytes::from) }, length)?;
        Ok(Ok(()))
    }

    fn push(&mut self, request: u64, item: Vec<u8>) -> wasmtime::Result<Result<(), ClientError>> {
        let length = item.len();
        self.enter(meter::EFFECT, length)?;
        if length > self.limits.payload_bytes as usize {
            return Ok(Err(ClientError::TooLarge));
        }
        if self.has_answered(request) {
            return Ok(Err(ClientError::Gone));
        }
        self.effect(Effect::Push { request, item: Bytes::from(item) }, length)?;
        Ok(Ok(()))
    }
}
