//! P2PTV: one source streams to many receivers, and every hop duplicates.
//!
//! A channel is a ring key, the SHA-1 of its name. Whoever watches sends `addReceiver` towards that key, a message of type 0:
//! the first node on its way that passes the channel on takes the receiver and ends the message, and one that did not pass
//! it on yet does so from then on, and is a receiver itself. The source's segments go to the node responsible for the key, and
//! from there along those paths in reverse. That is a tree of the kit's [`cast`](prost_peerlet::cast); what is here is the
//! stream: segments that are signed, kept for a while and given again, in order, to programs that play them.

mod channel;
mod channels;
mod message;
mod repair;
mod segment;
mod serve;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod watcher;

use core::time::Duration;

use prost_p2ptv_api::Stats;
use prost_peerlet::cast::{Cast, Settings, Tree};
use prost_peerlet::{Change, Failure, Key, Message, NodeId, Peerlet, Request, Result, Timers, Verdict, route};

use channel::Via;
use channels::{CHANNELS, Channels};
use message::{CHANNEL, Repair};

/// How often a channel is looked after.
const TICK: Duration = Duration::from_millis(250);

/// The tree of a stream: its silence is noticed soon, as somebody is watching. What is missing is this application's to
/// repair, from buffers that reach further back than the tree's.
const TREE: Settings = Settings {
    heartbeat: Duration::from_secs(1),
    silence: Duration::from_millis(2500),
    refresh: Duration::from_secs(10),
    children: 8,
    groups: CHANNELS,
    history: 0,
    ordered: false,
};

/// The peerlet.
pub struct P2ptv {
    tree: Tree<Channels>,
    ticks: Timers<Key>,
}

impl Default for P2ptv {
    fn default() -> P2ptv {
        P2ptv { tree: Tree::new(CHANNEL + 1, TREE, Channels::default()), ticks: Timers::default() }
    }
}

prost_peerlet::peerlet!(P2ptv);

impl Peerlet for P2ptv {
    fn deliver(&mut self, message: Message) -> Result {
        if !self.tree.deliver(&message) {
            self.repair(&message);
        }
        self.settle();
        Ok(())
    }

    fn forward(&mut self, message: Message, _next: NodeId) -> Verdict {
        let verdict = self.tree.forward(&message).unwrap_or(Verdict::Pass);
        self.settle();
        verdict
    }

    fn serve(&mut self, request: Request) -> Result {
        self.answer(request)?;
        self.settle();
        Ok(())
    }

    fn fired(&mut self, timer: u64, _tag: u64) {
        self.tree.fired(timer);
        for channel in self.tree.app.all.values_mut() {
            channel.watchers.values_mut().for_each(|watcher| watcher.inbox.due(timer));
        }
        for key in self.ticks.due(timer) {
            self.tick(key);
        }
        self.settle();
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.tree.failed(message, reason);
        self.settle();
    }

    fn update(&mut self, change: Change) {
        self.tree.update(&change);
        self.settle();
    }
}

impl P2ptv {
    /// A node asks for segments, or gives some.
    fn repair(&mut self, message: &Message) {
        let from = message.previous;
        if message.key.is_some() {
            return;
        }
        match Repair::read(&message.payload) {
            Some(Repair::Want { channel: key, stream, numbers, from: first, rewind }) => {
                if let Some(channel) = self.tree.app.all.get_mut(&key) {
                    channel.on_want(from, stream, &numbers, first, rewind);
                    self.tree.app.urgent.insert(key);
                }
            }
            Some(Repair::Give { channel: key, segment }) => {
                let room = self.tree.app.room();
                if let Some(channel) = self.tree.app.all.get_mut(&key) {
                    channel.accept(&segment, Via::Repair, room);
                }
            }
            Some(Repair::Gone { channel: key, stream, numbers }) => {
                let is_above = self.above(key).contains(&from);
                if let Some(channel) = self.tree.app.all.get_mut(&key).filter(|_| is_above) {
                    channel.on_gone(stream, &numbers);
                }
            }
            None => {}
        }
    }

    /// Who may have what this node misses: the parent, those above it, and the source. While it has no parent, those above
    /// the one that it had.
    fn above(&mut self, key: Key) -> Vec<NodeId> {
        let (myself, path) = (route::myself(), self.tree.path(key));
        let (is_root, is_orphan) = (self.tree.is_root(key), self.tree.parent(key).is_none());
        let Some(channel) = self.tree.app.all.get_mut(&key) else { return Vec::new() };
        if is_root || !path.is_empty() {
            channel.above = path.into_iter().rev().collect();
        }
        let mut above: Vec<NodeId> = channel.above.iter().skip(usize::from(is_orphan)).copied().collect();
        above.extend(channel.source);
        above.retain(|node| *node != myself);
        above.dedup();
        above
    }

    fn tick(&mut self, key: Key) {
        let above = self.above(key);
        let Some(channel) = self.tree.app.all.get_mut(&key) else { return };
        channel.watchers.retain(|_, watcher| !watcher.is_gone());
        if channel.broadcast.as_ref().is_some_and(source::Broadcast::is_over) {
            channel.broadcast = None;
        }
        channel.ask(&above);
        self.publish(key);
    }

    /// Sends the source's segments that are not on their way to the root.
    fn publish(&mut self, key: Key) {
        let Some(channel) = self.tree.app.all.get_mut(&key) else { return };
        let Some(broadcast) = &mut channel.broadcast else { return };
        let ready: Vec<_> = broadcast.ready.iter().map(|at| (*at, channel.stream.get(*at).cloned())).collect();
        for (number, segment) in ready {
            // What is not in the buffer any more is too late.
            let sent = segment.map(|segment| self.tree.multicast(key, &[], &segment));
            let Some(channel) = self.tree.app.all.get_mut(&key) else { return };
            let Some(broadcast) = &mut channel.broadcast else { return };
            match sent {
                Some(Ok(publication)) => _ = broadcast.under_way.insert(publication, number),
                Some(Err(_)) => return,
                None => {}
            }
            broadcast.ready.remove(&number);
        }
    }

    /// After each event: this node is a receiver of what it passes on or shows, and of nothing else.
    fn settle(&mut self) {
        for key in core::mem::take(&mut self.tree.app.urgent) {
            let above = self.above(key);
            if let Some(channel) = self.tree.app.all.get_mut(&key) {
                channel.ask(&above);
            }
        }
        for key in self.tree.app.all.keys().copied().collect::<Vec<_>>() {
            let source = self.tree.rules(key).and_then(segment::source_of);
            let Some(channel) = self.tree.app.all.get_mut(&key) else { continue };
            channel.source = channel.source.or(source);
            let (receives, is_needed) = (channel.receives(), channel.is_needed());
            match (receives, self.tree.is_member(key)) {
                // addReceiver: this node is to get what goes down the tree.
                (true, false) => _ = self.tree.join(key, &[]),
                (false, true) => self.tree.leave(key),
                _ => {}
            }
            if is_needed {
                self.ticks.set_if_idle(key, TICK);
            } else {
                self.ticks.cancel(&key);
                self.tree.app.all.remove(&key);
            }
        }
    }

    /// How this node is part of a channel.
    pub fn stats(&self, key: Key) -> Stats {
        let Some(channel) = self.tree.app.all.get(&key) else { return Stats::default() };
        Stats {
            source: channel.source,
            stream: channel.stream.id,
            next: channel.stream.next,
            ended: channel.stream.is_complete(),
            parent: self.tree.parent(key),
            depth: self.tree.path(key).len() as u32,
            children: channel.children.len() as u32,
            buffered: channel.stream.len() as u32,
            buffered_bytes: channel.stream.bytes as u64,
            counts: channel.counts,
        }
    }
}
