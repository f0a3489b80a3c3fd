//! Tier 1 of the common API, DOLR: decentralised object location and routing (Dabek et al., IPTPS 2003; Hildrum et al.,
//! SPAA 2002).
//!
//! Nodes hold copies of objects, and say so: [`publish`](Dolr::publish) goes towards the object's key and leaves a pointer
//! on every node on its way. A message [to the object](Dolr::send_to_object) goes the same way, and the first node that has a
//! pointer sends it straight to the nearest holders: near a copy, before it comes to the node responsible for the key.
//! Pointers are soft state that holders refresh, so that a new node on the way learns of them and a dead holder is forgotten.
//!
//! How many messages end before the key is a matter of how many ways have a node in common: in a ring whose nodes have many
//! links, and ways of one or two hops, few.
//!
//! Who publishes is only a claim of the message. A holder that is sent something for an object that it does not hold says so,
//! and the pointer goes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use minicbor::{Decode, Encode};

use crate::cbor::{self, Bytes};
use crate::route::{self, RouteError};
use crate::soft_state::{Full, SoftState};
use crate::timers::Timers;
use crate::{Key, Message, NodeId, Verdict};

/// How often a holder publishes again, and how long a pointer lasts: two may be lost.
pub const REFRESH: Duration = Duration::from_secs(30);
/// See [`REFRESH`].
pub const LASTS: Duration = Duration::from_secs(100);
/// Objects that a node publishes at most.
pub const MAX_OBJECTS: usize = 1_024;
/// Pointers that a node keeps for others at most.
pub const MAX_POINTERS: usize = 16_384;
/// Holders of one object that a node knows at most.
pub const MAX_HOLDERS: usize = 16;

/// The calls of the tier.
pub trait Dolr {
    /// This node holds the object, and says so until it [unpublishes](Dolr::unpublish) it.
    ///
    /// # Errors
    ///
    /// [`Full`] where it publishes [`MAX_OBJECTS`].
    fn publish(&mut self, object: Key) -> Result<(), Full>;

    /// It holds the object no more.
    fn unpublish(&mut self, object: Key);

    /// Sends `data` to the nearest holders of an object, `count` of them or as many as the first node knows that knows any.
    /// Returns the number of the message, which comes back in [`Arrived::NoHolder`] where nobody holds the object.
    ///
    /// # Errors
    ///
    /// What the node says.
    fn send_to_object(&mut self, object: Key, count: u8, data: &[u8]) -> Result<u64, RouteError>;
}

/// What a message was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrived {
    /// Something for an object that this node holds.
    ForObject {
        /// Which.
        object: Key,
        /// Who sent it, as the message claims.
        from: NodeId,
        /// What.
        data: Vec<u8>,
    },
    /// Nobody holds the object that this node sent something to.
    NoHolder {
        /// What [`send_to_object`](Dolr::send_to_object) returned.
        number: u64,
        /// Which.
        object: Key,
    },
    /// The tier's own business.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
enum Word {
    #[n(0)]
    Publish,
    #[n(1)]
    Unpublish,
    #[n(2)]
    Send {
        #[n(0)]
        number: u64,
        #[n(1)]
        count: u8,
        #[n(2)]
        data: Bytes,
    },
    /// Straight to a holder.
    #[n(3)]
    Deliver {
        #[n(0)]
        object: Key,
        #[n(1)]
        from: NodeId,
        #[n(2)]
        data: Bytes,
    },
    /// Straight back: this node does not hold it.
    #[n(4)]
    NotHere {
        #[n(0)]
        object: Key,
    },
    /// Straight to the origin.
    #[n(5)]
    NoHolder {
        #[n(0)]
        number: u64,
        #[n(1)]
        object: Key,
    },
}

/// The objects that this node publishes, and the pointers that it keeps for others.
#[derive(Debug)]
pub struct Pointers {
    channel: u8,
    objects: BTreeSet<Key>,
    pointers: SoftState<(Key, NodeId), ()>,
    /// Holders of each object for which there are pointers.
    holders: BTreeMap<Key, BTreeSet<NodeId>>,
    timers: Timers<Key>,
    numbers: u64,
}

impl Pointers {
    /// Nothing yet. `channel` is the first byte of the tier's messages.
    pub fn new(channel: u8) -> Pointers {
        Pointers {
            channel,
            objects: BTreeSet::new(),
            pointers: SoftState::new(MAX_POINTERS),
            holders: BTreeMap::new(),
            timers: Timers::default(),
            numbers: 0,
        }
    }

    /// A message has arrived: none where it is not of this tier.
    pub fn deliver(&mut self, message: &Message) -> Option<Arrived> {
        let word = self.read(&message.payload)?;
        let Some(object) = message.key else { return Some(self.told(message.previous, word)) };
        match word {
            Word::Send { number, count, data } => {
                if !self.pass_to_holders(object, message.origin, count, &data) {
                    self.say(message.origin, &Word::NoHolder { number, object });
                }
            }
            word => self.point(object, message.origin, &word),
        }
        Some(Arrived::Nothing)
    }

    /// A message of type 0 passes.
    pub fn forward(&mut self, message: &Message) -> Verdict {
        let (Some(object), Some(word)) = (message.key, self.read(&message.payload)) else { return Verdict::Pass };
        match word {
            Word::Send { count, data, .. } if self.pass_to_holders(object, message.origin, count, &data) => {
                Verdict::Stop
            }
            Word::Send { .. } => Verdict::Pass,
            word => {
                self.point(object, message.origin, &word);
                Verdict::Pass
            }
        }
    }

    /// A timer has run out.
    pub fn due(&mut self, timer: u64) {
        for object in self.timers.due(timer) {
            self.announce(object);
        }
    }

    /// The objects that this node publishes.
    pub fn objects(&self) -> impl Iterator<Item = Key> + '_ {
        self.objects.iter().copied()
    }

    /// Pointers that this node keeps, those included that have expired since the last message.
    pub fn len(&self) -> usize {
        self.pointers.len()
    }

    /// Whether it keeps none.
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    fn told(&mut self, by: NodeId, word: Word) -> Arrived {
        match word {
            Word::Deliver { object, from, data } if self.objects.contains(&object) => {
                return Arrived::ForObject { object, from, data: data.0 };
            }
            Word::Deliver { object, .. } => self.say(by, &Word::NotHere { object }),
            Word::NotHere { object } => self.forget(object, by),
            Word::NoHolder { number, object } => return Arrived::NoHolder { number, object },
            Word::Publish | Word::Unpublish | Word::Send { .. } => {}
        }
        Arrived::Nothing
    }

    /// A holder says that it holds an object, or that it does no more.
    fn point(&mut self, object: Key, holder: NodeId, word: &Word) {
        self.expire();
        match word {
            Word::Unpublish => self.forget(object, holder),
            Word::Publish => {
                let known = self.holders.entry(object).or_default();
                if known.len() < MAX_HOLDERS || known.contains(&holder) {
                    known.insert(holder);
                    if self.pointers.insert((object, holder), (), LASTS).is_err() {
                        self.forget(object, holder);
                    }
                }
                if self.holders.get(&object).is_some_and(BTreeSet::is_empty) {
                    self.holders.remove(&object);
                }
            }
            _ => {}
        }
    }

    fn expire(&mut self) {
        for ((object, holder), ()) in self.pointers.expired() {
            self.forget(object, holder);
        }
    }

    fn forget(&mut self, object: Key, holder: NodeId) {
        self.pointers.remove(&(object, holder));
        if let Some(known) = self.holders.get_mut(&object) {
            known.remove(&holder);
            if known.is_empty() {
                self.holders.remove(&object);
            }
        }
    }

    /// Sends to the nearest holders that are known here, this node first; false where none is.
    fn pass_to_holders(&mut self, object: Key, from: NodeId, count: u8, data: &Bytes) -> bool {
        self.expire();
        let me = route::myself();
        let mut holders: Vec<NodeId> = self.holders.get(&object).into_iter().flatten().copied().collect();
        if self.objects.contains(&object) && !holders.contains(&me) {
            holders.push(me);
        }
        // A holder to which there is no connection is farther than all others.
        holders.sort_by_key(|holder| if *holder == me { 0 } else { route::round_trip(*holder).unwrap_or(u32::MAX) });
        holders.truncate(usize::from(count.max(1)));
        let word = Word::Deliver { object, from, data: data.clone() };
        holders.into_iter().filter(|holder| self.send(*holder, &word).is_ok()).count() > 0
    }

    fn announce(&mut self, object: Key) {
        // Where it cannot be sent, as outside of a ring, the next time has to do.
        let _ = route::route_per_hop(object, &self.write(&Word::Publish), None);
        self.timers.set(object, REFRESH);
    }

    /// A word that may get lost.
    fn say(&self, to: NodeId, word: &Word) {
        let _ = self.send(to, word);
    }

    fn send(&self, to: NodeId, word: &Word) -> Result<u64, RouteError> {
        route::send(to, &self.write(word))
    }

    fn write(&self, word: &Word) -> Vec<u8> {
        [&[self.channel][..], &cbor::encode(word)].concat()
    }

    fn read(&self, payload: &[u8]) -> Option<Word> {
        let (channel, word) = payload.split_first()?;
        if *channel == self.channel { cbor::decode(word).ok() } else { None }
    }
}

impl Dolr for Pointers {
    fn publish(&mut self, object: Key) -> Result<(), Full> {
        if self.objects.len() >= MAX_OBJECTS && !self.objects.contains(&object) {
            return Err(Full);
        }
        self.objects.insert(object);
        self.announce(object);
        Ok(())
    }

    fn unpublish(&mut self, object: Key) {
        if self.objects.remove(&object) {
            self.timers.cancel(&object);
            let _ = route::route_per_hop(object, &self.write(&Word::Unpublish), None);
        }
    }

    fn send_to_object(&mut self, object: Key, count: u8, data: &[u8]) -> Result<u64, RouteError> {
        self.numbers += 1;
        let word = Word::Send { number: self.numbers, count, data: data.into() };
        route::route_per_hop(object, &self.write(&word), None)?;
        Ok(self.numbers)
    }
}
