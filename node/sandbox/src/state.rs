//! What a store carries beside the guest: the limits, and what the event under way has done so far.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost_contract::{Context, Effect, Limits, LogLevel, TrapKind, Write};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng as _;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtx;

use crate::limiter::Limiter;
use crate::meter;
use crate::overlay::{Nothing, Overlay};
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

/// A store's data.
pub(crate) struct State {
    pub(crate) limits: Limits,
    pub(crate) limiter: Limiter,
    pub(crate) table: ResourceTable,
    pub(crate) files: WasiFilesystemCtx,
    pub(crate) signer: Option<Arc<dyn Signer>>,
    pub(crate) records: Overlay,
    pub(crate) context: Context,
    pub(crate) turn: Turn,
}

/// What one event has done so far.
#[derive(Default)]
pub(crate) struct Turn {
    /// Whether an event is under way; false while an instance starts, when the contract's imports may not be called.
    open: bool,
    /// Fuel that host calls cost. The store's own account is out of their reach, so that the two are added up at the
    /// end, and neither may exceed the limit on the way.
    pub(crate) charged: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) writes: Vec<Write>,
    pub(crate) lines: Vec<Effect>,
    /// Standard output and standard error.
    pub(crate) output: Vec<u8>,
    /// The store failed: whatever the handler makes of it, nothing of the event takes effect.
    pub(crate) store_failed: bool,
    /// Bytes of effects and writes.
    bytes: usize,
    ids: u64,
    answered: BTreeSet<u64>,
    random: Option<ChaCha12Rng>,
}

impl State {
    pub(crate) fn new(limits: Limits, signer: Option<Arc<dyn Signer>>, context: Context) -> State {
        let mut table = ResourceTable::new();
        table.set_max_capacity(meter::RESOURCES);
        State {
            limiter: Limiter::new(limits.memory_bytes),
            limits,
            table,
            files: WasiFilesystemCtx::default(),
            signer,
            records: Overlay::new(Arc::new(Nothing)),
            context,
            turn: Turn::default(),
        }
    }

    /// An event starts.
    pub(crate) fn begin(&mut self, context: &Context) {
        self.records.begin(context.now_ms);
        self.context = context.clone();
        self.turn = Turn { open: true, ..Turn::default() };
        self.limiter.clear();
    }

    /// Charges a call of the contract: the border, `fuel` for what it does, and the bytes that cross.
    pub(crate) fn enter(&mut self, fuel: u64, bytes: usize) -> wasmtime::Result<()> {
        if !self.turn.open {
            return Err(Stop::error(TrapKind::Fault, "the contract was called before init"));
        }
        self.charge(fuel, bytes)
    }

    /// Charges a host call.
    pub(crate) fn charge(&mut self, fuel: u64, bytes: usize) -> wasmtime::Result<()> {
        let cost = (bytes as u64).saturating_mul(meter::BYTE).saturating_add(meter::CALL).saturating_add(fuel);
        self.turn.charged = self.turn.charged.saturating_add(cost);
        if self.turn.charged > self.limits.fuel {
            return Err(Stop::error(TrapKind::OutOfFuel, "the host calls of the event used up its fuel"));
        }
        Ok(())
    }

    /// Notes an effect that hands over `bytes` bytes.
    pub(crate) fn effect(&mut self, effect: Effect, bytes: usize) -> wasmtime::Result<()> {
        self.count(bytes)?;
        self.turn.effects.push(effect);
        Ok(())
    }

    /// Notes a write that changes the bytes stored by `growth`.
    pub(crate) fn write(&mut self, write: Write, growth: i64) -> wasmtime::Result<()> {
        self.count(write.name.len() + write.value.as_ref().map_or(0, |(value, _)| value.len()))?;
        self.records.write(&write, growth);
        self.turn.writes.push(write);
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let turn = &mut self.turn;
        turn.bytes = turn.bytes.saturating_add(bytes);
        if turn.effects.len() + turn.writes.len() >= self.limits.effects as usize {
            return Err(Stop::error(TrapKind::TooManyEffects, "the event asked for too many effects"));
        }
        if turn.bytes > meter::EVENT_BYTES {
            return Err(Stop::error(TrapKind::TooManyEffects, "the event handed over too much data"));
        }
        Ok(())
    }

    /// The next number for a message or a timer of this event.
    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.context.first_id.wrapping_add(self.turn.ids);
        self.turn.ids += 1;
        id
    }

    /// Notes that the event answers a request; false where it has done so before.
    pub(crate) fn answer(&mut self, request: u64) -> bool {
        self.turn.answered.insert(request)
    }

    /// Whether the event has answered a request.
    pub(crate) fn has_answered(&self, request: u64) -> bool {
        self.turn.answered.contains(&request)
    }

    /// Notes a line for the node's log, unless the event has written its share.
    pub(crate) fn line(&mut self, level: LogLevel, line: &str) {
        if self.turn.lines.len() < meter::LINES {
            self.turn.lines.push(Effect::Log { level, line: clean(line, meter::LINE_BYTES) });
        }
    }

    /// Notes what the guest printed, unless the event has printed its share.
    pub(crate) fn print(&mut self, bytes: &[u8]) {
        let room = meter::OUTPUT_BYTES - self.turn.output.len();
        self.turn.output.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The event's random numbers: the same seed gives the same ones everywhere. Start code draws others than the first
    /// event, which may well have the same seed.
    pub(crate) fn random(&mut self) -> &mut ChaCha12Rng {
        let seed = if self.turn.open { self.context.seed } else { !self.context.seed };
        self.turn.random.get_or_insert_with(|| ChaCha12Rng::seed_from_u64(seed))
    }
}

impl Turn {
    /// Everything the handler asked for, lines it printed and logged at the end.
    pub(crate) fn into_effects(mut self) -> (Vec<Effect>, Vec<Write>) {
        let printed = String::from_utf8_lossy(&self.output);
        let room = meter::LINES - self.lines.len();
        let lines = printed.lines().map(|line| clean(line, meter::LINE_BYTES)).filter(|line| !line.is_empty());
        self.effects.append(&mut self.lines);
        self.effects.extend(lines.take(room).map(|line| Effect::Log { level: LogLevel::Info, line }));
        (self.effects, self.writes)
    }
}
