//! The node's key, as far as a peerlet may use it.

use prost_kbr::NodeId;

/// A signature and the key that verifies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The signer's public key, in the encoding its node id is derived from.
    pub public_key: Vec<u8>,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// Signs for one application on one node.
///
/// The implementation binds the application into what it signs, under a context of its own, so that a statement of one
/// peerlet is worth nothing to another and never passes for anything that the node itself signs.
pub trait Signer: Send + Sync {
    /// Signs a statement of the application.
    fn sign(&self, statement: &[u8]) -> Signature;

    /// Whether the signature is over this statement, by the same application, on node `signer`: the public key has to
    /// belong to that id.
    fn verify(&self, signer: NodeId, statement: &[u8], signature: &Signature) -> bool;
}
