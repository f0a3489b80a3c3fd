//! Capability `identity`.

use std::sync::Arc;

use prost_contract::TrapKind;

use crate::bindings::prost::peerlet::identity::{Host, Signature};
use crate::bindings::prost::peerlet::types::Id;
use crate::meter;
use crate::signer::{self, Signer};
use crate::state::{State, Stop};

impl State {
    fn signer(&self) -> wasmtime::Result<Arc<dyn Signer>> {
        self.signer.clone().ok_or_else(|| Stop::error(TrapKind::Fault, "this node does not sign for peerlets"))
    }
}

impl Host for State {
    fn sign(&mut self, statement: Vec<u8>) -> wasmtime::Result<Signature> {
        self.enter(meter::SIGN, statement.len())?;
        let signer::Signature { public_key, bytes } = self.signer()?.sign(&statement);
        Ok(Signature { public_key, bytes })
    }

    fn verify(&mut self, signer: Id, statement: Vec<u8>, signature: Signature) -> wasmtime::Result<bool> {
        let Signature { public_key, bytes } = signature;
        self.enter(meter::VERIFY, statement.len() + public_key.len() + bytes.len())?;
        Ok(self.signer()?.verify(signer.into(), &statement, &signer::Signature { public_key, bytes }))
    }
}
