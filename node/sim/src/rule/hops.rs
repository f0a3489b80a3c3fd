//! R6, the way: messages make progress.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use prost_kbr::{Message, MessageId, NodeId, Time};

use super::{Broken, Moment, Rule};
use crate::Index;

/// Twice the usual deadline of a message: what disturbed the ring before that does not excuse a message that runs in circles.
const FOLLOWED: Duration = Duration::from_secs(30);
/// Most messages that are followed at once; where there are more, the oldest are let go. Time does not limit them: a node
/// whose clock stands still keeps a message for as long as that takes, and passes it on then.
const MAX_TRAILS: usize = 65_536;
/// How often a message may come back to a node in a whole ring that nothing disturbs. It sets out twice, and a node
/// behind the owner may send it back once more while the lists around the key are being repaired.
const MAX_VISITS: u32 = 8;

#[derive(Debug)]
struct Trail {
    /// Who sent the first hop that was seen.
    first: Index,
    /// Whether that was the origin's; else too little is known to judge the way.
    whole: bool,
    /// Who was sent it, with which hop count.
    arrivals: Vec<(Index, u8)>,
    /// How often it was sent, by all nodes together.
    sent: u32,
    /// Who has sent it, with which hop count.
    departures: Vec<(Index, u8)>,
}

/// How much is sent, since somebody asked last.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// Hops of all messages.
    pub(super) hops: u32,
    /// Those of them that their node had made before.
    pub(super) repeats: u32,
    /// The message that was sent most often until now: where, which, and how often.
    pub(super) most: Option<(Time, Index, (NodeId, MessageId), u32)>,
}

impl Flow {
    fn hop(&mut self, now: Time, from: Index, name: (NodeId, MessageId), sent: u32, repeats: bool) {
        self.hops += 1;
        self.repeats += u32::from(repeats);
        if self.most.is_none_or(|(.., most)| sent > most) {
            self.most = Some((now, from, name, sent));
        }
    }
}

#[derive(Debug, Default)]
struct Log {
    trails: BTreeMap<(NodeId, MessageId), Trail>,
    order: VecDeque<(NodeId, MessageId)>,
    broken: Option<Broken>,
    /// A message that runs in circles, and its last stations.
    looped: Option<(Broken, Vec<Index>)>,
    flow: Flow,
    most_visits: u32,
    most_sent: u32,
}

/// The ways of the messages that are under way, filled by the world's observer and judged by [`Hops`].
#[derive(Debug, Clone)]
pub struct Trails {
    log: Arc<Mutex<Log>>,
    max_hops: u8,
}

impl Trails {
    /// With the most hops that a message may take.
    pub fn new(max_hops: u8) -> Trails {
        Trails { log: Arc::default(), max_hops }
    }

    /// A node hands a frame to the network.
    pub fn observe(&self, now: Time, from: Index, to: Index, message: &Message) {
        let Message::Route { routed, .. } = message else { return };
        let (origin, id, hops) = (routed.envelope.origin.id, routed.envelope.id, routed.envelope.hops);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.forget();
        if let Err(text) = log.hop(now, (origin, id), (from, to, hops), self.max_hops) {
            log.broken.get_or_insert(Broken::at(now, from, text));
        }
    }

    /// How much was sent since the last time that this was asked.
    pub(super) fn take_flow(&self) -> Flow {
        core::mem::take(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner).flow)
    }

    /// How often one message was sent at most, by all nodes together.
    pub fn most_sent(&self) -> u32 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).most_sent
    }

    /// Most distinct hop counts that one message came to one node with.
    pub fn most_visits(&self) -> u32 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).most_visits
    }
}

impl Log {
    fn forget(&mut self) {
        while self.order.len() > MAX_TRAILS {
            self.order.pop_front().and_then(|name| self.trails.remove(&name));
        }
    }

    fn hop(
        &mut self,
        now: Time,
        name: (NodeId, MessageId),
        (from, to, hops): (Index, Index, u8),
        max_hops: u8,
    ) -> Result<(), String> {
        if hops == 0 {
            return Err(format!("message {name:?} leaves and no hop is counted"));
        }
        if hops > max_hops {
            return Err(format!("message {name:?} goes on with {hops} hops"));
        }
        let trail = self.trails.entry(name).or_insert_with(|| {
            self.order.push_back(name);
            Trail { first: from, whole: hops == 1, arrivals: Vec::new(), sent: 0, departures: Vec::new() }
        });
        trail.sent += 1;
        self.most_sent = self.most_sent.max(trail.sent);
        let repeats = trail.departures.contains(&(from, hops));
        if !repeats {
            trail.departures.push((from, hops));
        }
        self.flow.hop(now, from, name, trail.sent, repeats);
        let came = trail.arrivals.contains(&(from, hops.wrapping_sub(1)));
        let starts = hops == 1 && from == trail.first;
        if !trail.arrivals.contains(&(to, hops)) {
            trail.arrivals.push((to, hops));
        }
        let visits = trail.arrivals.iter().filter(|(node, _)| *node == to).count() as u32;
        self.most_visits = self.most_visits.max(visits);
        if visits > MAX_VISITS {
            let text = format!("message {name:?} has come {visits} times: {:?}", trail.arrivals);
            let circle = trail.arrivals.iter().rev().take(3).map(|(node, _)| *node).collect();
            self.looped = Some((Broken::at(now, to, text), circle));
        }
        if came || starts || !trail.whole {
            return Ok(());
        }
        Err(format!("message {name:?} leaves with {hops} hops and came with others: {:?}", trail.arrivals))
    }
}

/// Every hop raises the hop count by one and none goes beyond the limit. Where the operating assumption has held and
/// nothing has been disturbed for as long as a message is followed, none runs in circles; else, with an owner that
/// stands still or cannot be reached, only the limit ends its search.
#[derive(Debug)]
pub struct Hops {
    trails: Trails,
}

impl Hops {
    /// Judges these trails.
    pub fn new(trails: Trails) -> Hops {
        Hops { trails }
    }
}

impl Rule for Hops {
    fn name(&self) -> &'static str {
        "R6 hops make progress"
    }

    fn check(&mut self, moment: &Moment) -> Result<(), Broken> {
        let mut log = self.trails.log.lock().unwrap_or_else(PoisonError::into_inner);
        let before = moment.now - FOLLOWED;
        let calm = moment.calm_since.is_some_and(|since| since <= before) && moment.assumption.held_since(before);
        let looped = log.looped.take().filter(|_| calm);
        let looped = looped.map(|(mut broken, circle)| {
            for node in circle {
                let Some(seat) = moment.picture.seat(node) else { continue };
                let lists = (&seat.predecessors, &seat.successors, &seat.fingers);
                broken.text += &format!("; node {node} ({:?}) has {lists:?}", seat.id);
            }
            broken
        });
        log.broken.take().or(looped).map_or(Ok(()), Err)
    }
}
