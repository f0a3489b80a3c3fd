//! Operations on the records at a key, on the node responsible for it. The node copies them to its replicas and moves
//! them when responsibility moves.

use prost_dht_api::Refusal;
use prost_peerlet::Key;
use prost_peerlet::cbor::Bytes;

use crate::host::Host;
use crate::message::{Action, Answer, Found};

/// Copies of each record: what the package asks for.
const COPIES: u32 = 3;

/// A value as it is stored: `version (u64) | expiry (u64, milliseconds since 1970, zero for none) | value`.
struct Record<'a> {
    version: u64,
    expires_at: Option<u64>,
    value: &'a [u8],
}

impl<'a> Record<'a> {
    /// None where another program wrote it.
    fn read(stored: &'a [u8]) -> Option<Record<'a>> {
        let (version, rest) = stored.split_first_chunk()?;
        let (expires_at, value) = rest.split_first_chunk()?;
        let expires_at = Some(u64::from_be_bytes(*expires_at)).filter(|at| *at > 0);
        Some(Record { version: u64::from_be_bytes(*version), expires_at, value })
    }

    fn write(&self) -> Vec<u8> {
        let head = [self.version.to_be_bytes(), self.expires_at.unwrap_or(0).to_be_bytes()].concat();
        [&head, self.value].concat()
    }
}

/// Does what a request asks for.
pub(crate) fn perform(host: &mut dyn Host, key: Key, action: Action) -> Result<Answer, Refusal> {
    match action {
        Action::Put { name, value, expires_in } => {
            let version = next_version(host, key, &name)?;
            let expires_at = expires_in.map(|seconds| host.now_ms().saturating_add(seconds * 1000));
            let record = Record { version, expires_at, value: &value };
            host.put(key, &name, &record.write(), expires_in)?;
            Ok(stored(host, key, version))
        }
        Action::Remove { name } => {
            let version = next_version(host, key, &name)?;
            host.delete(key, &name)?;
            Ok(stored(host, key, version))
        }
        Action::Get { name } => {
            let held = host.get(key, &name)?;
            let found = held.as_deref().and_then(Record::read).map(|record| Found {
                value: Bytes::from(record.value),
                version: record.version,
                expires_in: record.expires_at.map(|at| at.saturating_sub(host.now_ms()).div_ceil(1000)),
                from: host.myself(),
            });
            Ok(Answer::Found { found })
        }
        Action::List { prefix, after, max } => {
            let names = host.names(key, &prefix, after.as_deref(), max)?;
            let is_full = names.len() == max as usize;
            let names: Vec<Bytes> = names.into_iter().map(Bytes::from).collect();
            let next = names.last().cloned().filter(|_| is_full);
            Ok(Answer::Listed { names, next })
        }
    }
}

/// The clock, or one more than what is there: greater than all before it, also after a removal.
fn next_version(host: &dyn Host, key: Key, name: &[u8]) -> Result<u64, Refusal> {
    let held = host.get(key, name)?;
    let before = held.as_deref().and_then(Record::read).map_or(0, |record| record.version);
    Ok(host.now_ms().max(before.saturating_add(1)))
}

fn stored(host: &dyn Host, key: Key, version: u64) -> Answer {
    Answer::Stored { version, replicas: host.replicas(key, COPIES) }
}
