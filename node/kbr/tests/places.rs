//! Where nodes are: what a connection shows counts more than what others say, and addresses of the beginning stay in use.

use std::net::SocketAddr;
use std::time::Duration;

use prost_kbr::{Config, Id, Input, Machine, Message, Output, Peer, Time};

fn peer(name: u8, addr: u8) -> Peer {
    Peer { id: Id::hash(&[name]), addr: ([10, 0, 0, addr], 4000).into() }
}

/// A node and its virtual clock.
struct Driven {
    machine: Machine,
    now: Time,
}

impl Driven {
    fn new() -> Driven {
        let now = Time::from_micros(1_000_000);
        Driven { machine: Machine::new(peer(0, 0), Config::default(), [1; 32], now), now }
    }

    /// Gives it something; gives what it sends, and where it dials.
    fn input(&mut self, input: Input) -> (Vec<(Peer, Message)>, Vec<SocketAddr>) {
        self.machine.handle(self.now, input);
        self.outputs()
    }

    fn outputs(&mut self) -> (Vec<(Peer, Message)>, Vec<SocketAddr>) {
        let (mut sent, mut dialled) = (Vec::new(), Vec::new());
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { to, message } => sent.push((to, message)),
                Output::Dial { addr } => dialled.push(addr),
                _ => {}
            }
        }
        (sent, dialled)
    }
}

/// The number of the question about neighbours that was sent to a node.
fn asked(sent: &[(Peer, Message)], of: Peer) -> u64 {
    let request = |(to, message): &(Peer, Message)| match message {
        Message::GetNeighbours { request, .. } if to.id == of.id => Some(*request),
        _ => None,
    };
    sent.iter().find_map(request).expect("a question")
}

#[test]
fn a_node_is_listed_where_it_is_connected_from_and_not_where_others_say() {
    let (mut node, first, second) = (Driven::new(), peer(1, 1), peer(2, 2));
    node.input(Input::Join { known: Vec::new() });
    for peer in [first, second] {
        node.input(Input::Connected { peer });
    }
    let elsewhere = [Peer { addr: peer(0, 11).addr, ..first }, Peer { addr: peer(0, 12).addr, ..second }];
    let message = Message::Candidate { peer: elsewhere[0], hops: 0 };
    let (sent, _) = node.input(Input::Received { from: second.id, message });
    let request = asked(&sent, first);
    let (predecessors, successors) = (Vec::new(), vec![elsewhere[1]]);
    let message = Message::Neighbours { request, joined: true, predecessors, successors };
    node.input(Input::Received { from: first.id, message });
    assert_eq!(node.machine.view().successors, [first, second]);
}

#[test]
fn a_node_that_has_lost_everyone_soon_dials_where_it_once_joined() {
    let (mut node, first, other) = (Driven::new(), peer(1, 1), peer(0, 2).addr);
    node.input(Input::Join { known: vec![first.addr, other] });
    node.machine.handle_timeout(node.now);
    let (sent, _) = node.input(Input::Connected { peer: first });
    let Some((_, Message::FindPredecessor { request, .. })) = sent.last().cloned() else { panic!("{sent:?}") };
    let (sent, _) =
        node.input(Input::Received { from: first.id, message: Message::Predecessor { request, peer: first } });
    let alone = |request| Message::Neighbours { request, joined: true, predecessors: vec![], successors: vec![] };
    let (sent, _) = node.input(Input::Received { from: first.id, message: alone(asked(&sent, first)) });
    let (sent, _) = node.input(Input::Received { from: first.id, message: alone(asked(&sent, first)) });
    let links = sent.iter().find_map(|(_, message)| match message {
        Message::GetLinks { request } => Some(*request),
        _ => None,
    });
    // All of these are dead.
    let links = Message::Links { request: links.expect("a question"), links: (10..70).map(|n| peer(n, n)).collect() };
    node.input(Input::Received { from: first.id, message: links });
    let end = node.now + Duration::from_secs(120);
    let (mut sent, mut dialled) = node.input(Input::Disconnected { id: first.id });
    while !dialled.contains(&other) {
        for (to, _) in std::mem::take(&mut sent) {
            let (more, further) = node.input(Input::Disconnected { id: to.id });
            sent.extend(more);
            dialled.extend(further);
        }
        if sent.is_empty() {
            let (due, _) = node.machine.poll_timeout().expect("it goes on looking");
            node.now = node.now.max(due);
            assert!(node.now < end, "no dial to {other}");
            node.machine.handle_timeout(node.now);
            let (more, further) = node.outputs();
            sent.extend(more);
            dialled.extend(further);
        }
    }
}

#[test]
fn a_member_soon_dials_every_address_that_it_was_told_at_its_start() {
    let (mut node, first) = (Driven::new(), peer(1, 1));
    let config = Config { successors: 1, predecessors: 1, fall_over: 1, ..Config::default() };
    node.machine = Machine::new(peer(0, 0), config, [1; 32], node.now);
    let others: Vec<SocketAddr> = (2..5).map(|place| peer(0, place).addr).collect();
    node.input(Input::Join { known: [&[first.addr][..], &others].concat() });
    node.machine.handle_timeout(node.now);
    let mut dialled = Vec::new();
    let (mut sent, _) = node.input(Input::Connected { peer: first });
    let end = node.now + Duration::from_secs(300);
    while node.now < end {
        for (_, message) in std::mem::take(&mut sent) {
            let answer = match message {
                Message::FindPredecessor { request, .. } => Message::Predecessor { request, peer: first },
                Message::GetNeighbours { request, .. } => {
                    Message::Neighbours { request, joined: true, predecessors: Vec::new(), successors: Vec::new() }
                }
                Message::Ping { nonce } => Message::Pong { nonce },
                _ => continue,
            };
            let (more, further) = node.input(Input::Received { from: first.id, message: answer });
            sent.extend(more);
            dialled.extend(further);
        }
        if sent.is_empty() {
            let (due, _) = node.machine.poll_timeout().expect("a member has something to do");
            node.now = node.now.max(due);
            node.machine.handle_timeout(node.now);
            let (more, further) = node.outputs();
            sent.extend(more);
            dialled.extend(further);
        }
    }
    assert!(others.iter().all(|addr| dialled.contains(addr)), "{dialled:?} of {others:?}");
}

fn at(place: u8) -> Peer {
    let mut bytes = [0; 20];
    bytes[0] = place;
    Peer { id: Id::from_bytes(bytes), addr: ([10, 0, 0, place], 4000).into() }
}

/// A member at 100 with predecessors at 80 and 20, whose first leaves; and the node at 20 answers that one at 60 follows it.
/// With it what the member then sends.
fn without_predecessor() -> (Driven, Vec<(Peer, Message)>) {
    let mut node = Driven::new();
    node.machine = Machine::new(at(100), Config::default(), [1; 32], node.now);
    node.input(Input::Join { known: Vec::new() });
    for peer in [at(20), at(80)] {
        node.input(Input::Connected { peer });
        node.input(Input::Received { from: peer.id, message: Message::Notify });
    }
    assert_eq!(node.machine.view().predecessors, [at(80), at(20)]);
    let leave = Message::Leave { predecessors: vec![at(20)], successors: vec![at(100)] };
    let (sent, _) = node.input(Input::Received { from: at(80).id, message: leave });
    let request = asked(&sent, at(20));
    let (sent, _) = node.input(Input::Received { from: at(20).id, message: follows(request, 60) });
    (node, sent)
}

/// An answer of a node that this one follows, and then the one at 100.
fn follows(request: u64, place: u8) -> Message {
    Message::Neighbours { request, joined: true, predecessors: Vec::new(), successors: vec![at(place), at(100)] }
}

#[test]
fn a_candidate_that_knows_of_a_node_between_is_not_the_predecessor() {
    let (mut node, sent) = without_predecessor();
    let before = node.machine.view().predecessors.first().copied();
    assert_ne!(before, Some(at(20)), "keys before 60 are another's");
    let request = asked(&sent, at(60));
    let predecessors = vec![at(20)];
    let message = Message::Neighbours { request, joined: true, predecessors, successors: vec![at(100)] };
    node.input(Input::Connected { peer: at(60) });
    node.input(Input::Received { from: at(60).id, message });
    assert_eq!(node.machine.view().predecessors, [at(60), at(20)]);
}

#[test]
fn a_candidate_is_the_predecessor_where_the_node_that_it_knows_of_is_dead() {
    let (mut node, mut sent) = without_predecessor();
    let mut tries = 0;
    while sent.iter().any(|(to, _)| to.id == at(60).id) {
        tries += 1;
        sent = node.input(Input::Disconnected { id: at(60).id }).0;
    }
    assert!(tries > 1, "it may only have been busy");
    let request = asked(&sent, at(20));
    node.input(Input::Received { from: at(20).id, message: follows(request, 60) });
    assert_eq!(node.machine.view().predecessors, [at(20)]);
}

#[test]
fn who_joins_soon_finds_the_one_that_lives_among_many_that_it_remembers() {
    let (mut node, dead) = (Driven::new(), peer(0, 99).addr);
    node.input(Input::Join { known: vec![dead] });
    for name in 1..=40 {
        node.input(Input::Connected { peer: peer(name, name) });
        node.input(Input::Disconnected { id: peer(name, name).id });
    }
    let alive = peer(33, 33);
    let (start, mut asked) = (node.now, false);
    while !asked {
        let (due, _) = node.machine.poll_timeout().expect("it goes on");
        node.now = node.now.max(due);
        assert!(node.now.since(start) < Duration::from_secs(150), "it goes through them one by one");
        node.machine.handle_timeout(node.now);
        let (sent, dialled) = node.outputs();
        for addr in dialled {
            node.input(Input::DialFailed { addr });
        }
        for (to, _) in sent {
            if to.id == alive.id {
                let (sent, _) = node.input(Input::Connected { peer: alive });
                asked =
                    sent.iter().any(|(to, sent)| to.id == alive.id && matches!(sent, Message::FindPredecessor { .. }));
            } else {
                node.input(Input::Disconnected { id: to.id });
            }
        }
    }
}
