//! All channels of a node, as the tree calls them.

use std::collections::{BTreeMap, BTreeSet};

use prost_p2ptv_api::Opened;
use prost_peerlet::cast::{Frame, Refusal, Upcalls};
use prost_peerlet::{Key, NodeId, cbor, client, route};

use crate::channel::{Channel, Via};
use crate::segment::{Claim, Signed, source_of};
use crate::source::{Broadcast, NOT_OURS};

/// Channels at most, and bytes of all buffers together, of which each has its share, and of one buffer.
pub(crate) const CHANNELS: usize = 64;
const BYTES: usize = 24 << 20;
const BUFFER: usize = 8 << 20;

#[derive(Debug, Default)]
pub(crate) struct Channels {
    pub(crate) all: BTreeMap<Key, Channel>,
    /// Streams that begin once the root has noted whose the channel is: the question, and the channel.
    pub(crate) opening: BTreeMap<u64, (u64, Key)>,
    /// Channels of which something is to be asked at once.
    pub(crate) urgent: BTreeSet<Key>,
}

impl Channels {
    /// The channel, which is made where there is room.
    pub(crate) fn enter(&mut self, key: Key) -> Option<&mut Channel> {
        if self.all.len() >= CHANNELS && !self.all.contains_key(&key) {
            return None;
        }
        Some(self.all.entry(key).or_insert_with(|| Channel::new(key)))
    }

    /// Bytes for the buffer of one channel.
    pub(crate) fn room(&self) -> usize {
        BUFFER.min(BYTES / self.all.len().max(1))
    }
}

impl Upcalls for Channels {
    fn delivered(&mut self, key: Key, frame: &Frame) {
        let room = self.room();
        if let Some(channel) = self.all.get_mut(&key) {
            channel.accept(&frame.data, Via::Tree, room);
        }
    }

    /// A channel belongs to who creates it; that is its source's to prove.
    fn may_create(&mut self, key: Key, creator: NodeId, rules: &[u8], credentials: &[u8]) -> bool {
        let is_proven = cbor::decode::<Claim>(credentials).is_ok_and(|claim| claim.is_of(key, creator));
        is_proven && source_of(rules) == Some(creator)
    }

    /// Only what the channel's source has signed goes down the tree.
    fn may_publish(&mut self, key: Key, rules: Option<&[u8]>, _: NodeId, _: &[u8], data: &[u8]) -> bool {
        let source = rules.and_then(source_of);
        let source = source.or_else(|| self.all.get(&key).and_then(|channel| channel.source));
        Signed::read(data)
            .is_some_and(|(signed, _)| source.is_none_or(|source| source == signed.source) && signed.is_proven(key))
    }

    fn created(&mut self, number: u64, outcome: Result<(), Refusal>) {
        let Some((request, key)) = self.opening.remove(&number) else { return };
        let source = route::myself();
        let outcome = outcome.map_err(|refusal| match refusal {
            Refusal::Exists => NOT_OURS.to_owned(),
            other => other.to_string(),
        });
        let opened = outcome.and_then(|()| {
            let channel = self.enter(key).ok_or("this node has too many channels")?;
            channel.source = Some(source);
            let broadcast = channel.broadcast.insert(Broadcast::new(channel.stream.id));
            Ok(Opened { stream: broadcast.stream, source })
        });
        let _ = match opened {
            Ok(opened) => client::respond(request, Ok(&cbor::encode(&opened))),
            Err(reason) => client::respond(request, Err(&reason)),
        };
    }

    fn published(&mut self, number: u64, outcome: Result<(), Refusal>) {
        let mine = self.all.values_mut().filter_map(|channel| channel.broadcast.as_mut());
        let Some(broadcast) = mine.into_iter().find(|broadcast| broadcast.under_way.contains_key(&number)) else {
            return;
        };
        broadcast.published(number, outcome);
    }

    fn parent_changed(&mut self, key: Key, _: Option<NodeId>) {
        if let Some(channel) = self.all.get_mut(&key) {
            channel.reattached();
            self.urgent.insert(key);
        }
    }

    /// addReceiver: what comes is passed on to one more.
    fn child_added(&mut self, key: Key, child: NodeId) {
        if let Some(channel) = self.enter(key) {
            channel.children.insert(child);
        }
    }

    fn child_removed(&mut self, key: Key, child: NodeId) {
        if let Some(channel) = self.all.get_mut(&key) {
            channel.children.remove(&child);
        }
    }
}
