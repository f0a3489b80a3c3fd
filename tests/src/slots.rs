//! How many rings run at once.

use std::sync::{Condvar, Mutex, PoisonError};

/// Rings at once: each has several processes, and the machine may have two cores.
const SLOTS: usize = 2;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Leave to run a ring, until it is dropped.
pub(crate) struct Slot(());

impl Slot {
    /// Waits until there is one.
    pub(crate) fn take() -> Slot {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= SLOTS;
        *FREED.wait_while(taken, full).unwrap_or_else(PoisonError::into_inner) += 1;
        Slot(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
