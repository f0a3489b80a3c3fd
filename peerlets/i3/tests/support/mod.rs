//! What programs do, on a ring in virtual time.

#![allow(dead_code, reason = "each test uses some of it")]

use core::time::Duration;
use std::collections::BTreeMap;

use i3::I3;
use minicbor::{Decode, Encode};
use prost_i3_api::ask::{
    CLOSE, Close, INSERT, Insert, Inserted, LIST, Listed, NEXT, Next, OPEN, Open, Opened, Received, SEND, Send, Sent,
};
use prost_i3_api::{Hop, I3Id, Name};
use prost_peerlet::cbor;
use prost_peerlet::inbox::Batch;
use prost_peerlet_ring::{Index, Ring, Setup, Ticket};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);

/// A ring whose nodes run i3.
pub(crate) struct World<const COPIES: u32 = 2> {
    pub ring: Ring<I3<COPIES>>,
    /// The numbers of the packets that programs want next.
    wanted: BTreeMap<(Index, u64), u64>,
}

/// A program that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Program {
    pub node: Index,
    pub endpoint: u64,
}

impl<const COPIES: u32> World<COPIES> {
    pub(crate) fn grow(setup: Setup) -> World<COPIES> {
        World { ring: Ring::grow(setup), wanted: BTreeMap::new() }
    }

    pub(crate) fn of(nodes: u32, seed: u64) -> World<COPIES> {
        World::grow(Setup { nodes, seed, ..Setup::new("i3") })
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.ring.run(time);
    }

    pub(crate) fn ask<Q: Encode<()>, A: for<'a> Decode<'a, ()>>(
        &mut self,
        node: Index,
        method: &str,
        asked: &Q,
    ) -> Result<A, String> {
        let answer = self.ring.ask(node, method, &cbor::encode(asked))?;
        Ok(cbor::decode(&answer).expect("an answer of its kind"))
    }

    pub(crate) fn call<Q: Encode<()>>(&mut self, node: Index, method: &str, asked: &Q) -> Ticket {
        self.ring.call(node, method, &cbor::encode(asked))
    }

    pub(crate) fn open(&mut self, node: Index) -> Program {
        let opened: Opened = self.ask(node, OPEN, &Open { lease: Some(24 * 3600) }).expect("there is room");
        Program { node, endpoint: opened.endpoint }
    }

    /// A program begins to listen to an id.
    pub(crate) fn insert(&mut self, program: Program, name: &Name) -> Result<Inserted, String> {
        let Program { node, endpoint } = program;
        let (id, secret) = (name.id, name.secret);
        self.ask(node, INSERT, &Insert { endpoint, id, prefix_len: 0, secret, stack: Vec::new(), rate: None })
    }

    pub(crate) fn listen(&mut self, node: Index, name: &Name) -> Program {
        let program = self.open(node);
        self.insert(program, name).expect("the trigger is taken");
        program
    }

    pub(crate) fn close(&mut self, program: Program) {
        let Program { node, endpoint } = program;
        self.ask::<_, ()>(node, CLOSE, &Close { endpoint }).expect("it is there");
    }

    /// Sends, without waiting for anything.
    pub(crate) fn send(&mut self, node: Index, stack: &[I3Id], text: &str) {
        let stack = stack.iter().copied().map(Hop::Id).collect();
        self.call(node, SEND, &Send { stack, payload: text.into(), confirm: false });
    }

    /// Sends, and waits for the word of the node that keeps the first id's triggers.
    pub(crate) fn confirm(&mut self, node: Index, stack: &[I3Id], text: &str) -> Option<u32> {
        let stack = stack.iter().copied().map(Hop::Id).collect();
        let asked = Send { stack, payload: text.into(), confirm: true };
        self.ask::<_, Sent>(node, SEND, &asked).ok()?.matched
    }

    /// What a program has received and not read yet.
    pub(crate) fn received(&mut self, program: Program) -> Vec<Received> {
        let Program { node, endpoint } = program;
        let from = self.wanted.get(&(node, endpoint)).copied().unwrap_or(0);
        let ticket = self.call(node, NEXT, &Next { endpoint, from });
        // A second request has the first answered at once, also where there is nothing.
        self.call(node, NEXT, &Next { endpoint, from });
        self.run(MILLISECOND * 200);
        let answer = self.ring.answer(ticket).expect("it is answered").outcome.expect("the endpoint is there");
        let batch: Batch = cbor::decode(&answer).expect("a batch");
        if !batch.items.is_empty() {
            self.wanted.insert((node, endpoint), batch.first + batch.items.len() as u64);
        }
        batch.items.iter().map(|item| cbor::decode(item).expect("a packet")).collect()
    }

    /// All of it, as texts.
    pub(crate) fn texts(&mut self, program: Program) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let received = self.received(program);
            if received.is_empty() {
                return texts;
            }
            texts.extend(received.into_iter().map(|packet| String::from_utf8(packet.payload.0).expect("text")));
        }
    }

    /// How long after it was sent a packet arrives; none where it does not within three seconds.
    pub(crate) fn latency(&mut self, from: Index, to: Program, id: I3Id) -> Option<Duration> {
        let Program { node, endpoint } = to;
        let wants = self.wanted.get(&(node, endpoint)).copied().unwrap_or(0);
        let ticket = self.call(node, NEXT, &Next { endpoint, from: wants });
        self.run(MILLISECOND);
        let start = self.ring.now();
        self.send(from, &[id], "ping");
        for _ in 0..300 {
            self.run(MILLISECOND * 10);
            if let Some(answer) = self.ring.answer(ticket) {
                let batch: Batch = cbor::decode(&answer.outcome.ok()?).ok()?;
                self.wanted.insert((node, endpoint), batch.first + batch.items.len() as u64);
                return Some(answer.at.saturating_sub(start));
            }
        }
        None
    }

    pub(crate) fn list(&mut self, node: Index) -> Listed {
        self.ask(node, LIST, &()).expect("a list")
    }

    pub(crate) fn owner(&self, id: &I3Id) -> Index {
        self.ring.owner(id.ring_key())
    }

    /// A name whose triggers are on a node that is none of these.
    pub(crate) fn name_elsewhere(&self, not: &[Index]) -> Name {
        let mut names = (0..).map(|at| Name::open(&format!("name {at}")));
        names.find(|name| !not.contains(&self.owner(&name.id))).expect("most are elsewhere")
    }
}
