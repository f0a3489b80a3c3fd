//! The ring's own store of code: packages in pieces, each at a ring key that follows from what it holds.
//!
//! The pieces of an application are keyed records under an id that no package has, its [shelf](prost_package::piece::shelf),
//! so that all that is done for keyed records is done for them: copies, repair, hand-over, comparison by sums. What differs:
//!
//! * [`keep`]: a piece is taken only with its proof, for an application that policy allows, while there is room; nothing
//!   but pieces is, deletions neither.
//! * [`publish`]: the pieces of a package are brought to their replicas by whoever has it, from anywhere on the ring.
//! * [`retrieve`]: a package is put together again, each piece from any replica that has it.
//! * [`renew`]: a piece is forgotten a day after it was published, unless it is published again; who runs an application
//!   sees to that, one node for all.
//! * [`sweep`]: what is a day old goes.
//!
//! How old a piece is its version says, which counts milliseconds: it needs no expiry, and no deletion to be remembered.

mod keep;
mod part;
mod publish;
mod renew;
mod retrieve;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use prost_contract::Version;
use prost_kbr::{AppId, Key, NodeId, Outcome, Time};

pub use publish::{PublishFailure, Published};

use part::Part;
use publish::Publishing;
use retrieve::Retrieval;
pub(crate) use retrieve::Want;

use crate::node::Node;
use crate::records::{NotStored, Tell, millis};

/// Copies of each piece.
pub(crate) const COPIES: usize = 3;
/// How long after it was published a piece is forgotten, in milliseconds: a day.
const LIFE_MS: u64 = 24 * 3600 * 1000;
/// The name of every piece: its key says which it is.
const NAME: &[u8] = b"piece";
/// Applications whose pieces are kept here at once.
const MAX_SHELVES: usize = 256;
/// Pieces that are known to be here: all of them in a store of the default size that is not full of the smallest packages.
const MAX_KNOWN: usize = 65_536;

/// What a node keeps of the code of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentSettings {
    /// Bytes that pieces may take; zero keeps none.
    pub most_bytes: u64,
    /// The [shelves](prost_package::piece::shelf) that the node's store has, with the bytes that each takes.
    pub held: Vec<(AppId, u64)>,
}

impl ContentSettings {
    /// Bytes that pieces may take where nobody says: sixteen of the largest packages. With three copies of each piece a
    /// ring of a hundred nodes then holds eight GiB of code, and no node gives more than a small part of a small disk.
    pub const DEFAULT_BYTES: u64 = 256 << 20;
}

/// What happened in the store of code, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentStats {
    /// Bytes that pieces take now.
    pub bytes: u64,
    /// Bytes that they may take.
    pub most_bytes: u64,
    /// Applications that some piece is kept of now.
    pub applications: usize,
    /// Pieces taken, those that replaced an older copy included.
    pub taken: u64,
    /// Pieces that were refused: no proof, too old, or of an application that policy denies.
    pub refused: u64,
    /// Pieces that there was no room for.
    pub full: u64,
    /// Pieces that a replica gave and that were not what their key says.
    pub bad: u64,
    /// Packages published, and published again.
    pub published: u64,
}

/// The state of it all.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    most_bytes: u64,
    /// The shelves of which something is kept here, with the bytes they take.
    held: BTreeMap<AppId, u64>,
    /// The keys of the pieces that are here, as far as is known: who publishes these again takes no room.
    known: BTreeSet<(AppId, Key)>,
    /// Shelves of which nothing is taken for a while, and why.
    shunned: BTreeMap<AppId, (Time, NotStored)>,
    /// When the nodes before this one were last offered what is kept here of their ranges.
    pub(crate) offered: BTreeMap<NodeId, Time>,
    publishing: BTreeMap<u64, Publishing>,
    retrievals: BTreeMap<u64, Retrieval>,
    /// When an application that runs here is to be looked for in the store.
    renewals: BTreeMap<AppId, Time>,
    sweep: sweep::Sweep,
    pub(crate) stats: ContentStats,
}

impl Content {
    pub(crate) fn new(settings: ContentSettings) -> Content {
        let ContentSettings { most_bytes, held } = settings;
        Content {
            most_bytes,
            held: held.into_iter().filter(|(_, bytes)| *bytes > 0).collect(),
            known: BTreeSet::new(),
            shunned: BTreeMap::new(),
            offered: BTreeMap::new(),
            publishing: BTreeMap::new(),
            retrievals: BTreeMap::new(),
            renewals: BTreeMap::new(),
            sweep: sweep::Sweep::default(),
            stats: ContentStats::default(),
        }
    }

    /// Whether pieces are kept here at all.
    pub(crate) fn keeps_any(&self) -> bool {
        self.most_bytes > 0
    }

    /// The shelves that something is kept of here.
    pub(crate) fn shelves(&self) -> impl Iterator<Item = &AppId> {
        self.held.keys()
    }

    fn bytes(&self) -> u64 {
        self.held.values().sum()
    }

    /// Whether this piece is known to be here.
    pub(crate) fn is_known(&self, id: &AppId, key: Key) -> bool {
        self.known.contains(&(id.clone(), key))
    }

    /// These pieces are here.
    fn note_known(&mut self, id: &AppId, keys: impl Iterator<Item = Key>) {
        for key in keys {
            if self.known.len() < MAX_KNOWN {
                self.known.insert((id.clone(), key));
            }
        }
    }

    /// These pieces are not here any more.
    pub(crate) fn forget_known<'a>(&mut self, id: &AppId, keys: impl Iterator<Item = &'a Key>) {
        for key in keys {
            self.known.remove(&(id.clone(), *key));
        }
    }

    /// When something is to be done next.
    pub(crate) fn wake(&self) -> Option<Time> {
        let parts = self.publishing.values().map(Publishing::wake).chain(self.retrievals.values().map(Retrieval::wake));
        parts.chain(self.renewals.values().copied()).chain(self.sweep.wake(self)).min()
    }
}

/// Whether a piece with this version is not too old.
pub(crate) fn is_live(version: Version, now_ms: u64) -> bool {
    millis(version).saturating_add(LIFE_MS) > now_ms
}

impl Node {
    /// Does what is due.
    pub(crate) fn tend_content(&mut self) {
        self.tend_publishing();
        self.tend_retrievals();
        self.tend_renewals();
        self.tend_sweep();
    }

    /// A lookup has ended; says whether it was for a piece.
    pub(crate) fn on_piece_found(&mut self, outcome: &Outcome) -> bool {
        self.on_place_found(outcome) || self.on_part_found(outcome)
    }

    /// A peer has answered; gives the answer back where it was not about a piece.
    pub(crate) fn on_piece_told(&mut self, from: NodeId, request: u64, tell: Tell) -> Option<Tell> {
        let tell = self.on_placed(from, request, tell)?;
        self.on_part_told(from, request, tell)
    }

    /// The connection to a node is gone: nothing comes from it any more.
    pub(crate) fn on_holder_lost(&mut self, node: NodeId) {
        self.on_place_lost(node);
        self.on_part_lost(node);
    }

    /// Begins to look for the nodes that keep a piece.
    fn find_holders(&mut self, part: &mut Part) {
        let id = self.take_ids(1);
        part.look(id, self.now);
        let input = prost_kbr::Input::Lookup { id, key: part.key, replicas: part::HOLDERS };
        self.ring.handle(self.now, input);
    }
}
