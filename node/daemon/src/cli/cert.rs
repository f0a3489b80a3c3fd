//! `prost cert`: keys and certificates.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use prost_certs::{
    Admission, CA_CERTIFICATE, CA_KEY, CertificateAuthority, Identity, IssueError, LoadError, NODE_CERTIFICATE,
    NODE_KEY, SaveError, UnixTime, Validity,
};
use prost_kbr::NodeId;

use super::failure::Failure;
use super::output;
use crate::exit;

/// What to make.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum CertCommand {
    /// Make the authority of a closed ring: ca.key, to be kept safe, and ca.pem, for every node.
    Ca(CaArgs),
    /// Make a node's key and certificate: node.key and node.pem.
    Node(NodeArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct CaArgs {
    /// Name of the ring.
    #[arg(long, value_name = "NAME", default_value = "prost")]
    ring: String,
    /// Directory to write to.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days that the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 3650)]
    days: u32,
}

#[derive(Debug, Clone, Args)]
pub(super) struct NodeArgs {
    /// Directory with the authority's ca.pem and ca.key.
    #[arg(long, value_name = "DIR", required_unless_present = "open", conflicts_with = "open")]
    ca_dir: Option<PathBuf>,
    /// For an open ring, which has no authority.
    #[arg(long)]
    open: bool,
    /// Name of the node, for people.
    #[arg(long, value_name = "NAME", default_value = "node")]
    name: String,
    /// Directory to write to; a node's data directory is the right one.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Days that the certificate is valid.
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    days: u32,
}

/// Makes it.
pub(super) fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Ca(args) => make_authority(args),
        CertCommand::Node(args) => make_node(args),
    }
}

fn make_authority(args: &CaArgs) -> Result<(), Failure> {
    let authority = CertificateAuthority::generate(&args.ring, from_now(args.days))?;
    make_directory(&args.out)?;
    let (certificate, key) = (args.out.join(CA_CERTIFICATE), args.out.join(CA_KEY));
    authority.save(&certificate, &key)?;
    output::line(format!("authority of ring '{}'", authority.ring_name()))?;
    output::line(format!("{}  give this to every node", certificate.display()))?;
    output::line(format!("{}  keep this secret; no node needs it", key.display()))
}

fn make_node(args: &NodeArgs) -> Result<(), Failure> {
    let validity = from_now(args.days);
    let (identity, admission, authority) = match &args.ca_dir {
        Some(dir) => {
            let authority = CertificateAuthority::load(&dir.join(CA_CERTIFICATE), &dir.join(CA_KEY))?;
            (authority.issue(&args.name, validity)?, authority.admission().clone(), Some(authority))
        }
        None => (Identity::generate_open(&args.name, validity)?, Admission::Open, None),
    };
    let id = identity.node_id(&admission).map_err(|error| Failure::new(exit::INTERNAL, error))?;
    make_directory(&args.out)?;
    let (certificate, key) = (args.out.join(NODE_CERTIFICATE), args.out.join(NODE_KEY));
    identity.save(&certificate, &key)?;
    if let Some(authority) = authority {
        let copy = args.out.join(CA_CERTIFICATE);
        std::fs::write(&copy, authority.certificate_pem()).map_err(|error| Failure::writing(&copy, &error))?;
    }
    output::line(format!("node {}", NodeId::from_bytes(id)))?;
    output::line(certificate.display())?;
    output::line(key.display())
}

fn from_now(days: u32) -> Validity {
    Validity::days(UnixTime::now(), days)
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Failure::writing(path, &error))
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Failure {
        let code = match error {
            IssueError::Name | IssueError::Lifetime => exit::USAGE,
            IssueError::Generate(_) | IssueError::Refused(_) => exit::INTERNAL,
        };
        Failure::new(code, error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        match &error {
            LoadError::Io { path, source } => {
                Failure::reading(path, source).hint("make an authority with `prost cert ca`")
            }
            LoadError::KeyExposed { .. } => Failure::new(exit::NO_PERMISSION, error),
            _ => Failure::new(exit::DATA, error),
        }
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Failure {
        let exists = error.source.kind() == std::io::ErrorKind::AlreadyExists;
        let failure = Failure::writing(&error.path, &error.source);
        if exists { failure.hint("keys are never overwritten: choose another directory with --out") } else { failure }
    }
}
