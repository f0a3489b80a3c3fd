//! How the store fails.

use prost_kbr::NodeId;

use crate::exit;

/// Why the store cannot be opened, or did not take what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The data directory cannot be made or entered.
    #[error("cannot open the data directory {path}: {cause}")]
    Directory {
        /// The directory.
        path: String,
        /// Why not.
        cause: String,
    },
    /// Another process uses the data directory.
    #[error("the data directory {path} is in use by {}", holder(*.pid))]
    Locked {
        /// The directory.
        path: String,
        /// Who, where that is known.
        pid: Option<u32>,
    },
    /// The records belong to another node.
    #[error("the data directory {path} belongs to node {theirs}, and this node is {ours}")]
    OtherNode {
        /// The directory.
        path: String,
        /// The node that the records belong to.
        theirs: NodeId,
        /// This node.
        ours: NodeId,
    },
    /// A newer program wrote the records.
    #[error("the store has format {found}, and this program knows formats up to {known}")]
    NewerFormat {
        /// What is there.
        found: u32,
        /// What could be read.
        known: u32,
    },
    /// An older program wrote the records, and this one cannot read them.
    #[error("the store has format {found}, and this program reads format {known} alone")]
    OlderFormat {
        /// What is there.
        found: u32,
        /// What can be read.
        known: u32,
    },
    /// The file is damaged, or is no store.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// A record is not what was written, or stands in the wrong place: what is left of it has not the right checksum. The
    /// record alone is lost.
    #[error("a record is damaged")]
    Damaged {
        /// Its key in the database.
        key: Vec<u8>,
    },
    /// Reading or writing failed. After a failed write the store takes no more of them.
    #[error("the disk failed: {0}")]
    Disk(String),
    /// More is waiting to be written than may wait. Nothing of it was taken.
    #[error("too much is waiting to be written")]
    Overloaded,
    /// The disk is nearly full. Nothing of it was taken; removals are.
    #[error("the disk is nearly full")]
    Full,
    /// Too many applications have records here.
    #[error("more than {0} applications have records here")]
    TooManyApps(usize),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// The exit code of a program that ends because of it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            StoreError::Directory { .. } | StoreError::Locked { .. } => exit::CANNOT_CREATE,
            StoreError::OtherNode { .. } => exit::CONFIG,
            StoreError::NewerFormat { .. }
            | StoreError::OlderFormat { .. }
            | StoreError::Corrupt(_)
            | StoreError::Damaged { .. } => exit::DATA,
            StoreError::Disk(_)
            | StoreError::Overloaded
            | StoreError::Full
            | StoreError::TooManyApps(_)
            | StoreError::Closed => exit::INTERNAL,
        }
    }

    /// Whether the node should leave the ring because of it: what it acknowledges from now on is not durable.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, StoreError::Disk(_) | StoreError::Corrupt(_))
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> StoreError {
        match error {
            redb::StorageError::Corrupted(what) => StoreError::Corrupt(what),
            other => StoreError::Disk(other.to_string()),
        }
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> StoreError {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => StoreError::Corrupt(other.to_string()),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> StoreError {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => StoreError::Disk(other.to_string()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> StoreError {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => StoreError::Disk(other.to_string()),
        }
    }
}
