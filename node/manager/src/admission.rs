//! Who has been promised how much of the node. All promises together never exceed what the node has.
//!
//! What an application is granted is reserved for it before any byte of its code is asked for, and goes back when it
//! is gone. While an upgrade may still fail, the reservation covers both versions, the larger of each amount, as one
//! of them runs at a time: what ran before can always run on.

use core::fmt;
use std::collections::BTreeMap;

use prost_kbr::{AppId, Refusal};
use prost_package::{Grant, Resource, Resources};

use crate::io::Space;
use crate::node::Node;

/// The promises.
#[derive(Debug, Clone)]
pub(crate) struct Admission {
    totals: Resources,
    reserved: Resources,
    shares: BTreeMap<AppId, Share>,
    next: u64,
}

/// One application's reservation.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Rises with each application that is admitted.
    turn: u64,
    amounts: Resources,
}

/// There is too little left of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom {
    resource: Resource,
    wanted: u64,
    left: u64,
    total: u64,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoRoom { resource, wanted, left, total } = self;
        write!(f, "it needs {wanted} of node.{}, and of {total} only {left} are left", resource.name())
    }
}

impl Admission {
    pub(crate) fn new(totals: Resources) -> Admission {
        Admission { totals, reserved: Resources::default(), shares: BTreeMap::new(), next: 0 }
    }

    /// What the node gives all applications together.
    pub(crate) fn totals(&self) -> Resources {
        self.totals
    }

    /// What is reserved for all of them.
    pub(crate) fn reserved(&self) -> Resources {
        self.reserved
    }

    /// What is reserved for one.
    pub(crate) fn share(&self, app: &AppId) -> Resources {
        self.shares.get(app).map(|share| share.amounts).unwrap_or_default()
    }

    /// Reserves this for an application, in place of what it has. Where there is no room, it keeps what it has.
    pub(crate) fn reserve(&mut self, app: &AppId, amounts: Resources) -> Result<(), NoRoom> {
        let others = self.reserved.minus(&self.share(app)).unwrap_or_default();
        let left = self.totals.minus(&others).unwrap_or_default();
        if let Some(resource) = Resource::ALL.into_iter().find(|short| amounts.amount(*short) > left.amount(*short)) {
            let of = |resources: &Resources| resources.amount(resource);
            return Err(NoRoom { resource, wanted: of(&amounts), left: of(&left), total: of(&self.totals) });
        }
        // What fits into what is left has no sum beyond the totals.
        self.reserved = others.plus(&amounts).unwrap_or(self.totals);
        let turn = self.next;
        self.next += 1;
        self.shares.entry(app.clone()).or_insert(Share { turn, amounts }).amounts = amounts;
        Ok(())
    }

    /// Gives back what an application needs no longer.
    pub(crate) fn shrink(&mut self, app: &AppId, amounts: Resources) {
        let kept = self.reserve(app, amounts);
        debug_assert!(kept.is_ok(), "a reservation can always shrink: {kept:?}");
    }

    /// Gives back what an application has.
    pub(crate) fn release(&mut self, app: &AppId) {
        if let Some(share) = self.shares.remove(app) {
            self.reserved = self.reserved.minus(&share.amounts).unwrap_or_default();
        }
    }

    /// Takes back all promises, under other totals. Gives what each application had, in the order in which they were
    /// admitted, which is the one in which they are to be asked again.
    pub(crate) fn begin_anew(&mut self, totals: Resources) -> Vec<(AppId, Resources)> {
        let mut before: Vec<(AppId, Share)> = std::mem::take(&mut self.shares).into_iter().collect();
        before.sort_by_key(|(_, share)| share.turn);
        (self.totals, self.reserved) = (totals, Resources::default());
        before.into_iter().map(|(app, share)| (app, share.amounts)).collect()
    }

    /// Whether the sum is right and within the totals.
    #[cfg(any(test, debug_assertions))]
    pub(crate) fn is_sound(&self) -> bool {
        let mut shares = self.shares.values();
        let sum = shares.try_fold(Resources::default(), |sum, share| sum.plus(&share.amounts));
        sum == Some(self.reserved) && self.totals.minus(&self.reserved).is_some()
    }
}

impl Node {
    /// Reserves what a version that is to be installed gets, and enough for the one that it is to replace.
    pub(crate) fn admit_new(&mut self, id: &AppId, grant: Grant) -> Result<Grant, (Refusal, String)> {
        if self.space >= Space::Scarce && self.admission.share(id) == Resources::default() {
            return Err((Refusal::OverBudget, "the disk of this node is nearly full".to_owned()));
        }
        let running = self.apps.get(id).filter(|app| app.started).and_then(|app| app.code.as_ref());
        let fallback = running.map(|code| Resources::of(&code.grant.budgets));
        self.admit(id, grant, fallback)
    }

    /// Reserves what an application that is here gets under a policy that has changed.
    pub(crate) fn admit_again(&mut self, id: &AppId, grant: Grant) -> Result<Grant, (Refusal, String)> {
        let previous = self.apps.get(id).and_then(|app| app.previous.as_ref());
        let fallback = previous.and_then(|code| self.judge(code.manifest()).ok());
        self.admit(id, grant, fallback.map(|grant| Resources::of(&grant.budgets)))
    }

    /// Reserves what an application gets; with a version to fall back to, the larger of each amount.
    pub(crate) fn admit(
        &mut self,
        id: &AppId,
        grant: Grant,
        fallback: Option<Resources>,
    ) -> Result<Grant, (Refusal, String)> {
        let amounts = Resources::of(&grant.budgets).max(&fallback.unwrap_or_default());
        match self.admission.reserve(id, amounts) {
            Ok(()) => Ok(grant),
            Err(no_room) => Err((Refusal::OverBudget, no_room.to_string())),
        }
    }

    /// What is promised to the applications here, and what there is in all.
    pub fn admitted(&self) -> Admitted {
        Admitted { totals: self.admission.totals(), reserved: self.admission.reserved() }
    }

    /// What must hold after every input.
    #[cfg(debug_assertions)]
    pub(crate) fn check_admission(&self) {
        assert!(self.admission.is_sound(), "{:?}", self.admission);
        for id in self.admission.shares.keys() {
            assert!(self.apps.contains_key(id), "{id} is gone, and has a reservation");
        }
        for app in self.apps.values().filter(|app| app.code.is_some()) {
            assert!(self.admission.shares.contains_key(&app.id), "{} has code, and no reservation", app.id);
        }
    }
}

/// How much of a node is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Admitted {
    /// What the node gives all applications together.
    pub totals: Resources,
    /// What of it is reserved.
    pub reserved: Resources,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(number: u8) -> AppId {
        AppId { provider: [number; 32], name: "app".parse().expect("a name") }
    }

    fn amounts(memory_bytes: u64) -> Resources {
        Resources { memory_bytes, storage_bytes: 1, fuel_per_second: 1, applications: 1 }
    }

    fn admission(memory_bytes: u64) -> Admission {
        Admission::new(Resources { memory_bytes, storage_bytes: 100, fuel_per_second: 100, applications: 3 })
    }

    #[test]
    fn what_is_promised_is_not_promised_again() {
        let mut admission = admission(10);
        assert_eq!(admission.reserve(&app(1), amounts(6)), Ok(()));
        let refused = admission.reserve(&app(2), amounts(5)).expect_err("too much");
        assert_eq!(refused.to_string(), "it needs 5 of node.memory_bytes, and of 10 only 4 are left");
        assert_eq!(admission.reserve(&app(2), amounts(4)), Ok(()));
        admission.release(&app(1));
        admission.release(&app(1));
        assert_eq!(admission.reserve(&app(3), amounts(6)), Ok(()));
        assert_eq!(
            admission.reserved(),
            Resources { memory_bytes: 10, storage_bytes: 2, fuel_per_second: 2, applications: 2 }
        );
        assert!(admission.is_sound());
    }

    #[test]
    fn a_reservation_changes_in_place_or_stays() {
        let mut admission = admission(10);
        admission.reserve(&app(1), amounts(6)).expect("there is room");
        admission.reserve(&app(2), amounts(2)).expect("there is room");
        assert!(admission.reserve(&app(1), amounts(9)).is_err());
        assert_eq!(admission.share(&app(1)), amounts(6));
        assert_eq!(admission.reserve(&app(1), amounts(8)), Ok(()));
        assert_eq!(admission.reserve(&app(1), amounts(1)), Ok(()));
        assert_eq!(admission.reserved().memory_bytes, 3);
        assert!(admission.is_sound());
    }

    #[test]
    fn no_number_is_too_large_to_be_refused() {
        let mut admission = admission(u64::MAX);
        assert_eq!(admission.reserve(&app(1), amounts(u64::MAX)), Ok(()));
        assert!(admission.reserve(&app(2), amounts(u64::MAX)).is_err());
        assert!(admission.reserve(&app(2), amounts(1)).is_err());
        assert!(admission.is_sound());
    }

    #[test]
    fn under_other_totals_the_first_are_asked_first() {
        let mut admission = admission(10);
        for number in [3, 1, 2] {
            admission.reserve(&app(number), amounts(3)).expect("there is room");
        }
        // A change does not cost a place in the row.
        admission.reserve(&app(3), amounts(2)).expect("it is less");
        let before = admission.begin_anew(amounts(4));
        let order: Vec<AppId> = before.iter().map(|(app, _)| app.clone()).collect();
        assert_eq!(order, [app(3), app(1), app(2)]);
        assert_eq!(admission.reserved(), Resources::default());
        assert!(admission.is_sound());
    }
}
