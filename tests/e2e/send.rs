//! Messages that programs send into the ring, to nodes that run the application and nodes that will not.

use std::path::Path;

use prost_contract::Capability;
use prost_kbr::Key;
use prost_node::admin_client::Posted;
use prost_package::Package;
use prost_tests::{Answer, Plan, Ring, allow, deny, http, package, provider};

const CAPABILITIES: [Capability; 2] = [Capability::Route, Capability::Client];

/// The echo, as the build has compiled it.
fn echo() -> Package {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peerlets/echo.wasm");
    let component = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    package(&provider(), "echo", component, &CAPABILITIES)
}

/// How often a node's echo has had a message delivered.
fn delivered(ring: &Ring, at: usize, app: &str) -> f64 {
    let labels = [("peerlet", app), ("export", "deliver"), ("outcome", "ok")];
    ring[at].metric("prost_peerlet_calls_total", &labels)
}

#[test]
fn where_the_owner_denies_the_next_replica_handles_a_message_of_a_program() {
    let ring = Plan::of(7).policy(allow(&provider(), &CAPABILITIES)).start();
    // The program is on a node without the application; neither it nor who has the code is a replica.
    let name = ring.name_where(|ring, key| ring.replicas(key, 3).iter().all(|node| ![0, 1].contains(node)));
    let key = Key::hash(name.as_bytes());
    let replicas = ring.replicas(key, 3);
    let app = ring[1].install(&echo());
    ring[replicas[0]].set_policy(&deny());

    let said = ring[0].ask(&["send", "--app", &app, "--name", &name, "--json", "hello"]).json();

    let by = ring[replicas[1]].id.to_string();
    assert_eq!(
        (said["by"]["id"].as_str(), said["key"].as_str()),
        (Some(&by[..]), Some(&key.to_string()[..])),
        "{said}"
    );
    let labels = [("peerlet", app.as_str()), ("export", "deliver"), ("outcome", "ok")];
    ring[replicas[1]].until_metric("prost_peerlet_calls_total", &labels, 1.0);
    let owner = &ring[replicas[0]];
    owner.until_metric("prost_peerlet_rejected_total", &[("reason", "denied")], 1.0);
    assert_eq!((owner.status().peerlets, owner.status().installs), (Vec::new(), Vec::new()));
    assert_eq!(ring[replicas[2]].status().installs, [], "nobody beyond it was asked");

    // By key, of type 0, on the node that runs it.
    let key = key.to_string();
    let said = ring[1].ask(&["send", "--app", &app, "--key", &key, "--type", "0", "hello"]);
    assert!(said.ok().contains(&format!("handled by  {by}")), "{said:?}");
    ring[replicas[1]].until_metric("prost_peerlet_calls_total", &labels, 2.0);
    assert_eq!(delivered(&ring, replicas[1], &app), 2.0);
}

#[test]
fn where_nobody_will_the_program_is_told_why() {
    let ring = Plan::of(5).policy(deny()).start();
    let app = format!("echo@{}", hex::encode(provider().public()));

    let said = ring[0].ask(&["send", "--app", &app, "--name", "x", "hello"]);

    let line = said.refused(1);
    let first = ring[ring.replicas(Key::hash(b"x"), 1)[0]].id;
    assert!(line.contains(&format!("{}: denied", first.short())) && line.contains("; see "), "{line}");
    assert_eq!(line.matches(": denied").count(), 4, "each of those asked has its reason: {line}");
    assert!(ring.nodes().iter().all(|node| node.status().peerlets.is_empty()));
}

#[test]
fn what_is_wrong_with_a_message_is_said() {
    let ring = Plan::of(1).start();
    let app = format!("echo@{}", hex::encode(provider().public()));
    let token = format!("Authorization: Bearer {}", ring[0].token());
    let head = ["Host: localhost", "Content-Type: application/octet-stream", &token];
    let post = |app: &str, query: &str, body: &[u8]| -> Answer {
        http(ring[0].admin_addr, &format!("POST /api/v1/messages/{app}?{query}"), &head, body)
    };
    let key = "0f".repeat(20);
    for (app, query, words) in [
        ("echo", "name=x", "an application id"),
        (&app, "", "neither one key nor one name"),
        (&app, &format!("name=x&key={key}")[..], "neither one key nor one name"),
        (&app, "key=0f", "the key is not one"),
        (&app, "name=x&type=2", "no type 2"),
        (&app, "name=x&type=-1", "query"),
        (&app, "name=x&locator=file%3A%2F%2F%2Fetc%2Fpasswd", "a locator begins"),
        (&app, "name=x&colour=red", "query"),
    ] {
        let answer = post(app, query, b"");
        assert!(answer.status == 400 && answer.body.contains(words), "{query}: {answer:?}");
    }
    let longest = 256 << 10;
    assert_eq!(post(&app, "name=x", &vec![0; longest + 1]).status, 413);
    let head = &head[..2];
    assert_eq!(http(ring[0].admin_addr, &format!("POST /api/v1/messages/{app}?name=x"), head, b"").status, 401);

    // Any bytes at all are data; the node denies the application, or has nobody to fetch it from.
    let key = Key::hash(b"x");
    let dispatch = prost_kbr::Dispatch::EndNode;
    let posted = Posted { app: &app, key, dispatch, locator: "", payload: &vec![0xff; longest] };
    let sent = ring[0].admin.post(&posted).expect("it is answered");
    assert!(matches!(sent.result, Err(prost_kbr::Failure::NoWillingNode(_))), "{sent:?}");
}
