//! Valid components that are small to send and large to compile.

use core::fmt::Write as _;

use crate::component::Peerlet;

/// One function with `joins` places where control flow meets, at each of which most of as many variables have one of
/// two values: a compiler keeps an entry for each variable at each place. A few bytes for each place are enough.
pub(crate) fn bomb(joins: usize) -> Vec<u8> {
    let mut text = "(func (param i32) (result i32)".to_owned();
    text.push_str(&" (local i32)".repeat(joins));
    text.push_str(&" block".repeat(joins));
    text.push_str(" local.get 0 br_table");
    for target in 0..joins {
        write!(text, " {target}").expect("a string has room");
    }
    for local in 1..=joins {
        write!(text, " end i32.const {local} local.set {local}").expect("a string has room");
    }
    text.push_str(" local.get 0");
    for local in 1..=joins {
        write!(text, " local.get {local} i32.add").expect("a string has room");
    }
    text.push(')');
    Peerlet::new().module(&text).build()
}
