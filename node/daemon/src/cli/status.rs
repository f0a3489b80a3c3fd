//! `prost status` and `prost health`: how a node is.

use clap::Args;

use super::failure::Failure;
use super::output;
use super::target::Target;
use crate::admin::ask::{Neighbour, Status};
use crate::exit;

#[derive(Debug, Clone, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    target: Target,
}

/// Prints how the node is.
pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let status = args.target.client()?.status()?;
    if args.json { output::json(&status) } else { print(&status) }
}

/// Ends well where the node is a member of its ring.
pub(super) fn health(args: &HealthArgs) -> Result<(), Failure> {
    if args.target.client()?.ready()? {
        return output::line("ready");
    }
    Err(Failure::new(exit::UNAVAILABLE, "the node is not a member of its ring").hint("see `prost status`"))
}

fn print(status: &Status) -> Result<(), Failure> {
    output::line(format!("node         {}", status.id))?;
    output::line(format!("address      {}", status.addr))?;
    output::line(format!("ring         {} ({})", status.ring, status.state))?;
    output::line(format!("version      {}", status.version))?;
    output::line(format!("uptime       {:.0} s", status.uptime_s))?;
    output::line(format!("connections  {}", status.connections))?;
    let content = &status.content;
    output::line(format!(
        "code store   {} of {}, {} applications",
        output::size(content.bytes),
        output::size(content.most_bytes),
        content.applications
    ))?;
    for (refusal, count) in &status.refusals {
        output::line(format!("refused      {count} x {refusal}"))?;
    }
    for install in &status.installs {
        let peer = install.peer.map(|peer| format!(" {}", peer.short())).unwrap_or_default();
        let (size, from) = (output::size(install.bytes), &install.from);
        output::line(format!("installed    {} from {from}{peer}, {size} in {} ms", install.app, install.ms))?;
    }
    neighbours(status)?;
    if status.peerlets.is_empty() { Ok(()) } else { super::peerlet::print_list(&status.peerlets) }
}

/// The nodes that a node knows.
pub(super) fn neighbours(status: &Status) -> Result<(), Failure> {
    let row = |kind: &str, peer: &Neighbour| {
        let rtt = peer.rtt_us.map_or_else(|| "-".to_owned(), output::millis);
        vec![kind.to_owned(), peer.id.to_string(), peer.addr.to_string(), rtt]
    };
    let kinds = [("predecessor", &status.predecessors), ("successor", &status.successors), ("finger", &status.fingers)];
    let rows: Vec<_> = kinds.iter().flat_map(|(kind, peers)| peers.iter().map(|peer| row(kind, peer))).collect();
    output::line("")?;
    output::table(&["", "node", "address", "round trip"], &rows)
}
