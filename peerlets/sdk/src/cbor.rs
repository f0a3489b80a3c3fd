//! Messages and records as CBOR (RFC 8949), small: `minicbor` and its derives.
//!
//! A type derives `minicbor::Encode` and `minicbor::Decode`, and numbers its fields and variants with `#[n(0)]`. The
//! peerlet's own crate depends on `minicbor` for that. Serde works too, but makes a component several times larger.

use core::fmt;
use core::ops::Deref;

use minicbor::decode::{Decode, Decoder};
use minicbor::encode::{Encode, Encoder, Write};

/// The bytes are not the CBOR of such a value.
pub use minicbor::decode::Error;

use crate::Id;

/// Encodes a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("a vector takes every byte, and derived encoders do not fail")
}

/// Decodes exactly one value. No length is believed before its bytes are there.
///
/// # Errors
///
/// The bytes are cut short, go on after the value, or are no such value.
pub fn decode<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Result<T, Error> {
    let mut decoder = Decoder::new(bytes);
    let value = decoder.decode()?;
    if decoder.position() == bytes.len() { Ok(value) } else { Err(Error::message("bytes after the value")) }
}

/// Bytes that are a byte string in CBOR, not a list of numbers.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl From<&str> for Bytes {
    fn from(text: &str) -> Bytes {
        Bytes::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes)
    }
}

impl fmt::Debug for Bytes {
    /// As text where it is text; its length where it is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() > 64 { write!(f, "{} bytes", self.len()) } else { write!(f, "\"{}\"", self.escape_ascii()) }
    }
}

impl<C> Encode<C> for Bytes {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(self)?.ok()
    }
}

impl<'a, C> Decode<'a, C> for Bytes {
    fn decode(d: &mut Decoder<'a>, _: &mut C) -> Result<Bytes, Error> {
        Ok(Bytes::from(d.bytes()?))
    }
}

impl<C> Encode<C> for Id {
    /// A byte string of twenty bytes.
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.to_bytes())?.ok()
    }
}

impl<'a, C> Decode<'a, C> for Id {
    fn decode(d: &mut Decoder<'a>, _: &mut C) -> Result<Id, Error> {
        let bytes = d.bytes()?.try_into().map_err(|_| Error::message("an id is 20 bytes"))?;
        Ok(Id::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_ids_are_byte_strings() {
        let id = Id::hash(b"name");

        assert_eq!(encode(&Bytes::from("ab")), [0x42, b'a', b'b']);
        assert_eq!(encode(&id).len(), 1 + Id::LEN);
        assert_eq!(decode(&encode(&id)).ok(), Some(id));
    }

    #[test]
    fn a_length_without_its_bytes_and_bytes_without_a_place_are_errors() {
        let claims_4_gib = [0x5a, 0xff, 0xff, 0xff, 0xff, 0];

        assert!(decode::<Bytes>(&claims_4_gib).is_err());
        assert!(decode::<Bytes>(&[0x41, 0, 0]).is_err());
        assert!(decode::<Id>(&encode(&Bytes::from("short"))).is_err());
    }
}
