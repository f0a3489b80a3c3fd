//! The files of CFS through one node.
//!
//! The node's peerlet is asked for blocks and is not believed: what it gives is checked against ids and signatures in this
//! process, by [`prost_cfs_fs::Reader`].

mod dav;

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use prost_cfs_api::{
    BlockId, Caching, EXTEND, Extend, Found, GET, Get, Kind, PUT, Put, Refusal, STATUS, Status, Stored, decode, encode,
};
use prost_cfs_fs::{Blocks, Fetched, Sign};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::admin_client::{AdminClient, AdminError};

pub use dav::{Mount, serve};

/// The application that is called.
pub const CFS: &str = "cfs";

/// How long one block is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause before the second attempt. Each later one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// The blocks of the ring, as one node gives them. Threads can share it.
#[derive(Debug)]
pub struct NodeBlocks {
    node: AdminClient,
    caching: Caching,
    retries: AtomicU64,
}

impl NodeBlocks {
    /// Blocks through this node, which must run the cfs.
    pub fn new(node: AdminClient) -> NodeBlocks {
        NodeBlocks { node, caching: Caching::default(), retries: AtomicU64::new(0) }
    }

    /// Another choice of who may answer: every node on the way if not said.
    #[must_use]
    pub fn with_caching(self, caching: Caching) -> NodeBlocks {
        NodeBlocks { caching, ..self }
    }

    /// How often something was asked again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// How the cfs on this node is.
    ///
    /// # Errors
    ///
    /// [`CfsError`].
    pub fn status(&self) -> Result<Status, CfsError> {
        self.ask(STATUS, Vec::new())
    }

    /// Every method can be asked twice: who has inserted or extended a block can do so again.
    fn ask<A: for<'a> minicbor::Decode<'a, ()>>(&self, method: &str, body: Vec<u8>) -> Result<A, CfsError> {
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.node.call(CFS, method, &body) {
                Ok(answer) => return decode(&answer).map_err(|_| CfsError::Answer),
                Err(error) => worded(error),
            };
            if !error.is_transient() || start.elapsed() + pause > PATIENCE {
                return Err(error);
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }
}

impl Blocks for NodeBlocks {
    type Error = CfsError;

    fn put(&self, kind: Kind, bytes: &[u8], ttl: u64) -> Result<bool, CfsError> {
        let stored: Stored = self.ask(PUT, encode(&Put { kind, bytes: bytes.to_vec().into(), ttl }))?;
        Ok(stored.was_there)
    }

    fn get(&self, kind: Kind, id: &BlockId, avoid: &[[u8; 20]]) -> Result<Option<Fetched>, CfsError> {
        let avoid = avoid.iter().map(|node| (*node).into()).collect();
        let found: Option<Found> = self.ask(GET, encode(&Get { kind, id: *id, avoid, caching: self.caching }))?;
        Ok(found.map(|found| Fetched { bytes: found.bytes.into(), from: *found.from }))
    }

    fn extend(&self, kind: Kind, id: &BlockId, ttl: u64) -> Result<bool, CfsError> {
        let stored: Option<Stored> = self.ask(EXTEND, encode(&Extend { kind, id: *id, ttl }))?;
        Ok(stored.is_some())
    }
}

/// A publisher's key pair, which never leaves this process.
pub struct PublisherKey(Ed25519KeyPair);

impl PublisherKey {
    /// The key pair in a PKCS#8 document (DER); none where it is no Ed25519 key.
    pub fn from_pkcs8(der: &[u8]) -> Option<PublisherKey> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(PublisherKey)
    }
}

impl Sign for PublisherKey {
    fn public(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(self.0.public_key().as_ref());
        public
    }

    fn sign(&self, statement: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(statement).as_ref());
        signature
    }
}

impl core::fmt::Debug for PublisherKey {
    /// The public half only.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PublisherKey({})", hex::encode(self.public()))
    }
}

/// Why a block could not be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CfsError {
    /// The node refuses or cannot be reached.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The cfs refuses.
    #[error("the cfs refuses: {0}")]
    Refused(Refusal),
    /// The answer is not one of the cfs.
    #[error("the application's answer is not one of the cfs peerlet's")]
    Answer,
}

impl CfsError {
    /// Whether the same may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            CfsError::Admin(error) => error.is_transient(),
            CfsError::Refused(refusal) => refusal.is_transient(),
            CfsError::Answer => false,
        }
    }
}

/// The peerlet's own refusals come as an error's text.
fn worded(error: AdminError) -> CfsError {
    if let AdminError::Refused { error: text, .. } = &error
        && let Ok(refusal) = text.parse::<Refusal>()
    {
        return CfsError::Refused(refusal);
    }
    CfsError::Admin(error)
}
