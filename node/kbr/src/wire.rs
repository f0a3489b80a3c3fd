//! Frames: how messages stand on a stream.
//!
//! A frame is a length (u32, big endian, of what follows), a kind (u8), and the body. The body of most kinds is one
//! CBOR item; that of a notification is empty and that of an upper layer's frame is that layer's bytes. A routed
//! message keeps its parts apart, so that a node that forwards it decodes only the envelope:
//! `seq (u64) | envelope length (u16) | header length (u16) | envelope CBOR | header CBOR | payload`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_cbor::ser::{IoWrite, Serializer};

use crate::bounded;
use crate::header::MAX_HEADER;
use crate::id::{Key, NodeId};
use crate::message::{Envelope, Listed, Message, Outcome, Part, Peer, Routed};

/// Longest frame, in bytes, without its length.
pub const MAX_FRAME: usize = 1 << 20;
/// Longest payload of a routed message, in bytes.
pub const MAX_PAYLOAD: usize = 256 << 10;

/// Bytes of a frame's length.
const PREFIX: usize = 4;
/// Bytes of a routed message before its envelope.
const ROUTE_FIXED: usize = 8 + 2 + 2;

/// Which of a connection's streams a frame goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Ring maintenance and acknowledgements.
    Control,
    /// Routed messages and their outcomes.
    Messages,
    /// Code, and what else may wait.
    Bulk,
}

/// Bytes that are not a frame of this protocol. The connection they came on is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length says more than [`MAX_FRAME`], or zero.
    #[error("a frame of {0} bytes")]
    Length(u64),
    /// The body is not what its kind says.
    #[error("a malformed frame of kind {0}")]
    Malformed(u8),
    /// No such kind.
    #[error("an unknown kind of frame: {0}")]
    Kind(u8),
}

mod kind {
    pub(super) const PING: u8 = 1;
    pub(super) const PONG: u8 = 2;
    pub(super) const GET_NEIGHBOURS: u8 = 3;
    pub(super) const NEIGHBOURS: u8 = 4;
    pub(super) const FIND_PREDECESSOR: u8 = 5;
    pub(super) const PREDECESSOR: u8 = 6;
    pub(super) const NOTIFY: u8 = 7;
    pub(super) const LEAVE: u8 = 8;
    pub(super) const ROUTE: u8 = 9;
    pub(super) const ACKNOWLEDGE: u8 = 10;
    pub(super) const OUTCOME: u8 = 11;
    pub(super) const UPPER: u8 = 12;
    pub(super) const UNCHANGED: u8 = 13;
    pub(super) const LINK: u8 = 14;
    pub(super) const LINKED: u8 = 15;
    pub(super) const UNLINK: u8 = 16;
    pub(super) const GET_LINKS: u8 = 17;
    pub(super) const LINKS: u8 = 18;
    pub(super) const GET_NEXT: u8 = 19;
    pub(super) const NEXT: u8 = 20;
    pub(super) const ARRIVED: u8 = 21;
    pub(super) const CANDIDATE: u8 = 22;
    pub(super) const CHANGES: u8 = 23;
    pub(super) const LAST: u8 = CHANGES;
}

#[derive(Serialize, Deserialize)]
struct Neighbours {
    request: u64,
    joined: bool,
    #[serde(deserialize_with = "bounded::list")]
    predecessors: Vec<Peer>,
    #[serde(deserialize_with = "bounded::list")]
    successors: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct Changes {
    request: u64,
    digest: u64,
    #[serde(deserialize_with = "bounded::list")]
    predecessors: Vec<Listed>,
    #[serde(deserialize_with = "bounded::list")]
    successors: Vec<Listed>,
}

#[derive(Serialize, Deserialize)]
struct Leave {
    #[serde(deserialize_with = "bounded::list")]
    predecessors: Vec<Peer>,
    #[serde(deserialize_with = "bounded::list")]
    successors: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct Links {
    request: u64,
    #[serde(deserialize_with = "bounded::list")]
    links: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct Next {
    request: u64,
    mine: bool,
    #[serde(deserialize_with = "bounded::list")]
    next: Vec<Peer>,
}

#[derive(Serialize, Deserialize)]
struct Ended {
    #[serde(deserialize_with = "bounded::list")]
    via: Vec<NodeId>,
    origin: Peer,
    outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
struct Acknowledge {
    #[serde(deserialize_with = "bounded::list")]
    runs: Vec<(u64, u32)>,
}

impl Message {
    /// The stream the frame goes on.
    pub fn class(&self) -> Class {
        match self {
            Message::Ping { .. }
            | Message::Pong { .. }
            | Message::GetNeighbours { .. }
            | Message::Neighbours { .. }
            | Message::Unchanged { .. }
            | Message::Changes { .. }
            | Message::FindPredecessor { .. }
            | Message::Predecessor { .. }
            | Message::Notify
            | Message::Arrived
            | Message::Candidate { .. }
            | Message::GetNext { .. }
            | Message::Next { .. }
            | Message::Link
            | Message::Linked { .. }
            | Message::Unlink
            | Message::GetLinks { .. }
            | Message::Links { .. }
            | Message::Leave { .. }
            | Message::Acknowledge { .. } => Class::Control,
            Message::Route { .. } | Message::Outcome { .. } => Class::Messages,
            Message::Upper(_) => Class::Bulk,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Message::Ping { .. } => kind::PING,
            Message::Pong { .. } => kind::PONG,
            Message::GetNeighbours { .. } => kind::GET_NEIGHBOURS,
            Message::Neighbours { .. } => kind::NEIGHBOURS,
            Message::Changes { .. } => kind::CHANGES,
            Message::FindPredecessor { .. } => kind::FIND_PREDECESSOR,
            Message::Predecessor { .. } => kind::PREDECESSOR,
            Message::Notify => kind::NOTIFY,
            Message::Leave { .. } => kind::LEAVE,
            Message::Route { .. } => kind::ROUTE,
            Message::Acknowledge { .. } => kind::ACKNOWLEDGE,
            Message::Outcome { .. } => kind::OUTCOME,
            Message::Upper(_) => kind::UPPER,
            Message::Unchanged { .. } => kind::UNCHANGED,
            Message::Arrived => kind::ARRIVED,
            Message::Candidate { .. } => kind::CANDIDATE,
            Message::GetNext { .. } => kind::GET_NEXT,
            Message::Next { .. } => kind::NEXT,
            Message::Link => kind::LINK,
            Message::Linked { .. } => kind::LINKED,
            Message::Unlink => kind::UNLINK,
            Message::GetLinks { .. } => kind::GET_LINKS,
            Message::Links { .. } => kind::LINKS,
        }
    }
}

/// Appends the frame to `head`, except for a payload, which is returned to be written right behind it without a copy.
///
/// # Panics
///
/// On a message that is longer than this protocol allows. The machine makes none.
pub fn encode(message: &Message, head: &mut BytesMut) -> Option<Bytes> {
    let start = head.len();
    head.put_u32(0);
    head.put_u8(message.kind());
    let payload = match message {
        Message::Route { seq, routed } => {
            put_route(head, *seq, routed);
            Some(&routed.payload)
        }
        Message::Upper(payload) => Some(payload),
        _ => {
            put_body(head, message);
            None
        }
    };
    let payload = payload.filter(|payload| !payload.is_empty());
    let length = head.len() - start - PREFIX + payload.map_or(0, Bytes::len);
    assert!(length <= MAX_FRAME, "a frame of {length} bytes");
    head[start..start + PREFIX].copy_from_slice(&(length as u32).to_be_bytes());
    payload.cloned()
}

fn put_body(head: &mut BytesMut, message: &Message) {
    match message {
        Message::Ping { nonce: number }
        | Message::Pong { nonce: number }
        | Message::Unchanged { request: number }
        | Message::GetLinks { request: number } => put_cbor(head, number),
        Message::GetNeighbours { request, part, known } => put_cbor(head, &(request, part, known)),
        Message::Linked { accepted } => put_cbor(head, accepted),
        Message::Candidate { peer, hops } => put_cbor(head, &(peer, hops)),
        Message::GetNext { request, key } => put_cbor(head, &(request, key)),
        Message::Next { request, mine, next } => {
            put_cbor(head, &Next { request: *request, mine: *mine, next: next.clone() });
        }
        Message::Links { request, links } => put_cbor(head, &Links { request: *request, links: links.clone() }),
        Message::Neighbours { request, joined, predecessors, successors } => {
            let (predecessors, successors) = (predecessors.clone(), successors.clone());
            put_cbor(head, &Neighbours { request: *request, joined: *joined, predecessors, successors });
        }
        Message::Changes { request, digest, predecessors, successors } => {
            let (predecessors, successors) = (predecessors.clone(), successors.clone());
            put_cbor(head, &Changes { request: *request, digest: *digest, predecessors, successors });
        }
        Message::FindPredecessor { request, key } => put_cbor(head, &(request, key)),
        Message::Predecessor { request, peer } => put_cbor(head, &(request, peer)),
        Message::Leave { predecessors, successors } => {
            put_cbor(head, &Leave { predecessors: predecessors.clone(), successors: successors.clone() });
        }
        Message::Acknowledge { runs } => put_cbor(head, &Acknowledge { runs: runs.clone() }),
        Message::Outcome { via, origin, outcome } => {
            put_cbor(head, &Ended { via: via.clone(), origin: *origin, outcome: outcome.clone() });
        }
        Message::Notify
        | Message::Arrived
        | Message::Link
        | Message::Unlink
        | Message::Route { .. }
        | Message::Upper(_) => {}
    }
}

fn put_route(head: &mut BytesMut, seq: u64, routed: &Routed) {
    assert!(routed.header.len() <= MAX_HEADER, "a header of {} bytes", routed.header.len());
    head.put_u64(seq);
    let lengths = head.len();
    head.put_u16(0);
    head.put_u16(routed.header.len() as u16);
    let start = head.len();
    put_cbor(head, &routed.envelope);
    let length = u16::try_from(head.len() - start).expect("the lists of an envelope are short");
    head[lengths..lengths + 2].copy_from_slice(&length.to_be_bytes());
    head.extend_from_slice(&routed.header);
}

/// Fields and variants go by number: shorter, and quicker to read.
fn put_cbor<T: Serialize>(head: &mut BytesMut, item: &T) {
    let mut serializer = Serializer::new(IoWrite::new(head.writer())).packed_format();
    item.serialize(&mut serializer).expect("plain data, written to memory");
}

/// The length of the frame that `prefix` announces, its own four bytes left out; none where `prefix` is shorter.
pub fn frame_length(prefix: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(length) = prefix.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    if length == 0 || length as usize > MAX_FRAME {
        return Err(FrameError::Length(u64::from(length)));
    }
    Ok(Some(length as usize))
}

/// Decodes one frame, without its length. Payloads are slices of `frame`.
pub fn decode(mut frame: Bytes) -> Result<Message, FrameError> {
    if frame.is_empty() || frame.len() > MAX_FRAME {
        return Err(FrameError::Length(frame.len() as u64));
    }
    let kind = frame.get_u8();
    if !(kind::PING..=kind::LAST).contains(&kind) {
        return Err(FrameError::Kind(kind));
    }
    decode_body(kind, frame).ok_or(FrameError::Malformed(kind))
}

fn decode_body(kind: u8, body: Bytes) -> Option<Message> {
    Some(match kind {
        kind::PING => Message::Ping { nonce: cbor(&body)? },
        kind::PONG => Message::Pong { nonce: cbor(&body)? },
        kind::GET_NEIGHBOURS => {
            let (request, part, known): (u64, Part, u64) = cbor(&body)?;
            Message::GetNeighbours { request, part, known }
        }
        kind::UNCHANGED => Message::Unchanged { request: cbor(&body)? },
        kind::ARRIVED if body.is_empty() => Message::Arrived,
        kind::CANDIDATE => {
            let (peer, hops): (Peer, u8) = cbor(&body)?;
            Message::Candidate { peer, hops }
        }
        kind::GET_NEXT => {
            let (request, key): (u64, Key) = cbor(&body)?;
            Message::GetNext { request, key }
        }
        kind::NEXT => {
            let Next { request, mine, next } = cbor(&body)?;
            Message::Next { request, mine, next }
        }
        kind::LINK if body.is_empty() => Message::Link,
        kind::LINKED => Message::Linked { accepted: cbor(&body)? },
        kind::UNLINK if body.is_empty() => Message::Unlink,
        kind::GET_LINKS => Message::GetLinks { request: cbor(&body)? },
        kind::LINKS => {
            let Links { request, links } = cbor(&body)?;
            Message::Links { request, links }
        }
        kind::NEIGHBOURS => {
            let Neighbours { request, joined, predecessors, successors } = cbor(&body)?;
            Message::Neighbours { request, joined, predecessors, successors }
        }
        kind::CHANGES => {
            let Changes { request, digest, predecessors, successors } = cbor(&body)?;
            Message::Changes { request, digest, predecessors, successors }
        }
        kind::FIND_PREDECESSOR => {
            let (request, key): (u64, Key) = cbor(&body)?;
            Message::FindPredecessor { request, key }
        }
        kind::PREDECESSOR => {
            let (request, peer): (u64, Peer) = cbor(&body)?;
            Message::Predecessor { request, peer }
        }
        kind::NOTIFY if body.is_empty() => Message::Notify,
        kind::LEAVE => {
            let Leave { predecessors, successors } = cbor(&body)?;
            Message::Leave { predecessors, successors }
        }
        kind::ROUTE => return decode_route(body),
        kind::ACKNOWLEDGE => Message::Acknowledge { runs: cbor::<Acknowledge>(&body)?.runs },
        kind::OUTCOME => {
            let Ended { via, origin, outcome } = cbor(&body)?;
            Message::Outcome { via, origin, outcome }
        }
        kind::UPPER => Message::Upper(body),
        _ => return None,
    })
}

fn decode_route(mut body: Bytes) -> Option<Message> {
    if body.len() < ROUTE_FIXED {
        return None;
    }
    let seq = body.get_u64();
    let envelope = usize::from(body.get_u16());
    let header = usize::from(body.get_u16());
    let parts = envelope + header;
    if header > MAX_HEADER || body.len() < parts || body.len() - parts > MAX_PAYLOAD {
        return None;
    }
    let envelope: Envelope = cbor(&body.split_to(envelope))?;
    let header = body.split_to(header);
    Some(Message::Route { seq, routed: Routed { envelope, header, payload: body } })
}

/// One item and nothing behind it.
fn cbor<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_cbor::from_slice(bytes).ok()
}
