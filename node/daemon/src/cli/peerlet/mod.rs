//! `prost peerlet`: making packages, and what a node does with them.

mod build;
mod call;
mod dev;
mod inspect;
pub(in crate::cli) mod key;
mod new;
mod project;
mod sign;
mod sources;
mod test;
mod top;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::{Args, Subcommand};
use prost_package::Package;
use serde::Serialize;

use super::failure::Failure;
use super::output;
use super::target::Target;
use crate::admin::ask::PeerletStatus;
use crate::exit;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum PeerletCommand {
    /// Begin a peerlet: a directory with a small one that builds, is tested and runs.
    New(new::NewArgs),
    /// Compile a peerlet to a component.
    Build(build::BuildArgs),
    /// Test a peerlet: its own tests, then simulated rings under loss, crashes and a partition.
    Test(test::TestArgs),
    /// Run a peerlet on a ring of real nodes on this machine; each save builds it anew and upgrades it there.
    Dev(dev::DevArgs),
    /// Ask an application something.
    Call(call::CallArgs),
    /// Make a provider's key, which signs packages.
    Key(key::KeyArgs),
    /// Make a package of a component.
    Sign(Box<sign::SignArgs>),
    /// Show what a package says and what its component imports.
    Inspect(inspect::InspectArgs),
    /// Install a package on a node.
    Install(InstallArgs),
    /// Put a package into the ring: its nodes keep it for a day, and give it to each other where a message needs it.
    ///
    /// Nodes that run it publish it again by themselves. Where none does, do so each day.
    Publish(PublishArgs),
    /// List the applications on a node.
    List(ListArgs),
    /// Show what the applications on a node use, and what there is.
    Top(top::TopArgs),
    /// Remove an application from a node, with the records it keeps there.
    Remove(RemoveArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct InstallArgs {
    /// The package.
    package: PathBuf,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct PublishArgs {
    /// The package.
    package: PathBuf,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RemoveArgs {
    /// Name of the application, or its full id.
    app: String,
    #[command(flatten)]
    target: Target,
}

#[derive(Serialize)]
struct Installed {
    app: String,
}

/// Does it.
pub(super) fn run(command: &PeerletCommand) -> Result<(), Failure> {
    match command {
        PeerletCommand::New(args) => new::run(args),
        PeerletCommand::Build(args) => build::run(args),
        PeerletCommand::Test(args) => test::run(args),
        PeerletCommand::Dev(args) => dev::run(args),
        PeerletCommand::Call(args) => call::run(args),
        PeerletCommand::Key(args) => key::run(args),
        PeerletCommand::Sign(args) => sign::run(args),
        PeerletCommand::Inspect(args) => inspect::run(args),
        PeerletCommand::Install(args) => install(args),
        PeerletCommand::Publish(args) => publish(args),
        PeerletCommand::List(args) => list(args),
        PeerletCommand::Top(args) => top::run(args),
        PeerletCommand::Remove(args) => remove(args),
    }
}

fn install(args: &InstallArgs) -> Result<(), Failure> {
    // Read here too, so that a file that is no package is told from a node that refuses it.
    let package = read_package(&args.package)?;
    let app = args.target.client()?.install(&package.encode())?;
    if args.json { output::json(&Installed { app }) } else { output::line(app) }
}

fn publish(args: &PublishArgs) -> Result<(), Failure> {
    let package = read_package(&args.package)?;
    let published = args.target.client()?.publish(&package.encode())?;
    if args.json {
        return output::json(&published);
    }
    let (pieces, copies) = (published.pieces, published.copies);
    output::line(format!("published    {}", published.app))?;
    output::line(format!("locator      {}", published.locator))?;
    output::line(format!("kept         {pieces} pieces, each by {copies} nodes or more"))
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let peerlets = args.target.client()?.status()?.peerlets;
    if args.json { output::json(&peerlets) } else { print_list(&peerlets) }
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    args.target.client()?.remove(&args.app)?;
    output::line(format!("removed {}", args.app))
}

/// The applications of a node.
pub(super) fn print_list(peerlets: &[PeerletStatus]) -> Result<(), Failure> {
    if peerlets.is_empty() {
        return output::line("no applications");
    }
    let row = |peerlet: &PeerletStatus| {
        vec![
            peerlet.name.clone(),
            peerlet.version.clone().unwrap_or_else(|| "-".to_owned()),
            peerlet.state.clone(),
            peerlet.usage.calls.to_string(),
            peerlet.usage.fuel.to_string(),
            output::size(peerlet.usage.memory_bytes),
            output::size(peerlet.usage.storage_bytes),
            peerlet.app.clone(),
        ]
    };
    output::line("")?;
    let head = ["peerlet", "version", "state", "calls", "fuel", "memory", "storage", "id"];
    output::table(&head, &peerlets.iter().map(row).collect::<Vec<_>>())
}

/// A package file, checked.
pub(super) fn read_package(path: &Path) -> Result<Package, Failure> {
    let bytes = read(path, Package::MAX)?;
    Package::decode(Bytes::from(bytes)).map_err(|error| {
        Failure::new(exit::DATA, format!("{}: {error}", path.display()))
            .hint("make a package with `prost peerlet sign`")
    })
}

/// A file of at most this many bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::reading(path, &error))?;
    if bytes.len() as u64 > max {
        return Err(Failure::new(exit::DATA, format!("{} is longer than {max} bytes", path.display())));
    }
    Ok(bytes)
}
