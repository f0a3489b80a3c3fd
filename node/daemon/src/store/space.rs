//! How much room the disk has, so that the store refuses before the disk does: an error of the disk is the store's end.

use std::fs::File;

use prost_manager::Space;
use rustix::fs::{fstat, fstatvfs};

/// Bytes that are kept free, so that removals and what is under way always have room.
const HEADROOM: u64 = 64 << 20;
/// At most this part of the file system, where that is small.
const HEADROOM_SHARE: u64 = 20;
/// Percent of the room from which on nothing new is installed, and nothing grows.
const SCARCE: u64 = 90;
const FULL: u64 = 95;
/// Bytes of a block in what `stat` says.
const BLOCK: u64 = 512;

/// What the disk says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes of the whole file system.
    pub(super) total: u64,
    /// Bytes that are free.
    pub(super) available: u64,
    /// Bytes that the store's file takes up.
    pub(super) allocated: u64,
}

/// Says how much room there is; none where that cannot be found out.
pub(super) type Gauge = Box<dyn Fn() -> Option<Room> + Send>;

/// A gauge of the file system that a file is on.
pub(super) fn gauge(file: File) -> Gauge {
    Box::new(move || {
        let (system, file) = (fstatvfs(&file).ok()?, fstat(&file).ok()?);
        Some(Room {
            total: system.f_blocks.saturating_mul(system.f_frsize),
            available: system.f_bavail.saturating_mul(system.f_frsize),
            allocated: u64::try_from(file.st_blocks).ok()?.saturating_mul(BLOCK),
        })
    })
}

/// What is left of the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) space: Space,
    /// Bytes of records that may still come.
    pub(super) bytes: u64,
}

impl Default for Left {
    fn default() -> Left {
        Left { space: Space::Enough, bytes: u64::MAX }
    }
}

/// What bytes of records take up in the file, the tree around them included: half as much again, on average, as pages
/// of a B-tree are about two thirds full (Yao, Acta Informatica 9, 1978).
pub(super) const fn in_file(bytes: u64) -> u64 {
    bytes.saturating_add(bytes / 2)
}

impl Room {
    /// What is left, where the records take so many bytes. The file keeps the room that removals have freed for what
    /// comes next, so that its size alone does not tell.
    pub(super) fn left(self, records: u64) -> Left {
        let headroom = HEADROOM.min(self.total / HEADROOM_SHARE);
        let capacity = self.allocated.saturating_add(self.available.saturating_sub(headroom));
        let used = self.allocated.min(in_file(records));
        let mark = |percent: u64| (u128::from(capacity) * u128::from(percent) / 100) as u64;
        let mut bytes = mark(FULL).saturating_sub(used);
        if self.available < headroom / 2 {
            // The file can hardly grow: of what is estimated to be free in it, half is believed.
            bytes = bytes.min((self.allocated - used) / 2);
        }
        let space = if bytes == 0 {
            Space::Full
        } else if used >= mark(SCARCE) || self.available < headroom {
            Space::Scarce
        } else {
            Space::Enough
        };
        Left { space, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(used: u64, free: u64) -> Space {
        Room { total: 100 * GIB, available: free, allocated: used }.left(used).space
    }

    #[test]
    fn room_grows_scarce_at_nine_tenths_and_full_at_nineteen_twentieths() {
        assert_eq!(space(89 * GIB, 11 * GIB), Space::Enough);
        assert_eq!(space(91 * GIB, 9 * GIB), Space::Scarce);
        assert_eq!(space(96 * GIB, 4 * GIB), Space::Full);
    }

    #[test]
    fn what_was_removed_makes_room_although_the_file_keeps_its_size() {
        let room = Room { total: 100 * GIB, available: GIB, allocated: 99 * GIB };
        assert_eq!(room.left(99 * GIB), Left { space: Space::Full, bytes: 0 });
        let left = room.left(40 * GIB);
        assert_eq!(left.space, Space::Enough);
        assert!(left.bytes > 30 * GIB && left.bytes < 40 * GIB, "{left:?}");
    }

    #[test]
    fn what_others_have_filled_is_no_room_and_the_headroom_is_none() {
        let room = |available| Room { total: 100 * GIB, available, allocated: 4 << 20 };
        assert_eq!(room(HEADROOM - 1).left(1 << 20).space, Space::Scarce);
        assert_eq!(room(HEADROOM / 2 - 1).left(4 << 20), Left { space: Space::Full, bytes: 0 });
        assert_eq!(room(0).left(0), Left { space: Space::Scarce, bytes: 2 << 20 });
    }

    #[test]
    fn no_numbers_are_too_large() {
        let most = Room { total: u64::MAX, available: u64::MAX, allocated: u64::MAX };
        assert_eq!(most.left(u64::MAX), Left { space: Space::Full, bytes: 0 });
        assert_eq!(Room { total: 0, available: 0, allocated: 0 }.left(0), Left { space: Space::Full, bytes: 0 });
    }
}
