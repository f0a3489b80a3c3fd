//! Insertions and extensions: what a local program wants, and what the node responsible decides.

use core::fmt::Display;
use core::time::Duration;

use prost_cfs_api::{BlockId, Extend, Kind, MAX_TTL, Put, Refusal, Root, Stored, encode, verify};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::questions::{Patience, Target};
use prost_peerlet::time::wall_ms;
use prost_peerlet::{Failure, Key, NodeId, Questions, Result, client, identity, log};

use crate::cfs::Cfs;
use crate::message::{Claim, INSERTIONS, Insert, Verdict, key_of};
use crate::store;

/// Insertions open at a time. Each keeps its block for another attempt: together 8 MiB.
const MAX_OPEN: usize = 256;
/// All replicas acknowledge an insertion within ten seconds, or it is undecided.
const PATIENCE: Patience = Patience {
    deadline: Duration::from_secs(24),
    again: Duration::from_secs(6),
    pause: Duration::from_millis(500),
    attempts: 4,
};

/// A program's insertion or extension.
#[derive(Debug)]
pub(crate) struct Wanted {
    request: u64,
    id: BlockId,
    is_extension: bool,
}

pub(crate) fn questions() -> Questions<Wanted> {
    Questions::new(INSERTIONS, MAX_OPEN, PATIENCE)
}

impl Cfs {
    /// A program inserts a block.
    pub(crate) fn put(&mut self, request: u64, put: Put) {
        let bytes = Bytes(put.bytes.into());
        let id = match put.kind {
            Kind::Content => BlockId::of(&bytes),
            Kind::Root => match Root::decode(&bytes) {
                Ok(root) => root.id(),
                Err(error) => return malformed(request, error),
            },
        };
        if let Err(error) = verify(put.kind, &id, &bytes) {
            return malformed(request, error);
        }
        self.want(request, put.kind, id, Some(bytes), put.ttl);
    }

    /// A program extends a block.
    pub(crate) fn extend(&mut self, request: u64, extend: Extend) {
        self.want(request, extend.kind, extend.id, None, extend.ttl);
    }

    fn want(&mut self, request: u64, kind: Kind, id: BlockId, bytes: Option<Bytes>, ttl: u64) {
        if !(1..=MAX_TTL).contains(&ttl) {
            return malformed(request, format_args!("a block lives from 1 to {MAX_TTL} seconds"));
        }
        let expires_at = wall_ms() + ttl * 1000;
        let claim = Claim::new(identity::sign(&Claim::statement(kind, &id, expires_at)));
        let wanted = Wanted { request, id, is_extension: bytes.is_none() };
        let body = cbor::encode(&Insert { kind, id, bytes, expires_at, claim });
        if self.insertions.ask(Target::Key(key_of(&id)), &body, wanted).is_err() {
            refuse(request, &Refusal::Busy);
        }
    }

    /// A node asks this one to keep a block. An error undoes what was written.
    pub(crate) fn decide(&mut self, asker: NodeId, key: Option<Key>, insert: Insert) -> Result<Verdict> {
        let statement = Claim::statement(insert.kind, &insert.id, insert.expires_at);
        let is_askers = identity::verify(asker, &statement, &insert.claim.clone().signature());
        if key != Some(key_of(&insert.id)) || !is_askers {
            return Ok(Verdict::Malformed);
        }
        let quota = self.quota();
        store::accept(&mut self.ledger, quota, asker, &insert)
    }
}

/// The node responsible has decided.
pub(crate) fn decided(wanted: &Wanted, body: &[u8]) {
    let refusal = match cbor::decode(body) {
        Ok(Verdict::Stored { was_there, expires_at }) => {
            let stored = Stored { id: wanted.id, was_there, expires_at };
            let body = if wanted.is_extension { encode(&Some(stored)) } else { encode(&stored) };
            return respond(wanted.request, Ok(&body));
        }
        Ok(Verdict::NoEntry) if wanted.is_extension => {
            return respond(wanted.request, Ok(&encode(&None::<Stored>)));
        }
        Ok(Verdict::Stale { version }) => Refusal::Stale(version),
        Ok(Verdict::Conflict) => Refusal::Conflict,
        Ok(Verdict::OverQuota) => Refusal::OverQuota,
        Ok(Verdict::Full) => Refusal::Storage,
        Ok(Verdict::Malformed) => {
            Refusal::BadRequest("the node responsible finds the block, the claim or the time wrong".to_owned())
        }
        Ok(Verdict::Retry | Verdict::NoEntry) | Err(_) => Refusal::Unreachable,
    };
    refuse(wanted.request, &refusal);
}

/// The node responsible was not reached, or could not write.
pub(crate) fn failed(wanted: &Wanted, reason: Failure) {
    refuse(wanted.request, &refusal(reason));
}

pub(crate) fn refusal(reason: Failure) -> Refusal {
    match reason {
        Failure::Deadline => Refusal::Deadline,
        Failure::Unreachable | Failure::TooManyHops => Refusal::Unreachable,
        Failure::NoWillingNode => Refusal::NoWillingNode,
        Failure::NotDurable | Failure::HandlerFailed => Refusal::Storage,
        Failure::Overloaded => Refusal::Busy,
    }
}

pub(crate) fn malformed(request: u64, why: impl Display) {
    refuse(request, &Refusal::BadRequest(why.to_string()));
}

pub(crate) fn refuse(request: u64, refusal: &Refusal) {
    respond(request, Err(&refusal.to_string()));
}

pub(crate) fn respond(request: u64, outcome: core::result::Result<&[u8], &str>) {
    if client::respond(request, outcome).is_err() {
        log::debug("the program that asked has gone");
    }
}
