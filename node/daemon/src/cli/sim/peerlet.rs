//! An application on the simulated ring, on the command line.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prost_kbr::Dispatch;
use prost_sim::scenario::{Ask, Origins, Payload, Peerlet, Template, Workload};

use crate::cli::failure::Failure;
use crate::cli::peerlet::read_package;
use crate::exit;
use crate::simulated::Sandboxed;

/// Messages and calls where nobody says how many.
const ASKED: u64 = 1000;

#[derive(Debug, Clone, Args)]
pub(super) struct PeerletArgs {
    /// A package, as `prost peerlet sign` makes it: its component runs in the sandbox on every node that a message brings
    /// it to.
    #[arg(long, value_name = "FILE")]
    peerlet: Option<PathBuf>,
    /// Messages of the application to random keys [default: 1000, or 0 with --call].
    #[arg(long, value_name = "COUNT", requires = "peerlet")]
    messages: Option<u64>,
    /// Who sees a message: the responsible node alone, or each node on its way that runs the application.
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = Type::EndNode, requires = "peerlet")]
    dispatch: Type,
    /// What messages say. {i} is the message's number, {key} its key; hex:DIGITS and cbor:JSON make bytes.
    #[arg(long, value_name = "TEXT", requires = "peerlet")]
    payload: Option<Template>,
    /// Random bytes that messages say instead [default: 100].
    #[arg(long, value_name = "COUNT", requires = "peerlet", conflicts_with = "payload")]
    payload_bytes: Option<u32>,
    /// What local programs ask; given several times, in turn. {i} counts the rounds, and {key} is a key for each round.
    #[arg(long, value_name = "METHOD[:TEXT]", requires = "peerlet")]
    call: Vec<Ask>,
    /// Calls of local programs [default: 1000].
    #[arg(long, value_name = "COUNT", requires = "call")]
    calls: Option<u64>,
    /// Where programs are that send and call.
    #[arg(long, value_enum, value_name = "WHICH", default_value_t = Where::Running, requires = "peerlet")]
    origins: Where,
    /// Nodes where the package is installed at the start.
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "peerlet")]
    installs: u32,
}

/// Types of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Type {
    /// Type 1.
    EndNode,
    /// Type 0.
    PerHop,
}

/// The nodes where programs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Where {
    /// Any of those that run the application by then.
    Running,
    /// Any member.
    Any,
}

impl PeerletArgs {
    /// The application, with the sandbox for it; none where the line names no package.
    pub(super) fn peerlet(&self) -> Result<Option<Peerlet>, Failure> {
        let Some(path) = &self.peerlet else { return Ok(None) };
        let package = read_package(path)?;
        let runtime = Sandboxed::new().map_err(|error| Failure::new(exit::INTERNAL, error))?;
        Ok(Some(Peerlet { package, runtime: Box::new(runtime), workload: self.workload() }))
    }

    fn workload(&self) -> Workload {
        let (messages, calls) = if self.call.is_empty() { (ASKED, 0) } else { (0, ASKED) };
        let payload = match (&self.payload, self.payload_bytes) {
            (Some(text), _) => Payload::Text(text.clone()),
            (None, Some(bytes)) => Payload::Bytes(bytes),
            (None, None) => Payload::default(),
        };
        Workload {
            messages: self.messages.unwrap_or(messages),
            dispatch: match self.dispatch {
                Type::EndNode => Dispatch::EndNode,
                Type::PerHop => Dispatch::PerHop,
            },
            payload,
            calls: self.calls.unwrap_or(calls),
            asks: self.call.clone(),
            installs: self.installs,
            origins: match self.origins {
                Where::Running => Origins::Running,
                Where::Any => Origins::Any,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: PeerletArgs,
    }

    fn parse(words: &[&str]) -> Result<PeerletArgs, clap::Error> {
        Line::try_parse_from(["sim"].iter().chain(words)).map(|line| line.args)
    }

    #[test]
    fn a_package_alone_gets_the_default_workload() {
        let args = parse(&["--peerlet", "a.prost"]).expect("the line is understood");
        assert_eq!(args.workload(), Workload::default());
        assert!(parse(&[]).expect("nothing").peerlet().expect("nothing").is_none());
    }

    #[test]
    fn each_option_has_its_place() {
        let words = ["--peerlet", "p", "--call", "put:{i}", "--call", "get", "--dispatch", "per-hop", "--payload", "x"];
        let more = ["--installs", "3", "--origins", "any", "--calls", "7", "--messages", "5"];
        let args = parse(&[&words[..], &more[..]].concat()).expect("the line is understood");
        let expected = Workload {
            messages: 5,
            dispatch: Dispatch::PerHop,
            payload: Payload::Text("x".parse().expect("a text")),
            calls: 7,
            asks: ["put:{i}", "get"].map(|ask| ask.parse().expect("a call")).to_vec(),
            installs: 3,
            origins: Origins::Any,
        };
        assert_eq!(args.workload(), expected);
    }

    #[test]
    fn nothing_is_asked_of_no_application() {
        for words in [&["--messages", "5"][..], &["--call", "a"], &["--peerlet", "p", "--calls", "5"]] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        assert!(parse(&["--peerlet", "p", "--payload", "hex:0"]).is_err());
    }

    #[test]
    fn the_help_shows_the_places_in_texts() {
        let help = Line::command().render_long_help().to_string();
        assert!(help.contains("{i} is the message's number, {key} its key"), "{help}");
    }

    #[test]
    fn a_file_that_is_missing_or_no_package_has_its_code() {
        let missing = parse(&["--peerlet", "/no/such/package"]).expect("the line is understood");
        assert_eq!(missing.peerlet().expect_err("no file").code, exit::NO_INPUT);
        let file = tempfile::NamedTempFile::new().expect("a file");
        let words = ["--peerlet", file.path().to_str().expect("a name")];
        let empty = parse(&words).expect("the line is understood").peerlet().expect_err("no package");
        assert_eq!(empty.code, exit::DATA);
        assert!(empty.line().expect("a line").contains("prost peerlet sign"));
    }
}
