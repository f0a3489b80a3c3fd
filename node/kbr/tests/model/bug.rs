//! Errors that the machines make, where the feature `planted` is on.

use prost_kbr::Config;

#[cfg(feature = "planted")]
pub(crate) use prost_kbr::planted::Bug;

/// There is none.
#[cfg(not(feature = "planted"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {}

#[cfg(feature = "planted")]
pub(crate) fn plant(config: Config, bug: Option<Bug>) -> Config {
    Config { planted: bug, ..config }
}

#[cfg(not(feature = "planted"))]
pub(crate) fn plant(config: Config, _: Option<Bug>) -> Config {
    config
}
