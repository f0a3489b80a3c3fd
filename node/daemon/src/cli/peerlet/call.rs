//! `prost peerlet call`: asks an application something, as any local program can.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;
use prost_sim::scenario::written;

use super::super::failure::Failure;
use super::super::output;
use super::super::target::{DEFAULT_ADMIN, Target};
use super::dev::Ring;
use crate::exit;

/// Longest body, in bytes: what a node takes.
const MAX_BODY: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  prost peerlet call greeter greet Ada
  prost peerlet call greeter greet Ada --node 3
  prost peerlet call dht get 'cbor:{\"key\":\"hex:00ff…\",\"name\":\"bytes:n\"}'
  prost peerlet call dht put - < FILE

A body that begins with hex: is bytes as hexadecimal digits; one that begins with cbor: is JSON that is sent as CBOR, in
which strings that begin with hex: or bytes: become bytes; text: stands before a body that begins so itself.
In the directory of a peerlet that `prost peerlet dev` runs, its ring is asked where no other node is named.
The answer goes to standard output. Ends with 1 where the node does not run the application, with 65 where the application
answers with an error, and with 69 where no answer comes.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct CallArgs {
    /// Name of the application, or its full id.
    app: String,
    /// What is asked.
    method: String,
    /// With what; - for standard input, as it is.
    #[arg(default_value = "", hide_default_value = true)]
    body: String,
    /// Number of a node of the ring that `prost peerlet dev` runs for this directory.
    #[arg(long, value_name = "NUMBER", conflicts_with = "admin")]
    node: Option<usize>,
    /// Administration interface of the node [default: that ring's first node, else http://127.0.0.1:9090].
    #[arg(long, value_name = "URL", env = "PROST_ADMIN")]
    admin: Option<String>,
    /// File with the interface's token. By default admin.token in the data directory.
    #[arg(long, value_name = "FILE", env = "PROST_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// Asks, and prints the answer.
pub(super) fn run(args: &CallArgs) -> Result<(), Failure> {
    let body = body(&args.body)?;
    let mut answer = target(args)?.client()?.call(&args.app, &args.method, &body)?;
    let is_text = std::str::from_utf8(&answer).is_ok();
    if io::stdout().is_terminal() && is_text && !answer.ends_with(b"\n") {
        answer.push(b'\n');
    }
    output::bytes(&answer)
}

fn target(args: &CallArgs) -> Result<Target, Failure> {
    let named = |admin: &str| Target::of(admin.to_owned(), args.token_file.clone());
    if let (None, Some(admin)) = (args.node, &args.admin) {
        return Ok(named(admin));
    }
    match (Ring::find(std::path::Path::new(".")), args.node) {
        (Some(ring), number) => {
            let count = ring.nodes.len();
            let node = ring.nodes.into_iter().nth(number.unwrap_or(0)).ok_or_else(|| {
                Failure::new(exit::USAGE, format!("the ring has no node {}", number.unwrap_or(0)))
                    .hint(format!("its nodes are 0 to {}", count.saturating_sub(1)))
            })?;
            Ok(Target::of(node.admin, Some(node.token_file)))
        }
        (None, Some(_)) => Err(Failure::new(exit::NO_INPUT, "no `prost peerlet dev` runs for this directory")
            .hint("start it, or name a node with --admin")),
        (None, None) => Ok(named(DEFAULT_ADMIN)),
    }
}

fn body(text: &str) -> Result<Vec<u8>, Failure> {
    if text != "-" {
        let wrong = |error| Failure::new(exit::USAGE, error).hint("see `prost peerlet call --help`");
        return written(text).map(Vec::from).map_err(wrong);
    }
    let mut body = Vec::new();
    let read = io::stdin().lock().take(MAX_BODY + 1).read_to_end(&mut body);
    read.map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
    if body.len() as u64 > MAX_BODY {
        return Err(Failure::new(exit::DATA, format!("a body has at most {MAX_BODY} bytes")).hint("send less"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_digits_or_json() {
        assert_eq!(body("hello {i}"), Ok(b"hello {i}".to_vec()));
        assert_eq!(body("hex:00ff"), Ok(vec![0, 255]));
        assert_eq!(body("cbor:[1]"), Ok(vec![0x81, 1]));
        assert_eq!(body("hex:0").map_err(|failure| failure.code), Err(exit::USAGE));
    }
}
