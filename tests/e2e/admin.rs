//! The administration interface: it answers programs of this machine, and lets itself be used by no web page.

use prost_node::standard::DHT;
use prost_tests::{Answer, PATIENCE, Plan, Ring, http, provider};

const HOST: &str = "Host: 127.0.0.1";
const BYTES: &str = "Content-Type: application/octet-stream";

fn ask(ring: &Ring, line: &str, head: &[&str], body: &[u8]) -> Answer {
    http(ring[0].admin_addr, line, head, body)
}

#[test]
fn only_who_asks_by_a_loopback_address_is_answered() {
    let ring = Plan::of(1).start();
    for path in ["/metrics", "/healthz", "/readyz", "/api/v1/status", "/nothing"] {
        let line = format!("GET {path}");
        for host in ["Host: evil.com", "Host: 127.0.0.1.evil.com", "X-Host: localhost"] {
            assert_eq!(ask(&ring, &line, &[host], b"").status, 421, "{path} {host}");
        }
        assert_eq!(ask(&ring, &line, &[HOST, "Origin: http://evil.com"], b"").status, 403, "{path}");
        let expected = if path == "/nothing" { 404 } else { 200 };
        assert_eq!(ask(&ring, &line, &[HOST], b"").status, expected, "{path}");
    }
}

#[test]
fn nothing_changes_without_the_token() {
    let ring = Plan::of(1).start();
    let package = DHT.package(&provider()).encode();
    let wrong = format!("Authorization: Bearer {}", "0".repeat(ring[0].token().len()));
    let right = format!("Authorization: Bearer {}", ring[0].token());

    for head in [&[HOST, BYTES][..], &[HOST, BYTES, &wrong]] {
        assert_eq!(ask(&ring, "POST /api/v1/peerlets", head, &package).status, 401);
        assert_eq!(ask(&ring, "POST /api/v1/apps/dht/get", head, b"").status, 401);
        assert_eq!(ask(&ring, "DELETE /api/v1/peerlets/dht", head, b"").status, 401);
    }
    assert_eq!(ask(&ring, "POST /api/v1/peerlets", &[HOST, &right, "Content-Type: text/plain"], &package).status, 415);
    assert_eq!(ring[0].status().peerlets, []);

    assert_eq!(ask(&ring, "POST /api/v1/peerlets", &[HOST, BYTES, &right], &package).status, 200);
    assert_eq!(ring[0].status().peerlets.len(), 1);
    // The command line has no token either where it is not told one.
    let said = prost_tests::run(["peerlet", "remove", "dht", "--admin", ring[0].admin.base_url()]);
    assert!(said.refused(77).contains("--token-file"), "{said:?}");
}

#[test]
fn to_get_changes_nothing() {
    let ring = Plan::of(1).start();
    ring.install(&DHT.package(&provider()));
    let right = format!("Authorization: Bearer {}", ring[0].token());
    let before = ring[0].status();
    for path in ["peerlets/dht", "apps/dht/put", "apps/dht/get", "messages/dht", "ring/lookup", "ring/neighbours"] {
        for method in ["GET", "HEAD", "PUT", "PATCH"] {
            let answer = ask(&ring, &format!("{method} /api/v1/{path}"), &[HOST, BYTES, &right], b"");
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
        }
    }
    let after = ring[0].status();
    assert_eq!(after.peerlets.len(), before.peerlets.len());
    assert_eq!(after.installs, before.installs);
}

#[test]
fn what_is_too_long_is_refused() {
    let ring = Plan::of(1).start();
    let right = format!("Authorization: Bearer {}", ring[0].token());
    let head = [HOST, BYTES, right.as_str()];
    let longest = 1 << 20;
    assert_eq!(ask(&ring, "POST /api/v1/apps/dht/put", &head, &vec![0; longest + 1]).status, 413);
    // Nobody runs here.
    assert_eq!(ask(&ring, "POST /api/v1/apps/dht/put", &head, &vec![0; longest]).status, 404);
    assert_eq!(ask(&ring, "POST /api/v1/peerlets", &head, &vec![0; longest + 1]).status, 400);
    assert_eq!(ask(&ring, "POST /api/v1/peerlets", &head, &vec![0; 26 << 20]).status, 413);
    assert_eq!(ring[0].ask(&["health"]).ok(), "ready\n");
}

#[test]
fn metrics_tell_what_a_node_does() {
    let ring = Plan::of(3).start();
    ring.install(&DHT.package(&provider()));
    for number in 0..8 {
        ring[0].dht().put(format!("name {number}").as_bytes(), &mut &b"value"[..]).expect("it is stored");
    }
    ring[0].ask(&["ring", "lookup", "name"]).ok();

    // Each is above zero on a node that has worked.
    let series = [
        ("prost_quic_connections", 2.0),
        ("prost_quic_rtt_seconds_count", 1.0),
        ("prost_route_messages_total", 1.0),
        ("prost_route_hops_count", 1.0),
        ("prost_lookup_duration_seconds_count", 1.0),
        ("prost_peerlet_calls_total", 8.0),
        ("prost_peerlet_fuel_consumed_total", 1.0),
        ("prost_peerlet_memory_bytes", 65536.0),
        ("prost_peerlet_storage_bytes", 1.0),
        ("prost_peerlet_messages_total", 1.0),
        ("prost_peerlet_sent_bytes_total", 1.0),
        ("prost_peerlet_compile_seconds_total", 0.000_001),
        ("prost_peerlet_run_seconds_total", 0.000_001),
        ("prost_peerlet_reserved_memory_bytes", 65536.0),
        ("prost_admission_reserved", 1.0),
        ("prost_admission_limit", 1.0),
        ("prost_peerlet_installs_total", 1.0),
        ("prost_storage_commit_duration_seconds_count", 1.0),
        ("prost_ring_member", 1.0),
        ("prost_routing_table_entries", 2.0),
        ("prost_build_info", 1.0),
    ];
    for (name, least) in series {
        ring[0].until_metric(name, &[], least);
    }
    // And those of refusals are there before there is any.
    let text = ring[0].metrics();
    for reason in ["denied", "missing-capability", "bad-package", "init-failed"] {
        assert!(text.contains(&format!("prost_peerlet_rejected_total{{reason=\"{reason}\"}} 0")), "{reason}");
    }
    assert!(text.contains("prost_connections_refused_total{reason=\"frame_length\"} 0"));
    assert!(text.contains("prost_handshakes_refused_total{reason=\"handshake_signature\"} 0"));
}

#[test]
fn what_applications_use_can_be_watched() {
    let ring = Plan::of(1).start();
    let nobody = ring[0].ask(&["peerlet", "top"]);
    assert!(nobody.ok().starts_with("peerlet ") && nobody.ok().contains("0 of 64 places"), "{nobody:?}");
    let app = ring[0].install(&DHT.package(&provider()));
    ring[0].dht().put(b"name", &mut &b"value"[..]).expect("it is stored");

    // No terminal: once, though nobody said so.
    let said = ring[0].ask(&["peerlet", "top"]);
    let text = said.ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let begins = [format!("dht@{}", &hex::encode(provider().public())[..8]), "total".to_owned(), "node".to_owned()];
    assert!(lines[1..].iter().zip(&begins).all(|(line, begin)| line.starts_with(begin)), "{text}");
    assert!(lines[1].contains("running") && lines[2].contains("1 of 64 places"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    assert_eq!(ring[0].ask(&["peerlet", "top", "--once"]).ok().lines().count(), 4);

    let said = ring[0].ask(&["peerlet", "top", "--json"]).json();
    let dht = &said["peerlets"][0];
    assert_eq!(dht["app"].as_str(), Some(app.as_str()), "{said}");
    assert!(
        ["calls", "fuel", "storage_bytes", "compile_micros"].iter().all(|key| dht[key].as_u64() > Some(0)),
        "{said}"
    );
    assert_eq!(dht["reserved"]["storage_bytes"].as_u64(), Some(DHT.budgets().storage_bytes), "{said}");
    assert_eq!(said["reserved"], dht["reserved"], "one application has all that is reserved");
    assert_eq!(said["usage"]["calls"], dht["calls"], "{said}");
    assert_eq!(said["totals"]["applications"].as_u64(), Some(64), "{said}");

    assert!(ring[0].admin.remove("dht").is_ok());
    let after = ring[0].ask(&["peerlet", "top", "--json"]).json();
    assert_eq!((after["usage"]["calls"].as_u64(), after["reserved"]["memory_bytes"].as_u64()), (Some(0), Some(0)));
    ring.until("it leaves no series", PATIENCE, || !ring[0].metrics().contains("prost_peerlet_memory_bytes{"));
}
