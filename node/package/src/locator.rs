//! Locators: where an application's code can be had.
//!
//! What is checked here is spelling. Whether a host may be asked, and which addresses its name may resolve to, is for
//! whoever fetches.

use core::fmt;

use crate::digest::Digest;
use crate::url::Url;

/// Where an application's code can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locator {
    /// Nothing said: ask the previous hop.
    None,
    /// `blake3:` and the component's digest.
    Digest(Digest),
    /// `https:`, for hosts that the operator listed. A package file stands there.
    Url(Url),
}

impl Locator {
    /// Reads a locator as it stands in a header: empty; or `blake3:` and 64 hexadecimal digits; or a [`Url`].
    pub fn parse(text: &str) -> Result<Locator, LocatorError> {
        if text.is_empty() {
            Ok(Locator::None)
        } else if let Some(digest) = text.strip_prefix("blake3:") {
            digest.parse().map(Locator::Digest).map_err(|_| LocatorError::Malformed)
        } else if text.starts_with("https:") {
            Url::parse(text).map(Locator::Url).ok_or(LocatorError::Malformed)
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
            Locator::Url(url) => write!(f, "{url}"),
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
