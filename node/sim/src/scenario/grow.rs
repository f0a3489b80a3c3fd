//! How the ring comes to its size before anything is measured.

use core::time::Duration;

use prost_kbr::Time;

use super::driver::Driver;
use super::error::Error;
use crate::measure::is_ideal;

/// How often newcomers are let in.
const TICK: Duration = Duration::from_millis(250);
/// The largest share of the members that is let in at a tick: one in this many, or one node.
const PACE: usize = 64;
/// The largest share of the members that may be joining: one in this many, or [`JOINING`].
const CROWD: usize = 8;
const JOINING: usize = 4;
/// How long the ring may go without a new member before one more is let in, whoever is joining.
const STALLED: Duration = Duration::from_secs(10);
/// How long it may go without a new member before growth is over.
const STUCK: Duration = Duration::from_secs(120);
/// How long the ring may take to become ideal once it has grown.
const SETTLE: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);

impl Driver<'_> {
    /// Starts nodes as fast as the ring takes them up: it grows by at most 1/64 each quarter of a second.
    ///
    /// # Errors
    ///
    /// [`Error::NotGrown`] where nodes do not become members although all can reach each other, or most do not.
    pub(super) fn grow(&mut self) -> Result<(), Error> {
        let began = self.world.now();
        let nodes = self.plan.nodes;
        for _ in 0..nodes {
            let node = self.world.spawn();
            let others: Vec<u32> = if self.options.unreachable_pairs > 0.0 { (0..node).collect() } else { Vec::new() };
            self.fabric.admit(node, &others, &mut self.random);
        }
        self.renew_network();
        let (mut started, mut members, mut since) = (0, 0, began);
        while self.crowd.members.len() < nodes as usize {
            let now = self.world.now();
            if self.crowd.members.len() != members {
                (members, since) = (self.crowd.members.len(), now);
            }
            let stalled = now.since(since);
            if stalled >= STUCK {
                return self.give_up_growing(began);
            }
            let room = self.room(stalled).min((nodes - started) as usize);
            for node in started..started + room as u32 {
                self.start(node);
            }
            started += room as u32;
            self.play(now + TICK);
            self.estimate_end();
        }
        Ok(())
    }

    /// How many nodes may start now. The second waits for the first.
    fn room(&self, stalled: Duration) -> usize {
        let (live, members) = (self.crowd.live.len(), self.crowd.members.len());
        let joining = (members / CROWD).max(JOINING).saturating_sub(live - members);
        let least = usize::from(stalled >= STALLED || live == 0);
        if members == 0 { least } else { (members / PACE).max(1).min(joining).max(least) }
    }

    /// Some nodes cannot join where some pairs cannot reach each other; the others are the ring then.
    fn give_up_growing(&self, began: Time) -> Result<(), Error> {
        let (members, nodes) = (self.crowd.members.len(), self.plan.nodes);
        if self.options.unreachable_pairs > 0.0 && members * 10 >= nodes as usize * 9 {
            return Ok(());
        }
        Err(Error::NotGrown { members, nodes, after_s: self.world.now().since(began).as_secs() })
    }

    /// Waits until the ring is ideal, and then for the time that the options say.
    pub(super) fn rest(&mut self) {
        self.label = "rest";
        let latest = self.world.now() + SETTLE;
        while self.world.now() < latest && !self.is_ideal() {
            self.play(self.world.now() + SECOND);
            self.estimate_end();
            self.tell();
        }
        let until = self.world.now() + self.options.rest;
        self.ends = until + self.plan.time() + self.routing.deadline + SECOND;
        while self.world.now() < until {
            self.play((self.world.now() + SECOND).min(until));
            self.tell();
        }
    }

    pub(super) fn is_ideal(&self) -> bool {
        is_ideal(&self.world, self.crowd.live.nodes(), self.routing.successors)
    }

    /// The end, for progress, while the ring grows and settles.
    pub(super) fn estimate_end(&mut self) {
        let left = growth_s(self.plan.nodes) - growth_s(self.crowd.members.len() as u32);
        let rest = self.options.rest + self.plan.time() + self.routing.deadline + SECOND;
        self.ends = self.world.now() + Duration::from_secs(left) + rest;
    }
}

/// About how many seconds a ring takes to this size: four nodes a second, then doubling each eleven seconds.
fn growth_s(nodes: u32) -> u64 {
    let slow = u64::from(nodes.min(PACE as u32)) / 4;
    let doublings = (nodes / PACE as u32).checked_ilog2().unwrap_or(0);
    slow + 11 * u64::from(doublings)
}
