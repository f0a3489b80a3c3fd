//! Rings of real `prost` processes for tests: started, asked, killed, started again.
//!
//! Every wait has a deadline, and what a node logged last is in the message of a wait that was in vain. No process
//! outlives its [`Ring`].

mod binary;
mod http;
mod isolation;
mod lan;
mod metrics;
mod network;
mod node;
mod package;
mod ring;
mod slots;

pub use binary::{Output, prost, run};
pub use http::{Answer, http};
pub use isolation::in_own_network;
pub use lan::Lan;
pub use network::{Host, Network};
pub use node::{Node, Starting};
pub use package::{allow, allow_within, deny, package, provider, small_budgets};
pub use ring::{Plan, Ring};

use core::time::Duration;
use std::thread;
use std::time::Instant;

/// How long anything may take that should happen soon, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
pub const LOOK: Duration = Duration::from_millis(50);

/// Waits until it is so; tells whether it became so in time.
pub fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > patience {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}
