//! Group communication, tier 1 of the common API (Dabek et al., IPTPS 2003, section 3): [`Cast`], and [`Tree`], which
//! does it as Scribe does (Castro, Druschel, Kermarrec, Rowstron, JSAC 2002): a group is a ring key, its root is the node
//! responsible for the key, and its tree is the union of the routes from the members to the root.
//!
//! An application embeds a [`Tree`] around a type that implements [`Upcalls`], and hands it every event:
//!
//! ```
//! use prost_peerlet::cast::{Cast, Frame, Settings, Tree, Upcalls};
//! use prost_peerlet::{Change, Failure, Key, Message, NodeId, Peerlet, Result, Verdict};
//!
//! #[derive(Default)]
//! struct Listener {
//!     heard: u64,
//! }
//!
//! impl Upcalls for Listener {
//!     fn delivered(&mut self, _group: Key, _frame: &Frame) {
//!         self.heard += 1;
//!     }
//! }
//!
//! struct Radio {
//!     tree: Tree<Listener>,
//! }
//!
//! impl Default for Radio {
//!     fn default() -> Radio {
//!         Radio { tree: Tree::new(b'C', Settings::default(), Listener::default()) }
//!     }
//! }
//!
//! impl Peerlet for Radio {
//!     fn deliver(&mut self, message: Message) -> Result {
//!         // False where it is a message of the application's own.
//!         let _ours = !self.tree.deliver(&message);
//!         Ok(())
//!     }
//!
//!     fn forward(&mut self, message: Message, _next: NodeId) -> Verdict {
//!         self.tree.forward(&message).unwrap_or(Verdict::Pass)
//!     }
//!
//!     fn fired(&mut self, timer: u64, _tag: u64) {
//!         self.tree.fired(timer);
//!     }
//!
//!     fn failed(&mut self, message: u64, reason: Failure) {
//!         self.tree.failed(message, reason);
//!     }
//!
//!     fn update(&mut self, change: Change) {
//!         self.tree.update(&change);
//!     }
//! }
//! ```

mod access;
mod group;
mod history;
mod join;
mod keep;
mod order;
mod parent;
mod publish;
mod search;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod upcalls;
mod wire;

pub use keep::rules_at_root;
pub use settings::Settings;
pub use tree::Tree;
pub use upcalls::{Frame, Sequence, Upcalls};

use core::fmt;

use crate::Key;

/// Bytes of a frame's data at most.
pub const DATA: usize = 120 << 10;
/// Bytes of credentials, and of a group's rules, at most.
pub const CREDENTIALS: usize = 4 << 10;

/// Group communication: CAST of the common API. A group is any ring key.
pub trait Cast {
    /// This node becomes a member of the group, and stays one until it leaves, whatever happens to the ring. `credentials`
    /// are shown to the nodes that take it in ([`Upcalls::may_join`]). Being a member already, it only changes these.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] and [`Refusal::TooLarge`].
    fn join(&mut self, group: Key, credentials: &[u8]) -> Result<(), Refusal>;

    /// This node is a member no more. Nothing where it was none.
    fn leave(&mut self, group: Key);

    /// Sends data to all members, through the root; the sender need not be one. `credentials` are for the root only
    /// ([`Upcalls::may_publish`]). Returns the number with which [`Upcalls::published`] tells how it ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] and [`Refusal::TooLarge`].
    fn multicast(&mut self, group: Key, credentials: &[u8], data: &[u8]) -> Result<u64, Refusal>;

    /// Offers data to the members one after the other, those nearby in the tree first, until one takes it
    /// ([`Upcalls::anycast`]). Returns the number with which [`Upcalls::anycast_ended`] tells how it ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] and [`Refusal::TooLarge`].
    fn anycast(&mut self, group: Key, data: &[u8]) -> Result<u64, Refusal>;
}

/// Why a node does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The rules of the group do not allow it.
    Forbidden,
    /// There is a group of this key, of another creator.
    Exists,
    /// No member took it.
    NoTaker,
    /// A table is full: here, or at the root.
    Full,
    /// The data, credentials or rules are longer than allowed.
    TooLarge,
    /// No answer within the deadline, or nobody to ask.
    Unreachable,
    /// The root could not keep the group's record.
    Storage,
}

impl Refusal {
    pub(crate) const ALL: [Refusal; 7] = [
        Refusal::Forbidden,
        Refusal::Exists,
        Refusal::NoTaker,
        Refusal::Full,
        Refusal::TooLarge,
        Refusal::Unreachable,
        Refusal::Storage,
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Option<Refusal> {
        Refusal::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Forbidden => "the group's rules do not allow it",
            Refusal::Exists => "there is a group of this key, of another creator",
            Refusal::NoTaker => "no member takes it",
            Refusal::Full => "there is no room",
            Refusal::TooLarge => "it is too large",
            Refusal::Unreachable => "the group's root does not answer",
            Refusal::Storage => "the group's root cannot store the group",
        })
    }
}

impl core::error::Error for Refusal {}
