//! One question to the dht peerlet, asked again while another attempt may help.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use prost_dht_api::{Found, GET, Get, LIST, List, Listed, PUT, Put, REMOVE, Refusal, Remove, Stored};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};

use super::record::Place;
use super::{DHT, DhtError, PutOptions};
use crate::admin_client::{AdminClient, AdminError};

/// The pause before the second attempt. Each later one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Questions of one client that are under way at once. A node takes 64 at once, of all its clients.
const AT_ONCE: usize = 48;

/// Whoever runs the dht.
pub(super) trait Calls: Send + Sync {
    /// Asks once.
    fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, AdminError>;
}

impl Calls for AdminClient {
    fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, AdminError> {
        AdminClient::call(self, DHT, method, body)
    }
}

/// Asks, with patience.
pub(super) struct Asker {
    calls: Box<dyn Calls>,
    places: Places,
    /// No new attempt after this long.
    pub(super) patience: Duration,
    /// No new attempt once this is set.
    pub(super) stop: Arc<AtomicBool>,
    /// Whether the first copy on the way may answer a get.
    pub(super) nearest: bool,
    retries: AtomicU64,
}

impl Asker {
    pub(super) fn new(calls: Box<dyn Calls>, patience: Duration) -> Asker {
        let stop = Arc::new(AtomicBool::new(false));
        Asker { calls, places: Places::default(), patience, stop, nearest: false, retries: AtomicU64::new(0) }
    }

    /// Attempts that were not the first.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, place: Place, value: Vec<u8>, options: PutOptions) -> Result<Stored, DhtError> {
        let (key, name) = (ByteArray::new(*place.key.as_bytes()), place.name.into());
        let PutOptions { expires_in, if_version } = options;
        let put = Put { key, name, value: ByteBuf::from(value), expires_in, if_version };
        // Asked again, a write with a condition could find its own value there and take it for another's.
        if if_version.is_some() { self.ask_once(PUT, &put) } else { self.ask(PUT, &put) }
    }

    pub(super) fn get(&self, place: Place) -> Result<Option<Found>, DhtError> {
        let Place { key, name } = place;
        self.ask(GET, &Get { key: ByteArray::new(*key.as_bytes()), name: name.into(), nearest: self.nearest })
    }

    pub(super) fn remove(&self, place: Place) -> Result<Stored, DhtError> {
        let Place { key, name } = place;
        self.ask(REMOVE, &Remove { key: ByteArray::new(*key.as_bytes()), name: name.into(), if_version: None })
    }

    pub(super) fn list(&self, question: &List) -> Result<Listed, DhtError> {
        self.ask(LIST, question)
    }

    /// Every method can be asked twice: the same value put again, or the same name removed again, changes nothing.
    fn ask<A: DeserializeOwned>(&self, method: &str, question: &impl Serialize) -> Result<A, DhtError> {
        let body = serde_cbor::to_vec(question).expect("numbers and bytes are always encoded");
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.attempt(method, &body) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let enough = self.stop.load(Ordering::Relaxed) || start.elapsed() + pause > self.patience;
            if enough || !error.is_transient() {
                return Err(error);
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }

    fn ask_once<A: DeserializeOwned>(&self, method: &str, question: &impl Serialize) -> Result<A, DhtError> {
        self.attempt(method, &serde_cbor::to_vec(question).expect("numbers and bytes are always encoded"))
    }

    fn attempt<A: DeserializeOwned>(&self, method: &str, body: &[u8]) -> Result<A, DhtError> {
        let answer = self.places.with(|| self.calls.call(method, body)).map_err(worded)?;
        serde_cbor::from_slice(&answer).map_err(|_| DhtError::Answer)
    }
}

/// Bounds what is under way: [`AT_ONCE`].
#[derive(Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.freed.wait_while(taken, |taken| *taken >= AT_ONCE);
        *taken.unwrap_or_else(PoisonError::into_inner) += 1;
        let _taken = Taken(self);
        work()
    }
}

/// One that is taken, until it is dropped.
struct Taken<'a>(&'a Places);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.freed.notify_one();
    }
}

/// The peerlet's own refusals come as an error's text.
fn worded(error: AdminError) -> DhtError {
    if let AdminError::Refused { error: text, .. } = &error
        && let Ok(refusal) = text.parse::<Refusal>()
    {
        return DhtError::Refused(refusal);
    }
    DhtError::Admin(error)
}
