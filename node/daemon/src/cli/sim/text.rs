//! A report for people.

use std::collections::BTreeMap;

use prost_sim::report::{Byzantine, Lookups, PeerletReport, Report, Summary, Violation};

use super::progress::clock;
use crate::cli::output;

/// Violations that are told one by one.
const MAX_VIOLATIONS: usize = 20;

/// The lines of a report.
pub(super) fn report(report: &Report) -> Vec<String> {
    let lookups = &report.lookups;
    let share = |count| format!("{:.3} %", lookups.share(count) * 100.0);
    let heal = report.heal_s.map_or_else(|| "-".to_owned(), |heal| format!("after {heal:.1} s"));
    let stretch = report.stretch_mean.map_or_else(|| "-".to_owned(), |stretch| format!("mean {stretch:.2}"));
    let rows = [
        ("scenario", format!("{}, {} nodes, seed {}", report.scenario, report.nodes, report.seed)),
        ("time", time(report)),
        (
            "lookups",
            format!(
                "{} asked, {} answered, {} correct, {} consistent, {} failed",
                lookups.asked,
                share(lookups.answered),
                share(lookups.correct),
                share(lookups.consistent),
                lookups.failed
            ),
        ),
        ("hops", summary(report.hops, "", 2)),
        ("latency", summary(report.latency_ms, " ms", 1)),
        ("stretch", stretch),
        ("connections", summary(report.connections, "", 1)),
        ("maintenance", format!("{:.1} B/s a node", report.maintenance_bytes_per_node_s)),
        ("handshakes", format!("{:.1} B/s a node", report.handshake_bytes_per_node_s)),
        ("ring", if report.ideal_ring { "ideal" } else { "not ideal" }.to_owned()),
        ("all right", heal),
        ("trace hash", report.trace_hash.clone()),
    ];
    let mut lines: Vec<String> = rows.into_iter().map(|(name, value)| format!("{name:<12} {value}")).collect();
    lines.extend(report.byzantine.iter().map(byzantine));
    lines.extend(report.peerlet.iter().flat_map(peerlet));
    lines.extend(report.violations.iter().take(MAX_VIOLATIONS).map(violation));
    if let Some(more) = report.violations.len().checked_sub(MAX_VIOLATIONS + 1) {
        lines.push(format!("{:<12} {} more", "broken", more + 1));
    }
    lines
}

/// The nodes that lied.
fn byzantine(byzantine: &Byzantine) -> String {
    let mined = byzantine.mined_key.map_or_else(String::new, |lookups| {
        let Lookups { asked, answered, correct, .. } = lookups;
        format!("; their key: {asked} asked, {answered} answered, {correct} correct")
    });
    format!("{:<12} {} nodes{mined}", "byzantine", byzantine.nodes)
}

/// What came of the application.
fn peerlet(peerlet: &PeerletReport) -> Vec<String> {
    let bytes = |summary: Option<Summary>| {
        let size = |bytes: f64| output::size(bytes.round() as u64);
        summary.map_or_else(|| "-".to_owned(), |of| format!("mean {} a node, most {}", size(of.mean), size(of.max)))
    };
    let (sent, calls) = (&peerlet.messages, &peerlet.calls);
    let counts = |counts: &BTreeMap<String, u64>| {
        let each: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if each.is_empty() { "none".to_owned() } else { each.join(", ") }
    };
    let rows = [
        ("", String::new()),
        ("peerlet", format!("{} {}", peerlet.name, peerlet.version)),
        (
            "installed",
            format!(
                "on {} nodes, {} run it at the end; {} transfers of code, {}",
                peerlet.installs,
                peerlet.running,
                peerlet.code_transfers,
                output::size(peerlet.code_bytes)
            ),
        ),
        (
            "messages",
            format!("{} asked, {} delivered{}", sent.asked, sent.delivered, failures(sent.failed, &sent.by_reason)),
        ),
        ("  latency", summary(peerlet.latency_ms, " ms", 1)),
        ("  hops", summary(peerlet.hops, "", 2)),
        (
            "calls",
            format!("{} asked, {} answered{}", calls.asked, calls.answered, failures(calls.failed, &calls.by_reason)),
        ),
        ("  latency", summary(peerlet.call_ms, " ms", 1)),
        ("events", format!("{}, {:.0} fuel each", peerlet.events, peerlet.fuel.per_event)),
        ("load", format!("messages handled by a node: {}", summary(peerlet.messages_per_node, "", 2))),
        ("stored", bytes(peerlet.stored_bytes)),
        ("refusals", counts(&peerlet.refusals)),
        ("traps", counts(&peerlet.traps)),
    ];
    rows.into_iter().map(|(name, value)| format!("{name:<12} {value}").trim_end().to_owned()).collect()
}

/// How many failed, and why.
fn failures(failed: u64, by_reason: &BTreeMap<String, u64>) -> String {
    let mut text = format!(", {failed} failed");
    for (number, (reason, count)) in by_reason.iter().enumerate() {
        text.push_str(&format!("{} {count} {reason}", if number == 0 { ":" } else { "," }));
    }
    text
}

fn time(report: &Report) -> String {
    let (seconds, wall) = (clock(report.virtual_s), report.wall_s);
    format!("{seconds} virtual, {wall:.1} s wall, {} events", report.events)
}

/// A summary with as many decimals of the mean, and a unit.
fn summary(summary: Option<Summary>, unit: &str, decimals: usize) -> String {
    let Some(Summary { mean, p50, p99, max }) = summary else { return "-".to_owned() };
    // What is a whole number for a node or a lookup has no decimals.
    let few = if unit.is_empty() { 0 } else { decimals };
    format!("mean {mean:.decimals$}{unit}, median {p50:.few$}{unit}, 99 % {p99:.few$}{unit}, most {max:.few$}{unit}")
}

fn violation(violation: &Violation) -> String {
    let node = violation.node.map(|node| format!(" at node {node}")).unwrap_or_default();
    format!("{:<12} {} at {:.6} s{node}: {}", "broken", violation.rule, violation.time, violation.text)
}

#[cfg(test)]
mod tests {
    use prost_sim::report::Messages;

    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_figure() {
        let figures = Report {
            scenario: "churn".to_owned(),
            nodes: 100,
            seed: 7,
            virtual_s: 3723.0,
            events: 12,
            lookups: Lookups { asked: 1000, answered: 999, correct: 999, consistent: 998, failed: 1 },
            hops: Some(Summary { mean: 3.25, p50: 3.0, p99: 6.0, max: 7.0 }),
            latency_ms: Some(Summary { mean: 250.0, p50: 240.25, p99: 700.0, max: 900.0 }),
            ..Report::default()
        };
        let lines = report(&figures);
        assert_eq!(lines[1], "time         1:02:03 virtual, 0.0 s wall, 12 events");
        let lookups = "1000 asked, 99.900 % answered, 99.900 % correct, 99.800 % consistent, 1 failed";
        assert_eq!(lines[2], format!("lookups      {lookups}"));
        assert_eq!(lines[3], "hops         mean 3.25, median 3, 99 % 6, most 7");
        assert_eq!(lines[4], "latency      mean 250.0 ms, median 240.2 ms, 99 % 700.0 ms, most 900.0 ms");
        assert_eq!(lines[5], "stretch      -");
    }

    #[test]
    fn an_application_has_lines_of_its_own() {
        let messages = Messages {
            asked: 9,
            delivered: 6,
            failed: 3,
            by_reason: [("deadline".to_owned(), 1), ("no-willing-node".to_owned(), 2)].into(),
        };
        let peerlet = PeerletReport {
            name: "echo".to_owned(),
            version: "1.0.0".to_owned(),
            messages,
            installs: 5,
            running: 4,
            code_transfers: 4,
            code_bytes: 2048,
            ..PeerletReport::default()
        };
        let lines = report(&Report { peerlet: Some(peerlet), ..Report::default() });
        let of = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).expect(name).trim();
        assert_eq!(of("peerlet"), "echo 1.0.0");
        assert_eq!(of("installed"), "on 5 nodes, 4 run it at the end; 4 transfers of code, 2.0 KiB");
        assert_eq!(of("messages"), "9 asked, 6 delivered, 3 failed: 1 deadline, 2 no-willing-node");
        assert_eq!(of("refusals"), "none");
    }

    #[test]
    fn violations_are_told_but_not_without_end() {
        let broken = Violation { rule: "R2".to_owned(), time: 1.0, node: Some(3), text: "alone".to_owned() };
        let figures = |count| Report { violations: vec![broken.clone(); count], ..Report::default() };
        let all = report(&figures(0)).len();
        assert_eq!(report(&figures(MAX_VIOLATIONS)).len(), all + MAX_VIOLATIONS);
        let lines = report(&figures(MAX_VIOLATIONS + 5));
        assert_eq!(lines[all], "broken       R2 at 1.000000 s at node 3: alone");
        assert_eq!(lines.last().map(String::as_str), Some("broken       5 more"));
    }
}
