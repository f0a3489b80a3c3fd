//! `prost ring`: the ring as a node sees it, and whether that is right.

use clap::{Args, Subcommand};
use prost_kbr::{Key, MAX_PATHS, NodeId, Peer};
use serde::Serialize;

use super::failure::Failure;
use super::output;
use super::target::Target;
use super::walk::{self, Walk};
use crate::exit;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum RingCommand {
    /// The nodes that this node knows.
    Show(ShowArgs),
    /// Who is responsible for a key, and the way there, hop by hop.
    Lookup(LookupArgs),
    /// Walk around the ring and check that every node knows its true neighbours.
    Check(ShowArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct LookupArgs {
    /// A key of 40 hexadecimal digits, or a name, whose key is its SHA-1.
    key: String,
    /// Ask node by node, over so many paths that share no node: slower, and no one node can answer for the ring.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_PATHS)))]
    paths: Option<u8>,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(command: &RingCommand) -> Result<(), Failure> {
    match command {
        RingCommand::Show(args) => show(args),
        RingCommand::Lookup(args) => lookup(args),
        RingCommand::Check(args) => check(args),
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    id: NodeId,
    ring: &'a str,
    state: &'a str,
    predecessors: &'a [crate::admin::ask::Neighbour],
    successors: &'a [crate::admin::ask::Neighbour],
    fingers: &'a [crate::admin::ask::Neighbour],
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let status = args.target.client()?.status()?;
    if args.json {
        return output::json(&Shown {
            id: status.id,
            ring: &status.ring,
            state: &status.state,
            predecessors: &status.predecessors,
            successors: &status.successors,
            fingers: &status.fingers,
        });
    }
    output::line(format!("node  {}  {}", status.id, status.addr))?;
    output::line(format!("ring  {} ({})", status.ring, status.state))?;
    super::status::neighbours(&status)
}

/// A key given as such, or the key of a name.
pub(super) fn key_of(text: &str) -> Key {
    text.parse().unwrap_or_else(|_| Key::hash(text.as_bytes()))
}

#[derive(Serialize)]
struct Found {
    key: Key,
    owner: Peer,
    hops: u8,
    path: Vec<prost_kbr::Hop>,
}

fn lookup(args: &LookupArgs) -> Result<(), Failure> {
    let key = key_of(&args.key);
    let outcome = args.target.client()?.lookup_over(key, args.paths)?;
    let owner = outcome.result.map_err(|error| Failure::new(exit::FAILED, format!("the lookup failed: {error}")))?;
    let found = Found { key, owner, hops: outcome.hops, path: outcome.path.unwrap_or_default() };
    if args.json {
        return output::json(&found);
    }
    output::line(format!("key    {key}"))?;
    output::line(format!("owner  {}  {}", owner.id, owner.addr))?;
    output::line(format!("hops   {}", found.hops))?;
    if found.path.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let last = found.path.len().saturating_sub(1);
    let rows = found.path.iter().enumerate().map(|(hop, node)| {
        let rtt = if hop == last { "-".to_owned() } else { output::millis(node.rtt_us.into()) };
        vec![hop.to_string(), node.node.to_string(), rtt]
    });
    output::table(&["hop", "node", "round trip to the next"], &rows.collect::<Vec<_>>())
}

fn check(args: &ShowArgs) -> Result<(), Failure> {
    let client = args.target.client()?;
    let status = client.status()?;
    let start = Peer { id: status.id, addr: status.addr };
    let walk = Walk::around(start, |peer| client.neighbours(peer))?;
    let problems = walk.problems();
    if args.json {
        output::json(&walk::Report { members: walk.members(), ideal: problems.is_empty(), problems: &problems })?;
    } else {
        for (number, member) in walk.members().iter().enumerate() {
            output::line(format!("{number:>5}  {}  {}", member.id, member.addr))?;
        }
        problems.iter().try_for_each(|problem| output::line(format!("problem: {problem}")))?;
    }
    if problems.is_empty() {
        return if args.json { Ok(()) } else { output::line(format!("ideal: {} members", walk.members().len())) };
    }
    let count = problems.len();
    Err(Failure::new(exit::FAILED, format!("the ring is not ideal: {count} problems")).hint("wait and check again"))
}
