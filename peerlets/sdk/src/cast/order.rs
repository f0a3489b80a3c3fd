//! Frames in the order of the root: those that come early wait for those before them.

use std::collections::BTreeMap;

use super::{Frame, Sequence};

/// Frames that wait, and their bytes, at most.
const FRAMES: usize = 64;
const BYTES: usize = 256 << 10;

/// What a member holds back.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The place of the last frame that was given out.
    last: Option<Sequence>,
    held: BTreeMap<Sequence, Frame>,
    bytes: usize,
}

impl Order {
    /// A frame has come: those that can be given out, in order. One before the last that was given out is dropped.
    pub(super) fn accept(&mut self, frame: Frame) -> Vec<Frame> {
        if self.last.is_some_and(|last| frame.sequence <= last) {
            return Vec::new();
        }
        self.bytes += frame.data.len();
        if let Some(again) = self.held.insert(frame.sequence, frame) {
            self.bytes -= again.data.len();
        }
        let mut out = self.take(false);
        while self.held.len() > FRAMES || self.bytes > BYTES {
            out.append(&mut self.take(true));
        }
        out
    }

    /// Whether frames wait.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether those that wait are the first of another root.
    pub(super) fn is_of_another_root(&self) -> bool {
        let next = self.held.first_key_value().map(|(at, _)| at);
        next.is_some_and(|at| at.number == 0 && self.last.is_some_and(|last| last.epoch != at.epoch))
    }

    /// The frames before those that wait will not come: gives these out up to the next gap.
    pub(super) fn give_up(&mut self) -> Vec<Frame> {
        self.take(true)
    }

    fn take(&mut self, skip: bool) -> Vec<Frame> {
        let mut out = Vec::new();
        while let Some(entry) = self.held.first_entry() {
            let at = *entry.key();
            let follows = match self.last {
                Some(last) => last.epoch == at.epoch && last.number + 1 == at.number,
                None => true,
            };
            if !(follows || skip && out.is_empty()) {
                break;
            }
            let frame = entry.remove();
            self.bytes -= frame.data.len();
            self.last = Some(at);
            out.push(frame);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_id;

    fn frame(epoch: u64, number: u64) -> Frame {
        Frame { sequence: Sequence { epoch, number }, publisher: node_id("p"), number, data: vec![0; 10] }
    }

    fn places(frames: Vec<Frame>) -> Vec<(u64, u64)> {
        frames.into_iter().map(|frame| (frame.sequence.epoch, frame.sequence.number)).collect()
    }

    #[test]
    fn what_comes_early_waits_and_what_comes_late_is_dropped() {
        let mut order = Order::default();
        assert_eq!(places(order.accept(frame(1, 5))), [(1, 5)]);
        assert_eq!(places(order.accept(frame(1, 7))), []);
        assert_eq!(places(order.accept(frame(1, 6))), [(1, 6), (1, 7)]);
        assert_eq!(places(order.accept(frame(1, 6))), []);
        assert_eq!(places(order.accept(frame(2, 0))), []);
        assert!(order.is_waiting());
        assert_eq!(places(order.give_up()), [(2, 0)]);
        assert_eq!(places(order.accept(frame(1, 8))), []);
        assert_eq!(places(order.accept(frame(2, 1))), [(2, 1)]);
    }

    #[test]
    fn no_more_than_a_bound_waits() {
        let mut order = Order::default();
        order.accept(frame(1, 0));
        for number in 0..1000 {
            order.accept(frame(1, 2 * number + 2));
            assert!(order.held.len() <= FRAMES);
        }
    }
}
