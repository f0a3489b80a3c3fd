//! What several clients did to records, and whether one order of all of it explains what they saw: linearizability
//! (Herlihy and Wing, TOPLAS 12(3), 1990), decided by search with memory (Wing and Gong 1993; Lowe 2017).

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use prost_kbr::Time;

/// Something that a client did to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// It says this from then on; none where it was deleted. No two writes are of the same value.
    Write(Option<String>),
    /// It said this.
    Read(Option<String>),
}

/// When a client did something, as it saw it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) begun: Time,
    /// None for a write of which the client does not know what came of it: it may happen later, or never.
    pub(crate) ended: Option<Time>,
    pub(crate) what: What,
}

impl fmt::Debug for Op {
    /// On one line, with seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |time: Time| time.since(Time::ZERO).as_secs_f64();
        let (verb, value) = match &self.what {
            What::Write(value) => ("writes", value),
            What::Read(value) => ("reads", value),
        };
        write!(f, "{:.2} to ", at(self.begun))?;
        match self.ended {
            Some(ended) => write!(f, "{:.2}", at(ended))?,
            None => f.write_str("?")?,
        }
        write!(f, " {verb} {}", value.as_deref().unwrap_or("nothing"))
    }
}

/// What was done, by the record's name.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(pub(crate) BTreeMap<String, Vec<Op>>);

impl History {
    /// The names whose operations no order explains.
    pub(crate) fn unexplained(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, ops)| !is_linearizable(ops)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether these operations on one register, which is empty at first, can be put into one order in which each read sees the
/// last write, and nothing that had ended before another began comes after it. At most 128.
pub(crate) fn is_linearizable(ops: &[Op]) -> bool {
    assert!(ops.len() <= 128, "{} operations are too many for the search", ops.len());
    let mut tried = BTreeSet::new();
    search(ops, 0, &None, &mut tried)
}

/// `done` has a bit for each operation that has its place, `says` is what the register says after them.
fn search(ops: &[Op], done: u128, says: &Option<String>, tried: &mut BTreeSet<(u128, Option<String>)>) -> bool {
    let open = || ops.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
    // Whoever had ended before another began has its place first.
    let Some(first_end) = open().filter_map(|(_, op)| op.ended).min() else { return true };
    if !tried.insert((done, says.clone())) {
        return false;
    }
    open().filter(|(_, op)| op.begun <= first_end).any(|(at, op)| match &op.what {
        What::Read(seen) => seen == says && search(ops, done | 1 << at, says, tried),
        What::Write(value) => search(ops, done | 1 << at, value, tried),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(begun: u64, ended: u64, what: What) -> Op {
        let at = |micros| Time::ZERO + std::time::Duration::from_micros(micros);
        Op { begun: at(begun), ended: (ended > 0).then(|| at(ended)), what }
    }

    fn write(begun: u64, ended: u64, value: &str) -> Op {
        op(begun, ended, What::Write(Some(value.to_owned())))
    }

    fn read(begun: u64, ended: u64, value: &str) -> Op {
        op(begun, ended, What::Read((!value.is_empty()).then(|| value.to_owned())))
    }

    #[test]
    fn what_one_order_explains_is_told_from_what_none_does() {
        assert!(is_linearizable(&[read(1, 2, ""), write(3, 4, "a"), read(5, 6, "a")]));
        assert!(!is_linearizable(&[write(1, 2, "a"), read(3, 4, "")]), "an acknowledged write is not seen");
        assert!(!is_linearizable(&[read(1, 2, "a"), write(3, 4, "a")]), "a write is seen before it begins");
        assert!(is_linearizable(&[write(1, 9, "a"), read(2, 3, "a"), read(4, 5, "a")]));
        assert!(!is_linearizable(&[write(1, 9, "a"), read(2, 3, "a"), read(4, 5, "")]), "what was seen is gone");
        assert!(is_linearizable(&[write(1, 9, "a"), write(1, 9, "b"), read(10, 11, "a")]));
        assert!(!is_linearizable(&[write(1, 9, "a"), write(1, 9, "b"), read(10, 11, "a"), read(12, 13, "b")]));
        assert!(!is_linearizable(&[write(1, 2, "a"), write(3, 4, "b"), read(5, 6, "a")]), "an older write has won");
    }

    #[test]
    fn a_write_of_unknown_end_may_happen_late_or_never_but_once() {
        assert!(is_linearizable(&[write(1, 0, "a"), read(2, 3, ""), read(4, 5, "a")]));
        assert!(is_linearizable(&[write(1, 0, "a"), read(2, 3, "")]));
        let again = [write(1, 0, "a"), read(2, 3, "a"), write(4, 5, "b"), read(6, 7, "b"), read(8, 9, "a")];
        assert!(!is_linearizable(&again));
    }
}
