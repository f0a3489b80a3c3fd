//! What is to be sent to one peer: a queue a class, and the tasks that write them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use prost_kbr::Message;
use prost_kbr::wire::{self, Class};
use quinn::{SendStream, WriteError};
use tokio::sync::Notify;

/// The classes, in the order of their numbers.
pub(super) const CLASSES: [Class; 3] = [Class::Control, Class::Messages, Class::Bulk];

/// The class's number: the first byte of its streams.
pub(super) fn number(class: Class) -> u8 {
    match class {
        Class::Control => 0,
        Class::Messages => 1,
        Class::Bulk => 2,
    }
}

/// Frames for one peer. They wait here until there is a connection and its writers take them.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queues: [RefCell<Queue>; 3],
    ready: [Notify; 3],
    dirty: Cell<bool>,
    ending: Cell<bool>,
    frames: Cell<u64>,
}

impl Outbox {
    /// Queues a frame; says how many bytes it has, none where it was dropped because the queue is full.
    pub(super) fn push(&self, message: &Message) -> Option<usize> {
        let class = message.class();
        let mut queue = self.queues[usize::from(number(class))].borrow_mut();
        if queue.bytes >= capacity(class) {
            return None;
        }
        self.frames.set(self.frames.get() + 1);
        Some(queue.push(message))
    }

    /// Notes that the outbox has something that its writers have not been told of. True the first time.
    pub(super) fn mark(&self) -> bool {
        !self.dirty.replace(true)
    }

    /// Wakes the writers that have something to write.
    pub(super) fn wake(&self) {
        self.dirty.set(false);
        for (queue, ready) in self.queues.iter().zip(&self.ready) {
            if queue.borrow().bytes > 0 {
                ready.notify_one();
            }
        }
    }

    /// Lets the writers write what is there, end their streams, and end.
    pub(super) fn end(&self) {
        self.ending.set(true);
        self.ready.iter().for_each(Notify::notify_one);
    }

    /// How many frames were ever queued.
    pub(super) fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// How many frames no writer has taken.
    pub(super) fn waiting(&self) -> u64 {
        self.queues.iter().map(|queue| queue.borrow().frames).sum()
    }
}

/// Writes one class, `first` before all else, until the outbox ends and the peer has everything, or the connection ends.
pub(super) async fn write(
    outbox: Rc<Outbox>,
    class: Class,
    mut stream: SendStream,
    first: Vec<u8>,
) -> Result<(), WriteError> {
    let index = usize::from(number(class));
    stream.write_all(&first).await?;
    let mut chunks = Vec::with_capacity(MAX_CHUNKS);
    loop {
        let taken = outbox.queues[index].borrow_mut().take(&mut chunks);
        if taken == 0 {
            if outbox.ending.get() {
                break;
            }
            outbox.ready[index].notified().await;
            continue;
        }
        stream.write_all_chunks(&mut chunks).await?;
        chunks.clear();
        outbox.queues[index].borrow_mut().bytes -= taken;
    }
    // The peer's acknowledgement of all of it, or the end of the connection: either way this is over.
    let _ = stream.finish();
    let _ = stream.stopped().await;
    Ok(())
}

/// Frames of one class, as few and large pieces.
#[derive(Debug, Default)]
struct Queue {
    /// Whole frames and heads of frames, still growing.
    head: BytesMut,
    /// What stands before it.
    sealed: VecDeque<Bytes>,
    /// Bytes of all of it, and of what the writer has in its hands.
    bytes: usize,
    /// Frames that begin in all of it.
    frames: u64,
}

impl Queue {
    fn push(&mut self, message: &Message) -> usize {
        let before = self.head.len();
        let payload = wire::encode(message, &mut self.head);
        let mut size = self.head.len() - before;
        if let Some(payload) = payload {
            size += payload.len();
            if payload.len() < COPY_BELOW {
                self.head.extend_from_slice(&payload);
            } else {
                self.seal();
                self.sealed.push_back(payload);
            }
        }
        if self.head.len() >= SEAL_AT {
            self.seal();
        }
        self.bytes += size;
        self.frames += 1;
        size
    }

    fn seal(&mut self) {
        self.sealed.push_back(self.head.split().freeze());
        if self.head.capacity() < COPY_BELOW {
            self.head.reserve(SEAL_AT);
        }
    }

    /// Moves pieces out; says how many bytes they have.
    fn take(&mut self, chunks: &mut Vec<Bytes>) -> usize {
        if self.sealed.len() < MAX_CHUNKS && !self.head.is_empty() {
            self.sealed.push_back(self.head.split().freeze());
        }
        chunks.extend(self.sealed.drain(..self.sealed.len().min(MAX_CHUNKS)));
        if self.sealed.is_empty() {
            self.frames = 0;
        }
        chunks.iter().map(Bytes::len).sum()
    }
}

/// Most bytes that wait for one peer. A frame may go beyond; the next is dropped.
fn capacity(class: Class) -> usize {
    match class {
        Class::Control => 1 << 20,
        Class::Messages => 4 << 20,
        Class::Bulk => 8 << 20,
    }
}

/// Payloads below are copied behind their head: quinn keeps a segment for each piece that it is handed, and looks
/// through them from the front.
const COPY_BELOW: usize = 1024;
/// A head of so many bytes is handed on as it is and a new one begun. Also the room that a new one has.
const SEAL_AT: usize = 16 << 10;
/// Most pieces that a writer takes at once.
const MAX_CHUNKS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(queue: &mut Queue) -> Vec<Bytes> {
        let mut all = Vec::new();
        let mut chunks = Vec::new();
        while queue.take(&mut chunks) > 0 {
            all.append(&mut chunks);
        }
        all
    }

    #[test]
    fn small_frames_share_a_piece() {
        let mut queue = Queue::default();
        let bytes: usize = (0..100).map(|nonce| queue.push(&Message::Ping { nonce })).sum();
        assert_eq!(queue.frames, 100);
        let pieces = pieces(&mut queue);
        assert_eq!(pieces.len(), 1);
        assert_eq!((pieces[0].len(), queue.frames), (bytes, 0));
    }

    #[test]
    fn a_large_payload_is_passed_on_without_a_copy() {
        let payload = Bytes::from(vec![7; 100_000]);
        let mut queue = Queue::default();
        queue.push(&Message::Upper(Bytes::from_static(b"before")));
        queue.push(&Message::Upper(payload.clone()));
        queue.push(&Message::Upper(Bytes::from_static(b"behind")));
        let pieces = pieces(&mut queue);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[1].as_ptr(), payload.as_ptr());
        assert!(pieces[2].ends_with(b"behind"));
    }

    #[test]
    fn a_full_queue_drops_and_the_other_classes_go_on() {
        let outbox = Outbox::default();
        let large = Message::Upper(Bytes::from(vec![0; 512 << 10]));
        let queued = (0..100).filter(|_| outbox.push(&large).is_some()).count();
        assert_eq!(queued, 16);
        assert!(outbox.push(&Message::Ping { nonce: 1 }).is_some());
        assert_eq!(outbox.waiting(), 17);
    }
}
