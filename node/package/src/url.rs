//! The URLs at which packages stand.
//!
//! One spelling of `https:` URLs is taken, in which no two readers see different hosts. Nothing is looked up here: which
//! hosts may be asked is the policy's word, and to which addresses their names may lead is [`address`](crate::address)'s.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};

use prost_kbr::header::MAX_LOCATOR;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the final dot).
const MAX_HOST: usize = 253;
/// Longest part of a host name, in bytes.
const MAX_LABEL: usize = 63;

/// A host, by name or by address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// A host and a port: who is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl Authority {
    /// The port where none is written (RFC 9110, section 4.2.2).
    pub const PORT: u16 = 443;

    /// Reads `host` or `host:port`, the host as a name in lower case, as an IPv4 address in its usual form, or as an IPv6
    /// address in brackets; none for anything else.
    pub fn parse(text: &str) -> Option<Authority> {
        if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once(']')?;
            let port = if port.is_empty() { Authority::PORT } else { read_port(port.strip_prefix(':')?)? };
            return Some(Authority { host: Host::Address(IpAddr::V6(host.parse().ok()?)), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, read_port(port)?),
            None => (text, Authority::PORT),
        };
        Some(Authority { host: read_host(host)?, port })
    }
}

impl fmt::Display for Authority {
    /// As in a URL: the port is left out where it is the usual one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if self.port == Authority::PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// An `https:` URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    authority: Authority,
    /// Where the path begins.
    path: usize,
}

impl Url {
    /// How every URL begins.
    const SCHEME: &'static str = "https://";

    /// Reads `https://`, a host, perhaps a port, and a path, perhaps with a query: at most [`MAX_LOCATOR`] bytes of
    /// printable ASCII, no user information, no fragment. None for anything else.
    pub fn parse(text: &str) -> Option<Url> {
        let rest = text.strip_prefix(Url::SCHEME).filter(|_| text.len() <= MAX_LOCATOR)?;
        let (authority, path) = rest.split_once('/')?;
        // RFC 3986 wants these escaped, and readers of URLs disagree about them; `#` begins a fragment.
        let plain = |byte: u8| byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte);
        let at = Url::SCHEME.len() + authority.len();
        let authority = Authority::parse(authority).filter(|_| path.bytes().all(plain))?;
        Some(Url { text: text.to_owned(), authority, path: at })
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who is asked.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What is asked for: the path, and the query where there is one.
    pub fn target(&self) -> &str {
        &self.text[self.path..]
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn read_port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// A name, or an IPv4 address as four decimal numbers. Where the last label is a number, URL readers take the whole
/// for an address, in spellings that hide it (`2852039166`, `0xa9.0xfe.0xa9.0xfe`): only the plain one is taken.
fn read_host(text: &str) -> Option<Host> {
    let last = text.rsplit('.').next().unwrap_or(text);
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<Ipv4Addr>().ok().map(|address| Host::Address(address.into()));
    }
    let named = text.len() <= MAX_HOST && text.split('.').all(is_label);
    named.then(|| Host::Name(text.to_owned()))
}

fn is_label(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_LABEL).contains(&text.len()) && text.bytes().all(legal) && !text.starts_with('-') && !text.ends_with('-')
}
