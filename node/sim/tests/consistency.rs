//! Several clients write, read and delete the same records from all over the ring, while nodes join, leave and crash. What
//! they saw must be explained by one order of what they did, record by record, wherever `docs/records.md` promises it.

#[path = "support/clients.rs"]
mod clients;
#[path = "support/history.rs"]
mod history;
#[path = "support/keyed.rs"]
mod keyed;
#[path = "support/shelves.rs"]
mod shelves;
mod support;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use prost_package::Acknowledgement;

use clients::{Change, clients};
use support::config;

/// Histories of fresh seeds, with each acknowledgement.
const MANY: u64 = 100;

/// Has clients act through changes of the ring, and explains what they saw.
fn explain(seed: u64) {
    use Change::{Crash, Join, Leave, Nothing};
    for acknowledgement in [Acknowledgement::All, Acknowledgement::Majority] {
        let clients = clients(config(seed), acknowledgement, &[Nothing, Join, Leave, Crash, Join, Crash]);
        assert!(clients.answered() > 180, "{}", clients.answered());
        let unexplained = clients.unexplained();
        assert!(unexplained.is_empty(), "seed {seed}, {acknowledgement:?}: {}", unexplained.join("\n"));
    }
}

#[test]
fn one_order_explains_what_clients_see_in_a_ring_that_changes() {
    (0..6).for_each(explain);
}

#[test]
#[ignore = "a minute, and in an optimised build"]
fn one_order_explains_what_clients_see_with_many_fresh_seeds() {
    let first = RandomState::new().build_hasher().finish() >> 11;
    println!("seeds {first} to {}", first + MANY - 1);
    let next = AtomicU64::new(0);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < MANY) {
            explain(first + seed);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
}
