//! The demonstration, as a newcomer runs it.

use std::fs;

#[test]
fn a_demo_gives_back_every_byte_and_reports_it_as_one_object() {
    let dir = tempfile::tempdir().expect("room");
    fs::create_dir(dir.path().join("below")).expect("room");
    let mut bytes = 0;
    for (number, name) in ["a.txt", "b.bin", "below/c.bin", "empty"].iter().enumerate() {
        let content = vec![number as u8; number % 3 * 150_000];
        bytes += content.len();
        fs::write(dir.path().join(name), content).expect("room");
    }
    let input = dir.path().to_str().expect("a plain name");

    let said = prost_tests::run(["demo", "--nodes", "3", "--json", "--input", input]);

    let report = said.json();
    assert_eq!(report["nodes"], 3, "{report}");
    assert_eq!(report["files"], 4);
    assert_eq!(report["bytes"], bytes);
    assert_eq!(report["verified"], 4);
    assert_eq!(report["verified_after_kill"], 4);
    for number in ["put_s", "get_s", "elapsed_s"] {
        assert!(report[number].as_f64() > Some(0.0), "{number}: {report}");
    }
    assert!(report["hops"]["mean"].is_number() && report["hops"]["max"].is_u64(), "{report}");
    for change in ["joined", "left", "upgraded"] {
        assert_eq!(report[change]["verified"], 4, "{report}");
    }
    // What a ring of three keeps is on every node of it: the newcomer got all of it, and the one that left had it.
    for change in ["joined", "left"] {
        assert!(report[change]["bytes"].as_u64() > Some(bytes as u64), "{report}");
    }
    // Two values in one record each, one in four chunks, one in seven, and what the two consist of.
    assert!(report["joined"]["copies"].as_u64() >= Some(15), "{report}");
    let installs = report["installs"].as_array().expect("a list");
    let given = |version: &serde_json::Value| {
        let given = |install: &&serde_json::Value| install["from"] == "local" && install["version"] == *version;
        installs.iter().filter(given).count()
    };
    let next = &report["upgraded"]["version"];
    assert_eq!((given(&installs[0]["version"]), given(next)), (1, 1), "{report}");
    for install in installs {
        let whence = install["from"].as_str().expect("text");
        assert!(["local", "previous-hop", "overlay", "url"].contains(&whence), "{install}");
        assert!(install["node"].is_string() && install["app"].is_string(), "{install}");
        assert!(install["bytes"].as_u64() > Some(0) && install["ms"].is_u64(), "{install}");
    }
    // What happens is told to people meanwhile.
    assert!(!said.stderr.is_empty());
}

#[test]
fn a_demo_of_an_empty_directory_or_of_none_is_refused() {
    let said = prost_tests::run(["demo", "--nodes", "3", "--input", "/nowhere/at/all"]);
    assert!(said.code.is_some_and(|code| code != 0), "{said:?}");
    assert!(said.stderr.lines().last().is_some_and(|line| line.starts_with("error: ")), "{said:?}");
    assert_eq!(said.stdout, "");
}
