//! Scenarios with an application on the ring, from beginning to end.

#[path = "support/native.rs"]
mod native;

use core::time::Duration;

use prost_kbr::Dispatch;
use prost_sim::report::{Messages, PeerletReport};
use prost_sim::scenario::{Error, Options, Origins, Outcome, Payload, Peerlet, Scenario, Workload, run, run_peerlet};

use native::{Native, package};

fn small(scenario: Scenario) -> Options {
    Options {
        nodes: 24,
        seed: 3,
        scenario,
        duration: Duration::from_secs(60),
        session_median: Duration::from_secs(60),
        lookups: 50,
        latency: "fixed:40ms".to_owned(),
        successors: 8,
        rest: Duration::from_secs(10),
        ..Options::default()
    }
}

fn play(options: &Options, workload: Workload) -> Result<Outcome, Error> {
    let peerlet = Peerlet { package: package(70_000), runtime: Box::new(Native::default()), workload };
    run_peerlet(options, peerlet, &mut |_| ())
}

fn report(options: &Options, workload: Workload) -> PeerletReport {
    play(options, workload).expect("a run").report.peerlet.expect("a peerlet")
}

/// Messages that are kept under their payload, and calls that write and read.
fn workload() -> Workload {
    let asks = ["write:note {i} {key}", "read:note {i} {key}"].map(|ask| ask.parse().expect("a call"));
    let payload = Payload::Text("message {i}".parse().expect("a text"));
    Workload { messages: 100, payload, calls: 40, asks: asks.to_vec(), ..Workload::default() }
}

#[test]
fn messages_take_the_application_with_them_and_the_report_says_where_it_came_to() {
    let Outcome { report, series } = play(&small(Scenario::Stable), workload()).expect("a run");
    let peerlet = report.peerlet.expect("a peerlet");
    assert_eq!((peerlet.name.as_str(), peerlet.version.as_str()), ("notebook", "1.2.3"));
    assert_eq!(peerlet.messages, Messages { asked: 100, delivered: 100, ..Messages::default() });
    assert!((15..=24).contains(&peerlet.installs) && peerlet.running == peerlet.installs, "{peerlet:?}");
    assert_eq!(peerlet.code_transfers, peerlet.installs - 1, "only the first was installed by hand");
    assert!(peerlet.code_bytes > peerlet.code_transfers * 70_000);
    // A start for each installation, and changes of the neighbourhood, besides what was asked.
    assert!(peerlet.events >= 140 + peerlet.installs, "{peerlet:?}");
    assert_eq!(peerlet.fuel.total, peerlet.events * 50_000);
    let latency = peerlet.latency_ms.expect("latencies");
    assert!(latency.p50 > 20.0 && latency.max < 5_000.0, "{latency:?}");
    assert!(peerlet.hops.expect("hops").mean >= 0.5);
    // Each message is kept by one node; a note costs 64 bytes besides its name and its text.
    let stored = peerlet.stored_bytes.expect("stored").mean * 24.0;
    assert!(stored > 100.0 * 70.0, "{stored}");
    assert!((peerlet.messages_per_node.expect("a load").mean * 24.0 - 100.0).abs() < 1e-6);
    assert!(report.ideal_ring && report.lookups.correct == 50);
    let app = series.app.expect("a series");
    assert_eq!(app.messages.iter().sum::<u64>(), 100);
    assert_eq!(app.running.last().map(|(_, running)| *running), Some(peerlet.running));
}

#[test]
fn what_is_read_where_it_was_not_written_is_a_failure_with_its_reason() {
    let calls = report(&small(Scenario::Stable), workload()).calls;
    assert_eq!((calls.asked, calls.answered + calls.failed), (40, 40));
    // All of the twenty writes, and the reads that happened to ask where the write had been.
    assert!((20..40).contains(&calls.answered), "{calls:?}");
    assert_eq!(calls.by_reason.keys().collect::<Vec<_>>(), ["application"]);
}

#[test]
fn a_run_with_an_application_is_the_same_each_time_and_changes_no_lookup() {
    let options = Options { duration: Duration::from_secs(30), jitter: 0.2, loss: 0.01, ..small(Scenario::Churn) };
    let [one, two] = [(); 2].map(|()| play(&options, workload()).expect("a run"));
    assert_eq!(one.report, two.report);
    assert_eq!(one.series, two.series);
    let other = Workload { payload: Payload::Text("another {i}".parse().expect("a text")), ..workload() };
    assert_ne!(play(&options, other).expect("a run").report.trace_hash, one.report.trace_hash);
    let without = run(&options, &mut |_| ()).expect("a run").report;
    assert!(without.peerlet.is_none() && without.lookups.asked == one.report.lookups.asked);
}

#[test]
fn under_churn_messages_are_lost_only_with_their_origins() {
    let options = Options { duration: Duration::from_secs(120), rules: true, ..small(Scenario::Churn) };
    let workload = Workload { installs: 3, dispatch: Dispatch::PerHop, ..workload() };
    let Outcome { report, .. } = play(&options, workload).expect("a run");
    assert_eq!(report.violations, []);
    let peerlet = report.peerlet.expect("a peerlet");
    assert!(peerlet.running < peerlet.installs, "some have died: {peerlet:?}");
    assert!(
        peerlet.messages.asked >= 80 && peerlet.messages.delivered * 10 >= peerlet.messages.asked * 9,
        "{peerlet:?}"
    );
}

#[test]
fn programs_at_any_member_reach_it_only_where_the_code_can_be_had() {
    let workload = Workload { origins: Origins::Any, calls: 0, messages: 100, ..workload() };
    let peerlet = report(&small(Scenario::Stable), workload);
    assert_eq!(peerlet.messages.asked, 100);
    assert_eq!(peerlet.messages.delivered + peerlet.messages.failed, 100);
    assert!(peerlet.messages.delivered > 0 && peerlet.installs > 1, "{peerlet:?}");
}

#[test]
fn a_package_that_is_not_taken_ends_the_run() {
    let mut options = small(Scenario::Stable);
    options.nodes = 2;
    assert!(matches!(
        play(&options, Workload { installs: 3, ..workload() }),
        Err(Error::Option { name: "installs", .. })
    ));
    struct Broken;
    impl prost_sim::apps::Runtime for Broken {
        fn compile(
            &mut self,
            _: &bytes::Bytes,
            _: &prost_package::Grant,
        ) -> Result<std::sync::Arc<dyn prost_sim::apps::Program>, (prost_kbr::Refusal, String)> {
            Err((prost_kbr::Refusal::BadComponent, "no component".to_owned()))
        }
    }
    let peerlet = Peerlet { package: package(10), runtime: Box::new(Broken), workload: workload() };
    let error = run_peerlet(&options, peerlet, &mut |_| ()).expect_err("it does not compile");
    assert!(error.to_string().contains("no component"), "{error}");
}
