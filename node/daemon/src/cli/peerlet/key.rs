//! `prost peerlet key`: a provider's key.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use prost_package::ProviderKey;
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;

use super::super::failure::Failure;
use super::super::output;
use crate::exit;

/// Longest file with a key, in bytes.
const MAX_KEY: u64 = 64 << 10;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct KeyArgs {
    /// File to write the private key to. It must not exist.
    #[arg(long, value_name = "FILE", default_value = "provider.key")]
    out: PathBuf,
}

/// Makes a key and prints its public half, which names the provider in policies.
pub(super) fn run(args: &KeyArgs) -> Result<(), Failure> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| Failure::new(exit::INTERNAL, "the system gives no randomness"))?;
    let pem = format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", base64(&ProviderKey::pkcs8(&seed)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.out);
    let written = file.and_then(|mut file| file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        let failure = Failure::writing(&args.out, &error);
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        if exists { failure.hint("keys are never overwritten: choose another file with --out") } else { failure }
    })?;
    output::line(hex::encode(ProviderKey::from_seed(&seed).public()))
}

/// A provider's private key in PKCS#8, as PEM or as DER.
pub(super) fn read(path: &Path) -> Result<ProviderKey, Failure> {
    ProviderKey::from_pkcs8(&read_der(path)?).map_err(|_| no_key(path))
}

/// The file holds no key of the kind that it should.
pub(in crate::cli) fn no_key(path: &Path) -> Failure {
    let failure = Failure::new(exit::DATA, format!("{} is not an Ed25519 key in PKCS#8", path.display()));
    failure.hint("make one with `prost peerlet key`")
}

/// What a file with a private key holds, as DER.
pub(in crate::cli) fn read_der(path: &Path) -> Result<Vec<u8>, Failure> {
    let exposed = std::fs::metadata(path).map_err(|error| Failure::reading(path, &error))?.permissions().mode() & 0o077;
    if exposed != 0 {
        let failure = Failure::new(exit::NO_PERMISSION, format!("others can read the key {}", path.display()));
        return Err(failure.hint(format!("run `chmod 600 {}`", path.display())));
    }
    let bytes = super::read(path, MAX_KEY)?;
    let pem = PrivatePkcs8KeyDer::from_pem_slice(&bytes).ok();
    Ok(pem.map_or(bytes, |key| key.secret_pkcs8_der().to_vec()))
}

/// Base64 (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 0x3f;
            text.push(if digit <= group.len() { char::from(ALPHABET[value as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let texts =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in texts {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_key_that_was_made_can_be_read_and_is_private() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("provider.key");
        run(&KeyArgs { out: out.clone() }).expect("a new key");
        assert_eq!(run(&KeyArgs { out: out.clone() }).map_err(|failure| failure.code), Err(exit::CANNOT_CREATE));
        let first = read(&out).expect("the key").public();
        assert_eq!(read(&out).expect("the key").public(), first);
        std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o640)).expect("its owner's right");
        assert_eq!(read(&out).map(|_| ()).map_err(|failure| failure.code), Err(exit::NO_PERMISSION));
    }
}
