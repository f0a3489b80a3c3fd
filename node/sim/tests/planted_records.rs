//! The tests of keyed records against nodes that make an error: each must be found.

#![allow(dead_code, reason = "tests of right nodes use the rest")]

#[path = "support/clients.rs"]
mod clients;
#[path = "support/history.rs"]
mod history;
#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/shelves.rs"]
mod shelves;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_kbr::planted::Bug;
use prost_package::Acknowledgement;
use prost_sim::WorldConfig;

use clients::{Change, clients};
use shelves::{Dice, Shelves, names};
use support::config;

/// Seeds within which each error must be found.
const SEEDS: u64 = 20;

fn with(bug: Option<Bug>, seed: u64, copies: u8) -> Shelves {
    let base = config(500 + seed);
    let routing = prost_kbr::Config { planted: bug, ..base.routing };
    Shelves::with(WorldConfig { routing, ..base }, 10, copies, Acknowledgement::All)
}

/// What the tests of right nodes do, one after the other.
fn try_all(bug: Option<Bug>, seed: u64) {
    let mut dice = Dice(seed);
    let mut shelves = with(bug, seed, 3);
    assert_eq!(shelves.write(0, &names(40), 10), 40);
    shelves.join_under_reads();
    shelves.storm(12, &mut dice);
    shelves.wait_for_repair();
    let reader = shelves.any_alive(&mut dice);
    shelves.check_reads(reader);
    assert!(shelves.rot(2, &mut dice) > 0);
    shelves.wait_for_places(120);
    let mut shelves = with(bug, seed, 1);
    assert_eq!(shelves.write(0, &names(40), 10), 40);
    let leaver = shelves.replica("name-7", 0);
    if leaver != 0 {
        shelves.leave(leaver);
        let reader = shelves.any_alive(&mut dice);
        shelves.check_reads(reader);
    }
}

#[test]
fn right_nodes_make_none_of_them() {
    (0..SEEDS).for_each(|seed| try_all(None, seed));
}

#[test]
fn every_planted_error_of_keyed_records_is_found() {
    for bug in Bug::OF_RECORDS {
        let found = (0..SEEDS).find(|seed| catch_unwind(AssertUnwindSafe(|| try_all(Some(bug), *seed))).is_err());
        let seed = found.unwrap_or_else(|| panic!("{bug:?} is not found in {SEEDS} seeds"));
        println!("{bug:?}: found with seed {seed}");
    }
}

#[test]
fn clients_see_what_no_order_explains_where_writes_are_acknowledged_alone_or_records_not_handed_over() {
    for (bug, change) in [(Bug::AcknowledgedAlone, Change::Crash), (Bug::ServedBeforeHandOver, Change::Join)] {
        let wrong = |seed: &u64| {
            let base = config(700 + seed);
            let config = WorldConfig { routing: prost_kbr::Config { planted: Some(bug), ..base.routing }, ..base };
            !clients(config, Acknowledgement::All, &[Change::Nothing, change, change, change]).unexplained().is_empty()
        };
        let seed = (0..SEEDS).find(wrong).unwrap_or_else(|| panic!("{bug:?} is not found in {SEEDS} seeds"));
        println!("{bug:?}: seen by clients with seed {seed}");
    }
}
