//! Why a demo came to nothing.

use std::io;
use std::path::PathBuf;

use prost_certs::{IssueError, Rejection, SaveError};

use crate::admin_client::AdminError;
use crate::exit;

/// Why a demo came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Fewer nodes than make a ring, or more than a demo is for.
    #[error("a demo has 2 to {max} nodes, not {0}", max = super::MAX_NODES)]
    Nodes(usize),
    /// The directory of files cannot be read.
    #[error("{path}: {error}")]
    Input {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is nothing to store.
    #[error("{0}: there is no file in it that can be read")]
    NoFiles(PathBuf),
    /// More files than a demo is for.
    #[error("{path}: more than {max} files", max = super::MAX_FILES)]
    TooManyFiles {
        /// The directory.
        path: PathBuf,
    },
    /// Certificates cannot be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// Certificates cannot be written.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A certificate that was just made has no place on the ring.
    #[error("a new certificate would be refused: {0}")]
    Certificate(Rejection),
    /// The operating system refuses something.
    #[error("cannot {what}: {error}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// A node's process ended by itself.
    #[error("{node} has ended by itself: {status}")]
    NodeEnded {
        /// Which.
        node: String,
        /// Its exit status.
        status: String,
        /// The last lines of its log.
        log: String,
    },
    /// A node's process does not say where it can be reached.
    #[error("{node} is not up after {seconds} s")]
    NotUp {
        /// Which.
        node: String,
        /// How long it had.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// The ring does not become what it must be.
    #[error("no ideal ring after {seconds} s: {right} of {nodes} nodes have the right neighbours")]
    NoRing {
        /// How long it had.
        seconds: u64,
        /// Nodes with the right neighbours.
        right: usize,
        /// All of them.
        nodes: usize,
    },
    /// The package cannot be installed at the first node.
    #[error("the dht cannot be installed: {0}")]
    Install(AdminError),
    /// A file cannot be stored.
    #[error("{name} cannot be stored: {cause}")]
    Store {
        /// The file.
        name: String,
        /// Why.
        cause: String,
    },
    /// No node but the first has got the application.
    #[error("after {seconds} s no node but the first runs the dht")]
    NotSpread {
        /// How long it had.
        seconds: u64,
    },
    /// Not everything came back right.
    #[error("{wrong} of {files} files did not come back byte for byte")]
    Damaged {
        /// Files that are missing or differ, before or after the loss of a node.
        wrong: usize,
        /// All of them.
        files: usize,
    },
    /// Records lack copies, or nodes keep some that belong elsewhere.
    #[error("after {seconds} s the nodes keep {there} bytes of records, where all copies are {wanted} bytes")]
    NotWhole {
        /// How long it had.
        seconds: u64,
        /// Bytes that are there.
        there: u64,
        /// Bytes that there should be.
        wanted: u64,
    },
    /// A node does not tell how it is.
    #[error("{node} does not tell how it is: {error}")]
    Silent {
        /// Which.
        node: String,
        /// Why.
        error: AdminError,
    },
    /// A node does not leave when it is told to.
    #[error("{node} has not left {seconds} s after it was told to")]
    Stays {
        /// Which.
        node: String,
        /// How long it had.
        seconds: u64,
    },
    /// A node fetched one version of the application more than once.
    #[error("{0} fetched one version of the application more than once")]
    FetchedTwice(String),
    /// The demo was told to end.
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// The exit code that stands for it.
    pub fn code(&self) -> u8 {
        match self {
            DemoError::Nodes(_) => exit::USAGE,
            DemoError::Input { .. } | DemoError::NoFiles(_) | DemoError::TooManyFiles { .. } => exit::NO_INPUT,
            DemoError::System { .. } | DemoError::Save(_) => exit::CANNOT_CREATE,
            DemoError::Issue(_) | DemoError::Certificate(_) => exit::INTERNAL,
            DemoError::NodeEnded { .. }
            | DemoError::NotUp { .. }
            | DemoError::NoRing { .. }
            | DemoError::Install(_)
            | DemoError::Store { .. }
            | DemoError::NotSpread { .. }
            | DemoError::Damaged { .. }
            | DemoError::NotWhole { .. }
            | DemoError::Silent { .. }
            | DemoError::Stays { .. }
            | DemoError::FetchedTwice(_)
            | DemoError::Interrupted => exit::FAILED,
        }
    }

    /// The last lines of the log of the node that is to blame.
    pub fn log(&self) -> Option<&str> {
        match self {
            DemoError::NodeEnded { log, .. } | DemoError::NotUp { log, .. } => Some(log),
            _ => None,
        }
    }

    /// Whether the nodes' logs may tell more.
    pub(super) fn is_of_the_ring(&self) -> bool {
        matches!(self.code(), exit::FAILED) && !matches!(self, DemoError::Interrupted)
    }
}
