//! One ceiling over all linear memories and tables of an instance.

use wasmtime::ResourceLimiter;

/// Core instances, memories and tables of one component: far above what guest toolchains make.
const INSTANCES: usize = 64;
const MEMORIES: usize = 4;
const TABLES: usize = 16;
/// What the engine keeps for one element of a table.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// Counts bytes of linear memory and tables together.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    used: usize,
    last: usize,
    hit: bool,
}

impl Limiter {
    pub(crate) fn new(limit: u64) -> Limiter {
        Limiter { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: 0, last: 0, hit: false }
    }

    /// Bytes held now.
    pub(crate) fn used(&self) -> u64 {
        self.used as u64
    }

    /// Whether a growth was denied since [`Limiter::clear`].
    pub(crate) fn hit(&self) -> bool {
        self.hit
    }

    /// Forgets that a growth was denied.
    pub(crate) fn clear(&mut self) {
        self.hit = false;
    }

    /// A growth within the limit and within `maximum`, which is the guest's own or the pool's, is allowed. Otherwise it
    /// fails as WebAssembly says: `memory.grow` returns -1 and the guest lives on.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: usize) -> bool {
        let more = desired.saturating_sub(current).saturating_mul(unit);
        let total = self.used.saturating_add(more);
        if total > self.limit || maximum.is_some_and(|maximum| desired > maximum) {
            self.last = 0;
            self.hit = true;
            return false;
        }
        self.used = total;
        self.last = more;
        true
    }

    /// The engine could not make the last growth that was allowed.
    fn undo(&mut self) {
        self.used -= core::mem::take(&mut self.last);
        self.hit = true;
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, 1))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current, desired, maximum, TABLE_ELEMENT))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_limit() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.table_growing(0, 6, None).unwrap());
        assert!(limiter.hit());
        assert!(limiter.table_growing(0, 5, None).unwrap());
        assert_eq!(limiter.used(), 100);
    }

    #[test]
    fn a_growth_that_the_engine_could_not_make_is_given_back() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no room")).unwrap();
        assert_eq!(limiter.used(), 0);
    }

    #[test]
    fn a_growth_past_the_maximum_takes_nothing() {
        let mut limiter = Limiter::new(100);
        assert!(limiter.memory_growing(0, 10, None).unwrap());
        assert!(!limiter.memory_growing(10, 60, Some(50)).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("maximum")).unwrap();
        assert_eq!((limiter.used(), limiter.hit()), (10, true));
    }
}
