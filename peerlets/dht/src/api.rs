//! Requests and answers of local programs, as the crate `prost-dht-api` describes them: maps with a text for each field.
//!
//! That crate's own encoding is for programs outside; written by hand here it takes a tenth of the code.

use core::convert::Infallible;

use minicbor::data::Type;
use minicbor::decode::{Decode, Decoder, Error};
use minicbor::encode::{self, Encoder};
use prost_dht_api::{GET, LIST, MAX_EXPIRES_IN, MAX_LIST, MAX_NAME, MAX_VALUE, PUT, REMOVE, Refusal};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::dht::{Answer, DhtError, Found, Operation};
use prost_peerlet::{Failure, Key, Request};

/// Every field that a request can have.
#[derive(Default)]
struct Fields {
    key: Option<Key>,
    name: Option<Bytes>,
    value: Option<Bytes>,
    expires_in: Option<u64>,
    if_version: Option<u64>,
    nearest: Option<bool>,
    prefix: Option<Bytes>,
    after: Option<Bytes>,
    max: Option<u32>,
}

/// What a request asks for, and at which key.
pub(crate) fn parse(request: &Request) -> Result<(Key, Operation), Refusal> {
    let known: &[&str] = match request.method.as_str() {
        PUT => &["key", "name", "value", "expires_in", "if_version"],
        GET => &["key", "name", "nearest"],
        REMOVE => &["key", "name", "if_version"],
        LIST => &["key", "prefix", "after", "max"],
        _ => return Err(Refusal::BadRequest("the methods are put, get, remove and list".to_owned())),
    };
    let fields = fields(&request.body, known).map_err(|error| Refusal::BadRequest(error.to_string()))?;
    let (key, operation) = operation(&request.method, fields)
        .ok_or_else(|| Refusal::BadRequest(format!("'{}' lacks a field", request.method)))?;
    fault(&operation).map_or(Ok((key, operation)), |fault| Err(Refusal::BadRequest(fault.to_owned())))
}

/// The body of an answer.
pub(crate) fn body(answer: &Answer) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let written = match answer {
        Answer::Stored { version, replicas } => stored(&mut encoder, *version, *replicas),
        Answer::Found { found: None } => encoder.null().map(drop),
        Answer::Found { found: Some(value) } => found(&mut encoder, value),
        Answer::Listed { names, next } => listed(&mut encoder, names, next.as_ref()),
    };
    written.expect("a vector takes every byte");
    encoder.into_writer()
}

fn operation(method: &str, fields: Fields) -> Option<(Key, Operation)> {
    let if_version = fields.if_version;
    let operation = match method {
        PUT => Operation::Put { name: fields.name?, value: fields.value?, expires_in: fields.expires_in, if_version },
        GET => Operation::Get { name: fields.name?, nearest: fields.nearest.unwrap_or(false) },
        REMOVE => Operation::Remove { name: fields.name?, if_version },
        _ => {
            let max = fields.max?.min(MAX_LIST);
            Operation::List { prefix: fields.prefix.unwrap_or_default(), after: fields.after, max }
        }
    };
    Some((fields.key?, operation))
}

/// What is wrong with an operation, if anything is.
fn fault(operation: &Operation) -> Option<&'static str> {
    let is_long = |name: &Bytes| name.len() > MAX_NAME;
    match operation {
        Operation::Put { name, .. } | Operation::Remove { name, .. } | Operation::Get { name, .. } if is_long(name) => {
            Some("the name is too long")
        }
        Operation::Put { value, .. } if value.len() > MAX_VALUE => Some("the value is too long"),
        Operation::Put { expires_in: Some(seconds), .. } if !(1..=MAX_EXPIRES_IN).contains(seconds) => {
            Some("expires_in is out of range")
        }
        Operation::List { prefix, after, .. } if is_long(prefix) || after.as_ref().is_some_and(is_long) => {
            Some("the name is too long")
        }
        Operation::List { max, .. } if !(1..=MAX_LIST).contains(max) => Some("max is out of range"),
        _ => None,
    }
}

/// Why an operation came to nothing, as a program is told.
pub(crate) fn refusal(error: DhtError) -> Refusal {
    match error {
        DhtError::Conflict(version) => Refusal::Conflict(version),
        DhtError::Storage => Refusal::Storage,
        DhtError::Failed(Failure::Deadline) => Refusal::Deadline,
        DhtError::Failed(Failure::Unreachable | Failure::TooManyHops) => Refusal::Unreachable,
        DhtError::Failed(Failure::NoWillingNode) => Refusal::NoWillingNode,
        DhtError::Failed(Failure::NotDurable | Failure::HandlerFailed) => Refusal::Storage,
        DhtError::Failed(Failure::Overloaded) => Refusal::Busy,
    }
}

fn fields(bytes: &[u8], known: &[&str]) -> Result<Fields, Error> {
    let mut decoder = Decoder::new(bytes);
    let mut fields = Fields::default();
    let count = decoder.map()?.ok_or(Error::message("a map of unknown length"))?;
    for _ in 0..count {
        let name = decoder.str()?;
        if !known.contains(&name) {
            return Err(Error::message(format_args!("unknown field '{}'", name.escape_debug())));
        }
        match name {
            "key" => once(&mut fields.key, &mut decoder)?,
            "name" => once(&mut fields.name, &mut decoder)?,
            "value" => once(&mut fields.value, &mut decoder)?,
            "expires_in" => once(&mut fields.expires_in, &mut decoder)?,
            "if_version" => once(&mut fields.if_version, &mut decoder)?,
            "nearest" => once(&mut fields.nearest, &mut decoder)?,
            "prefix" => once(&mut fields.prefix, &mut decoder)?,
            "after" => once(&mut fields.after, &mut decoder)?,
            _ => once(&mut fields.max, &mut decoder)?,
        }
    }
    if decoder.position() == bytes.len() { Ok(fields) } else { Err(Error::message("bytes after the request")) }
}

/// Reads a field that may be null, but not there twice.
fn once<'a, T: Decode<'a, ()>>(field: &mut Option<T>, decoder: &mut Decoder<'a>) -> Result<(), Error> {
    if field.is_some() {
        return Err(Error::message("a field is there twice"));
    }
    if decoder.datatype()? == Type::Null {
        return decoder.null();
    }
    *field = Some(decoder.decode()?);
    Ok(())
}

type Written = Result<(), encode::Error<Infallible>>;

fn stored(encoder: &mut Encoder<Vec<u8>>, version: u64, replicas: u32) -> Written {
    encoder.map(2)?.str("version")?.u64(version)?.str("replicas")?.u32(replicas)?.ok()
}

fn found(encoder: &mut Encoder<Vec<u8>>, found: &Found) -> Written {
    encoder.map(4)?.str("value")?.bytes(&found.value)?.str("version")?.u64(found.version)?;
    encoder.str("expires_in")?.encode(found.expires_in)?.str("from")?.encode(found.from)?.ok()
}

fn listed(encoder: &mut Encoder<Vec<u8>>, names: &[Bytes], next: Option<&Bytes>) -> Written {
    encoder.map(2)?.str("names")?.encode(names)?.str("next")?.encode(next)?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_unknown_twice_there_or_missing_is_a_fault() {
        let ask = |body: &[u8]| parse(&Request { id: 1, method: GET.to_owned(), body: body.to_vec() });
        let key = [&[0x63][..], b"key", &[0x54], &[7; 20]].concat();
        let name = [&[0x64][..], b"name", &[0x41, b'x']].concat();
        let value = [&[0x65][..], b"value", &[0x41, b'x']].concat();

        assert!(ask(&[&[0xa2], &key[..], &name].concat()).is_ok());
        for body in [
            [&[0xa3], &key[..], &name, &value].concat(),
            [&[0xa3], &key[..], &name, &name].concat(),
            [&[0xa1], &name[..]].concat(),
            [&[0xa2], &key[..], &name, &[0]].concat(),
        ] {
            assert!(matches!(ask(&body), Err(Refusal::BadRequest(_))));
        }
    }
}
