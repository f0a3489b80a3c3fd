//! What is missing is asked for from the parent, which has it in its buffer or asks its own, up to the source.
//!
//! A node whose parent is silent asks those beyond it too, the nearest first, so that a stream goes on while the tree is
//! being mended.

use core::time::Duration;

use prost_peerlet::time::Instant;
use prost_peerlet::{NodeId, route};

use crate::channel::Channel;
use crate::message::{GO, Repair};

/// Who asks for what comes is given it for so long: until it asks again, and not much longer, as the tree may work again.
const ASKED_FOR: Duration = Duration::from_millis(1000);
/// Nodes that are given what comes at most, besides children.
const ASKERS: usize = 32;
/// The tree is silent when nothing new has come down it for two segments, and at least for this long.
const SILENCE: Duration = Duration::from_millis(900);
/// Between two questions of a node that hears nothing. Later the questions are as far apart as [`SELDOM`].
const AGAIN: Duration = Duration::from_millis(750);
const SELDOM: Duration = Duration::from_secs(4);
const OFTEN: usize = 12;

impl Channel {
    /// Time has passed, or there is another parent: asks for what is missing. `above` are the nodes that may have it, the
    /// parent first, the source last.
    pub(crate) fn ask(&mut self, above: &[NodeId]) {
        self.stream.give_up();
        self.advance();
        let is_silent = self.is_silent();
        if above.is_empty() || self.is_source() {
            return;
        }
        let numbers = self.stream.ask_for(GO);
        if numbers.is_empty() && !is_silent {
            return;
        }
        if is_silent {
            self.asked = Some(Instant::now());
        }
        self.attempts += usize::from(!self.is_answered);
        self.is_answered = false;
        let Some(to) = above.get(self.attempts % above.len()) else { return };
        let rewind = self.watchers.values().map(|watcher| watcher.rewind).max().unwrap_or(1);
        let from = is_silent.then_some(if self.stream.id == 0 { u64::MAX } else { self.stream.next });
        Repair::Want { channel: self.key, stream: self.stream.id, numbers, from, rewind }.send(*to);
    }

    /// Whether nothing has come down the tree for too long, and it is time to ask.
    fn is_silent(&self) -> bool {
        let now = Instant::now();
        let patience = if self.attempts < OFTEN { AGAIN } else { SELDOM };
        let is_quiet = self.stream.id == 0 || now.since(self.heard) >= SILENCE.max(2 * self.duration);
        is_quiet && self.stream.last.is_none() && self.asked.is_none_or(|asked| now.since(asked) >= patience)
    }

    /// There is another parent, which may have what the one before did not send.
    pub(crate) fn reattached(&mut self) {
        self.stream.ask_anew();
        self.asked = None;
        self.attempts = 0;
        self.is_answered = true;
        self.heard = self.heard - SILENCE.max(2 * self.duration);
    }

    /// Another node asks. Gives what is here, and remembers the rest until it comes.
    pub(crate) fn on_want(&mut self, asker: NodeId, stream: u64, numbers: &[u64], from: Option<u64>, rewind: u32) {
        let is_known = stream == self.stream.id && stream > 0;
        let mut give = Vec::new();
        let mut gone = Vec::new();
        for number in numbers.iter().copied().filter(|_| is_known) {
            match self.stream.get(number) {
                Some(segment) => give.push(segment.clone()),
                None if self.is_source() => gone.push(number),
                None => {
                    self.stream.want(number, Some(asker));
                }
            }
        }
        if let Some(from) = from {
            let last = self.stream.next.saturating_sub(u64::from(rewind.clamp(1, GO as u32)));
            let from = if is_known && from < u64::MAX { from } else { last };
            give.extend(self.stream.from(from).map(|(_, segment)| segment.clone()));
            let is_live = self.stream.id > 0 && self.stream.last.is_none();
            if is_live && (self.askers.len() < ASKERS || self.askers.contains_key(&asker)) {
                self.askers.insert(asker, Instant::now() + ASKED_FOR);
            }
        }
        give.truncate(GO);
        self.counts.given += give.len() as u64;
        for segment in give {
            Repair::Give { channel: self.key, segment }.send(asker);
        }
        if !gone.is_empty() {
            Repair::Gone { channel: self.key, stream, numbers: gone }.send(asker);
        }
    }

    /// Somebody says that nobody has these. Believed of those only that this node asks.
    pub(crate) fn on_gone(&mut self, stream: u64, numbers: &[u64]) {
        if stream != self.stream.id {
            return;
        }
        for number in numbers {
            for waiter in self.stream.gone(*number).into_iter().filter(|waiter| *waiter != route::myself()) {
                Repair::Gone { channel: self.key, stream, numbers: vec![*number] }.send(waiter);
            }
        }
        self.advance();
    }
}
