//! Texts with places for what differs from message to message.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use prost_kbr::{Id, Key};
use serde::{Deserialize, Serialize};

/// A text from which the bytes of each message or call are made.
///
/// `{i}` stands for the number of the message, from 0, and `{key}` for its key in hexadecimal digits. The bytes are those
/// of the text, but for texts that begin with one of these:
///
/// | beginning | bytes |
/// |---|---|
/// | `text:` | those of the rest |
/// | `hex:` | those that the hexadecimal digits say |
/// | `cbor:` | the rest is JSON, and the bytes are the same as CBOR (RFC 8949); in it a string that begins with `hex:` or `bytes:` becomes a string of bytes |
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template(String);

/// The text makes no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// What follows `hex:` is not pairs of hexadecimal digits.
    #[error("'{0}' is not an even number of hexadecimal digits")]
    Hex(String),
    /// What follows `cbor:` is not JSON.
    #[error("what follows 'cbor:' is not JSON: {0}")]
    Json(String),
}

impl Template {
    /// The bytes for one message.
    ///
    /// # Errors
    ///
    /// Where a number of another length makes `hex:` digits odd.
    pub fn bytes(&self, number: u64, key: Key) -> Result<Bytes, TemplateError> {
        written(&fill(&self.0, number, key))
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The bytes of a text without places for anything: what a [`Template`] makes, with its braces as they are.
///
/// # Errors
///
/// What follows `hex:` or `cbor:` is not what it should be.
pub fn written(text: &str) -> Result<Bytes, TemplateError> {
    if let Some(json) = text.strip_prefix("cbor:") {
        let value = serde_json::from_str(json).map_err(|error| TemplateError::Json(error.to_string()))?;
        let bytes = serde_cbor::to_vec(&cbor(value)?).map_err(|error| TemplateError::Json(error.to_string()))?;
        return Ok(bytes.into());
    }
    match text.strip_prefix("hex:") {
        Some(digits) => unhex(digits).map(Bytes::from),
        None => Ok(Bytes::copy_from_slice(text.strip_prefix("text:").unwrap_or(text).as_bytes())),
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Template, TemplateError> {
        let template = Template(text.to_owned());
        template.bytes(0, Id::ZERO).map(|_| template)
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Template, TemplateError> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.0
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts number and key into their places.
pub(super) fn fill(text: &str, number: u64, key: Key) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let digits: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    text.replace("{i}", &number.to_string()).replace("{key}", &digits)
}

fn cbor(value: serde_json::Value) -> Result<serde_cbor::Value, TemplateError> {
    use serde_cbor::Value as Cbor;
    use serde_json::Value as Json;
    Ok(match value {
        Json::Null => Cbor::Null,
        Json::Bool(bool) => Cbor::Bool(bool),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => Cbor::Integer(whole.into()),
            (None, Some(whole)) => Cbor::Integer(whole.into()),
            (None, None) => Cbor::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => match (text.strip_prefix("hex:"), text.strip_prefix("bytes:")) {
            (Some(digits), _) => Cbor::Bytes(unhex(digits)?),
            (None, Some(bytes)) => Cbor::Bytes(bytes.as_bytes().to_vec()),
            (None, None) => Cbor::Text(text),
        },
        Json::Array(items) => Cbor::Array(items.into_iter().map(cbor).collect::<Result<_, _>>()?),
        Json::Object(entries) => {
            let entry = |(name, value)| Ok((Cbor::Text(name), cbor(value)?));
            Cbor::Map(entries.into_iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn unhex(digits: &str) -> Result<Vec<u8>, TemplateError> {
    let wrong = || TemplateError::Hex(digits.to_owned());
    if digits.len() % 2 == 1 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).map_err(|_| wrong())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str, number: u64) -> Vec<u8> {
        text.parse::<Template>().expect(text).bytes(number, Id::ZERO).expect(text).to_vec()
    }

    #[test]
    fn numbers_and_keys_have_their_places() {
        assert_eq!(bytes("hello {i} of {m}", 7), b"hello 7 of {m}");
        assert_eq!(bytes("text:hex:0", 7), b"hex:0");
        assert_eq!(bytes("hex:ff{key}", 7), [&[0xff][..], &[0; 20]].concat());
        assert_eq!(written("{i}"), Ok(Bytes::from_static(b"{i}")), "a text that is no template has none");
    }

    #[test]
    fn json_becomes_cbor_with_strings_of_bytes() {
        let made = bytes(r#"cbor:{"a":"hex:0102","b":"bytes:v{i}","c":[-1,null,"t"]}"#, 3);
        let wanted = [
            &[0xa3, 0x61, b'a', 0x42, 1, 2, 0x61, b'b', 0x42, b'v', b'3', 0x61, b'c', 0x83][..],
            &[0x20, 0xf6, 0x61, b't'],
        ];
        assert_eq!(made, wanted.concat());
    }

    #[test]
    fn what_makes_no_bytes_is_refused_at_once() {
        assert_eq!("hex:{i}".parse::<Template>(), Err(TemplateError::Hex("0".to_owned())));
        assert!(matches!("cbor:{".parse::<Template>(), Err(TemplateError::Json(_))));
        assert!(matches!("hex:é".parse::<Template>(), Err(TemplateError::Hex(_))));
    }
}
