//! The sandbox in a simulated world: real components on thousands of nodes in one process.

use std::sync::Arc;

use bytes::Bytes;
use prost_contract::Execution;
use prost_kbr::{NodeId, Refusal};
use prost_manager::RunEvent;
use prost_package::Grant;
use prost_sandbox::{Compiled, Engine, EngineError, EngineOptions, Signature, Signer, Wasi};
use prost_sim::apps::{Guest, Home, Program, Runtime, SharedRecords};

use crate::actor::Actor;

/// Domain of what stands for signatures.
const SIGNATURES: &str = "prost 2026 signatures of simulated nodes v1";

/// Compiles components for the nodes of a world. Nobody moves its engine's clock, so that fuel alone ends an event, on
/// any machine at the same instruction.
pub struct Sandboxed {
    engine: Engine,
}

impl Sandboxed {
    /// A sandbox with room for as many instances as there is memory.
    ///
    /// # Errors
    ///
    /// Where this machine can run no WebAssembly.
    pub fn new() -> Result<Sandboxed, EngineError> {
        let options = EngineOptions { pooled_instances: 0, ..EngineOptions::default() };
        Ok(Sandboxed { engine: Engine::new(options)? })
    }
}

impl Runtime for Sandboxed {
    fn compile(&mut self, component: &Bytes, grant: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)> {
        let wasi = if grant.wasi { Wasi::Inert } else { Wasi::None };
        match Compiled::compile(&self.engine, component, &grant.capabilities, wasi) {
            Ok(compiled) => Ok(Arc::new(Component(compiled))),
            Err(error) => Err((error.refusal(), error.to_string())),
        }
    }
}

struct Component(Compiled);

impl Program for Component {
    fn load(&self, home: &Home, grant: &Grant) -> Box<dyn Guest> {
        let signer = Arc::new(Stand { home: home.clone() });
        Box::new(Resident(Actor::new(self.0.clone(), grant.limits(), signer)))
    }
}

struct Resident(Actor);

impl Guest for Resident {
    fn run(&mut self, events: Vec<RunEvent>, records: SharedRecords, used: u64) -> Vec<Execution> {
        self.0.run(events, records, used, |_| true)
    }
}

/// Stands for a node's key, which simulated nodes do not have: a signature is a digest over node, application and
/// statement. Whoever is in the world could forge one; nobody who is there does.
struct Stand {
    home: Home,
}

impl Stand {
    fn bytes(&self, signer: NodeId, statement: &[u8]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_derive_key(SIGNATURES);
        hasher.update(signer.as_bytes()).update(self.home.app.to_string().as_bytes()).update(&[0]).update(statement);
        let mut bytes = vec![0; 64];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }
}

impl Signer for Stand {
    fn sign(&self, statement: &[u8]) -> Signature {
        let node = self.home.node;
        Signature { public_key: node.as_bytes().to_vec(), bytes: self.bytes(node, statement) }
    }

    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool {
        signature.public_key == signer.as_bytes() && signature.bytes == self.bytes(signer, statement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_its_node_its_application_and_its_statement() {
        let stand = |node: &[u8], app: &str| {
            let app = prost_kbr::AppId { provider: [1; 32], name: app.parse().expect("a name") };
            Stand { home: Home { node: NodeId::hash(node), app } }
        };
        let signature = stand(b"a", "x").sign(b"statement");
        let signer = NodeId::hash(b"a");
        assert!(stand(b"b", "x").verify(signer, b"statement", &signature));
        assert!(!stand(b"b", "y").verify(signer, b"statement", &signature));
        assert!(!stand(b"b", "x").verify(signer, b"another", &signature));
        assert!(!stand(b"b", "x").verify(NodeId::hash(b"b"), b"statement", &signature));
    }
}
