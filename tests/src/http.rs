//! A client of HTTP/1.1 that sends just what it is told, unlike any proper one.

use core::time::Duration;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Sends a request: its first line, the lines of its head, and a body whose length is added to the head.
///
/// # Panics
///
/// Where the server answers nothing that is HTTP.
#[track_caller]
pub fn http(server: SocketAddr, line: &str, head: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time is not zero");
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for field in head {
        request += &format!("{field}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).expect("the server reads");
    // A server may refuse what it has not read to its end.
    let _ = stream.write_all(body);
    let mut said = Vec::new();
    // It may then also end the connection hard, after its answer.
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {line}: {said:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("an answer has a status");
    Answer { status, body: body.to_owned() }
}
