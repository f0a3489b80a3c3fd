//! `prost i3 send`: a packet.

use std::io::{self, Read};

use clap::Args;
use prost_i3_api::{Datagram, Hop, MAX_STACK};
use prost_peerlet::cbor;
use serde::Serialize;

use super::names::{self, NAMES};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::target::Target;
use crate::exit;
use crate::i3_client::I3Client;

/// Longest packet of the command line: that of UDP.
const LONGEST: usize = 65_507;

const EXAMPLES: &str = "\
Examples:
  prost i3 send bob hello
  prost i3 send upper,reverse,bob hello          through two services
  prost i3 send printer --suffix zrh hello       to the receiver whose suffix is most like it
  prost i3 send worker --anycast - < FILE        to one receiver of many

All who listen to exactly the same id get the packet. Ends with 0 once the node that keeps the first name's triggers has
found some; with 1 where there are none; with 69 where it said nothing in time.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{NAMES}"))]
pub(crate) struct SendArgs {
    /// Names, with commas between them: the packet goes through all, in this order.
    names: String,
    /// The data; - for standard input.
    payload: String,
    /// What the receiver is to be like: up to eight bytes, compared from the first on.
    #[arg(long, value_name = "TEXT", value_parser = names::suffix, conflicts_with = "anycast")]
    suffix: Option<u64>,
    /// To any one of the receivers that listen with --anycast.
    #[arg(long)]
    anycast: bool,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Sent<'a> {
    to: &'a str,
    bytes: usize,
    receivers: u32,
}

/// Sends it, and waits for the word of the node that keeps the triggers.
pub(crate) fn run(args: &SendArgs) -> Result<(), Failure> {
    let names = args.names.split(',').map(names::parse).collect::<Result<Vec<_>, _>>()?;
    if names.len() > MAX_STACK {
        return Err(Failure::new(exit::USAGE, format!("a packet goes through {MAX_STACK} names at most")));
    }
    let suffix = if args.anycast { Some(names::random_suffix()?) } else { args.suffix };
    let stack = names.iter().map(|name| suffix.map_or(name.id, |suffix| name.id.with_suffix(suffix)));
    let data = payload(&args.payload)?;
    let bytes = data.len();
    let datagram = Datagram { session: 0, reply: None, data: data.into() };
    let client = I3Client::new(args.target.client()?);
    let receivers = client.send(stack.map(Hop::Id).collect(), cbor::encode(&datagram), true)?;
    match receivers {
        None => Err(Failure::new(exit::UNAVAILABLE, "no node said in time that it has the packet").hint("try again")),
        Some(0) => {
            let first = args.names.split(',').next().unwrap_or_default();
            Err(Failure::new(exit::FAILED, format!("nobody listens to '{first}'")).hint("see prost i3 listen"))
        }
        Some(receivers) if args.json => output::json(&Sent { to: &args.names, bytes, receivers }),
        Some(receivers) => output::line(format!("sent to {receivers}")),
    }
}

fn payload(text: &str) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    if text == "-" {
        let read = io::stdin().lock().take(LONGEST as u64 + 1).read_to_end(&mut payload);
        read.map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
    } else {
        payload.extend_from_slice(text.as_bytes());
    }
    if payload.len() > LONGEST {
        return Err(Failure::new(exit::DATA, format!("a packet holds at most {LONGEST} bytes")).hint("send less"));
    }
    Ok(payload)
}
