//! What an application was asked, and what came of it.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use prost_kbr::{Failure, Outcome, Time};
use prost_manager::{CallFailure, Installation, Source};

use super::tally::Tally;
use crate::report::{Calls, Distribution, Messages};
use crate::world::Index;

/// The messages and calls of a run, and where the application was installed.
#[derive(Debug, Default)]
pub struct PeerletMeter {
    /// Messages.
    pub messages: Asks,
    /// Calls.
    pub calls: Asks,
    installs: u64,
    transfers: u64,
    transfer_bytes: u64,
    running: Vec<(f64, u64)>,
}

/// Things that were asked, in order. The request number of one is its place.
#[derive(Debug, Default)]
pub struct Asks {
    records: Vec<Record>,
    open: usize,
}

#[derive(Debug)]
struct Record {
    at: Time,
    node: Index,
    end: End,
}

#[derive(Debug)]
enum End {
    Open,
    /// The node that asked went away first.
    Lost,
    Failed(&'static str),
    Done {
        at: Time,
        hops: u8,
    },
}

impl PeerletMeter {
    /// A node has come to run it; so many do now.
    pub fn installed(&mut self, now: Time, installation: &Installation, running: usize) {
        self.installs += 1;
        if installation.source != Source::Local {
            self.transfers += 1;
            self.transfer_bytes += installation.bytes;
        }
        self.count_running(now, running);
    }

    /// So many nodes run it now.
    pub fn count_running(&mut self, now: Time, running: usize) {
        self.running.push((now.as_micros() as f64 / 1e6, running as u64));
    }

    /// A message has ended. `lives` says whether its origin is still a member.
    pub fn routed(&mut self, now: Time, request: u64, outcome: &Outcome, lives: bool) {
        let end = match &outcome.result {
            Ok(_) => Ok(outcome.hops),
            Err(failure) => Err(failure_name(failure)),
        };
        self.messages.ended(now, request, end, lives);
    }

    /// A call has ended.
    pub fn responded(&mut self, now: Time, request: u64, outcome: &Result<Bytes, CallFailure>, lives: bool) {
        let end = match outcome {
            Ok(_) => Ok(0),
            Err(CallFailure::NotInstalled(_)) => Err("not-installed"),
            Err(CallFailure::Ambiguous(_)) => Err("ambiguous"),
            Err(CallFailure::Refused(refusal)) => Err(refusal.name()),
            Err(CallFailure::Application(_)) => Err("application"),
            Err(CallFailure::Failed(failure)) => Err(failure_name(failure)),
        };
        self.calls.ended(now, request, end, lives);
    }

    /// Whether something has not ended.
    pub fn is_open(&self) -> bool {
        self.messages.open + self.calls.open > 0
    }

    /// Ends what is still open: it is lost where the node that asked is gone, else it has failed.
    pub fn close(&mut self, lives: impl Fn(Index) -> bool) {
        self.messages.close(&lives);
        self.calls.close(&lives);
    }

    /// How many nodes have come to run it, how many of them were given the code by another node, and its bytes.
    pub fn installs(&self) -> (u64, u64, u64) {
        (self.installs, self.transfers, self.transfer_bytes)
    }

    /// The seconds at which the number of nodes that run it changed, and the number from then on.
    pub fn running(&self) -> &[(f64, u64)] {
        &self.running
    }
}

impl Asks {
    /// Notes that something is asked, and gives its request number.
    pub fn ask(&mut self, at: Time, node: Index) -> u64 {
        self.records.push(Record { at, node, end: End::Open });
        self.open += 1;
        self.records.len() as u64 - 1
    }

    /// Notes what could not be asked.
    pub fn not_asked(&mut self, at: Time, why: &'static str) {
        self.records.push(Record { at, node: Index::MAX, end: End::Failed(why) });
    }

    fn ended(&mut self, now: Time, request: u64, end: Result<u8, &'static str>, lives: bool) {
        let Some(record) = usize::try_from(request).ok().and_then(|place| self.records.get_mut(place)) else { return };
        if !matches!(record.end, End::Open) {
            return;
        }
        self.open -= 1;
        record.end = match end {
            Ok(hops) => End::Done { at: now, hops },
            Err(reason) if lives => End::Failed(reason),
            Err(_) => End::Lost,
        };
    }

    fn close(&mut self, lives: impl Fn(Index) -> bool) {
        for record in self.records.iter_mut().filter(|record| matches!(record.end, End::Open)) {
            record.end = if lives(record.node) { End::Failed("no-answer") } else { End::Lost };
        }
        self.open = 0;
    }

    /// The counts of messages. What was asked by a node that went away first does not count.
    pub fn messages(&self) -> Messages {
        let (delivered, by_reason) = self.counts();
        let failed = by_reason.values().sum();
        Messages { asked: delivered + failed, delivered, failed, by_reason }
    }

    /// The same of calls.
    pub fn calls(&self) -> Calls {
        let (answered, by_reason) = self.counts();
        let failed = by_reason.values().sum();
        Calls { asked: answered + failed, answered, failed, by_reason }
    }

    /// How many were done, and the failures by reason.
    fn counts(&self) -> (u64, BTreeMap<String, u64>) {
        let mut reasons = BTreeMap::new();
        for record in &self.records {
            if let End::Failed(reason) = record.end {
                *reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        (self.done().count() as u64, reasons)
    }

    /// How long those took that were done, in milliseconds.
    pub fn latency_ms(&self) -> Distribution {
        self.done().map(|(took, _)| took.as_secs_f64() * 1e3).collect()
    }

    /// The hops of those that were done.
    pub fn hops(&self) -> Tally {
        let mut tally = Tally::default();
        self.done().for_each(|(_, hops)| tally.add(hops.into()));
        tally
    }

    fn done(&self) -> impl Iterator<Item = (Duration, u8)> {
        self.records.iter().filter_map(|record| match record.end {
            End::Done { at, hops } => Some((at.since(record.at), hops)),
            End::Open | End::Lost | End::Failed(_) => None,
        })
    }
}

/// The kebab-case name of a failure.
fn failure_name(failure: &Failure) -> &'static str {
    match failure {
        Failure::Deadline => "deadline",
        Failure::Unreachable => "unreachable",
        Failure::NoWillingNode(_) => "no-willing-node",
        Failure::TooManyHops => "too-many-hops",
        Failure::NotDurable => "not-durable",
        Failure::HandlerFailed(_) => "handler-failed",
        Failure::NotJoined => "not-joined",
        Failure::Overloaded => "overloaded",
    }
}

/// Adds what a node counted by name.
pub(crate) fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, counts: impl IntoIterator<Item = (K, u64)>) {
    counts.into_iter().for_each(|(name, count)| *to.entry(name).or_default() += count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_ends_once_and_what_nobody_waits_for_does_not_count() {
        let (mut asks, at) = (Asks::default(), Time::from_micros);
        let [a, b, c, d] = [0, 1, 2, 3].map(|node| asks.ask(at(1_000), node));
        asks.not_asked(at(2_000), "nobody");
        asks.ended(at(3_000), a, Ok(2), true);
        asks.ended(at(9_000), a, Err("late"), true);
        asks.ended(at(3_000), b, Err("deadline"), true);
        asks.ended(at(3_000), c, Err("deadline"), false);
        assert_eq!(asks.open, 1, "{d} is open");
        asks.close(|_| true);
        let counts = asks.messages();
        assert_eq!((counts.asked, counts.delivered, counts.failed), (4, 1, 3));
        let reasons: Vec<(&str, u64)> = counts.by_reason.iter().map(|(why, count)| (why.as_str(), *count)).collect();
        assert_eq!(reasons, [("deadline", 1), ("no-answer", 1), ("nobody", 1)]);
        assert_eq!((asks.latency_ms().samples(), asks.hops().counts()), (&[2.0][..], &[0, 0, 1][..]));
    }
}
