//! What nodes say to each other besides what the tree does: what is missing, and here it is.

use minicbor::{Decode, Encode};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::{Key, NodeId, route};

/// The first byte of these messages. The tree's have the two after it.
pub(crate) const CHANNEL: u8 = b'V';

/// Segments that are asked for, or given, in one go.
pub(crate) const GO: usize = 16;

/// A message straight to one node.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Repair {
    /// These I have not got.
    #[n(0)]
    Want {
        #[n(0)]
        channel: Key,
        /// The stream that the asker knows; zero for none.
        #[n(1)]
        stream: u64,
        /// At most [`GO`].
        #[n(2)]
        numbers: Vec<u64>,
        /// All from here on too, and for a moment those that come; of another stream, or where it is `u64::MAX`, the last
        /// `rewind` there are.
        #[n(3)]
        from: Option<u64>,
        #[n(4)]
        rewind: u32,
    },
    /// Here is one.
    #[n(1)]
    Give {
        #[n(0)]
        channel: Key,
        /// A [`Signed`](crate::segment::Signed), as CBOR.
        #[n(1)]
        segment: Bytes,
    },
    /// The source has not got them, and so nobody will.
    #[n(2)]
    Gone {
        #[n(0)]
        channel: Key,
        #[n(1)]
        stream: u64,
        #[n(2)]
        numbers: Vec<u64>,
    },
}

impl Repair {
    /// What cannot be sent is as good as lost: it is asked for again.
    pub(crate) fn send(&self, to: NodeId) {
        let mut payload = vec![CHANNEL];
        payload.extend(cbor::encode(self));
        let _ = route::send(to, &payload);
    }

    pub(crate) fn read(payload: &[u8]) -> Option<Repair> {
        let (first, body) = payload.split_first()?;
        if *first != CHANNEL {
            return None;
        }
        cbor::decode(body).ok().filter(|repair| match repair {
            Repair::Want { numbers, .. } | Repair::Gone { numbers, .. } => numbers.len() <= GO,
            Repair::Give { .. } => true,
        })
    }
}
