//! The outcome of a run.

use std::fmt::Write as _;

use prost_kbr::AppId;
use prost_manager::{AppState, Node};

use super::Outcome;
use super::driver::{Driver, seconds};
use crate::apps::AppUsage;
use crate::measure::add;
use crate::report::{AppSeries, Distribution, Fuel, Load, PeerletReport, Report, Series};
use crate::world::Index;

impl Driver<'_> {
    pub(super) fn outcome(mut self) -> Outcome {
        let lookup_ms: Distribution = self.lookups.times().map(|(_, _, time)| time.as_secs_f64() * 1e3).collect();
        let direct_ms = self.direct_ms();
        let hops = self.lookups.hops();
        let rates = self.traffic.rates();
        let stretch = lookup_ms.mean().zip(direct_ms.mean().filter(|mean| *mean > 0.0));
        let report = Report {
            scenario: self.options.scenario.to_string(),
            nodes: self.plan.nodes,
            seed: self.options.seed,
            virtual_s: seconds(self.world.now()),
            wall_s: 0.0,
            events: self.world.events(),
            lookups: self.lookups.counts(),
            hops: hops.summary(),
            latency_ms: lookup_ms.summary(),
            stretch_mean: stretch.map(|(lookup, direct)| lookup / direct),
            connections: self.connections.summary(),
            maintenance_bytes_per_node_s: rates.maintenance,
            handshake_bytes_per_node_s: rates.handshakes,
            violations: self.watch.at_end(&self.world),
            ideal_ring: self.is_ideal(),
            heal_s: self.heal.and_then(|heal| heal.seconds(self.lookups.last_wrong(heal.fault()))),
            peerlet: self.peerlet_report(),
            byzantine: self.byzantine_report(),
            trace_hash: hex(&self.world.trace_hash()),
            options: serde_json::to_value(self.options).unwrap_or_default(),
        };
        let series = Series {
            lookup_ms,
            direct_ms,
            hops: hops.counts().to_vec(),
            seconds: self.lookups.seconds(),
            load: self.load(),
            app: self.app_series(),
            marks: std::mem::take(&mut self.marks),
        };
        Outcome { report, series }
    }

    /// The direct round trip between each asker and the owner that it was told; zero where these are one.
    fn direct_ms(&self) -> Distribution {
        let pairs = self.lookups.times().filter_map(|(asker, owner, _)| Some((asker, self.world.index(owner)?)));
        let direct = |(asker, owner): (Index, Index)| match asker == owner {
            true => 0.0,
            false => self.latency.round_trip(asker, owner).as_secs_f64() * 1e3,
        };
        pairs.map(direct).collect()
    }

    fn peerlet_report(&self) -> Option<PeerletReport> {
        let running = self.peerlet.as_deref()?;
        let (manifest, meter) = (running.package.manifest.manifest(), &running.meter);
        let (installs, code_transfers, code_bytes) = meter.installs();
        let mut report = PeerletReport {
            name: manifest.name.to_string(),
            version: manifest.version.to_string(),
            component: manifest.component.digest.to_string(),
            workload: serde_json::to_value(&running.workload).unwrap_or_default(),
            messages: meter.messages.messages(),
            latency_ms: meter.messages.latency_ms().summary(),
            hops: meter.messages.hops().summary(),
            calls: meter.calls.calls(),
            call_ms: meter.calls.latency_ms().summary(),
            installs,
            running: self.crowd.live.nodes().iter().filter(|node| self.runs(**node, running.app())).count() as u64,
            code_transfers,
            code_bytes,
            ..PeerletReport::default()
        };
        for usage in (0..self.world.count()).filter_map(|node| self.world.app_usage(node)) {
            report.events += usage.events;
            report.fuel.total += usage.fuel;
            add(&mut report.traps, usage.traps.into_iter().map(|(kind, count)| (kind.to_owned(), count)));
            add(&mut report.refusals, usage.refusals.into_iter().map(|(why, count)| (why.name().to_owned(), count)));
        }
        let total = report.fuel.total;
        let per_event = if report.events == 0 { 0.0 } else { total as f64 / report.events as f64 };
        report.fuel = Fuel { total, per_event };
        let of_nodes = |figure: fn(&AppUsage) -> u64| -> Distribution {
            self.crowd.live.nodes().iter().map(|node| self.usage(*node, figure) as f64).collect()
        };
        report.stored_bytes = of_nodes(|usage| usage.stored_bytes).summary();
        report.messages_per_node = of_nodes(|usage| usage.messages).summary();
        Some(report)
    }

    /// Whether the application runs on a node now.
    fn runs(&self, node: Index, app: &AppId) -> bool {
        let apps = self.world.node(node).map(Node::apps).unwrap_or_default();
        apps.iter().any(|status| status.app == *app && status.state == AppState::Running)
    }

    fn usage(&self, node: Index, figure: fn(&AppUsage) -> u64) -> u64 {
        self.world.app_usage(node).as_ref().map_or(0, figure)
    }

    fn app_series(&self) -> Option<AppSeries> {
        let running = self.peerlet.as_deref()?;
        let messages = self.crowd.live.nodes().iter().map(|node| self.usage(*node, |usage| usage.messages)).collect();
        let (began, ends) = running.span();
        Some(AppSeries { running: running.meter.running().to_vec(), span_s: (seconds(began), seconds(ends)), messages })
    }

    fn load(&self) -> Vec<Load> {
        let mut nodes = self.crowd.live.nodes().to_vec();
        nodes.sort_unstable();
        let load = |node: Index| {
            let before = self.handled.get(node as usize).copied().unwrap_or(0);
            Load {
                position: position(self.world.peer(node).id.as_bytes()),
                messages: self.messages(node) - before,
                connections: self.world.connections(node) as u64,
            }
        };
        nodes.into_iter().map(load).collect()
    }
}

/// Where an id is on the ring, as a share of it.
fn position(id: &[u8; 20]) -> f64 {
    let (head, _) = id.split_first_chunk::<4>().expect("an id has twenty bytes");
    f64::from(u32::from_be_bytes(*head)) / 2f64.powi(32)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
