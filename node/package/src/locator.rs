//! Locators: where an application's code can be had.
//!
//! What is checked here is spelling. Whether a host may be asked, and which addresses its name may resolve to, is for
//! whoever fetches.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use prost_kbr::header::MAX_LOCATOR;

use crate::digest::Digest;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the final dot).
const MAX_HOST: usize = 253;
/// Longest part of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// Where an application's code can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// Nothing said: ask the previous hop.
    None,
    /// `blake3:` and the component's digest.
    Digest(Digest),
    /// `https:`, for hosts that the operator listed.
    Url(String),
}

impl Locator {
    /// Reads a locator as it stands in a header.
    ///
    /// Empty; or `blake3:` and 64 hexadecimal digits; or `https://`, a host, perhaps a port, and a path, perhaps with
    /// a query: at most [`MAX_LOCATOR`] bytes of printable ASCII, no user information, no fragment. The host is a name
    /// in lower case or an IP address in its usual form.
    pub fn parse(text: &str) -> Result<Locator, LocatorError> {
        if text.is_empty() {
            Ok(Locator::None)
        } else if let Some(digest) = text.strip_prefix("blake3:") {
            digest.parse().map(Locator::Digest).map_err(|_| LocatorError::Malformed)
        } else if let Some(rest) = text.strip_prefix("https:") {
            if text.len() > MAX_LOCATOR || !is_location(rest) {
                return Err(LocatorError::Malformed);
            }
            Ok(Locator::Url(text.to_owned()))
        } else {
            Err(LocatorError::Scheme)
        }
    }
}

impl fmt::Display for Locator {
    /// As it stands in a header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Locator::None => Ok(()),
            Locator::Digest(digest) => write!(f, "blake3:{digest}"),
            Locator::Url(url) => f.write_str(url),
        }
    }
}

/// The text is not a locator that this node takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocatorError {
    /// No such scheme.
    #[error("a locator begins with 'blake3:' or 'https:'")]
    Scheme,
    /// The rest is not what the scheme wants.
    #[error("the locator is malformed")]
    Malformed,
}

/// `//host[:port]/path[?query]`
fn is_location(text: &str) -> bool {
    let Some((authority, path)) = text.strip_prefix("//").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    // RFC 3986 wants these escaped, and readers of URLs disagree about them; `#` begins a fragment.
    let plain = |byte: u8| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte);
    is_authority(authority) && path.bytes().all(plain)
}

fn is_authority(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((host, port)) = rest.split_once(']') else { return false };
        let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return host.parse::<Ipv6Addr>().is_ok() && port_is_good;
    }
    match text.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(text),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && text.parse::<u16>().is_ok()
}

/// A name, or an IPv4 address as four decimal numbers. Where the last label is a number, URL readers take the whole
/// for an address, in spellings that hide it (`2852039166`, `0xa9.0xfe.0xa9.0xfe`): only the plain one is taken.
fn is_host(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or(text);
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.len() <= MAX_HOST && text.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(legal) && !text.starts_with('-') && !text.ends_with('-')
}
