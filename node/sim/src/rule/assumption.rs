//! The operating assumption under which Zave's invariant is promised.

use prost_kbr::Time;
use serde::{Deserialize, Serialize};

/// Why the assumption does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The ring has not been ideal, with enough members, since the run began or since the last reason.
    Forming,
    /// Two processes had one id: Zave assumes that ids are unique.
    Clone,
    /// Failures took a member's last live successor, or left too few principals.
    Failures,
    /// A live member was declared dead: a partition, a pause or a lost frame looked like a crash.
    FalseDeath,
    /// Two members that stand side by side cannot reach each other: Zave assumes that whoever lives answers.
    Apart,
    /// The rule was broken already, and is reported once.
    Broken,
}

/// Whether the assumption holds: rings start with enough members, only the dead are declared dead, and no failures
/// take all live successors of a member before the next repair (Zave, "Reasoning about Identifier Spaces", IEEE TSE
/// 43(12), 2017, section 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assumption {
    since: Option<Time>,
    reason: Reason,
    breaks: u64,
}

impl Default for Assumption {
    fn default() -> Assumption {
        Assumption { since: None, reason: Reason::Forming, breaks: 0 }
    }
}

impl Assumption {
    /// Whether it holds now.
    pub fn holds(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it has held from an instant until now.
    pub fn held_since(&self, from: Time) -> bool {
        self.since.is_some_and(|since| since <= from)
    }

    /// Why it does not hold, where it does not.
    pub fn reason(&self) -> Option<Reason> {
        (!self.holds()).then_some(self.reason)
    }

    /// How often it has ceased to hold.
    pub fn breaks(&self) -> u64 {
        self.breaks
    }

    /// The ring is ideal and large enough: from here on the assumption holds.
    pub fn restore(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// It does not hold any more.
    pub fn fail(&mut self, reason: Reason) {
        self.breaks += u64::from(self.since.is_some());
        // What a clone has done to the views of others outlasts it, whatever else goes wrong then.
        if self.since.take().is_some() || self.reason != Reason::Clone {
            self.reason = reason;
        }
    }
}
