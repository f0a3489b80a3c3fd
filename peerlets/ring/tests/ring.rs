//! The harness itself, with a peerlet that counts what it is told at a key.

use core::time::Duration;

use prost_peerlet::questions::{Patience, Received, Target};
use prost_peerlet::storage::{self, Place};
use prost_peerlet::{Error, Failure, Id, Key, Message, Peerlet, Questions, Request, Result, client};
use prost_peerlet_ring::{Latency, Ring, Setup};

/// `add NAME` adds one to the counter of a name, and answers how much it is.
struct Counter {
    questions: Questions<u64>,
}

impl Default for Counter {
    fn default() -> Counter {
        Counter { questions: Questions::new(1, 64, Patience::default()) }
    }
}

fn add(key: Key) -> Result<u64> {
    let before = storage::get(Place::At(key), b"count")?.and_then(|bytes| bytes.try_into().ok());
    let count = before.map_or(0, u64::from_be_bytes) + 1;
    storage::put(Place::At(key), b"count", &count.to_be_bytes(), None)?;
    Ok(count)
}

impl Peerlet for Counter {
    fn serve(&mut self, request: Request) -> Result {
        match request.method.as_str() {
            "add" => {
                self.questions.ask(Target::Key(Id::hash(&request.body)), b"add", request.id)?;
                Ok(())
            }
            "refuse" => Err(Error::new("told to")),
            _ => Ok((0..300).try_for_each(|_| client::push(request.id, b""))?),
        }
    }

    fn deliver(&mut self, message: Message) -> Result {
        match self.questions.receive(&message) {
            Received::Question(question) => {
                let count = add(question.key.ok_or(Error::new("a counter has a key"))?)?;
                question.answer(&count.to_be_bytes())?;
            }
            Received::Answer { about, body, .. } => client::respond(about, Ok(&body))?,
            Received::Late | Received::Other => {}
        }
        Ok(())
    }

    fn fired(&mut self, timer: u64, _: u64) {
        for (request, failure) in self.questions.due(timer) {
            let _ = client::respond(request, Err(&format!("{failure:?}")));
        }
    }

    fn failed(&mut self, message: u64, reason: Failure) {
        if let Some((request, failure)) = self.questions.failed(message, reason) {
            let _ = client::respond(request, Err(&format!("{failure:?}")));
        }
    }
}

fn ring(seed: u64) -> Ring<Counter> {
    Ring::grow(Setup { nodes: 12, seed, latency: Latency::PlanetLab, ..Setup::new("counter") })
}

fn count(ring: &mut Ring<Counter>, name: &str) -> core::result::Result<u64, String> {
    let node = ring.any();
    ring.ask(node, "add", name.as_bytes()).map(|body| u64::from_be_bytes(body.try_into().expect("a number")))
}

#[test]
fn a_counter_counts_through_crashes_joins_loss_and_a_cut() {
    let mut ring = ring(1);
    let key = Id::hash(b"x");
    assert_eq!(count(&mut ring, "x"), Ok(1));
    assert_eq!(ring.copies(key, b"count"), 3);
    let owner = ring.owner(key);
    ring.crash(owner);
    assert_eq!(count(&mut ring, "x"), Ok(2));
    let newcomer = ring.join_as(key);
    ring.settle();
    assert_eq!((ring.owner(key), count(&mut ring, "x")), (newcomer, Ok(3)));
    ring.network(|network| (network.loss, network.duplicate) = (0.02, 0.02));
    ring.restart(owner);
    ring.settle();
    assert_eq!(count(&mut ring, "x"), Ok(4));
    let side = ring.replicas(key, 4);
    ring.cut(&side);
    let ticket = ring.call(side[3], "add", b"x");
    ring.run(Duration::from_secs(30));
    assert_eq!(ring.answer(ticket).expect("answered").outcome, Ok(5_u64.to_be_bytes().to_vec()));
    ring.heal();
    ring.settle();
    assert_eq!(count(&mut ring, "x"), Ok(6));
    assert_eq!(ring.peek(newcomer, |counter| counter.questions.len()), Some(0));
    assert!(ring.problems().is_empty(), "{:?}", ring.problems());
}

#[test]
fn what_a_handler_refuses_and_what_a_sandbox_would_end_is_told() {
    let mut ring = ring(2);
    let node = ring.any();
    assert!(ring.ask(node, "refuse", b"").is_err());
    assert!(ring.ask(node, "too much", b"").is_err());
    let problems = ring.problems();
    assert_eq!(problems.get("serve refused: told to"), Some(&1), "{problems:?}");
    assert_eq!(problems.get("serve trapped: the event asked for too many effects"), Some(&1), "{problems:?}");
    assert_eq!(count(&mut ring, "y"), Ok(1), "another instance has started");
}

#[test]
fn a_ring_follows_from_its_seed() {
    let hash = |seed| {
        let mut ring = ring(seed);
        count(&mut ring, "x").expect("counted");
        ring.world().trace_hash()
    };
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3), hash(4));
}
