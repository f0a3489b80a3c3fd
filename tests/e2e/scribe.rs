//! Messages to groups, from the command line of one node to those of others.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use prost_contract::Capability;
use prost_node::standard::SCRIBE;
use prost_tests::{Node, Plan, Ring, allow, prost, provider};

fn scribe(nodes: usize) -> Ring {
    let capabilities: Vec<Capability> = SCRIBE.capabilities.iter().map(|(capability, _)| *capability).collect();
    let ring = Plan::of(nodes).policy(allow(&provider(), &capabilities)).start();
    ring.install(&SCRIBE.package(&provider()));
    ring
}

/// `prost scribe join` on a node, its output in a file.
fn join(ring: &Ring, node: &Node, group: &str, count: u64, file: &str) -> Child {
    let out = std::fs::File::create(ring.path(file)).expect("room");
    let token = ring.path(&format!("{file}.token"));
    std::fs::write(&token, node.token()).expect("room");
    Command::new(prost())
        .args(["scribe", "join", group, "--count", &count.to_string()])
        .args(["--admin", &format!("http://{}", node.admin_addr), "--token-file"])
        .arg(token)
        .stdout(out)
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts")
}

fn is_member(node: &Node) -> bool {
    let places = node.ask(&["scribe", "status", "--json"]).json();
    places.as_array().is_some_and(|places| places.iter().any(|place| place["member"] == true))
}

#[test]
fn a_file_published_on_one_node_is_read_on_all_others_in_order() {
    let ring = scribe(6);
    let group = ring[0].ask(&["scribe", "create", "news", "--publisher", "creator"]).ok().trim().to_owned();
    assert_eq!(group, format!("news@{}", ring[0].id));
    let readers = 1..6;
    let mut joined: Vec<Child> =
        readers.clone().map(|at| join(&ring, &ring[at], &group, 3, &format!("read {at}"))).collect();
    ring.until("all are members", Duration::from_secs(60), || readers.clone().all(|at| is_member(&ring[at])));
    thread::sleep(Duration::from_secs(2));

    let file = ring.path("file");
    let text: String = (0..2000).map(|line| format!("line {line} of the news\n")).collect();
    std::fs::write(&file, &text).expect("room");
    for message in [&["first"][..], &["second"], &["--file", file.to_str().expect("a plain name")]] {
        let line = [&["scribe", "publish", "news"], message].concat();
        assert_eq!(ring[0].ask(&line).ok(), "published\n");
    }
    let refused = ring[3].ask(&["scribe", "publish", &group, "not mine"]);
    assert!(refused.refused(1).contains("rules do not allow"));

    for child in &mut joined {
        assert!(child.wait().expect("it ends").success());
    }
    for at in readers {
        let read = std::fs::read_to_string(ring.path(&format!("read {at}"))).expect("it was written");
        let lines: Vec<serde_json::Value> =
            read.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let texts: Vec<&str> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
        assert_eq!(texts, ["first", "second", &text], "at {at}");
        assert!(lines.iter().all(|line| line["publisher"] == ring[0].id.to_string()));
    }
    ring.until("nobody is a member", Duration::from_secs(10), || !ring.nodes().iter().any(is_member));
}
