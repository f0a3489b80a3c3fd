//! `prost i3 trigger`: triggers as such.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use prost_i3_api::ask::{Insert, Kept, MAX_LEASE, Own};
use prost_i3_api::{I3Id, MAX_STACK, Name, Target as To, left_key_of_stack};
use serde::Serialize;

use super::names::{self, NAMES};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::target::Target;
use crate::exit;
use crate::i3_client::I3Client;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum TriggerCommand {
    /// Point a name to other names.
    Insert(InsertArgs),
    /// The triggers that were inserted through the node, those that it keeps for others, and what became of packets.
    List(ListArgs),
    /// Remove the triggers of a name that were inserted through the node.
    Remove(RemoveArgs),
}

const EXAMPLES: &str = "\
Examples:
  prost i3 trigger insert clean --stack filter,bob

Prints the name to send to: its key binds it to this stack, so that nobody can point it elsewhere. The node refreshes the
trigger until the lease is over, or it is removed.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{NAMES}"))]
pub(crate) struct InsertArgs {
    /// The name, without a key.
    name: String,
    /// Names that packets go to instead, in this order, with commas between them.
    #[arg(long, value_name = "NAMES", required = true)]
    stack: String,
    /// How long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LEASE)))]
    lease: u32,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RemoveArgs {
    /// The name.
    name: String,
    /// The name's secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Does it.
pub(crate) fn run(command: &TriggerCommand) -> Result<(), Failure> {
    match command {
        TriggerCommand::Insert(args) => insert(args),
        TriggerCommand::List(args) => list(args),
        TriggerCommand::Remove(args) => remove(args),
    }
}

fn insert(args: &InsertArgs) -> Result<(), Failure> {
    let stack: Vec<I3Id> =
        args.stack.split(',').map(|name| Ok(names::parse(name)?.id)).collect::<Result<_, Failure>>()?;
    if stack.len() > MAX_STACK {
        return Err(Failure::new(exit::USAGE, format!("a stack has {MAX_STACK} names at most")));
    }
    if args.name.contains('#') {
        return Err(
            Failure::new(exit::USAGE, "the key of a name for a stack follows from the stack").hint("leave it out")
        );
    }
    let id = Name::keyed(&args.name, left_key_of_stack(&stack)).id;
    let client = I3Client::new(args.target.client()?);
    let endpoint = client.open(Some(args.lease))?.endpoint;
    client.insert(&Insert { endpoint, id, prefix_len: 0, secret: None, stack, rate: None })?;
    output::line(names::with_key(&args.name, &id))
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let Name { id, .. } = names::owned(&args.name, args.secret_file.as_deref())?;
    I3Client::new(args.target.client()?).remove(id, None)?;
    output::line(format!("removed {id}"))
}

#[derive(Serialize)]
struct Shown {
    inserted: Vec<InsertedTrigger>,
    kept: Vec<KeptTrigger>,
    counts: Counts,
}

#[derive(Serialize)]
struct InsertedTrigger {
    id: String,
    endpoint: String,
    stack: Vec<String>,
    node: Option<String>,
    refreshed_ms_ago: u64,
}

#[derive(Serialize)]
struct KeptTrigger {
    id: String,
    stack: Vec<String>,
    holder: String,
    expires_ms: u64,
    responsible: bool,
}

#[derive(Serialize)]
struct Counts {
    fired: u64,
    unmatched: u64,
    limited: u64,
    exhausted: u64,
    cached: u64,
    routed: u64,
    homeless: u64,
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let listed = I3Client::new(args.target.client()?).list()?;
    let counts = listed.counts;
    let shown = Shown {
        inserted: listed.own.into_iter().map(InsertedTrigger::from).collect(),
        kept: listed.kept.into_iter().map(KeptTrigger::from).collect(),
        counts: Counts {
            fired: counts.fired,
            unmatched: counts.unmatched,
            limited: counts.limited,
            exhausted: counts.exhausted,
            cached: counts.cached,
            routed: counts.routed,
            homeless: counts.homeless,
        },
    };
    if args.json { output::json(&shown) } else { print(&shown) }
}

fn print(shown: &Shown) -> Result<(), Failure> {
    let target = |stack: &[String], host: &str| if stack.is_empty() { host.to_owned() } else { stack.join(",") };
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let inserted = shown.inserted.iter().map(|own| {
        let node = own.node.clone().unwrap_or_else(|| "nobody yet".to_owned());
        vec![own.id.clone(), target(&own.stack, &own.endpoint), node, seconds(own.refreshed_ms_ago)]
    });
    let kept = shown.kept.iter().map(|kept| {
        let role = if kept.responsible { "responsible" } else { "copy" };
        vec![kept.id.clone(), target(&kept.stack, &kept.holder), role.to_owned(), seconds(kept.expires_ms)]
    });
    output::table(&["inserted", "target", "kept by", "refreshed"], &inserted.collect::<Vec<_>>())?;
    output::table(&["kept", "target", "as", "expires"], &kept.collect::<Vec<_>>())?;
    let Counts { fired, unmatched, limited, exhausted, cached, routed, homeless } = shown.counts;
    output::line(format!(
        "packets: {fired} fired a trigger, {unmatched} ids matched none, {limited} over a rate, {exhausted} through too \
         many triggers, {homeless} for nobody; sent {cached} by the cache, {routed} by routing"
    ))
}

impl From<Own> for InsertedTrigger {
    fn from(own: Own) -> InsertedTrigger {
        InsertedTrigger {
            id: own.trigger.id.to_string(),
            endpoint: format!("{:016x}", own.endpoint),
            stack: match &own.trigger.target {
                To::Host { .. } => Vec::new(),
                To::Stack(ids) => texts(ids),
            },
            node: own.node.map(|node| node.to_string()),
            refreshed_ms_ago: own.age_ms,
        }
    }
}

impl From<Kept> for KeptTrigger {
    fn from(kept: Kept) -> KeptTrigger {
        KeptTrigger {
            id: kept.id.to_string(),
            stack: texts(&kept.stack),
            holder: kept.holder.to_string(),
            expires_ms: kept.expires_ms,
            responsible: kept.responsible,
        }
    }
}

fn texts(ids: &[I3Id]) -> Vec<String> {
    ids.iter().map(I3Id::to_string).collect()
}
