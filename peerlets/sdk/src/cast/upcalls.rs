//! What a tree tells the application, and asks it.

use super::Refusal;
use crate::{Key, NodeId};

/// A place in the order in which a group's root sent its frames. Numbers follow each other within an epoch; an epoch begins
/// when a node becomes the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence {
    /// When the root became the root, on its wall clock, in milliseconds; later than that of the root before.
    pub epoch: u64,
    /// From 0.
    pub number: u64,
}

/// What a publisher sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where the root put it.
    pub sequence: Sequence,
    /// Who published it, as the root says; data that is signed proves more.
    pub publisher: NodeId,
    /// The publisher's number, drawn at random: the same however often a frame comes.
    pub number: u64,
    /// What it said.
    pub data: Vec<u8>,
}

/// The application above a [`Tree`](super::Tree). An upcall may send messages of the application's own; effects of an
/// event are bounded, and a tree takes up to about 200 of them.
pub trait Upcalls {
    /// A frame came for this node, which is a member; once each. Where [`Settings::ordered`](super::Settings::ordered), in
    /// the order of the root.
    fn delivered(&mut self, group: Key, frame: &Frame);

    /// Somebody looks for a member that takes this. True takes it, and ends the search.
    fn anycast(&mut self, group: Key, origin: NodeId, data: &[u8]) -> bool {
        let _ = (group, origin, data);
        false
    }

    /// At the root: whether a node may create the group with these rules. `creator` is a claim unless the credentials prove
    /// it.
    fn may_create(&mut self, group: Key, creator: NodeId, rules: &[u8], credentials: &[u8]) -> bool {
        let _ = (group, creator, rules, credentials);
        true
    }

    /// At a root whose group has no record, as in a part of the ring that is cut off from those who keep it: whether these, of
    /// which a child says so, are the group's rules. Only what the rules themselves prove counts.
    fn are_rules(&mut self, group: Key, rules: &[u8]) -> bool {
        let _ = (group, rules);
        false
    }

    /// At every node that takes a child: whether this member may join. A forwarder shows what a member below it gave.
    /// `rules` are none where nobody has created the group.
    fn may_join(&mut self, group: Key, rules: Option<&[u8]>, member: NodeId, credentials: &[u8]) -> bool {
        let _ = (group, rules, member, credentials);
        true
    }

    /// At the root: whether this node may publish the data. `publisher` is a claim unless the credentials or the data prove
    /// it.
    fn may_publish(
        &mut self,
        group: Key,
        rules: Option<&[u8]>,
        publisher: NodeId,
        credentials: &[u8],
        data: &[u8],
    ) -> bool {
        let _ = (group, rules, publisher, credentials, data);
        true
    }

    /// Children that this node serves in the group at most, 64 at most; the root serves at least two. `usual` is what the
    /// settings say.
    fn capacity(&mut self, group: Key, usual: usize) -> usize {
        let _ = group;
        usual
    }

    /// How [`Tree::create`](super::Tree::create) ended.
    fn created(&mut self, number: u64, outcome: Result<(), Refusal>) {
        let _ = (number, outcome);
    }

    /// How [`Cast::multicast`](super::Cast::multicast) ended: the root has sent it on, or not.
    fn published(&mut self, number: u64, outcome: Result<(), Refusal>) {
        let _ = (number, outcome);
    }

    /// How [`Cast::anycast`](super::Cast::anycast) ended: who took it.
    fn anycast_ended(&mut self, number: u64, outcome: Result<NodeId, Refusal>) {
        let _ = (number, outcome);
    }

    /// This node is attached to the tree by another parent, or, with none, is its root or has lost its parent and looks for
    /// another ([`Tree::is_root`](super::Tree::is_root) tells which, once the event is over).
    fn parent_changed(&mut self, group: Key, parent: Option<NodeId>) {
        let _ = (group, parent);
    }

    /// Another node gets the group's frames from this one now.
    fn child_added(&mut self, group: Key, child: NodeId) {
        let _ = (group, child);
    }

    /// A child has gone, or was sent elsewhere.
    fn child_removed(&mut self, group: Key, child: NodeId) {
        let _ = (group, child);
    }

    /// This node may not be a member, and is none any more.
    fn refused(&mut self, group: Key, reason: Refusal) {
        let _ = (group, reason);
    }
}
