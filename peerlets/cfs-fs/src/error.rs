//! Why a tree could not be published or read.

use core::fmt;
use std::io;
use std::path::PathBuf;

use prost_cfs_api::BlockId;

/// Why a tree could not be published or read.
#[derive(Debug)]
pub enum FsError<E> {
    /// The store of blocks says why.
    Store(E),
    /// There is no such block: it has expired, or was lost, or never was.
    Missing(BlockId),
    /// No node gave the bytes that the id is of.
    Damaged(BlockId),
    /// The publisher has put something there that is no part of a tree.
    Malformed(&'static str),
    /// There is no such path in the tree.
    NotFound(String),
    /// The path names something that is no directory.
    NotADirectory(String),
    /// The path names a directory.
    IsADirectory(String),
    /// Larger than a file can be: see [`MAX_FILE`](crate::MAX_FILE).
    TooLarge(PathBuf),
    /// The name of a file cannot be published.
    BadName(PathBuf),
    /// A file of this machine cannot be read.
    Input(PathBuf, io::Error),
    /// What was read cannot be written.
    Output(io::Error),
}

impl<E: fmt::Display> fmt::Display for FsError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FsError::Store(error) => error.fmt(f),
            FsError::Missing(id) => write!(f, "block {id} is not there: it has expired, or was never published"),
            FsError::Damaged(id) => write!(f, "no node gives the bytes of block {id}"),
            FsError::Malformed(what) => write!(f, "what is published there is no tree of files: {what}"),
            FsError::NotFound(path) => write!(f, "there is no '{path}' in the tree"),
            FsError::NotADirectory(path) => write!(f, "'{path}' is no directory"),
            FsError::IsADirectory(path) => write!(f, "'{path}' is a directory"),
            FsError::TooLarge(path) => write!(f, "{} is too large", path.display()),
            FsError::BadName(path) => write!(f, "{} has a name that cannot be published", path.display()),
            FsError::Input(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            FsError::Output(error) => write!(f, "cannot write: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for FsError<E> {}
