//! Code that no node has, from a server that a message names.

use std::io::Write;
use std::path::Path;

use prost_contract::Capability;
use prost_kbr::Key;
use prost_package::Package;
use prost_tests::{PATIENCE, Plan, allow, package, provider};

use crate::server::Server;

const CAPABILITIES: [Capability; 2] = [Capability::Route, Capability::Client];

/// The echo under a name, as the build has compiled it.
fn echo(name: &str) -> Package {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peerlets/echo.wasm");
    let component = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    package(&provider(), name, component, &CAPABILITIES)
}

/// A server that has the echo, and something that is nearly a package.
fn server() -> Server {
    let good = echo("echo").encode();
    let mut tampered = echo("tampered").encode();
    *tampered.last_mut().expect("it is not empty") ^= 1;
    Server::start(&["127.0.0.1"], move |stream, request| {
        let file = match request.split(' ').nth(1) {
            Some("/echo.prost") => &good,
            Some("/tampered.prost") => &tampered,
            _ => &Vec::new(),
        };
        let status = if file.is_empty() { "404 Not Found" } else { "200 OK" };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", file.len());
        // The other side may have gone.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(file)).and_then(|()| stream.flush());
    })
}

#[test]
fn a_message_that_names_a_url_installs_what_no_node_has() {
    let server = server();
    let scratch = tempfile::tempdir().expect("room");
    let authority = scratch.path().join("authority.pem");
    std::fs::write(&authority, &server.authority).expect("room");
    let address = server.addr.to_string();
    let flags = ["--locator-ca", authority.to_str().expect("a plain name"), "--locator-test-address", &address];
    let listed = format!("{}\n[locator]\nallow_hosts = [\"{address}\"]\n", allow(&provider(), &CAPABILITIES));
    let ring = Plan::of(5).policy(listed).flags(&flags).start();
    let name = ring.name_where(|ring, key| !ring.replicas(key, 1).contains(&0));
    let owner = &ring[ring.replicas(Key::hash(name.as_bytes()), 1)[0]];
    let app = |name: &str| format!("{name}@{}", hex::encode(provider().public()));
    let send = |name_of_app: &str, file: &str| {
        let (app, url) = (app(name_of_app), format!("https://{address}/{file}"));
        ring[0].ask(&["send", "--app", &app, "--name", &name, "--locator", &url, "--json", "hello"])
    };

    let said = send("echo", "echo.prost").json();

    assert_eq!(said["by"]["id"].as_str(), Some(&owner.id.to_string()[..]), "{said}");
    let installs = owner.status().installs;
    let from: Vec<(&str, &str, bool)> =
        installs.iter().map(|one| (one.app.as_str(), one.from.as_str(), one.peer.is_none())).collect();
    assert_eq!(from, [(&app("echo")[..], "url", true)]);
    owner.until_metric("prost_peerlet_installs_total", &[("from", "url")], 1.0);
    owner.until_metric("prost_downloads_total", &[("result", "ok")], 1.0);
    assert_eq!(owner.admin.call("echo", "echo", b"is it there?").expect("it answers"), b"is it there?");
    assert_eq!(server.requests().len(), 1, "{:?}", server.requests());
    // The next node has it from the first.
    let other = ring.name_where(|ring, key| ![0, ring.number(owner.id)].contains(&ring.replicas(key, 1)[0]));
    assert!(ring[ring.number(owner.id)].ask(&["send", "--app", &app("echo"), "--name", &other, "hi"]).code == Some(0));
    assert_eq!(server.requests().len(), 1);

    // What is not what its manifest says, or is not there, or on a host that is not listed, runs nowhere.
    for (name_of_app, file) in [("tampered", "tampered.prost"), ("absent", "absent.prost")] {
        let line = send(name_of_app, file).refused(1).to_owned();
        assert!(line.contains("fetch-failed") && !line.contains("bad-package"), "{line}");
    }
    let elsewhere = format!("https://{}/echo.prost", address.replace("127.0.0.1", "localhost"));
    let app_elsewhere = app("elsewhere");
    let said =
        ring[0].ask(&["send", "--app", &app_elsewhere, "--name", &name, "--locator", &elsewhere, "--json", "hello"]);
    assert!(said.refused(1).contains("fetch-failed"), "{said:?}");
    assert!(server.requests().iter().all(|request| !request.contains("localhost")));
    ring.until("the owner counts what went wrong", PATIENCE, || {
        ["package", "status"].iter().all(|end| owner.metric("prost_downloads_total", &[("result", end)]) >= 1.0)
    });
    assert!(ring.nodes().iter().all(|node| node.status().installs.iter().all(|one| one.app == app("echo"))));
}
