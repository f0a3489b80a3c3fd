//! The PROST header: which application a message is for.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Longest code locator, in bytes.
pub const MAX_LOCATOR: usize = 2048;
/// Longest application name, in bytes.
pub const MAX_NAME: usize = 64;
/// Longest encoded header, in bytes.
pub const MAX_HEADER: usize = 4096;
/// Room for what most headers are without their locator, in bytes.
const USUAL_HEADER: usize = 256;

/// The PROST application type of a message (slide 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// Type 0: every node on the path that runs the application is asked to forward.
    PerHop,
    /// Type 1: only the node responsible for the key sees the message.
    EndNode,
}

/// The name of an application: 1 to 64 bytes of `a-z`, `0-9`, `.` and `-`. One that begins with `.` is the node's own, and
/// may have a byte more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppName(String);

/// The text is not an application name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an application name is 1 to 64 characters of a-z, 0-9, '.' and '-'")]
pub struct BadAppName;

impl AppName {
    /// What the names begin with that no package can have: the node keeps records of its own under them.
    pub const RESERVED: char = '.';

    /// Whether no package can have it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(AppName::RESERVED)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AppName {
    type Error = BadAppName;

    fn try_from(name: String) -> Result<AppName, BadAppName> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
        let most = MAX_NAME + usize::from(name.len() > 1 && name.starts_with(AppName::RESERVED));
        if (1..=most).contains(&name.len()) && name.bytes().all(legal) { Ok(AppName(name)) } else { Err(BadAppName) }
    }
}

impl FromStr for AppName {
    type Err = BadAppName;

    fn from_str(name: &str) -> Result<AppName, BadAppName> {
        AppName::try_from(name.to_owned())
    }
}

impl From<AppName> for String {
    fn from(name: AppName) -> String {
        name.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An application, the same on every node and for every version of its code: who provides it, and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppId {
    /// The provider's Ed25519 public key.
    #[serde(with = "serde_bytes")]
    pub provider: [u8; 32],
    /// The provider's name for the application.
    pub name: AppName,
}

impl fmt::Display for AppId {
    /// `name@` and the provider's key in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.name)?;
        self.provider.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for AppId {
    type Err = BadAppId;

    fn from_str(text: &str) -> Result<AppId, BadAppId> {
        let (name, provider) = text.split_once('@').ok_or(BadAppId)?;
        let name = name.parse().map_err(|_| BadAppId)?;
        if provider.len() != 64 || !provider.is_ascii() {
            return Err(BadAppId);
        }
        let mut key = [0; 32];
        for (byte, digits) in key.iter_mut().zip(provider.as_bytes().chunks(2)) {
            let digits = core::str::from_utf8(digits).map_err(|_| BadAppId)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadAppId)?;
        }
        Ok(AppId { provider: key, name })
    }
}

/// The text is not an application id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an application id is its name, '@' and its provider's key in 64 hexadecimal digits")]
pub struct BadAppId;

/// What a PROST message says of its application. Only nodes that handle the message decode it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The application.
    pub app: AppId,
    /// Where its code can be had, e.g. `blake3:` and the package's digest; at most [`MAX_LOCATOR`] bytes.
    pub locator: String,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> Bytes {
        // One allocation for most headers.
        let mut bytes = Vec::with_capacity(USUAL_HEADER + self.locator.len());
        serde_cbor::to_writer(&mut bytes, self).expect("a header is plain data");
        bytes.into()
    }

    /// Reads a header; none where the bytes are not one.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let header: Header = serde_cbor::from_slice(bytes.get(..MAX_HEADER.min(bytes.len()))?).ok()?;
        (bytes.len() <= MAX_HEADER && header.locator.len() <= MAX_LOCATOR).then_some(header)
    }
}
