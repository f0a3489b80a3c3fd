//! The configuration of a node: whole and checked, or an error of one line.
//!
//! Each setting can be given as a flag, as a variable of the environment, or in a TOML file; a flag beats a variable,
//! a variable beats the file, and the file beats the default. A setting `some_name` is the flag `--some-name` and the
//! variable `PROST_SOME_NAME`. Relative paths of the file are relative to the file.

mod error;
mod identity;
mod locator;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use prost_manager::ContentSettings;
use prost_package::Policy;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

pub use error::ConfigError;
pub use identity::IdentityFiles;
pub use sources::{Flags, KEYS, Sources};
pub use values::HostPort;

use crate::download;
use sources::Found;

/// Where a node keeps its data unless told otherwise: below the working directory.
pub const DEFAULT_DATA_DIR: &str = "prost-data";
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4433);
const DEFAULT_ADMIN_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);
const DEFAULT_RING: &str = "prost";
const DEFAULT_LOG: &str = "info";
/// Longest name of a ring, in bytes: what fits into the greeting of two nodes and into a certificate.
const MAX_RING_NAME: usize = 64;
/// Most addresses of members to begin with.
const MAX_BOOTSTRAP: usize = 256;
/// File in the data directory that holds the token of the administration interface, unless another is named.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";
/// Bounds of the successor list, as the routing layer has them.
const SUCCESSORS: std::ops::RangeInclusive<u64> = 2..=64;
const CONNECTIONS: std::ops::RangeInclusive<u64> = 8..=256;
/// Up to a tebibyte.
const CONTENT_BYTES: std::ops::RangeInclusive<u64> = 0..=1 << 40;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that a node is told before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Directory of everything that the node keeps.
    pub data_dir: PathBuf,
    /// UDP address to listen at. Port 0 takes any that is free.
    pub listen: SocketAddr,
    /// The address that others reach the node at; none where that is the one it listens at. Port 0 stands for the port
    /// listened at.
    pub advertise: Option<SocketAddr>,
    /// Members of the ring to join through. Empty founds a ring.
    pub bootstrap: Vec<HostPort>,
    /// Name of the ring.
    pub ring: String,
    /// Length of the successor list; the same on every node of the ring.
    pub successors: usize,
    /// Most connections that routing keeps, 8 to 256.
    pub connections: usize,
    /// Bytes that the ring's store of code may take here; zero keeps none.
    pub content_bytes: u64,
    /// Key, certificate and authority.
    pub identity: IdentityFiles,
    /// The policy file; none where the default applies.
    pub policy_file: Option<PathBuf>,
    /// What it says. Without a file everything is denied.
    pub policy: Policy,
    /// Whom hosts of code must be certified by, instead of the authorities of the web.
    pub locator_ca: Option<Vec<CertificateDer<'static>>>,
    /// The one address on loopback that code may be fetched from, for tests.
    pub locator_test_address: Option<SocketAddr>,
    /// TCP address of the administration interface. Port 0 takes any that is free.
    pub admin_listen: SocketAddr,
    /// Whether other machines may reach it.
    pub admin_allow_remote: bool,
    /// The file with the interface's token: the one that was named, or one in the data directory, which is made.
    pub admin_token_file: PathBuf,
    /// Whether the token file was named, and so has to exist.
    pub admin_token_named: bool,
    /// Which events are logged, as `tracing` filters.
    pub log: String,
    /// How they look.
    pub log_format: LogFormat,
}

impl Config {
    /// Reads and checks all settings, and the files that they name. Changes nothing.
    pub fn load(sources: &Sources<'_>) -> Result<Config, ConfigError> {
        let data_dir = sources.read("data_dir", values::path)?.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let (policy_file, policy) = read_policy(sources)?;
        let token = sources.read("admin_token_file", token_file)?;
        let admin_allow_remote = sources.read("admin_allow_remote", values::boolean)?.unwrap_or(false);
        Ok(Config {
            listen: sources.read("listen", values::socket_addr)?.unwrap_or(DEFAULT_LISTEN),
            advertise: sources.read("advertise", values::advertised)?,
            bootstrap: sources.read("bootstrap", |found| values::list(found, MAX_BOOTSTRAP))?.unwrap_or_default(),
            ring: sources.read("ring", ring_name)?.unwrap_or_else(|| DEFAULT_RING.to_owned()),
            connections: sources.read("connections", |found| values::number(found, CONNECTIONS))?.unwrap_or(64)
                as usize,
            content_bytes: sources
                .read("content_bytes", |found| values::number(found, CONTENT_BYTES))?
                .unwrap_or(ContentSettings::DEFAULT_BYTES),
            successors: sources.read("successors", |found| values::number(found, SUCCESSORS))?.unwrap_or(16) as usize,
            identity: IdentityFiles::find(sources, &data_dir)?,
            policy_file,
            policy,
            locator_ca: sources.read("locator_ca", locator::authorities)?,
            locator_test_address: sources.read("locator_test_address", locator::test_address)?,
            admin_listen: admin_listen(sources, admin_allow_remote)?,
            admin_allow_remote,
            admin_token_named: token.is_some(),
            admin_token_file: token.unwrap_or_else(|| data_dir.join(ADMIN_TOKEN_FILE)),
            log: sources.read("log", log_filter)?.unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: sources.read("log_format", log_format)?.unwrap_or(LogFormat::Text),
            data_dir,
        })
    }

    /// The settings of the routing layer.
    pub fn kbr(&self) -> prost_kbr::Config {
        let default = prost_kbr::Config::default();
        prost_kbr::Config {
            successors: self.successors,
            predecessors: self.successors,
            connections: self.connections,
            fall_over: default.fall_over.min(self.successors),
            ..default
        }
    }
}

impl Config {
    /// How code is fetched from URLs.
    pub fn downloads(&self) -> download::Settings {
        let mut settings = download::Settings { test_address: self.locator_test_address, ..download::Settings::web() };
        if let Some(authorities) = &self.locator_ca {
            settings.roots = RootCertStore::empty();
            settings.roots.add_parsable_certificates(authorities.iter().cloned());
        }
        settings
    }
}

/// The path of the configuration file, which is itself a flag or a variable.
pub fn file_named(flag: Option<&Path>, env: &dyn Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    flag.map(Path::to_owned).or_else(|| env("PROST_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from))
}

fn ring_name(found: &Found) -> Result<String, String> {
    let name = values::text(found)?;
    if (1..=MAX_RING_NAME).contains(&name.len()) && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(format!("a ring's name has 1 to {MAX_RING_NAME} bytes and no control characters"))
    }
}

fn token_file(found: &Found) -> Result<PathBuf, String> {
    let path = values::path(found)?;
    if path.is_file() { Ok(path) } else { Err(format!("there is no file {}", path.display())) }
}

fn admin_listen(sources: &Sources<'_>, remote: bool) -> Result<SocketAddr, ConfigError> {
    let checked = |found: &Found| {
        let addr = values::socket_addr(found)?;
        if addr.ip().is_loopback() || remote {
            return Ok(addr);
        }
        Err(format!("{addr} can be reached from other machines; use 127.0.0.1, or set admin_allow_remote = true"))
    };
    Ok(sources.read("admin_listen", checked)?.unwrap_or(DEFAULT_ADMIN_LISTEN))
}

fn read_policy(sources: &Sources<'_>) -> Result<(Option<PathBuf>, Policy), ConfigError> {
    let Some(path) = sources.read("policy", values::path)? else {
        return Ok((None, Policy::default_only(false)));
    };
    let text = values::read_file(&path, Policy::MAX).map_err(|cause| sources.error("policy", cause))?;
    let policy =
        Policy::parse(&text).map_err(|error| sources.error("policy", format!("{}: {error}", path.display())))?;
    Ok((Some(path), policy))
}

fn log_filter(found: &Found) -> Result<String, String> {
    let filter = values::text(found)?;
    match tracing_subscriber::EnvFilter::try_new(filter) {
        Ok(_) => Ok(filter.to_owned()),
        Err(error) => Err(format!("not a log filter ({error}); write e.g. info or prost_node=debug,info")),
    }
}

fn log_format(found: &Found) -> Result<LogFormat, String> {
    match values::text(found)? {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be \"text\" or \"json\"".to_owned()),
    }
}
