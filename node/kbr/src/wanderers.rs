//! Messages that have gone far, and how often this node has passed each of them on.
//!
//! A hop that is not acknowledged in time is tried again another way while the first copy may be on its way as well. Where
//! many nodes are slow at once, copies meet such nodes again and again, and each copy makes more. So a node passes a message
//! that has gone unusually far on a few times and no more; its origin sends it once more, or ends it at its deadline.

use std::collections::{BTreeMap, VecDeque};

use crate::window::Name;

/// Hops after which a message is counted: more than the way of nearly every message takes, so that these cost nothing.
const FAR: u8 = 8;
/// How often one node passes it on from there.
const MOST: u8 = 4;
/// Messages that are counted at once; where there are more, the first are forgotten.
const MAX_COUNTED: usize = 1024;

/// A bounded table of counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanderers {
    counts: BTreeMap<Name, u8>,
    order: VecDeque<Name>,
}

impl Wanderers {
    /// Whether a message may be passed on after so many hops; notes that it is.
    pub(crate) fn may_go_on(&mut self, name: Name, hops: u8) -> bool {
        if hops <= FAR {
            return true;
        }
        if !self.counts.contains_key(&name) {
            if self.order.len() == MAX_COUNTED
                && let Some(oldest) = self.order.pop_front()
            {
                self.counts.remove(&oldest);
            }
            self.order.push_back(name);
        }
        let count = self.counts.entry(name).or_default();
        *count = count.saturating_add(1);
        *count <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    #[test]
    fn only_messages_that_have_gone_far_are_counted_and_few_times_passed_on() {
        let mut wanderers = Wanderers::default();
        let name = |number: u64| (NodeId::hash(b"origin"), number);
        assert!((0..100).all(|_| wanderers.may_go_on(name(0), FAR)));
        let passed = (0..100).filter(|_| wanderers.may_go_on(name(0), FAR + 1)).count();
        assert_eq!(passed, usize::from(MOST));
        assert!(wanderers.may_go_on(name(1), 64), "another message");
        for number in 2..3000 {
            wanderers.may_go_on(name(number), 64);
        }
        assert_eq!(wanderers.counts.len(), MAX_COUNTED);
        assert_eq!(wanderers.order.len(), MAX_COUNTED);
    }
}
