//! What applications have to share on a node.

use serde::{Deserialize, Serialize};

use crate::manifest::Budgets;

/// Something of which a node has just so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// Bytes of linear memory and tables.
    Memory,
    /// Bytes of records.
    Storage,
    /// Fuel a second: the share of the processor.
    Fuel,
    /// Places for applications.
    Applications,
}

impl Resource {
    /// Every resource, in a fixed order.
    pub const ALL: [Resource; 4] = [Resource::Memory, Resource::Storage, Resource::Fuel, Resource::Applications];

    /// The name, as in policies, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory_bytes",
            Resource::Storage => "storage_bytes",
            Resource::Fuel => "fuel_per_second",
            Resource::Applications => "applications",
        }
    }
}

/// An amount of each resource: of a node, of one application, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of linear memory and tables.
    pub memory_bytes: u64,
    /// Bytes of records.
    pub storage_bytes: u64,
    /// Fuel a second.
    pub fuel_per_second: u64,
    /// Applications.
    pub applications: u64,
}

impl Resources {
    /// Most applications that a node can be told to take: its tables have room for no more.
    pub const MAX_APPLICATIONS: u64 = 256;
    /// Applications with the budgets of [`Budgets::default`] for which a node has room where its operator says nothing.
    /// As many as have a label of their own in the metrics; more than one machine runs well at full load, which few
    /// applications ever reach.
    pub const DEFAULT_APPLICATIONS: u64 = 64;

    /// What a node gives where its operator says nothing.
    pub fn default_totals() -> Resources {
        let each = Resources::of(&Budgets::default());
        let count = Resources::DEFAULT_APPLICATIONS;
        Resources {
            memory_bytes: each.memory_bytes * count,
            storage_bytes: each.storage_bytes * count,
            fuel_per_second: each.fuel_per_second * count,
            applications: count,
        }
    }

    /// What one application with these budgets may come to use.
    pub fn of(budgets: &Budgets) -> Resources {
        Resources {
            memory_bytes: budgets.memory_bytes,
            storage_bytes: budgets.storage_bytes,
            fuel_per_second: budgets.fuel_per_second,
            applications: 1,
        }
    }

    /// How much of this one.
    pub fn amount(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Memory => self.memory_bytes,
            Resource::Storage => self.storage_bytes,
            Resource::Fuel => self.fuel_per_second,
            Resource::Applications => self.applications,
        }
    }

    /// Every amount with its name, in a fixed order.
    pub fn named(&self) -> [(&'static str, u64); 4] {
        Resource::ALL.map(|resource| (resource.name(), self.amount(resource)))
    }

    /// The higher of the two, amount by amount.
    #[must_use]
    pub fn max(&self, other: &Resources) -> Resources {
        self.pairwise(other, |one, other| Some(one.max(other))).unwrap_or(*self)
    }

    /// Both together; none where a number does not hold that.
    pub fn plus(&self, other: &Resources) -> Option<Resources> {
        self.pairwise(other, u64::checked_add)
    }

    /// What is left of this without the other; none where the other is more.
    pub fn minus(&self, other: &Resources) -> Option<Resources> {
        self.pairwise(other, u64::checked_sub)
    }

    /// Of how many such shares this has room, and what would run out first.
    pub fn room_for(&self, share: &Resources) -> (u64, Resource) {
        let each = Resource::ALL.map(|resource| {
            let count = self.amount(resource).checked_div(share.amount(resource));
            (count.unwrap_or(u64::MAX), resource)
        });
        each.into_iter().min().unwrap_or((u64::MAX, Resource::Applications))
    }

    fn pairwise(&self, other: &Resources, join: fn(u64, u64) -> Option<u64>) -> Option<Resources> {
        Some(Resources {
            memory_bytes: join(self.memory_bytes, other.memory_bytes)?,
            storage_bytes: join(self.storage_bytes, other.storage_bytes)?,
            fuel_per_second: join(self.fuel_per_second, other.fuel_per_second)?,
            applications: join(self.applications, other.applications)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_room_by_default_for_as_many_default_applications_as_it_has_places() {
        let (count, _) = Resources::default_totals().room_for(&Resources::of(&Budgets::default()));
        assert_eq!(count, Resources::DEFAULT_APPLICATIONS);
    }

    #[test]
    fn room_is_what_runs_out_first() {
        let totals = Resources { memory_bytes: 100, storage_bytes: 100, fuel_per_second: 100, applications: 100 };
        let share = |memory_bytes, storage_bytes, fuel_per_second| Resources {
            memory_bytes,
            storage_bytes,
            fuel_per_second,
            applications: 1,
        };
        assert_eq!(totals.room_for(&share(30, 1, 1)), (3, Resource::Memory));
        assert_eq!(totals.room_for(&share(1, 101, 1)), (0, Resource::Storage));
        assert_eq!(totals.room_for(&share(1, 1, 100)), (1, Resource::Fuel));
        assert_eq!(totals.room_for(&share(1, 1, 0)), (100, Resource::Memory));
        assert_eq!(totals.room_for(&Resources::default()), (u64::MAX, Resource::Memory));
    }

    #[test]
    fn sums_and_differences_do_not_wrap() {
        let one = Resources { memory_bytes: u64::MAX, storage_bytes: 1, fuel_per_second: 1, applications: 1 };
        assert_eq!(one.plus(&one), None);
        assert_eq!(
            one.plus(&Resources { storage_bytes: 2, ..Resources::default() }).map(|sum| sum.storage_bytes),
            Some(3)
        );
        assert_eq!(Resources::default().minus(&one), None);
        assert_eq!(one.minus(&one), Some(Resources::default()));
    }
}
