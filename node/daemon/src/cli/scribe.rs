//! `prost scribe`: messages to groups.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

use clap::{Args, Subcommand};
use prost_kbr::Key;
use prost_peerlet::Id;
use prost_peerlet::cbor::{self, Bytes};
use prost_scribe_api::{self as api, Access, Group, Item, MAX_PAYLOAD};
use serde::Serialize;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::output;
use super::target::Target;
use crate::exit;
use crate::scribe_client::{ScribeClient, ScribeError};

const EXAMPLES: &str = "\
Examples:
  prost scribe create news                                   on the creator's node; prints news@CREATOR
  prost scribe create news --publisher creator --member ID   only these may publish, and join
  prost scribe join news@CREATOR                             on any node, until Ctrl-C
  prost scribe publish news@CREATOR 'hello, all'

A group is named NAME@CREATOR, by its creator's node id; NAME alone is a group of the node that is asked.";

/// What to do.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum ScribeCommand {
    /// Create a group, or change who may do what in one.
    Create(CreateArgs),
    /// Print the messages of a group as lines of JSON, until Ctrl-C.
    Join(JoinArgs),
    /// Send a message to all members of a group.
    Publish(SendArgs),
    /// Send a message to one member of a group, whichever takes it first.
    Anycast(SendArgs),
    /// End all subscriptions of the node to a group.
    Leave(LeaveArgs),
    /// Show the node's place in the trees of its groups.
    Status(StatusArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct CreateArgs {
    /// Its name.
    name: String,
    /// A node that may be a member; everyone if nobody is named. `creator` adds nobody, and the creator always may.
    #[arg(long = "member", value_name = "ID", value_parser = node)]
    members: Vec<Named>,
    /// A node that may publish; everyone if nobody is named. `creator` adds nobody, and the creator always may.
    #[arg(long = "publisher", value_name = "ID", value_parser = node)]
    publishers: Vec<Named>,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct JoinArgs {
    /// The group: NAME@CREATOR.
    #[arg(value_parser = group)]
    group: Group,
    /// Take messages that come by anycast too.
    #[arg(long)]
    anycast: bool,
    /// End after so many messages.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(super) struct SendArgs {
    /// The group: NAME@CREATOR.
    #[arg(value_parser = group)]
    group: Group,
    /// The message; - or nothing for standard input.
    message: Option<String>,
    /// The message is in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    file: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(super) struct LeaveArgs {
    /// The group: NAME@CREATOR.
    #[arg(value_parser = group)]
    group: Group,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Whom a rule names: a node, or none besides the creator.
#[derive(Debug, Clone, Copy)]
struct Named(Option<Id>);

fn node(text: &str) -> Result<Named, String> {
    if text == "creator" {
        return Ok(Named(None));
    }
    id(text).map(|id| Named(Some(id))).ok_or_else(|| "a node is 40 hexadecimal digits, or 'creator'".to_owned())
}

fn id(text: &str) -> Option<Id> {
    text.parse::<Key>().ok().map(|key| Id::from_bytes(*key.as_bytes()))
}

fn group(text: &str) -> Result<Group, String> {
    let (name, creator) = match text.rsplit_once('@') {
        Some((name, creator)) => {
            let creator = id(creator).ok_or("after the @ comes the creator's node id, 40 hexadecimal digits")?;
            (name, Some(creator))
        }
        None => (text, None),
    };
    if name.is_empty() || name.len() > api::MAX_NAME {
        return Err(format!("a name has 1 to {} bytes", api::MAX_NAME));
    }
    Ok(Group { name: name.to_owned(), creator })
}

/// Does it.
pub(super) fn run(command: &ScribeCommand) -> Result<(), Failure> {
    match command {
        ScribeCommand::Create(args) => create(args),
        ScribeCommand::Join(args) => join(args),
        ScribeCommand::Publish(args) => {
            client(&args.target)?.publish(&args.group, message(args)?)?;
            output::line("published")
        }
        ScribeCommand::Anycast(args) => {
            let by = client(&args.target)?.anycast(&args.group, message(args)?)?;
            output::line(format!("taken by {by}"))
        }
        ScribeCommand::Leave(args) => {
            let ended = client(&args.target)?.leave(&args.group, None)?;
            output::line(format!("ended {ended} subscriptions"))
        }
        ScribeCommand::Status(args) => status(args),
    }
}

fn client(target: &Target) -> Result<ScribeClient, Failure> {
    Ok(ScribeClient::new(target.client()?))
}

#[derive(Serialize)]
struct Created {
    group: String,
    key: String,
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let name = group(&args.name).map_err(|cause| Failure::new(exit::USAGE, cause))?;
    if name.creator.is_some() {
        return Err(
            Failure::new(exit::USAGE, "the creator is the node that is asked").hint("leave out the @ and the rest")
        );
    }
    let access = |named: &[Named]| match named {
        [] => Access::Anyone,
        named => Access::Only(named.iter().filter_map(|named| named.0).collect()),
    };
    let create = api::Create { name: name.name, join: access(&args.members), publish: access(&args.publishers) };
    let created = client(&args.target)?.create(&create)?;
    let group = format!("{}@{}", create.name, created.creator);
    if args.json {
        return output::json(&Created { group, key: created.key.to_string() });
    }
    output::line(group)
}

fn message(args: &SendArgs) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    if let Some(path) = &args.file {
        let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
        let read = file.take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::reading(path, &error))?;
        return fitting(bytes);
    }
    match args.message.as_deref().filter(|message| *message != "-") {
        Some(text) => bytes.extend_from_slice(text.as_bytes()),
        None => {
            let read = io::stdin().lock().take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
        }
    }
    fitting(bytes)
}

fn fitting(bytes: Vec<u8>) -> Result<Bytes, Failure> {
    if bytes.len() > MAX_PAYLOAD {
        return Err(Failure::new(exit::DATA, format!("a message holds at most {MAX_PAYLOAD} bytes")).hint("send less"));
    }
    Ok(Bytes(bytes))
}

/// A message as a line of JSON: text where it is text.
#[derive(Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anycast_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Line {
    fn new(data: &[u8]) -> Line {
        let text = std::str::from_utf8(data).ok().map(str::to_owned);
        let hex = text.is_none().then(|| hex::encode(data));
        Line { publisher: None, anycast_from: None, time_ms: None, sequence: None, text, hex }
    }
}

fn join(args: &JoinArgs) -> Result<(), Failure> {
    let scribe = client(&args.target)?;
    let joined = scribe.join(&args.group, args.anycast)?;
    leave_when_told(client(&args.target)?, args.group.clone(), joined.subscription)?;
    let mut left = args.count;
    let mut from = 0;
    let mut lost = 0;
    while left != Some(0) {
        let batch = match scribe.next(joined.subscription, from) {
            Ok(batch) => batch,
            Err(error) if error.is_transient() => {
                thread::sleep(std::time::Duration::from_secs(1));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if batch.lost > lost {
            eprintln!("warning: {} messages were dropped: they came faster than they were read", batch.lost - lost);
            lost = batch.lost;
        }
        from = batch.first;
        for item in &batch.items {
            from += 1;
            let line = match cbor::decode(item).map_err(|_| ScribeError::Answer)? {
                Item::Message(message) => Line {
                    publisher: Some(message.publisher.to_string()),
                    time_ms: Some(message.time),
                    sequence: Some([message.epoch, message.number]),
                    ..Line::new(&message.data)
                },
                Item::Anycast { origin, data } => Line { anycast_from: Some(origin.to_string()), ..Line::new(&data) },
                Item::Ended { reason } => return Err(Failure::new(exit::FAILED, reason)),
            };
            let text = serde_json::to_string(&line).map_err(|error| Failure::new(exit::INTERNAL, error))?;
            output::line(text)?;
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                break;
            }
        }
    }
    scribe.leave(&args.group, Some(joined.subscription))?;
    Ok(())
}

/// Ends the subscription and the process on SIGINT and SIGTERM.
fn leave_when_told(scribe: ScribeClient, group: Group, subscription: u64) -> Result<(), Failure> {
    let cannot = |error: io::Error| Failure::new(exit::INTERNAL, format!("cannot listen to signals: {error}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (mut int, mut term) = {
        let _guard = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(cannot)?, signal(SignalKind::terminate()).map_err(cannot)?)
    };
    let watch = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
        });
        // A node that does not answer forgets the subscription by itself.
        drop(scribe.leave(&group, Some(subscription)));
        std::process::exit(i32::from(exit::OK));
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watch).map_err(cannot)?;
    Ok(())
}

#[derive(Serialize)]
struct Place {
    key: String,
    member: bool,
    root: bool,
    parent: Option<String>,
    children: Vec<String>,
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let place = |place: api::Place| Place {
        key: place.key.to_string(),
        member: place.is_member,
        root: place.is_root,
        parent: place.parent.map(|parent| parent.to_string()),
        children: place.children.iter().map(ToString::to_string).collect(),
    };
    let places: Vec<Place> = client(&args.target)?.status()?.groups.into_iter().map(place).collect();
    if args.json {
        return output::json(&places);
    }
    let row = |place: &Place| {
        let role = if place.member { "member" } else { "on the way" };
        let parent =
            if place.root { "root".to_owned() } else { place.parent.clone().unwrap_or_else(|| "none".to_owned()) };
        vec![place.key.clone(), role.to_owned(), parent, place.children.len().to_string()]
    };
    output::table(&["group", "role", "parent", "children"], &places.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_a_name_and_its_creator() {
        let creator = "0f".repeat(20);
        let read = group(&format!("a@b@{creator}")).expect("a group");
        assert_eq!((read.name.as_str(), read.creator.map(|id| id.to_string())), ("a@b", Some(creator)));
        assert_eq!(group("news").expect("a group").creator, None);
        for wrong in ["", "news@", "news@0f", "@0f"] {
            assert!(group(wrong).is_err(), "{wrong}");
        }
    }
}
