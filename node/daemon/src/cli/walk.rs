//! A walk around the ring by successors, and what it says of each member.

use prost_kbr::{Interval, NodeId, Peer};
use serde::Serialize;

use crate::admin_client::{AdminError, Neighbours};

/// Members after which a walk is given up.
const MAX_MEMBERS: usize = 65_536;

/// What was met on the way from one node around to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Walk {
    members: Vec<Peer>,
    neighbours: Vec<Neighbours>,
    /// Why the walk did not come back to its start.
    broken: Option<String>,
}

/// A walk, for programs.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) members: &'a [Peer],
    /// Whether every member knows its true neighbours.
    pub(super) ideal: bool,
    pub(super) problems: &'a [String],
}

impl Walk {
    /// Walks from `start`, asking each member for its neighbours. Who does not answer ends the walk; an error of the
    /// node that is asked for the start itself is returned.
    pub(super) fn around(
        start: Peer,
        mut ask: impl FnMut(Peer) -> Result<Neighbours, AdminError>,
    ) -> Result<Walk, AdminError> {
        let mut walk = Walk { members: vec![start], neighbours: vec![ask(start)?], broken: None };
        while walk.broken.is_none() {
            let Some(next) = walk.next().filter(|next| next.id != start.id) else { break };
            walk.step(next, &mut ask);
        }
        Ok(walk)
    }

    fn next(&self) -> Option<Peer> {
        self.neighbours.last().and_then(|neighbours| neighbours.successors.first()).copied()
    }

    fn step(&mut self, next: Peer, ask: &mut impl FnMut(Peer) -> Result<Neighbours, AdminError>) {
        let (start, last) = (self.members[0], self.members[self.members.len() - 1]);
        if !Interval::open(last.id, start.id).contains(next.id) {
            self.broken = Some(format!("{} has a successor behind it: {}", last.id, next.id));
        } else if self.members.len() == MAX_MEMBERS {
            self.broken = Some(format!("the walk has not come back after {MAX_MEMBERS} members"));
        } else {
            match ask(next) {
                Ok(neighbours) => {
                    self.members.push(next);
                    self.neighbours.push(neighbours);
                }
                Err(error) => self.broken = Some(format!("{} does not tell its neighbours: {error}", next.id)),
            }
        }
    }

    /// The members that were met, in ring order, the start first.
    pub(super) fn members(&self) -> &[Peer] {
        &self.members
    }

    /// What is not as it is in an ideal ring, where each list names the true next or previous members.
    pub(super) fn problems(&self) -> Vec<String> {
        if let Some(broken) = &self.broken {
            return vec![broken.clone()];
        }
        let count = self.members.len();
        let mut problems = Vec::new();
        for (at, (member, neighbours)) in self.members.iter().zip(&self.neighbours).enumerate() {
            let after = (1..count).map(|step| self.members[(at + step) % count].id);
            let before = (1..count).map(|step| self.members[(at + count - step) % count].id);
            problems.extend(compare(member.id, "successor", &neighbours.successors, after));
            problems.extend(compare(member.id, "predecessor", &neighbours.predecessors, before));
        }
        problems
    }
}

/// The first difference between a list and the members that it should name.
fn compare(owner: NodeId, kind: &str, list: &[Peer], truth: impl Iterator<Item = NodeId>) -> Option<String> {
    let truth: Vec<NodeId> = truth.collect();
    if list.is_empty() && !truth.is_empty() {
        return Some(format!("{owner} knows no {kind}"));
    }
    let mut listed = list.iter().enumerate();
    let (rank, wrong) = listed.find(|(rank, peer)| truth.get(*rank) != Some(&peer.id))?;
    let expected = truth.get(rank).map_or_else(|| "nobody".to_owned(), NodeId::to_string);
    Some(format!("{owner} has {} as {kind} {}, and it is {expected}", wrong.id, rank + 1))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use prost_kbr::Id;

    use super::*;

    fn peer(number: u8) -> Peer {
        let mut id = [0; 20];
        id[0] = number;
        Peer { id: Id::from_bytes(id), addr: SocketAddr::from(([127, 0, 0, 1], 1000 + u16::from(number))) }
    }

    fn neighbours(before: &[u8], after: &[u8]) -> Neighbours {
        let peers = |numbers: &[u8]| numbers.iter().map(|number| peer(*number)).collect();
        Neighbours { predecessors: peers(before), successors: peers(after) }
    }

    /// A ring of 10, 20, 30, where 20 says this.
    fn walk(of_20: Neighbours) -> Walk {
        let ask = |asked: Peer| {
            Ok(match asked.id.as_bytes()[0] {
                10 => neighbours(&[30, 20], &[20, 30]),
                20 => of_20.clone(),
                30 => neighbours(&[20, 10], &[10, 20]),
                other => return Err(AdminError::Malformed(format!("nobody is {other}"))),
            })
        };
        Walk::around(peer(10), ask).expect("the start answers")
    }

    #[test]
    fn an_ideal_ring_has_no_problems() {
        let walk = walk(neighbours(&[10, 30], &[30, 10]));
        assert_eq!(walk.members(), [peer(10), peer(20), peer(30)]);
        assert_eq!(walk.problems(), [""; 0]);
    }

    #[test]
    fn a_node_alone_is_an_ideal_ring() {
        let walk = Walk::around(peer(1), |_| Ok(neighbours(&[], &[]))).expect("it answers");
        assert_eq!((walk.members().len(), walk.problems().len()), (1, 0));
    }

    #[test]
    fn a_member_that_is_skipped_is_found() {
        let walk = walk(neighbours(&[30], &[10, 30]));
        let problems = walk.problems();
        // 20 leaves out 30 on both sides, so that the walk does not meet it.
        assert!(problems.iter().any(|problem| problem.contains("as successor 2")), "{problems:?}");
    }

    #[test]
    fn a_successor_behind_and_one_that_is_silent_end_the_walk() {
        let ask = |first: u8| move |_: Peer| Ok(neighbours(&[], &[first]));
        let walk = Walk::around(peer(10), ask(20)).expect("the start answers");
        assert!(walk.problems()[0].contains("successor behind it"), "{:?}", walk.problems());
        let silent = super::Walk::around(peer(10), |asked: Peer| match asked.id.as_bytes()[0] {
            10 => Ok(neighbours(&[20], &[20])),
            _ => Err(AdminError::Malformed("no".to_owned())),
        });
        let problems = silent.expect("the start answers").problems();
        assert!(problems[0].contains("does not tell its neighbours"), "{problems:?}");
    }
}
