//! Phases: what happens at the beginning of one and while it lasts.

use core::time::Duration;

use super::driver::Driver;
use super::events::Due;
use super::heal::Heal;
use super::plan::{Churn, Phase};
use crate::world::Index;

/// How often the ring is looked at after a fault, up to [`SMALL`] nodes; larger ones are looked at each second.
const OFTEN: Duration = Duration::from_millis(100);
const SMALL: usize = 5000;
const SECOND: Duration = Duration::from_secs(1);
/// How often connections are counted, in seconds of the world's time.
const SAMPLE_S: u64 = 10;
/// How long the ring may take after the last phase to become ideal.
const QUIET: Duration = Duration::from_secs(120);

impl Driver<'_> {
    pub(super) fn play_phase(&mut self, phase: &Phase) {
        self.label = phase.label;
        self.set_measured(phase.measured);
        let began = self.world.now();
        self.begin(phase);
        self.watch.phase(&self.world, self.fabric.is_whole());
        self.start_asking(phase);
        self.resume_workload();
        self.agenda.add(began, Due::Look);
        self.play(began + phase.time);
        self.agenda.clear();
    }

    /// After the last phase: nothing new happens, the lookups that are under way may end, and the ring may heal.
    pub(super) fn finish(&mut self) {
        self.set_measured(false);
        self.set_churn(None);
        let now = self.world.now();
        self.agenda.add(now, Due::Look);
        self.play(now + self.routing.deadline + SECOND);
        self.finish_workload();
        while !self.is_ideal() && self.world.now() < now + QUIET {
            self.play(self.world.now() + SECOND);
        }
        self.agenda.clear();
        let members = &self.crowd.members;
        self.lookups.close(|node| members.contains(node));
    }

    fn set_measured(&mut self, measured: bool) {
        let node_us = self.crowd.node_us(self.world.now());
        if measured {
            self.traffic.begin(&self.world, node_us);
        } else {
            self.traffic.end(&self.world, node_us);
        }
        if measured && self.handled.is_empty() {
            self.handled = (0..self.world.count()).map(|node| self.messages(node)).collect();
        }
        self.measured = measured;
    }

    /// Routed messages that a node has handed on or delivered in this life.
    pub(super) fn messages(&self, node: Index) -> u64 {
        let stats = self.world.node(node).map(|machine| machine.ring().stats());
        stats.map_or(0, |stats| stats.routed_forwarded + stats.delivered)
    }

    fn begin(&mut self, phase: &Phase) {
        let now = self.world.now();
        let healed = self.fabric.parts() > 1 && phase.cut == Some(1);
        phase.conditions.apply(self.fabric.network_mut());
        if let Some(parts) = phase.cut {
            self.divide(parts);
        }
        self.renew_network();
        if let Some(byzantine) = phase.byzantine {
            self.infiltrate(byzantine);
        }
        self.strike(phase);
        self.set_churn(phase.churn);
        if healed || phase.crash > 0.0 || phase.leave > 0.0 || phase.start > 0 {
            self.heal = Some(Heal::new(now));
        }
    }

    /// From now on sessions end, or no longer do.
    fn set_churn(&mut self, churn: Option<Churn>) {
        let now = self.world.now();
        let before = std::mem::replace(&mut self.churn, churn);
        if let Some(churn) = churn {
            self.mark(format!("churn, median {}", super::span_text(churn.sessions.median)));
            for node in self.crowd.live.nodes() {
                self.agenda.add(now + churn.sessions.draw(&mut self.random), Due::End(*node));
            }
        } else if before.is_some() {
            self.mark("churn ends".to_owned());
            self.heal = Some(Heal::new(now));
        }
    }

    /// Makes the network one of so many parts.
    fn divide(&mut self, parts: u8) {
        let was = self.fabric.parts();
        self.fabric.divide(parts, self.crowd.live.nodes(), self.world.count(), &mut self.random);
        if parts > 1 {
            let fabric = &self.fabric;
            self.history.cut(self.world.now(), |node| fabric.part(node));
            self.mark(format!("cut into {parts}"));
        } else if was > 1 {
            self.history.mend(self.world.now());
            self.mark("heal".to_owned());
        }
    }

    /// Crashes, leaves and starts.
    fn strike(&mut self, phase: &Phase) {
        let both = self.crowd.live.share(phase.crash + phase.leave, &mut self.random);
        let part = if phase.crash > 0.0 { phase.crash / (phase.crash + phase.leave) } else { 0.0 };
        let (crash, leave) = both.split_at((both.len() as f64 * part).round() as usize);
        crash.iter().for_each(|node| self.crash(*node));
        leave.iter().for_each(|node| self.leave(*node));
        let marks = [(crash.len() as u32, "crash"), (leave.len() as u32, "leave"), (phase.start, "start")];
        for (count, what) in marks.into_iter().filter(|(count, _)| *count > 0) {
            self.mark(format!("{count} nodes {what}"));
        }
        for number in 0..phase.start {
            let node = self.newcomer();
            let at = self.world.now() + phase.over * number / phase.start;
            self.agenda.add(at, Due::Start(node));
        }
    }

    /// A session is over: the node goes, and a new one comes in its place at once.
    pub(super) fn end_session(&mut self, node: Index) {
        let Some(churn) = self.churn.filter(|_| self.crowd.live.contains(node)) else { return };
        if self.random.chance(churn.graceful) {
            self.leave(node);
        } else {
            self.crash(node);
        }
        self.fabric.forget(node);
        let newcomer = self.newcomer();
        self.start(newcomer);
        let ends = self.world.now() + churn.sessions.draw(&mut self.random);
        self.agenda.add(ends, Due::End(newcomer));
    }

    /// Looks at the ring, and says how far the run has come.
    pub(super) fn look(&mut self) {
        let now = self.world.now();
        let healing = self.heal.is_some_and(|heal| heal.is_open());
        if healing && self.is_ideal() {
            self.heal = self.heal.map(|mut heal| {
                heal.on_ideal(now);
                heal
            });
            self.mark("ring ideal".to_owned());
        }
        let often = healing && self.crowd.live.len() <= SMALL;
        self.agenda.add(now + if often { OFTEN } else { SECOND }, Due::Look);
        self.tell();
        if self.measured && now >= self.sampled + Duration::from_secs(SAMPLE_S) {
            self.sampled = now;
            self.crowd.live.nodes().iter().for_each(|node| self.connections.add(self.world.connections(*node)));
        }
    }
}
