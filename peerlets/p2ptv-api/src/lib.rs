//! What a program asks the p2ptv peerlet, and what it is answered.
//!
//! A request's method is one of the constants here; its body is the CBOR (RFC 8949) of the type that the constant's
//! documentation names, and so is the answer. A request that comes to nothing is answered with text.

mod playback;

pub use minicbor::{Decode, Encode};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::{Id, Key, NodeId};

pub use playback::{Playback, Report};

/// Begins a stream: [`Open`], answered by [`Opened`].
pub const OPEN: &str = "open";
/// Gives the stream its next segment: [`Feed`], answered by [`Fed`].
pub const FEED: &str = "feed";
/// Becomes a receiver: [`Watch`], answered by [`Watching`].
pub const WATCH: &str = "watch";
/// Reads segments: [`Next`], answered by an [inbox's batch](prost_peerlet::inbox::Batch) whose items are [`Segment`]s.
pub const NEXT: &str = "next";
/// Is a receiver no more: [`Leave`], answered by nothing.
pub const LEAVE: &str = "leave";
/// How this node is part of a channel: [`Look`], answered by [`Stats`].
pub const STATS: &str = "stats";

/// Longest segment, in bytes.
pub const MAX_SEGMENT: usize = 60 << 10;
/// Longest name of a channel, in bytes.
pub const MAX_NAME: usize = 256;
/// Segments before the newest with which a receiver may begin, at most.
pub const MAX_REWIND: u32 = 32;
/// How long a segment plays unless its source says otherwise, in milliseconds. Short, as a segment is sent on when it is
/// whole.
pub const SEGMENT_MS: u32 = 500;

/// The key of a channel: the SHA-1 of its name.
pub fn channel(name: &str) -> Key {
    Id::hash(name.as_bytes())
}

/// Bytes and milliseconds of a segment at this many bits a second: [`SEGMENT_MS`], less where that would be too long.
pub fn segment_size(rate: u64) -> (usize, u32) {
    let bytes = |ms: u64| usize::try_from(rate.saturating_mul(ms) / 8000).unwrap_or(usize::MAX);
    let ms = u64::from(SEGMENT_MS);
    if bytes(ms) <= MAX_SEGMENT {
        return (bytes(ms).max(1), SEGMENT_MS);
    }
    let ms = (MAX_SEGMENT as u64 * 8000 / rate).max(1);
    (bytes(ms).clamp(1, MAX_SEGMENT), ms as u32)
}

/// Begins a stream on a channel, which belongs to whoever streams on it first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Open {
    /// The channel.
    #[n(0)]
    pub channel: Key,
}

/// The stream has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Opened {
    /// Its number: when it began, in milliseconds since 1970.
    #[n(0)]
    pub stream: u64,
    /// The node that signs it.
    #[n(1)]
    pub source: NodeId,
}

/// The next segment of a stream of this node's.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Feed {
    /// The channel.
    #[n(0)]
    pub channel: Key,
    /// The stream.
    #[n(1)]
    pub stream: u64,
    /// From 0, one more each time. One that was fed already is answered and otherwise passed over.
    #[n(2)]
    pub number: u64,
    /// How long it plays, in milliseconds.
    #[n(3)]
    pub duration_ms: u32,
    /// Whether it ends the stream.
    #[n(4)]
    pub last: bool,
    /// At most [`MAX_SEGMENT`] bytes.
    #[n(5)]
    pub data: Bytes,
}

/// A segment was taken. The answer waits while too many are on their way to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Fed {
    /// Segments that the root has not sent on yet.
    #[n(0)]
    pub waiting: u32,
}

/// A piece of a stream, as the source signed it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Segment {
    /// The stream: when it began, in milliseconds since 1970. A later one replaces an earlier one.
    #[n(0)]
    pub stream: u64,
    /// From 0.
    #[n(1)]
    pub number: u64,
    /// When the source sent it, in milliseconds since 1970 on its clock.
    #[n(2)]
    pub sent_ms: u64,
    /// How long it plays, in milliseconds.
    #[n(3)]
    pub duration_ms: u32,
    /// Whether the stream ends with it.
    #[n(4)]
    pub last: bool,
    /// What it holds.
    #[n(5)]
    pub data: Bytes,
}

/// Makes this node a receiver for a program, which then asks for what has come with [`NEXT`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Watch {
    /// The channel.
    #[n(0)]
    pub channel: Key,
    /// The source, where the program knows it; none trusts whom the channel belongs to.
    #[n(1)]
    pub source: Option<NodeId>,
    /// Segments before the newest with which to begin, at most [`MAX_REWIND`].
    #[n(2)]
    pub rewind: u32,
}

/// This node is a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Watching {
    /// The number of this program on this node.
    #[n(0)]
    pub watcher: u64,
}

/// Asks for what has come.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Next {
    /// The program.
    #[n(0)]
    pub watcher: u64,
    /// The number of the first item that it does not have: items are numbered from 0.
    #[n(1)]
    pub from: u64,
}

/// Ends a program's part. The node stays a relay for as long as others receive through it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Leave {
    /// The program.
    #[n(0)]
    pub watcher: u64,
}

/// Asks how this node is part of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Look {
    /// The channel.
    #[n(0)]
    pub channel: Key,
}

/// How a node is part of a channel. Counts are of the node since it became part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Stats {
    /// The source, where it is known.
    #[n(0)]
    pub source: Option<NodeId>,
    /// The stream; zero where none has come.
    #[n(1)]
    pub stream: u64,
    /// One more than the newest segment's number.
    #[n(2)]
    pub next: u64,
    /// Whether the stream has ended.
    #[n(3)]
    pub ended: bool,
    /// The node that this one receives from; none at the root.
    #[n(4)]
    pub parent: Option<NodeId>,
    /// Nodes between this one and the root, the root included.
    #[n(5)]
    pub depth: u32,
    /// Nodes that receive from this one.
    #[n(6)]
    pub children: u32,
    /// Segments in the buffer.
    #[n(7)]
    pub buffered: u32,
    /// Bytes in the buffer.
    #[n(8)]
    pub buffered_bytes: u64,
    /// What has come.
    #[n(9)]
    pub counts: Counts,
}

/// What has come to a node for a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counts {
    /// Segments, each once.
    #[n(0)]
    pub segments: u64,
    /// Their bytes.
    #[n(1)]
    pub bytes: u64,
    /// Those among them that came because they were asked for.
    #[n(2)]
    pub repaired: u64,
    /// Segments that were there already.
    #[n(3)]
    pub duplicates: u64,
    /// Segments of this node's receivers that nobody had any more.
    #[n(4)]
    pub lost: u64,
    /// Segments that the source has not signed.
    #[n(5)]
    pub forged: u64,
    /// Segments given to nodes that had asked for them.
    #[n(6)]
    pub given: u64,
}

/// A value for the other side, as CBOR.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    cbor::encode(value)
}

/// Reads one.
///
/// # Errors
///
/// The bytes are no such value.
pub fn decode<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Result<T, cbor::Error> {
    cbor::decode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_lasts_half_a_second_unless_that_is_too_long_for_a_message() {
        assert_eq!(segment_size(800_000), (50_000, 500));
        assert_eq!(segment_size(1), (1, 500));
        for rate in [1_000_000, 8_000_000, 400_000_000, u64::MAX] {
            let (bytes, ms) = segment_size(rate);
            assert!((1..=MAX_SEGMENT).contains(&bytes) && (1..=SEGMENT_MS).contains(&ms), "{rate}: {bytes} {ms}");
        }
    }
}
