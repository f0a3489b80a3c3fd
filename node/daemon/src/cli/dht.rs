//! `prost dht`: values in the ring, by name.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use prost_sim::latency::parse_span;
use serde::Serialize;

use super::failure::Failure;
use super::output;
use super::ring::key_of;
use super::target::Target;
use crate::dht_client::{DhtClient, DhtError, PutOptions};
use crate::exit;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum DhtCommand {
    /// Store a file, or standard input, under a name.
    Put(PutArgs),
    /// Print the value of a name, or write it to a file.
    Get(GetArgs),
    /// Show the version of a value, its size, how long it stays and who has it.
    Stat(StatArgs),
    /// Remove the value of a name.
    Remove(RemoveArgs),
    /// List the names of the records at a key.
    List(ListArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct PutArgs {
    /// Name of the value; its key is the SHA-1 of it.
    name: String,
    /// The file; - or nothing for standard input.
    file: Option<PathBuf>,
    /// The value is gone after this time, as 30s, 10m, 2h or 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    expires_in: Option<Duration>,
    /// Only where the value has this version, as `stat` shows it; 0 for where there is none. Exit code 1 where it has
    /// another.
    #[arg(long, value_name = "VERSION")]
    if_version: Option<u64>,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct GetArgs {
    /// Name of the value.
    name: String,
    /// Write it to this file, whole or not at all.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take the first copy on the way: nearer, and perhaps older.
    #[arg(long)]
    nearest: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(super) struct StatArgs {
    /// Name of the value.
    name: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RemoveArgs {
    /// Name of the value.
    name: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    /// A key of 40 hexadecimal digits, or a name, whose key is its SHA-1.
    key: String,
    /// Only names that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(command: &DhtCommand) -> Result<(), Failure> {
    match command {
        DhtCommand::Put(args) => put(args),
        DhtCommand::Get(args) => get(args),
        DhtCommand::Stat(args) => stat(args),
        DhtCommand::Remove(args) => remove(args),
        DhtCommand::List(args) => list(args),
    }
}

#[derive(Serialize)]
struct Stored<'a> {
    name: &'a str,
    version: u64,
    bytes: u64,
    chunks: u32,
}

#[derive(Serialize)]
struct Known<'a> {
    name: &'a str,
    version: u64,
    bytes: u64,
    chunks: u32,
    expires_in_s: Option<u64>,
    from: String,
}

fn put(args: &PutArgs) -> Result<(), Failure> {
    // A value that is to go within a second stays for one.
    let expires_in = args.expires_in.map(|time| time.as_secs().max(1));
    let options = PutOptions { expires_in, if_version: args.if_version };
    let dht = DhtClient::new(args.target.client()?);
    let written = match args.file.as_deref().filter(|file| *file != Path::new("-")) {
        Some(path) => dht.put_with(args.name.as_bytes(), &mut open(path)?, options)?,
        None => dht.put_with(args.name.as_bytes(), &mut io::stdin(), options)?,
    };
    if written.left_behind > 0 {
        eprintln!("warning: {} chunks of the earlier value could not be removed", written.left_behind);
    }
    if args.json {
        let version = written.version;
        return output::json(&Stored { name: &args.name, version, bytes: written.bytes, chunks: written.chunks });
    }
    let chunks = if written.chunks == 0 { String::new() } else { format!(" in {} chunks", written.chunks) };
    output::line(format!("stored {}{chunks}, version {}", output::size(written.bytes), written.version))
}

fn open(path: &Path) -> Result<impl Read + Send + use<>, Failure> {
    let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
    let is_dir = file.metadata().is_ok_and(|found| found.is_dir());
    if is_dir { Err(Failure::new(exit::NO_INPUT, format!("{} is a directory", path.display()))) } else { Ok(file) }
}

fn get(args: &GetArgs) -> Result<(), Failure> {
    let dht = DhtClient::new(args.target.client()?).with_nearest(args.nearest);
    let found = match &args.out {
        Some(path) => get_file(&dht, args.name.as_bytes(), path)?,
        None => get_stdout(&dht, args.name.as_bytes())?,
    };
    if found {
        return Ok(());
    }
    Err(none(&args.name))
}

fn none(name: &str) -> Failure {
    Failure::new(exit::FAILED, format!("there is no value of the name '{name}'"))
}

fn stat(args: &StatArgs) -> Result<(), Failure> {
    let known = DhtClient::new(args.target.client()?).known(args.name.as_bytes())?;
    let known = known.ok_or_else(|| none(&args.name))?;
    let (version, bytes, chunks, expires_in_s) = (known.version, known.bytes, known.chunks, known.expires_in);
    let from = known.from.to_string();
    if args.json {
        return output::json(&Known { name: &args.name, version, bytes, chunks, expires_in_s, from });
    }
    output::line(format!("version      {version}"))?;
    output::line(format!("size         {} in {}", output::size(bytes), records(chunks)))?;
    output::line(format!("stays        {}", expires_in_s.map_or("until removed".to_owned(), |s| format!("{s} s"))))?;
    output::line(format!("from         {from}"))
}

fn records(chunks: u32) -> String {
    if chunks == 0 { "one record".to_owned() } else { format!("{chunks} chunks") }
}

/// Beside the file first, so that a failure leaves an older file as it was.
fn get_file(dht: &DhtClient, name: &[u8], path: &Path) -> Result<bool, Failure> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(|error| Failure::writing(path, &error))?;
    if dht.get_to(name, &mut file)?.is_none() {
        return Ok(false);
    }
    file.persist(path).map_err(|error| Failure::writing(path, &error.error))?;
    Ok(true)
}

fn get_stdout(dht: &DhtClient, name: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout().lock();
    let found = dht.get_to(name, &mut out)?.is_some();
    if found && out.is_terminal() {
        // The shell's prompt is to begin a line.
        writeln!(out).map_err(DhtError::Output)?;
    }
    out.flush().map_err(DhtError::Output)?;
    Ok(found)
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let left_behind = DhtClient::new(args.target.client()?).remove(args.name.as_bytes())?;
    if left_behind > 0 {
        eprintln!("warning: {left_behind} chunks of the value could not be removed");
    }
    output::line(format!("removed {}", args.name))
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let names = DhtClient::new(args.target.client()?).list(key_of(&args.key), args.prefix.as_bytes())?;
    let names: Vec<String> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
    if args.json {
        return output::json(&names);
    }
    names.iter().try_for_each(output::line)
}

impl From<DhtError> for Failure {
    fn from(error: DhtError) -> Failure {
        let code = match &error {
            DhtError::Admin(admin) => return Failure::from(admin.clone()),
            DhtError::Output(output) if output.kind() == io::ErrorKind::BrokenPipe => return Failure::closed(),
            DhtError::Refused(refusal) if refusal.is_transient() => exit::UNAVAILABLE,
            DhtError::Refused(_) => exit::FAILED,
            DhtError::Answer
            | DhtError::BadRecord(_)
            | DhtError::MissingChunk(_)
            | DhtError::Damaged
            | DhtError::TooLarge => exit::DATA,
            DhtError::Input(_) => exit::NO_INPUT,
            DhtError::Output(_) => exit::CANNOT_CREATE,
            DhtError::NoRandomness => exit::INTERNAL,
        };
        let transient = error.is_transient();
        let failure = Failure::new(code, error);
        if transient { failure.hint("try again") } else { failure }
    }
}
