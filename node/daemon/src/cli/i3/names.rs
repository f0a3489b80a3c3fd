//! Names on the command line, and secrets in files.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use prost_i3_api::{HalfKey, I3Id, KEY_LEN, Name};
use ring::rand::{SecureRandom, SystemRandom};

use crate::cli::failure::Failure;
use crate::cli::output;
use crate::exit;

/// How names are written, for the help of each command.
pub(super) const NAMES: &str = "\
A name is NAME, which everybody who knows it may listen to; NAME#KEY, which only the holder of the key's secret may (prost
i3 key); or an id of 64 hexadecimal digits.";

#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArgs {
    /// The name.
    name: String,
    /// File for the secret; it must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Makes a secret, and prints the name to send to.
pub(crate) fn make_key(args: &KeyArgs) -> Result<(), Failure> {
    let mut secret = [0; KEY_LEN];
    let random = SystemRandom::new().fill(&mut secret);
    random.map_err(|_| Failure::new(exit::INTERNAL, "the system gives no random numbers"))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.out);
    let written = file.and_then(|mut file| writeln!(file, "{}", hex::encode(secret)));
    written.map_err(|error| Failure::writing(&args.out, &error))?;
    let id = Name::owned(&args.name, secret).id;
    output::line(with_key(&args.name, &id))
}

/// A name whose key must be said.
pub(super) fn with_key(name: &str, id: &I3Id) -> String {
    format!("{name}#{}", hex::encode(id.key()))
}

/// The name of a listener, with the secret of a file where one is given.
pub(super) fn owned(text: &str, secret: Option<&Path>) -> Result<Name, Failure> {
    let Some(file) = secret else { return parse(text) };
    let name = text.split_once('#').map_or(text, |(name, _)| name);
    let read = std::fs::read_to_string(file).map_err(|error| Failure::reading(file, &error))?;
    let bytes: Option<HalfKey> = hex::decode(read.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    let secret = bytes.ok_or_else(|| Failure::new(exit::DATA, format!("{} is no secret", file.display())));
    Ok(Name::owned(name, secret.map_err(|failure| failure.hint("make one with prost i3 key"))?))
}

/// What a name stands for.
pub(super) fn parse(text: &str) -> Result<Name, Failure> {
    text.parse().map_err(|error| Failure::new(exit::USAGE, format!("'{text}' is no name: {error}")))
}

/// A preference, as the suffix of an id: up to eight bytes of text, the first the most significant.
pub(super) fn suffix(text: &str) -> Result<u64, String> {
    let mut bytes = [0; 8];
    let place = bytes.get_mut(..text.len()).ok_or("a suffix has eight bytes at most")?;
    place.copy_from_slice(text.as_bytes());
    Ok(u64::from_be_bytes(bytes))
}

/// A random one, so that receivers share the packets.
pub(super) fn random_suffix() -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    let random = SystemRandom::new().fill(&mut bytes);
    random.map_err(|_| Failure::new(exit::INTERNAL, "the system gives no random numbers"))?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_makes_the_name_its_holders() {
        let dir = tempfile::tempdir().expect("there is room for files");
        let out = dir.path().join("key");
        let args = KeyArgs { name: "bank".to_owned(), out: out.clone() };
        make_key(&args).expect("it is made");
        assert_eq!(make_key(&args).map_err(|failure| failure.code), Err(exit::CANNOT_CREATE));
        let name = owned("bank", Some(&out)).expect("it is a secret");
        assert!(name.secret.is_some() && name.id.prefix() == Name::open("bank").id.prefix());
        assert_eq!(parse(&with_key("bank", &name.id)), Ok(Name { secret: None, ..name }));
        std::fs::write(&out, "short").expect("room");
        assert_eq!(owned("bank", Some(&out)).map_err(|failure| failure.code), Err(exit::DATA));
        assert_eq!(parse("").map_err(|failure| failure.code), Err(exit::USAGE));
    }

    #[test]
    fn a_suffix_has_its_first_byte_first() {
        assert_eq!(suffix("a"), Ok(u64::from(b'a') << 56));
        assert_eq!(suffix("12345678"), Ok(u64::from_be_bytes(*b"12345678")));
        assert!(suffix("123456789").is_err());
    }
}
