//! A tree as a read-only WebDAV share (RFC 4918, class 1, without the methods that change something), for `mount.davfs`,
//! file managers and `curl`.
//!
//! `OPTIONS`, `PROPFIND` of depth 0 and 1, `GET` with one range, and `HEAD`. An inode's hash is the entity tag: it stands
//! for the content for ever. Every answer is read through the root as it is at that moment, or, with a snapshot, as it was.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::fmt::Write;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use prost_cfs_api::BlockId;
use prost_cfs_fs::{Address, FsError, Inode, NodeKind, Reader};
use tokio::sync::{Semaphore, mpsc};

use super::{CfsError, NodeBlocks};

/// Requests that are answered at a time; more wait.
const AT_ONCE: usize = 16;
/// Threads that read for clients.
const THREADS: usize = 64;
/// Bytes that are read ahead of a client that is slow, in pieces of so many.
const PIECE: u64 = 256 << 10;
const PIECES: usize = 2;

/// What is shared, and through what.
#[derive(Debug)]
pub struct Mount {
    /// The tree, or a part of it.
    pub address: Address,
    /// Where its blocks are.
    pub blocks: NodeBlocks,
    /// Blocks that are fetched ahead.
    pub window: usize,
}

struct Shared {
    mount: Mount,
    places: Semaphore,
}

type Found = Result<Response, FsError<CfsError>>;

/// Serves until the process ends. Blocks.
///
/// # Errors
///
/// The listener, or the runtime, cannot be had.
pub fn serve(listener: TcpListener, mount: Mount) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let shared = Arc::new(Shared { mount, places: Semaphore::new(AT_ONCE) });
    let router = Router::new().fallback(answer).with_state(shared);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(THREADS).build()?;
    runtime.block_on(async move { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await })
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let Ok(_place) = shared.places.acquire().await else { return plain(StatusCode::SERVICE_UNAVAILABLE, "") };
    if !is_local(request.headers()) {
        // A page of another site that has its name resolve to this machine.
        return plain(StatusCode::MISDIRECTED_REQUEST, "ask by a loopback address or 'localhost'\n");
    }
    let method = request.method().clone();
    if method == Method::OPTIONS {
        let allowed = Response::builder().header("dav", "1").header(header::ALLOW, "OPTIONS, PROPFIND, GET, HEAD");
        return allowed.body(Body::empty()).expect("plain headers");
    }
    let Some(path) = unescape(request.uri().path()) else { return plain(StatusCode::BAD_REQUEST, "bad path\n") };
    let headers = request.headers().clone();
    let shared = shared.clone();
    let work = move || match method.as_str() {
        "PROPFIND" => shared.properties(&path, &headers),
        "GET" => Shared::content(&shared, &path, &headers, true),
        "HEAD" => Shared::content(&shared, &path, &headers, false),
        _ => Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "this share is read-only\n")),
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => failed(&error),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, ""),
    }
}

impl Shared {
    fn reader(&self) -> Reader<'_, NodeBlocks> {
        Reader::new(&self.mount.blocks).with_window(self.mount.window)
    }

    fn resolve(&self, path: &str) -> Result<(BlockId, Inode), FsError<CfsError>> {
        let Address { top, path: base } = &self.mount.address;
        self.reader().resolve(&Address { top: *top, path: format!("{base}/{path}") })
    }

    fn properties(&self, path: &str, headers: &HeaderMap) -> Found {
        let depth = headers.get("depth").and_then(|depth| depth.to_str().ok());
        if !matches!(depth, Some("0" | "1")) {
            // RFC 4918, section 9.1.1: a server may refuse to list all of a tree.
            let body = "<?xml version=\"1.0\"?><error xmlns=\"DAV:\"><propfind-finite-depth/></error>";
            return Ok(xml(StatusCode::FORBIDDEN, body.to_owned()));
        }
        let (id, inode) = self.resolve(path)?;
        let path = path.trim_matches('/');
        let mut body = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">".to_owned();
        describe(&mut body, path, &id, &inode);
        if depth == Some("1") && inode.kind == NodeKind::Directory {
            for entry in self.reader().entries(&inode)? {
                let inode = self.reader().inode(&entry.inode)?;
                let below = if path.is_empty() { entry.name } else { format!("{path}/{}", entry.name) };
                describe(&mut body, &below, &entry.inode, &inode);
            }
        }
        body.push_str("</D:multistatus>\n");
        Ok(xml(StatusCode::MULTI_STATUS, body))
    }

    fn content(shared: &Arc<Shared>, path: &str, headers: &HeaderMap, with_body: bool) -> Found {
        let (id, inode) = shared.resolve(path)?;
        if inode.kind == NodeKind::Directory {
            let names = shared.reader().entries(&inode)?.into_iter().map(|entry| entry.name + "\n");
            return Ok(plain(StatusCode::OK, names.collect::<String>()));
        }
        let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
        let range = range.filter(|_| is_same(headers, &id)).map(|range| parse_range(range, inode.size));
        let (start, end, status) = match range {
            Some(Some((start, end))) => (start, end, StatusCode::PARTIAL_CONTENT),
            Some(None) => {
                let response = Response::builder().status(StatusCode::RANGE_NOT_SATISFIABLE);
                let response = response.header(header::CONTENT_RANGE, format!("bytes */{}", inode.size));
                return Ok(response.body(Body::empty()).expect("plain headers"));
            }
            None => (0, inode.size, StatusCode::OK),
        };
        let mut response = Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, end - start)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, format!("\"{id}\""))
            .header(header::LAST_MODIFIED, http_date(inode.modified));
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {start}-{}/{}", end - 1, inode.size);
            response = response.header(header::CONTENT_RANGE, range);
        }
        let body = if with_body { stream(shared.clone(), inode, start, end) } else { Body::empty() };
        Ok(response.body(body).expect("plain headers"))
    }
}

/// Reads a file on a thread of its own, a little ahead of the client.
fn stream(shared: Arc<Shared>, inode: Inode, start: u64, end: u64) -> Body {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut at = start;
        while at < end {
            let mut piece = Vec::new();
            let read = shared.reader().read(&inode, at, PIECE.min(end - at), &mut piece);
            at += piece.len() as u64;
            let failed = read.is_err();
            // The client sees a body that is too short, and so that it failed.
            let piece = read.map(|_| Bytes::from(piece)).map_err(|error| std::io::Error::other(error.to_string()));
            if sender.blocking_send(piece).is_err() || failed {
                break;
            }
        }
    });
    Body::new(Pieces(receiver))
}

/// The pieces as the frames of a body.
struct Pieces(mpsc::Receiver<std::io::Result<Bytes>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

/// One `response` element.
fn describe(body: &mut String, path: &str, id: &BlockId, inode: &Inode) {
    let is_directory = inode.kind == NodeKind::Directory;
    let slash = if is_directory && !path.is_empty() { "/" } else { "" };
    let href = format!("/{}{slash}", escape(path));
    let kind = if is_directory { "<D:resourcetype><D:collection/></D:resourcetype>" } else { "<D:resourcetype/>" };
    let _ =
        write!(body, "<D:response><D:href>{href}</D:href><D:propstat><D:prop>{kind}<D:getetag>\"{id}\"</D:getetag>");
    if !is_directory {
        let modified = http_date(inode.modified);
        let _ = write!(body, "<D:getcontentlength>{}</D:getcontentlength>", inode.size);
        let _ = write!(body, "<D:getlastmodified>{modified}</D:getlastmodified>");
    }
    body.push_str("</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>");
}

fn failed(error: &FsError<CfsError>) -> Response {
    let status = match error {
        FsError::NotFound(_) | FsError::NotADirectory(_) => StatusCode::NOT_FOUND,
        FsError::Missing(_) => StatusCode::GONE,
        FsError::Store(error) if error.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    plain(status, format!("{error}\n"))
}

fn plain(status: StatusCode, text: impl Into<Body>) -> Response {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response.body(text.into()).expect("plain headers")
}

fn xml(status: StatusCode, body: String) -> Response {
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml; charset=utf-8");
    response.body(body.into()).expect("plain headers")
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    name.eq_ignore_ascii_case("localhost") || address.is_some_and(|address| address.is_loopback())
}

/// Whether a range is of the content that the client knows (RFC 9110, section 13.1.5).
fn is_same(headers: &HeaderMap, id: &BlockId) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|tag| tag.as_bytes() == format!("\"{id}\"").as_bytes())
}

/// The one range of a `Range` header, as first byte and the one after the last; none where there is no such part.
fn parse_range(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) if first <= last => (first, last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => (first, size),
        (None, Some(length)) if first.is_empty() => (size.saturating_sub(length), size),
        _ => return None,
    };
    (start < end).then_some((start, end))
}

/// All but RFC 3986's unreserved characters and the slash, which also makes it text in XML.
fn escape(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn unescape(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Seconds since 1970 as HTTP writes dates (RFC 9110, section 5.6.7).
fn http_date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // A publisher can claim any time. Four digits have to do for the year.
    let seconds = seconds.min(253_402_300_799);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let mut left = days;
    let mut year = 1970;
    let length = |year: u64| {
        if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) { 366 } else { 365 }
    };
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let february = length(year) - 337;
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (day, name) = (DAYS[(days % 7) as usize], MONTHS[month]);
    format!("{day}, {:02} {name} {year} {:02}:{:02}:{:02} GMT", left + 1, time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        let dates = [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ];
        dates.iter().for_each(|(seconds, date)| assert_eq!(http_date(*seconds), *date));
    }

    #[test]
    fn ranges_are_cut_to_what_is_there() {
        let cases = [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=5-", Some((5, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=2-99", Some((2, 10))),
            ("bytes=10-", None),
            ("bytes=3-2", None),
            ("bytes=x", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-0", None),
        ];
        cases.iter().for_each(|(range, expected)| assert_eq!(parse_range(range, 10), *expected, "{range}"));
    }

    #[test]
    fn paths_survive_a_client_and_only_local_names_are_answered() {
        let path = "a b/<&>\"'/ü%";
        assert_eq!(unescape(&escape(path)).as_deref(), Some(path));
        assert!(["%", "%4", "%zz", "%ff"].iter().all(|path| unescape(path).is_none()));
        let with_host = |host: &str| HeaderMap::from_iter([(header::HOST, host.parse().expect("plain"))]);
        assert!(["localhost:80", "127.0.0.1", "[::1]:8080", "LOCALHOST"].iter().all(|host| is_local(&with_host(host))));
        assert!(["evil.example", "127.0.0.1.evil.example", ""].iter().all(|host| !is_local(&with_host(host))));
    }
}
