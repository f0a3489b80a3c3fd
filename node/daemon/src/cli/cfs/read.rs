//! Looking into a tree.

use std::io::{self, Write};

use clap::Args;
use prost_cfs_fs::{Address, FsError, NodeKind, Top};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::super::target::Target;
use super::Source;
use crate::cfs::{CfsError, NodeBlocks};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ListArgs {
    /// The directory: a root's id, or @ and a snapshot's, then /PATH.
    address: Address,
    /// With sizes and times, for which each inode is read.
    #[arg(long, short)]
    long: bool,
    #[command(flatten)]
    source: Source,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct CatArgs {
    /// The file: a root's id, or @ and a snapshot's, then /PATH.
    address: Address,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StatArgs {
    /// What to look at: a root's id, or @ and a snapshot's, then perhaps /PATH.
    address: Address,
    #[command(flatten)]
    source: Source,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StatusArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    kind: &'static str,
    inode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<u64>,
}

/// Lists a directory; of anything else, itself.
pub(super) fn list(args: &ListArgs) -> Result<(), Failure> {
    let blocks = args.source.blocks()?;
    let reader = args.source.reader(&blocks);
    let (_, directory) = reader.resolve(&args.address)?;
    let mut rows = Vec::new();
    let not_one = |error| match error {
        FsError::NotADirectory(_) => FsError::NotADirectory(args.address.path.clone()),
        other => other,
    };
    for entry in reader.entries(&directory).map_err(not_one)? {
        let inode = if args.long { Some(reader.inode(&entry.inode)?) } else { None };
        rows.push(Listed {
            kind: kind(entry.kind),
            inode: entry.inode.to_string(),
            size: inode.as_ref().map(|inode| inode.size),
            modified: inode.as_ref().map(|inode| inode.modified),
            name: entry.name,
        });
    }
    if args.json {
        return output::json(&rows);
    }
    if args.long {
        let row = |listed: &Listed| {
            let size = listed.size.unwrap_or(0).to_string();
            vec![listed.kind.to_owned(), size, listed.modified.unwrap_or(0).to_string(), printable(&listed.name)]
        };
        return output::table(&["kind", "bytes", "modified", "name"], &rows.iter().map(row).collect::<Vec<_>>());
    }
    rows.iter().try_for_each(|listed| {
        let slash = if listed.kind == kind(NodeKind::Directory) { "/" } else { "" };
        output::line(format!("{}{slash}", printable(&listed.name)))
    })
}

/// Writes a file out.
pub(super) fn cat(args: &CatArgs) -> Result<(), Failure> {
    let blocks = args.source.blocks()?;
    let reader = args.source.reader(&blocks);
    let (_, inode) = reader.resolve(&args.address)?;
    if inode.kind == NodeKind::Directory {
        return Err(FsError::<CfsError>::IsADirectory(args.address.to_string()).into());
    }
    let mut out = io::stdout().lock();
    reader.read(&inode, 0, inode.size, &mut out)?;
    out.flush().map_err(|error| FsError::<CfsError>::Output(error).into())
}

#[derive(Serialize)]
struct Shown {
    address: String,
    kind: &'static str,
    inode: String,
    size: u64,
    modified: u64,
    depth: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<RootShown>,
}

#[derive(Serialize)]
struct RootShown {
    publisher: String,
    salt: String,
    version: u64,
    published: u64,
    snapshot: String,
}

/// Shows an inode, and the root above it.
pub(super) fn stat(args: &StatArgs) -> Result<(), Failure> {
    let blocks = args.source.blocks()?;
    let reader = args.source.reader(&blocks);
    let mut address = args.address.clone();
    let mut shown = None;
    if let Top::Root(id) = address.top {
        let (root, snapshot) = reader.root(&id)?;
        address.top = Top::Snapshot(snapshot.directory);
        shown = Some(RootShown {
            publisher: hex::encode(root.publisher),
            salt: root.salt.escape_ascii().to_string(),
            version: root.version,
            published: snapshot.published,
            snapshot: snapshot.directory.to_string(),
        });
    }
    let (id, inode) = reader.resolve(&address)?;
    let shown = Shown {
        address: args.address.to_string(),
        kind: kind(inode.kind),
        inode: id.to_string(),
        size: inode.size,
        modified: inode.modified,
        depth: inode.depth,
        root: shown,
    };
    if args.json {
        return output::json(&shown);
    }
    let mut lines = vec![
        ("kind", shown.kind.to_owned()),
        ("bytes", shown.size.to_string()),
        ("modified", shown.modified.to_string()),
        ("inode", shown.inode),
    ];
    if let Some(root) = shown.root {
        lines.extend([
            ("publisher", root.publisher),
            ("version", root.version.to_string()),
            ("published", root.published.to_string()),
            ("snapshot", format!("@{}", root.snapshot)),
        ]);
    }
    lines.iter().try_for_each(|(name, value)| output::line(format!("{name:<10} {value}")))
}

#[derive(Serialize)]
struct StatusShown {
    served: u64,
    cache_hits: u64,
    cached_blocks: u64,
    cached_bytes: u64,
    rejected: u64,
    quota_bytes: u64,
    publishers: Vec<(String, u64)>,
}

/// Shows what the node's block store does.
pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let status = NodeBlocks::new(args.target.client()?).status()?;
    let publishers = status.publishers.iter().map(|(node, bytes)| (hex::encode(**node), *bytes));
    let shown = StatusShown {
        served: status.served,
        cache_hits: status.cache_hits,
        cached_blocks: status.cached_blocks,
        cached_bytes: status.cached_bytes,
        rejected: status.rejected,
        quota_bytes: status.quota_bytes,
        publishers: publishers.collect(),
    };
    if args.json {
        return output::json(&shown);
    }
    let cached = format!("{} blocks, {}", shown.cached_blocks, output::size(shown.cached_bytes));
    output::line(format!("served      {} blocks, {} more from the cache", shown.served, shown.cache_hits))?;
    output::line(format!("cached      {cached}"))?;
    output::line(format!("rejected    {} answers", shown.rejected))?;
    output::line(format!("quota       {} for each publisher", output::size(shown.quota_bytes)))?;
    shown.publishers.iter().try_for_each(|(node, bytes)| output::line(format!("{node}  {}", output::size(*bytes))))
}

pub(super) fn kind(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::File => "file",
        NodeKind::Executable => "program",
        NodeKind::Directory => "directory",
        NodeKind::Link => "link",
    }
}

/// Without control characters: a publisher chooses the names.
fn printable(name: &str) -> String {
    name.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}
