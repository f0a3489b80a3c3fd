//! What the instances on different nodes say to each other.

use minicbor::{Decode, Encode};
use prost_dht_api::{MAX_LIST, MAX_NAME, MAX_VALUE};
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Key, NodeId, cbor};

use crate::record::{Record, Stamp};
use crate::store::Page;

/// First byte of every message. A node that finds another one does not understand it.
const FORMAT: u8 = 1;
/// Most entries of an [`Direct::Offer`] or a [`Direct::Want`].
pub(crate) const MAX_ENTRIES: usize = 64;

/// An operation, routed to the node responsible for its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Operation {
    /// The origin's number for it, the same for every attempt; goes into the answer.
    #[n(0)]
    pub(crate) request: u64,
    #[n(1)]
    pub(crate) action: Action,
}

/// What to do at a key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Action {
    #[n(0)]
    Put {
        #[n(0)]
        name: Bytes,
        #[n(1)]
        value: Bytes,
        #[n(2)]
        expires_in: Option<u64>,
    },
    #[n(1)]
    Remove {
        #[n(0)]
        name: Bytes,
    },
    #[n(2)]
    Get {
        #[n(0)]
        name: Bytes,
    },
    #[n(3)]
    List {
        #[n(0)]
        prefix: Bytes,
        #[n(1)]
        after: Option<Bytes>,
        #[n(2)]
        max: u32,
    },
}

impl Action {
    /// What is wrong with it, if anything is.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let name_is_long = |name: &Bytes| name.len() > MAX_NAME;
        match self {
            Action::Put { name, .. } | Action::Remove { name } | Action::Get { name } if name_is_long(name) => {
                Some("the name is too long")
            }
            Action::Put { value, .. } if value.len() > MAX_VALUE => Some("the value is too long"),
            Action::Put { expires_in: Some(seconds), .. } if !(1..=prost_dht_api::MAX_EXPIRES_IN).contains(seconds) => {
                Some("expires_in is out of range")
            }
            Action::List { prefix, after, .. } if name_is_long(prefix) || after.as_ref().is_some_and(name_is_long) => {
                Some("the name is too long")
            }
            Action::List { max, .. } if !(1..=MAX_LIST).contains(max) => Some("max is out of range"),
            Action::Put { .. } | Action::Remove { .. } | Action::Get { .. } | Action::List { .. } => None,
        }
    }
}

/// What one node says straight to another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Direct {
    /// The outcome of an [`Operation`], to its origin.
    #[n(0)]
    Answer {
        #[n(0)]
        request: u64,
        #[n(1)]
        outcome: Result<Answer, String>,
    },
    /// Hold this. Answered by [`Direct::Replicated`] unless the ticket is zero.
    #[n(1)]
    Replicate {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        key: Key,
        #[n(2)]
        name: Bytes,
        #[n(3)]
        record: Record,
    },
    /// The newest stamp that the sender now knows of; none where it could not store.
    #[n(2)]
    Replicated {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        newest: Option<Stamp>,
    },
    /// Is there anything newer? Answered by [`Direct::Fetched`].
    #[n(3)]
    Fetch {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        key: Key,
        #[n(2)]
        name: Bytes,
        #[n(3)]
        than: Option<Stamp>,
    },
    /// What is newer.
    #[n(4)]
    Fetched {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        record: Option<Record>,
    },
    /// Which names are there? Answered by [`Direct::FetchedNames`].
    #[n(5)]
    FetchNames {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        key: Key,
        #[n(2)]
        prefix: Bytes,
        #[n(3)]
        after: Option<Bytes>,
        #[n(4)]
        max: u32,
    },
    /// These names, in order.
    #[n(6)]
    FetchedNames {
        #[n(0)]
        ticket: u64,
        #[n(1)]
        page: Page,
    },
    /// The sender holds these. Answered by [`Direct::Want`] where the receiver lacks some.
    #[n(7)]
    Offer {
        #[n(0)]
        entries: Vec<Entry>,
    },
    /// Send these.
    #[n(8)]
    Want {
        #[n(0)]
        entries: Vec<(Key, Bytes)>,
    },
}

/// A record as an offer names it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Entry {
    #[n(0)]
    pub(crate) key: Key,
    #[n(1)]
    pub(crate) name: Bytes,
    #[n(2)]
    pub(crate) stamp: Stamp,
}

/// How an operation ended well.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Answer {
    #[n(0)]
    Stored {
        #[n(0)]
        version: u64,
        #[n(1)]
        replicas: u32,
    },
    #[n(1)]
    Found {
        #[n(0)]
        found: Option<Found>,
    },
    #[n(2)]
    Listed {
        #[n(0)]
        names: Vec<Bytes>,
        #[n(1)]
        next: Option<Bytes>,
    },
}

/// A value, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Found {
    #[n(0)]
    pub(crate) value: Bytes,
    #[n(1)]
    pub(crate) version: u64,
    /// In seconds.
    #[n(2)]
    pub(crate) expires_in: Option<u64>,
    #[n(3)]
    pub(crate) from: NodeId,
}

/// Encodes a message.
pub(crate) fn encode<T: Encode<()>>(message: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(cbor::encode(message));
    bytes
}

/// Decodes an operation of which all bounds hold.
pub(crate) fn decode_operation(bytes: &[u8]) -> Option<Operation> {
    decode(bytes).filter(|operation: &Operation| operation.action.fault().is_none())
}

/// Decodes a direct message of which all bounds hold.
pub(crate) fn decode_direct(bytes: &[u8]) -> Option<Direct> {
    decode(bytes).filter(is_bounded)
}

fn decode<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Option<T> {
    let (format, body) = bytes.split_first()?;
    if *format == FORMAT { cbor::decode(body).ok() } else { None }
}

fn is_bounded(message: &Direct) -> bool {
    let short = |name: &Bytes| name.len() <= MAX_NAME;
    match message {
        Direct::Answer { .. } | Direct::Replicated { .. } | Direct::Fetched { .. } => true,
        Direct::Replicate { name, .. } | Direct::Fetch { name, .. } => short(name),
        Direct::FetchNames { prefix, after, max, .. } => {
            short(prefix) && after.as_ref().is_none_or(short) && *max <= MAX_LIST
        }
        Direct::FetchedNames { page, .. } => {
            page.names.len() <= MAX_LIST as usize
                && page.names.iter().all(|(name, _)| short(name))
                && page.next.as_ref().is_none_or(short)
        }
        Direct::Offer { entries } => entries.len() <= MAX_ENTRIES && entries.iter().all(|entry| short(&entry.name)),
        Direct::Want { entries } => entries.len() <= MAX_ENTRIES && entries.iter().all(|(_, name)| short(name)),
    }
}

#[cfg(test)]
mod tests {
    use prost_peerlet::Id;

    use super::*;
    use crate::record::Meta;

    fn offer(entries: usize) -> Direct {
        let stamp = Stamp { version: 7, writer: Id::hash(b"writer") };
        Direct::Offer { entries: vec![Entry { key: Id::hash(b"key"), name: Bytes::from("name"), stamp }; entries] }
    }

    #[test]
    fn messages_read_back() {
        let operation = Operation {
            request: 3,
            action: Action::Put { name: Bytes::from("n"), value: Bytes::from(vec![1; 5]), expires_in: Some(9) },
        };
        let answer = Direct::Answer { request: 3, outcome: Err("busy".to_owned()) };

        assert_eq!(decode_operation(&encode(&operation)), Some(operation));
        assert_eq!(decode_direct(&encode(&answer)), Some(answer));
        assert_eq!(decode_direct(&encode(&offer(MAX_ENTRIES))), Some(offer(MAX_ENTRIES)));
    }

    #[test]
    fn what_is_cut_short_foreign_or_over_a_bound_is_no_message() {
        let whole = encode(&offer(2));

        for end in 0..whole.len() {
            assert_eq!(decode_direct(&whole[..end]), None);
        }
        assert_eq!(decode_direct(&[&[FORMAT + 1], &whole[1..]].concat()), None);
        assert_eq!(decode_direct(&encode(&offer(MAX_ENTRIES + 1))), None);
        let long = Action::Get { name: Bytes::from(vec![0; MAX_NAME + 1]) };
        assert_eq!(decode_operation(&encode(&Operation { request: 1, action: long })), None);
    }

    #[test]
    fn the_largest_messages_fit_in_a_payload() {
        const PAYLOAD: usize = 128 << 10;
        let stamp = Stamp { version: u64::MAX, writer: Id::hash(b"writer") };
        let meta = Meta { stamp, live: true, expires_at: Some(u64::MAX) };
        let name = Bytes::from(vec![0xff; MAX_NAME]);
        let record = Record { meta, value: Bytes::from(vec![0xff; MAX_VALUE]) };
        let replicate = Direct::Replicate { ticket: u64::MAX, key: stamp.writer, name: name.clone(), record };
        let page = Page { names: vec![(name.clone(), meta); MAX_LIST as usize], next: Some(name.clone()) };
        let names = Direct::FetchedNames { ticket: u64::MAX, page };
        let offer = Direct::Offer { entries: vec![Entry { key: stamp.writer, name, stamp }; MAX_ENTRIES] };

        for message in [replicate, names, offer] {
            assert!(encode(&message).len() < PAYLOAD);
        }
    }
}
