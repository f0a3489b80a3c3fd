//! A client of a node's administration interface, for programs on the same machine. It blocks.

use core::fmt;
use core::time::Duration;

use prost_kbr::{Dispatch, Failure, Hop, Key, Peer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, AsSendBody, Timeout};

use crate::admin::ask::{PeerletStatus, PublishedStatus, Status};

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a question about the node itself may take.
const ASK: Duration = Duration::from_secs(10);
/// How long a question that the ring answers may take: longer than the node itself waits.
const CALL: Duration = Duration::from_secs(40);
/// How long an installation may take: compiling is slow on a busy machine.
const INSTALL: Duration = Duration::from_secs(120);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 8 << 20;
/// Connections that are kept open between questions.
const IDLE: usize = 64;
/// Most of an answer that an error repeats, in characters.
const MAX_QUOTE: usize = 200;

/// A client of one node. Threads can share it, and clones share its connections: each question takes one that is idle,
/// or opens another.
#[derive(Clone)]
pub struct AdminClient {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// The end of a lookup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// What was looked for.
    pub key: Key,
    /// The node responsible, or why none answered.
    pub result: Result<Peer, Failure>,
    /// Overlay hops from the node that was asked.
    pub hops: u8,
    /// The nodes on the way, each with its round-trip time to the next.
    pub path: Option<Vec<Hop>>,
}

/// A message of an application, as a program sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted<'a> {
    /// The application's full id, `name@provider`.
    pub app: &'a str,
    /// The destination.
    pub key: Key,
    /// The type.
    pub dispatch: Dispatch,
    /// Where the code can be had; empty where nothing is said.
    pub locator: &'a str,
    /// The data.
    pub payload: &'a [u8],
}

/// The end of a message that a program sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Where it went.
    pub key: Key,
    /// The node that handled it, or why none did.
    pub result: Result<Peer, Failure>,
    /// Overlay hops from the node that it was given to.
    pub hops: u8,
}

/// The neighbours of a node, as it tells them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// Nodes before it, nearest first.
    pub predecessors: Vec<Peer>,
    /// Nodes after it, nearest first.
    pub successors: Vec<Peer>,
}

impl AdminClient {
    /// A client of the node at this address, `http://HOST:PORT` or `HOST:PORT`. Nothing is sent yet.
    ///
    /// The token is the content of the file `admin.token` in the node's data directory. Only what changes something
    /// needs it.
    pub fn new(base_url: &str, token: Option<String>) -> AdminClient {
        let base = base_url.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        let config = Agent::config_builder()
            // Only this machine is meant, whatever the environment says.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .max_idle_connections(IDLE)
            .max_idle_connections_per_host(IDLE)
            .build();
        AdminClient { agent: config.into(), base, token: token.map(|token| token.trim().to_owned()) }
    }

    /// The node's address, `http://HOST:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base
    }

    /// How the node is.
    pub fn status(&self) -> Result<Status, AdminError> {
        self.json(Method::GET, "/api/v1/status", Body::None, ASK)
    }

    /// Whether the process answers at all.
    pub fn healthy(&self) -> Result<(), AdminError> {
        self.send(Method::GET, "/healthz", Body::None, ASK).map(drop)
    }

    /// Whether the node is a member of its ring.
    pub fn ready(&self) -> Result<bool, AdminError> {
        match self.send(Method::GET, "/readyz", Body::None, ASK) {
            Ok(_) => Ok(true),
            Err(AdminError::Refused { status: 503, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Which node is responsible for a key, and the way there.
    pub fn lookup(&self, key: Key) -> Result<Lookup, AdminError> {
        self.lookup_over(key, None)
    }

    /// The same over so many paths that share no node, 1 to 8, whose way is not told; none for a lookup that nodes pass on.
    pub fn lookup_over(&self, key: Key, paths: Option<u8>) -> Result<Lookup, AdminError> {
        let question = match paths {
            Some(paths) => serde_json::json!({ "key": key, "paths": paths }),
            None => serde_json::json!({ "key": key }),
        };
        self.json(Method::POST, "/api/v1/ring/lookup", Body::Json(&json(&question)), CALL)
    }

    /// The neighbours of any node of the ring, asked through this one.
    pub fn neighbours(&self, peer: Peer) -> Result<Neighbours, AdminError> {
        self.json(Method::POST, "/api/v1/ring/neighbours", Body::Json(&json(&peer)), CALL)
    }

    /// The applications that the node knows.
    pub fn peerlets(&self) -> Result<Vec<PeerletStatus>, AdminError> {
        self.json(Method::GET, "/api/v1/peerlets", Body::None, ASK)
    }

    /// Installs a package file's bytes on the node. Answered with the application's full id.
    pub fn install(&self, package: &[u8]) -> Result<String, AdminError> {
        let Installed { app } = self.json(Method::POST, "/api/v1/peerlets", Body::Bytes(package), INSTALL)?;
        Ok(app)
    }

    /// Puts a package file's bytes into the ring's store of code.
    pub fn publish(&self, package: &[u8]) -> Result<PublishedStatus, AdminError> {
        self.json(Method::POST, "/api/v1/content", Body::Bytes(package), CALL)
    }

    /// Removes an application, by name or full id, with its records on the node. Answered with its full id.
    pub fn remove(&self, app: &str) -> Result<String, AdminError> {
        let path = format!("/api/v1/peerlets/{}", segment(app));
        let Installed { app } = self.json(Method::DELETE, &path, Body::None, CALL)?;
        Ok(app)
    }

    /// Asks an application something. What body and answer are is for the application to say.
    pub fn call(&self, app: &str, method: &str, body: &[u8]) -> Result<Vec<u8>, AdminError> {
        let path = format!("/api/v1/apps/{}/{}", segment(app), segment(method));
        self.send(Method::POST, &path, Body::Bytes(body), CALL)
    }

    /// Sends an application's message into the ring, whether the node runs the application or not.
    pub fn post(&self, posted: &Posted<'_>) -> Result<Sent, AdminError> {
        let kind = match posted.dispatch {
            Dispatch::PerHop => 0,
            Dispatch::EndNode => 1,
        };
        let (app, key, locator) = (segment(posted.app), posted.key, segment(posted.locator));
        let path = format!("/api/v1/messages/{app}?key={key}&type={kind}&locator={locator}");
        self.json(Method::POST, &path, Body::Bytes(posted.payload), CALL)
    }

    fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Body<'_>,
        timeout: Duration,
    ) -> Result<T, AdminError> {
        let answer = self.send(method, path, body, timeout)?;
        serde_json::from_slice(&answer).map_err(|error| self.unexpected(error))
    }

    fn send(&self, method: Method, path: &str, body: Body<'_>, timeout: Duration) -> Result<Vec<u8>, AdminError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = match body {
            Body::None => self.run(request.body(()), timeout),
            Body::Json(bytes) => self.run(request.header("content-type", "application/json").body(bytes), timeout),
            Body::Bytes(bytes) => {
                self.run(request.header("content-type", "application/octet-stream").body(bytes), timeout)
            }
        }?;
        let status = response.status();
        let answer = response.into_body().into_with_config().limit(MAX_ANSWER).read_to_vec();
        let answer = answer.map_err(|error| self.failed(error, timeout))?;
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer)) }
    }

    fn run<B: AsSendBody>(
        &self,
        request: Result<Request<B>, ureq::http::Error>,
        timeout: Duration,
    ) -> Result<Response<ureq::Body>, AdminError> {
        let request = request.map_err(|error| AdminError::Malformed(error.to_string()))?;
        let request = self.agent.configure_request(request).timeout_global(Some(timeout)).build();
        self.agent.run(request).map_err(|error| self.failed(error, timeout))
    }

    fn failed(&self, error: ureq::Error, timeout: Duration) -> AdminError {
        let url = self.base.clone();
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
                AdminError::Unreachable { url, cause: format!("no connection within {} s", CONNECT.as_secs()) }
            }
            ureq::Error::Timeout(_) => AdminError::TimedOut { url, seconds: timeout.as_secs() },
            ureq::Error::Io(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                AdminError::Unreachable { url, cause: error.to_string() }
            }
            other => self.unexpected(other),
        }
    }

    fn unexpected(&self, problem: impl fmt::Display) -> AdminError {
        AdminError::Unexpected { url: self.base.clone(), problem: quote(&problem.to_string()) }
    }
}

impl fmt::Debug for AdminClient {
    /// Nothing of the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminClient").field("base", &self.base).finish_non_exhaustive()
    }
}

enum Body<'a> {
    None,
    Json(&'a [u8]),
    Bytes(&'a [u8]),
}

/// The application that was installed or removed.
#[derive(Deserialize)]
struct Installed {
    app: String,
}

/// What the interface says when it refuses.
#[derive(Deserialize)]
struct Complaint {
    error: String,
    hint: Option<String>,
}

/// Why a node was asked in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// The address or the token cannot be put into a request.
    #[error("the address or the token is malformed: {0}")]
    Malformed(String),
    /// No connection, or it broke.
    #[error("{url}: {cause}")]
    Unreachable {
        /// The node's address.
        url: String,
        /// What the system says.
        cause: String,
    },
    /// No answer in time. What was asked for may still be done.
    #[error("{url}: no answer within {seconds} s")]
    TimedOut {
        /// The node's address.
        url: String,
        /// How long it had.
        seconds: u64,
    },
    /// The node refuses, or it failed.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, in one line.
        error: String,
        /// What may help.
        hint: Option<String>,
    },
    /// Whoever answered does not speak as a node does.
    #[error("{url} does not answer as a Prost node does: {problem}")]
    Unexpected {
        /// The node's address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl AdminError {
    /// Whether the same question may well be answered a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            AdminError::Unreachable { .. } | AdminError::TimedOut { .. } => true,
            // Request timeout, too many requests, bad gateway, service unavailable, gateway timeout.
            AdminError::Refused { status, .. } => matches!(status, 408 | 429 | 502 | 503 | 504),
            AdminError::Malformed(_) | AdminError::Unexpected { .. } => false,
        }
    }
}

fn refused(status: StatusCode, answer: &[u8]) -> AdminError {
    let status = status.as_u16();
    match serde_json::from_slice(answer) {
        Ok(Complaint { error, hint }) => AdminError::Refused { status, error, hint },
        Err(_) => {
            let said = quote(&String::from_utf8_lossy(answer));
            AdminError::Refused { status, error: format!("HTTP status {status}: {said}"), hint: None }
        }
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("ids and addresses are always encoded")
}

/// Words of somebody else: short, on one line.
fn quote(text: &str) -> String {
    let plain = text.trim().chars().map(|character| if character.is_control() { ' ' } else { character });
    plain.take(MAX_QUOTE).collect()
}

/// Text as one segment of a path: all but RFC 3986's unreserved characters escaped.
fn segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Answers one request with this, and returns the request.
    fn serve(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody connects");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                let read = stream.read(&mut buffer).expect("the request arrives");
                request.extend_from_slice(&buffer[..read]);
            }
            stream.write_all(answer.as_bytes()).expect("the answer leaves");
            String::from_utf8_lossy(&request).into_owned()
        });
        (addr.to_string(), server)
    }

    #[test]
    fn a_call_goes_to_its_path_with_the_token_and_brings_the_answer_back() {
        let (addr, server) = serve("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes");
        let client = AdminClient::new(&addr, Some("secret\n".to_owned()));

        let answer = client.call("dht@00ff", "get it", b"");

        assert_eq!(answer, Ok(b"yes".to_vec()));
        let request = server.join().expect("the server ends").to_lowercase();
        assert!(request.starts_with("post /api/v1/apps/dht%4000ff/get%20it http/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: bearer secret\r\n"), "{request}");
    }

    #[test]
    fn a_refusal_comes_with_its_reason_and_hint() {
        let (addr, server) = serve(
            "HTTP/1.1 404 Not Found\r\ncontent-length: 46\r\n\r\n{\"error\":\"no such thing\",\"hint\":\"look behind\"}",
        );

        let answer = AdminClient::new(&addr, None).status();

        let expected = AdminError::Refused {
            status: 404,
            error: "no such thing".to_owned(),
            hint: Some("look behind".to_owned()),
        };
        assert!(!expected.is_transient());
        assert_eq!(answer, Err(expected));
        server.join().expect("the server ends");
    }

    #[test]
    fn what_is_no_node_is_told_from_one_that_is_not_there() {
        let (addr, server) = serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
        let answer = AdminClient::new(&addr, None).status();
        assert!(matches!(answer, Err(AdminError::Unexpected { .. })), "{answer:?}");
        server.join().expect("the server ends");

        let answer = AdminClient::new(&addr, None).status();
        let error = answer.expect_err("nobody listens any more");
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error:?}");
        assert!(error.is_transient());
    }
}
