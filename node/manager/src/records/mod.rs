//! Keyed records: written where their key's responsibility lies, copied to the nodes that come next, compared with
//! them, and handed over when responsibility moves.
//!
//! * [`spread`]: an event's writes go to the other nodes of the key's replica set, and what the event sends waits until
//!   as many have them as its package asks for.
//! * [`settle`]: a node that has become responsible for a range first takes what its successors have there; until then
//!   messages for these keys wait, and are refused after a while, so that they go to the next replica.
//! * [`upkeep`]: each node compares the range that it is responsible for with its successors, now and then and whenever
//!   these change.
//! * [`stray`]: what a node still has but is no replica of goes to those that are, and then goes.
//! * [`farewell`]: a node that leaves gives its range away first.
//! * [`scrub`]: all records are read now and then, to find out which the disk has damaged.
//! * [`repair`]: damaged ones are fetched from the other nodes that hold them.
//!
//! The pieces of packages that the ring keeps are such records too, under ids of their own: [`content`](crate::content).
//!
//! Copying is always by version, the newer wins, so that it does not matter in which order or how often it happens.

mod clock;
mod farewell;
mod frame;
mod index;
mod look;
mod repair;
mod scrub;
mod serve;
mod session;
mod settle;
mod spread;
mod stray;
mod tend;
mod upkeep;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use prost_contract::{Capability, Version};
use prost_kbr::{AppId, Interval, Key, NodeId, Peer, Time};

pub use index::{Block, Cover, RangeIndex};
pub use look::{Found, Look, look};

pub(crate) use clock::{Clock, millis};
use farewell::Farewell;
pub(crate) use frame::{Ask, NotStored, Record, RecordFrame, Tell};
use repair::Repairs;
use scrub::Scrub;
pub(crate) use serve::taken;
use session::Session;
use settle::{Held, Settling};
use spread::Spread;
use stray::Strays;

use crate::app::App;
use crate::content;
use crate::node::Node;

/// Nodes that are passed over because they will not run an application, before a replica is given up: as many as a
/// message is refused by, if nobody says otherwise.
pub(crate) const MAX_UNWILLING: usize = 4;
/// How long a node that will not run an application is passed over.
const UNWILLING_FOR: Duration = Duration::from_secs(60);
/// Most such nodes that are remembered.
const MAX_NOTED: usize = 1024;
/// Copies that a joiner takes for granted, while it knows no application.
const USUAL_COPIES: usize = 3;

/// What happened to keyed records on this node, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordStats {
    /// Records kept for other nodes: written by them, or given by them in a comparison.
    pub stored: u64,
    /// Records taken from other nodes in a comparison.
    pub pulled: u64,
    /// Records given to other nodes in a comparison.
    pub given: u64,
    /// Copies dropped after all replicas had them.
    pub dropped: u64,
    /// Comparisons that ended well.
    pub compared: u64,
    /// Comparisons that did not.
    pub failed: u64,
    /// Events whose writes too few nodes acknowledged in time.
    pub unacknowledged: u64,
    /// Ranges that were served although not all successors had been asked for their records in time.
    pub unsettled: u64,
    /// Records read from the disk to see whether they are damaged.
    pub checked: u64,
    /// Records that are damaged here, as of the last check.
    pub damaged: u64,
    /// Damaged records that were fetched from another node.
    pub repaired: u64,
    /// Frames that made no sense.
    pub bad_frames: u64,
}

/// All about keyed records that is not in the store.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    clock: Clock,
    /// Something has changed that may make something necessary.
    pub(crate) dirty: bool,
    wake: Option<Time>,
    last_number: u64,
    spreads: BTreeMap<u64, Spread>,
    sessions: BTreeMap<u64, Running>,
    /// Questions to the store on behalf of peers: whose, and which.
    serving: BTreeMap<u64, (Peer, u64)>,
    settling: Vec<Settling>,
    held: VecDeque<Held>,
    /// When the own range is to be compared with a successor again.
    compare_at: BTreeMap<NodeId, Time>,
    /// The successors that may hold copies of the own range, nearest first, when that was last looked at.
    nearest: Vec<NodeId>,
    /// Nodes that will not run an application, until when that is believed.
    unwilling: BTreeMap<(AppId, NodeId), Time>,
    strays: Strays,
    scrub: Scrub,
    repairs: Repairs,
    farewell: Option<Farewell>,
    pub(crate) stats: RecordStats,
}

/// A session, why it is held, and what it waits for.
#[derive(Debug, Clone)]
struct Running {
    session: Session,
    reason: Reason,
    waits: Waits,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// A range, and the application whose records there are wanted; none for all.
    Settle(Interval, Option<AppId>),
    Upkeep,
    /// A node before this one is offered pieces of code of its range.
    Offer,
    Stray,
    Farewell,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Waits {
    Peer { request: u64, until: Time },
    Store { look: u64, until: Time },
    Commit { until: Time },
    App { app: AppId, until: Time, next: Time },
    Pause { until: Time },
}

/// Whether an application can keep records on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Ready,
    /// It is on its way.
    Pending,
    Refused(prost_kbr::Refusal),
}

impl Records {
    pub(crate) fn new(newest_version: u64) -> Records {
        Records {
            clock: Clock::new(newest_version),
            dirty: false,
            wake: None,
            last_number: 0,
            spreads: BTreeMap::new(),
            sessions: BTreeMap::new(),
            serving: BTreeMap::new(),
            settling: Vec::new(),
            held: VecDeque::new(),
            compare_at: BTreeMap::new(),
            nearest: Vec::new(),
            unwilling: BTreeMap::new(),
            strays: Strays::default(),
            scrub: Scrub::default(),
            repairs: Repairs::default(),
            farewell: None,
            stats: RecordStats::default(),
        }
    }

    /// When something is to be done next.
    pub(crate) fn wake(&self) -> Option<Time> {
        self.wake
    }

    /// Whether the records that an application keeps at a key are still on their way here.
    pub(crate) fn is_settling(&self, app: &AppId, key: Key) -> bool {
        self.settling(app).any(|range| range.contains(key))
    }

    /// The ranges whose records of an application are still on their way here.
    pub(crate) fn settling(&self, app: &AppId) -> impl Iterator<Item = Interval> {
        let concerns = move |settling: &&Settling| settling.app.as_ref().is_none_or(|only| only == app);
        self.settling.iter().filter(concerns).map(|settling| settling.range)
    }

    /// Whether any records of this node's range are still on their way here.
    pub(crate) fn is_any_settling(&self) -> bool {
        !self.settling.is_empty()
    }

    /// Has the node woken at this time, or before.
    fn wake_by(&mut self, at: Option<Time>) {
        self.wake = self.wake.into_iter().chain(at).min();
    }

    /// Whether nothing is under way: where policy allows nothing either, nothing will be.
    fn is_idle(&self) -> bool {
        self.spreads.is_empty()
            && self.sessions.is_empty()
            && self.settling.is_empty()
            && self.held.is_empty()
            && self.farewell.is_none()
    }

    /// A version newer than all before.
    pub(crate) fn next_version(&mut self, now_ms: u64, node: NodeId) -> Version {
        self.clock.next(now_ms, node)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// Whether an application keeps records here.
fn keeps_records(app: &App) -> bool {
    let granted = |code: &crate::app::Code| code.grant.capabilities.contains(&Capability::Storage);
    app.is_up() && app.code.as_ref().is_some_and(granted)
}

/// Copies of each keyed record that an application asks for.
fn copies(app: &App) -> usize {
    app.code.as_ref().map_or(1, |code| usize::from(code.manifest().replicas))
}

impl Node {
    /// Nodes that may hold records of this node's range, this one included.
    fn reach(&self) -> usize {
        self.keepers().into_values().max().unwrap_or(USUAL_COPIES).max(2)
    }

    /// A node of the lists.
    fn neighbour(&self, node: NodeId) -> Option<Peer> {
        let view = self.ring.view();
        view.successors.iter().chain(&view.predecessors).find(|peer| peer.id == node).copied()
    }

    /// Whether a node will run an application, as far as is known.
    fn is_willing(&self, app: &AppId, node: NodeId) -> bool {
        self.records.unwilling.get(&(app.clone(), node)).is_none_or(|until| *until <= self.now)
    }

    /// The nodes that should hold an application's records at a key, this one among them, in order; those that will not
    /// are passed over.
    fn holders(&self, app: &AppId, key: Key, copies: usize) -> Vec<NodeId> {
        let view = self.ring.view();
        let mut nodes = view.replica_set(key, copies + MAX_UNWILLING).nodes;
        nodes.retain(|node| *node == view.me.id || self.is_willing(app, *node));
        nodes.truncate(copies);
        if !nodes.contains(&view.me.id) {
            nodes.truncate(copies.saturating_sub(1));
            nodes.push(view.me.id);
        }
        nodes
    }

    /// The applications that keep records here, and the shelves of code, with the copies that each asks for.
    fn keepers(&self) -> BTreeMap<AppId, usize> {
        let apps = self.apps.values().filter(|app| keeps_records(app)).map(|app| (app.id.clone(), copies(app)));
        apps.chain(self.content.shelves().map(|shelf| (shelf.clone(), content::COPIES))).collect()
    }

    /// The copies of each record that one of these asks for; none where it keeps none here.
    fn copies_of(&self, id: &AppId) -> Option<usize> {
        self.keepers().get(id).copied()
    }

    fn note_unwilling(&mut self, app: &AppId, node: NodeId) {
        let now = self.now;
        self.records.unwilling.retain(|_, until| *until > now);
        if self.records.unwilling.len() < MAX_NOTED {
            self.records.unwilling.insert((app.clone(), node), now + UNWILLING_FOR);
        }
    }
}
