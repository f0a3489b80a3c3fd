//! `prost i3 listen`: packets as they come, on standard output, to a UDP program, or through a filter.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use clap::Args;
use prost_i3_api::ask::{MAX_SAMPLES, Received};
use prost_i3_api::{Datagram, Hop, I3Id, Name, Rate};
use prost_peerlet::cbor;
use serde::Serialize;

use super::names::{self, NAMES};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::cli::target::Target;
use crate::exit;
use crate::i3_client::{I3Client, Listener, UdpService, Wanted};

const EXAMPLES: &str = "\
Examples:
  prost i3 listen bob                               print what comes, a line each
  prost i3 listen bank --secret-file bank.key       a name that nobody else can listen to
  prost i3 listen printer --suffix zrh              of several, for those who ask for it
  prost i3 listen dns --udp 127.0.0.1:53            a UDP program behind a name: see prost i3 gateway
  prost i3 listen upper --filter 'tr a-z A-Z'       a service, for packets that go through it

Prints 'listening' on standard error once the trigger is in its place. Runs until it is ended; the trigger goes then.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{NAMES}"))]
pub(crate) struct ListenArgs {
    /// The name.
    name: String,
    /// The name's secret.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// What this receiver is like: up to eight bytes, compared from the first on.
    #[arg(long, value_name = "TEXT", value_parser = names::suffix, conflicts_with = "anycast")]
    suffix: Option<u64>,
    /// Share the packets with others who do the same: each goes to one.
    #[arg(long)]
    anycast: bool,
    /// Take packets only that agree with the id in so many bits.
    #[arg(long, value_name = "BITS", default_value_t = 0, hide_default_value = true,
          value_parser = clap::value_parser!(u16).range(0..=256))]
    prefix_len: u16,
    /// Take so many packets a second, at most.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Hand packets to the program at this address, and send its answers back.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "filter")]
    udp: Option<SocketAddr>,
    /// Give each packet to this shell command, and send its output on to the rest of the packet's stack.
    #[arg(long, value_name = "COMMAND")]
    filter: Option<String>,
    /// For --udp: measure so many random ids and use the nearest as the private one; 0 for the nearest link.
    #[arg(long, value_name = "COUNT", default_value_t = 8,
          value_parser = clap::value_parser!(u8).range(0..=i64::from(MAX_SAMPLES)))]
    samples: u8,
    /// End after so many packets.
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// A packet, for programs.
#[derive(Serialize)]
struct Line<'a> {
    /// The id of the trigger.
    id: Option<String>,
    /// Ids that were left on its stack.
    rest: Vec<String>,
    /// The data, where it is text.
    text: Option<&'a str>,
    /// The data.
    hex: String,
}

/// Listens.
pub(crate) fn run(args: &ListenArgs) -> Result<(), Failure> {
    let Name { id, secret } = names::owned(&args.name, args.secret_file.as_deref())?;
    let secret = secret.ok_or_else(|| {
        Failure::new(exit::USAGE, format!("listening to '{}' takes its secret", args.name)).hint("give --secret-file")
    })?;
    let suffix = if args.anycast { Some(names::random_suffix()?) } else { args.suffix };
    let id = suffix.map_or(id, |suffix| id.with_suffix(suffix));
    let rate = args.rate.map(|per_second| Rate { per_second, burst: per_second });
    let mut wanted = vec![Wanted { id, secret, prefix_len: args.prefix_len, rate }];
    let client = I3Client::new(args.target.client()?);
    let mut taker = match (&args.udp, &args.filter) {
        (Some(program), _) => {
            let chosen = client.private(args.samples)?;
            wanted.push(Wanted::new(chosen.id, chosen.secret));
            Taker::Udp(UdpService::new(client.clone(), *program, chosen.id))
        }
        (None, Some(command)) => Taker::Filter(command.clone()),
        (None, None) => Taker::Print { json: args.json },
    };
    let mut listener = Listener::open(client, wanted)?;
    eprintln!("listening to {id}");
    let (mut left, mut lost) = (args.count, 0);
    while left != Some(0) {
        for received in listener.receive()? {
            taker.take(listener.client(), &received)?;
            left = left.map(|left| left.saturating_sub(1));
            if left == Some(0) {
                break;
            }
        }
        if listener.lost() > lost {
            eprintln!("warning: {} packets came too fast and were dropped", listener.lost() - lost);
            lost = listener.lost();
        }
    }
    Ok(())
}

/// What becomes of packets.
enum Taker {
    Print { json: bool },
    Udp(UdpService),
    Filter(String),
}

impl Taker {
    fn take(&mut self, client: &I3Client, received: &Received) -> Result<(), Failure> {
        match self {
            Taker::Print { json: true } => {
                let data = data(received);
                let text = str::from_utf8(&data).ok();
                let id = |hop: &Hop| match hop {
                    Hop::Id(id) => id.to_string(),
                    Hop::Host(host) => format!("{}/{:016x}", host.node, host.endpoint),
                };
                let line = Line {
                    id: received.id.as_ref().map(I3Id::to_string),
                    rest: received.rest.iter().map(id).collect(),
                    text,
                    hex: hex::encode(&data),
                };
                output::line(serde_json::to_string(&line).map_err(|error| Failure::new(exit::INTERNAL, error))?)
            }
            Taker::Print { json: false } => output::bytes(&[&data(received)[..], b"\n"].concat()),
            Taker::Udp(service) => Ok(service.take(received)?),
            Taker::Filter(command) => {
                let filtered = filter(command, data(received))?;
                if received.rest.is_empty() {
                    return output::bytes(&filtered);
                }
                let datagram = Datagram { data: filtered.into(), ..datagram(received) };
                // One that cannot be sent is lost, as any packet may be.
                if let Err(error) = client.send(received.rest.clone(), cbor::encode(&datagram), false) {
                    eprintln!("warning: a packet could not be sent on: {error}");
                }
                Ok(())
            }
        }
    }
}

/// What does not come from a command line or a gateway is data as it is.
fn datagram(received: &Received) -> Datagram {
    let raw = |_| Datagram { session: 0, reply: None, data: received.payload.clone() };
    cbor::decode(&received.payload).unwrap_or_else(raw)
}

fn data(received: &Received) -> Vec<u8> {
    datagram(received).data.0
}

/// Runs a shell command on some bytes.
fn filter(command: &str, input: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::new(exit::FAILED, format!("the filter '{command}' does not run: {error}"));
    let child = Command::new("sh").arg("-c").arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed)?;
    let stdin = child.stdin.take();
    // A filter may write before it has read everything; one that does not want to read is no failure.
    let writer = thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let output = child.wait_with_output().map_err(failed)?;
    let _ = writer.join();
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_turns_a_packet_into_another() {
        assert_eq!(filter("tr a-z A-Z", b"hello".to_vec()).as_deref(), Ok(&b"HELLO"[..]));
        assert_eq!(filter("true", vec![b'x'; 1 << 20]).as_deref(), Ok(&b""[..]));
    }

    #[test]
    fn what_is_no_datagram_is_data_as_it_is() {
        let received = |payload: Vec<u8>| Received { id: None, rest: Vec::new(), payload: payload.into() };
        assert_eq!(data(&received(b"raw".to_vec())), b"raw");
        let framed = Datagram { session: 1, reply: None, data: "framed".into() };
        assert_eq!(data(&received(cbor::encode(&framed))), b"framed");
    }
}
