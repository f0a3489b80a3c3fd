//! Real directories, published, updated, mounted, and read back after the loss of nodes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use prost_certs::{Admission, Identity, Rejections, SERVER_NAME, UnixTime, Validity, client_config, server_config};
use prost_contract::Capability;
use prost_node::standard::CFS;
use prost_tests::{Plan, Ring, allow, http, provider};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};

/// Nodes whose loss no block must notice: copies less one.
const LOSS: usize = 2;
/// A file besides the real ones, in bytes, of many blocks and not a whole number of them.
const LARGE: usize = (4 << 20) + 77;

fn ring(nodes: usize) -> Ring {
    let capabilities: Vec<Capability> = CFS.capabilities.iter().map(|(capability, _)| *capability).collect();
    let ring = Plan::of(nodes).policy(allow(&provider(), &capabilities)).start();
    ring.install(&CFS.package(&provider()));
    ring
}

/// The repository's own pages and sources, and a large file.
fn tree(ring: &Ring) -> PathBuf {
    let (to, from) = (ring.path("tree"), Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for part in ["docs", "wit", "peerlets/sdk/src"] {
        copy(&from.join(part), &to.join(part));
    }
    fs::write(to.join("large"), bytes(LARGE)).expect("room");
    fs::write(to.join("empty"), "").expect("room");
    to
}

fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("room");
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("room");
        }
    }
}

/// All files below, by their path.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                open.push(entry);
            } else {
                let content = fs::read(&entry).expect("a file");
                found.insert(entry.strip_prefix(directory).expect("below").to_owned(), content);
            }
        }
    }
    found
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

fn key(ring: &Ring) -> PathBuf {
    let key = ring.path("publisher.key");
    prost_tests::run(["peerlet", "key", "--out", text(&key)]).ok();
    key
}

#[test]
fn a_published_tree_reads_back_byte_for_byte_after_all_copies_but_one_are_gone() {
    let mut ring = ring(6);
    let (tree, key) = (tree(&ring), key(&ring));
    let published = ring[0].ask(&["cfs", "publish", text(&tree), "--key", text(&key), "--json"]).json();
    let root = published["root"].as_str().expect("an id").to_owned();
    let expected = contents(&tree);
    assert_eq!(published["files"], expected.len());

    for _ in 0..LOSS {
        ring.kill(1);
    }

    let out = ring.path("out");
    let node = &ring[2];
    let got = node.ask(&["cfs", "get", &root, "--out", text(&out), "--window", "8", "--json"]).json();
    assert!(contents(&out) == expected, "what came back is something else");
    assert_eq!(fs::read_dir(&out).expect("there").count(), fs::read_dir(&tree).expect("there").count());

    let size = expected.values().map(|content| content.len() as f64).sum::<f64>() / f64::from(1 << 20);
    let seconds = |value: &serde_json::Value| value["seconds"].as_f64().expect("seconds");
    let again = ring.path("again");
    let warm = node.ask(&["cfs", "get", &root, "--out", text(&again), "--window", "8", "--json"]).json();
    let plain = plain_copy(&bytes((size * f64::from(1 << 20)) as usize));
    println!("{:.1} MiB in {} files, on one machine, MiB/s:", size, expected.len());
    println!("  published, three copies on disk   {:8.1}", size / seconds(&published));
    println!("  read, two nodes dead              {:8.1}", size / seconds(&got));
    println!("  read again, from the node's cache {:8.1}", size / seconds(&warm));
    println!("  plain copy over one QUIC stream   {:8.1}", size / plain);
}

#[test]
fn an_update_is_seen_at_once_and_the_tree_before_stays() {
    let ring = ring(4);
    let (tree, key) = (tree(&ring), key(&ring));
    let publish = |verb: &str| ring[0].ask(&["cfs", verb, text(&tree), "--key", text(&key), "--json"]);
    assert!(publish("update").refused(1).contains("publish it first"));
    let first = publish("publish").json();
    let (root, before) = (first["root"].as_str().expect("an id"), first["snapshot"].as_str().expect("an id"));

    fs::write(tree.join("wit/new"), "a new file").expect("room");
    let second = publish("update").json();
    assert_eq!((&second["root"], &second["version"]), (&first["root"], &serde_json::json!(2)));
    // A file, two directories on the way, each with its inode, and the root.
    assert!(second["stored"].as_u64() <= Some(7), "{second}");

    let other = &ring[3];
    assert_eq!(other.ask(&["cfs", "cat", &format!("{root}/wit/new")]).ok(), "a new file");
    assert!(other.ask(&["cfs", "cat", &format!("@{before}/wit/new")]).refused(1).contains("there is no 'wit/new'"));
    let names = other.ask(&["cfs", "ls", &format!("{root}/wit")]).ok().to_owned();
    assert_eq!(names.lines().filter(|name| *name == "new" || *name == "src/").count(), 2, "{names}");
    let stat = other.ask(&["cfs", "stat", &format!("{root}/large"), "--json"]).json();
    assert_eq!((&stat["size"], &stat["root"]["version"]), (&serde_json::json!(LARGE), &serde_json::json!(2)));
    let extended = other.ask(&["cfs", "extend", root, "--ttl", "60d", "--json"]).json();
    assert!(extended["blocks"].as_u64() > Some(500), "{extended}");
    assert!(other.ask(&["cfs", "ls", &"0".repeat(64)]).refused(1).contains("is not there"));
    assert!(other.ask(&["cfs", "status", "--json"]).json()["served"].as_u64() > Some(0));
}

#[test]
fn a_tree_is_a_share_that_any_webdav_client_reads() {
    let ring = ring(4);
    let (tree, key) = (tree(&ring), key(&ring));
    let root = ring[0].ask(&["cfs", "publish", text(&tree), "--key", text(&key)]).ok().trim().to_owned();
    let mounted = Mounted::of(&ring, 2, &root);

    let ask = |line: &str, head: &[&str]| http(mounted.address, line, &[&["Host: localhost"][..], head].concat(), b"");
    let listed = ask("PROPFIND /wit", &["Depth: 1"]);
    assert_eq!(listed.status, 207);
    assert!(listed.body.contains("<D:href>/wit/peerlet.wit</D:href>"), "{}", listed.body);
    let whole = fs::read_to_string(tree.join("wit/peerlet.wit")).expect("text");
    assert_eq!(ask("GET /wit/peerlet.wit", &[]).body, whole);
    let part = ask("GET /wit/peerlet.wit", &["Range: bytes=100-199"]);
    assert_eq!((part.status, part.body.as_str()), (206, &whole[100..200]));
    assert_eq!(ask("PUT /wit/peerlet.wit", &[]).status, 405);
    assert_eq!(ask("GET /nothing", &[]).status, 404);
    assert_eq!(ask("PROPFIND /", &["Depth: infinity"]).status, 403);
    assert_eq!(http(mounted.address, "GET /", &["Host: evil.example"], b"").status, 421);

    // A client that was not written for this, where the machine has it.
    let out = ring.path("curled");
    let url = format!("http://{}/large", mounted.address);
    if let Ok(ended) = Command::new("curl").args(["-sSf", "-o", text(&out), &url]).status() {
        assert!(ended.success());
        assert!(fs::read(&out).expect("it was written") == bytes(LARGE), "what came back is something else");
    }
}

/// A share, which ends with it.
struct Mounted {
    address: SocketAddr,
    process: Child,
}

impl Mounted {
    fn of(ring: &Ring, node: usize, root: &str) -> Mounted {
        let node = &ring[node];
        let mut command = Command::new(prost_tests::prost());
        command.args(["cfs", "mount", root, "--listen", "127.0.0.1:0", "--admin", node.admin.base_url()]);
        command.arg("--token-file").arg(node.dir.join(prost_node::config::ADMIN_TOKEN_FILE));
        let mut process = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where");
        let address = line.trim().strip_prefix("http://").and_then(|line| line.strip_suffix('/'));
        Mounted { address: address.expect("a URL").parse().expect("an address"), process }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Seconds that bytes take over one stream of one connection on loopback.
fn plain_copy(bytes: &[u8]) -> f64 {
    let identity = Identity::generate_open("plain", Validity::days(UnixTime::now(), 1)).expect("an identity");
    let rejections = Rejections::new();
    let tls = server_config(&identity, &Admission::Open, &rejections);
    let server = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).expect("a TLS 1.3 suite")));
    let tls = client_config(&identity, &Admission::Open, None, &rejections);
    let client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("a TLS 1.3 suite")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let loopback = || "127.0.0.1:0".parse().expect("an address");
        let sender = Endpoint::server(server, loopback()).expect("a socket");
        let receiver = Endpoint::client(loopback()).expect("a socket");
        let address = sender.local_addr().expect("it is bound");
        let connecting = receiver.connect_with(client, address, SERVER_NAME).expect("an address");
        let accepting = async { sender.accept().await.expect("open").await.expect("a connection") };
        let (receiving, sending) = tokio::join!(async { connecting.await.expect("a connection") }, accepting);
        let start = Instant::now();
        let send = async {
            let mut stream = sending.open_uni().await.expect("a stream");
            stream.write_all(bytes).await.expect("it is read");
            stream.finish().expect("it is open");
        };
        let receive = async {
            let mut stream = receiving.accept_uni().await.expect("a stream");
            let read = stream.read_to_end(bytes.len()).await.expect("all of it");
            assert!(read == bytes);
        };
        tokio::join!(send, receive);
        start.elapsed().as_secs_f64()
    })
}
