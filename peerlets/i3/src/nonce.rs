//! Nonces that a node need not remember: each is a keyed digest of what it was given for.

use std::cell::OnceCell;

use minicbor::{Decode, Encode};
use prost_i3_api::Trigger;
use prost_peerlet::{NodeId, cbor, random, time};
use sha2::{Digest, Sha256};

/// How long a nonce is good at least; it may be for twice as long.
const PERIOD_MS: u64 = 600_000;

/// What a trigger's target proves with that it wants the trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub(crate) struct Nonce(#[cbor(n(0), with = "minicbor::bytes")] [u8; 16]);

/// Makes nonces, and knows its own.
#[derive(Debug, Default)]
pub(crate) struct Mint {
    /// Drawn when the first nonce is made.
    secret: OnceCell<[u8; 32]>,
}

impl Mint {
    /// The nonce of a trigger for the node that is to want it.
    pub(crate) fn make(&self, trigger: &Trigger, node: NodeId) -> Nonce {
        self.at(period(), trigger, node)
    }

    /// Whether this is the nonce, or was it a moment ago.
    pub(crate) fn is_good(&self, nonce: Nonce, trigger: &Trigger, node: NodeId) -> bool {
        let now = period();
        [now, now.saturating_sub(1)].into_iter().any(|period| self.at(period, trigger, node) == nonce)
    }

    fn at(&self, period: u64, trigger: &Trigger, node: NodeId) -> Nonce {
        let mut hash = Sha256::new();
        hash.update(self.secret.get_or_init(random::bytes));
        hash.update(period.to_be_bytes());
        hash.update(node.to_bytes());
        hash.update(trigger.id.as_bytes());
        hash.update(cbor::encode(&trigger.target));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&hash.finalize()[..16]);
        Nonce(nonce)
    }
}

fn period() -> u64 {
    time::wall_ms() / PERIOD_MS
}
