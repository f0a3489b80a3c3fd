//! `prost send`: a message of an application, sent from this machine.

use std::io::{self, Read};

use clap::Args;
use prost_kbr::wire::MAX_PAYLOAD;
use prost_kbr::{AppId, Dispatch, Failure as Ended, Key, Peer};
use prost_package::Locator;
use serde::Serialize;

use super::failure::Failure;
use super::output;
use super::target::Target;
use crate::admin_client::Posted;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  prost send --app echo@9fae… --name greeting hello
  prost send --app echo@9fae… --key 00ff… --type 0 - < FILE

The message goes to the node responsible for the key, which installs the application where its policy allows. Where that
node refuses, the next of the replica set is asked. Ends with 0 once the message has been handled and what that wrote is
durable; with 1 where no node will run the application, or it failed; with 69 where no answer came.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SendArgs {
    /// The application's full id. It need not run on the node.
    #[arg(long, value_name = "NAME@PROVIDER")]
    app: AppId,
    /// Send it to this key, 40 hexadecimal digits.
    #[arg(long, value_name = "KEY", required_unless_present = "name", conflicts_with = "name")]
    key: Option<Key>,
    /// Send it to the key of this name, the SHA-1 of it.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// 0: every node on the way may look at it; 1: the last alone.
    #[arg(long = "type", value_name = "TYPE", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    dispatch: u8,
    /// Where the code can be had: blake3: and the component's digest; or the https: URL of a package, for nodes whose
    /// policy lists its host and that get it from no other node; or nothing.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = locator)]
    locator: String,
    /// The data; - for standard input.
    payload: String,
    #[command(flatten)]
    target: Target,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn locator(text: &str) -> Result<String, String> {
    Locator::parse(text).map(|locator| locator.to_string()).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Handled {
    app: String,
    key: Key,
    by: Peer,
    hops: u8,
}

/// Sends it, and waits for its outcome.
pub(super) fn run(args: &SendArgs) -> Result<(), Failure> {
    let app = args.app.to_string();
    let key = match (&args.key, &args.name) {
        (Some(key), _) => *key,
        (None, name) => Key::hash(name.as_deref().unwrap_or_default().as_bytes()),
    };
    let dispatch = if args.dispatch == 0 { Dispatch::PerHop } else { Dispatch::EndNode };
    let payload = payload(&args.payload)?;
    let posted = Posted { app: &app, key, dispatch, locator: &args.locator, payload: &payload };
    let sent = args.target.client()?.post(&posted)?;
    let by = sent.result.map_err(|failure| ended(&failure))?;
    if args.json {
        return output::json(&Handled { app, key, by, hops: sent.hops });
    }
    output::line(format!("key         {key}"))?;
    output::line(format!("handled by  {}  {}", by.id, by.addr))?;
    output::line(format!("hops        {}", sent.hops))
}

/// At most one byte more than a message holds is read.
fn payload(text: &str) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    if text == "-" {
        let read = io::stdin().lock().take(MAX_PAYLOAD as u64 + 1).read_to_end(&mut payload);
        read.map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read standard input: {error}")))?;
    } else {
        payload.extend_from_slice(text.as_bytes());
    }
    if payload.len() > MAX_PAYLOAD {
        return Err(Failure::new(exit::DATA, format!("a message holds at most {MAX_PAYLOAD} bytes")).hint("send less"));
    }
    Ok(payload)
}

fn ended(failure: &Ended) -> Failure {
    let (code, next) = match failure {
        Ended::NoWillingNode(_) => (exit::FAILED, "see those nodes' policies and logs"),
        Ended::HandlerFailed(_) => (exit::FAILED, "this is the application's own answer"),
        Ended::NotDurable => (exit::FAILED, "see the log of the node responsible"),
        Ended::Deadline | Ended::Unreachable | Ended::TooManyHops | Ended::NotJoined | Ended::Overloaded => {
            (exit::UNAVAILABLE, "try again")
        }
    };
    Failure::new(code, format!("the message was not handled: {failure}")).hint(next)
}

#[cfg(test)]
mod tests {
    use prost_kbr::{NodeId, Refusal};

    use super::*;

    #[test]
    fn how_a_message_ends_decides_the_exit_code() {
        let denied = Ended::NoWillingNode(vec![(NodeId::ZERO, Refusal::Denied)]);
        let said = ended(&denied);
        assert_eq!(said.code, exit::FAILED);
        assert!(said.line().is_some_and(|line| line.contains("denied)") && line.contains("; see ")), "{said:?}");
        assert_eq!(ended(&Ended::HandlerFailed("no".to_owned())).code, exit::FAILED);
        assert_eq!(ended(&Ended::Deadline).code, exit::UNAVAILABLE);
    }

    #[test]
    fn a_payload_is_no_longer_than_a_message_holds() {
        assert_eq!(payload("hello"), Ok(b"hello".to_vec()));
        assert_eq!(payload(&"x".repeat(MAX_PAYLOAD + 1)).map_err(|failure| failure.code), Err(exit::DATA));
    }
}
