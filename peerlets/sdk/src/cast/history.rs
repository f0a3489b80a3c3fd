//! The last frames of each group, for children that have missed some.

use std::collections::{BTreeMap, VecDeque};

use super::Sequence;
use crate::Key;

/// Frames of a group, and bytes of all groups, at most.
const FRAMES: usize = 64;
const BYTES: usize = 8 << 20;

/// Whole messages, as they are sent on.
#[derive(Debug, Default)]
pub(super) struct History {
    groups: BTreeMap<Key, Past>,
    /// The group of each frame, in the order in which they came.
    order: VecDeque<Key>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Past {
    frames: VecDeque<(Sequence, Vec<u8>)>,
    bytes: usize,
}

impl History {
    /// Keeps a frame; `most` are the bytes of its group.
    pub(super) fn keep(&mut self, group: Key, sequence: Sequence, payload: &[u8], most: usize) {
        if payload.len() > most {
            return;
        }
        let past = self.groups.entry(group).or_default();
        past.frames.push_back((sequence, payload.to_vec()));
        past.bytes += payload.len();
        self.bytes += payload.len();
        self.order.push_back(group);
        while past.bytes > most || past.frames.len() > FRAMES {
            let Some((_, oldest)) = past.frames.pop_front() else { break };
            past.bytes -= oldest.len();
            self.bytes -= oldest.len();
        }
        // The order has an entry too many for each frame that went early: at worst a frame goes before an older one.
        while self.bytes > BYTES || self.order.len() > BYTES / 64 {
            let Some(oldest) = self.order.pop_front() else { break };
            let Some(past) = self.groups.get_mut(&oldest) else { continue };
            if let Some((_, frame)) = past.frames.pop_front() {
                past.bytes -= frame.len();
                self.bytes -= frame.len();
            }
        }
    }

    /// A frame.
    pub(super) fn get(&self, group: Key, sequence: Sequence) -> Option<&[u8]> {
        let past = self.groups.get(&group)?;
        past.frames.iter().find(|(at, _)| *at == sequence).map(|(_, payload)| payload.as_slice())
    }

    /// The group is gone.
    pub(super) fn forget(&mut self, group: Key) {
        if let Some(past) = self.groups.remove(&group) {
            self.bytes -= past.bytes;
            self.order.retain(|of| *of != group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    #[test]
    fn the_oldest_frames_make_room_within_a_group_and_for_all() {
        let mut history = History::default();
        let at = |number| Sequence { epoch: 1, number };
        let group = Id::hash(b"g");
        for number in 0..10 {
            history.keep(group, at(number), &[0; 100], 350);
        }
        assert!(history.get(group, at(6)).is_none() && history.get(group, at(7)).is_some());
        for other in 0..100u8 {
            history.keep(Id::hash(&[other]), at(0), &[0; 100 << 10], 1 << 20);
        }
        assert!(history.bytes <= BYTES);
        assert!(history.get(Id::hash(&[0]), at(0)).is_none() && history.get(Id::hash(&[99]), at(0)).is_some());
        history.forget(Id::hash(&[99]));
        assert!(history.get(Id::hash(&[99]), at(0)).is_none());
    }
}
