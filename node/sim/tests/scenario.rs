//! Scenarios from beginning to end, on small rings.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_kbr::{Config, NodeId, Peer, RingView};
use prost_sim::measure::{first_flaw, is_ideal};
use prost_sim::report::{Lookups, Violation};
use prost_sim::scenario::{
    ByzantineKind, Error, NoWatch, Options, Outcome, Scenario, Watch, run, run_watched, sizes, table,
};
use prost_sim::{Act, Index, Network, World, WorldConfig};

/// A small ring in a fast network.
fn small(scenario: Scenario) -> Options {
    Options {
        nodes: 16,
        seed: 3,
        scenario,
        duration: Duration::from_secs(60),
        session_median: Duration::from_secs(150),
        cut_time: Duration::from_secs(25),
        lookups: 200,
        latency: "fixed:40ms".to_owned(),
        successors: 8,
        rest: Duration::from_secs(10),
        ..Options::default()
    }
}

fn play(options: &Options) -> Outcome {
    run(options, &mut |_| ()).expect("a run")
}

#[test]
fn a_stable_ring_answers_every_lookup_rightly() {
    let Outcome { report, series } = play(&small(Scenario::Stable));
    let all = Lookups { asked: 200, answered: 200, correct: 200, consistent: 200, failed: 0 };
    assert_eq!(report.lookups, all);
    assert!(report.ideal_ring && report.heal_s.is_none(), "{report:?}");
    let hops = report.hops.expect("hops");
    assert!(hops.mean > 0.5 && hops.max <= 8.0, "{hops:?}");
    // Each hop takes half a round trip of 40 ms, and so does the answer; a dial takes two round trips more.
    let latency = report.latency_ms.expect("latencies");
    let legs = series.hops.iter().zip(1..).skip(1).map(|(count, legs)| count * legs).sum::<u64>();
    let least = legs as f64 * 20.0 / 200.0;
    assert!(latency.mean >= least - 0.001 && latency.mean < least + 80.0, "{latency:?} {:?}", series.hops);
    assert!((1.0..4.0).contains(&report.stretch_mean.expect("a stretch")));
    let connections = report.connections.expect("connections");
    assert!(connections.mean >= 8.0 && connections.max <= 15.0, "{connections:?}");
    assert!((10.0..5_000.0).contains(&report.maintenance_bytes_per_node_s), "{}", report.maintenance_bytes_per_node_s);
    assert_eq!(series.hops.iter().sum::<u64>(), 200);
    assert_eq!(series.seconds.iter().map(|second| second.asked).sum::<u64>(), 200);
    assert_eq!(series.load.len(), 16);
}

#[test]
fn the_same_options_give_the_same_outcome_and_another_seed_another() {
    let options = Options { duration: Duration::from_secs(30), jitter: 0.2, loss: 0.01, ..small(Scenario::Churn) };
    let (one, two) = (play(&options), play(&options));
    assert_eq!(one.report, two.report);
    assert_eq!(one.series, two.series);
    let other = play(&Options { seed: 4, ..options });
    assert_ne!(one.report.trace_hash, other.report.trace_hash);
}

#[test]
fn somebody_who_watches_changes_nothing_and_is_heard() {
    struct Counter(u64);
    impl Watch for Counter {
        fn after_event(&mut self, _: &World, _: &[Index]) {
            self.0 += 1;
        }
        fn at_end(&mut self, world: &World) -> Vec<Violation> {
            assert!(self.0 >= world.events());
            vec![Violation { rule: "none".to_owned(), ..Violation::default() }]
        }
    }
    let options = Options { duration: Duration::from_secs(10), ..small(Scenario::Stable) };
    let alone = run_watched(&options, &mut NoWatch, &mut |_| ()).expect("a run").report;
    let watched = run_watched(&options, &mut Counter(0), &mut |_| ()).expect("a run").report;
    assert_eq!((watched.violations.len(), watched.trace_hash), (1, alone.trace_hash));
}

#[test]
fn under_churn_the_population_stays_and_lookups_of_the_living_count() {
    let Outcome { report, series } = play(&small(Scenario::Churn));
    assert_eq!(series.load.len(), 16);
    let lookups = report.lookups;
    assert!((180..=200).contains(&lookups.asked), "{lookups:?}");
    assert_eq!(lookups.answered + lookups.failed, lookups.asked);
    assert!(lookups.answered >= lookups.asked * 9 / 10 && lookups.correct <= lookups.answered, "{lookups:?}");
    assert!(report.handshake_bytes_per_node_s > 0.0);
    assert!(report.ideal_ring && report.heal_s.is_some(), "once nobody dies any more: {:?}", report.heal_s);
}

#[test]
fn half_of_the_ring_dies_and_the_rest_heals() {
    let Outcome { report, series } = play(&Options { successors: 16, ..small(Scenario::Massacre) });
    assert_eq!(series.load.len(), 8);
    let marks: Vec<&str> = series.marks.iter().map(|mark| mark.text.as_str()).collect();
    assert_eq!(marks, ["8 nodes crash", "ring ideal"]);
    let heal = report.heal_s.expect("healed");
    // Longer than a node takes to be declared dead, which is not before its timeout.
    assert!((0.2..50.0).contains(&heal) && report.ideal_ring, "{heal}");
    assert_eq!(report.lookups.correct, report.lookups.answered, "{:?}", report.lookups);
}

#[test]
fn two_halves_become_one_ring_again() {
    let Outcome { report, series } = play(&small(Scenario::Partition));
    let marks: Vec<&str> = series.marks.iter().map(|mark| mark.text.as_str()).collect();
    assert_eq!(marks[..2], ["cut into 2", "heal"]);
    assert!((series.marks[1].at_s - series.marks[0].at_s - 25.0).abs() < 0.001);
    assert!(report.ideal_ring && report.heal_s.is_some(), "{:?}", report.heal_s);
    // Judged by the half of the asker, most are right while the network is cut.
    let (from, to) = (series.marks[0].at_s as usize + 12, series.marks[1].at_s as usize);
    let cut = &series.seconds[from..to];
    let count = |what: fn(&prost_sim::report::Second) -> u64| cut.iter().map(what).sum::<u64>();
    assert!(count(|second| second.correct) * 10 >= count(|second| second.asked) * 9, "{cut:?}");
}

#[test]
fn a_flash_crowd_finds_its_places() {
    let Outcome { report, series } = play(&small(Scenario::FlashCrowd));
    assert_eq!(series.load.len(), 32);
    let heal = report.heal_s.expect("ideal");
    assert!(report.ideal_ring && heal > 9.0, "the last comes after ten seconds: {heal}");
}

#[test]
fn a_ring_grows_and_works_with_pairs_that_cannot_reach_each_other() {
    let report = play(&Options { unreachable_pairs: 0.03, ..small(Scenario::Stable) }).report;
    assert!(report.lookups.answered >= 180, "{:?}", report.lookups);
}

#[test]
fn a_study_plays_its_phases() {
    let path = std::env::temp_dir().join(format!("prost-study-{}.toml", std::process::id()));
    let text =
        "nodes = 12\n[[phase]]\ntime = \"20s\"\nlookups = 50\n[[phase]]\ntime = \"30s\"\nleave = 0.25\nstart = 6\n";
    std::fs::write(&path, text).expect("a file");
    let result = run(&small(Scenario::Study(path.clone())), &mut |_| ());
    std::fs::remove_file(&path).expect("the file");
    let Outcome { report, series } = result.expect("a run");
    assert_eq!((report.nodes, report.lookups.asked, series.load.len()), (12, 50, 15));
    let missing = run(&small(Scenario::Study(path)), &mut |_| ());
    assert!(matches!(missing, Err(Error::File { .. })));
}

#[test]
fn nodes_come_and_go_while_the_network_is_cut() {
    let path = std::env::temp_dir().join(format!("prost-study-cut-{}.toml", std::process::id()));
    let text = "nodes = 16\n[[phase]]\ntime = \"40s\"\nlookups = 200\ncut = 2\nchurn = { median = \"2m\", graceful = 0.5 }\n\
                [[phase]]\ntime = \"90s\"\nlookups = 100\ncut = 1\nstart = 3\n";
    std::fs::write(&path, text).expect("a file");
    let result = run(&small(Scenario::Study(path.clone())), &mut |_| ());
    std::fs::remove_file(&path).expect("the file");
    let Outcome { report, series } = result.expect("a run");
    assert_eq!(series.load.len(), 19);
    assert!(report.ideal_ring && report.heal_s.is_some(), "{:?}", report.heal_s);
    let lookups = report.lookups;
    assert!(lookups.asked >= 250 && lookups.correct * 10 >= lookups.asked * 8, "{lookups:?}");
}

/// The same as [`is_ideal`], said as simply as possible: what is wrong first, the members, the successors or the
/// predecessors.
fn naive_flaw(world: &World, live: &[Index], successors: usize) -> Option<&'static str> {
    let mut ids: Vec<NodeId> = live.iter().map(|node| world.peer(*node).id).collect();
    ids.sort();
    let views: Vec<_> = live.iter().filter_map(|node| world.node(*node)).map(|node| node.view()).collect();
    if views.len() < live.len() || views.iter().any(|view| !view.joined) {
        return Some("members");
    }
    let from = |id: NodeId| ids.iter().cycle().skip_while(move |other| **other != id).copied();
    let reach = successors.min(ids.len() - 1);
    let next = |id: NodeId| from(id).skip(1).take(reach).collect::<Vec<_>>();
    let known = |peers: &[Peer]| peers.iter().map(|peer| peer.id).collect::<Vec<_>>();
    if views.iter().any(|view| known(&view.successors) != next(view.me.id)) {
        return Some("successors");
    }
    let before = |id: NodeId| (ids.len() > 1).then(|| from(id).nth(ids.len() - 1)).flatten();
    let wrong = |view: &RingView| known(&view.predecessors).first().copied() != before(view.me.id);
    views.iter().any(|view| wrong(view)).then_some("predecessors")
}

#[test]
fn a_ring_is_ideal_when_members_successors_and_predecessors_are_right() {
    let latency = prost_sim::latency::parse("fixed:20ms", 1).expect("a model");
    let routing = Config { successors: 3, predecessors: 3, fall_over: 3, ..Config::default() };
    let mut world = World::new(WorldConfig { seed: 5, routing, latency, network: Network::default(), remember: 0 });
    let mut live: Vec<Index> = Vec::new();
    let mut flaws = BTreeSet::new();
    for round in 0..9 {
        if round == 6 {
            world.act(Act::Crash { node: live.remove(2) });
        } else {
            let node = world.spawn();
            world.act(Act::Start { node, known: live.first().copied().into_iter().collect() });
            live.push(node);
        }
        for _ in 0..2000 {
            let next = world.now() + Duration::from_millis(5);
            while world.step(next) {}
            let flaw = naive_flaw(&world, &live, 3);
            assert_eq!(is_ideal(&world, &live, 3), flaw.is_none(), "{flaw:?}");
            assert!(first_flaw(&world, &live, 3).is_none_or(|node| live.contains(&node)));
            flaws.insert(flaw);
        }
    }
    assert_eq!(naive_flaw(&world, &live, 3), None);
    assert_eq!(flaws.len(), 4, "each has been seen, and none: {flaws:?}");
}

#[test]
fn a_ring_that_cannot_form_is_an_error() {
    let options = Options { loss: 0.5, latency: "fixed:20s".to_owned(), ..small(Scenario::Stable) };
    let result = run(&options, &mut |_| ());
    assert!(matches!(result, Err(Error::NotGrown { .. })), "{result:?}");
}

#[test]
fn a_sweep_gives_every_size_and_seed_in_order() {
    let options = Options { duration: Duration::from_secs(5), lookups: 20, ..small(Scenario::Stable) };
    let outcomes = sizes(&options, &[3, 9], 2, 2, &|_, _| ()).expect("runs");
    let places: Vec<(u32, u64)> = outcomes.iter().map(|one| (one.report.nodes, one.report.seed)).collect();
    assert_eq!(places, [(3, 3), (3, 4), (9, 3), (9, 4)]);
    assert_eq!(outcomes[1].report, play(&Options { nodes: 3, seed: 4, ..options.clone() }).report);
    assert_eq!(table(&outcomes).lines().count(), 5);
    assert!(sizes(&Options { successors: 99, ..options }, &[3], 1, 1, &|_, _| ()).is_err());
}

#[test]
fn progress_goes_from_growth_to_the_end() {
    let mut phases = Vec::new();
    let mut last = 0.0;
    let options = Options { duration: Duration::from_secs(30), lookups: 20, ..small(Scenario::Massacre) };
    run(&options, &mut |progress| {
        assert!(progress.virtual_s >= last && progress.of_s >= progress.virtual_s);
        last = progress.virtual_s;
        if phases.last() != Some(&progress.phase) {
            phases.push(progress.phase);
        }
    })
    .expect("a run");
    assert!(["rest", "before", "massacre"].iter().all(|phase| phases.contains(phase)), "{phases:?}");
}

#[test]
fn the_other_ways_of_looking_up_are_right_in_a_ring_of_fifty() {
    let fifty = Options { nodes: 50, successors: 16, ..small(Scenario::Stable) };
    let plain = play(&fifty).report;
    let all = Lookups { asked: 200, answered: 200, correct: 200, consistent: 200, failed: 0 };
    assert_eq!(plain.lookups, all);
    let early = play(&Options { replicas: Some(14), ..fifty.clone() }).report;
    assert_eq!((early.lookups, &early.options["replicas"]), (all, &14.into()));
    let mean = |report: &prost_sim::report::Report| report.hops.expect("hops").mean;
    assert!(mean(&early) < mean(&plain), "whoever knows fourteen of sixteen ends it: {:?}", early.hops);
    for paths in [1, 4] {
        let disjoint = play(&Options { paths: Some(paths), ..fifty.clone() }).report;
        assert_eq!((disjoint.lookups, &disjoint.options["paths"]), (all, &paths.into()));
    }
}

#[test]
fn paths_that_share_no_node_find_the_way_round_nodes_that_lie() {
    let fifty = Options { nodes: 50, successors: 16, byzantine: 0.2, ..small(Scenario::Stable) };
    let lie = Options { byzantine_kind: ByzantineKind::Lie, ..fifty.clone() };
    let one = play(&lie).report;
    let eight = play(&Options { paths: Some(8), ..lie.clone() }).report;
    assert_eq!(one.byzantine.map(|byzantine| byzantine.nodes), Some(10));
    assert!(one.lookups.correct < 190, "whoever is asked first can answer for all: {:?}", one.lookups);
    assert!(eight.lookups.correct > 190, "{:?}", eight.lookups);
    let dropped = play(&fifty).report;
    assert!(dropped.lookups.correct > 180, "half of its time a lookup goes round them: {:?}", dropped.lookups);
    let Err(Error::Option { name, .. }) = run(&Options { rules: true, ..lie }, &mut |_| ()) else { panic!("it ran") };
    assert_eq!(name, "rules");
}

#[test]
fn sybil_nodes_have_the_key_that_they_gathered_behind_and_no_other() {
    let sybil = Options { nodes: 50, byzantine: 0.1, byzantine_kind: ByzantineKind::Sybil, ..small(Scenario::Stable) };
    let report = play(&Options { successors: 16, ..sybil }).report;
    let byzantine = report.byzantine.expect("Byzantine nodes");
    let mined = byzantine.mined_key.expect("a key");
    assert_eq!((byzantine.nodes, mined.asked, mined.correct), (16, 100, 0));
    assert_eq!((report.lookups.asked, report.lookups.correct), (200, 100));
    assert!(report.ideal_ring);
}
