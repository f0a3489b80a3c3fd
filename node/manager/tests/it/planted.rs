//! The search of falls-over against nodes that make an error: it must find every one.

#![allow(dead_code, reason = "tests of right nodes use the rest")]

mod fall_over;
mod guest;
mod packages;
mod world;

use fall_over::{SOME, search};
use prost_kbr::planted::Bug;

#[test]
fn every_planted_error_of_the_fall_over_is_found() {
    for bug in Bug::OF_FALL_OVER {
        let (_, found) = search(&SOME, Some(bug));
        let (case, what) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: {what}, by {case:?}");
    }
}
