//! The series of applications: what each uses, and what is reserved for it.
//!
//! Each series has one label for the application. The first [`OWN_LABELS`] that have code have one of their own for as
//! long as they are here; all others are told together as `other`. One that is gone leaves no series behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use prometheus::{Counter, CounterVec, IntGaugeVec};
use prost_kbr::AppId;
use prost_manager::{AppStatus, Node, Usage};
use prost_package::Resource;

use super::{Maker, gauge};

/// Applications with a label of their own.
const OWN_LABELS: usize = 64;
/// The label of all others.
const OTHER: &str = "other";
/// By how much of itself a counter can miss what was counted, as its numbers are rounded: if it is further beyond, what
/// was counted has begun anew.
const ROUNDING: f64 = 1e-9;

const MICROS: f64 = 1e6;

type CountOf = fn(&Usage) -> f64;
type GaugeOf = fn(&AppStatus) -> u64;

const COUNTERS: [(&str, &str, CountOf); 13] = [
    ("prost_peerlet_fuel_consumed_total", "Fuel burnt.", |usage| usage.fuel as f64),
    ("prost_peerlet_run_seconds_total", "Time in the sandbox.", |usage| usage.micros as f64 / MICROS),
    ("prost_peerlet_compile_seconds_total", "Time in the compiler.", |usage| usage.compile_micros as f64 / MICROS),
    ("prost_peerlet_downloaded_bytes_total", "Manifests and code that came from other nodes.", |usage| {
        usage.downloaded_bytes as f64
    }),
    ("prost_peerlet_messages_total", "Messages sent.", |usage| usage.messages as f64),
    ("prost_peerlet_sent_bytes_total", "Payload bytes sent.", |usage| usage.bytes_sent as f64),
    ("prost_peerlet_written_bytes_total", "Names and values that its events wrote.", |usage| {
        usage.bytes_written as f64
    }),
    ("prost_peerlet_events_total", "Events run.", |usage| usage.calls as f64),
    ("prost_peerlet_traps_total", "Events that trapped.", |usage| usage.traps as f64),
    ("prost_peerlet_errors_total", "Events whose handler returned an error.", |usage| usage.refusals as f64),
    ("prost_peerlet_log_lines_total", "Lines for the log.", |usage| usage.log_lines as f64),
    ("prost_peerlet_dropped_log_lines_total", "Lines for the log that were too many.", |usage| {
        usage.dropped_log_lines as f64
    }),
    ("prost_peerlet_over_budget_total", "Effects dropped because a budget was used up.", |usage| {
        usage.over_budget as f64
    }),
];

const GAUGES: [(&str, &str, GaugeOf); 8] = [
    ("prost_peerlet_fuel_per_second", "Fuel burnt a second, over the last ten.", |app| app.usage.fuel_rate),
    ("prost_peerlet_reserved_fuel_per_second", "Fuel a second that is reserved.", |app| app.reserved.fuel_per_second),
    ("prost_peerlet_memory_bytes", "Linear memory and tables.", |app| app.usage.memory_bytes),
    ("prost_peerlet_reserved_memory_bytes", "Memory that is reserved.", |app| app.reserved.memory_bytes),
    ("prost_peerlet_storage_bytes", "Records, names and overhead included.", |app| app.usage.storage_bytes),
    ("prost_peerlet_reserved_storage_bytes", "Room for records that is reserved.", |app| app.reserved.storage_bytes),
    ("prost_peerlet_timers", "Timers that are set.", |app| app.usage.timers),
    ("prost_peerlet_queued_events", "Events that wait or run.", |app| app.usage.queued),
];

/// An application's label, handler and outcome.
type Calls = (String, &'static str, &'static str);

/// The series.
pub(super) struct Peerlets {
    counters: Vec<(CounterVec, CountOf)>,
    gauges: Vec<(IntGaugeVec, GaugeOf)>,
    calls: CounterVec,
    limit: IntGaugeVec,
    reserved: IntGaugeVec,
    shown: Mutex<Shown>,
}

/// What there are series of.
#[derive(Debug, Default)]
struct Shown {
    /// The applications with a label of their own.
    own: BTreeSet<AppId>,
    labels: BTreeSet<String>,
    calls: BTreeSet<Calls>,
}

impl Peerlets {
    pub(super) fn new(make: &Maker<'_>) -> Result<Peerlets, prometheus::Error> {
        let mut counters = Vec::new();
        for (name, help, count) in COUNTERS {
            counters.push((make.float_counters(name, help, &["peerlet"])?, count));
        }
        let mut gauges = Vec::new();
        for (name, help, value) in GAUGES {
            gauges.push((make.gauges(name, help, &["peerlet"])?, value));
        }
        Ok(Peerlets {
            counters,
            gauges,
            calls: make.float_counters(
                "prost_peerlet_calls_total",
                "Events run, by application, handler and outcome (ok, error, or the kind of trap).",
                &["peerlet", "export", "outcome"],
            )?,
            limit: make.gauges(
                "prost_admission_limit",
                "What the node gives all applications together.",
                &["resource"],
            )?,
            reserved: make.gauges("prost_admission_reserved", "What is reserved for applications.", &["resource"])?,
            shown: Mutex::default(),
        })
    }

    /// Brings all series up to date.
    pub(super) fn update(&self, node: &Node) {
        let admitted = node.admitted();
        for resource in Resource::ALL {
            self.limit.with_label_values(&[resource.name()]).set(gauge(admitted.totals.amount(resource)));
            self.reserved.with_label_values(&[resource.name()]).set(gauge(admitted.reserved.amount(resource)));
        }
        let apps = node.apps();
        // Nobody else takes it, and what it guards is whole at any time.
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.choose(&apps);
        self.update_usage(&mut shown, &apps);
        self.update_calls(&mut shown, &node.stats().executions);
    }

    fn update_usage(&self, shown: &mut Shown, apps: &[AppStatus]) {
        let mut groups: BTreeMap<String, Vec<&AppStatus>> = BTreeMap::new();
        for app in apps {
            groups.entry(shown.label(&app.app)).or_default().push(app);
        }
        for (label, group) in &groups {
            for (series, count) in &self.counters {
                raise(&series.with_label_values(&[label]), group.iter().map(|app| count(&app.usage)).sum());
            }
            for (series, value) in &self.gauges {
                let sum = group.iter().map(|app| value(app)).fold(0, u64::saturating_add);
                series.with_label_values(&[label]).set(gauge(sum));
            }
        }
        let labels: BTreeSet<String> = groups.into_keys().collect();
        for gone in shown.labels.difference(&labels) {
            // What is not there need not go; that holds for each removal below too.
            for (series, _) in &self.counters {
                let _ = series.remove_label_values(&[gone]);
            }
            for (series, _) in &self.gauges {
                let _ = series.remove_label_values(&[gone]);
            }
        }
        shown.labels = labels;
    }

    fn update_calls(&self, shown: &mut Shown, executions: &BTreeMap<(AppId, &'static str, &'static str), u64>) {
        let mut sums: BTreeMap<Calls, u64> = BTreeMap::new();
        for ((app, export, outcome), count) in executions {
            *sums.entry((shown.label(app), export, outcome)).or_default() += count;
        }
        for ((label, export, outcome), count) in &sums {
            raise(&self.calls.with_label_values(&[label.as_str(), export, outcome]), *count as f64);
        }
        let calls: BTreeSet<Calls> = sums.into_keys().collect();
        for (label, export, outcome) in shown.calls.difference(&calls) {
            let _ = self.calls.remove_label_values(&[label.as_str(), export, outcome]);
        }
        shown.calls = calls;
    }
}

impl Shown {
    /// Whoever has a label keeps it while it has code; the labels that are free go to others that have.
    fn choose(&mut self, apps: &[AppStatus]) {
        let has_code: BTreeSet<&AppId> = apps.iter().filter(|app| app.version.is_some()).map(|app| &app.app).collect();
        self.own.retain(|app| has_code.contains(app));
        for app in has_code {
            if self.own.len() < OWN_LABELS {
                self.own.insert(app.clone());
            }
        }
    }

    fn label(&self, app: &AppId) -> String {
        if self.own.contains(app) { app.to_string() } else { OTHER.to_owned() }
    }
}

/// Raises a counter to what another place has counted, from the beginning where that has begun anew.
fn raise(counter: &Counter, counted: f64) {
    if counted < counter.get() * (1.0 - ROUNDING) {
        counter.reset();
    }
    counter.inc_by((counted - counter.get()).max(0.0));
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};
    use prost_manager::AppState;
    use prost_package::Resources;

    use super::*;

    fn app(name: &str, fuel: u64) -> AppStatus {
        AppStatus {
            app: AppId { provider: [7; 32], name: name.parse().expect("a name") },
            version: Some("1.0.0".to_owned()),
            state: AppState::Running,
            usage: Usage { fuel, timers: 2, micros: 1_500_000, ..Usage::default() },
            reserved: Resources::default(),
        }
    }

    struct Shop {
        registry: Registry,
        peerlets: Peerlets,
    }

    impl Shop {
        fn new() -> Shop {
            let registry = Registry::new();
            let peerlets = Peerlets::new(&Maker { registry: &registry }).expect("proper names");
            Shop { registry, peerlets }
        }

        fn update(&self, apps: &[AppStatus]) {
            let mut shown = self.peerlets.shown.lock().expect("nothing panics");
            shown.choose(apps);
            self.peerlets.update_usage(&mut shown, apps);
            let executions = apps.iter().map(|app| ((app.app.clone(), "serve", "ok"), app.usage.fuel)).collect();
            self.peerlets.update_calls(&mut shown, &executions);
        }

        /// Label and value of each sample of a series.
        fn samples(&self, name: &str) -> BTreeMap<String, f64> {
            let text = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("it is text");
            let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("{"));
            let label = |labels: &str| {
                let peerlet = labels.split("peerlet=\"").nth(1).expect("it has the label");
                peerlet.split(['@', '"']).next().unwrap_or_default().to_owned()
            };
            let sample = |line: &str| {
                let (labels, value) = line.split_once("} ").expect("a sample");
                (label(labels), value.parse().expect("a number"))
            };
            lines.map(sample).collect()
        }
    }

    const FUEL: &str = "prost_peerlet_fuel_consumed_total";

    #[test]
    fn an_application_that_is_gone_leaves_nothing_and_one_that_is_back_begins_anew() {
        let shop = Shop::new();
        shop.update(&[app("a", 10), app("b", 20)]);
        shop.update(&[app("a", 15), app("b", 20)]);
        assert_eq!(shop.samples(FUEL), [("a".to_owned(), 15.0), ("b".to_owned(), 20.0)].into());
        assert_eq!(shop.samples("prost_peerlet_run_seconds_total")["a"], 1.5);
        assert_eq!(shop.samples("prost_peerlet_timers")["a"], 2.0);
        shop.update(&[app("a", 3)]);
        assert_eq!(shop.samples(FUEL), [("a".to_owned(), 3.0)].into());
        assert_eq!(shop.samples("prost_peerlet_calls_total"), [("a".to_owned(), 3.0)].into());
        shop.update(&[]);
        assert!(shop.samples(FUEL).is_empty() && shop.samples("prost_peerlet_calls_total").is_empty());
    }

    #[test]
    fn labels_are_bounded_and_kept() {
        let shop = Shop::new();
        let some = |range: core::ops::Range<usize>| range.map(|number| app(&format!("n{number:03}"), 1));
        shop.update(&some(10..74).collect::<Vec<_>>());
        shop.update(&some(0..100).collect::<Vec<_>>());
        let samples = shop.samples(FUEL);
        assert_eq!(samples.len(), OWN_LABELS + 1);
        assert_eq!(samples[OTHER], 36.0);
        assert!(samples.contains_key("n010") && !samples.contains_key("n009"), "who has a label keeps it");
        // What has no code yet takes no label from others.
        let fetching = AppStatus { version: None, ..app("fetching", 4) };
        shop.update(&[fetching, app("a", 1)]);
        assert_eq!(shop.samples(FUEL), [("a".to_owned(), 1.0), (OTHER.to_owned(), 4.0)].into());
    }
}
