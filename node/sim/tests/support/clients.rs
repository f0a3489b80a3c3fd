//! Several clients that write, read and delete the same records from all over a ring, and what they saw.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use prost_package::Acknowledgement;
use prost_sim::{Act, Index, WorldConfig};

use crate::history::{History, Op, What};
use crate::shelves::{Dice, Shelves, names};
use crate::support::run;

/// Records that the clients share.
const NAMES: usize = 6;
/// How often answers are looked for: a client sees the end of what it did at most this late, which hides nothing wrong.
const LOOK: Duration = Duration::from_millis(50);

/// Clients of a ring, and what they have done.
pub(crate) struct Clients {
    shelves: Shelves,
    history: History,
    /// What has not ended, by request: the record, and which of its operations.
    open: BTreeMap<u64, (String, usize)>,
    values: u64,
}

impl Clients {
    fn new(config: WorldConfig, acknowledgement: Acknowledgement) -> Clients {
        let shelves = Shelves::with(config, 10, 3, acknowledgement);
        Clients { shelves, history: History::default(), open: BTreeMap::new(), values: 0 }
    }

    /// A client at a random node does something to a random record.
    fn act(&mut self, dice: &mut Dice) {
        let node = self.shelves.any_alive(dice);
        let name = names(NAMES).swap_remove(dice.below(NAMES as u64) as usize);
        self.values += 1;
        let value = format!("value-{}", self.values);
        let (method, body, what) = match dice.below(10) {
            0 => ("delete", name.clone(), What::Write(None)),
            1..5 => ("put", format!("{name} {value}"), What::Write(Some(value))),
            _ => ("get", name.clone(), What::Read(None)),
        };
        let begun = self.shelves.world.now();
        let request = self.shelves.ask(node, method, &body);
        let ops = self.history.0.entry(name.clone()).or_default();
        ops.push(Op { begun, ended: None, what });
        self.open.insert(request, (name, ops.len() - 1));
    }

    fn change(&mut self, change: Change, dice: &mut Dice) {
        let name = names(NAMES).swap_remove(dice.below(NAMES as u64) as usize);
        let node: Index = self.shelves.replica(&name, dice.below(2) as usize);
        let world = &mut self.shelves.world;
        match change {
            Change::Join => {
                let node = world.spawn();
                world.act(Act::Start { node, known: vec![0] });
            }
            // The others know the first, to join through.
            Change::Leave if node != 0 => world.act(Act::Leave { node }),
            Change::Crash if node != 0 => world.act(Act::Crash { node }),
            Change::Nothing | Change::Leave | Change::Crash => {}
        }
    }

    /// Lets time pass, in which clients see answers.
    fn pass(&mut self, time: Duration) {
        let end = self.shelves.world.now() + time;
        while self.shelves.world.now() < end {
            run(&mut self.shelves.world, LOOK);
            let now = self.shelves.world.now();
            for (request, outcome) in self.shelves.answers() {
                let Some((name, at)) = self.open.remove(&request) else { continue };
                let op = &mut self.history.0.get_mut(&name).expect("it was begun")[at];
                match (&mut op.what, said(outcome)) {
                    (What::Read(seen), Some(value)) => {
                        *seen = value;
                        op.ended = Some(now);
                    }
                    (What::Write(_), Some(_)) => op.ended = Some(now),
                    // It came to nothing: a read has seen nothing, and a write may still happen.
                    (_, None) => {}
                }
            }
        }
    }

    /// What no order explains. Ends the run.
    pub(crate) fn unexplained(mut self) -> Vec<String> {
        self.pass(Duration::from_secs(20));
        for ops in self.history.0.values_mut() {
            ops.retain(|op| op.ended.is_some() || matches!(op.what, What::Write(_)));
        }
        let unexplained = self.history.unexplained();
        unexplained.into_iter().map(|name| format!("{name}: {:#?}", self.history.0[name])).collect()
    }

    pub(crate) fn answered(&self) -> usize {
        self.history.0.values().flatten().filter(|op| op.ended.is_some()).count()
    }
}

/// What a record says; none where the question came to nothing.
fn said(outcome: Result<Bytes, String>) -> Option<Option<String>> {
    match outcome {
        Ok(value) => Some(Some(String::from_utf8(value.to_vec()).expect("text"))),
        Err(line) if line == "nothing" => Some(None),
        Err(_) => None,
    }
}

/// What happens to the ring meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    Join,
    Leave,
    /// A node that holds copies crashes, and the records are whole again before the next does.
    Crash,
}

/// What clients see of a ring while this happens to it.
pub(crate) fn clients(config: WorldConfig, acknowledgement: Acknowledgement, changes: &[Change]) -> Clients {
    let mut dice = Dice(config.seed);
    let mut clients = Clients::new(config, acknowledgement);
    for change in changes {
        for number in 0..40 {
            if number == 20 {
                clients.change(*change, &mut dice);
            }
            clients.act(&mut dice);
            clients.pass(Duration::from_millis(100));
        }
        // Then the records are whole again, and as many copies may be lost as before.
        clients.pass(Duration::from_secs(25));
    }
    clients
}
