//! What a store carries beside the guest: the limits, and what the event under way has done so far.

use std::sync::Arc;

use prost_contract::{Context, Effect, Excess, Limits, LogLevel, Overlay, TrapKind, Turn, Write};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng as _;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;

use crate::limiter::Limiter;
use crate::meter;
use crate::signer::Signer;
use crate::text::clean;

/// A host call stops the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Stop {
    pub(crate) kind: TrapKind,
    message: &'static str,
}

impl Stop {
    pub(crate) fn error(kind: TrapKind, message: &'static str) -> wasmtime::Error {
        wasmtime::Error::new(Stop { kind, message })
    }
}

/// What an excess of an event does to its guest.
pub(crate) fn bounded<T>(done: Result<T, Excess>) -> wasmtime::Result<T> {
    done.map_err(|excess| Stop::error(TrapKind::TooManyEffects, excess.message()))
}

/// A store's data.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) files: WasiFilesystemCtx,
    pub(crate) signer: Option<Arc<dyn Signer>>,
    /// What the event under way does.
    pub(crate) turn: Turn,
    /// What it costs, says and draws.
    pub(crate) account: Account,
}

/// What one event has cost so far, what it has said, and its random numbers.
#[derive(Default)]
pub(crate) struct Account {
    /// Whether an event is under way; false while an instance starts, when the contract's imports may not be called.
    open: bool,
    /// Fuel that host calls cost. The store's own account is out of their reach, so that the two are added up at the
    /// end, and neither may exceed the limit on the way.
    pub(crate) charged: u64,
    lines: Vec<Effect>,
    /// Standard output and standard error.
    pub(crate) output: Vec<u8>,
    random: Option<ChaCha12Rng>,
}

impl State {
    pub(crate) fn new(limits: Limits, signer: Option<Arc<dyn Signer>>, context: Context) -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(meter::RESOURCES);
        State {
            limiter: Limiter::new(limits.memory_bytes),
            table,
            files: WasiFilesystemCtx::default(),
            signer,
            turn: Turn::new(limits, context),
            account: Account::default(),
        }
    }

    /// An event starts, over these records.
    pub(crate) fn begin(&mut self, context: &Context, records: Overlay) {
        self.turn.begin(context.clone(), records);
        self.account = Account { open: true, ..Account::default() };
        self.limiter.clear();
    }

    /// The event is over: the records, and what it asked for where it ended `well`, the lines that it wrote last.
    pub(crate) fn end(&mut self, well: bool) -> (Overlay, Vec<Effect>, Vec<Write>) {
        let (records, mut effects, writes) = self.turn.end(well);
        if well {
            core::mem::take(&mut self.account).add_lines(&mut effects);
        }
        (records, effects, writes)
    }

    /// Charges a call of the contract: the border, `fuel` for what it does, and the bytes that cross.
    pub(crate) fn enter(&mut self, fuel: u64, bytes: usize) -> wasmtime::Result<()> {
        if !self.account.open {
            return Err(Stop::error(TrapKind::Fault, "the contract was called before init"));
        }
        self.charge(fuel, bytes)
    }

    /// Charges a host call.
    pub(crate) fn charge(&mut self, fuel: u64, bytes: usize) -> wasmtime::Result<()> {
        let cost = (bytes as u64).saturating_mul(meter::BYTE).saturating_add(meter::CALL).saturating_add(fuel);
        self.account.charged = self.account.charged.saturating_add(cost);
        if self.account.charged > self.turn.limits().fuel {
            return Err(Stop::error(TrapKind::OutOfFuel, "the host calls of the event used up its fuel"));
        }
        Ok(())
    }

    /// Notes a line for the node's log, unless the event has written its share.
    pub(crate) fn line(&mut self, level: LogLevel, line: &str) {
        if self.account.lines.len() < meter::LINES {
            self.account.lines.push(Effect::Log { level, line: clean(line, meter::LINE_BYTES) });
        }
    }

    /// Notes what the guest printed, unless the event has printed its share.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let room = meter::OUTPUT_BYTES - self.account.output.len();
        self.account.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The event's random numbers: the same seed gives the same ones everywhere. Start code draws others than the first
    /// event, which may well have the same seed.
    pub(crate) fn random(&mut self) -> &mut ChaCha12Rng {
        let seed = self.turn.context().seed;
        let seed = if self.account.open { seed } else { !seed };
        self.account.random.get_or_insert_with(|| ChaCha12Rng::seed_from_u64(seed))
    }
}

impl Account {
    /// Adds the lines that the handler logged, and then those that it printed.
    fn add_lines(mut self, effects: &mut Vec<Effect>) {
        let printed = String::from_utf8_lossy(&self.output);
        let room = meter::LINES - self.lines.len();
        let lines = printed.lines().map(|line| clean(line, meter::LINE_BYTES)).filter(|line| !line.is_empty());
        effects.append(&mut self.lines);
        effects.extend(lines.take(room).map(|line| Effect::Log { level: LogLevel::Info, line }));
    }
}
