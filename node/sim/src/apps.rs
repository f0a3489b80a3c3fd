//! Applications in a world: who compiles them, who runs them, and what that takes of the virtual time.
//!
//! A world knows no engine. Whoever wants applications in it brings a [`Runtime`]: the real sandbox, or a stand-in that
//! is written in Rust and costs next to nothing.

pub(crate) mod digest;

use core::time::Duration;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost_contract::Execution;
pub use prost_contract::SharedRecords;
use prost_kbr::{AppId, NodeId, Refusal};
use prost_manager::{ContentSettings, RunEvent};
use prost_package::{Grant, Package, Policy};

/// Compiles components.
pub trait Runtime: Send {
    /// Compiles a component and links what was granted. A world asks once for each component and each set of
    /// capabilities, however many nodes run it.
    ///
    /// # Errors
    ///
    /// What the node answers, and one line for its log.
    fn compile(&mut self, component: &Bytes, grant: &Grant) -> Result<Arc<dyn Program>, (Refusal, String)>;
}

/// A component that has been compiled.
pub trait Program: Send + Sync {
    /// Makes an application of it on one node. Nothing of it runs yet.
    fn load(&self, home: &Home, grant: &Grant) -> Box<dyn Guest>;
}

/// An application on one node, between its start and its end.
pub trait Guest: Send {
    /// Runs these events in order and stops at the first trap, as
    /// [`Output::Run`](prost_manager::Output::Run) asks. `used` is what the application's records take.
    ///
    /// All that it does must follow from its arguments and from what it has run before. The time that a receipt names
    /// does not count: the world puts its own in its place.
    fn run(&mut self, events: Vec<RunEvent>, records: SharedRecords, used: u64) -> Vec<Execution>;
}

/// Where an application is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The node.
    pub node: NodeId,
    /// The application.
    pub app: AppId,
}

/// How applications run in a world.
pub struct Applications {
    /// Compiles them.
    pub runtime: Box<dyn Runtime>,
    /// The policy of every node.
    pub policy: Arc<Policy>,
    /// How long a node's disk takes to make writes durable.
    pub commit: Duration,
    /// Packages that stand at URLs. At all others nothing does.
    pub pages: BTreeMap<String, Package>,
    /// Bytes of others' code that every node keeps for the ring.
    pub content_bytes: u64,
}

impl Applications {
    /// How long a disk takes to make writes durable, where nobody says: one `fsync` of an SSD without a capacitor.
    pub const COMMIT: Duration = Duration::from_millis(4);
    /// How long a node takes to look something up in its store, in microseconds.
    pub(crate) const LOOK_US: u64 = 200;
    /// How long each half of a download takes: until the manifest is there, and from then on.
    pub(crate) const DOWNLOAD_US: u64 = 200_000;
    /// Fuel that a node burns in a microsecond. A unit is about one WebAssembly instruction, and compiled code with an
    /// account of fuel does about so many of them.
    pub const FUEL_PER_US: u64 = 1_000;
    /// Bytes of a component that a node compiles in a millisecond.
    pub const COMPILED_PER_MS: u64 = 1_000;

    /// Every node runs what anybody provides, with what it asks for.
    pub fn new(runtime: Box<dyn Runtime>) -> Applications {
        Applications {
            runtime,
            policy: Arc::new(Policy::default_only(true)),
            commit: Applications::COMMIT,
            pages: BTreeMap::new(),
            content_bytes: ContentSettings::DEFAULT_BYTES,
        }
    }

    /// The time that so much fuel takes, in microseconds.
    pub(crate) fn run_us(fuel: u64) -> u64 {
        fuel.div_ceil(Applications::FUEL_PER_US).max(1)
    }

    /// The time that the compiler takes, in microseconds.
    pub(crate) fn compile_us(component: &[u8]) -> u64 {
        (component.len() as u64 * 1000).div_ceil(Applications::COMPILED_PER_MS).max(1)
    }
}

impl fmt::Debug for Applications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applications")
            .field("policy", &self.policy)
            .field("commit", &self.commit)
            .field("content_bytes", &self.content_bytes)
            .finish_non_exhaustive()
    }
}

/// What the applications on a node have done, over all of its lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppUsage {
    /// Events that ran.
    pub events: u64,
    /// Those of them that were messages: delivered, or passing through.
    pub messages: u64,
    /// Fuel that they burnt.
    pub fuel: u64,
    /// Traps, by kind.
    pub traps: BTreeMap<&'static str, u64>,
    /// Refusals to run an application, by reason.
    pub refusals: BTreeMap<Refusal, u64>,
    /// Bytes that the records take now.
    pub stored_bytes: u64,
}
