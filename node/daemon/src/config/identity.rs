//! A node's key, its certificate, and the authority of its ring.

use std::path::{Path, PathBuf};

use prost_certs::{Admission, CA_CERTIFICATE, Identity, LoadError, NODE_CERTIFICATE, NODE_KEY, UnixTime, Validity};

use super::error::ConfigError;
use super::sources::Sources;
use super::values;
use crate::exit;

/// How long a certificate is valid that a node of an open ring makes for itself, in days.
const OWN_CERTIFICATE_DAYS: u32 = 3650;

/// Where a node's key and certificate are, and which authority its ring has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The private key.
    pub key: PathBuf,
    /// The certificate over it.
    pub cert: PathBuf,
    /// The certificate of the ring's authority; without one the ring is open to everyone.
    pub ca: Option<PathBuf>,
}

impl IdentityFiles {
    /// The files that are named, or those of the data directory. An authority's certificate there closes the ring.
    pub(super) fn find(sources: &Sources<'_>, data_dir: &Path) -> Result<IdentityFiles, ConfigError> {
        let file = |key, name: &str| Ok(sources.read(key, values::path)?.unwrap_or_else(|| data_dir.join(name)));
        let default_ca = data_dir.join(CA_CERTIFICATE);
        let ca = sources.read("ca", values::path)?.or_else(|| default_ca.is_file().then_some(default_ca));
        let files = IdentityFiles { key: file("key", NODE_KEY)?, cert: file("cert", NODE_CERTIFICATE)?, ca };
        files.check(sources)?;
        Ok(files)
    }

    /// Whether anyone may enter the ring.
    pub fn is_open(&self) -> bool {
        self.ca.is_none()
    }

    /// The key and the certificate, with the ring's rule of admission. In an open ring a node that has neither makes
    /// them, in place; `name` then stands in the certificate.
    pub fn load(&self, name: &str, now: UnixTime) -> Result<(Identity, Admission), ConfigError> {
        let admission = self.admission()?;
        let identity = if self.is_open() && !self.key.exists() && !self.cert.exists() {
            self.generate(name, now)?
        } else {
            Identity::load(&self.cert, &self.key).map_err(|error| load_error(&self.key, &error))?
        };
        let refused = |cause: String| ConfigError::new(self.cert.display().to_string(), None, cause);
        identity.check(&admission, now).map_err(|error| {
            refused(format!("other nodes would refuse this certificate: {error}; make one with `prost cert node`"))
        })?;
        Ok((identity, admission))
    }

    fn generate(&self, name: &str, now: UnixTime) -> Result<Identity, ConfigError> {
        let cannot = |cause: String| {
            ConfigError::new(self.key.display().to_string(), None, cause).with_code(exit::CANNOT_CREATE)
        };
        let validity = Validity::days(now, OWN_CERTIFICATE_DAYS);
        let identity = Identity::generate_open(name, validity).map_err(|error| cannot(error.to_string()))?;
        identity.save(&self.cert, &self.key).map_err(|error| cannot(format!("cannot write {error}")))?;
        Ok(identity)
    }

    fn admission(&self) -> Result<Admission, ConfigError> {
        match &self.ca {
            Some(ca) => Admission::load_closed(ca).map_err(|error| load_error(ca, &error)),
            None => Ok(Admission::Open),
        }
    }

    /// What can be said before anything is loaded or made.
    fn check(&self, sources: &Sources<'_>) -> Result<(), ConfigError> {
        if let Some(ca) = &self.ca
            && !ca.is_file()
        {
            return Err(sources.error("ca", format!("there is no file {}", ca.display())));
        }
        let missing = |key, path: &Path| {
            let next = "make key and certificate with `prost cert node`";
            Err(sources.error(key, format!("there is no file {}; {next}", path.display())))
        };
        match (self.key.is_file(), self.cert.is_file()) {
            (true, true) => self.check_pair(),
            (false, false) if self.is_open() => Ok(()),
            (false, _) => missing("key", &self.key),
            (true, false) => missing("cert", &self.cert),
        }
    }

    fn check_pair(&self) -> Result<(), ConfigError> {
        self.admission()?;
        Identity::load(&self.cert, &self.key).map(|_| ()).map_err(|error| load_error(&self.key, &error))
    }
}

fn load_error(file: &Path, error: &LoadError) -> ConfigError {
    match error {
        LoadError::Io { path, source } => {
            let denied = source.kind() == std::io::ErrorKind::PermissionDenied;
            let error = ConfigError::new(path.display().to_string(), None, source.to_string());
            if denied { error.with_code(exit::NO_PERMISSION) } else { error }
        }
        LoadError::KeyExposed { path, mode } => {
            let cause = format!("this key is open to others (mode {mode:03o}); run `chmod 600 {}`", path.display());
            ConfigError::new(path.display().to_string(), None, cause).with_code(exit::NO_PERMISSION)
        }
        LoadError::TooLong { path } => {
            ConfigError::new(path.display().to_string(), None, "too long for a key or a certificate")
        }
        other => ConfigError::new(file.display().to_string(), None, other.to_string()),
    }
}
