//! `prost i3 gateway`: names as local UDP sockets.

use std::net::SocketAddr;

use clap::Args;
use prost_i3_api::ask::MAX_SAMPLES;

use super::names::{self, NAMES};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::target::Target;
use crate::exit;
use crate::i3_client::{Gateway, I3Client, PeerName};

const EXAMPLES: &str = "\
Examples:
  prost i3 gateway --peer echo=127.0.0.1:7000 --peer dns=127.0.0.1:5353
  nc -u 127.0.0.1 7000                    talks to whoever runs prost i3 listen echo --udp HOST:PORT

Prints a line for each name, with its socket. Runs until it is ended.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{NAMES}"))]
pub(crate) struct GatewayArgs {
    /// A name, and where its socket is to be; port 0 for one that is free.
    #[arg(long = "peer", value_name = "NAME=HOST:PORT", required = true)]
    peers: Vec<String>,
    /// Measure so many random ids and use the nearest as the private one; 0 for the nearest link.
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_SAMPLES)))]
    samples: u8,
    #[command(flatten)]
    target: Target,
}

/// Stands in for them.
pub(crate) fn run(args: &GatewayArgs) -> Result<(), Failure> {
    let peers = args.peers.iter().map(|peer| parse(peer)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<PeerName> = peers.iter().map(|(_, peer)| peer.clone()).collect();
    let mut gateway = Gateway::open(I3Client::new(args.target.client()?), &names, args.samples)?;
    for ((name, _), address) in peers.iter().zip(gateway.addresses()) {
        output::line(format!("{name}  udp {address}"))?;
    }
    Ok(gateway.run()?)
}

fn parse(text: &str) -> Result<(&str, PeerName), Failure> {
    let malformed = || Failure::new(exit::USAGE, format!("'{text}' is not NAME=HOST:PORT"));
    let (name, local) = text.rsplit_once('=').ok_or_else(malformed)?;
    let local: SocketAddr = local.parse().map_err(|_| malformed())?;
    Ok((name, PeerName { id: names::parse(name)?.id, local }))
}
