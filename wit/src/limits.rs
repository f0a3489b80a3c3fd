//! How much an event and an instance may take.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits that the sandbox enforces on one application. Every number is a ceiling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Fuel of one event; about one unit an instruction.
    pub fuel: u64,
    /// Wall clock of one event.
    pub wall: Duration,
    /// Bytes of linear memory and tables together.
    pub memory_bytes: u64,
    /// Bytes of records, names and overhead included.
    pub storage_bytes: u64,
    /// Effects and writes of one event.
    pub effects: u32,
    /// Bytes of one record's value.
    pub value_bytes: u32,
    /// Bytes of one record's name.
    pub name_bytes: u32,
    /// Bytes of one message's payload.
    pub payload_bytes: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            fuel: 200_000_000,
            wall: Duration::from_millis(250),
            memory_bytes: 64 << 20,
            storage_bytes: 256 << 20,
            effects: 256,
            value_bytes: 64 << 10,
            name_bytes: 512,
            payload_bytes: 128 << 10,
        }
    }
}
