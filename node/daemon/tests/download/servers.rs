//! Servers that give a package, and servers that do all that a server can do instead.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use prost_manager::DownloadFailure;
use prost_node::download::{Limits, Reply};
use prost_package::{Package, Url};

use crate::client::{Client, Got, NAME, package, patient, url};
use crate::server::{Listener, Server, Stream, hang};

/// Short times, for servers that must be given up.
fn impatient() -> Limits {
    let short = Duration::from_millis(400);
    Limits { idle: short, grace: short, rate: 16 << 10, ..patient() }
}

/// Asks a server that says this.
async fn get(limits: Limits, say: impl Fn(&mut Stream) + Send + Sync + 'static) -> Got {
    let server = Server::start(&[NAME], move |stream, _| say(stream));
    Client::of(&server, limits).get(&url(&server)).await
}

/// The failure of a server that says this.
async fn fails(limits: Limits, say: impl Fn(&mut Stream) + Send + Sync + 'static) -> DownloadFailure {
    get(limits, say).await.0.expect_err("it must fail")
}

/// A server that says these bytes and ends.
async fn fails_with(answer: impl AsRef<[u8]>) -> DownloadFailure {
    let answer = answer.as_ref().to_vec();
    fails(patient(), move |stream| write(stream, &answer)).await
}

/// The other side may have gone.
fn write(stream: &mut Stream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn file() -> Vec<u8> {
    package().encode()
}

/// The file with its length.
fn ok(file: &[u8]) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {}", file.len()), file)
}

/// The file in chunks.
fn chunked(file: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in file.chunks(5000) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    answer("200 OK\r\nTransfer-Encoding: chunked", &[&body[..], b"0\r\n\r\n"].concat())
}

#[tokio::test]
async fn a_package_arrives_whole_in_any_of_the_ways_that_http_has() {
    let file = file();
    let until_the_end = answer("200 OK", &file);
    let old = [b"HTTP/1.0 200 OK\r\n\r\n", &file[..]].concat();
    let identity = format!("200 OK\r\nContent-Encoding: identity\r\nContent-Length: {}", file.len());
    for answer in [ok(&file), chunked(&file), until_the_end, old, answer(&identity, &file)] {
        let got = get(Limits::default(), move |stream| write(stream, &answer)).await;
        assert_eq!(got, (Ok(package().component), file.len() as u64));
    }
}

#[tokio::test]
async fn a_request_says_who_is_asked_for_what_and_nothing_of_the_node() {
    let server = Server::start(&[NAME], |stream, _| write(stream, &ok(&file())));
    assert!(Client::of(&server, patient()).get(&url(&server)).await.0.is_ok());
    let requests = server.requests();
    let lines: Vec<String> = requests[0].lines().map(str::to_lowercase).collect();
    let host = format!("host: {NAME}:{}", server.addr.port());
    let expected = [
        "get /a/dht.prost?v=1 http/1.1",
        &host,
        "user-agent: prost",
        "accept: */*",
        "accept-encoding: identity",
        "connection: close",
        "",
    ];
    assert_eq!(lines, expected);
    assert_eq!((requests.len(), server.connections()), (1, 1));
}

#[tokio::test]
async fn any_answer_but_200_is_a_failure() {
    let body = file();
    for status in ["404 Not Found", "403 Forbidden", "500 Oops", "503 Busy", "201 Created", "206 Partial Content"] {
        let head = format!("{status}\r\nContent-Length: {}", body.len());
        assert_eq!(fails_with(answer(&head, &body)).await, DownloadFailure::Status, "{status}");
    }
    assert_eq!(fails_with(answer("204 No Content", b"")).await, DownloadFailure::Status);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let canary = Listener::canary();
    for status in [301, 302, 303, 307, 308, 300, 304] {
        let head = format!("{status} Elsewhere\r\nLocation: http://{}/\r\nContent-Length: 0", canary.addr);
        assert_eq!(fails_with(answer(&head, b"")).await, DownloadFailure::Redirect, "{status}");
    }
    assert_eq!(canary.connections(), 0);
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let file = file();
    assert_eq!(fails(impatient(), hang).await, DownloadFailure::Slow, "before it answers");
    // However good its average is.
    let limits = Limits { idle: impatient().idle, ..patient() };
    for said in [10, 60, 200, file.len() / 2] {
        let part = ok(&file)[..said].to_vec();
        let failure = fails(limits, move |stream| {
            write(stream, &part);
            hang(stream);
        });
        assert_eq!(failure.await, DownloadFailure::Slow, "after {said} bytes");
    }
    // Everything is there, but nobody says that it ends here.
    let unended = answer("200 OK", &file);
    let failure = fails(impatient(), move |stream| {
        write(stream, &unended);
        hang(stream);
    });
    assert_eq!(failure.await, DownloadFailure::Slow);
}

/// Says this, and then these bytes one by one, each after a while, until the other side has gone.
fn trickle(stream: &mut Stream, at_once: &[u8], bytes: &[u8], pause: Duration) {
    write(stream, at_once);
    for byte in bytes {
        thread::sleep(pause);
        if stream.write_all(&[*byte]).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_that_trickles_is_given_up_though_it_never_falls_silent() {
    let pause = Duration::from_millis(20);
    let limits = Limits { idle: patient().idle, ..impatient() };
    for at_once in [60, 200, 5000] {
        let all = ok(&file());
        let failure = fails(limits, move |stream| trickle(stream, &all[..at_once], &all[at_once..], pause));
        assert_eq!(failure.await, DownloadFailure::Slow, "after {at_once} bytes");
    }
    // A head that trickles must be there whole in the time in which a server may be silent.
    let all = ok(&file());
    let failure = fails(impatient(), move |stream| trickle(stream, b"", &all, pause));
    assert_eq!(failure.await, DownloadFailure::Slow);
    // And so must what comes before the answer.
    let failure = fails(impatient(), move |stream| {
        let going_on = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(10_000);
        trickle(stream, b"", &going_on, Duration::from_micros(100));
    });
    assert_eq!(failure.await, DownloadFailure::Slow);
}

#[tokio::test]
async fn a_server_that_is_fast_enough_has_only_so_long() {
    let limits = Limits { total: Duration::from_millis(700), ..patient() };
    let failure = fails(limits, |stream| {
        let all = ok(&file());
        trickle(stream, &all[..200], &all[200..], Duration::from_millis(20));
    });
    assert_eq!(failure.await, DownloadFailure::Late);
}

#[tokio::test]
async fn what_ends_too_soon_is_no_package() {
    let file = file();
    let whole = file.len();
    for length in [0, 5, 13, 100, whole / 2, whole - 1] {
        let cut = &file[..length];
        assert_eq!(fails_with(ok(cut)).await, DownloadFailure::TooShort, "{length} of {whole} bytes");
        assert_eq!(fails_with(chunked(cut)).await, DownloadFailure::TooShort, "{length}, in chunks");
        assert_eq!(fails_with(answer("200 OK", cut)).await, DownloadFailure::TooShort, "{length}, to the end");
        let promised = answer(&format!("200 OK\r\nContent-Length: {whole}"), cut);
        assert_eq!(fails_with(promised).await, DownloadFailure::TooShort, "{length}, promised {whole}");
    }
}

#[tokio::test]
async fn one_byte_too_many_is_too_long() {
    let longer = [file(), vec![0]].concat();
    for answer in [ok(&longer), chunked(&longer), answer("200 OK", &longer)] {
        assert_eq!(fails_with(answer).await, DownloadFailure::TooLong);
    }
    let promised = answer(&format!("200 OK\r\nContent-Length: {}", Package::MAX + 1), &file());
    assert_eq!(fails_with(promised).await, DownloadFailure::TooLong);
}

#[tokio::test]
async fn a_length_that_is_wrong_is_enough_to_read_no_further() {
    let limits = Limits { total: Duration::from_secs(5), ..patient() };
    let file = file();
    let whole = file.len() as u64;
    let lengths = [
        (Package::MAX + 1, 0, DownloadFailure::TooLong),
        (whole + 1, file.len(), DownloadFailure::TooLong),
        (whole - 1, 5000, DownloadFailure::TooShort),
    ];
    for (length, said, expected) in lengths {
        let part = answer(&format!("200 OK\r\nContent-Length: {length}"), &file[..said]);
        let failure = fails(limits, move |stream| {
            write(stream, &part);
            hang(stream);
        });
        assert_eq!(failure.await, expected, "{length} bytes");
    }
}

#[tokio::test]
async fn chunks_without_end_are_cut_off_where_the_package_should_end() {
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    let server = Server::start(&[NAME], move |stream, _| {
        let body = chunked(&file());
        write(stream, &body[..body.len() - 5]);
        let chunk = [b"1000\r\n", &[0; 0x1000][..], b"\r\n"].concat();
        while stream.write_all(&chunk).is_ok() {
            count.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        }
    });
    let (result, bytes) = Client::of(&server, patient()).get(&url(&server)).await;
    assert_eq!(result, Err(DownloadFailure::TooLong));
    let most = file().len() as u64 + (64 << 10);
    assert!(bytes <= most, "{bytes} bytes were taken");
    while server.ended() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What is more filled the buffers on the way.
    assert!(written.load(Ordering::SeqCst) < 64 << 20);
}

#[tokio::test]
async fn what_is_encoded_is_refused_unread() {
    let body = file();
    for header in [
        "Content-Encoding: gzip",
        "Content-Encoding: br",
        "Content-Encoding: identity, gzip",
        "Content-Encoding: identity\r\nContent-Encoding: zstd",
        "Transfer-Encoding: gzip, chunked",
    ] {
        let said = answer(&format!("200 OK\r\n{header}"), &body);
        assert_eq!(fails_with(said).await, DownloadFailure::Encoding, "{header}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let long = answer(&format!("200 OK\r\nX: {}", "x".repeat(64 << 10)), b"");
    let many = answer(&format!("200 OK{}", "\r\nx: y".repeat(1000)), b"");
    for said in [
        file(),
        b"<html>HTTP/0.9</html>\r\n".to_vec(),
        b"HTTP/2.0 200 OK\r\n\r\n".to_vec(),
        b"HTTP/1.1 2000 OK\r\n\r\n".to_vec(),
        b"220 mail.example ESMTP\r\n".to_vec(),
        vec![0; 100],
        Vec::new(),
        long,
        many,
    ] {
        let shown = String::from_utf8_lossy(&said[..said.len().min(40)]).into_owned();
        assert_eq!(fails_with(said).await, DownloadFailure::Protocol, "{shown}");
    }
    let wrong_chunk = answer("200 OK\r\nTransfer-Encoding: chunked", b"xyz\r\n");
    let failure = fails_with(wrong_chunk).await;
    assert!(matches!(failure, DownloadFailure::Protocol | DownloadFailure::TooShort), "{failure:?}");
}

#[tokio::test]
async fn what_is_no_package_is_known_by_its_first_bytes() {
    let length = file().len();
    for said in [b"<html></html>".to_vec(), b"\0asm\x0d\0\x01\0".to_vec(), vec![0; length]] {
        let (result, bytes) = get(patient(), move |stream| write(stream, &ok(&said))).await;
        assert_eq!(result, Err(DownloadFailure::Package));
        assert!(bytes <= 64 << 10, "{bytes} bytes were taken");
    }
    let mut long = file();
    long[9] = 0xff;
    assert_eq!(fails_with(ok(&long)).await, DownloadFailure::Package, "an envelope longer than any");
}

#[tokio::test]
async fn until_the_manifest_was_judged_no_more_is_read() {
    let server = Server::start(&[NAME], |stream, _| write(stream, &ok(&file())));
    let limits = Limits { total: Duration::from_millis(700), ..patient() };
    let mut client = Client::of(&server, limits);
    client.downloader.begin(1, Url::parse(&url(&server)).expect("a URL"));
    let head = client.reply().await;
    assert_eq!(head, Reply::Head { download: 1, envelope: package().manifest.bytes().clone() });
    let Reply::End { bytes, result, .. } = client.reply().await else { panic!("one head") };
    assert_eq!(result, Err(DownloadFailure::Late));
    assert!(bytes <= 64 << 10 && bytes < file().len() as u64 / 2, "{bytes} bytes were taken");
}

#[tokio::test]
async fn a_download_that_is_not_wanted_any_more_ends_at_once_and_is_not_answered() {
    let server = Server::start(&[NAME], |stream, _| {
        write(stream, &ok(&file())[..200]);
        hang(stream);
    });
    let mut client = Client::of(&server, patient());
    client.downloader.begin(1, Url::parse(&url(&server)).expect("a URL"));
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.downloader.cancel(1);
    client.downloader.cancel(1);
    client.downloader.go_on(1, 5);
    while server.ended() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(client.replied(), None);
}

#[tokio::test]
async fn more_than_four_downloads_at_once_are_refused_and_a_place_is_free_again_after_an_end() {
    let server = Server::start(&[NAME], |stream, _| hang(stream));
    let mut client = Client::of(&server, patient());
    for download in 1..=5 {
        client.downloader.begin(download, Url::parse(&url(&server)).expect("a URL"));
    }
    let overloaded = |download| Reply::End { download, bytes: 0, result: Err(DownloadFailure::Overloaded) };
    assert_eq!(client.reply().await, overloaded(5));
    while server.requests().len() < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.downloader.cancel(2);
    while server.ended() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.downloader.begin(6, Url::parse(&url(&server)).expect("a URL"));
    client.downloader.begin(7, Url::parse(&url(&server)).expect("a URL"));
    assert_eq!(client.reply().await, overloaded(7));
}
