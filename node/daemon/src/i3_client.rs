//! A client of the i3 peerlet on a node: packets to ids, and programs that listen. It blocks.

mod gateway;
mod listener;
mod service;

use core::fmt;

use minicbor::{Decode, Encode};
use prost_i3_api::ask::{
    CLOSE, Chosen, Close, INSERT, Insert, Inserted, LIST, Listed, NEXT, Next, OPEN, Open, Opened, PRIVATE, Private,
    REMOVE, Remove, SEND, Send, Sent,
};
use prost_i3_api::{Datagram, Hop, I3Id};
use prost_peerlet::cbor;
use prost_peerlet::inbox::Batch;

use crate::admin_client::{AdminClient, AdminError};

pub use gateway::{Gateway, PeerName};
pub use listener::{Listener, Wanted};
pub use service::UdpService;

/// The peerlet's name.
pub const I3: &str = "i3";
/// The HTTP status of what an application itself refuses.
const OWN_ANSWER: u16 = 422;

/// Asks the i3 peerlet of one node. Threads can share it.
#[derive(Debug, Clone)]
pub struct I3Client {
    admin: AdminClient,
}

impl I3Client {
    /// A client of the peerlet on this node.
    pub fn new(admin: AdminClient) -> I3Client {
        I3Client { admin }
    }

    /// Begins to listen; the endpoint stays for a minute, or as many seconds as are said, where nobody reads from it.
    pub fn open(&self, lease: Option<u32>) -> Result<Opened, I3Error> {
        self.ask(OPEN, &Open { lease })
    }

    /// Ends an endpoint and removes its triggers.
    pub fn close(&self, endpoint: u64) -> Result<(), I3Error> {
        self.ask(CLOSE, &Close { endpoint })
    }

    /// Waits, for twenty seconds at most, for what an endpoint has received from number `from` on.
    pub fn next(&self, endpoint: u64, from: u64) -> Result<Batch, I3Error> {
        self.ask(NEXT, &Next { endpoint, from })
    }

    /// Inserts a trigger, which is refreshed as long as its endpoint is open.
    pub fn insert(&self, trigger: &Insert) -> Result<Inserted, I3Error> {
        self.ask(INSERT, trigger)
    }

    /// Removes the triggers of an id that were inserted through this node.
    pub fn remove(&self, id: I3Id, endpoint: Option<u64>) -> Result<(), I3Error> {
        self.ask(REMOVE, &Remove { endpoint, id })
    }

    /// Chooses a private id near the node, the nearest of so many; 0 for the nearest link.
    pub fn private(&self, samples: u8) -> Result<Chosen, I3Error> {
        self.ask(PRIVATE, &Private { samples })
    }

    /// Sends a packet. Where that is to be confirmed, tells how many triggers the first id had.
    pub fn send(&self, stack: Vec<Hop>, payload: Vec<u8>, confirm: bool) -> Result<Option<u32>, I3Error> {
        let Sent { matched } = self.ask(SEND, &Send { stack, payload: payload.into(), confirm })?;
        Ok(matched)
    }

    /// Sends a datagram to an id, unconfirmed.
    pub fn send_datagram(&self, to: I3Id, datagram: &Datagram) -> Result<(), I3Error> {
        self.send(vec![Hop::Id(to)], cbor::encode(datagram), false).map(drop)
    }

    /// The triggers of the node.
    pub fn list(&self) -> Result<Listed, I3Error> {
        self.ask(LIST, &())
    }

    fn ask<A: for<'a> Decode<'a, ()>>(&self, method: &str, question: &impl Encode<()>) -> Result<A, I3Error> {
        let answer = self.admin.call(I3, method, &cbor::encode(question)).map_err(|error| match error {
            AdminError::Refused { status: OWN_ANSWER, error, .. } => I3Error::Refused(error),
            error => I3Error::Admin(error),
        })?;
        cbor::decode(&answer).map_err(|_| I3Error::Answer)
    }
}

/// Why the peerlet was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum I3Error {
    /// The node refuses, or it cannot be reached.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The peerlet refuses.
    #[error("{0}")]
    Refused(String),
    /// The answer is not one of i3's.
    #[error("the application's answer is not one of the i3 peerlet's")]
    Answer,
    /// A socket of this machine fails.
    #[error("{what}: {error}")]
    Socket {
        /// Which, and what for.
        what: String,
        /// What the system says.
        error: String,
    },
}

impl I3Error {
    /// Whether the same may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, I3Error::Admin(error) if error.is_transient())
    }

    fn socket(what: impl fmt::Display, error: &std::io::Error) -> I3Error {
        I3Error::Socket { what: what.to_string(), error: error.to_string() }
    }
}
