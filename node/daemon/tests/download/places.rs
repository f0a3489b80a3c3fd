//! Where a connection goes, and where it never does.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost_manager::DownloadFailure;
use prost_node::download::Limits;

use crate::client::{Client, NAME, package, patient, url};
use crate::server::{Listener, Server, Stream, hang};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn give(stream: &mut Stream, _: &str) {
    use std::io::Write;
    let file = package().encode();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len());
    // The other side may have gone.
    let _ = stream.write_all(&[head.as_bytes(), &file].concat()).and_then(|()| stream.flush());
}

fn server() -> Server {
    Server::start(&[NAME], give)
}

async fn fails(mut client: Client, url: &str) -> DownloadFailure {
    client.get(url).await.0.expect_err("it must fail")
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_followed() {
    let (server, canary) = (server(), Listener::canary());
    let client = Client::with(&server, patient(), |_| Ok(vec![HERE]));
    let url = format!("https://{NAME}:{}/p", canary.addr.port());
    assert_eq!(fails(client, &url).await, DownloadFailure::Address);
    let client = Client::with(&server, patient(), |_| unreachable!("an address needs no resolver"));
    let url = format!("https://127.0.0.1:{}/p", canary.addr.port());
    assert_eq!(fails(client, &url).await, DownloadFailure::Address);
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn one_address_that_is_not_global_is_enough_to_connect_to_none() {
    let server = server();
    let bad =
        ["10.0.0.1", "169.254.169.254", "192.168.1.1", "0.0.0.0", "::1", "::ffff:127.0.0.1", "fe80::1", "fd00::1"];
    for bad in bad {
        let bad: IpAddr = bad.parse().expect("an address");
        for list in [vec![bad], vec![HERE, bad], vec![bad, HERE], vec![HERE, HERE, HERE, HERE, HERE, bad]] {
            let client = Client::with(&server, patient(), move |_| Ok(list.clone()));
            assert_eq!(fails(client, &url(&server)).await, DownloadFailure::Address, "{bad}");
        }
    }
    assert_eq!(server.connections(), 0, "not even to the one that may be reached");
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_was_checked_is_connected_to() {
    let (server, canary) = (server(), Listener::canary());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let other: IpAddr = "127.0.0.2".parse().expect("an address");
    // It leads where it may the first time, and elsewhere from then on.
    let flapping = move |_: &str| Ok(vec![if count.fetch_add(1, Ordering::SeqCst) == 0 { HERE } else { other }]);
    let mut client = Client::with(&server, patient(), flapping);
    assert_eq!(client.get(&url(&server)).await.0, Ok(package().component));
    assert_eq!((client.resolved(), server.connections(), canary.connections()), (1, 1, 0));
    assert_eq!(fails(client, &url(&server)).await, DownloadFailure::Address, "the next time it is checked anew");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_a_failure_like_any() {
    let server = server();
    let client = Client::with(&server, patient(), |_| Err(io::Error::other("no such name")));
    assert_eq!(fails(client, &url(&server)).await, DownloadFailure::Resolve);
    let client = Client::with(&server, patient(), |_| Ok(Vec::new()));
    assert_eq!(fails(client, &url(&server)).await, DownloadFailure::Resolve);
    let limits = Limits { connect: Duration::from_millis(200), ..patient() };
    let client = Client::with(&server, limits, |_| {
        std::thread::sleep(Duration::from_secs(2));
        Ok(vec![HERE])
    });
    assert_eq!(fails(client, &url(&server)).await, DownloadFailure::Connect);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn where_nobody_listens_or_nobody_speaks_there_is_no_connection() {
    let mut server = server();
    let gone = Listener::canary().addr;
    server.addr = gone;
    assert_eq!(fails(Client::of(&server, patient()), &url(&server)).await, DownloadFailure::Connect);

    let silent = Listener::start(|mut stream| hang(&mut stream));
    server.addr = silent.addr;
    let limits = Limits { connect: Duration::from_millis(300), ..patient() };
    assert_eq!(fails(Client::of(&server, limits), &url(&server)).await, DownloadFailure::Connect);
    assert_eq!(silent.connections(), 1);
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_told_nothing() {
    let other = Server::start(&["other.example", "*.example.org"], give);
    assert_eq!(fails(Client::of(&other, patient()), &url(&other)).await, DownloadFailure::Tls);
    assert_eq!((other.requests().len(), other.connections()), (0, 1));

    // The right name, certified by somebody else.
    let (mut server, stranger) = (server(), server());
    server.addr = stranger.addr;
    assert_eq!(fails(Client::of(&server, patient()), &url(&server)).await, DownloadFailure::Tls);
    assert_eq!(stranger.requests().len(), 0);

    // An address must be certified as one.
    let url = format!("https://127.0.0.1:{}/p", other.addr.port());
    assert_eq!(fails(Client::of(&other, patient()), &url).await, DownloadFailure::Tls);
    let certified = Server::start(&["127.0.0.1"], give);
    let url = format!("https://127.0.0.1:{}/p", certified.addr.port());
    assert!(Client::of(&certified, patient()).get(&url).await.0.is_ok());
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    let mut server = server();
    let plain = Listener::start(|mut stream| {
        use std::io::Write;
        // The other side may have gone.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        hang(&mut stream);
    });
    server.addr = plain.addr;
    assert_eq!(fails(Client::of(&server, patient()), &url(&server)).await, DownloadFailure::Tls);
}
