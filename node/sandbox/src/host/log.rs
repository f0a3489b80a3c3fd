//! Capability `log`.

use prost_contract::LogLevel;

use crate::bindings::prost::peerlet::log::{Host, Level};
use crate::state::State;

impl Host for State {
    fn write(&mut self, level: Level, line: String) -> wasmtime::Result<()> {
        self.enter(0, line.len())?;
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.line(level, &line);
        Ok(())
    }
}
