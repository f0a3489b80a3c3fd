//! The kinds of values that settings have.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::sources::{Found, Raw};

/// A host, by name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort(String);

impl HostPort {
    /// Longest name of a host (RFC 1035), and `:65535`.
    const MAX: usize = 253 + 6;

    /// Reads `host:port` or `[ipv6]:port`.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let bracketed = host.starts_with('[') && text.parse::<SocketAddr>().is_ok();
        let plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        let fits = text.len() <= HostPort::MAX && port.parse::<u16>().is_ok_and(|port| port != 0);
        (fits && (plain || bracketed)).then(|| HostPort(text.to_owned()))
    }

    /// The addresses that it stands for. Waits for the resolver.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.to_socket_addrs()?.collect())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn text(found: &Found) -> Result<&str, String> {
    match &found.raw {
        Raw::Loose(text) => text.to_str().ok_or_else(|| "must be UTF-8".to_owned()),
        Raw::Text(text) => Ok(text),
        other => Err(format!("must be text in quotes, and is {}", kind(other))),
    }
}

pub(super) fn path(found: &Found) -> Result<PathBuf, String> {
    let path = match &found.raw {
        Raw::Loose(path) => Path::new(path),
        _ => Path::new(text(found)?),
    };
    if path.as_os_str().is_empty() {
        return Err("must be a path, and is empty".to_owned());
    }
    Ok(found.base.as_deref().map_or_else(|| path.to_owned(), |base| base.join(path)))
}

pub(super) fn socket_addr(found: &Found) -> Result<SocketAddr, String> {
    let text = text(found)?;
    text.parse().map_err(|_| format!("'{text}' is not an address and a port; write e.g. 0.0.0.0:4433 or [::]:4433"))
}

/// An address that others can dial.
pub(super) fn advertised(found: &Found) -> Result<SocketAddr, String> {
    let addr = socket_addr(found)?;
    if addr.ip().is_unspecified() {
        return Err(format!("nobody can reach {addr}; give an address of this machine"));
    }
    Ok(addr)
}

pub(super) fn boolean(found: &Found) -> Result<bool, String> {
    if let Raw::Bool(value) = found.raw {
        return Ok(value);
    }
    let loose = if let Raw::Loose(text) = &found.raw { text.to_str() } else { None };
    match loose {
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

pub(super) fn number(found: &Found, range: RangeInclusive<u64>) -> Result<u64, String> {
    let digits = match &found.raw {
        Raw::Loose(text) => text.to_str(),
        Raw::Number(number) => Some(number.as_str()),
        _ => None,
    };
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number));
    number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
}

/// Hosts and ports: a list of texts, or one text with commas between them.
pub(super) fn list(found: &Found, max: usize) -> Result<Vec<HostPort>, String> {
    let texts: Vec<&str> = match &found.raw {
        Raw::List(items) => items.iter().map(String::as_str).collect(),
        _ => text(found)?.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
    };
    if texts.len() > max {
        return Err(format!("must not have more than {max} addresses"));
    }
    let read = |text: &&str| {
        HostPort::parse(text).ok_or_else(|| format!("'{text}' is not a host and a port; write e.g. 192.0.2.1:4433"))
    };
    texts.iter().map(read).collect()
}

/// A file's text.
pub(super) fn read_file(path: &Path, max: usize) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(max as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if text.len() > max { Err(format!("{} is longer than {max} bytes", path.display())) } else { Ok(text) }
}

fn kind(raw: &Raw) -> &'static str {
    match raw {
        Raw::Loose(_) | Raw::Text(_) => "text",
        Raw::Number(_) => "a number",
        Raw::Bool(_) => "true or false",
        Raw::List(_) => "a list",
        Raw::Other(kind) => kind,
    }
}
