//! One download: a connection, a request, the file's head, and once that was judged the rest.

use std::fmt::Display;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use prost_manager::DownloadFailure;
use prost_package::{Package, Url};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::body::Body;
use super::connect::{connect, tls};
use super::{Reply, Settings};

/// Longest head of an answer, in bytes, and its most header lines.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Why a download failed, with more than the manager is told: for this node's log.
#[derive(Debug)]
pub(super) struct Failed {
    class: DownloadFailure,
    detail: String,
}

impl Failed {
    pub(super) fn new(class: DownloadFailure, detail: impl Display) -> Failed {
        Failed { class, detail: detail.to_string() }
    }
}

/// What all downloads share.
pub(super) struct Client {
    settings: Settings,
    tls: TlsConnector,
}

/// One download, and how far it is.
struct Download {
    number: u64,
    replies: mpsc::Sender<Reply>,
    size: oneshot::Receiver<u64>,
    bytes: u64,
}

impl Client {
    pub(super) fn new(settings: Settings) -> Client {
        Client { tls: tls(&settings), settings }
    }

    /// Gets the file at a URL and tells what comes of it. Ends with the download's number.
    pub(super) async fn run(
        self: Arc<Self>,
        number: u64,
        url: Url,
        size: oneshot::Receiver<u64>,
        replies: mpsc::Sender<Reply>,
    ) -> u64 {
        let mut download = Download { number, replies: replies.clone(), size, bytes: 0 };
        let limit = self.settings.limits.total;
        let got = timeout(limit, self.get(&url, &mut download)).await;
        let got = got.unwrap_or_else(|_| Err(Failed::new(DownloadFailure::Late, format!("{limit:?}"))));
        let result = got.map_err(|Failed { class, detail }| {
            tracing::info!(host = %url.authority(), reason = class.name(), detail, "a download failed");
            class
        });
        // A driver that has gone needs no answer.
        let _ = replies.send(Reply::End { download: number, bytes: download.bytes, result }).await;
        number
    }

    async fn get(&self, url: &Url, download: &mut Download) -> Result<Bytes, Failed> {
        let stream = connect(&self.settings, &self.tls, url.authority()).await?;
        let protocol = |error: hyper::Error| Failed::new(DownloadFailure::Protocol, error);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(protocol)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answered = timeout(self.settings.limits.idle, sender.send_request(request(url)?)).await;
        let response: Response<_> = match answered {
            Ok(response) => response.map_err(protocol)?,
            Err(_) => return Err(Failed::new(DownloadFailure::Slow, "no answer")),
        };
        let mut body = Body::of(response, self.settings.limits)?;
        let got = download.read(&mut body).await;
        download.bytes = body.bytes;
        got
    }
}

impl Download {
    async fn read(&mut self, body: &mut Body) -> Result<Bytes, Failed> {
        let mut file = BytesMut::new();
        let malformed = |error| Failed::new(DownloadFailure::Package, error);
        let envelope = loop {
            if let Some(envelope) = Package::envelope(&file).map_err(malformed)? {
                break Bytes::copy_from_slice(envelope);
            }
            let ends = || Failed::new(DownloadFailure::TooShort, "it ends within the manifest");
            file.extend_from_slice(&body.next().await?.ok_or_else(ends)?);
            self.bytes = body.bytes;
        };
        let head = Package::HEAD + envelope.len();
        let whole = head as u64 + self.judged(envelope, body).await?;
        body.check_length(whole, whole)?;
        loop {
            if file.len() as u64 > whole {
                return Err(Failed::new(DownloadFailure::TooLong, format!("more than {whole} bytes")));
            }
            match body.next().await? {
                Some(data) => file.extend_from_slice(&data),
                None if file.len() as u64 == whole => return Ok(file.freeze().slice(head..)),
                None => return Err(Failed::new(DownloadFailure::TooShort, format!("{} of {whole} bytes", file.len()))),
            }
            self.bytes = body.bytes;
        }
    }

    /// Tells the manager the manifest, and waits to hear how long the component is.
    async fn judged(&mut self, envelope: Bytes, body: &mut Body) -> Result<u64, Failed> {
        let asked = Instant::now();
        let gone = || Failed::new(DownloadFailure::Late, "it is not wanted any more");
        let told = self.replies.send(Reply::Head { download: self.number, envelope }).await;
        told.map_err(|_| gone())?;
        let size = (&mut self.size).await.map_err(|_| gone())?;
        body.pardon(asked);
        if size > Package::MAX_COMPONENT {
            return Err(Failed::new(DownloadFailure::TooLong, format!("{size} bytes")));
        }
        Ok(size)
    }
}

/// A request that says who is asked and for what, and nothing of this node.
fn request(url: &Url) -> Result<Request<Empty<Bytes>>, Failed> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(url.target())
        .header(HOST, url.authority().to_string())
        .header(USER_AGENT, "prost")
        .header(ACCEPT, "*/*")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::new());
    request.map_err(|error| Failed::new(DownloadFailure::Protocol, error))
}
