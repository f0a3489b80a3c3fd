//! Code that the ring keeps.

use std::path::Path;

use prost_contract::Capability;
use prost_kbr::Key;
use prost_package::Package;
use prost_tests::{PATIENCE, Plan, Ring, allow, deny, http, package, provider};

/// Bytes that the echo is longer than it was.
const PAD: usize = 200 << 10;
const CAPABILITIES: [Capability; 2] = [Capability::Route, Capability::Client];

/// The echo, as the build has compiled it, and a custom section that makes it several chunks long.
fn echo() -> Package {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peerlets/echo.wasm");
    let mut component = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let section = [&b"\x03pad"[..], &(0..PAD).map(|at| (at / 253 + at) as u8).collect::<Vec<u8>>()].concat();
    // Its length as LEB128 in three bytes.
    let length = [section.len() | 0x80, section.len() >> 7 | 0x80, section.len() >> 14].map(|byte| byte as u8);
    component.push(0);
    component.extend(length);
    component.extend(section);
    package(&provider(), "echo", component, &CAPABILITIES)
}

fn file(ring: &Ring, package: &Package) -> String {
    let path = ring.path("echo.prost");
    std::fs::write(&path, package.encode()).expect("room");
    path.to_str().expect("a plain name").to_owned()
}

#[test]
fn published_code_is_installed_by_a_message_when_every_node_that_had_it_is_dead() {
    let mut ring = Plan::of(8).policy(allow(&provider(), &CAPABILITIES)).start();
    ring[3].set_policy(&deny());
    let (package, denier) = (echo(), ring[3].id);
    let file = file(&ring, &package);
    let app = ring[1].install(&package);
    ring[2].install(&package);

    let said = ring[1].ask(&["peerlet", "publish", &file, "--json"]).json();

    let locator = format!("blake3:{}", package.manifest.manifest().component.digest);
    assert_eq!((said["app"].as_str(), said["locator"].as_str()), (Some(&app[..]), Some(&locator[..])), "{said}");
    assert_eq!(said["copies"].as_u64(), Some(3), "{said}");
    let keepers = ring.nodes().iter().filter(|node| node.status().content.bytes > 0).count();
    assert!(keepers >= 3, "{keepers}");
    assert_eq!(ring[3].status().content.bytes, 0, "who denies it keeps none of it");

    ring.kill(2);
    ring.kill(1);
    ring.until_ideal();
    let has_code = |ring: &Ring| ring.nodes().iter().any(|node| !node.status().peerlets.is_empty());
    assert!(!has_code(&ring), "nobody has it installed");
    let name = ring.name_where(|ring, key| ![0, ring.number(denier)].contains(&ring.replicas(key, 1)[0]));
    let owner = ring.replicas(Key::hash(name.as_bytes()), 1)[0];
    let said = ring[0].ask(&["send", "--app", &app, "--name", &name, "--locator", &locator, "--json", "hello"]).json();
    assert_eq!(said["by"]["id"].as_str(), Some(&ring[owner].id.to_string()[..]), "{said}");
    let installs = ring[owner].status().installs;
    assert_eq!((installs.len(), installs[0].from.as_str(), installs[0].peer), (1, "content-store", None));
    let labels = [("peerlet", app.as_str()), ("export", "deliver"), ("outcome", "ok")];
    ring[owner].until_metric("prost_peerlet_calls_total", &labels, 1.0);
    ring[owner].until_metric("prost_peerlet_installs_total", &[("from", "content-store")], 1.0);
}

#[test]
fn what_a_node_keeps_is_there_after_a_restart_unless_it_is_told_to_keep_nothing() {
    let mut ring = Plan::of(1).policy(allow(&provider(), &CAPABILITIES)).start();
    let file = file(&ring, &echo());
    let said = ring[0].ask(&["peerlet", "publish", &file]);
    assert!(said.ok().contains("each by 1 nodes"), "{said:?}");
    let kept = ring[0].status().content;
    assert!(kept.bytes as usize > echo().component.len(), "{kept:?}");
    assert_eq!((kept.most_bytes, kept.applications), (256 << 20, 1));
    ring[0].until_metric("prost_content_bytes", &[], kept.bytes as f64);

    let token = format!("Authorization: Bearer {}", ring[0].token());
    let head = ["Host: localhost", "Content-Type: application/octet-stream", &token];
    let answer = http(ring[0].admin_addr, "POST /api/v1/content", &head, &echo().encode()[..500]);
    assert_eq!(answer.status, 400, "{answer:?}");

    ring[0].kill();
    ring.restart(0);
    ring.until("it is a member again", PATIENCE, || ring[0].status().state == "bootstrap");
    assert_eq!(ring[0].status().content, kept);

    ring[0].kill();
    let dir = ring[0].dir.clone();
    let mean = ring.spawn_with(&dir, &["--content-bytes", "0"]).up();
    ring.until("it is a member again", PATIENCE, || mean.status().state == "bootstrap");
    assert_eq!((mean.status().content.bytes, mean.status().content.most_bytes), (0, 0));
    let said = mean.ask(&["peerlet", "publish", &file]);
    assert!(said.refused(1).contains("no room left"), "{said:?}");
}
