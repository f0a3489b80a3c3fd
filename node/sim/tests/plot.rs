//! Pictures are files that a viewer can open, whatever was measured.

use std::fs;
use std::path::Path;

use prost_sim::plot;
use prost_sim::report::{AppSeries, Distribution, Load, Lookups, Mark, PeerletReport, Report, Second, Series, Summary};

/// A run through a fault.
fn run() -> (Report, Series) {
    let lookups = Lookups { asked: 1000, answered: 990, correct: 980, ..Lookups::default() };
    let report = Report {
        scenario: "massacre".to_owned(),
        nodes: 64,
        seed: 7,
        lookups,
        stretch_mean: Some(2.5),
        heal_s: Some(31.0),
        ..Report::default()
    };
    let second = |at: u64| Second { asked: 10, answered: 10 - at % 2, correct: 9 - at % 2 };
    let load = |at: u32| Load { position: f64::from(at) / 64.0, messages: u64::from(at), connections: 20 };
    let series = Series {
        lookup_ms: Distribution::new((0..990).map(f64::from)),
        direct_ms: Distribution::new((0..100).map(f64::from)),
        hops: vec![10, 100, 400, 300, 180],
        seconds: (0..100).map(second).collect(),
        marks: vec![Mark { at_s: 50.0, text: "crash of 32 <nodes> & more".to_owned() }],
        load: (0..64).map(load).collect(),
        app: None,
    };
    (report, series)
}

/// Width and height of a PNG file, from its first chunk.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).expect("the file is there");
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", path.display());
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// Every picture is there, in both forms.
fn check(files: &[std::path::PathBuf], names: &[&str]) {
    let expected: Vec<String> = names.iter().flat_map(|name| [format!("{name}.svg"), format!("{name}.png")]).collect();
    let found: Vec<&str> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(found, expected);
    for pair in files.chunks(2) {
        let svg = fs::read_to_string(&pair[0]).expect("the file is there");
        assert!(svg.contains("<svg width=\"1200\" height=\"800\" viewBox=\"0 0 2400 1600\""), "{:.200}", svg);
        assert!(svg.trim_end().ends_with("</svg>"));
        assert_eq!(png_size(&pair[1]), (1200, 800));
    }
}

const ALL: [&str; 4] = ["hops", "latency", "lookups", "ring"];

#[test]
fn a_run_gives_four_pictures_with_its_figures() {
    let dir = tempfile::tempdir().expect("a directory");
    let (report, series) = run();
    let files = plot::draw(&dir.path().join("new/one"), &report, &series).expect("pictures");
    check(&files, &ALL);
    let svg = |picture: usize| fs::read_to_string(&files[2 * picture]).expect("the file is there");
    assert!(svg(0).contains("½ log₂ N: 3") && svg(0).contains("mean: 2.5"));
    assert!(svg(1).contains("mean stretch 2.50") && svg(1).contains("direct round trip"));
    assert!(svg(2).contains("crash of 32 &lt;nodes&gt; &amp; more") && svg(2).contains("after 31 s"));
    assert!(svg(3).contains("Messages of a node"));
}

#[test]
fn a_run_without_measurements_gives_pictures_that_say_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = plot::draw(dir.path(), &Report::default(), &Series::default()).expect("pictures");
    check(&files, &ALL);
    let hops = fs::read_to_string(&files[0]).expect("the file is there");
    assert!(hops.contains("no lookup was answered"));
}

#[test]
fn an_application_gives_one_picture_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut report, mut series) = run();
    report.peerlet =
        Some(PeerletReport { name: "echo".to_owned(), version: "1.2.3".to_owned(), ..PeerletReport::default() });
    series.app = Some(AppSeries {
        running: (0..50).map(|at| (f64::from(at), u64::from(at as u32))).collect(),
        span_s: (0.0, 99.0),
        messages: (0..64).collect(),
    });
    let files = plot::draw(dir.path(), &report, &series).expect("pictures");
    check(&files, &[&ALL[..], &["peerlet"]].concat());
    let svg = fs::read_to_string(&files[8]).expect("the file is there");
    assert!(svg.contains("echo 1.2.3 on the ring") && svg.contains("nodes that run it"));
    // Nothing has come of it.
    series.app = Some(AppSeries::default());
    check(&plot::draw(dir.path(), &report, &series).expect("pictures"), &[&ALL[..], &["peerlet"]].concat());
}

#[test]
fn extreme_measurements_are_no_obstacle() {
    let dir = tempfile::tempdir().expect("a directory");
    let load = |position| Load { position, messages: u64::MAX / 2, connections: 0 };
    let series = Series {
        lookup_ms: Distribution::new([0.0]),
        direct_ms: Distribution::new([1e12]),
        hops: [vec![0; 255], vec![1]].concat(),
        seconds: vec![Second { asked: 1, answered: 0, correct: 0 }],
        marks: (0..100).map(|at| Mark { at_s: f64::from(at) / 100.0, text: "x".repeat(500) }).collect(),
        load: vec![load(-3.0), load(1.0)],
        app: None,
    };
    let report = Report { nodes: u32::MAX, seed: u64::MAX, ..Report::default() };
    check(&plot::draw(dir.path(), &report, &series).expect("pictures"), &ALL);
}

#[test]
fn sizes_are_drawn_with_one_size_and_with_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let summary = Summary { mean: 3.0, p50: 3.0, p99: 6.0, max: 7.0 };
    let report = |nodes| Report { nodes, hops: Some(summary), ..Report::default() };
    for reports in [vec![], vec![report(1)], vec![Report::default()], vec![report(64), report(64), report(4096)]] {
        check(&plot::draw_sizes(dir.path(), &reports).expect("a picture"), &["sizes"]);
    }
    let svg = fs::read_to_string(dir.path().join("sizes.svg")).expect("the file is there");
    assert!(svg.contains("4,096") && svg.contains("3 runs"));
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_with_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("it can be written");
    let error = plot::draw(&file, &Report::default(), &Series::default()).expect_err("a file is no directory");
    assert!(error.to_string().contains("file"), "{error}");
}
