//! A client of the dht peerlet that stores values of any size: long ones are cut into chunks, each at its own key.
//!
//! A value's record stands at the SHA-1 of its name and begins with a byte that says how to read the rest: the value
//! itself, or an index of its chunks with the value's size and digest.

mod ask;
mod record;
#[cfg(test)]
mod tests;

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use std::io::{self, Read, Write};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use prost_dht_api::{List, MAX_LIST, MAX_VALUE, Refusal};
use prost_kbr::{Key, NodeId};
use ring::rand::{SecureRandom, SystemRandom};
use serde_bytes::{ByteArray, ByteBuf};

use self::ask::Asker;
use self::record::{BadRecord, CHUNK, Index, MAX_INLINE, Place, Record, Upload};
use crate::admin_client::{AdminClient, AdminError};

pub use self::record::MAX_SIZE;

/// The application that is called.
pub const DHT: &str = "dht";

/// Chunks of one value that are on their way at once.
const IN_FLIGHT: u32 = 8;
/// How long an operation on one record is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most names that one listing gives.
const MAX_LISTED: usize = 65_536;

/// A client of the dht on one node. Threads can share it.
///
/// Values are not locked: where two clients put the same name at once, one of the two values stays, whole. Whoever gets
/// a value of several chunks while it is replaced may find one gone; [`get`](DhtClient::get) then reads the new one.
pub struct DhtClient {
    asker: Asker,
}

/// How a value is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PutOptions {
    /// Seconds after which the value is gone, 1 to ten years; none keeps it.
    pub expires_in: Option<u64>,
    /// Only where the value has this version, 0 where there is none; else [`Refusal::Conflict`].
    pub if_version: Option<u64>,
}

/// What is known of a value without reading it all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Greater than that of every value before it.
    pub version: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Chunks it was cut into; none where it stands in its record.
    pub chunks: u32,
    /// Seconds until it is gone, rounded up; none where it stays.
    pub expires_in: Option<u64>,
    /// The node that answered.
    pub from: NodeId,
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The version that the value has now.
    pub version: u64,
    /// Length of the value in bytes.
    pub bytes: u64,
    /// Chunks it was cut into; none where it stands in its record.
    pub chunks: u32,
    /// Chunks of an earlier value that could not be removed and stay behind.
    pub left_behind: u32,
}

impl DhtClient {
    /// A client through this node, which must run the dht.
    pub fn new(node: AdminClient) -> DhtClient {
        DhtClient { asker: Asker::new(Box::new(node), PATIENCE) }
    }

    /// With another limit on how long an operation on one record is tried: 30 seconds if not said.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> DhtClient {
        self.asker.patience = patience;
        self
    }

    /// With a flag that ends all patience once it is set: what is under way ends with its next failure.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> DhtClient {
        self.asker.stop = stop;
        self
    }

    /// With gets that the first copy on the way may answer: sooner, and perhaps with an older value.
    #[must_use]
    pub fn with_nearest(mut self, nearest: bool) -> DhtClient {
        self.asker.nearest = nearest;
        self
    }

    /// How often this client asked something again.
    pub fn retries(&self) -> u64 {
        self.asker.retries()
    }

    /// Stores what the input holds, in place of what the name stood for. The input is read as it is sent.
    ///
    /// Done means that every record is durable on at least two nodes, or on the only one. If it fails, the name stands
    /// for the old value or, after a [`Deadline`](Refusal::Deadline), perhaps for the new one.
    pub fn put(&self, name: &[u8], input: &mut (dyn Read + Send)) -> Result<Written, DhtError> {
        self.put_with(name, input, PutOptions::default())
    }

    /// The same, with options. Where a condition does not hold, nothing has changed.
    pub fn put_with(
        &self,
        name: &[u8],
        input: &mut (dyn Read + Send),
        options: PutOptions,
    ) -> Result<Written, DhtError> {
        let mut head = Vec::new();
        input.take(MAX_INLINE as u64 + 1).read_to_end(&mut head).map_err(DhtError::Input)?;
        let old = self.old_index(name)?;
        let (record, bytes, chunks) = if head.len() <= MAX_INLINE {
            let bytes = head.len() as u64;
            (Record::Inline(head), bytes, 0)
        } else {
            let index = self.put_chunks(name, &mut head.as_slice().chain(input), options.expires_in)?;
            let (bytes, chunks) = (index.size, index.count);
            (Record::Index(index), bytes, chunks)
        };
        let stored = self.asker.put(Place::of_value(name), record.encode(), options);
        if let (Err(DhtError::Refused(Refusal::Conflict(_))), Record::Index(index)) = (&stored, &record) {
            self.remove_chunks(name, &index.upload, index.count);
        }
        let version = stored?.version;
        let left_behind = old.map_or(0, |old| self.remove_chunks(name, &old.upload, old.count));
        Ok(Written { version, bytes, chunks, left_behind })
    }

    /// What is known of the value of this name; none where there is none.
    pub fn known(&self, name: &[u8]) -> Result<Option<Known>, DhtError> {
        let Some(found) = self.asker.get(Place::of_value(name))? else { return Ok(None) };
        let (bytes, chunks) = match Record::decode(found.value.into_vec())? {
            Record::Inline(value) => (value.len() as u64, 0),
            Record::Index(index) => (index.size, index.count),
        };
        let from = NodeId::from_bytes(found.from.into_array());
        Ok(Some(Known { version: found.version, bytes, chunks, expires_in: found.expires_in, from }))
    }

    /// The value of this name; none where there is none. It is held in memory whole.
    pub fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, DhtError> {
        let mut seen = None;
        loop {
            let mut value = Vec::new();
            match self.record(name)? {
                None => return Ok(None),
                Some(Record::Inline(value)) => return Ok(Some(value)),
                Some(Record::Index(index)) => match self.get_chunks(name, &index, &mut value) {
                    // Another value may have taken this one's place meanwhile, and its chunks with it.
                    Err(DhtError::MissingChunk(_) | DhtError::Damaged) if seen.as_ref() != Some(&index) => {
                        seen = Some(index);
                    }
                    other => return other.map(|()| Some(value)),
                },
            }
        }
    }

    /// Writes the value of this name to the output, and tells its length; none where there is no value.
    ///
    /// At an error, part of a value may have been written.
    pub fn get_to(&self, name: &[u8], output: &mut dyn Write) -> Result<Option<u64>, DhtError> {
        match self.record(name)? {
            None => Ok(None),
            Some(Record::Inline(value)) => {
                output.write_all(&value).map_err(DhtError::Output)?;
                Ok(Some(value.len() as u64))
            }
            Some(Record::Index(index)) => {
                self.get_chunks(name, &index, output)?;
                Ok(Some(index.size))
            }
        }
    }

    /// Removes the value of this name. Tells how many of its chunks could not be removed and stay behind.
    pub fn remove(&self, name: &[u8]) -> Result<u32, DhtError> {
        let old = self.old_index(name)?;
        self.asker.remove(Place::of_value(name))?;
        Ok(old.map_or(0, |old| self.remove_chunks(name, &old.upload, old.count)))
    }

    /// The names of the records at a key that begin with this, in order, at most 65,536.
    ///
    /// A value's key is the SHA-1 of its name, so that seldom two share one. A name of more than 500 bytes stands as its
    /// SHA-1, a chunk as 20 bytes of its own.
    pub fn list(&self, key: Key, prefix: &[u8]) -> Result<Vec<Vec<u8>>, DhtError> {
        let mut question =
            List { key: ByteArray::new(*key.as_bytes()), prefix: ByteBuf::from(prefix), after: None, max: MAX_LIST };
        let mut names = Vec::new();
        loop {
            let page = self.asker.list(&question)?;
            names.extend(page.names.into_iter().map(ByteBuf::into_vec));
            names.truncate(MAX_LISTED);
            // A page that does not go on from the last one would never end.
            let goes_on = page.next.is_some() && page.next > question.after;
            if !goes_on || names.len() == MAX_LISTED {
                return Ok(names);
            }
            question.after = page.next;
        }
    }

    fn record(&self, name: &[u8]) -> Result<Option<Record>, DhtError> {
        let Some(found) = self.asker.get(Place::of_value(name))? else { return Ok(None) };
        Record::decode(found.value.into_vec()).map(Some).map_err(DhtError::from)
    }

    /// Where the chunks are of a value that is about to go. A record that makes no sense has none.
    fn old_index(&self, name: &[u8]) -> Result<Option<Index>, DhtError> {
        match self.record(name) {
            Ok(Some(Record::Index(index))) => Ok(Some(index)),
            Ok(_) | Err(DhtError::BadRecord(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put_chunks(
        &self,
        name: &[u8],
        input: &mut (dyn Read + Send),
        expires_in: Option<u64>,
    ) -> Result<Index, DhtError> {
        let upload = new_upload()?;
        let options = PutOptions { expires_in, if_version: None };
        let source = Mutex::new(Source { input, next: 0, size: 0, hasher: blake3::Hasher::new(), ended: false });
        let failure = Mutex::new(None);
        let lane = || {
            while let Some((i, chunk)) = lock(&source).next()? {
                self.asker.put(Place::of_chunk(name, &upload, i), chunk, options)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 0..IN_FLIGHT {
                scope.spawn(|| {
                    if let Err(error) = lane() {
                        lock(&source).ended = true;
                        lock(&failure).get_or_insert(error);
                    }
                });
            }
        });
        let source = source.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        let digest = *source.hasher.finalize().as_bytes();
        let index = failure.map_or_else(|| Ok(Index::new(upload, source.size, digest)?), Err);
        index.inspect_err(|_| {
            self.remove_chunks(name, &upload, source.next);
        })
    }

    /// Lane k fetches chunks k, k + [`IN_FLIGHT`], and so on, one ahead of what has been written.
    fn get_chunks(&self, name: &[u8], index: &Index, output: &mut dyn Write) -> Result<(), DhtError> {
        let lanes = index.count.min(IN_FLIGHT);
        let mut hasher = blake3::Hasher::new();
        thread::scope(|scope| {
            let start_lane = |lane| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    for i in (lane..index.count).step_by(IN_FLIGHT as usize) {
                        let chunk = self.chunk(name, index, i);
                        let failed = chunk.is_err();
                        if sender.send(chunk).is_err() || failed {
                            break;
                        }
                    }
                });
                receiver
            };
            let lanes: Vec<_> = (0..lanes).map(start_lane).collect();
            for lane in lanes.iter().cycle().take(index.count as usize) {
                let chunk = lane.recv().expect("a lane ends after its last chunk or an error")?;
                hasher.update(&chunk);
                output.write_all(&chunk).map_err(DhtError::Output)?;
            }
            if hasher.finalize() == *index.digest { Ok(()) } else { Err(DhtError::Damaged) }
        })
    }

    fn chunk(&self, name: &[u8], index: &Index, i: u32) -> Result<Vec<u8>, DhtError> {
        let found = self.asker.get(Place::of_chunk(name, &index.upload, i))?;
        let chunk = found.ok_or(DhtError::MissingChunk(i))?.value.into_vec();
        if chunk.len() == index.chunk_length(i) { Ok(chunk) } else { Err(DhtError::Damaged) }
    }

    /// Tells how many could not be removed. Gives up at the first failure that is not about one chunk alone.
    fn remove_chunks(&self, name: &[u8], upload: &Upload, count: u32) -> u32 {
        let (next, removed) = (AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..count.min(IN_FLIGHT) {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= count || self.asker.remove(Place::of_chunk(name, upload, i)).is_err() {
                            break;
                        }
                        removed.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        count - removed.into_inner()
    }
}

impl fmt::Debug for DhtClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DhtClient").field("patience", &self.asker.patience).finish_non_exhaustive()
    }
}

/// An input that is cut into chunks in order, by whichever lane is free.
struct Source<'a> {
    input: &'a mut (dyn Read + Send),
    next: u32,
    size: u64,
    hasher: blake3::Hasher,
    /// The input has no more, or it failed.
    ended: bool,
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<(u32, Vec<u8>)>, DhtError> {
        if self.ended {
            return Ok(None);
        }
        let mut chunk = Vec::with_capacity(CHUNK);
        self.input.take(CHUNK as u64).read_to_end(&mut chunk).map_err(DhtError::Input)?;
        self.ended = chunk.len() < CHUNK;
        if chunk.is_empty() {
            return Ok(None);
        }
        self.size += chunk.len() as u64;
        if self.size > MAX_SIZE {
            return Err(DhtError::TooLarge);
        }
        self.hasher.update(&chunk);
        let i = self.next;
        self.next += 1;
        Ok(Some((i, chunk)))
    }
}

fn new_upload() -> Result<Upload, DhtError> {
    let mut upload = Upload::default();
    SystemRandom::new().fill(upload.as_mut_slice()).map_err(|_| DhtError::NoRandomness)?;
    Ok(upload)
}

/// What a lane that panicked left behind is as good as before: scoped threads pass the panic on.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a value could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum DhtError {
    /// The node refuses or cannot be reached.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The dht refuses.
    #[error("the dht refuses: {0}")]
    Refused(Refusal),
    /// The answer is not one of the dht's.
    #[error("the application's answer is not one of the dht peerlet's")]
    Answer,
    /// The record was not written by a client like this one.
    #[error("the record is not one of this client's: {0}")]
    BadRecord(&'static str),
    /// A chunk of the value is not there.
    #[error("chunk {0} of the value is missing")]
    MissingChunk(u32),
    /// What was found is not what was stored.
    #[error("the value is damaged: its size or digest is wrong")]
    Damaged,
    /// Longer than [`MAX_SIZE`].
    #[error("a value has {MAX_SIZE} bytes at most")]
    TooLarge,
    /// The input cannot be read.
    #[error("cannot read the input: {0}")]
    Input(io::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl DhtError {
    /// Whether the same may well succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            DhtError::Admin(error) => error.is_transient(),
            DhtError::Refused(refusal) => refusal.is_transient(),
            DhtError::Answer
            | DhtError::BadRecord(_)
            | DhtError::MissingChunk(_)
            | DhtError::Damaged
            | DhtError::TooLarge
            | DhtError::Input(_)
            | DhtError::Output(_)
            | DhtError::NoRandomness => false,
        }
    }
}

impl From<BadRecord> for DhtError {
    fn from(error: BadRecord) -> DhtError {
        match error {
            BadRecord::Malformed => DhtError::BadRecord("it is malformed"),
            BadRecord::Bounds => DhtError::BadRecord("its sizes do not fit together or are out of bounds"),
        }
    }
}

const _: () = assert!(CHUNK <= MAX_VALUE, "a chunk fits in a record");
