//! `prost cfs`: directories in the ring, published by one key and read by all.

mod get;
mod mount;
mod publish;
mod read;

use clap::{Args, Subcommand, ValueEnum};
use prost_cfs_api::{Caching, Refusal};
use prost_cfs_fs::{FsError, Reader, WINDOW};

use super::failure::Failure;
use super::target::Target;
use crate::cfs::{CfsError, NodeBlocks};
use crate::exit;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum CfsCommand {
    /// Publish a directory, and print the id of its root.
    Publish(publish::PublishArgs),
    /// Publish a directory again, in place of what its root stands for.
    Update(publish::PublishArgs),
    /// List a directory.
    Ls(read::ListArgs),
    /// Write a file to standard output.
    Cat(read::CatArgs),
    /// Copy a file or a directory here.
    Get(get::GetArgs),
    /// Show what a tree or a file is.
    Stat(read::StatArgs),
    /// Keep a tree for longer.
    Extend(publish::ExtendArgs),
    /// Serve a tree on this machine as a read-only WebDAV share.
    Mount(mount::MountArgs),
    /// Show what the node's block store does.
    Status(read::StatusArgs),
}

/// Does it.
pub(super) fn run(command: &CfsCommand) -> Result<(), Failure> {
    match command {
        CfsCommand::Publish(args) => publish::publish(args, false),
        CfsCommand::Update(args) => publish::publish(args, true),
        CfsCommand::Ls(args) => read::list(args),
        CfsCommand::Cat(args) => read::cat(args),
        CfsCommand::Get(args) => get::get(args),
        CfsCommand::Stat(args) => read::stat(args),
        CfsCommand::Extend(args) => publish::extend(args),
        CfsCommand::Mount(args) => mount::mount(args),
        CfsCommand::Status(args) => read::status(args),
    }
}

/// Where blocks come from.
#[derive(Debug, Clone, Args)]
struct Source {
    /// Blocks that are fetched ahead of what has been read: the paper's 40 KiB are 5.
    #[arg(long, value_name = "COUNT", default_value_t = WINDOW as u8, value_parser = clap::value_parser!(u8).range(1..=48))]
    window: u8,
    /// Who may answer for a block.
    #[arg(long, value_enum, default_value_t = Answerer::Path)]
    caching: Answerer,
    #[command(flatten)]
    target: Target,
}

/// Who may answer for a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Answerer {
    /// The node responsible alone.
    Off,
    /// Replicas on the way, and the nearest.
    Replicas,
    /// Caches on the way too, which then keep the block.
    Path,
}

impl Source {
    fn blocks(&self) -> Result<NodeBlocks, Failure> {
        let caching = match self.caching {
            Answerer::Off => Caching::Off,
            Answerer::Replicas => Caching::Replicas,
            Answerer::Path => Caching::Path,
        };
        Ok(NodeBlocks::new(self.target.client()?).with_caching(caching))
    }

    fn reader<'a>(&self, blocks: &'a NodeBlocks) -> Reader<'a, NodeBlocks> {
        Reader::new(blocks).with_window(usize::from(self.window))
    }
}

impl From<CfsError> for Failure {
    fn from(error: CfsError) -> Failure {
        let transient = error.is_transient();
        let failure = match &error {
            CfsError::Admin(admin) => return Failure::from(admin.clone()),
            CfsError::Refused(_) if transient => Failure::new(exit::UNAVAILABLE, &error),
            CfsError::Refused(Refusal::Stale(_) | Refusal::Conflict) => {
                let failure = Failure::new(exit::FAILED, &error);
                return failure.hint("somebody else has published with this key meanwhile: run the update again");
            }
            CfsError::Refused(Refusal::OverQuota) => {
                let failure = Failure::new(exit::FAILED, &error);
                return failure.hint("publish less, through another node, or let other blocks expire");
            }
            CfsError::Refused(Refusal::BadRequest(_) | Refusal::Damaged) | CfsError::Answer => {
                Failure::new(exit::DATA, &error)
            }
            CfsError::Refused(_) => Failure::new(exit::FAILED, &error),
        };
        if transient { failure.hint("try again") } else { failure }
    }
}

impl From<FsError<CfsError>> for Failure {
    fn from(error: FsError<CfsError>) -> Failure {
        let code = match &error {
            FsError::Store(error) => return Failure::from(error.clone()),
            FsError::Input(path, error) => return Failure::reading(path, error),
            FsError::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Failure::closed(),
            FsError::Output(_) => exit::CANNOT_CREATE,
            FsError::Missing(_) | FsError::NotFound(_) => exit::FAILED,
            FsError::Damaged(_) | FsError::Malformed(_) | FsError::TooLarge(_) | FsError::BadName(_) => exit::DATA,
            FsError::NotADirectory(_) | FsError::IsADirectory(_) => exit::FAILED,
        };
        Failure::new(code, error)
    }
}
