//! Who may do what, and how anybody can tell: statements signed with nodes' keys.
//!
//! A group's key is the hash of its creator and its name, so that nobody else can create it. The creator signs the rules; who
//! joins a group that is not for everyone signs that it wants to; who publishes signs what it says. A secret that all
//! members share would let each of them speak for any other, and those who pass a message on would have to have it as well.

use minicbor::{Decode, Encode};
use prost_peerlet::cbor::{self, Bytes};
use prost_peerlet::identity::{self, Signature};
use prost_peerlet::soft_state::Recent;
use prost_peerlet::{Id, Key, NodeId, time};
use prost_scribe_api::{Access, MAX_NAME, MAX_NODES};

/// How long a node's wish to join is believed, in milliseconds: an hour. Clocks may differ by as much.
const JOIN: u64 = 3_600_000;
/// How old a message may be, or how far from the future, in milliseconds: ten minutes. Later it may be a repetition that
/// nobody remembers.
const MESSAGE: u64 = 600_000;
/// Signatures over rules that were found to be good.
const CHECKED: usize = 64;

/// The key of a group: the SHA-1 of its creator and its name (JSAC 2002, section III-A).
pub fn key(name: &str, creator: NodeId) -> Key {
    Id::hash(&[creator.to_bytes().as_slice(), name.as_bytes()].concat())
}

/// What a creator has signed.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Rules {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) creator: NodeId,
    #[n(2)]
    pub(crate) join: Access,
    #[n(3)]
    pub(crate) publish: Access,
    /// When they were signed, on the creator's clock: earlier ones count no more.
    #[n(4)]
    pub(crate) time: u64,
}

impl Rules {
    pub(crate) fn is_proper(&self) -> bool {
        let fits = |access: &Access| matches!(access, Access::Anyone) || named(access).len() <= MAX_NODES;
        self.name.len() <= MAX_NAME && fits(&self.join) && fits(&self.publish)
    }

    pub(crate) fn key(&self) -> Key {
        key(&self.name, self.creator)
    }

    fn allows(&self, access: &Access, node: NodeId) -> bool {
        node == self.creator || matches!(access, Access::Anyone) || named(access).contains(&node)
    }

    /// Whether a node may publish; that it was that node is for the signature to say.
    pub(crate) fn may_publish(&self, node: NodeId) -> bool {
        self.allows(&self.publish, node)
    }

    /// Whether a node may join with these credentials.
    pub(crate) fn may_join(&self, member: NodeId, credentials: &[u8]) -> bool {
        matches!(self.join, Access::Anyone)
            || self.allows(&self.join, member)
                && cbor::decode::<Wish>(credentials).is_ok_and(|wish| wish.is_good(self.key(), member))
    }
}

fn named(access: &Access) -> &[NodeId] {
    match access {
        Access::Anyone => &[],
        Access::Only(nodes) => nodes,
    }
}

/// A statement and its signature.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Signed {
    #[n(0)]
    statement: Bytes,
    #[n(1)]
    public_key: Bytes,
    #[n(2)]
    bytes: Bytes,
}

impl Signed {
    fn new(purpose: &str, statement: Vec<u8>) -> Signed {
        let Signature { public_key, bytes } = identity::sign(&worded(purpose, &statement));
        Signed { statement: Bytes(statement), public_key: Bytes(public_key), bytes: Bytes(bytes) }
    }

    fn is_by(&self, purpose: &str, signer: NodeId) -> bool {
        let signature = Signature { public_key: self.public_key.0.clone(), bytes: self.bytes.0.clone() };
        identity::verify(signer, &worded(purpose, &self.statement), &signature)
    }
}

/// No statement of one kind is one of another.
fn worded(purpose: &str, statement: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), &[0], statement].concat()
}

/// Rules as they are stored and sent.
pub(crate) fn sign_rules(rules: &Rules) -> Vec<u8> {
    cbor::encode(&Signed::new("rules", cbor::encode(rules)))
}

/// Reads rules and believes them where their creator has signed them; remembers whom it believed.
#[derive(Debug)]
pub(crate) struct Checker {
    checked: Recent<Id>,
}

impl Default for Checker {
    fn default() -> Checker {
        Checker { checked: Recent::new(CHECKED) }
    }
}

impl Checker {
    pub(crate) fn rules(&mut self, group: Key, signed: &[u8]) -> Option<Rules> {
        let read: Signed = cbor::decode(signed).ok()?;
        let rules: Rules = cbor::decode(&read.statement).ok()?;
        if !rules.is_proper() || rules.key() != group {
            return None;
        }
        let digest = Id::hash(signed);
        if !self.checked.contains(&digest) {
            if !read.is_by("rules", rules.creator) {
                return None;
            }
            self.checked.insert(digest, ());
        }
        Some(rules)
    }
}

/// A node wants to be a member.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Wish {
    #[n(0)]
    signed: Signed,
}

impl Wish {
    fn is_good(&self, group: Key, member: NodeId) -> bool {
        let Ok((of, at)) = cbor::decode::<(Key, u64)>(&self.signed.statement) else { return false };
        of == group && at.abs_diff(time::wall_ms()) < 2 * JOIN && self.signed.is_by("join", member)
    }
}

/// A node's wish to be a member, believed for at least an hour.
pub(crate) fn sign_wish(group: Key) -> Vec<u8> {
    let signed = Signed::new("join", cbor::encode(&(group, time::wall_ms())));
    cbor::encode(&Wish { signed })
}

/// What a publisher says.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Words {
    #[n(0)]
    group: Key,
    /// On its clock.
    #[n(1)]
    pub(crate) time: u64,
    /// Drawn at random, to know a repetition.
    #[n(2)]
    pub(crate) number: u64,
    #[n(3)]
    pub(crate) data: Bytes,
}

pub(crate) fn sign_words(group: Key, number: u64, data: Bytes) -> Vec<u8> {
    let words = Words { group, time: time::wall_ms(), number, data };
    cbor::encode(&Signed::new("publish", cbor::encode(&words)))
}

/// Reads what a publisher says, and believes it where it has signed it a short while ago.
pub(crate) fn read_words(group: Key, publisher: NodeId, data: &[u8]) -> Option<Words> {
    let signed: Signed = cbor::decode(data).ok()?;
    let words: Words = cbor::decode(&signed.statement).ok()?;
    let is_fresh = words.time.abs_diff(time::wall_ms()) < MESSAGE;
    (words.group == group && is_fresh && signed.is_by("publish", publisher)).then_some(words)
}
