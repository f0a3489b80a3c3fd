//! Nodes that answer with other bytes than the block's.

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;

use cfs::{Answer, Cfs, LookupMessage, Say};
use prost_cfs_api::{Caching, GET, Kind, PUT};
use prost_package::manifest::Acknowledgement;
use prost_peerlet::cbor::Bytes;
use prost_peerlet::{Change, Failure, Message, NodeId, Peerlet, Request, Result, Start, Verdict, route};
use prost_peerlet_ring::{Ring, Setup};
use support::*;

static LIARS: Mutex<BTreeSet<NodeId>> = Mutex::new(BTreeSet::new());

/// The application, but on a node that lies each question which comes to it is answered at once, and wrongly.
#[derive(Default)]
struct Node(Cfs);

impl Node {
    /// Whether it was a question, and has been answered.
    fn lied(message: &Message) -> bool {
        let me = route::myself();
        let Some(LookupMessage::Lookup(lookup)) = LookupMessage::decode(&message.payload) else { return false };
        if lookup.asker == me || !LIARS.lock().expect("nobody panics").contains(&me) {
            return false;
        }
        let say = Say::Found { bytes: Bytes::from("something else"), expires_at: u64::MAX, cached: false };
        let answer = Answer {
            number: lookup.number,
            asker: lookup.asker,
            id: lookup.id,
            caching: lookup.caching,
            path: Vec::new(),
            server: me,
            contacts: 1,
            say,
        };
        route::route(lookup.asker, &LookupMessage::Answer(answer).encode()).is_ok()
    }
}

impl Peerlet for Node {
    fn init(&mut self, start: Start) -> Result {
        self.0.init(start)
    }

    fn deliver(&mut self, message: Message) -> Result {
        if Node::lied(&message) { Ok(()) } else { self.0.deliver(message) }
    }

    fn forward(&mut self, message: Message, next: NodeId) -> Verdict {
        if Node::lied(&message) { Verdict::Stop } else { self.0.forward(message, next) }
    }

    fn update(&mut self, change: Change) {
        self.0.update(change);
    }

    fn fired(&mut self, timer: u64, tag: u64) {
        self.0.fired(timer, tag);
    }

    fn serve(&mut self, request: Request) -> Result {
        self.0.serve(request)
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        self.0.failed(message, reason);
    }
}

#[test]
fn a_replica_that_lies_is_found_out_and_another_is_asked() {
    let setup = Setup { nodes: 24, seed: 5, acknowledgement: Acknowledgement::All, ..Setup::new("cfs") };
    let mut ring = Ring::<Node>::grow(setup);
    for number in 0..24 {
        let node = ring.any();
        ring.ask(node, PUT, &put_body(Kind::Content, &block(number), HOUR)).expect("stored");
    }
    let mut rejected = 0;
    for number in 0..24 {
        // Of the three replicas, one tells the truth.
        let replicas = ring.replicas(key(&id(number)), 3);
        let honest = (number % 3) as usize;
        let liars = replicas.iter().enumerate().filter(|(rank, _)| *rank != honest).map(|(_, node)| ring.id(*node));
        *LIARS.lock().expect("nobody panics") = liars.collect();
        let asker = ring.members().into_iter().find(|node| !replicas.contains(node)).expect("others");
        let before = ring.peek(asker, |node| node.0.rejected()).expect("it runs");
        let answer = ring.ask(asker, GET, &get_body(Kind::Content, id(number), Caching::Path));
        let answer = answer.unwrap_or_else(|error| panic!("block {number}: {error}"));
        assert!(found(Kind::Content, &id(number), &answer).is_some());
        rejected += ring.peek(asker, |node| node.0.rejected()).expect("it runs") - before;
    }
    assert!(rejected > 10, "hardly anybody lied: {rejected}");
}
