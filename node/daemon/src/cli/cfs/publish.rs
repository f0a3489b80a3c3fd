//! Publishing a tree, and keeping it.

use core::time::Duration;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use prost_cfs_api::{MAX_SALT, MAX_TTL, Root};
use prost_cfs_fs::{Address, FsError, Options, Reader, Sign};
use prost_sim::latency::parse_span;
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::super::peerlet::key;
use super::super::target::Target;
use crate::cfs::{NodeBlocks, PublisherKey};
use crate::exit;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct PublishArgs {
    /// The directory.
    directory: PathBuf,
    /// The publisher's private key, from `prost peerlet key`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Tells several trees of one key apart.
    #[arg(long, value_name = "NAME", default_value = "")]
    salt: String,
    /// How long the blocks live, unless they are extended.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
    ttl: Duration,
    /// Blocks that are on their way at once.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=48))]
    window: u8,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct ExtendArgs {
    /// The tree: a root's id, or @ and a snapshot's.
    tree: Address,
    /// How long its blocks are to live from now on at least.
    #[arg(long, value_name = "TIME", value_parser = parse_span, default_value = "30d")]
    ttl: Duration,
    /// Blocks that are on their way at once.
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=48))]
    window: u8,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    root: String,
    snapshot: String,
    version: u64,
    files: u64,
    bytes: u64,
    stored: u64,
    kept: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct Extended {
    blocks: u64,
}

/// Publishes; an update must find something to take the place of.
pub(super) fn publish(args: &PublishArgs, is_update: bool) -> Result<(), Failure> {
    let key = PublisherKey::from_pkcs8(&key::read_der(&args.key)?).ok_or_else(|| key::no_key(&args.key))?;
    let salt = args.salt.as_bytes().to_vec();
    if salt.len() > MAX_SALT {
        return Err(Failure::new(exit::USAGE, format!("a salt has {MAX_SALT} bytes at most")));
    }
    let blocks = NodeBlocks::new(args.target.client()?);
    let root = Root::id_of(&key.public(), &salt);
    if is_update && let Err(FsError::Missing(_)) = Reader::new(&blocks).root(&root) {
        let failure = Failure::new(exit::FAILED, format!("nothing is published at {root}"));
        return Err(failure.hint("publish it first with `prost cfs publish`"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let options = Options { salt, ttl: seconds(args.ttl)?, now, window: usize::from(args.window) };
    let start = Instant::now();
    let published = prost_cfs_fs::publish(&blocks, &key, &args.directory, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        return output::json(&Shown {
            root: published.root.to_string(),
            snapshot: published.snapshot.to_string(),
            version: published.version,
            files: published.files,
            bytes: published.bytes,
            stored: published.stored,
            kept: published.kept,
            seconds,
        });
    }
    eprintln!(
        "{} files, {}, {} new blocks and {} that were there, version {}, snapshot @{}, in {seconds:.1} s",
        published.files,
        output::size(published.bytes),
        published.stored,
        published.kept,
        published.version,
        published.snapshot,
    );
    output::line(published.root)
}

/// Extends all blocks of a tree.
pub(super) fn extend(args: &ExtendArgs) -> Result<(), Failure> {
    if !args.tree.path.is_empty() {
        return Err(Failure::new(exit::USAGE, "a tree is extended whole: leave the path away"));
    }
    let blocks = NodeBlocks::new(args.target.client()?);
    let extended = prost_cfs_fs::extend(&blocks, args.tree.top, seconds(args.ttl)?, usize::from(args.window))?;
    if args.json {
        return output::json(&Extended { blocks: extended.blocks });
    }
    output::line(format!("extended {} blocks", extended.blocks))
}

fn seconds(ttl: Duration) -> Result<u64, Failure> {
    let seconds = ttl.as_secs();
    if (1..=MAX_TTL).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Failure::new(exit::USAGE, format!("blocks live from one second to {} days", MAX_TTL / 86_400)))
}
