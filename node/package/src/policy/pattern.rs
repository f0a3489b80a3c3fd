//! Whom a rule is about.

use core::fmt;

use prost_kbr::{AppId, AppName};
use semver::{Comparator, Op, Prerelease, Version, VersionReq};

/// Providers and applications that a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) provider: Provider,
    pub(super) application: Application,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provider {
    Any,
    One([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Application {
    One(AppName),
    /// Every name that begins so; every name, where it is empty.
    Prefix(String),
}

impl Subject {
    pub(super) fn matches(&self, app: &AppId) -> bool {
        let provider = match &self.provider {
            Provider::Any => true,
            Provider::One(key) => *key == app.provider,
        };
        provider
            && match &self.application {
                Application::One(name) => *name == app.name,
                Application::Prefix(prefix) => app.name.as_str().starts_with(prefix),
            }
    }

    /// Whether it matches everything that the other does.
    pub(super) fn covers(&self, other: &Subject) -> bool {
        let provider = self.provider == Provider::Any || self.provider == other.provider;
        provider
            && match (&self.application, &other.application) {
                (Application::One(mine), Application::One(theirs)) => mine == theirs,
                (Application::One(_), Application::Prefix(_)) => false,
                (Application::Prefix(mine), Application::One(theirs)) => theirs.as_str().starts_with(mine),
                (Application::Prefix(mine), Application::Prefix(theirs)) => theirs.starts_with(mine),
            }
    }
}

impl Provider {
    /// Reads a public key in hexadecimal, or `*`.
    pub(super) fn parse(text: &str) -> Option<Provider> {
        let mut key = [0; 32];
        match text {
            "*" => Some(Provider::Any),
            _ => hex::decode_to_slice(text, &mut key).ok().map(|()| Provider::One(key)),
        }
    }
}

impl Application {
    /// Reads a name, or the beginning of names and a `*`.
    pub(super) fn parse(text: &str) -> Option<Application> {
        match text.strip_suffix('*') {
            Some("") => Some(Application::Prefix(String::new())),
            Some(prefix) => prefix.parse().ok().map(|prefix: AppName| Application::Prefix(prefix.into())),
            None => text.parse().ok().map(Application::One),
        }
    }
}

/// A range of versions, as Cargo writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Versions(VersionReq);

impl Versions {
    /// Reads a range such as `>=1.2, <2`.
    pub(super) fn parse(text: &str) -> Option<Versions> {
        VersionReq::parse(text).ok().map(Versions)
    }

    /// Whether a version is in the range. One before a release (`2.0.0-rc.1`) is only where the range names such a one.
    pub(super) fn matches(&self, version: &Version) -> bool {
        self.0.matches(version)
    }

    /// Whether the range is one version, written out: `=1.2.0`.
    pub(super) fn is_one(&self) -> bool {
        matches!(&self.0.comparators[..], [Comparator { op: Op::Exact, minor: Some(_), patch: Some(_), .. }])
    }

    /// Whether a version is in the range, or the release that it comes before is: its provider must not slip past a denial
    /// by a suffix.
    pub(super) fn touches(&self, version: &Version) -> bool {
        let release = Version { pre: Prerelease::EMPTY, ..version.clone() };
        self.matches(version) || self.matches(&release)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Subject {
    /// In one line, as the file says it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.provider {
            Provider::Any => f.write_str("provider *")?,
            Provider::One(key) => write!(f, "provider {}", hex::encode(key))?,
        }
        match &self.application {
            Application::One(name) => write!(f, ", application {name}"),
            Application::Prefix(prefix) => write!(f, ", application {prefix}*"),
        }
    }
}
