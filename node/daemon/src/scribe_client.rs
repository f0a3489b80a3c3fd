//! A client of the scribe peerlet.

use core::fmt;

use prost_peerlet::NodeId;
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::inbox::Batch;
use prost_scribe_api::{
    ANYCAST, Anycast, CREATE, Create, Created, Group, JOIN, Join, Joined, LEAVE, Leave, Left, NEXT, Next, PUBLISH,
    Publish, Published, STATUS, Status, Taken,
};

use crate::admin_client::{AdminClient, AdminError};

/// The application that is called.
pub const SCRIBE: &str = "scribe";

/// A client of the scribe peerlet on one node, which must run it.
pub struct ScribeClient {
    node: AdminClient,
}

/// Why it was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScribeError {
    /// The node refuses, does not answer, or the peerlet says no.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The answer is none of the scribe peerlet's.
    #[error("the application 'scribe' answers something that this program does not understand")]
    Answer,
}

impl ScribeError {
    /// Whether the same question may well be answered a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, ScribeError::Admin(error) if error.is_transient())
    }
}

impl ScribeClient {
    /// A client through this node.
    pub fn new(node: AdminClient) -> ScribeClient {
        ScribeClient { node }
    }

    /// Creates a group, or gives it other rules.
    ///
    /// # Errors
    ///
    /// [`ScribeError`], as with all others.
    pub fn create(&self, create: &Create) -> Result<Created, ScribeError> {
        cbor::decode(&self.ask(CREATE, &cbor::encode(create))?).map_err(unreadable)
    }

    /// Subscribes to a group; returns once the node is in its tree.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn join(&self, group: &Group, takes_anycast: bool) -> Result<Joined, ScribeError> {
        let join = Join { group: group.clone(), takes_anycast };
        cbor::decode(&self.ask(JOIN, &cbor::encode(&join))?).map_err(unreadable)
    }

    /// What has come to a subscription, from item `from` on; waits for up to twenty seconds.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn next(&self, subscription: u64, from: u64) -> Result<Batch, ScribeError> {
        cbor::decode(&self.ask(NEXT, &cbor::encode(&Next { subscription, from }))?).map_err(unreadable)
    }

    /// Ends one subscription, or all that the node has to the group. Returns how many.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn leave(&self, group: &Group, subscription: Option<u64>) -> Result<u32, ScribeError> {
        let leave = Leave { group: group.clone(), subscription };
        let left: Left = cbor::decode(&self.ask(LEAVE, &cbor::encode(&leave))?).map_err(unreadable)?;
        Ok(left.ended)
    }

    /// Sends to all members; returns once the root has sent it on.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn publish(&self, group: &Group, data: Bytes) -> Result<Published, ScribeError> {
        let publish = Publish { group: group.clone(), data };
        cbor::decode(&self.ask(PUBLISH, &cbor::encode(&publish))?).map_err(unreadable)
    }

    /// Sends to one member; returns which.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn anycast(&self, group: &Group, data: Bytes) -> Result<NodeId, ScribeError> {
        let anycast = Anycast { group: group.clone(), data };
        let taken: Taken = cbor::decode(&self.ask(ANYCAST, &cbor::encode(&anycast))?).map_err(unreadable)?;
        Ok(taken.by)
    }

    /// The node's place in the trees of its groups.
    ///
    /// # Errors
    ///
    /// [`ScribeError`].
    pub fn status(&self) -> Result<Status, ScribeError> {
        cbor::decode(&self.ask(STATUS, &[])?).map_err(unreadable)
    }

    fn ask(&self, method: &str, question: &[u8]) -> Result<Vec<u8>, ScribeError> {
        Ok(self.node.call(SCRIBE, method, question)?)
    }
}

fn unreadable(_: cbor::Error) -> ScribeError {
    ScribeError::Answer
}

impl fmt::Debug for ScribeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScribeClient").field("node", &self.node).finish()
    }
}
