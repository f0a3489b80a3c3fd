//! Faults of processes and their clocks: blows that fall at an instant.

use core::time::Duration;

use super::population::KNOWN;
use super::schedule::Running;
use super::stage::Stage;
use super::{Class, FaultId};
use crate::Index;
use crate::random::ln;
use crate::world::Act;

/// Longest time that a process stands still.
const MAX_PAUSE: Duration = Duration::from_secs(120);
/// Furthest that a clock jumps back. The machine's time stands still for as long.
const MAX_BACK: u64 = 30;
/// Most millionths that a clock drifts.
const MAX_DRIFT: u64 = 500;

impl Running {
    pub(super) fn strike(&mut self, stage: &mut Stage) {
        let (id, lasts, strength) = (self.fault.id, self.fault.lasts_ms, self.fault.strength);
        self.again(stage);
        let Some(node) = stage.some_members(1).first().copied() else { return };
        let lasts = stage.random.exponential(Duration::from_millis(lasts));
        let struck = match id {
            FaultId::Break => stage.cut_connection(node, |a, b| Act::Break { a, b }),
            FaultId::HalfOpen => stage.cut_connection(node, |node, gone_at| Act::HalfOpen { node, gone_at }),
            FaultId::Rebind => stage.rebind(node),
            FaultId::StalePeers => stage.start_stale(),
            FaultId::RestartStorm => stage.restart_storm(strength),
            FaultId::CrashRestart => stage.crash_for(node, lasts),
            FaultId::QuickRestart => stage.crash_for(node, lasts.min(Duration::from_millis(500))),
            FaultId::Death => stage.crash(&[node]),
            FaultId::Pause => stage.pause(node, lasts),
            FaultId::Slow => stage.slow_down(node, strength),
            FaultId::AdjacentCrash => stage.crash_adjacent(strength),
            FaultId::FlashCrowd => stage.flash_crowd(),
            FaultId::MassLeave => stage.mass_leave(),
            FaultId::Clone => stage.start_clone(node, lasts),
            FaultId::Clock => stage.skew(node, strength),
            _ => false,
        };
        if struck {
            stage.struck(id);
        }
    }

    /// Ends the session that is due, and gives one to every node that has none.
    pub(super) fn churn(&mut self, stage: &mut Stage) {
        while let Some((at, node)) = self.sessions.first().copied().filter(|(at, _)| *at <= stage.now()) {
            self.sessions.remove(&(at, node));
            if stage.crash(&[node]) {
                stage.struck(self.fault.id);
                stage.start();
            }
        }
        for node in stage.live() {
            if !self.sessions.iter().any(|(_, other)| *other == node) {
                let session = self.session(stage);
                self.sessions.insert((stage.now() + session, node));
            }
        }
        // Nodes that others have started get their session within a second.
        let soon = stage.now() + Duration::from_secs(1);
        self.due = self.sessions.first().map_or(soon, |(at, _)| soon.min(*at));
    }

    /// The length of a session with the median that the fault's strength says.
    fn session(&self, stage: &mut Stage) -> Duration {
        let median = f64::from(self.fault.strength);
        let uniform = 1.0 - stage.random.fraction();
        let seconds = if self.fault.id == FaultId::ParetoChurn {
            // Pareto with the exponent 2: P(X > x) = (least / x)^2, whose median is √2 times the least.
            median * core::f64::consts::FRAC_1_SQRT_2 / uniform.sqrt()
        } else {
            median * -ln(uniform) / core::f64::consts::LN_2
        };
        Duration::from_millis((seconds * 1000.0) as u64)
    }
}

impl Stage {
    /// Does something to one of a node's connections.
    fn cut_connection(&mut self, a: Index, act: fn(Index, Index) -> Act) -> bool {
        let others: Vec<Index> = self.live().into_iter().filter(|b| *b != a && self.world.connected(a, *b)).collect();
        let Some(b) = self.random.pick(&others).copied() else { return false };
        self.act(act(a, b));
        true
    }

    fn rebind(&mut self, node: Index) -> bool {
        self.act(Act::Rebind { node });
        true
    }

    /// A newcomer that knows two dead nodes before one that lives.
    fn start_stale(&mut self) -> bool {
        let mut known = self.dead.clone();
        self.shuffle(&mut known);
        known.truncate(2);
        let stale = !known.is_empty();
        known.extend(self.some_members(1));
        if !stale {
            // No one is dead yet: someone dies, and the next newcomer knows him.
            let node = self.some_members(1);
            self.crash(&node);
            return false;
        }
        self.start_knowing(known).is_some()
    }

    /// Some die at once and start again at once, all through the same node.
    fn restart_storm(&mut self, most: u32) -> bool {
        let mut nodes = self.some_members(most as usize + 1);
        let Some(seed) = nodes.pop() else { return false };
        while !nodes.is_empty() && !self.crash(&nodes) {
            nodes.pop();
        }
        let at = self.now() + Duration::from_secs(1);
        self.advance(at);
        for node in &nodes {
            self.restart_knowing(*node, vec![seed]);
        }
        !nodes.is_empty()
    }

    fn crash_for(&mut self, node: Index, down: Duration) -> bool {
        let crashed = self.crash(&[node]);
        if crashed {
            self.returning.insert((self.now() + down, node));
        }
        crashed
    }

    fn pause(&mut self, node: Index, time: Duration) -> bool {
        let time = time.min(MAX_PAUSE);
        self.judge.excuse(node, self.now() + time);
        self.act(Act::Pause { node, time });
        true
    }

    fn slow_down(&mut self, node: Index, micros: u32) -> bool {
        self.slow.insert(node);
        self.judge.excuse(node, self.now() + self.options.faults());
        self.act(Act::Slow { node, each: Duration::from_micros(u64::from(micros)) });
        true
    }

    /// Neighbours on the ring die together: fewer than a successor list holds, or in a run that breaks the operating
    /// assumption all of a list or half of the ring.
    fn crash_adjacent(&mut self, strength: u32) -> bool {
        let members = self.members();
        if members.is_empty() {
            return false;
        }
        let successors = self.options.successors;
        let count = match self.options.class {
            Class::Careful => (strength as usize).min(successors - 1),
            Class::AssumptionBroken if self.random.below(2) == 0 => successors,
            Class::AssumptionBroken => members.len() / 2,
        };
        let first = self.random.below(members.len() as u64) as usize;
        let mut nodes: Vec<Index> = (0..count).map(|at| members[(first + at) % members.len()]).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.crash(&nodes)
    }

    /// A second process with a node's key joins as if it were new. It lives for a while.
    fn start_clone(&mut self, node: Index, lasts: Duration) -> bool {
        let clone = self.world.clone_of(node);
        if self.world.is_alive(clone) || self.world.has_clones() {
            return false;
        }
        let known = self.some_members(KNOWN);
        self.act(Act::Start { node: clone, known });
        self.returning.insert((self.now() + lasts, clone));
        true
    }

    /// As many again join in ten seconds.
    fn flash_crowd(&mut self) -> bool {
        let count = self.live().len() as u32;
        let begun = self.now();
        let mut started = 0;
        for at in 0..count {
            self.advance(begun + Duration::from_secs(10) * at / count);
            started += u32::from(self.start().is_some());
        }
        started > 0
    }

    /// A third of the nodes leave within three seconds.
    fn mass_leave(&mut self) -> bool {
        let nodes = self.some_members(self.live().len() / 3);
        let mut left = 0;
        for node in nodes {
            let at = self.now() + Duration::from_millis(1 + self.random.below(300));
            self.advance(at);
            left += u32::from(self.leave(node));
        }
        left > 0
    }

    /// A clock jumps forward as far as the strength says, or back a little, and drifts from now on.
    fn skew(&mut self, node: Index, seconds: u32) -> bool {
        let jump = self.random.below(u64::from(seconds) * 1_000_000 + 1);
        let back = self.random.below(2) == 0;
        let jump = if back { -(jump.min(MAX_BACK * 1_000_000) as i64) } else { jump as i64 };
        let drift = self.random.below(2 * MAX_DRIFT + 1) as i32 - MAX_DRIFT as i32;
        // Jumps add up: a clock that was set back several times stands still for as long as all of them.
        self.judge.excuse(node, self.now() + self.options.faults());
        self.drifting.insert(node);
        self.act(Act::Clock { node, jump, drift });
        true
    }
}
