//! The messages of a tree. The first byte is its channel, the second says how to read the rest.

use minicbor::{Decode, Encode};

use super::{Frame, Sequence};
use crate::cbor::{self, Bytes};
use crate::{Id, Key, NodeId};

/// What stands in the second byte.
const CONTROL: u8 = 0;
const DATA: u8 = 1;
/// Before a frame's data: both bytes, group, epoch, number, publisher, the publisher's number.
const HEAD: usize = 2 + Id::LEN + 8 + 8 + Id::LEN + 8;

/// Everything but data. Lists are cut to their bounds by whoever reads them.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Control {
    /// Take me as your child. Routed hop by hop to the group, or sent straight to a node that another has named.
    #[n(0)]
    Join(#[n(0)] Join),
    /// From a parent: you are my child, and this is how things are. Also the heartbeat.
    #[n(1)]
    State(#[n(0)] State),
    /// The member whose credentials you showed may not join.
    #[n(2)]
    Refused {
        #[n(0)]
        group: Key,
        /// The join that this answers; none for a child that was one.
        #[n(1)]
        number: Option<u64>,
        #[n(2)]
        member: NodeId,
        #[n(3)]
        reason: u8,
    },
    /// You are not my child, or no more (DROP). These may take you.
    #[n(3)]
    Elsewhere {
        #[n(0)]
        group: Key,
        /// The join that this answers; none for a child that was one.
        #[n(1)]
        number: Option<u64>,
        #[n(2)]
        candidates: Vec<Candidate>,
    },
    /// I am not your child.
    #[n(4)]
    Leave {
        #[n(0)]
        group: Key,
    },
    /// I am still your child.
    #[n(5)]
    Refresh {
        #[n(0)]
        group: Key,
    },
    /// I have not got these frames.
    #[n(6)]
    Missing {
        #[n(0)]
        group: Key,
        #[n(1)]
        epoch: u64,
        #[n(2)]
        numbers: Vec<u64>,
    },
    /// A search for a member.
    #[n(7)]
    Anycast(#[n(0)] Anycast),
    /// The end of one.
    #[n(8)]
    Found {
        #[n(0)]
        number: u64,
        /// Whether the node that says so has taken it.
        #[n(1)]
        taken: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Join {
    #[n(0)]
    pub(super) group: Key,
    /// Drawn for each search of a parent; the answer carries it.
    #[n(1)]
    pub(super) number: u64,
    /// The member for whose sake this is, itself or below, and its credentials.
    #[n(2)]
    pub(super) member: NodeId,
    #[n(3)]
    pub(super) credentials: Bytes,
    /// Only the root may take the child.
    #[n(4)]
    pub(super) root_only: bool,
    /// Nodes that would not take it.
    #[n(5)]
    pub(super) refused: Vec<NodeId>,
    /// The last frame that it has seen.
    #[n(6)]
    pub(super) last: Option<Sequence>,
    /// It serves nobody, and will not: it may be anyone's child.
    #[n(7)]
    pub(super) leaf: bool,
    /// The group's rules as it knows them, for a root that has lost them.
    #[n(8)]
    pub(super) rules: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct State {
    #[n(0)]
    pub(super) group: Key,
    /// The join that this answers; none where it is a heartbeat.
    #[n(1)]
    pub(super) number: Option<u64>,
    /// From the root, or from the last node known on the way to it, to the sender's parent.
    #[n(2)]
    pub(super) path: Vec<NodeId>,
    /// Whether the path begins at the root.
    #[n(3)]
    pub(super) rooted: bool,
    /// The last frame that the sender has seen.
    #[n(4)]
    pub(super) last: Option<Sequence>,
    /// Whether it says what the rules are.
    #[n(5)]
    pub(super) tells_rules: bool,
    /// The group's rules; none where nobody has created it.
    #[n(6)]
    pub(super) rules: Option<Bytes>,
    /// Greater for what is said later: messages may overtake each other.
    #[n(7)]
    pub(super) stamp: u64,
}

/// A child of the sender's.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub(super) struct Candidate {
    #[n(0)]
    pub(super) node: NodeId,
    /// Its round-trip time from the sender, in milliseconds.
    #[n(1)]
    pub(super) delay: u32,
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Anycast {
    #[n(0)]
    pub(super) group: Key,
    #[n(1)]
    pub(super) number: u64,
    #[n(2)]
    pub(super) origin: NodeId,
    #[n(3)]
    pub(super) visited: Vec<NodeId>,
    /// Where to look next, the last first.
    #[n(4)]
    pub(super) ahead: Vec<NodeId>,
    #[n(5)]
    pub(super) data: Bytes,
}

/// What is asked of a root.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) enum Ask {
    #[n(0)]
    Create {
        #[n(0)]
        group: Key,
        #[n(1)]
        rules: Bytes,
        #[n(2)]
        credentials: Bytes,
    },
    #[n(1)]
    Publish {
        #[n(0)]
        group: Key,
        #[n(1)]
        number: u64,
        #[n(2)]
        credentials: Bytes,
        #[n(3)]
        data: Bytes,
    },
}

/// What a root keeps with the records of the group's key.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Record {
    #[n(0)]
    pub(super) creator: NodeId,
    #[n(1)]
    pub(super) rules: Bytes,
}

impl<C> Encode<C> for Sequence {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        (self.epoch, self.number).encode(e, ctx)
    }
}

impl<'a, C> Decode<'a, C> for Sequence {
    fn decode(d: &mut minicbor::Decoder<'a>, ctx: &mut C) -> Result<Sequence, minicbor::decode::Error> {
        let (epoch, number) = Decode::decode(d, ctx)?;
        Ok(Sequence { epoch, number })
    }
}

/// A message of a tree.
pub(super) enum Read {
    Control(Control),
    Data {
        group: Key,
        frame: Frame,
    },
    /// Nonsense on this channel.
    Nonsense,
}

pub(super) fn control(channel: u8, control: &Control) -> Vec<u8> {
    let mut payload = vec![channel, CONTROL];
    payload.append(&mut cbor::encode(control));
    payload
}

pub(super) fn data(channel: u8, group: Key, frame: &Frame) -> Vec<u8> {
    let mut payload = Vec::with_capacity(HEAD + frame.data.len());
    payload.extend([channel, DATA]);
    payload.extend(group.to_bytes());
    payload.extend(frame.sequence.epoch.to_be_bytes());
    payload.extend(frame.sequence.number.to_be_bytes());
    payload.extend(frame.publisher.to_bytes());
    payload.extend(frame.number.to_be_bytes());
    payload.extend(&frame.data);
    payload
}

/// Reads a message; none where it is on another channel.
pub(super) fn read(channel: u8, payload: &[u8]) -> Option<Read> {
    let (first, rest) = payload.split_first()?;
    if *first != channel {
        return None;
    }
    Some(match rest.split_first() {
        Some((&CONTROL, body)) => cbor::decode(body).map_or(Read::Nonsense, Read::Control),
        Some((&DATA, body)) => read_data(body).unwrap_or(Read::Nonsense),
        _ => Read::Nonsense,
    })
}

fn read_data(body: &[u8]) -> Option<Read> {
    let (group, rest) = body.split_first_chunk::<{ Id::LEN }>()?;
    let (epoch, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (publisher, rest) = rest.split_first_chunk::<{ Id::LEN }>()?;
    let (drawn, data) = rest.split_first_chunk::<8>()?;
    let sequence = Sequence { epoch: u64::from_be_bytes(*epoch), number: u64::from_be_bytes(*number) };
    let (publisher, number) = (Id::from_bytes(*publisher), u64::from_be_bytes(*drawn));
    Some(Read::Data {
        group: Id::from_bytes(*group),
        frame: Frame { sequence, publisher, number, data: data.to_vec() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node_id;

    #[test]
    fn a_frame_is_read_as_it_was_written_and_its_head_is_short() {
        let sequence = Sequence { epoch: 7, number: 3 };
        let frame = Frame { sequence, publisher: node_id("a"), number: 9, data: b"data".to_vec() };
        let payload = data(b'C', Id::hash(b"g"), &frame);
        assert_eq!(payload.len(), 66 + 4);
        let Some(Read::Data { group, frame: read }) = read(b'C', &payload) else { panic!("no frame") };
        assert_eq!((group, read), (Id::hash(b"g"), frame));
    }

    #[test]
    fn what_is_cut_short_or_on_another_channel_is_no_message() {
        let payload = control(b'C', &Control::Leave { group: Id::hash(b"g") });
        assert!(read(b'D', &payload).is_none());
        for end in 1..payload.len() {
            assert!(matches!(read(b'C', &payload[..end]), Some(Read::Nonsense)));
        }
        assert!(matches!(read(b'C', &[b'C', 1, 0, 0]), Some(Read::Nonsense)));
    }
}
