//! The Programmable Peer layer of a Prost node: the whole node as one machine.
//!
//! [`Node`] owns the routing layer and the applications. It decides what is fetched, installed, run, made durable and
//! sent, and it touches nothing: a driver gives it one [`Input`] at a time, takes [`Output`]s until none are left, and
//! asks when it wants to be woken. The daemon and the simulator are two such drivers.
//!
//! The life of a message: routing hands it over ([`prost_kbr::Output::Deliver`]); the application is looked up, and
//! fetched, judged, compiled and started where it is missing; the event waits its turn, runs in the sandbox
//! ([`Output::Run`]), its writes are made durable ([`Output::Commit`]), and only then do its effects leave.

mod admission;
mod app;
mod arrive;
mod calls;
mod code;
mod content;
mod download;
mod effects;
mod fetch;
mod install;
mod io;
mod ledger;
mod node;
mod operator;
mod provision;
mod records;
mod run;
mod saving;
mod status;
mod timers;
mod upgrade;

pub use admission::Admitted;
pub use content::{ContentSettings, ContentStats, PublishFailure, Published};
pub use io::{CallFailure, DownloadFailure, Input, InstallFailure, NotDurable, Output, RunEvent, Search, Space};
pub use ledger::Usage;
pub use node::{Node, Settings};
pub use prost_contract::Sum;
pub use records::{Block, Cover, Found, Look, RangeIndex, RecordStats, look};
pub use status::{AppState, AppStatus, Installation, Source, Stats};
