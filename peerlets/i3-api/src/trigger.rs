//! Triggers, and the constraints that keep others from hijacking an id and everybody from building loops.

use minicbor::{Decode, Encode};

use crate::id::{HalfKey, I3Id, MIN_MATCH, digest};
use crate::packet::{Address, MAX_STACK};

/// Labels that tell the two one-way functions of constraints apart.
const LEFT: &str = "i3 left constraint\0";
const RIGHT: &str = "i3 right constraint\0";

/// What a node does with a packet that matches a trigger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Target {
    /// Hands it to an end host. The secret is what the trigger's constraint binds.
    #[n(0)]
    Host {
        /// Where the host is.
        #[n(0)]
        address: Address,
        /// The preimage of the id's key, or its image: see [`Trigger::constraint`].
        #[cbor(n(1), with = "minicbor::bytes")]
        secret: HalfKey,
    },
    /// Puts these ids in the place of the one that matched.
    #[n(1)]
    Stack(#[n(0)] Vec<I3Id>),
}

/// How many packets a trigger may take: a token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Rate {
    /// Packets a second.
    #[n(0)]
    pub per_second: u32,
    /// Packets at once.
    #[n(1)]
    pub burst: u32,
}

impl Rate {
    /// What a node grants a trigger at most, and to one that does not say.
    pub const MOST: Rate = Rate { per_second: 1000, burst: 1000 };

    /// What a node grants a trigger that asks for this.
    #[must_use]
    pub fn granted(asked: Option<Rate>) -> Rate {
        let Rate { per_second, burst } = asked.unwrap_or(Rate::MOST);
        Rate { per_second: per_second.clamp(1, Rate::MOST.per_second), burst: burst.clamp(1, Rate::MOST.burst) }
    }
}

/// Packets to ids that match `id` go to `target`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Trigger {
    /// Which packets.
    #[n(0)]
    pub id: I3Id,
    /// Leading bits in which a packet must agree; never fewer than [`MIN_MATCH`].
    #[n(1)]
    pub prefix_len: u16,
    /// What becomes of them.
    #[n(2)]
    pub target: Target,
    /// The limit that its owner wishes; none takes the node's.
    #[n(3)]
    pub rate: Option<Rate>,
}

/// Which constraint a trigger satisfies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// The id's key is the left image of the target: who does not know the preimage cannot point the id elsewhere.
    Left,
    /// The target's key is the right image of the id: who does not know the id cannot aim it there. For private ids only,
    /// as a public id is known to all.
    Right,
}

impl Trigger {
    /// The constraint that it satisfies; none where it must be refused.
    ///
    /// For a trigger from x to y either x.key = l(y) or y.key = r(x), where an end host's key is its secret, and in x.key
    /// = l(y) for it as well. A chain of such triggers that returned to its start would need a preimage of l or r.
    /// Unlike in the authors' implementation, l covers the whole stack, so that nobody can replace what follows its head.
    pub fn constraint(&self) -> Option<Constraint> {
        if self.id.key() == left_image(&self.target) {
            return Some(Constraint::Left);
        }
        let bound = match &self.target {
            Target::Host { secret, .. } => *secret,
            Target::Stack(ids) => ids.first()?.key(),
        };
        (!self.id.is_public() && bound == right_key(&self.id)).then_some(Constraint::Right)
    }

    /// Whether its numbers are within their bounds.
    pub fn is_sound(&self) -> bool {
        let stack = match &self.target {
            Target::Host { .. } => true,
            Target::Stack(ids) => (1..=MAX_STACK).contains(&ids.len()),
        };
        stack && self.prefix_len <= 8 * I3Id::LEN as u16
    }

    /// In how many leading bits a packet's id agrees; none where that is too few.
    pub fn matches(&self, packet: &I3Id) -> Option<u16> {
        let bits = self.id.common_bits(packet);
        (bits >= self.prefix_len.max(MIN_MATCH)).then_some(bits)
    }
}

/// The key of an id whose triggers only the holder of `secret` can insert.
pub fn left_key(secret: &HalfKey) -> HalfKey {
    digest(LEFT, &[&[0], secret])
}

/// The key of an id that can only be made to point to this stack.
pub fn left_key_of_stack(ids: &[I3Id]) -> HalfKey {
    let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    digest(LEFT, &[&[1], &bytes])
}

/// The key that a target must have for a private id to point to it without a left constraint.
pub fn right_key(id: &I3Id) -> HalfKey {
    digest(RIGHT, &[id.as_bytes()])
}

fn left_image(target: &Target) -> HalfKey {
    match target {
        Target::Host { secret, .. } => left_key(secret),
        Target::Stack(ids) => left_key_of_stack(ids),
    }
}

#[cfg(test)]
mod tests {
    use prost_peerlet::Id;

    use super::*;

    fn host(secret: HalfKey) -> Target {
        Target::Host { address: Address { node: Id::ZERO, endpoint: 1 }, secret }
    }

    fn trigger(id: I3Id, target: Target) -> Trigger {
        Trigger { id, prefix_len: 0, target, rate: None }
    }

    #[test]
    fn who_has_the_preimage_may_point_a_public_id_to_a_host_and_nobody_else() {
        let id = I3Id::of(true, 5, left_key(&[7; 16]), 0);
        assert_eq!(trigger(id, host([7; 16])).constraint(), Some(Constraint::Left));
        assert_eq!(trigger(id, host([8; 16])).constraint(), None);
        assert_eq!(trigger(id, host(right_key(&id))).constraint(), None, "a public id is known to all");
        assert_eq!(trigger(id, Target::Stack(vec![I3Id::of(false, 1, right_key(&id), 0)])).constraint(), None);
    }

    #[test]
    fn who_knows_a_private_id_may_point_it_to_its_right_image() {
        let id = I3Id::of(false, 5, [1; 16], 0);
        assert_eq!(trigger(id, host(right_key(&id))).constraint(), Some(Constraint::Right));
        let next = I3Id::of(true, 9, right_key(&id), 3);
        assert_eq!(trigger(id, Target::Stack(vec![next])).constraint(), Some(Constraint::Right));
        assert_eq!(trigger(next, Target::Stack(vec![id])).constraint(), None, "and not back");
    }

    #[test]
    fn the_whole_stack_is_bound_so_that_its_end_cannot_be_replaced() {
        let (service, mine, others) = (I3Id::from_bytes([3; 32]), I3Id::from_bytes([4; 32]), I3Id::from_bytes([6; 32]));
        let id = I3Id::of(true, 5, left_key_of_stack(&[service, mine]), 0);
        assert_eq!(trigger(id, Target::Stack(vec![service, mine])).constraint(), Some(Constraint::Left));
        assert_eq!(trigger(id, Target::Stack(vec![service, others])).constraint(), None);
        assert_eq!(trigger(id, Target::Stack(vec![service])).constraint(), None);
    }

    #[test]
    fn a_loop_of_two_needs_what_cannot_be_had() {
        // Each id's key would have to be the image of the other, so the first is made for a second that then differs.
        let second = I3Id::of(false, 2, [0; 16], 0);
        let first = I3Id::of(false, 1, left_key_of_stack(&[second]), 0);
        let closed = I3Id::of(false, 2, left_key_of_stack(&[first]), 0);
        assert!(trigger(first, Target::Stack(vec![second])).constraint().is_some());
        assert!(trigger(second, Target::Stack(vec![first])).constraint().is_none());
        assert!(trigger(closed, Target::Stack(vec![first])).constraint().is_some());
        assert!(trigger(first, Target::Stack(vec![closed])).constraint().is_none());
        let itself = I3Id::of(false, 1, right_key(&first), 0);
        assert!(trigger(itself, Target::Stack(vec![itself])).constraint().is_none());
    }
}
