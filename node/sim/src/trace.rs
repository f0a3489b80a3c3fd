//! A record of everything that happens: as a hash, and as text where wanted.

use std::fmt;
use std::io::Write;

use prost_kbr::Time;

use crate::world::Index;

/// Bytes gathered before they are hashed: BLAKE3 is several times faster on long inputs.
const BUFFER: usize = 16 << 10;

/// What a record is about, in the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// A frame is handed to the network.
    Sent = 1,
    /// A frame reaches its node.
    Received = 2,
    /// A node is woken.
    Woken = 3,
    /// A node hears of something else.
    Told = 4,
    /// A process starts or ends.
    Process = 5,
    /// An application does something.
    App = 6,
}

/// The hash of a world's history, and where its text goes.
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    writer: Option<Box<dyn Write + Send>>,
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("writes", &self.writer.is_some()).finish_non_exhaustive()
    }
}

impl Trace {
    /// An empty record of a world with this seed.
    pub(crate) fn new(seed: u64) -> Trace {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        Trace { hasher, buffer: Vec::with_capacity(BUFFER + 256), writer: None }
    }

    /// Notes something that happened to a node. `number` and `bytes` say what.
    pub(crate) fn note(&mut self, now: Time, node: Index, mark: Mark, number: u64, bytes: &[&[u8]]) {
        self.buffer.extend_from_slice(&now.as_micros().to_be_bytes());
        self.buffer.extend_from_slice(&node.to_be_bytes());
        self.buffer.push(mark as u8);
        self.buffer.extend_from_slice(&number.to_be_bytes());
        for bytes in bytes {
            self.buffer.extend_from_slice(bytes);
        }
        if self.buffer.len() >= BUFFER {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    /// The hash of all that was noted.
    pub(crate) fn hash(&self) -> [u8; 32] {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.buffer);
        *hasher.finalize().as_bytes()
    }

    /// Writes lines from now on.
    pub(crate) fn write_to(&mut self, writer: Box<dyn Write + Send>) {
        self.writer = Some(writer);
    }

    /// Whether lines are written.
    pub(crate) fn is_written(&self) -> bool {
        self.writer.is_some()
    }

    /// Writes a line, where lines are written. A writer that fails gets no more.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        if let Some(writer) = &mut self.writer
            && writeln!(writer, "{line}").is_err()
        {
            self.writer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_depend_on_how_records_fall_into_the_buffer() {
        let mut trace = Trace::new(1);
        let mut all = 1u64.to_be_bytes().to_vec();
        for number in 0..5_000u64 {
            trace.note(Time::from_micros(number), 7, Mark::Told, number, &[b"bytes"]);
            all.extend_from_slice(&number.to_be_bytes());
            all.extend_from_slice(&7u32.to_be_bytes());
            all.push(4);
            all.extend_from_slice(&number.to_be_bytes());
            all.extend_from_slice(b"bytes");
        }
        assert_eq!(trace.hash(), *blake3::hash(&all).as_bytes());
    }
}
