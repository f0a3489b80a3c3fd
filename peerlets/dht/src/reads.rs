//! Gets and lists, at the node responsible. Where its own copy may be out of date, it asks the other replicas first and
//! takes over what is newer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use prost_dht_api::Refusal;
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Failure, Key, NodeId};

use crate::dht::{Dht, PER_TICK, ticks};
use crate::host::Host;
use crate::message::{Answer, Direct, Found, encode};
use crate::record::{Meta, Record, Stamp};
use crate::store::{self, Page};

/// Most reads open at a time. A get keeps the newest record that it was given: together 30 MiB at most.
const MAX_OPEN: usize = 512;
/// After this long a read is answered with what is known.
const PATIENCE: u64 = ticks(1_000);

/// The reads that wait for other replicas, by ticket.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    open: BTreeMap<u64, Read>,
}

#[derive(Debug)]
struct Read {
    origin: NodeId,
    request: u64,
    key: Key,
    question: Question,
    /// What the other nodes are asked.
    payload: Vec<u8>,
    /// Nodes that have not answered yet, with the message to each.
    waiting: Vec<(NodeId, u64)>,
    /// Nodes to turn to where another refuses the application, nearest first.
    spares: VecDeque<NodeId>,
    answer_at: u64,
}

#[derive(Debug)]
enum Question {
    Record { name: Bytes, newest: Option<Record> },
    Names { max: u32, pages: Vec<Page> },
}

impl Reads {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The read that waits for an answer of this node; it waits no longer.
    fn answered(&mut self, ticket: u64, from: NodeId) -> Option<&mut Read> {
        let read = self.open.get_mut(&ticket)?;
        let at = read.waiting.iter().position(|(node, _)| *node == from)?;
        read.waiting.swap_remove(at);
        Some(read)
    }
}

impl Read {
    /// Asks that many more nodes.
    fn ask(&mut self, host: &mut dyn Host, nodes: u32) {
        for _ in 0..nodes {
            let Some(node) = self.spares.pop_front() else { return };
            if let Some(message) = host.send(node, &self.payload) {
                self.waiting.push((node, message));
            }
        }
    }
}

impl Dht {
    /// Reads a value as the node responsible for the key.
    pub(crate) fn start_get(&mut self, host: &mut dyn Host, origin: NodeId, request: u64, key: Key, name: Bytes) {
        let Ok(held) = store::meta(host, key, &name) else {
            return self.answer(host, origin, request, Err(Refusal::Storage));
        };
        if held.is_some_and(|meta| self.is_newest(host, key, &meta)) {
            return self.answer_get(host, origin, request, key, &name);
        }
        let than = held.map(|meta| meta.stamp);
        let ask = |ticket| Direct::Fetch { ticket, key, name: name.clone(), than };
        let question = Question::Record { name: name.clone(), newest: None };
        self.consult(host, origin, request, key, question, ask);
    }

    /// Reads a page of names as the node responsible for the key.
    #[expect(clippy::too_many_arguments, reason = "the parts of one operation, unpacked once")]
    pub(crate) fn start_list(
        &mut self,
        host: &mut dyn Host,
        origin: NodeId,
        request: u64,
        key: Key,
        prefix: Bytes,
        after: Option<Bytes>,
        max: u32,
    ) {
        let Ok(page) = store::page(host, key, &prefix, after.as_deref(), max) else {
            return self.answer(host, origin, request, Err(Refusal::Storage));
        };
        let question = Question::Names { max, pages: vec![page] };
        if self.settling.since(key, host.now_ms()).is_none() {
            return self.answer_question(host, origin, request, key, question);
        }
        let ask = |ticket| Direct::FetchNames { ticket, key, prefix: prefix.clone(), after: after.clone(), max };
        self.consult(host, origin, request, key, question, ask);
    }

    /// Another node asks for what is newer than what it has.
    pub(crate) fn on_fetch(
        &mut self,
        host: &mut dyn Host,
        from: NodeId,
        ticket: u64,
        key: Key,
        name: &[u8],
        than: Option<Stamp>,
    ) {
        let record = store::record(host, key, name, than).unwrap_or_default();
        host.send(from, &encode(&Direct::Fetched { ticket, record }));
    }

    /// A replica has answered. None where what it says makes no sense.
    pub(crate) fn on_fetched(
        &mut self,
        host: &mut dyn Host,
        from: NodeId,
        ticket: u64,
        record: Option<Record>,
    ) -> Option<()> {
        let Some(read) = self.reads.answered(ticket, from) else { return Some(()) };
        let plausible = record.as_ref().is_none_or(|record| record.is_plausible(host.now_ms()));
        if let (Question::Record { newest, .. }, Some(record), true) = (&mut read.question, record, plausible)
            && newest.as_ref().is_none_or(|known| known.meta.stamp < record.meta.stamp)
        {
            *newest = Some(record);
        }
        self.finish_read_if_done(host, ticket);
        plausible.then_some(())
    }

    /// Another node asks for names.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    pub(crate) fn on_fetch_names(
        &mut self,
        host: &mut dyn Host,
        from: NodeId,
        ticket: u64,
        key: Key,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: u32,
    ) {
        let page = store::page(host, key, prefix, after, max).unwrap_or(Page { names: Vec::new(), next: None });
        host.send(from, &encode(&Direct::FetchedNames { ticket, page }));
    }

    /// A replica has named what it holds.
    pub(crate) fn on_fetched_names(&mut self, host: &mut dyn Host, from: NodeId, ticket: u64, page: Page) {
        let Some(read) = self.reads.answered(ticket, from) else { return };
        if let Question::Names { pages, .. } = &mut read.question {
            pages.push(page);
        }
        self.finish_read_if_done(host, ticket);
    }

    /// The replica that the failed message was for, where it was one of a read's.
    pub(crate) fn read_failed(&mut self, host: &mut dyn Host, message: u64, reason: Failure) -> Option<NodeId> {
        let (ticket, node) = self.reads.open.iter().find_map(|(ticket, read)| {
            let (node, _) = read.waiting.iter().find(|(_, sent)| *sent == message)?;
            Some((*ticket, *node))
        })?;
        let read = self.reads.answered(ticket, node)?;
        if reason == Failure::NoWillingNode {
            read.ask(host, 1);
        }
        self.finish_read_if_done(host, ticket);
        Some(node)
    }

    /// Answers what has waited long enough.
    pub(crate) fn tick_reads(&mut self, host: &mut dyn Host) {
        let now = self.tick;
        let due = self.reads.open.iter().filter(|(_, read)| now >= read.answer_at);
        let due: Vec<u64> = due.map(|(ticket, _)| *ticket).take(PER_TICK).collect();
        for ticket in due {
            self.finish_read(host, ticket);
        }
    }

    /// Whether no other node can have a newer record: this one has been responsible for long, or wrote it since it is.
    fn is_newest(&self, host: &dyn Host, key: Key, meta: &Meta) -> bool {
        let since = self.settling.since(key, host.now_ms());
        since.is_none_or(|since| meta.stamp.writer == host.myself() && meta.stamp.version >= since)
    }

    fn consult(
        &mut self,
        host: &mut dyn Host,
        origin: NodeId,
        request: u64,
        key: Key,
        question: Question,
        ask: impl Fn(u64) -> Direct,
    ) {
        if self.reads.open.len() >= MAX_OPEN {
            return self.answer(host, origin, request, Err(Refusal::Busy));
        }
        let ticket = self.next_ticket();
        let payload = encode(&ask(ticket));
        let (waiting, spares) = (Vec::new(), self.others(host, key));
        let answer_at = self.tick + PATIENCE;
        let mut read = Read { origin, request, key, question, payload, waiting, spares, answer_at };
        read.ask(host, self.settings.replicas - 1);
        self.reads.open.insert(ticket, read);
        self.finish_read_if_done(host, ticket);
    }

    fn finish_read_if_done(&mut self, host: &mut dyn Host, ticket: u64) {
        if self.reads.open.get(&ticket).is_some_and(|read| read.waiting.is_empty()) {
            self.finish_read(host, ticket);
        }
    }

    fn finish_read(&mut self, host: &mut dyn Host, ticket: u64) {
        if let Some(read) = self.reads.open.remove(&ticket) {
            self.answer_question(host, read.origin, read.request, read.key, read.question);
        }
    }

    fn answer_question(&mut self, host: &mut dyn Host, origin: NodeId, request: u64, key: Key, question: Question) {
        match question {
            Question::Record { name, newest: None } => self.answer_get(host, origin, request, key, &name),
            Question::Record { name, newest: Some(record) } => {
                // Where this node cannot hold it, the copies elsewhere still can be read.
                if store::adopt(host, key, &name, &record).is_ok() {
                    return self.answer_get(host, origin, request, key, &name);
                }
                let found = found(host, record);
                self.answer(host, origin, request, Ok(Answer::Found { found }));
            }
            Question::Names { max, pages } => {
                let (names, next) = merge(pages, host.now_ms(), max);
                self.answer(host, origin, request, Ok(Answer::Listed { names, next }));
            }
        }
    }

    fn answer_get(&mut self, host: &mut dyn Host, origin: NodeId, request: u64, key: Key, name: &[u8]) {
        let outcome = match store::record(host, key, name, None) {
            Ok(record) => Ok(Answer::Found { found: record.and_then(|record| found(host, record)) }),
            Err(_) => Err(Refusal::Storage),
        };
        self.answer(host, origin, request, outcome);
    }
}

fn found(host: &dyn Host, record: Record) -> Option<Found> {
    let now = host.now_ms();
    record.meta.is_readable(now).then(|| Found {
        version: record.meta.stamp.version,
        expires_in: record.meta.expires_in(now),
        from: host.myself(),
        value: record.value,
    })
}

/// One page from those of several nodes, and where the next starts. Where nodes differ about a name, the newest record decides whether it is there.
fn merge(pages: Vec<Page>, now_ms: u64, max: u32) -> (Vec<Bytes>, Option<Bytes>) {
    // A page that is not the last says nothing about names after its end.
    let mut end = pages.iter().filter_map(|page| page.next.clone()).min();
    let mut newest: BTreeMap<Bytes, Meta> = BTreeMap::new();
    for (name, meta) in pages.into_iter().flat_map(|page| page.names) {
        if end.as_ref().is_some_and(|end| name > *end) {
            continue;
        }
        let known = newest.entry(name).or_insert(meta);
        if known.stamp < meta.stamp {
            *known = meta;
        }
    }
    let readable = newest.into_iter().filter(|(_, meta)| meta.is_readable(now_ms));
    let mut names: BTreeSet<Bytes> = readable.map(|(name, _)| name).collect();
    while names.len() > max as usize {
        names.pop_last();
        end = names.last().cloned();
    }
    (names.into_iter().collect(), end)
}

#[cfg(test)]
mod tests {
    use prost_peerlet::Id;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn page(names: &[(&str, u64, bool)], next: Option<&str>) -> Page {
        let entry = |(name, version, live): &(&str, u64, bool)| {
            let stamp = Stamp { version: *version, writer: Id::ZERO };
            (Bytes::from(name.as_bytes()), Meta { stamp, live: *live, expires_at: None })
        };
        Page { names: names.iter().map(entry).collect(), next: next.map(Bytes::from) }
    }

    fn names(listed: &[Bytes]) -> Vec<&str> {
        listed.iter().map(|name| core::str::from_utf8(name).expect("names here are text")).collect()
    }

    #[test]
    fn the_newest_record_decides_whether_a_name_is_there() {
        let pages = vec![page(&[("a", 1, true), ("b", 1, true)], None), page(&[("b", 2, false), ("c", 1, true)], None)];

        let (listed, next) = merge(pages, NOW, 10);

        assert_eq!(names(&listed), ["a", "c"]);
        assert_eq!(next, None);
    }

    #[test]
    fn nothing_is_said_beyond_the_shortest_unfinished_page() {
        let pages = vec![page(&[("a", 1, true), ("d", 1, true)], Some("d")), page(&[("b", 1, true)], Some("b"))];

        let (listed, next) = merge(pages, NOW, 10);

        assert_eq!(names(&listed), ["a", "b"]);
        assert_eq!(next, Some(Bytes::from("b")));
    }

    #[test]
    fn a_merged_page_is_no_longer_than_asked_and_goes_on_where_it_ends() {
        let pages = vec![page(&[("a", 1, true), ("c", 1, true)], None), page(&[("b", 1, true)], None)];

        let (listed, next) = merge(pages, NOW, 2);

        assert_eq!(names(&listed), ["a", "b"]);
        assert_eq!(next, Some(Bytes::from("b")));
    }
}
