//! One connection in use, and its tasks.

use std::rc::Rc;

use prost_kbr::Peer;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;

use super::accept::Seat;
use super::code::CloseCode;
use super::links::Shared;
use super::outbox::{self, CLASSES, Outbox};
use super::reader::{self, Progress};
use super::rivalry::Direction;
use super::stats::Refused;
use super::upkeep::Watch;

/// A connection on which the peer has greeted.
pub(super) struct Greeted {
    pub(super) peer: Peer,
    pub(super) connection: Connection,
    pub(super) incarnation: u64,
    /// This side's streams and what each still has to begin with, in the order of the classes.
    pub(super) sending: [(SendStream, Vec<u8>); 3],
    pub(super) control: RecvStream,
    /// The place among those that others dialled; none where this node dialled.
    pub(super) seat: Option<Seat>,
}

/// A connection that has been reported.
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) direction: Direction,
    pub(super) since: Instant,
    pub(super) progress: Rc<Progress>,
    pub(super) watch: Watch,
    /// Since when this node needs it no more, and how many frames had been said on it then. Another takes that back.
    pub(super) released: Option<(Instant, u64)>,
    pub(super) incarnation: u64,
    /// Tells it from other connections of this transport.
    pub(super) number: u64,
    tasks: Vec<AbortHandle>,
    _seat: Option<Seat>,
}

impl Live {
    /// Starts to read, and to write what the outbox has.
    pub(super) fn begin(shared: &Rc<Shared>, direction: Direction, new: Greeted, outbox: &Rc<Outbox>) -> Live {
        let Greeted { peer, connection, incarnation, sending, control, seat } = new;
        let number = shared.next_number.get();
        shared.next_number.set(number + 1);
        let mut tasks = Vec::with_capacity(CLASSES.len() + 1);
        for (class, (stream, first)) in CLASSES.into_iter().zip(sending) {
            let write = outbox::write(outbox.clone(), class, stream, first);
            let (ticket, connection) = (WriterTicket::new(shared.clone()), connection.clone());
            let writer = spawn_local(async move {
                if let Err(WriteError::Stopped(_)) = write.await {
                    ticket.0.stats.refuse(Refused::Streams);
                    CloseCode::Protocol.close(&connection);
                }
            });
            tasks.push(writer.abort_handle());
        }
        let progress = Rc::new(Progress::default());
        let read = reader::read(shared.clone(), peer, connection.clone(), control, progress.clone());
        let shared = shared.clone();
        let reader = spawn_local(async move {
            read.await;
            shared.lost(peer.id, number);
        });
        tasks.push(reader.abort_handle());
        let (since, watch) = (Instant::now(), Watch::default());
        Live { connection, direction, since, progress, watch, released: None, incarnation, number, tasks, _seat: seat }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Counts a writer as long as it lives.
struct WriterTicket(Rc<Shared>);

impl WriterTicket {
    fn new(shared: Rc<Shared>) -> WriterTicket {
        shared.writers.set(shared.writers.get() + 1);
        WriterTicket(shared)
    }
}

impl Drop for WriterTicket {
    fn drop(&mut self) {
        self.0.writers.set(self.0.writers.get() - 1);
        self.0.writer_ended.notify_one();
    }
}
