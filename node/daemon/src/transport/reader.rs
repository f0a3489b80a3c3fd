//! Reads the streams of a connection.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use prost_kbr::wire::{self, Class, FrameError};
use prost_kbr::{NodeId, Peer};
use quinn::{Connection, ReadError, RecvStream};
use tokio::task::JoinSet;

use super::assembly::Assembly;
use super::code::CloseCode;
use super::inbox::{Arrival, Inbox};
use super::links::Shared;
use super::outbox::{CLASSES, number};
use super::stats::Refused;

/// How the reading of a connection goes, for those who look after it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// One for each class.
    pub(super) streams: [StreamProgress; 3],
}

/// How the reading of one stream goes.
#[derive(Debug, Default)]
pub(super) struct StreamProgress {
    open: Cell<bool>,
    /// How often bytes have come.
    pub(super) reads: Cell<u64>,
    /// How many frames have come.
    pub(super) frames: Cell<u64>,
    /// Whether a frame has been begun, and its rest is waited for.
    pub(super) partial: Cell<bool>,
}

/// Reads all streams of a connection, of which `control` has been greeted on, until the connection ends and everything
/// that came before its end has been handed on.
pub(super) async fn read(
    shared: Rc<Shared>,
    peer: Peer,
    connection: Connection,
    control: RecvStream,
    progress: Rc<Progress>,
) {
    progress.streams[0].open.set(true);
    let reading = Reading { shared, from: peer.id, connection: connection.clone(), progress };
    let mut streams = JoinSet::new();
    streams.spawn_local(reading.clone().run(control, Some(Class::Control)));
    while streams.len() < CLASSES.len() {
        match connection.accept_uni().await {
            Ok(stream) => streams.spawn_local(reading.clone().run(stream, None)),
            Err(_) => break,
        };
    }
    connection.closed().await;
    while streams.join_next().await.is_some() {}
}

/// Where the frames of one connection go.
#[derive(Clone)]
struct Reading {
    shared: Rc<Shared>,
    from: NodeId,
    connection: Connection,
    progress: Rc<Progress>,
}

/// Why reading ends before the stream does.
enum Fault {
    /// The connection has ended.
    Over,
    Refused(CloseCode, Refused),
}

impl Reading {
    async fn run(self, mut stream: RecvStream, class: Option<Class>) {
        let class = match class {
            Some(class) => Ok(class),
            None => self.class(&mut stream).await,
        };
        let result = match class {
            Ok(class) => self.frames(&mut stream, class).await,
            Err(fault) => Err(fault),
        };
        if let Err(Fault::Refused(code, reason)) = result {
            self.shared.stats.refuse(reason);
            code.close(&self.connection);
        }
    }

    /// The class that the stream begins with.
    async fn class(&self, stream: &mut RecvStream) -> Result<Class, Fault> {
        let mut first = [0];
        let broken = Fault::Refused(CloseCode::Protocol, Refused::Streams);
        match stream.read(&mut first).await {
            Ok(Some(_)) => {}
            Err(ReadError::ConnectionLost(_)) => return Err(Fault::Over),
            Ok(None) | Err(_) => return Err(broken),
        }
        let class = CLASSES.into_iter().find(|class| number(*class) == first[0]);
        class.filter(|class| !self.progress(*class).open.replace(true)).ok_or(broken)
    }

    async fn frames(&self, stream: &mut RecvStream, class: Class) -> Result<(), Fault> {
        let progress = self.progress(class);
        let mut assembly = Assembly::new(class);
        let mut pieces: [Bytes; PIECES] = Default::default();
        loop {
            let count = match stream.read_chunks(&mut pieces).await {
                Ok(Some(count)) => count,
                Ok(None) if assembly.is_partial() => return Err(FrameError::Malformed(0).into()),
                Ok(None) => return Ok(()),
                Err(ReadError::ConnectionLost(_)) => return Err(Fault::Over),
                Err(_) => return Err(Fault::Refused(CloseCode::Protocol, Refused::Streams)),
            };
            progress.reads.set(progress.reads.get() + 1);
            // What waits for room here does not wait for the peer.
            progress.partial.set(false);
            for piece in &mut pieces[..count] {
                self.hand_on(std::mem::take(piece), &mut assembly, progress)?;
                if self.shared.inbox.is_full() {
                    self.shared.inbox.wake();
                    self.shared.inbox.room().await;
                }
            }
            self.shared.inbox.wake();
            progress.partial.set(assembly.is_partial());
        }
    }

    fn hand_on(&self, mut piece: Bytes, assembly: &mut Assembly, progress: &StreamProgress) -> Result<(), Fault> {
        let Shared { inbox, stats, .. } = &*self.shared;
        let mut frames = 0;
        stats.bytes_received.add(piece.len() as u64);
        let result = loop {
            match assembly.next(&mut piece).and_then(|frame| frame.map(|frame| self.decode(inbox, frame)).transpose()) {
                Ok(Some(())) => frames += 1,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        stats.frames_received.add(frames);
        progress.frames.set(progress.frames.get() + frames);
        result
    }

    fn decode(&self, inbox: &Inbox, frame: Bytes) -> Result<(), FrameError> {
        let length = frame.len();
        let message = wire::decode(frame)?;
        inbox.push(Arrival::Received { from: self.from, message }, length);
        Ok(())
    }

    fn progress(&self, class: Class) -> &StreamProgress {
        &self.progress.streams[usize::from(number(class))]
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Fault {
        match error {
            FrameError::Length(_) => Fault::Refused(CloseCode::FrameLength, Refused::FrameLength),
            FrameError::Malformed(_) => Fault::Refused(CloseCode::BadFrame, Refused::FrameMalformed),
            FrameError::Kind(_) => Fault::Refused(CloseCode::BadFrame, Refused::FrameKind),
        }
    }
}

/// Pieces that are read at once. A piece is at most what one packet carried.
const PIECES: usize = 32;
