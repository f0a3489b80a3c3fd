//! Serving a tree as a share.

use std::net::{SocketAddr, TcpListener};

use clap::Args;
use prost_cfs_fs::Address;

use super::super::failure::Failure;
use super::super::output;
use super::Source;
use crate::cfs::{Mount, serve};
use crate::exit;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct MountArgs {
    /// What to serve: a root's id, or @ and a snapshot's, then perhaps /PATH.
    address: Address,
    /// Where to listen, on this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8087")]
    listen: SocketAddr,
    #[command(flatten)]
    source: Source,
}

/// Serves until the process is ended.
pub(super) fn mount(args: &MountArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        let failure = Failure::new(exit::USAGE, "the share has no password: it is for this machine alone");
        return Err(failure.hint("listen on a loopback address"));
    }
    let blocks = args.source.blocks()?;
    // What is not there is better said now.
    args.source.reader(&blocks).resolve(&args.address)?;
    let cannot = |error| Failure::new(exit::CANNOT_CREATE, format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    output::line(format!("http://{address}/"))?;
    let window = usize::from(args.source.window);
    serve(listener, Mount { address: args.address.clone(), blocks, window }).map_err(cannot)
}
