//! A scenario as phases.

use core::time::Duration;

use super::byzantine::Byzantine;
use super::error::Error;
use super::options::{Options, Scenario, within};
use super::study;
use crate::network::Network;
use crate::sessions::Sessions;

/// How long the built-in scenarios look at the whole ring before something happens to it.
const BEFORE: Duration = Duration::from_secs(60);
/// How long the newcomers of a flash crowd take to come.
const FLOOD: Duration = Duration::from_secs(10);
/// Nodes that ask for the same key at once where one wants to see whether they agree (Rhea et al., USENIX 2004).
const ASKERS: u32 = 10;

/// What happens, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Nodes of the ring when the first phase begins.
    pub nodes: u32,
    /// The phases.
    pub phases: Vec<Phase>,
}

/// One phase. What happens at once happens at its beginning: cut, crash, leave, start, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What the phase is called in messages and plots.
    pub name: String,
    /// The same for [`Progress`](super::Progress).
    pub label: &'static str,
    /// How long it takes.
    pub time: Duration,
    /// Whether its lookups and its traffic count.
    pub measured: bool,
    /// Lookups, spread evenly.
    pub lookups: u64,
    /// Nodes that ask for the same key at once.
    pub askers: u32,
    /// Share of the live nodes that crash at one instant.
    pub crash: f64,
    /// Share of the live nodes that leave at one instant.
    pub leave: f64,
    /// Nodes that start.
    pub start: u32,
    /// The time over which they start, evenly.
    pub over: Duration,
    /// Sessions that end, each followed by a new one.
    pub churn: Option<Churn>,
    /// Parts into which the network is cut, 1 to make it whole; none to leave it as it is.
    pub cut: Option<u8>,
    /// Nodes that lie from its beginning; none to leave it as it is.
    pub byzantine: Option<Byzantine>,
    /// What changes about the network.
    pub conditions: Conditions,
}

/// Nodes that come and go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// How long they stay.
    pub sessions: Sessions,
    /// Share of the sessions that end with a leave instead of a crash.
    pub graceful: f64,
}

/// Changes of the network; none leaves a condition as it is. The fields are those of [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Conditions {
    /// See [`Network::jitter`].
    pub jitter: Option<f64>,
    /// See [`Network::loss`].
    pub loss: Option<f64>,
    /// See [`Network::loss_burst`].
    pub loss_burst: Option<f64>,
    /// See [`Network::duplicate`].
    pub duplicate: Option<f64>,
    /// See [`Network::extra_delay`].
    pub extra_delay: Option<Duration>,
    /// See [`Network::bandwidth`]; zero for no bound.
    pub bandwidth: Option<u64>,
}

impl Conditions {
    /// Applies the changes.
    pub fn apply(&self, network: &mut Network) {
        network.jitter = self.jitter.unwrap_or(network.jitter);
        network.loss = self.loss.unwrap_or(network.loss);
        network.loss_burst = self.loss_burst.unwrap_or(network.loss_burst);
        network.duplicate = self.duplicate.unwrap_or(network.duplicate);
        network.extra_delay = self.extra_delay.unwrap_or(network.extra_delay);
        if let Some(bandwidth) = self.bandwidth {
            network.bandwidth = (bandwidth > 0).then_some(bandwidth);
        }
    }
}

impl Phase {
    /// A measured phase of this length in which nothing happens.
    pub fn quiet(name: &str, label: &'static str, time: Duration) -> Phase {
        Phase {
            name: name.to_owned(),
            label,
            time,
            measured: true,
            lookups: 0,
            askers: 1,
            crash: 0.0,
            leave: 0.0,
            start: 0,
            over: Duration::ZERO,
            churn: None,
            cut: None,
            byzantine: None,
            conditions: Conditions::default(),
        }
    }
}

impl Plan {
    /// The plan of the scenario that the options name.
    ///
    /// # Errors
    ///
    /// A study's file cannot be read or has a mistake, or a partition leaves no time of `duration` to see it heal.
    pub fn of(options: &Options) -> Result<Plan, Error> {
        if let Scenario::Study(path) = &options.scenario {
            return study::read(path, options);
        }
        let mut phases = built_in(options)?;
        let askers = if options.scenario == Scenario::Stable { 1 } else { ASKERS };
        phases.iter_mut().for_each(|phase| phase.askers = options.askers.unwrap_or(askers));
        spread(&mut phases, options.lookups);
        if options.byzantine > 0.0 {
            let byzantine = Some(Byzantine { share: options.byzantine, kind: options.byzantine_kind });
            let quiet = Phase::quiet("byzantine", "byzantine", BEFORE);
            phases.insert(0, Phase { measured: false, byzantine, ..quiet });
        }
        Ok(Plan { nodes: options.nodes, phases })
    }

    /// The virtual time of all phases.
    pub fn time(&self) -> Duration {
        self.phases.iter().map(|phase| phase.time).sum()
    }

    /// The most parts into which a phase cuts the network.
    pub fn parts(&self) -> u8 {
        self.phases.iter().filter_map(|phase| phase.cut).max().unwrap_or(1)
    }
}

fn built_in(options: &Options) -> Result<Vec<Phase>, Error> {
    let whole = options.duration;
    let before = BEFORE.min(whole / 4);
    let mut first = Phase::quiet("before", "before", before);
    Ok(match options.scenario {
        Scenario::Stable | Scenario::Study(_) => vec![Phase::quiet("stable", "stable", whole)],
        Scenario::Churn => {
            let sessions = Sessions { lifetimes: options.lifetimes, median: options.session_median };
            let churn = Churn { sessions, graceful: options.graceful };
            vec![Phase { churn: Some(churn), ..Phase::quiet("churn", "churn", whole) }]
        }
        Scenario::Massacre => {
            vec![first, Phase { crash: options.crash, ..Phase::quiet("massacre", "massacre", whole - before) }]
        }
        Scenario::FlashCrowd => {
            let crowd = Phase::quiet("flash crowd", "flash crowd", whole - before);
            vec![first, Phase { start: options.nodes, over: FLOOD.min(whole - before), ..crowd }]
        }
        Scenario::Partition => {
            within("ways", u32::from(options.ways), 2, options.nodes.max(2))?;
            let Some(after) = whole.checked_sub(before + options.cut_time).filter(|after| !after.is_zero()) else {
                let reason = "the whole of it must be longer than cut_time and the minute before".to_owned();
                return Err(Error::Option { name: "duration", reason });
            };
            first.name = "whole".to_owned();
            let cut = Phase::quiet("cut", "cut", options.cut_time);
            let healed = Phase::quiet("healed", "healed", after);
            vec![first, Phase { cut: Some(options.ways), ..cut }, Phase { cut: Some(1), ..healed }]
        }
    })
}

/// Gives each phase as many of the lookups as its share of the time; the last one gets what rounding leaves.
fn spread(phases: &mut [Phase], lookups: u64) {
    let total = phases.iter().map(|phase| phase.time.as_micros()).sum::<u128>().max(1);
    let (mut time, mut given) = (0, 0);
    for phase in phases {
        time += phase.time.as_micros();
        let upto = (u128::from(lookups) * time / total) as u64;
        phase.lookups = upto - given;
        given = upto;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_takes_the_whole_time_and_all_lookups() {
        for scenario in
            [Scenario::Stable, Scenario::Churn, Scenario::Massacre, Scenario::Partition, Scenario::FlashCrowd]
        {
            let options = Options { scenario, lookups: 9_999, ..Options::default() };
            let plan = Plan::of(&options).unwrap();
            assert_eq!(plan.time(), options.duration);
            assert_eq!(plan.phases.iter().map(|phase| phase.lookups).sum::<u64>(), 9_999);
        }
    }

    #[test]
    fn a_partition_needs_time_to_heal() {
        let duration = Duration::from_secs(660);
        let options = Options { scenario: Scenario::Partition, duration, ..Options::default() };
        assert!(matches!(Plan::of(&options), Err(Error::Option { name: "duration", .. })));
        let plan = Plan::of(&Options { duration: duration + Duration::from_secs(1), ..options }).unwrap();
        assert_eq!((plan.parts(), plan.phases.len()), (2, 3));
    }

    #[test]
    fn conditions_change_only_what_they_name() {
        let mut network = Network { loss: 0.1, jitter: 0.2, bandwidth: Some(5), ..Network::default() };
        Conditions { loss: Some(0.0), bandwidth: Some(0), ..Conditions::default() }.apply(&mut network);
        assert_eq!((network.loss, network.jitter, network.bandwidth), (0.0, 0.2, None));
    }
}
