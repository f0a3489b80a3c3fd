//! Scribe's tree.

use super::{Cast, Refusal, Settings, Upcalls};
use crate::{Change, Failure, Key, Message, NodeId, Verdict};

/// The groups of this node. `channel` tells its messages from the application's others: it is the first byte.
#[derive(Debug)]
pub struct Tree<A> {
    /// The application, which the tree calls.
    pub app: A,
    channel: u8,
    settings: Settings,
}

impl<A: Upcalls> Tree<A> {
    /// No groups yet. The channel and the one after it are the tree's.
    pub fn new(channel: u8, settings: Settings, app: A) -> Tree<A> {
        Tree { app, channel, settings }
    }

    /// Creates a group: its root keeps these rules, with the keyed records of the group, and says whose they are to whoever
    /// asks for them ([`Upcalls`]). A group needs no creation where the application asks for no rules. Its creator may
    /// create it again, with other rules. Returns the number with which [`Upcalls::created`] tells how it ended.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] and [`Refusal::TooLarge`].
    pub fn create(&mut self, group: Key, rules: &[u8], credentials: &[u8]) -> Result<u64, Refusal> {
        let _ = (group, rules, credentials);
        Err(Refusal::Full)
    }

    /// Hand every `deliver` in. False where the message is none of the tree's.
    pub fn deliver(&mut self, message: &Message) -> bool {
        message.payload.first() == Some(&self.channel)
    }

    /// Hand every `forward` in. None where the message is none of the tree's.
    pub fn forward(&mut self, message: &Message) -> Option<Verdict> {
        (message.payload.first() == Some(&self.channel)).then_some(Verdict::Pass)
    }

    /// Hand every `fired` in.
    pub fn fired(&mut self, timer: u64) {
        let _ = timer;
    }

    /// Hand every `failed` in. False where the message was none of the tree's.
    pub fn failed(&mut self, message: u64, reason: Failure) -> bool {
        let _ = (message, reason);
        false
    }

    /// Hand every `update` in.
    pub fn update(&mut self, change: &Change) {
        let _ = change;
    }

    /// Whom this node gets the group's frames from; none at the root, and where it looks for one.
    pub fn parent(&self, group: Key) -> Option<NodeId> {
        let _ = group;
        None
    }

    /// Whom it sends them to.
    pub fn children(&self, group: Key) -> Vec<NodeId> {
        let _ = group;
        Vec::new()
    }

    /// The way to the root as last heard: the root first, the parent last. Empty at the root.
    pub fn path(&self, group: Key) -> Vec<NodeId> {
        let _ = group;
        Vec::new()
    }

    /// Whether this node is the group's root, as far as it knows.
    pub fn is_root(&self, group: Key) -> bool {
        let _ = group;
        false
    }

    /// Whether this node is a member.
    pub fn is_member(&self, group: Key) -> bool {
        let _ = group;
        false
    }

    /// Groups that this node has an entry for, as a member, on the way of others, or as the root.
    pub fn groups(&self) -> Vec<Key> {
        Vec::new()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl<A: Upcalls> Cast for Tree<A> {
    fn join(&mut self, _group: Key, _credentials: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::Full)
    }

    fn leave(&mut self, _group: Key) {}

    fn multicast(&mut self, _group: Key, _credentials: &[u8], _data: &[u8]) -> Result<u64, Refusal> {
        Err(Refusal::Full)
    }

    fn anycast(&mut self, _group: Key, _data: &[u8]) -> Result<u64, Refusal> {
        Err(Refusal::Full)
    }
}
