//! A program that listens, for as long as it wants to: its endpoint and triggers come back after the node has lost them.

use core::time::Duration;
use std::thread;

use prost_i3_api::ask::{Insert, Received};
use prost_i3_api::{HalfKey, I3Id, Rate};
use prost_peerlet::cbor;

use super::{I3Client, I3Error};

/// Between two attempts to reach a node that does not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// A trigger that a listener wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its id.
    pub id: I3Id,
    /// The secret whose image is the id's key.
    pub secret: HalfKey,
    /// Leading bits that packets must have in common with it; 0 for as few as i3 allows.
    pub prefix_len: u16,
    /// A limit below the node's own.
    pub rate: Option<Rate>,
}

impl Wanted {
    /// A trigger that takes every packet that i3 lets match.
    pub fn new(id: I3Id, secret: HalfKey) -> Wanted {
        Wanted { id, secret, prefix_len: 0, rate: None }
    }
}

/// An endpoint with its triggers. It closes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    client: I3Client,
    wanted: Vec<Wanted>,
    endpoint: u64,
    from: u64,
    lost: u64,
}

impl Listener {
    /// Opens an endpoint and inserts its triggers.
    ///
    /// # Errors
    ///
    /// [`I3Error`], also where one of the triggers is refused.
    pub fn open(client: I3Client, wanted: Vec<Wanted>) -> Result<Listener, I3Error> {
        let endpoint = client.open(None)?.endpoint;
        let listener = Listener { client, wanted, endpoint, from: 0, lost: 0 };
        listener.insert_all()?;
        Ok(listener)
    }

    /// The client that it asks.
    pub fn client(&self) -> &I3Client {
        &self.client
    }

    /// Packets that were dropped because this was too slow.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Waits for packets, for a while; nothing where none came. A node that does not answer is asked again; one that knows
    /// the endpoint no more, as after its restart, gets everything anew.
    ///
    /// # Errors
    ///
    /// [`I3Error`] where asking again would not help.
    pub fn receive(&mut self) -> Result<Vec<Received>, I3Error> {
        match self.client.next(self.endpoint, self.from) {
            Ok(batch) => {
                self.lost = batch.lost;
                self.from = batch.first + batch.items.len() as u64;
                Ok(batch.items.iter().filter_map(|item| cbor::decode(item).ok()).collect())
            }
            Err(error) if error.is_transient() => {
                thread::sleep(PAUSE);
                Ok(Vec::new())
            }
            Err(I3Error::Refused(_)) => {
                self.endpoint = self.client.open(None)?.endpoint;
                self.from = 0;
                match self.insert_all() {
                    Err(error) if error.is_transient() => thread::sleep(PAUSE),
                    done => done?,
                }
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    fn insert_all(&self) -> Result<(), I3Error> {
        for Wanted { id, secret, prefix_len, rate } in &self.wanted {
            let (endpoint, prefix_len) = (self.endpoint, *prefix_len);
            let trigger =
                Insert { endpoint, id: *id, prefix_len, secret: Some(*secret), stack: Vec::new(), rate: *rate };
            self.client.insert(&trigger)?;
        }
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The node closes what nobody reads, if it cannot be told.
        let _ = self.client.close(self.endpoint);
    }
}
