//! Tier 1 of the common API, DHT: values at ring keys (Dabek et al., IPTPS 2003).
//!
//! [`Values`] is what an application embeds to put, get and remove values by key and name. The node responsible for the key
//! reads and writes there; that each value keeps its copies and moves when the ring changes is the work of the node's keyed
//! records. The peerlet `dht` is this and an interface for programs.
//!
//! Each value has a version, greater than all before it at its key and name, by which a writer can make sure that nobody
//! has written in between ([`Condition`]).

mod record;
mod repair;
mod wire;

use core::fmt;

use crate::questions::{Patience, Question, Received, Target};
use crate::soft_state::{Full, SoftState};
use crate::storage::{self, Place, StorageError};
use crate::time::wall_ms;
use crate::{Failure, Key, Message, NodeId, Questions, Recent, Verdict, cbor, log, route};

use record::Record;
use wire::{Ask, Said};

pub use wire::{Answer, Found, Operation};

/// Writes that are remembered, so that another attempt at one does not write again.
const MAX_DONE: usize = 1024;
/// Records that a copy has lately been compared of with the one responsible.
const MAX_CHECKED: usize = 256;

/// When a write takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// Always.
    #[default]
    Always,
    /// Only where the value has this version; zero where there is none.
    Version(u64),
}

impl Condition {
    /// As a request has it: none for always.
    pub fn from_version(version: Option<u64>) -> Condition {
        version.map_or(Condition::Always, Condition::Version)
    }
}

/// Why an operation came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DhtError {
    /// The value has another version than the condition says: this one, zero where there is none.
    Conflict(u64),
    /// The responsible node has no room for it, or its disk failed.
    Storage,
    /// No node told the end of it. A write may or may not have taken place.
    Failed(Failure),
}

impl fmt::Display for DhtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DhtError::Conflict(version) => write!(f, "the value has version {version}"),
            DhtError::Storage => f.write_str("the responsible node could not store it"),
            DhtError::Failed(failure) => write!(f, "{failure:?}"),
        }
    }
}

impl core::error::Error for DhtError {}

/// The calls of the tier. An operation ends once, with what was given as `about`.
pub trait Dht {
    /// What an application wants to know again when an operation ends.
    type About;

    /// Stores a value in place of the one of this key and name; `expires_in` is in seconds, none keeps it.
    ///
    /// # Errors
    ///
    /// [`Full`] where too many operations are under way.
    fn put(
        &mut self,
        key: Key,
        name: &[u8],
        value: &[u8],
        expires_in: Option<u64>,
        about: Self::About,
    ) -> Result<(), Full>;

    /// Reads the value of a key and name.
    ///
    /// # Errors
    ///
    /// As [`put`](Dht::put).
    fn get(&mut self, key: Key, name: &[u8], about: Self::About) -> Result<(), Full>;

    /// Removes the value of a key and name.
    ///
    /// # Errors
    ///
    /// As [`put`](Dht::put).
    fn remove(&mut self, key: Key, name: &[u8], about: Self::About) -> Result<(), Full>;
}

/// Values at ring keys: the operations of this node's users, and those of others at the keys of this node.
#[derive(Debug)]
pub struct Values<A> {
    questions: Questions<Pending<A>>,
    done: Recent<(NodeId, u64), Answer>,
    checked: SoftState<(Key, Vec<u8>), ()>,
    copies: u32,
}

#[derive(Debug)]
enum Pending<A> {
    /// An operation of the application.
    Operation(A),
    /// A copy here is compared with the one responsible.
    Check(Key, Vec<u8>),
    /// A newer copy was sent there.
    Restore,
}

/// How an operation has ended.
pub type Ended<A> = (A, Result<Answer, DhtError>);

impl<A> Values<A> {
    /// No operations yet, at most so many at a time. `channel` is the first byte of their messages, and `copies` how many
    /// copies the package asks for.
    pub fn new(channel: u8, most: usize, copies: u32) -> Values<A> {
        Values {
            questions: Questions::new(channel, most, Patience::default()),
            done: Recent::new(MAX_DONE),
            checked: SoftState::new(MAX_CHECKED),
            copies,
        }
    }

    /// Begins an operation at a key.
    ///
    /// # Errors
    ///
    /// [`Full`] where too many are under way.
    pub fn perform(&mut self, key: Key, operation: Operation, about: A) -> Result<(), Full> {
        let nearest = matches!(operation, Operation::Get { nearest: true, .. });
        let target = if nearest { Target::PerHop(key) } else { Target::Key(key) };
        let body = cbor::encode(&Ask::Operation { operation });
        self.questions.ask(target, &body, Pending::Operation(about)).map(drop)
    }

    /// A message has arrived: none where it is not of this tier, else the operation that has ended with it, if one has.
    ///
    /// # Errors
    ///
    /// An answer that could not be sent: the event is to end, so that nothing is written of which nobody hears.
    pub fn deliver(&mut self, message: &Message) -> crate::Result<Option<Option<Ended<A>>>> {
        match self.questions.receive(message) {
            Received::Question(question) => self.asked(&question).map(|()| Some(None)),
            Received::Answer { about, body, .. } => Ok(Some(self.answered(about, &body))),
            Received::Late => Ok(Some(None)),
            Received::Other => Ok(None),
        }
    }

    /// A message of type 0 passes: a copy here answers it, where its asker takes any copy.
    pub fn forward(&mut self, message: &Message) -> Verdict {
        let Received::Question(question) = self.questions.receive(message) else { return Verdict::Pass };
        let (Some(key), Ok(Ask::Operation { operation: Operation::Get { name, nearest: true } })) =
            (question.key, cbor::decode::<Ask>(&question.body))
        else {
            return Verdict::Pass;
        };
        let stored = storage::get(Place::At(key), &name).ok().flatten();
        let Some(record) = stored.as_deref().and_then(Record::read) else { return Verdict::Pass };
        let answer = Said::Answer { answer: Answer::Found { found: Some(record.found()) } };
        if question.answer(&cbor::encode(&answer)).is_err() {
            return Verdict::Pass;
        }
        self.check(key, name.0, record.version);
        Verdict::Stop
    }

    /// A message of this node came to nothing.
    pub fn failed(&mut self, message: u64, reason: Failure) -> Option<Ended<A>> {
        self.questions.failed(message, reason).and_then(ended)
    }

    /// A timer has run out.
    pub fn due(&mut self, timer: u64) -> Vec<Ended<A>> {
        self.questions.due(timer).into_iter().filter_map(ended).collect()
    }

    /// Operations and comparisons under way.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// Somebody asks for something at a key of this node.
    fn asked(&mut self, question: &Question) -> crate::Result {
        let (Some(key), Ok(ask)) = (question.key, cbor::decode::<Ask>(&question.body)) else {
            log::warn("dropped a question that makes no sense");
            return Ok(());
        };
        let from = (question.asker, question.number);
        let said = match ask {
            Ask::Operation { operation } => match self.done.get(&from) {
                Some(answer) => Ok(Said::Answer { answer: answer.clone() }),
                None => self.operate(key, operation, from),
            },
            Ask::Check { name, version } => repair::check(key, &name, version),
            Ask::Restore { name, record } => repair::restore(key, &name, &record),
        };
        match said {
            Ok(said) => question.answer(&cbor::encode(&said))?,
            // The records of the key are elsewhere, or on their way.
            Err(StorageError::NotHere) => question.not_yet()?,
            Err(StorageError::OverQuota | StorageError::TooLarge | StorageError::Unavailable) => {
                question.answer(&cbor::encode(&Said::NoRoom))?;
            }
        }
        Ok(())
    }

    fn operate(&mut self, key: Key, operation: Operation, from: (NodeId, u64)) -> Result<Said, StorageError> {
        let answer = match operation {
            Operation::Get { name, .. } => {
                let stored = storage::get(Place::At(key), &name)?;
                Answer::Found { found: stored.as_deref().and_then(Record::read).map(|record| record.found()) }
            }
            Operation::List { prefix, after, max } => {
                let names = storage::names(Place::At(key), &prefix, after.as_deref(), max)?;
                let is_full = names.len() == max as usize;
                let names: Vec<cbor::Bytes> = names.into_iter().map(cbor::Bytes::from).collect();
                let next = names.last().cloned().filter(|_| is_full);
                Answer::Listed { names, next }
            }
            Operation::Put { name, value, expires_in, if_version } => {
                let version = match self.next_version(key, &name, if_version, from.1)? {
                    Ok(version) => version,
                    Err(said) => return Ok(said),
                };
                let expires_at = expires_in.map(|time| wall_ms().saturating_add(time.saturating_mul(1000)));
                let record = Record { version, expires_at, writer: from.1, value: &value };
                let lasts = expires_in.map(core::time::Duration::from_secs);
                storage::put(Place::At(key), &name, &record.write(), lasts)?;
                self.stored(key, version)
            }
            Operation::Remove { name, if_version } => {
                let version = match self.next_version(key, &name, if_version, from.1)? {
                    Ok(version) => version,
                    Err(said) => return Ok(said),
                };
                storage::delete(Place::At(key), &name)?;
                self.stored(key, version)
            }
        };
        if matches!(answer, Answer::Stored { .. }) {
            self.done.insert(from, answer.clone());
        }
        Ok(Said::Answer { answer })
    }

    /// The version of the next value: the clock, or one more than that of the one that is there. An answer in its place
    /// where the condition does not hold, or where an earlier attempt of the same writer has written already, on
    /// this node or on one that was responsible before.
    fn next_version(
        &self,
        key: Key,
        name: &[u8],
        if_version: Option<u64>,
        writer: u64,
    ) -> Result<Result<u64, Said>, StorageError> {
        let stored = storage::get(Place::At(key), name)?;
        let record = stored.as_deref().and_then(Record::read);
        let before = record.as_ref().map_or(0, |record| record.version);
        if record.is_some_and(|record| record.writer == writer) {
            return Ok(Err(Said::Answer { answer: self.stored(key, before) }));
        }
        match Condition::from_version(if_version) {
            Condition::Version(version) if version != before => Ok(Err(Said::Conflict { version: before })),
            Condition::Version(_) | Condition::Always => Ok(Ok(wall_ms().max(before.saturating_add(1)))),
        }
    }

    fn stored(&self, key: Key, version: u64) -> Answer {
        let replicas = route::replica_set(key, self.copies).nodes.len();
        Answer::Stored { version, replicas: u32::try_from(replicas).unwrap_or(u32::MAX) }
    }

    fn answered(&mut self, about: Pending<A>, body: &[u8]) -> Option<Ended<A>> {
        let said = cbor::decode::<Said>(body);
        match about {
            Pending::Operation(about) => {
                let result = match said {
                    Ok(Said::Answer { answer }) => Ok(answer),
                    Ok(Said::Conflict { version }) => Err(DhtError::Conflict(version)),
                    Ok(Said::NoRoom) => Err(DhtError::Storage),
                    Ok(Said::Older) | Err(_) => Err(DhtError::Failed(Failure::HandlerFailed)),
                };
                Some((about, result))
            }
            Pending::Check(key, name) => {
                if matches!(said, Ok(Said::Older)) {
                    self.restore(key, &name);
                }
                None
            }
            Pending::Restore => None,
        }
    }
}

impl<A> Dht for Values<A> {
    type About = A;

    fn put(&mut self, key: Key, name: &[u8], value: &[u8], expires_in: Option<u64>, about: A) -> Result<(), Full> {
        let (name, value) = (name.into(), value.into());
        self.perform(key, Operation::Put { name, value, expires_in, if_version: None }, about)
    }

    fn get(&mut self, key: Key, name: &[u8], about: A) -> Result<(), Full> {
        self.perform(key, Operation::Get { name: name.into(), nearest: false }, about)
    }

    fn remove(&mut self, key: Key, name: &[u8], about: A) -> Result<(), Full> {
        self.perform(key, Operation::Remove { name: name.into(), if_version: None }, about)
    }
}

fn ended<A>((about, failure): (Pending<A>, Failure)) -> Option<Ended<A>> {
    match about {
        Pending::Operation(about) => Some((about, Err(DhtError::Failed(failure)))),
        Pending::Check(..) | Pending::Restore => None,
    }
}
