//! Blocks at their ring keys.
//!
//! | record's name | value |
//! |---|---|
//! | `b`, rest of the id | a content block, after the time when it goes (8 bytes, milliseconds since 1970) |
//! | `r`, rest of the id, version (8 bytes), digest (8 bytes) | a signed root of that version, after the time when it goes |
//! | `c`, rest of the id, publisher (20 bytes), size (4 bytes) | until when that publisher wants the block kept |
//!
//! The rest of an id are the twelve bytes of it that its ring key does not have.
//!
//! Records are registers in which the newer *write* wins, also where two nodes both were responsible and their writes meet
//! in a repair. That rule would let an older root that was written later take the place of a newer one. So versions have
//! names of their own: none can overwrite another, whatever order their copies come in, and a reader takes the highest.

use core::time::Duration;

use prost_cfs_api::{BlockId, Kind, MAX_BLOCK, MAX_TTL, Root, verify};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::storage::{self, Place, StorageError};
use prost_peerlet::time::wall_ms;
use prost_peerlet::{Key, NodeId, Result, route};

use crate::ledger::Ledger;
use crate::message::{Insert, Verdict, key_of};

const CONTENT: u8 = b'b';
const ROOT: u8 = b'r';
/// What claims' names begin with.
pub(crate) const CLAIM: &[u8] = b"c";

/// Publishers that can want one block kept.
const MAX_CLAIMS: u32 = 16;
/// Versions of one root that are looked at. More than one is there only after nodes that did not know of each other took
/// one each.
const MAX_VERSIONS: u32 = 32;
/// How long a root's version is remembered after the root has expired, so that no older one comes back meanwhile.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);
/// Milliseconds that an asker's clock may be ahead.
const SKEW: u64 = 300_000;
/// Bytes that a record takes besides the block.
const OVERHEAD: u64 = 128;

/// What is here of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    Found(Bytes, u64),
    None,
    /// This node has no records of the key, or not yet.
    Elsewhere,
    /// The record cannot be read, or is not that block.
    Damaged,
}

/// A block of this node's records.
pub(crate) fn read(kind: Kind, id: &BlockId) -> Held {
    let name = match kind {
        Kind::Content => content_name(id),
        Kind::Root => match versions(id) {
            Ok(names) => match names.into_iter().next_back() {
                Some(name) => name,
                None => return Held::None,
            },
            Err(error) => return unread(error),
        },
    };
    let value = match storage::get(Place::At(key_of(id)), &name) {
        Ok(Some(value)) => value,
        Ok(None) => return Held::None,
        Err(error) => return unread(error),
    };
    match split(&value) {
        Some((expires_at, _)) if expires_at <= wall_ms() => Held::None,
        Some((expires_at, bytes)) if verify(kind, id, bytes).is_ok() => Held::Found(Bytes::from(bytes), expires_at),
        _ => Held::Damaged,
    }
}

/// Decides about an insertion or extension that a publisher asks for, and does it. `quota` is the publisher's, in bytes.
///
/// # Errors
///
/// A write that failed; none of it must take effect then.
pub(crate) fn accept(ledger: &mut Ledger, quota: u64, publisher: NodeId, insert: &Insert) -> Result<Verdict> {
    let now = wall_ms();
    let Insert { kind, id, expires_at, .. } = insert;
    let is_proven = insert.bytes.as_ref().is_none_or(|bytes| verify(*kind, id, bytes).is_ok());
    if !is_proven || *expires_at <= now || *expires_at > now + MAX_TTL * 1000 + SKEW {
        return Ok(Verdict::Malformed);
    }
    let held = read(*kind, id);
    if held == Held::Elsewhere {
        return Ok(Verdict::Retry);
    }
    let before = if *kind == Kind::Root { versions(id)? } else { Vec::new() };
    let (bytes, held_until) = match (&insert.bytes, &held) {
        (None, Held::Found(bytes, until)) => (bytes, *until),
        (None, _) => return Ok(Verdict::NoEntry),
        (Some(bytes), Held::Found(held, until)) if held == bytes => (bytes, *until),
        (Some(bytes), _) => (bytes, 0),
    };
    let name = match kind {
        Kind::Content => content_name(id),
        Kind::Root => {
            let name = root_name(id, bytes)?;
            if let Some(newest) = before.last()
                && let Some(refused) = refused(id, &name, newest)
            {
                return Ok(refused);
            }
            name
        }
    };
    let until = held_until.max(*expires_at);
    let stored = Verdict::Stored { was_there: held_until > 0, expires_at: until };
    let claim = match place_claim(ledger, quota, publisher, insert, bytes.len() as u64)? {
        Ok(claim) => claim,
        // It is kept for others, for as long as this publisher wants it.
        Err(Verdict::Full) if held_until >= *expires_at => return Ok(stored),
        Err(refused) => return Ok(refused),
    };
    let place = Place::At(key_of(id));
    if until > held_until {
        let lasts = Duration::from_millis(until - now);
        let lasts = if *kind == Kind::Root { lasts + MEMORY } else { lasts };
        match storage::put(place, &name, &[&until.to_be_bytes(), bytes.as_ref()].concat(), Some(lasts)) {
            Ok(()) => {}
            Err(StorageError::OverQuota | StorageError::TooLarge) => return Ok(Verdict::Full),
            Err(StorageError::NotHere) => return Ok(Verdict::Retry),
            Err(error) => return Err(error.into()),
        }
        for older in before.iter().filter(|older| **older != name) {
            storage::delete(place, older)?;
        }
    }
    claim.write(ledger)?;
    Ok(stored)
}

/// Whether a root may not take the place of the newest one, by their names.
fn refused(id: &BlockId, name: &[u8], newest: &[u8]) -> Option<Verdict> {
    let (version, newest_version) = (version_of(name)?, version_of(newest)?);
    if version == newest_version {
        return (name != newest).then_some(Verdict::Conflict);
    }
    if version > newest_version {
        return None;
    }
    // Who is not responsible does not know what is the newest.
    let is_responsible = route::range(route::myself(), 0).is_some_and(|range| range.contains(key_of(id)));
    Some(if is_responsible { Verdict::Stale { version: newest_version } } else { Verdict::Retry })
}

/// A claim that can be made.
struct NewClaim {
    key: Key,
    publisher: NodeId,
    name: Vec<u8>,
    expires_at: u64,
    size: u64,
    old: Vec<(Vec<u8>, u64)>,
    /// The claim that is there is as good.
    is_there: bool,
}

fn place_claim(
    ledger: &Ledger,
    quota: u64,
    publisher: NodeId,
    insert: &Insert,
    size: u64,
) -> Result<core::result::Result<NewClaim, Verdict>> {
    let key = key_of(&insert.id);
    let prefix = [CLAIM, rest(&insert.id)].concat();
    let size = size + OVERHEAD;
    let name = [prefix.as_slice(), &publisher.to_bytes(), &(size as u32).to_be_bytes()].concat();
    let all = storage::names(Place::At(key), &prefix, None, MAX_CLAIMS)?;
    let of_publisher = |name: &Vec<u8>| claimed(name).filter(|(by, _)| *by == publisher).map(|(_, size)| size);
    let old: Vec<_> = all.iter().filter_map(|name| Some((name.clone(), of_publisher(name)?))).collect();
    if old.is_empty() && all.len() >= MAX_CLAIMS as usize {
        return Ok(Err(Verdict::Full));
    }
    let had: u64 = old.iter().map(|(_, size)| size).sum();
    if size > had && ledger.used(publisher) - had.min(ledger.used(publisher)) + size > quota {
        return Ok(Err(Verdict::OverQuota));
    }
    let there = storage::get(Place::At(key), &name)?.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
    let is_there = there.is_some_and(|until| until >= insert.expires_at);
    Ok(Ok(NewClaim { key, publisher, name, expires_at: insert.expires_at, size, old, is_there }))
}

impl NewClaim {
    fn write(self, ledger: &mut Ledger) -> Result {
        if self.is_there {
            return Ok(());
        }
        let place = Place::At(self.key);
        for (name, _) in self.old.iter().filter(|(name, _)| *name != self.name) {
            storage::delete(place, name)?;
        }
        let lasts = Duration::from_millis(self.expires_at.saturating_sub(wall_ms()));
        storage::put(place, &self.name, &self.expires_at.to_be_bytes(), Some(lasts))?;
        ledger.charge(self.publisher, self.key, self.old.iter().map(|(_, size)| size).sum(), self.size);
        Ok(())
    }
}

/// Whose claim a name is, and over how many bytes.
pub(crate) fn claimed(name: &[u8]) -> Option<(NodeId, u64)> {
    let rest = name.strip_prefix(CLAIM)?.get(12..)?;
    let (publisher, size) = rest.split_first_chunk::<20>()?;
    let size = u32::from_be_bytes(size.try_into().ok()?);
    Some((NodeId::from_bytes(*publisher), u64::from(size)))
}

fn rest(id: &BlockId) -> &[u8] {
    &id.0[20..]
}

fn content_name(id: &BlockId) -> Vec<u8> {
    [&[CONTENT], rest(id)].concat()
}

/// Names are in the order of versions.
fn root_name(id: &BlockId, block: &[u8]) -> Result<Vec<u8>> {
    let version = Root::decode(block)?.version;
    Ok([&[ROOT], rest(id), &version.to_be_bytes(), &BlockId::of(block).0[..8]].concat())
}

fn version_of(name: &[u8]) -> Option<u64> {
    name.get(13..21)?.try_into().ok().map(u64::from_be_bytes)
}

/// The names of all versions of a root that are here, the newest last.
fn versions(id: &BlockId) -> core::result::Result<Vec<Vec<u8>>, StorageError> {
    storage::names(Place::At(key_of(id)), &[&[ROOT], rest(id)].concat(), None, MAX_VERSIONS)
}

fn unread(error: StorageError) -> Held {
    if error == StorageError::NotHere { Held::Elsewhere } else { Held::Damaged }
}

fn split(value: &[u8]) -> Option<(u64, &[u8])> {
    let (expires_at, bytes) = value.split_first_chunk()?;
    (bytes.len() <= MAX_BLOCK).then_some((u64::from_be_bytes(*expires_at), bytes))
}
