//! The DOLR tier on a ring.

use core::time::Duration;
use std::collections::BTreeSet;

use prost_peerlet::dolr::{Arrived, Dolr, LASTS, Pointers, REFRESH};
use prost_peerlet::{Id, Key, Message, NodeId, Peerlet, Request, Result, Verdict, client};
use prost_peerlet_ring::{Index, Latency, Ring, Setup};

/// `hold` and `drop` objects, `send NAME` to their holders.
struct Objects {
    pointers: Pointers,
    got: Vec<(Key, NodeId, Vec<u8>)>,
    in_vain: u32,
    /// Messages to objects that ended here, though another node is responsible for the key.
    early: u32,
}

impl Default for Objects {
    fn default() -> Objects {
        Objects { pointers: Pointers::new(9), got: Vec::new(), in_vain: 0, early: 0 }
    }
}

impl Peerlet for Objects {
    fn serve(&mut self, request: Request) -> Result {
        let object = Id::hash(&request.body);
        match request.method.as_str() {
            "hold" => self.pointers.publish(object)?,
            "drop" => self.pointers.unpublish(object),
            method => {
                let count = if method == "send all" { 16 } else { 1 };
                self.pointers.send_to_object(object, count, b"data").map(drop)?;
            }
        }
        Ok(client::respond(request.id, Ok(b""))?)
    }

    fn deliver(&mut self, message: Message) -> Result {
        match self.pointers.deliver(&message) {
            Some(Arrived::ForObject { object, from, data }) => self.got.push((object, from, data)),
            Some(Arrived::NoHolder { .. }) => self.in_vain += 1,
            Some(Arrived::Nothing) | None => {}
        }
        Ok(())
    }

    fn forward(&mut self, message: Message, _: NodeId) -> Verdict {
        let verdict = self.pointers.forward(&message);
        self.early += u32::from(verdict == Verdict::Stop);
        verdict
    }

    fn fired(&mut self, timer: u64, _: u64) {
        self.pointers.due(timer);
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn ring(seed: u64, nodes: u32) -> Ring<Objects> {
    Ring::grow(Setup { nodes, seed, latency: Latency::PlanetLab, ..Setup::new("objects") })
}

fn got(ring: &Ring<Objects>, node: Index) -> usize {
    ring.peek(node, |objects| objects.got.len()).unwrap_or(0)
}

fn ask(ring: &mut Ring<Objects>, node: Index, method: &str, name: &str) {
    ring.ask(node, method, name.as_bytes()).expect("answered");
}

#[test]
fn a_message_finds_one_holder_or_all_some_before_the_node_responsible() {
    let mut ring = ring(1, 150);
    let members = ring.members();
    let holders = [members[20], members[90]];
    holders.iter().for_each(|holder| ask(&mut ring, *holder, "hold", "x"));
    ring.run(SECOND * 3);
    members.iter().for_each(|node| ask(&mut ring, *node, "send", "x"));
    ring.run(SECOND * 5);
    assert_eq!(holders.map(|holder| got(&ring, holder)).iter().sum::<usize>(), members.len(), "each reached one");
    let early: u32 = members.iter().filter_map(|node| ring.peek(*node, |objects| objects.early)).sum();
    assert!(early > 0, "none of {} ended at a pointer on the way", members.len());
    ask(&mut ring, members[5], "send all", "x");
    ring.run(SECOND * 3);
    assert_eq!(holders.map(|holder| got(&ring, holder)).iter().sum::<usize>(), members.len() + 2);
}

#[test]
fn an_object_that_nobody_holds_any_more_is_said_to_be_without_holders() {
    let mut ring = ring(2, 40);
    let (holder, sender) = (ring.members()[3], ring.members()[30]);
    ask(&mut ring, holder, "hold", "x");
    ring.run(SECOND * 3);
    ask(&mut ring, holder, "drop", "x");
    ring.run(SECOND * 3);
    ask(&mut ring, sender, "send", "x");
    ring.run(SECOND * 3);
    assert_eq!((got(&ring, holder), ring.peek(sender, |objects| objects.in_vain)), (0, Some(1)));
    // One that died is forgotten when its pointers have expired.
    ask(&mut ring, holder, "hold", "x");
    ring.run(SECOND * 3);
    ring.crash(holder);
    ring.run(LASTS + SECOND);
    ask(&mut ring, sender, "send", "x");
    ring.run(SECOND * 3);
    assert_eq!(ring.peek(sender, |objects| objects.in_vain), Some(2));
}

#[test]
fn pointers_come_back_after_the_node_responsible_and_those_around_it_have_died() {
    let mut ring = ring(3, 60);
    let key = Id::hash(b"x");
    let dead: BTreeSet<Index> = ring.replicas(key, 3).into_iter().collect();
    let holder = *ring.members().iter().find(|node| !dead.contains(node)).expect("another");
    ask(&mut ring, holder, "hold", "x");
    ring.run(SECOND * 3);
    dead.iter().for_each(|node| ring.crash(*node));
    ring.run(REFRESH + SECOND * 30);
    let newcomer = ring.join_as(key);
    ring.settle();
    ring.run(REFRESH + SECOND * 5);
    let members = ring.members();
    members.iter().filter(|node| **node != newcomer).for_each(|node| ask(&mut ring, *node, "send", "x"));
    ring.run(SECOND * 5);
    assert_eq!(got(&ring, holder), members.len() - 1);
}

#[test]
fn a_pointer_to_a_node_that_does_not_hold_the_object_goes() {
    let mut ring = ring(4, 20);
    let (holder, sender) = (ring.members()[3], ring.members()[15]);
    ask(&mut ring, holder, "hold", "x");
    ring.run(SECOND * 3);
    // The process comes back and holds nothing, while its pointers are there.
    ring.crash(holder);
    ring.run(SECOND * 5);
    ring.restart(holder);
    ring.settle();
    (0..4).for_each(|_| {
        ask(&mut ring, sender, "send", "x");
        ring.run(SECOND * 3);
    });
    assert_eq!(got(&ring, holder), 0);
    assert!(ring.peek(sender, |objects| objects.in_vain).is_some_and(|count| count > 0));
}
