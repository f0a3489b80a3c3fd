//! Frames out of the pieces in which a stream arrives.

use bytes::{Buf, Bytes, BytesMut};
use prost_kbr::wire::{self, Class, FrameError, MAX_FRAME, MAX_PAYLOAD};

/// The frame that a stream is in the middle of.
#[derive(Debug)]
pub(super) struct Assembly {
    partial: BytesMut,
    longest: usize,
}

impl Assembly {
    pub(super) fn new(class: Class) -> Assembly {
        Assembly { partial: BytesMut::new(), longest: longest(class) }
    }

    /// Whether a frame has been begun and not finished.
    pub(super) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// The next frame, without its length, that the piece finishes; none where it is used up. A frame within one piece
    /// is a slice of it.
    pub(super) fn next(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
        if !self.partial.is_empty() {
            return self.finish(piece);
        }
        match self.length(piece)? {
            Some(length) if piece.len() >= PREFIX + length => {
                piece.advance(PREFIX);
                Ok(Some(piece.split_to(length)))
            }
            _ => {
                self.grow(piece, piece.len(), MIN_ROOM);
                Ok(None)
            }
        }
    }

    fn finish(&mut self, piece: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
        self.grow(piece, PREFIX.saturating_sub(self.partial.len()), MIN_ROOM);
        let Some(length) = self.length(&self.partial)? else { return Ok(None) };
        let missing = PREFIX + length - self.partial.len();
        self.grow(piece, missing, missing);
        if self.partial.len() < PREFIX + length {
            return Ok(None);
        }
        let mut frame = self.partial.split().freeze();
        frame.advance(PREFIX);
        Ok(Some(frame))
    }

    /// Moves at most `wanted` bytes of the piece behind the partial frame. Room is made for what will come, but never
    /// for more than has come already: a length is only a claim.
    fn grow(&mut self, piece: &mut Bytes, wanted: usize, room: usize) {
        let take = wanted.min(piece.len());
        if self.partial.capacity() - self.partial.len() < take {
            let earned = (self.partial.len() + take).max(MIN_ROOM);
            self.partial.reserve(take.max(room.min(earned)));
        }
        self.partial.extend_from_slice(&piece.split_to(take));
    }

    fn length(&self, prefix: &[u8]) -> Result<Option<usize>, FrameError> {
        match wire::frame_length(prefix)? {
            Some(length) if length > self.longest => Err(FrameError::Length(length as u64)),
            length => Ok(length),
        }
    }
}

/// Longest frame on a stream of this class, in bytes.
fn longest(class: Class) -> usize {
    match class {
        // Two lists of 64 nodes each are some 8 KiB.
        Class::Control => 64 << 10,
        // Beside the payload: an envelope, whose length has 16 bits, and a header of at most 4 KiB.
        Class::Messages => MAX_PAYLOAD + (80 << 10),
        Class::Bulk => MAX_FRAME,
    }
}

/// Bytes of a frame's length.
const PREFIX: usize = 4;
/// Least room that is made at once: small frames that lie across two pieces share it.
const MIN_ROOM: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, length: usize) -> Vec<u8> {
        [&(length as u32).to_be_bytes()[..], &vec![byte; length]].concat()
    }

    fn frames(assembly: &mut Assembly, stream: &[u8], piece: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        for piece in stream.chunks(piece) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(frame) = assembly.next(&mut piece).expect("good frames") {
                frames.push(frame);
            }
            assert!(piece.is_empty());
        }
        frames
    }

    #[test]
    fn frames_come_out_whole_however_the_stream_is_cut() {
        let lengths = [1, 3, 200, 1300, 5, 70_000, 1, 4096, 2];
        let stream: Vec<u8> = lengths.iter().zip(1..).flat_map(|(length, byte)| frame(byte, *length)).collect();
        for piece in [1, 2, 3, 4, 5, 7, 100, 1200, 1500, 65_536, stream.len()] {
            let mut assembly = Assembly::new(Class::Bulk);
            let frames = frames(&mut assembly, &stream, piece);
            assert_eq!(frames.len(), lengths.len(), "pieces of {piece}");
            for ((frame, length), byte) in frames.iter().zip(lengths).zip(1u8..) {
                assert_eq!(frame, &vec![byte; length], "pieces of {piece}");
            }
            assert!(!assembly.is_partial());
        }
    }

    #[test]
    fn a_frame_within_one_piece_is_not_copied() {
        let piece = Bytes::from(frame(9, 500));
        let mut rest = piece.clone();
        let frame = Assembly::new(Class::Messages).next(&mut rest).expect("a good frame").expect("a whole frame");
        assert_eq!(frame.as_ptr(), piece[PREFIX..].as_ptr());
    }

    #[test]
    fn a_length_is_refused_before_anything_is_kept_for_it() {
        for (class, length) in
            [(Class::Bulk, 0), (Class::Bulk, u32::MAX), (Class::Bulk, 1 << 21), (Class::Control, 70_000)]
        {
            let bytes = length.to_be_bytes();
            let refused = Err(FrameError::Length(u64::from(length)));
            assert_eq!(Assembly::new(class).next(&mut Bytes::copy_from_slice(&bytes)), refused);
            let mut byte_by_byte = Assembly::new(class);
            let last = bytes.map(|byte| byte_by_byte.next(&mut Bytes::copy_from_slice(&[byte])));
            assert_eq!(last[3], refused);
            assert!(byte_by_byte.partial.capacity() <= 2 * MIN_ROOM);
        }
    }

    #[test]
    fn room_is_made_for_what_has_come_and_not_for_what_is_claimed() {
        let mut assembly = Assembly::new(Class::Bulk);
        let stream = frame(1, MAX_FRAME);
        assert!(frames(&mut assembly, &stream[..100_000], 1200).is_empty());
        assert!(assembly.is_partial());
        assert!(assembly.partial.capacity() <= 300_000, "{}", assembly.partial.capacity());
    }
}
