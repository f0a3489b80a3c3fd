//! What local programs read.

use core::time::Duration;
use std::collections::BTreeMap;

use prost_peerlet::time::Instant;
use prost_peerlet::{Inbox, Key, cbor};
use prost_scribe_api::Item;

/// Subscriptions at most, and what waits for each.
const MOST: usize = 32;
const ITEMS: usize = 512;
const BYTES: usize = 256 << 10;
/// Who reads nothing for so long has gone.
const IDLE: Duration = Duration::from_secs(60);

pub(crate) struct Subscription {
    pub(crate) group: Key,
    pub(crate) takes_anycast: bool,
    pub(crate) inbox: Inbox,
    read: Instant,
}

/// The subscriptions of this node, by number.
#[derive(Default)]
pub(crate) struct Subscriptions {
    open: BTreeMap<u64, Subscription>,
}

impl Subscriptions {
    pub(crate) fn open(&mut self, number: u64, group: Key, takes_anycast: bool) -> bool {
        if self.open.len() >= MOST {
            return false;
        }
        let inbox = Inbox::new(ITEMS, BYTES);
        self.open.insert(number, Subscription { group, takes_anycast, inbox, read: Instant::now() });
        true
    }

    /// The subscription, which somebody reads.
    pub(crate) fn read(&mut self, number: u64) -> Option<&mut Subscription> {
        let subscription = self.open.get_mut(&number)?;
        subscription.read = Instant::now();
        Some(subscription)
    }

    pub(crate) fn of(&self, group: Key) -> Vec<u64> {
        self.open.iter().filter(|(_, subscription)| subscription.group == group).map(|(number, _)| *number).collect()
    }

    /// An item for all subscriptions of a group.
    pub(crate) fn push(&mut self, group: Key, item: &Item) {
        let item = cbor::encode(item);
        for subscription in self.open.values_mut().filter(|subscription| subscription.group == group) {
            subscription.inbox.push(item.clone());
        }
    }

    /// An item for one subscription that takes it. False where none does.
    pub(crate) fn offer(&mut self, group: Key, item: &Item) -> bool {
        let takes = |subscription: &&mut Subscription| subscription.group == group && subscription.takes_anycast;
        let Some(subscription) = self.open.values_mut().find(takes) else { return false };
        subscription.inbox.push(cbor::encode(item));
        true
    }

    /// Ends one. Whoever waits is answered.
    pub(crate) fn close(&mut self, number: u64) -> bool {
        let Some(mut subscription) = self.open.remove(&number) else { return false };
        subscription.inbox.release();
        true
    }

    /// A timer has run out.
    pub(crate) fn due(&mut self, timer: u64) {
        for subscription in self.open.values_mut() {
            subscription.inbox.due(timer);
        }
    }

    /// Ends those that nobody reads; gives the groups that nobody here is subscribed to any more.
    pub(crate) fn sweep(&mut self) -> Vec<Key> {
        let is_idle =
            |subscription: &Subscription| !subscription.inbox.is_read() && (subscription.read + IDLE).has_come();
        let idle: Vec<(u64, Key)> =
            self.open.iter().filter(|(_, it)| is_idle(it)).map(|(number, it)| (*number, it.group)).collect();
        for (number, _) in &idle {
            self.close(*number);
        }
        idle.into_iter().map(|(_, group)| group).filter(|group| self.of(*group).is_empty()).collect()
    }
}
