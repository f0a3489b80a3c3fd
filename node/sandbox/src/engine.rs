//! The engine that all peerlets of a process share, and the clock that stops them.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmparser::WasmFeatures;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::code::fingerprint;
use crate::inspect::features;

/// One tick of the clock that stops handlers which take too long.
pub const TICK: Duration = Duration::from_millis(10);

/// Bytes of stack for a guest. The rest of the thread's stack stays for the host.
const GUEST_STACK: usize = 512 << 10;
/// Bytes that a memory allocated on demand can grow before it has to move.
const ROOM_TO_GROW: u64 = 256 << 10;
/// What the engine uses itself, in the adapters that it makes between components, and no component may.
const OWN_FEATURES: WasmFeatures = WasmFeatures::MULTI_MEMORY;
/// Frames of a trap's backtrace.
const FRAMES: usize = 8;
/// What a pooled instance may have; the same numbers as the bounds of [`inspect`](crate::inspect()), with room for the
/// adapters that the engine itself adds.
const POOL_CORE_INSTANCES_PER_COMPONENT: u32 = 64;
const POOL_MEMORIES_PER_COMPONENT: u32 = 2;
const POOL_TABLES_PER_COMPONENT: u32 = 8;

/// How an engine allocates instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Instances that are kept ready in a pool, and also the most that can live at a time. Zero allocates each on
    /// demand, without a bound of its own and in little address space: for a simulator with thousands of nodes.
    pub pooled_instances: u32,
    /// The most linear memory that a pooled instance can ever have, in bytes.
    pub pooled_memory_bytes: usize,
}

impl Default for EngineOptions {
    fn default() -> EngineOptions {
        EngineOptions { pooled_instances: 128, pooled_memory_bytes: 64 << 20 }
    }
}

/// No engine can be made on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no WebAssembly engine can be made here: {0}")]
pub struct EngineError(String);

/// Compiles and runs components. A clone is the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    wasmtime: wasmtime::Engine,
    pooling: bool,
    fingerprint: [u8; 32],
}

impl Engine {
    /// Makes an engine. Where the address space is too small for the pool, instances are allocated on demand instead.
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        if options.pooled_instances > 0
            && let Ok(wasmtime) = wasmtime::Engine::new(&pooled(&options))
        {
            return Ok(Engine::of(wasmtime, true));
        }
        Ok(Engine::of(made(&on_demand())?, false))
    }

    /// Makes an engine that only compiles, for an engine that [is pooling](Engine::is_pooling) or one that is not. It has
    /// no pool, which a process with little address space would have no room for.
    pub fn for_compiling(pooling: bool) -> Result<Engine, EngineError> {
        let config = if pooling { config() } else { on_demand() };
        Ok(Engine::of(made(&config)?, false))
    }

    fn of(wasmtime: wasmtime::Engine, pooling: bool) -> Engine {
        let fingerprint = fingerprint(&wasmtime);
        Engine { inner: Arc::new(Inner { wasmtime, pooling, fingerprint }) }
    }

    /// Whether instances come from a pool.
    pub fn is_pooling(&self) -> bool {
        self.inner.pooling
    }

    /// Moves the clock on by one [`TICK`]. Without ticks no handler is ever stopped for the time it takes, only for its
    /// fuel: what a simulator wants.
    pub fn tick(&self) {
        self.inner.wasmtime.increment_epoch();
    }

    /// Ticks from a thread until the guard is dropped. One ticker an engine: two would make time run twice as fast.
    pub fn start_ticker(&self) -> Result<Ticker, EngineError> {
        let (stop, stopped) = mpsc::channel::<()>();
        let engine = self.clone();
        let thread = std::thread::Builder::new()
            .name("sandbox-ticker".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    engine.tick();
                }
            })
            .map_err(|error| EngineError(error.to_string()))?;
        Ok(Ticker { stop: Some(stop), thread: Some(thread) })
    }

    /// A digest of the compiler, its settings and this machine: code runs on engines with the same one.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.inner.fingerprint
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.wasmtime
    }
}

fn made(config: &Config) -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(config).map_err(|error| EngineError(format!("{error:#}")))
}

/// The clock's thread; dropping it stops the clock.
#[must_use = "the clock stops when this is dropped"]
pub struct Ticker {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only counts, so that there is nothing to learn from how it ended.
            let _ = thread.join();
        }
    }
}

/// Both fuel, the account, and epochs, the wall clock. NaNs are canonical so that equal events give equal bytes
/// everywhere. What [`inspect`](crate::inspect()) refuses is off.
fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_init_cow(true)
        .max_wasm_stack(GUEST_STACK)
        .cranelift_nan_canonicalization(true)
        .wasm_features(WasmFeatures::all().difference(features() | OWN_FEATURES), false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(core::num::NonZeroUsize::new(FRAMES));
    config
}

/// Memories as large as they are used, side by side and without guards, so that the kernel takes neighbours for one
/// mapping: it allows a process some 65,000 of them.
fn on_demand() -> Config {
    let mut config = config();
    config
        .memory_reservation(0)
        .memory_reservation_for_growth(ROOM_TO_GROW)
        .memory_guard_size(0)
        .guard_before_linear_memory(false)
        .memory_init_cow(false);
    config
}

fn pooled(options: &EngineOptions) -> Config {
    let count = options.pooled_instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(count)
        .total_core_instances(count.saturating_mul(POOL_CORE_INSTANCES_PER_COMPONENT))
        .total_memories(count)
        .total_tables(count.saturating_mul(POOL_TABLES_PER_COMPONENT))
        .total_stacks(1)
        .max_memory_size(options.pooled_memory_bytes)
        .max_core_instances_per_component(POOL_CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(POOL_MEMORIES_PER_COMPONENT)
        .max_tables_per_component(POOL_TABLES_PER_COMPONENT)
        .max_tables_per_module(POOL_TABLES_PER_COMPONENT);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_takes_what_the_inspection_takes_and_nothing_else() {
        let pooled = Engine::new(EngineOptions { pooled_instances: 1, ..EngineOptions::default() });
        let on_demand = Engine::new(EngineOptions { pooled_instances: 0, ..EngineOptions::default() });
        for engine in [pooled, on_demand, Engine::for_compiling(true), Engine::for_compiling(false)] {
            let engine = engine.expect("an engine");
            assert_eq!(engine.wasmtime().get_wasm_features(), features() | OWN_FEATURES);
        }
    }
}
