//! Read repair: a copy that has answered a reader is compared with the one responsible, and the older is replaced.
//!
//! The nodes compare copies themselves, a range a minute. What is read often is not left to wait for that. A record that
//! one side lacks is left to them, as they know which was deleted.

use core::time::Duration;

use super::record::Record;
use super::wire::{Ask, Said};
use super::{Pending, Values};
use crate::cbor::{self, Bytes};
use crate::questions::Target;
use crate::storage::{self, Place, StorageError};
use crate::{Key, route};

/// A copy is compared once in this time, however often it is read.
const EACH: Duration = Duration::from_secs(60);

impl<A> Values<A> {
    /// Has the copy here compared, unless it was lately, or this node is the one responsible.
    pub(super) fn check(&mut self, key: Key, name: Vec<u8>, version: u64) {
        if route::replica_set(key, 1).nodes.first() == Some(&route::myself())
            || self.checked.contains(&(key, name.clone()))
        {
            return;
        }
        if self.checked.insert((key, name.clone()), (), EACH).is_ok() {
            let ask = cbor::encode(&Ask::Check { name: Bytes(name.clone()), version });
            // Where too much is under way, the nodes' own comparison has to do.
            let _ = self.questions.ask(Target::Key(key), &ask, Pending::Check(key, name));
        }
    }

    /// The one responsible has an older value: it gets this one.
    pub(super) fn restore(&mut self, key: Key, name: &[u8]) {
        if let Ok(Some(record)) = storage::get(Place::At(key), name) {
            let ask = Ask::Restore { name: name.into(), record: Bytes(record) };
            let _ = self.questions.ask(Target::Key(key), &cbor::encode(&ask), Pending::Restore);
        }
    }
}

/// A replica has this version. Where the value here is newer, writing it once more brings it to all replicas.
pub(super) fn check(key: Key, name: &[u8], version: u64) -> Result<Said, StorageError> {
    let stored = storage::get(Place::At(key), name)?;
    match stored.as_deref().and_then(Record::read) {
        Some(record) if record.version < version => return Ok(Said::Older),
        Some(record) if record.version > version => write(key, name, &record)?,
        Some(_) | None => {}
    }
    Ok(Said::Answer { answer: super::Answer::Found { found: None } })
}

/// A replica has this record, of a value that was older here.
pub(super) fn restore(key: Key, name: &[u8], bytes: &[u8]) -> Result<Said, StorageError> {
    let stored = storage::get(Place::At(key), name)?;
    let here = stored.as_deref().and_then(Record::read);
    if let (Some(here), Some(newer)) = (here, Record::read(bytes))
        && newer.version > here.version
    {
        write(key, name, &newer)?;
    }
    Ok(Said::Answer { answer: super::Answer::Found { found: None } })
}

fn write(key: Key, name: &[u8], record: &Record<'_>) -> Result<(), StorageError> {
    match record.expires_in() {
        Some(0) => Ok(()),
        left => storage::put(Place::At(key), name, &record.write(), left.map(Duration::from_secs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht::Operation;
    use crate::testing::{Effect, Node, node_id};
    use crate::{Dispatch, Id, Message, NodeId, Peerlet, Verdict};

    struct Store(Values<()>);

    impl Default for Store {
        fn default() -> Store {
            Store(Values::new(1, 8, 3))
        }
    }

    impl Peerlet for Store {
        fn deliver(&mut self, message: Message) -> crate::Result {
            self.0.deliver(&message).map(drop)
        }

        fn forward(&mut self, message: Message, _: NodeId) -> Verdict {
            self.0.forward(&message)
        }
    }

    const KEY: Id = Id { high: 1, middle: 0, low: 0 };

    /// The node responsible and a replica, each with a value of a version of its own.
    fn nodes(owner: u64, replica: u64) -> [Node<Store>; 2] {
        let mut names = ["a", "b"];
        names.sort_by_key(|name| KEY.distance_to(node_id(name)));
        let mut nodes = names.map(Node::<Store>::new);
        for (node, (version, other)) in nodes.iter_mut().zip([(owner, names[1]), (replica, names[0])]) {
            node.state.others = [node_id(other)].into();
            let value = version.to_string();
            let record = Record { version, expires_at: None, writer: version, value: value.as_bytes() };
            node.act(|_| write(KEY, b"n", &record)).expect("written");
        }
        nodes
    }

    fn value(node: &mut Node<Store>) -> Vec<u8> {
        let stored = node.act(|_| storage::get(Place::At(KEY), b"n")).expect("readable").expect("there");
        Record::read(&stored).expect("a record").value.to_vec()
    }

    /// Takes the messages of each node to the other until there are none; how many there were.
    fn talk(nodes: &mut [Node<Store>; 2]) -> usize {
        let ids = [nodes[0].state.id, nodes[1].state.id];
        let mut messages = 0;
        loop {
            let before = messages;
            for from in [1, 0] {
                for effect in nodes[from].effects() {
                    if let Effect::Route { key, payload, .. } = effect
                        && key != node_id("reader")
                    {
                        nodes[1 - from].deliver_routed(key, ids[from], &payload).expect("handled");
                        messages += 1;
                    }
                }
            }
            if messages == before {
                return messages;
            }
        }
    }

    fn read(replica: &mut Node<Store>) -> Verdict {
        let operation = Operation::Get { name: b"n"[..].into(), nearest: true };
        let body = cbor::encode(&Ask::Operation { operation });
        let payload = [&[1, 0][..], &7_u64.to_be_bytes(), &body].concat();
        let message = Message { dispatch: Dispatch::PerHop, ..replica.message(node_id("reader"), Some(KEY), &payload) };
        replica.forward(message, node_id("next"))
    }

    #[test]
    fn a_copy_that_is_older_than_the_one_responsible_has_it_written_once_more() {
        let mut nodes = nodes(2, 1);
        assert_eq!(read(&mut nodes[1]), Verdict::Stop);
        let before = nodes[0].state.writes;
        assert_eq!(talk(&mut nodes), 2);
        assert_eq!(nodes[0].state.writes, before + 1, "which brings it to the replicas");
    }

    #[test]
    fn a_copy_that_is_newer_takes_the_place_of_the_one_responsible() {
        let mut nodes = nodes(1, 2);
        read(&mut nodes[1]);
        assert_eq!(talk(&mut nodes), 4);
        assert_eq!(value(&mut nodes[0]), b"2");
    }

    #[test]
    fn copies_that_are_alike_cost_a_question_a_minute_and_no_write() {
        let mut nodes = nodes(1, 1);
        read(&mut nodes[1]);
        let before = nodes[0].state.writes;
        assert_eq!((talk(&mut nodes), nodes[0].state.writes), (2, before));
        read(&mut nodes[1]);
        assert_eq!(talk(&mut nodes), 0);
        nodes[1].run(EACH);
        read(&mut nodes[1]);
        assert_eq!(talk(&mut nodes), 2);
    }

    #[test]
    fn what_is_gone_on_the_node_responsible_is_not_brought_back() {
        let mut nodes = nodes(1, 2);
        nodes[0].act(|_| storage::delete(Place::At(KEY), b"n")).expect("deleted");
        read(&mut nodes[1]);
        talk(&mut nodes);
        assert_eq!(nodes[0].records(), 0);
    }
}
