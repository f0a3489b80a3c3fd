//! Applications that misbehave, on nodes whose other applications go on.

use std::path::PathBuf;
use std::time::Duration;

use prost_contract::Capability;
use prost_node::admin_client::AdminError;
use prost_node::standard::DHT;
use prost_tests::{Node, Plan, Ring, allow_within, package, provider, small_budgets};

use crate::bomb::bomb;
use crate::component::{OK, Peerlet};

const LOOP: &str = "(loop $again (br $again)) unreachable";
const GROW: &str = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
/// A record of this node under the name `name`.
const PUT: &str = "(call $put (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 2048) (i32.const 4)
    (i32.const 2048) (i32.const 4) (i32.const 0) (i64.const 0) (i32.const 1024))";
const GET: &str = "(call $get (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
    (i32.const 2048) (i32.const 4) (i32.const 1024))";
const NAME: &str = r#"(data (i32.const 2048) "name")"#;

/// What the nodes of these tests grant: not the node's key.
const GRANTED: [Capability; 5] =
    [Capability::Route, Capability::Storage, Capability::Timer, Capability::Client, Capability::Log];

/// A ring of two nodes that grant little, and run the dht.
fn ring() -> Ring {
    let ring = Plan::of(2).policy(allow_within(&provider(), &GRANTED, &small_budgets())).start();
    ring.install(&DHT.package(&provider()));
    ring
}

/// The dht works on a node.
#[track_caller]
fn assert_unharmed(node: &Node) {
    let dht = node.dht();
    dht.put(b"other", &mut &b"value"[..]).unwrap_or_else(|error| panic!("{error}\n{}", node.tail()));
    assert_eq!(dht.get(b"other").expect("the dht answers").as_deref(), Some(&b"value"[..]));
    assert_eq!(node.ask(&["health"]).ok(), "ready\n");
}

#[track_caller]
fn refused(node: &Node, package: &prost_package::Package) -> (u16, String) {
    match node.admin.install(&package.encode()) {
        Err(AdminError::Refused { status, error, .. }) => (status, error),
        other => panic!("{other:?}"),
    }
}

/// Refusals are counted by their reason.
#[track_caller]
fn assert_counted(node: &Node, reason: &str, least: f64) {
    node.until_metric("prost_peerlet_rejected_total", &[("reason", reason)], least);
}

/// Asks a peerlet that traps: the caller is told so, the trap is counted, the node goes on.
#[track_caller]
fn assert_traps(ring: &Ring, name: &str, peerlet: &Peerlet, capabilities: &[Capability], kind: &str) {
    let app = ring[0].install(&package(&provider(), name, peerlet.build(), capabilities));
    let answer = ring[0].admin.call(name, "go", b"");
    let Err(AdminError::Refused { status: 502, error, .. }) = answer else { panic!("{answer:?}") };
    assert!(error.contains("handler failed") && error.contains(kind), "{error}");
    let labels = [("peerlet", app.as_str()), ("export", "serve"), ("outcome", kind)];
    ring[0].until_metric("prost_peerlet_calls_total", &labels, 1.0);
    assert!(ring[0].status().peerlets.iter().any(|peerlet| peerlet.app == app && peerlet.usage.traps > 0));
    assert_unharmed(&ring[0]);
}

#[test]
fn a_component_that_wants_what_no_node_gives_is_refused_by_name() {
    let ring = ring();
    let sockets = "wasi:sockets/tcp@0.2.6";
    let component = Peerlet::new().import(&format!("(import \"{sockets}\" (instance))")).build();
    let package = package(&provider(), "sockets", component.clone(), &[]);

    let (status, error) = refused(&ring[0], &package);

    assert_eq!(status, 403);
    assert!(error.contains(sockets), "{error}");
    assert!(ring[0].log().contains("refused (missing-capability)"), "{}", ring[0].tail());
    assert_counted(&ring[0], "missing-capability", 1.0);
    // Nor can it be packed by mistake.
    let file = ring.path("sockets.wasm");
    std::fs::write(&file, component).expect("room");
    let said = prost_tests::run(sign(&file, &key_file(&ring), "sockets", &ring.path("sockets.prost")));
    assert!(said.refused(65).contains(sockets), "{said:?}");
    assert_unharmed(&ring[0]);
}

#[test]
fn a_component_that_wants_what_was_not_granted_is_refused() {
    let ring = ring();
    let asks = package(&provider(), "asks", Peerlet::new().identity().build(), &[Capability::Identity]);
    let (status, error) = refused(&ring[0], &asks);
    assert_eq!(status, 403);
    assert!(error.contains("identity"), "{error}");
    // To leave it out of the manifest does not help.
    let hides = package(&provider(), "hides", Peerlet::new().identity().build(), &[]);
    let (status, error) = refused(&ring[0], &hides);
    assert_eq!(status, 403);
    assert!(error.contains("identity"), "{error}");

    assert_counted(&ring[0], "missing-capability", 2.0);
    assert_unharmed(&ring[0]);
}

#[test]
fn a_component_that_is_none_is_refused() {
    let ring = ring();
    let module = wat::parse_str("(module (func (export \"deliver\")))").expect("it is well-formed");
    let (status, error) = refused(&ring[0], &package(&provider(), "module", module, &[]));
    assert_eq!(status, 403);
    assert!(error.contains("bad-component"), "{error}");
    assert_counted(&ring[0], "bad-component", 1.0);
    assert_unharmed(&ring[0]);
}

#[test]
fn a_component_that_no_compiler_gets_to_the_end_of_is_refused_while_the_node_goes_on() {
    let ring = ring();
    let large = package(&provider(), "large", bomb(20_000), &[]);
    std::thread::scope(|scope| {
        let install = scope.spawn(|| refused(&ring[0], &large));
        while !install.is_finished() {
            let start = std::time::Instant::now();
            assert_unharmed(&ring[0]);
            assert!(start.elapsed() < Duration::from_secs(10), "the node waited\n{}", ring[0].tail());
        }
        let (status, error) = install.join().expect("it is answered");
        assert_eq!(status, 403);
        assert!(error.contains("its compiler"), "{error}");
    });
    assert_counted(&ring[0], "bad-component", 1.0);
    let stopped = [("result", "stopped")];
    ring[0].until_metric("prost_compiles_total", &stopped, 1.0);
    // It is not tried again, under any name.
    refused(&ring[0], &package(&provider(), "renamed", bomb(20_000), &[]));
    assert_eq!(ring[0].metric("prost_compiles_total", &stopped), 1.0);
    // What comes after it is compiled.
    ring[0].install(&package(&provider(), "small", Peerlet::new().build(), &[]));
    assert_unharmed(&ring[0]);
}

#[test]
fn an_endless_loop_is_ended() {
    let ring = ring();
    assert_traps(&ring, "loops", &Peerlet::new().serve(LOOP), &[], "out-of-fuel");
}

#[test]
fn memory_without_end_is_not_given() {
    let ring = ring();
    assert_traps(&ring, "grows", &Peerlet::new().serve(GROW), &[], "out-of-memory");
}

#[test]
fn an_init_that_fails_is_an_installation_that_fails() {
    let ring = ring();
    let looping = package(&provider(), "starts", Peerlet::new().init(LOOP).build(), &[]);
    let (status, error) = refused(&ring[0], &looping);
    assert_eq!(status, 403);
    assert!(error.contains("init-failed"), "{error}");
    assert_counted(&ring[0], "init-failed", 1.0);
    let app = [("export", "init"), ("outcome", "out-of-fuel")];
    ring[0].until_metric("prost_peerlet_calls_total", &app, 1.0);
    assert_unharmed(&ring[0]);
}

#[test]
fn what_was_written_before_a_trap_is_not_there() {
    let ring = ring();
    // With a body, it writes; a body of two bytes or more traps it then. In any case it says first what was there: the
    // third byte of the result of `get` is not zero where there is a record.
    let answer = "(call $respond (local.get $id) (i32.const 0) (i32.const 1028) (i32.const 1) (i32.const 1104))";
    let body = format!(
        "{GET} {answer}
         (if (local.get $length) (then {PUT}))
         (if (i32.gt_u (local.get $length) (i32.const 1)) (then unreachable)) {OK}"
    );
    let peerlet = Peerlet::new().storage().client().module(NAME).serve(&body);
    let app =
        ring[0].install(&package(&provider(), "writes", peerlet.build(), &[Capability::Storage, Capability::Client]));
    let ask = |body: &[u8]| ring[0].admin.call("writes", "go", body);

    assert_eq!(ask(b""), Ok(vec![0]));
    assert!(matches!(ask(b"xx"), Err(AdminError::Refused { status: 502, .. })));
    let mut after = ask(b"");
    // After a trap the application starts again in its own time.
    for _ in 0..50 {
        if after.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        after = ask(b"");
    }
    assert_eq!(after, Ok(vec![0]), "{}", ring.tails());
    // The same without the trap leaves a record: it was the trap that undid it.
    assert_eq!(ask(b"x"), Ok(vec![0]));
    assert_eq!(ask(b""), Ok(vec![1]));
    let labels = [("peerlet", app.as_str()), ("export", "serve"), ("outcome", "fault")];
    ring[0].until_metric("prost_peerlet_calls_total", &labels, 1.0);
    assert_unharmed(&ring[0]);
}

#[test]
fn a_loop_in_deliver_fails_at_its_origin() {
    let ring = ring();
    // Asked, it routes to the key of its body's length; the responsible node never returns from `deliver`.
    let route =
        "(call $route (i64.shl (i64.extend_i32_u (local.get $length)) (i64.const 60)) (i64.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0)
        (i32.const 1024))";
    let peerlet = Peerlet::new().route().deliver(LOOP).serve(&format!("{route} {OK}"));
    let package = package(&provider(), "delivers", peerlet.build(), &[Capability::Route]);
    let app = ring[0].install(&package);
    for length in 0..16 {
        // It does not answer what it is asked. What it sends is what counts.
        let admin = ring[0].admin.clone();
        std::thread::spawn(move || admin.call("delivers", "go", &vec![0; length]));
    }
    let labels = [("peerlet", app.as_str()), ("export", "deliver"), ("outcome", "out-of-fuel")];
    let trapped = || ring.nodes().iter().any(|node| node.metric("prost_peerlet_calls_total", &labels) > 0.0);
    ring.until("a delivery is ended", Duration::from_secs(30), trapped);
    ring.nodes().iter().for_each(assert_unharmed);
}

/// The provider's private key, as a file.
fn key_file(ring: &Ring) -> PathBuf {
    let file = ring.path("provider.key");
    let made = prost_tests::run(["peerlet".into(), "key".into(), "--out".into(), file.clone().into_os_string()]);
    assert_eq!(made.ok().trim().len(), 64);
    file
}

fn sign(component: &std::path::Path, key: &std::path::Path, name: &str, out: &std::path::Path) -> Vec<PathBuf> {
    let words = ["peerlet", "sign", "--name", name, "--key"].map(PathBuf::from);
    let mut line = Vec::from(words);
    line.extend([key.to_owned(), "--out".into(), out.to_owned(), component.to_owned()]);
    line
}
