//! What an application asks of a tree: the common API, and how things are.

use super::tree::{Asked, Tree};
use super::wire::Ask;
use super::{CREDENTIALS, Cast, DATA, Refusal, Settings, Upcalls};
use crate::cbor::{self, Bytes};
use crate::questions::Target;
use crate::{Key, NodeId, random};

impl<A: Upcalls> Tree<A> {
    /// Whom this node gets the group's frames from; none at the root, and where it looks for one.
    pub fn parent(&self, group: Key) -> Option<NodeId> {
        self.groups.get(&group)?.parent
    }

    /// Whom it sends them to.
    pub fn children(&self, group: Key) -> Vec<NodeId> {
        self.groups.get(&group).map_or_else(Vec::new, |group| group.children.keys().copied().collect())
    }

    /// The way to the root as last heard: the root first, the parent last. Empty at the root.
    pub fn path(&self, group: Key) -> Vec<NodeId> {
        self.groups.get(&group).map_or_else(Vec::new, |group| group.path.clone())
    }

    /// Whether this node is the group's root, as far as it knows.
    pub fn is_root(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_root)
    }

    /// Whether this node is a member.
    pub fn is_member(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.membership.is_some())
    }

    /// Whether the way from this node to the root is whole, as far as it knows.
    pub fn is_attached(&self, group: Key) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_root || group.rooted && group.parent.is_some())
    }

    /// The group's rules, where this node knows them.
    pub fn rules(&self, group: Key) -> Option<&[u8]> {
        self.groups.get(&group)?.rules()
    }

    /// Groups that this node has an entry for, as a member, on the way of others, or as the root.
    pub fn groups(&self) -> Vec<Key> {
        self.groups.keys().copied().collect()
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl<A: Upcalls> Cast for Tree<A> {
    fn join(&mut self, group: Key, credentials: &[u8]) -> Result<(), Refusal> {
        within(CREDENTIALS, credentials)?;
        if !self.enter(group) {
            return Err(Refusal::Full);
        }
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.membership = Some(credentials.into());
        }
        self.seek(group);
        Ok(())
    }

    fn leave(&mut self, group: Key) {
        if let Some(entry) = self.groups.get_mut(&group) {
            entry.membership = None;
            self.prune(group);
        }
    }

    fn multicast(&mut self, group: Key, credentials: &[u8], data: &[u8]) -> Result<u64, Refusal> {
        within(CREDENTIALS, credentials)?;
        within(DATA, data)?;
        let number = random::number();
        let ask = Ask::Publish { group, number, credentials: credentials.into(), data: data.into() };
        let body = cbor::encode(&ask);
        // The root is known to members: a publication need not be routed to it.
        let known = self.groups.get(&group).filter(|entry| entry.rooted).and_then(|entry| entry.path.first());
        let asked = match known {
            Some(root) => {
                let about = Asked::Publish { group, number, body: Some(body.clone()) };
                self.direct.ask(Target::Node(*root), &body, about)
            }
            None => self.questions.ask(Target::Key(group), &body, Asked::Publish { group, number, body: None }),
        };
        asked.map(|_| number).map_err(|_| Refusal::Full)
    }

    fn anycast(&mut self, group: Key, data: &[u8]) -> Result<u64, Refusal> {
        within(DATA, data)?;
        self.start_search(group, Bytes::from(data))
    }
}

pub(super) fn within(most: usize, bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > most { Err(Refusal::TooLarge) } else { Ok(()) }
}
