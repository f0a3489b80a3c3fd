//! What Prometheus scrapes.
//!
//! The driver raises counters and sets gauges as it goes; a scrape renders them on the administration thread and never
//! takes the driver's time. Labels are bounded: applications (at most 64, and one for all others), reasons and kinds.
//! Never a node or a key.

mod peerlets;

use std::time::Duration;

use prometheus::{
    CounterVec, Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use prost_kbr::Refusal;
use prost_manager::{DownloadFailure, Node, Source, Space};

use crate::compiler::{Ended, Work};
use crate::metrics::peerlets::Peerlets;
use crate::store::Store;
use crate::transport::{Direction, Refused, Transport};

/// Sources of an application's code, as label values.
const SOURCES: [Source; Source::ALL.len()] = Source::ALL;
/// Whether compiled code was on disk, as label values.
const HIT: &str = "hit";
const MISS: &str = "miss";
/// A download that ended well, as a label value; the others are the failures' names.
const OK: &str = "ok";

/// Every series of a node.
pub struct Metrics {
    registry: Registry,
    connections: IntGaugeVec,
    round_trip: Histogram,
    lost_packets: IntGauge,
    frames: IntCounterVec,
    frame_bytes: IntCounterVec,
    dropped_frames: IntCounterVec,
    refused_connections: IntCounterVec,
    refused_handshakes: IntCounterVec,
    foreign_datagrams: IntCounter,
    table: IntGaugeVec,
    member: IntGauge,
    messages: IntCounterVec,
    lookup_seconds: Histogram,
    hops: Histogram,
    peerlets: Peerlets,
    installs: IntCounterVec,
    downloads: IntCounterVec,
    refusals: IntCounterVec,
    records: IntCounterVec,
    comparisons: IntCounterVec,
    keyed_faults: IntCounterVec,
    settling: IntGauge,
    content_bytes: IntGauge,
    content: IntCounterVec,
    damaged: IntCounter,
    damaged_now: IntGauge,
    space: IntGauge,
    malformed: IntCounterVec,
    compiles: IntCounterVec,
    compile_seconds: Histogram,
    compile_cache: IntCounterVec,
    commit_seconds: Histogram,
    commit_writes: Histogram,
    commit_bytes: IntCounter,
}

impl Metrics {
    /// A registry with every series in it; those with known labels at zero.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker { registry: &registry };
        let metrics = Metrics {
            connections: make.gauges("prost_quic_connections", "Live connections, by who dialled.", &["direction"])?,
            round_trip: make.histogram(
                "prost_quic_rtt_seconds",
                "Smoothed round-trip times, each connection once a second.",
                &[0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
            )?,
            lost_packets: make.gauge("prost_quic_lost_packets", "Lost packets on the connections that are live.")?,
            frames: make.counters("prost_frames_total", "Frames, by direction.", &["direction"])?,
            frame_bytes: make.counters("prost_frame_bytes_total", "Bytes in frames, by direction.", &["direction"])?,
            dropped_frames: make.counters("prost_frames_dropped_total", "Frames that did not go out.", &["reason"])?,
            refused_connections: make.counters(
                "prost_connections_refused_total",
                "Connections refused or ended by this node, malformed frames included.",
                &["reason"],
            )?,
            refused_handshakes: make.counters(
                "prost_handshakes_refused_total",
                "TLS handshakes refused because of the peer's certificate or signature.",
                &["reason"],
            )?,
            foreign_datagrams: make.counter("prost_foreign_datagrams_total", "UDP datagrams that are not Prost's.")?,
            table: make.gauges("prost_routing_table_entries", "Entries of the routing table.", &["level"])?,
            member: make.gauge("prost_ring_member", "1 while the node is a member of a ring.")?,
            messages: make.counters(
                "prost_route_messages_total",
                "What the routing layer did with messages, lookups included.",
                &["event"],
            )?,
            lookup_seconds: make.histogram(
                "prost_lookup_duration_seconds",
                "Time from a local lookup to its outcome.",
                &[0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
            )?,
            hops: make.histogram(
                "prost_route_hops",
                "Hops of local lookups.",
                &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0],
            )?,
            peerlets: Peerlets::new(&make)?,
            installs: make.counters("prost_peerlet_installs_total", "Installations, by where from.", &["from"])?,
            downloads: make.counters("prost_downloads_total", "Downloads of code from URLs, by how they ended.", &["result"])?,
            refusals: make.counters(
                "prost_peerlet_rejected_total",
                "Refusals to run an application, by reason.",
                &["reason"],
            )?,
            malformed: make.counters(
                "prost_malformed_total",
                "Parts of frames that the programmable layer could not read.",
                &["part"],
            )?,
            records: make.counters(
                "prost_keyed_records_total",
                "What was done with keyed records, by whether they were kept for others, taken, given, dropped, read from \
                 the disk to check them, or fetched in the place of damaged ones.",
                &["event"],
            )?,
            comparisons: make.counters(
                "prost_keyed_comparisons_total",
                "Comparisons of keyed records with other nodes, by how they ended.",
                &["result"],
            )?,
            keyed_faults: make.counters(
                "prost_keyed_faults_total",
                "Events whose writes too few replicas acknowledged in time, and ranges served before all had handed over.",
                &["reason"],
            )?,
            settling: make.gauge("prost_keyed_settling", "1 while records of this node's range are on their way to it.")?,
            content_bytes: make.gauge("prost_content_bytes", "Bytes that the ring's store of code takes here.")?,
            content: make.counters(
                "prost_content_total",
                "Pieces of code that were taken, refused, had no room or came damaged, and packages that were published.",
                &["event"],
            )?,
            damaged: make.counter("prost_storage_damaged_total", "Records that were found to be damaged on the disk.")?,
            damaged_now: make.gauge("prost_storage_damaged_records", "Damaged records that have not been replaced.")?,
            space: make.gauge(
                "prost_storage_space",
                "Room on the disk: 0 enough, 1 nothing new is installed, 2 nothing may grow.",
            )?,
            compiles: make.counters("prost_compiles_total", "Components compiled, by how it ended.", &["result"])?,
            compile_seconds: make.histogram(
                "prost_compile_duration_seconds",
                "Time of compiling one component.",
                &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0],
            )?,
            compile_cache: make.counters(
                "prost_compile_cache_total",
                "Looks for compiled code on disk, by whether it was there.",
                &["result"],
            )?,
            commit_seconds: make.histogram(
                "prost_storage_commit_duration_seconds",
                "Time of one transaction, fsync included.",
                &[0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0],
            )?,
            commit_writes: make.histogram(
                "prost_storage_commit_writes",
                "Record changes in one transaction.",
                &[0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0],
            )?,
            commit_bytes: make.counter("prost_storage_committed_bytes_total", "Bytes of values made durable.")?,
            registry: registry.clone(),
        };
        let build = make.gauges("prost_build_info", "1; what runs is in the labels.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        metrics.start_at_zero();
        Ok(metrics)
    }

    /// Every known label value exists from the start.
    fn start_at_zero(&self) {
        let known = [
            (&self.records, &["kept", "taken", "given", "dropped", "checked", "repaired"][..]),
            (&self.comparisons, &["ok", "error"]),
            (&self.keyed_faults, &["unacknowledged", "unsettled"]),
            (&self.malformed, &["record_frame"]),
            (&self.downloads, &[OK]),
            (&self.content, &["taken", "refused", "full", "bad", "published"]),
        ];
        for (counters, values) in known {
            values.iter().for_each(|value| drop(counters.with_label_values(&[*value])));
        }
        for reason in Refusal::ALL {
            self.refusals.with_label_values(&[reason.name()]);
        }
        for reason in Refused::ALL {
            self.refused_connections.with_label_values(&[reason.name()]);
        }
        for failure in DownloadFailure::ALL {
            self.downloads.with_label_values(&[failure.name()]);
        }
        for source in SOURCES {
            self.installs.with_label_values(&[source.name()]);
        }
        for ended in Ended::ALL {
            self.compiles.with_label_values(&[ended.name()]);
        }
        for found in [HIT, MISS] {
            self.compile_cache.with_label_values(&[found]);
        }
    }

    /// The text that Prometheus reads, format 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics could not be rendered");
        }
        text
    }

    pub(crate) fn observe_round_trip(&self, rtt: Duration) {
        self.round_trip.observe(rtt.as_secs_f64());
    }

    pub(crate) fn observe_lookup(&self, took: Duration, hops: u8) {
        self.lookup_seconds.observe(took.as_secs_f64());
        self.hops.observe(f64::from(hops));
    }

    pub(crate) fn observe_commit(&self, took: Duration, writes: usize, bytes: usize) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_writes.observe(writes as f64);
        self.commit_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn observe_compile(&self, work: Work) {
        match work {
            Work::Nothing => {}
            Work::Cached => self.compile_cache.with_label_values(&[HIT]).inc(),
            Work::Compiled { ended, took } => {
                self.compile_cache.with_label_values(&[MISS]).inc();
                self.compiles.with_label_values(&[ended.name()]).inc();
                self.compile_seconds.observe(took.as_secs_f64());
            }
        }
    }

    /// Brings what the machine and the transport count by themselves up to date.
    pub(crate) fn update(&self, node: &Node, transport: &Transport) {
        self.update_transport(transport);
        self.update_ring(node);
        self.update_peerlets(node);
    }

    /// The same for what the store counts.
    pub(crate) fn update_store(&self, store: &Store) {
        let (found, now) = store.damaged();
        raise(&self.damaged, found);
        self.damaged_now.set(gauge(now));
        self.space.set(match store.space() {
            Space::Enough => 0,
            Space::Scarce => 1,
            Space::Full => 2,
        });
    }

    fn update_transport(&self, transport: &Transport) {
        let connections = transport.connections();
        for (direction, name) in [(Direction::Inbound, "inbound"), (Direction::Outbound, "outbound")] {
            let count = connections.iter().filter(|connection| connection.direction == direction).count();
            self.connections.with_label_values(&[name]).set(gauge(count as u64));
        }
        self.lost_packets.set(gauge(connections.iter().map(|connection| connection.lost_packets).sum()));
        let stats = transport.stats();
        raise(&self.frames.with_label_values(&["sent"]), stats.frames_sent.get());
        raise(&self.frames.with_label_values(&["received"]), stats.frames_received.get());
        raise(&self.frame_bytes.with_label_values(&["sent"]), stats.bytes_sent.get());
        raise(&self.frame_bytes.with_label_values(&["received"]), stats.bytes_received.get());
        raise(&self.dropped_frames.with_label_values(&["overflow"]), stats.frames_overflowed.get());
        raise(&self.dropped_frames.with_label_values(&["undelivered"]), stats.frames_undelivered.get());
        for reason in Refused::ALL {
            raise(&self.refused_connections.with_label_values(&[reason.name()]), stats.refused(reason));
        }
        for (rejection, count) in stats.rejections().iter() {
            raise(&self.refused_handshakes.with_label_values(&[rejection.name()]), count);
        }
        raise(&self.foreign_datagrams, stats.foreign_datagrams());
    }

    fn update_ring(&self, node: &Node) {
        let view = node.view();
        self.member.set(i64::from(view.joined));
        let levels = [("predecessor", &view.predecessors), ("successor", &view.successors), ("finger", &view.fingers)];
        for (level, peers) in levels {
            self.table.with_label_values(&[level]).set(gauge(peers.len() as u64));
        }
        let stats = node.ring().stats();
        let events = [
            ("started", stats.started),
            ("ended_ok", stats.ended_ok),
            ("ended_failed", stats.ended_failed),
            ("forwarded", stats.routed_forwarded),
            ("delivered", stats.delivered),
            ("acknowledged", stats.acknowledged),
            ("retried", stats.retries),
            ("timed_out", stats.timeouts),
            ("fallen_over", stats.fallen_over),
            ("hop_limit", stats.hop_limit),
            ("expired", stats.expired),
            ("duplicate", stats.duplicates),
            ("overloaded", stats.overloaded),
            ("dropped", stats.dropped),
        ];
        for (event, count) in events {
            raise(&self.messages.with_label_values(&[event]), count);
        }
    }

    fn update_records(&self, node: &Node) {
        let stats = node.record_stats();
        let events = [
            ("kept", stats.stored),
            ("taken", stats.pulled),
            ("given", stats.given),
            ("dropped", stats.dropped),
            ("checked", stats.checked),
            ("repaired", stats.repaired),
        ];
        for (event, count) in events {
            raise(&self.records.with_label_values(&[event]), count);
        }
        for (result, count) in [("ok", stats.compared), ("error", stats.failed)] {
            raise(&self.comparisons.with_label_values(&[result]), count);
        }
        for (reason, count) in [("unacknowledged", stats.unacknowledged), ("unsettled", stats.unsettled)] {
            raise(&self.keyed_faults.with_label_values(&[reason]), count);
        }
        raise(&self.malformed.with_label_values(&["record_frame"]), stats.bad_frames);
        self.settling.set(i64::from(node.is_settling()));
    }

    fn update_content(&self, node: &Node) {
        let stats = node.content_stats();
        self.content_bytes.set(gauge(stats.bytes));
        for (event, count) in [
            ("taken", stats.taken),
            ("refused", stats.refused),
            ("full", stats.full),
            ("bad", stats.bad),
            ("published", stats.published),
        ] {
            raise(&self.content.with_label_values(&[event]), count);
        }
    }

    fn update_peerlets(&self, node: &Node) {
        self.peerlets.update(node);
        let stats = node.stats();
        for (reason, count) in &stats.refusals {
            raise(&self.refusals.with_label_values(&[reason.name()]), *count);
        }
        for (result, count) in &stats.downloads {
            raise(&self.downloads.with_label_values(&[*result]), *count);
        }
        for source in SOURCES {
            raise(
                &self.installs.with_label_values(&[source.name()]),
                stats.installs.get(&source).copied().unwrap_or(0),
            );
        }
        raise(&self.malformed.with_label_values(&["code_frame"]), stats.bad_code_frames);
        self.update_records(node);
        self.update_content(node);
        raise(&self.malformed.with_label_values(&["header"]), stats.bad_headers);
    }
}

/// Makes and registers series.
struct Maker<'a> {
    registry: &'a Registry,
}

impl Maker<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.registered(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn float_counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, prometheus::Error> {
        self.registered(CounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.registered(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.registered(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    fn registered<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        collector: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }
}

/// Raises a counter to what another place has counted.
fn raise(counter: &IntCounter, counted: u64) {
    counter.inc_by(counted.saturating_sub(counter.get()));
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compile_is_counted_by_its_end_and_by_where_its_code_was() {
        let metrics = Metrics::new().unwrap();
        let took = Duration::from_millis(5);
        for work in [Work::Nothing, Work::Cached, Work::Compiled { ended: Ended::Rejected, took }] {
            metrics.observe_compile(work);
        }
        let text = String::from_utf8(metrics.render()).unwrap();
        for line in [
            "prost_compiles_total{result=\"rejected\"} 1",
            "prost_compiles_total{result=\"ok\"} 0",
            "prost_compile_cache_total{result=\"hit\"} 1",
            "prost_compile_cache_total{result=\"miss\"} 1",
            "prost_compile_duration_seconds_count 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn every_series_has_a_help_text_and_known_labels_start_at_zero() {
        let text = String::from_utf8(Metrics::new().unwrap().render()).unwrap();
        assert!(text.contains("prost_peerlet_rejected_total{reason=\"denied\"} 0"), "{text}");
        assert!(text.contains("prost_connections_refused_total{reason=\"wrong_ring\"} 0"));
        assert!(text.contains("prost_compiles_total{result=\"stopped\"} 0"));
        let types = text.lines().filter(|line| line.starts_with("# TYPE prost_")).count();
        let helps =
            text.lines().filter(|line| line.starts_with("# HELP prost_") && line.split(' ').count() > 4).count();
        assert!(types > 0);
        assert_eq!(types, helps);
    }
}
