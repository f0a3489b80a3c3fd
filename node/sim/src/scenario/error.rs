//! Why a run cannot be made.

use std::path::PathBuf;

use crate::latency::LatencyError;

/// Why a run cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is out of range.
    #[error("{name}: {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The latency model cannot be had.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// The study's file has a mistake.
    #[error("{}:{line}: {reason}", path.display())]
    Study {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A node will not have the application.
    #[error("the peerlet cannot be installed: {reason}")]
    NotInstalled {
        /// What the node said.
        reason: String,
    },
    /// The ring has not come to its size in time: the routing layer does not work under these conditions.
    #[error("only {members} of {nodes} nodes were members after {after_s} virtual seconds of growth")]
    NotGrown {
        /// Members then.
        members: usize,
        /// Nodes asked for.
        nodes: u32,
        /// Virtual seconds since the start.
        after_s: u64,
    },
}
