//! Keys and certificates as files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{LoadError, SaveError};

/// File name of an authority's certificate, which every node of the ring has a copy of.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// File name of an authority's private key, which no node has.
pub const CA_KEY: &str = "ca.key";
/// File name of a node's certificate.
pub const NODE_CERTIFICATE: &str = "node.pem";
/// File name of a node's private key.
pub const NODE_KEY: &str = "node.key";

/// Reads a file of certificates.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, LoadError> {
    read_open(path, open(path)?)
}

/// Reads a file with a private key, and refuses one that anyone but its owner may read or write.
pub(crate) fn read_key(path: &Path) -> Result<Zeroizing<String>, LoadError> {
    // The mode of the file that was opened, not of whatever has the name by then.
    let file = open(path)?;
    let metadata = file.metadata().map_err(|source| LoadError::Io { path: path.into(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(LoadError::KeyExposed { path: path.into(), mode });
    }
    read_open(path, file)
}

/// Writes a private key, for its owner only, and the certificate over it. Neither may exist.
pub(crate) fn write_pair(certificate: (&Path, &str), key: (&Path, &Zeroizing<String>)) -> Result<(), SaveError> {
    write_new(key.0, key.1, 0o600)?;
    write_new(certificate.0, certificate.1, 0o644).inspect_err(|_| {
        // A key without its certificate would only be in the way of the next attempt.
        let _ = fs::remove_file(key.0);
    })
}

fn open(path: &Path) -> Result<File, LoadError> {
    File::open(path).map_err(|source| LoadError::Io { path: path.into(), source })
}

fn read_open(path: &Path, file: File) -> Result<Zeroizing<String>, LoadError> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
    let read = file.take(MAX_FILE as u64).read_to_string(&mut text);
    match read {
        Ok(length) if length == MAX_FILE => Err(LoadError::TooLong { path: path.into() }),
        Ok(_) => Ok(text),
        Err(source) => Err(LoadError::Io { path: path.into(), source }),
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), SaveError> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| SaveError { path: path.into(), source })
}

/// Length from which a file is too long. Read at once, so that no copies of a key stay behind in memory.
const MAX_FILE: usize = 64 << 10;
