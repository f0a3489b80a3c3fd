//! `prost p2ptv`: a stream from one node to many.

mod serve;
mod watch;

use core::time::Duration;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use prost_p2ptv_api::{self as api, Decode, Encode, Look, MAX_NAME, Stats};
use prost_peerlet::NodeId;
use serde::Serialize;

use super::failure::Failure;
use super::output;
use super::target::Target;
use crate::admin_client::{AdminClient, AdminError};
use crate::exit;

/// The application that is called.
const P2PTV: &str = "p2ptv";
/// How long a question that may be answered a little later is asked again, and after what time.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(in crate::cli) enum P2ptvCommand {
    /// Stream a file, or standard input, to all who watch a channel.
    Serve(serve::ServeArgs),
    /// Watch a channel: receive its stream, write it to a file, and tell how it plays.
    Watch(watch::WatchArgs),
    /// Show how a node is part of a channel.
    Status(StatusArgs),
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StatusArgs {
    /// Name of the channel.
    #[arg(value_parser = name)]
    channel: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(in crate::cli) fn run(command: &P2ptvCommand) -> Result<(), Failure> {
    match command {
        P2ptvCommand::Serve(args) => serve::run(args),
        P2ptvCommand::Watch(args) => watch::run(args),
        P2ptvCommand::Status(args) => status(args),
    }
}

/// The name of a channel, as an argument.
fn name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a channel has a name".to_owned()),
        1..=MAX_NAME => Ok(text.to_owned()),
        _ => Err(format!("a channel's name has at most {MAX_NAME} bytes")),
    }
}

/// A node's part in a channel, for people and programs.
#[derive(Debug, Serialize)]
struct Part {
    source: Option<String>,
    stream: u64,
    segments_sent: u64,
    ended: bool,
    parent: Option<String>,
    depth: u32,
    children: u32,
    buffered: u32,
    buffered_bytes: u64,
    segments: u64,
    bytes: u64,
    repaired: u64,
    duplicates: u64,
    lost: u64,
    forged: u64,
    given: u64,
}

impl From<Stats> for Part {
    fn from(stats: Stats) -> Part {
        let text = |node: Option<NodeId>| node.map(|node| node.to_string());
        Part {
            source: text(stats.source),
            stream: stats.stream,
            segments_sent: stats.next,
            ended: stats.ended,
            parent: text(stats.parent),
            depth: stats.depth,
            children: stats.children,
            buffered: stats.buffered,
            buffered_bytes: stats.buffered_bytes,
            segments: stats.counts.segments,
            bytes: stats.counts.bytes,
            repaired: stats.counts.repaired,
            duplicates: stats.counts.duplicates,
            lost: stats.counts.lost,
            forged: stats.counts.forged,
            given: stats.counts.given,
        }
    }
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let look = Look { channel: api::channel(&args.channel) };
    let part = Part::from(ask::<Stats>(&args.target.client()?, api::STATS, &look)?);
    if args.json {
        return output::json(&part);
    }
    let or = |node: Option<String>, other: &str| node.unwrap_or_else(|| other.to_owned());
    output::line(format!("source      {}", or(part.source, "not known")))?;
    output::line(format!("parent      {}  {} to the root", or(part.parent, "none"), part.depth))?;
    output::line(format!("children    {}", part.children))?;
    output::line(format!("buffer      {} segments, {}", part.buffered, output::size(part.buffered_bytes)))?;
    output::line(format!("received    {} segments, {}", part.segments, output::size(part.bytes)))?;
    output::line(format!(
        "            {} repaired, {} twice, {} lost, {} forged, {} given to others",
        part.repaired, part.duplicates, part.lost, part.forged, part.given
    ))
}

/// Asks the node's peerlet once.
fn ask<T: for<'a> Decode<'a, ()>>(node: &AdminClient, method: &str, question: &impl Encode<()>) -> Result<T, Failure> {
    let answer = node.call(P2PTV, method, &api::encode(question)).map_err(failure)?;
    api::decode(&answer)
        .map_err(|error| Failure::new(exit::DATA, format!("the peerlet's answer makes no sense: {error}")))
}

/// Asks the same again while it may help. For questions that can be asked twice.
fn ask_patiently<T: for<'a> Decode<'a, ()>>(
    node: &AdminClient,
    method: &str,
    question: &impl Encode<()>,
) -> Result<T, Failure> {
    let start = Instant::now();
    loop {
        match node.call(P2PTV, method, &api::encode(question)) {
            Err(error) if error.is_transient() && start.elapsed() < PATIENCE => thread::sleep(PAUSE),
            Err(error) => return Err(failure(error)),
            Ok(answer) => {
                let wrong = |error| Failure::new(exit::DATA, format!("the peerlet's answer makes no sense: {error}"));
                return api::decode(&answer).map_err(wrong);
            }
        }
    }
}

/// What the peerlet refuses is an answer of its own; a node that does not run it needs it.
fn failure(error: AdminError) -> Failure {
    match error {
        AdminError::Refused { status: 404, error, .. } => {
            Failure::new(exit::FAILED, error).hint("install it with 'prost peerlet install': see docs/apps/p2ptv.md")
        }
        AdminError::Refused { status: 422, error, .. } => {
            Failure::new(exit::FAILED, error).hint("see 'prost p2ptv status'")
        }
        other => Failure::from(other),
    }
}

/// The wall clock, in milliseconds since 1970.
fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
