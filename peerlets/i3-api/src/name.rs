//! Names for people, and the public ids that they stand for.

use core::fmt;
use core::str::FromStr;

use crate::id::{HalfKey, I3Id, bytes_of_hex, digest};
use crate::trigger::left_key;

/// What stands for an id on a command line: `NAME`, `NAME#KEY` with 32 hexadecimal digits, or an id of 64.
///
/// The prefix is a hash of the name. The key is that of a secret which follows from the name, so that whoever knows the
/// name may listen, as the members of a multicast group do; `NAME#KEY` is a name whose secret somebody keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The id.
    pub id: I3Id,
    /// What inserting a trigger takes; none where the name does not tell.
    pub secret: Option<HalfKey>,
}

impl Name {
    /// A name that everybody who knows it may listen to.
    pub fn open(name: &str) -> Name {
        Name::owned(name, digest("i3 open name\0", &[name.as_bytes()]))
    }

    /// A name that only the holder of the secret may listen to.
    pub fn owned(name: &str, secret: HalfKey) -> Name {
        Name { id: I3Id::of(true, prefix(name), left_key(&secret), 0), secret: Some(secret) }
    }

    /// A name whose id has this key.
    pub fn keyed(name: &str, key: HalfKey) -> Name {
        Name { id: I3Id::of(true, prefix(name), key, 0), secret: None }
    }
}

/// Which node a name's triggers are on.
fn prefix(name: &str) -> u64 {
    u64::from_be_bytes(digest("i3 name\0", &[name.as_bytes()]))
}

/// Text does not stand for an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAName;

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write NAME, NAME#KEY with a key of 32 hexadecimal digits, or an id of 64 hexadecimal digits")
    }
}

impl core::error::Error for NotAName {}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Name, NotAName> {
        if let Ok(id) = text.parse() {
            return Ok(Name { id, secret: None });
        }
        match text.rsplit_once('#') {
            Some(("", _)) => Err(NotAName),
            Some((name, key)) => bytes_of_hex(key).map(|key| Name::keyed(name, key)).ok_or(NotAName),
            None if text.is_empty() => Err(NotAName),
            None => Ok(Name::open(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_public_id_that_its_secret_may_point_anywhere() {
        let open: Name = "echo".parse().expect("a name");
        let secret = open.secret.expect("it follows from the name");
        assert!(open.id.is_public() && open.id.key() == left_key(&secret) && open == Name::open("echo"));
        assert_ne!(open.id.prefix(), Name::open("ohce").id.prefix());
        let owned = Name::owned("echo", [7; 16]);
        assert_eq!(owned.id.prefix(), open.id.prefix());
        assert_ne!(owned.id.key(), open.id.key());
    }

    #[test]
    fn a_key_and_a_whole_id_are_names_too() {
        let owned = Name::owned("echo", [7; 16]);
        let key: String = owned.id.key().iter().map(|byte| format!("{byte:02x}")).collect();
        let keyed: Name = format!("echo#{key}").parse().expect("a name with a key");
        assert_eq!(keyed, Name { secret: None, ..owned.clone() });
        assert_eq!(owned.id.to_string().parse(), Ok(keyed));
        assert!(["", "#", "echo#12", &format!("#{key}")].iter().all(|text| text.parse::<Name>().is_err()));
    }
}
