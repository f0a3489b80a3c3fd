//! Copying a tree, or a part of one, to this machine.

use std::fs::{self, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use clap::Args;
use prost_cfs_api::BlockId;
use prost_cfs_fs::{Address, FsError, Inode, NodeKind, Reader};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::Source;
use crate::cfs::{CfsError, NodeBlocks};
use crate::exit;

/// Files that are fetched at once.
const FILES: usize = 6;
/// Deepest directory that is followed.
const MAX_DEPTH: usize = 128;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct GetArgs {
    /// What to copy: a root's id, or @ and a snapshot's, then perhaps /PATH.
    address: Address,
    /// Where to; it must not exist.
    #[arg(long, short, value_name = "PATH")]
    out: PathBuf,
    #[command(flatten)]
    source: Source,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Copied {
    files: u64,
    bytes: u64,
    seconds: f64,
}

/// Copies.
pub(super) fn get(args: &GetArgs) -> Result<(), Failure> {
    if args.out.symlink_metadata().is_ok() {
        let failure = Failure::new(exit::CANNOT_CREATE, format!("{} exists", args.out.display()));
        return Err(failure.hint("name a place that does not with --out"));
    }
    let blocks = args.source.blocks()?;
    let reader = args.source.reader(&blocks);
    let start = Instant::now();
    let (_, top) = reader.resolve(&args.address)?;
    let mut files = Vec::new();
    lay_out(&reader, &top, &args.out, 0, &mut files)?;
    let (bytes, count) = fetch(&reader, &files)?;
    let copied = Copied { files: count, bytes, seconds: start.elapsed().as_secs_f64() };
    if args.json {
        return output::json(&copied);
    }
    let rate = copied.bytes as f64 / copied.seconds.max(1e-3) / f64::from(1 << 20);
    let size = output::size(copied.bytes);
    output::line(format!("{} files, {size}, in {:.1} s, {rate:.1} MiB/s", copied.files, copied.seconds))
}

/// What a file is to become.
enum Content {
    Known(Inode),
    Of(BlockId),
}

/// Makes the directories and links, and tells which files are to be fetched. Names in a directory differ and each place is
/// new, so that nothing is written through a link.
fn lay_out(
    reader: &Reader<'_, NodeBlocks>,
    inode: &Inode,
    path: &Path,
    depth: usize,
    files: &mut Vec<(PathBuf, Content)>,
) -> Result<(), Failure> {
    let failed = |error| Failure::writing(path, &error);
    match inode.kind {
        NodeKind::File | NodeKind::Executable => files.push((path.to_owned(), Content::Known(inode.clone()))),
        NodeKind::Link => std::os::unix::fs::symlink(reader.target(inode)?, path).map_err(failed)?,
        NodeKind::Directory if depth > MAX_DEPTH => {
            return Err(FsError::<CfsError>::Malformed("the directories are too deep").into());
        }
        NodeKind::Directory => {
            fs::create_dir(path).map_err(failed)?;
            for entry in reader.entries(inode)? {
                let path = path.join(&entry.name);
                match entry.kind {
                    NodeKind::File | NodeKind::Executable => files.push((path, Content::Of(entry.inode))),
                    NodeKind::Directory | NodeKind::Link => {
                        lay_out(reader, &reader.inode(&entry.inode)?, &path, depth + 1, files)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Fetches several files at once. Tells how many bytes and files.
fn fetch(reader: &Reader<'_, NodeBlocks>, files: &[(PathBuf, Content)]) -> Result<(u64, u64), Failure> {
    let (next, bytes, count) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failure = Mutex::new(None);
    let work = || {
        while let Some((path, content)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            match write(reader, path, content) {
                Ok(written) => {
                    bytes.fetch_add(written, Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    next.store(files.len(), Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..FILES).for_each(|_| {
            scope.spawn(work);
        });
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok((bytes.into_inner(), count.into_inner())),
    }
}

fn write(reader: &Reader<'_, NodeBlocks>, path: &Path, content: &Content) -> Result<u64, Failure> {
    let failed = |error: std::io::Error| Failure::writing(path, &error);
    let inode = match content {
        Content::Known(inode) => inode.clone(),
        Content::Of(id) => reader.inode(id)?,
    };
    if !inode.is_file() {
        return Err(FsError::<CfsError>::Malformed("a directory and an inode do not agree").into());
    }
    let mode = if inode.kind == NodeKind::Executable { 0o777 } else { 0o666 };
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failed)?;
    let mut output = BufWriter::new(file);
    let written = reader.read(&inode, 0, inode.size, &mut output)?;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    // A time that the system cannot hold is left as it is.
    let _ = UNIX_EPOCH.checked_add(Duration::from_secs(inode.modified)).map(|time| file.set_modified(time));
    Ok(written)
}
