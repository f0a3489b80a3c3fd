//! The model check against machines that make an error: the search must find what is wrong with small rings.

#![allow(dead_code, reason = "searches of right machines use the rest")]

mod bug;
mod events;
mod invariant;
mod log;
mod schedule;
mod search;
mod signature;
mod world;

use bug::Bug;
use schedule::{Schedule, Start};
use search::{Bounds, Tally, search};

/// Joins, failures and delays, and the windows of the first and of the other moves, in events: as in the searches of
/// right machines.
const SCRIPTS: [(u32, u32, u32, u32, u32); 5] =
    [(1, 0, 0, 1, 40), (0, 1, 0, 1, 24), (2, 0, 0, 1, 40), (1, 1, 0, 1, 16), (1, 0, 1, 1, 40)];
/// Where two nodes join: between the same two members, and apart.
const JOINERS: [[u64; 2]; 3] = [[33, 66], [66, 33], [50, 250]];
/// Lengths of lists, and members.
const RINGS: [(usize, usize); 3] = [(2, 3), (2, 4), (3, 5)];

/// Errors of the ring itself. The others are about what a ring is used for, or need more than a few members.
const OF_THE_RING: [Bug; 10] = [
    Bug::UnheardSuccessor,
    Bug::ListNotCopied,
    Bug::JoinsWithOne,
    Bug::JoinsAnywhere,
    Bug::FallsBackToSelf,
    Bug::AnyNotifier,
    Bug::DeadPredecessorStays,
    Bug::FirstNotifierIgnored,
    Bug::UncutPredecessors,
    Bug::RoundNotResumed,
];

/// A schedule that shows the error and what it breaks, or none; and how much was searched.
fn hunt(bug: Option<Bug>) -> (Tally, Option<(Schedule, String)>) {
    let mut total = Tally::default();
    for (joins, fails, delays, lead, window) in SCRIPTS {
        for ((length, members), joiners) in RINGS.into_iter().flat_map(|ring| JOINERS.map(|joiners| (ring, joiners))) {
            let start = Start { length, members, joiners: joiners.to_vec(), bug };
            let (tally, result) = search(&start, Bounds { joins, fails, delays, lead, window });
            total.add(tally);
            if let Err(found) = result {
                return (total, Some(found));
            }
        }
    }
    (total, None)
}

#[test]
fn every_planted_error_of_the_ring_is_found() {
    let mut missed = Vec::new();
    for bug in OF_THE_RING {
        let (tally, found) = hunt(Some(bug));
        match found {
            Some((schedule, what)) => println!("{bug:?}: {what} after {} schedules, by {schedule}", tally.schedules),
            None => missed.push((bug, tally.to_string())),
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn the_same_searches_find_nothing_where_no_error_is_planted() {
    let (tally, found) = hunt(None);
    assert!(found.is_none(), "{found:?}");
    println!("{tally}");
}
