//! What may come over a connection: an answer without encoding, at a rate that is worth waiting for.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::{Response, StatusCode};
use prost_manager::DownloadFailure;
use prost_package::Package;
use tokio::time::{Instant, timeout_at};

use super::Limits;
use super::get::Failed;

/// The file, as it comes.
pub(super) struct Body {
    incoming: Incoming,
    limits: Limits,
    /// When it began, without the time in which nobody read.
    begun: Instant,
    /// Bytes that have come.
    pub(super) bytes: u64,
    /// How many there will be, where the answer says so.
    length: Option<u64>,
}

impl Body {
    /// Takes an answer that is one: 200, not encoded, not longer than any package.
    pub(super) fn of(response: Response<Incoming>, limits: Limits) -> Result<Body, Failed> {
        let status = response.status();
        if status.is_redirection() {
            return Err(Failed::new(DownloadFailure::Redirect, status));
        }
        if status != StatusCode::OK {
            return Err(Failed::new(DownloadFailure::Status, status));
        }
        let plain = |header, word: &str| {
            response
                .headers()
                .get_all(header)
                .iter()
                .all(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
        };
        if !plain(CONTENT_ENCODING, "identity") || !plain(TRANSFER_ENCODING, "chunked") {
            return Err(Failed::new(DownloadFailure::Encoding, "it was asked not to"));
        }
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Body { incoming: response.into_body(), limits, begun: Instant::now(), bytes: 0, length };
        body.check_length(0, Package::MAX)?;
        Ok(body)
    }

    /// Whether what the answer says of its length is within these bounds.
    pub(super) fn check_length(&self, least: u64, most: u64) -> Result<(), Failed> {
        match self.length {
            Some(length) if length > most => Err(Failed::new(DownloadFailure::TooLong, length)),
            Some(length) if length < least => Err(Failed::new(DownloadFailure::TooShort, length)),
            _ => Ok(()),
        }
    }

    /// The next bytes; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failed> {
        loop {
            let frame = timeout_at(self.deadline(), self.incoming.frame()).await;
            let frame = frame.map_err(|_| Failed::new(DownloadFailure::Slow, format!("{} bytes", self.bytes)))?;
            let Some(frame) = frame else { return Ok(None) };
            let data = frame.map_err(broken)?.into_data();
            // What follows the file is of no use.
            let Ok(data) = data else { continue };
            self.bytes += data.len() as u64;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// When the next bytes must be there: soon, and early enough for the rate.
    fn deadline(&self) -> Instant {
        let earned = std::time::Duration::from_secs_f64(self.bytes as f64 / self.limits.rate.max(1) as f64);
        (Instant::now() + self.limits.idle).min(self.begun + self.limits.grace.max(earned))
    }

    /// The time since `since` is not the server's: nobody has read.
    pub(super) fn pardon(&mut self, since: Instant) {
        self.begun += since.elapsed();
    }
}

fn broken(error: hyper::Error) -> Failed {
    let class = if error.is_parse() { DownloadFailure::Protocol } else { DownloadFailure::TooShort };
    Failed::new(class, error)
}
