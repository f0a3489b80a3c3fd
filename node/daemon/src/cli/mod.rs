//! The command line: `prost NOUN VERB`.
//!
//! Results go to standard output, everything else to standard error. A command that fails prints one line, what is wrong
//! and what to do next, and ends with a code of [`exit`].

mod cert;
mod cfs;
mod compile;
mod demo;
mod dht;
mod failure;
mod i3;
mod node;
mod output;
mod p2ptv;
mod peerlet;
mod policy;
mod ring;
mod scribe;
mod send;
mod sim;
mod status;
mod target;
mod walk;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit;
use failure::Failure;

/// One overlay network for many peer-to-peer applications.
#[derive(Debug, Parser)]
#[command(name = "prost", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   tried, and the answer is no
  64  the command line is wrong
  65  what was given to work on is malformed or damaged
  66  a file cannot be read
  69  the node, or whom it needs, does not answer
  70  the disk failed, or the program is wrong
  73  a file, a lock or a socket cannot be had
  77  permission is missing
  78  the configuration is wrong";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Node(Box<node::NodeArgs>),
    /// Start a ring on this machine, store files through an application installed on demand, kill a node, compare.
    Demo(demo::DemoArgs),
    /// Make keys and certificates.
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Make, install, list and watch applications.
    #[command(subcommand)]
    Peerlet(peerlet::PeerletCommand),
    /// Check a policy file, and ask what it says of an application.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Store values in the ring and read them.
    #[command(subcommand)]
    Dht(dht::DhtCommand),
    /// Send messages to groups, and read them.
    #[command(subcommand)]
    Scribe(scribe::ScribeCommand),
    /// Stream to many, and watch.
    #[command(subcommand)]
    P2ptv(p2ptv::P2ptvCommand),
    /// Publish directories into the ring and read them.
    #[command(subcommand)]
    Cfs(cfs::CfsCommand),
    /// Send packets to names, wherever those who listen are.
    #[command(subcommand)]
    I3(i3::I3Command),
    /// Send an application's message into the ring.
    Send(Box<send::SendArgs>),
    /// Look at the ring.
    #[command(subcommand)]
    Ring(ring::RingCommand),
    /// Run thousands of nodes in virtual time, and measure.
    Sim(Box<sim::SimArgs>),
    /// Show how a node is.
    Status(status::StatusArgs),
    /// Ask a node whether it is a member of its ring.
    Health(status::HealthArgs),
    /// Compile a component for a node.
    #[command(hide = true)]
    Compile(compile::CompileArgs),
}

/// Runs the command of this process, and says how it went.
pub fn main() -> ExitCode {
    ExitCode::from(run(std::env::args_os()))
}

/// Runs a command, its program's name first.
fn run(line: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is an error too, of the kind that goes to standard output. Who closed that does not want it.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE } else { exit::OK };
        }
    };
    match execute(&cli.command) {
        Ok(()) => exit::OK,
        Err(failure) => {
            if let Some(line) = failure.line() {
                eprintln!("{line}");
            }
            failure.code
        }
    }
}

fn execute(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Node(args) => node::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Cert(command) => cert::run(command),
        Command::Peerlet(command) => peerlet::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Dht(command) => dht::run(command),
        Command::Scribe(command) => scribe::run(command),
        Command::P2ptv(command) => p2ptv::run(command),
        Command::Cfs(command) => cfs::run(command),
        Command::I3(command) => i3::run(command),
        Command::Send(args) => send::run(args),
        Command::Ring(command) => ring::run(command),
        Command::Sim(args) => sim::run(args),
        Command::Status(args) => status::status(args),
        Command::Health(args) => status::health(args),
        Command::Compile(args) => compile::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn code(line: &str) -> u8 {
        run(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        let lines = [
            "node --config prost.toml --check-config",
            "demo --nodes 8 --input src --json --keep",
            "cert ca --ring main --out d",
            "cert node --ca-dir d --name a --out n",
            "cert node --open",
            "peerlet key --out k",
            "peerlet new greeter --lang python --dir d",
            "peerlet new greeter --sdk https://example.org/prost",
            "peerlet build dir -o c.wasm",
            "peerlet test dir --only partition --json",
            "peerlet dev dir --nodes 3 --everywhere",
            "peerlet call greeter greet Ada --node 3",
            "peerlet call greeter greet - --admin http://127.0.0.1:1 --token-file t",
            "peerlet sign --key k",
            "peerlet sign c.wasm --key k --name dht --app-version 1.2.3 --reason route=x --budget queue=1",
            "peerlet sign --standard dht --key k",
            "peerlet inspect p --json",
            "peerlet install p --admin http://127.0.0.1:1 --token-file t",
            "peerlet list --json",
            "peerlet top --once --json",
            "peerlet remove dht",
            "policy check policy.toml --json",
            "policy explain --policy policy.toml --package p --json",
            "policy explain --policy policy.toml --app dht --provider \
             0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "dht put name file",
            "dht put name",
            "dht put name --expires-in 10m --if-version 0 --json",
            "dht get name -o file --nearest",
            "dht stat name --json",
            "dht remove name",
            "dht list name --json",
            "scribe create news --member creator --publisher 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --json",
            "scribe join news@0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --anycast --count 3",
            "scribe publish news -",
            "scribe anycast news hello",
            "scribe leave news",
            "scribe status --json",
            "p2ptv serve film --channel news --rate 800k --json",
            "p2ptv watch news -o - --rewind 8 --buffer 3 --seconds 9 --source 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
            "p2ptv status news --json",
            "cfs publish dir --key k --salt site --ttl 30d --window 16 --json",
            "cfs update dir --key k",
            "cfs ls 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f/a/b --json",
            "cfs stat @0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --json",
            "cfs cat 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f/a --caching off",
            "cfs get 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f -o d --window 5 --json",
            "cfs extend 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --ttl 1h",
            "cfs mount 0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --listen 127.0.0.1:0",
            "cfs status --json",
            "i3 key bank --out k",
            "i3 listen bob --count 1 --json",
            "i3 listen bank --secret-file k --udp 127.0.0.1:53 --samples 0 --rate 10",
            "i3 listen upper --filter cat --suffix zrh --prefix-len 200",
            "i3 send upper,bob hello --suffix zrh --json",
            "i3 send bob#000102030405060708090a0b0c0d0e0f - --anycast",
            "i3 trigger insert clean --stack filter,bob --lease 60",
            "i3 trigger list --json",
            "i3 trigger remove bob",
            "i3 gateway --peer echo=127.0.0.1:0 --peer dns=127.0.0.1:5353 --samples 4",
            "send --app dht@0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --name n --type 0 --json hello",
            "send --app dht@0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --key \
             0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f --locator blake3:\
             0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f -",
            "ring show --json",
            "ring lookup name --json",
            "ring check --json",
            "sim --nodes 100 --seed 1 --scenario churn --session-median 10m --duration 1h --lookups 100 --json",
            "sim --latency wonder --successors 8 --connections 64 --plot d --trace t --loss 0.01",
            "sim --scenario study --study s.toml",
            "sim --peerlet p.prost --messages 5 --dispatch per-hop --payload-bytes 9 --call echo:hi --calls 3",
            "sim sweep --seeds 3 --first-seed 7 --nodes 100,1000 --jobs 2 --json --plot d",
            "sim swarm --seeds 100 --first-seed 7 --jobs 2 --json",
            "sim replay --seed 7 --trace t --json",
            "status --json",
            "health",
        ];
        for line in lines {
            let parsed = Cli::try_parse_from(std::iter::once("prost").chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|error| error.to_string()).unwrap_or_default());
        }
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for line in ["prost", "prost fly", "prost cert node", "prost cert node --open --ca-dir d", "prost ring lookup"]
        {
            assert_eq!(code(line), exit::USAGE, "{line}");
        }
        assert_eq!(code("prost --version"), exit::OK);
        assert_eq!(code("prost peerlet sign c --key k --name Not_A_Name"), exit::USAGE);
        for line in ["--standard none --key k", "--standard dht c --key k", "--standard dht"] {
            assert_eq!(code(&format!("prost peerlet sign {line}")), exit::USAGE, "{line}");
        }
        assert_eq!(code("prost peerlet new Not_A_Name"), exit::USAGE);
        assert_eq!(code("prost peerlet new .own"), exit::USAGE);
        assert_eq!(code("prost peerlet new a --lang js --sdk /"), exit::USAGE);
        assert_eq!(code("prost peerlet call a b hex:0"), exit::USAGE);
        for line in ["", "--package p --app dht", "--app dht", "--provider 0f --app dht"] {
            assert_eq!(code(&format!("prost policy explain --policy p {line}")), exit::USAGE, "{line}");
        }
        let app = "--app dht@0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";
        for line in ["--key 0 x", "x", "--name n", "--name n --type 2 x", "--name n --locator http://h/p x"] {
            assert_eq!(code(&format!("prost send {app} {line}")), exit::USAGE, "{line}");
        }
        assert_eq!(code("prost send --app dht --name n x"), exit::USAGE);
        for line in ["--duration soon", "--scenario study", "--nodes 0 --seed 1", "--nodes 5 replay --seed 1", "replay"]
        {
            assert_eq!(code(&format!("prost sim {line}")), exit::USAGE, "{line}");
        }
    }

    #[test]
    fn what_is_missing_has_its_code() {
        assert_eq!(code("prost node --check-config --config /no/such/prost.toml"), exit::CONFIG);
        assert_eq!(code("prost node --check-config --listen nowhere"), exit::CONFIG);
        assert_eq!(code("prost peerlet inspect /no/such/package"), exit::NO_INPUT);
        assert_eq!(code("prost peerlet test /no/such/peerlet"), exit::NO_INPUT);
        assert_eq!(code("prost peerlet dev /no/such/peerlet"), exit::NO_INPUT);
        assert_eq!(code("prost peerlet new a --dir /no/such/dir/a --sdk /no/such/checkout"), exit::NO_INPUT);
        assert_eq!(code("prost policy check /no/such/policy"), exit::NO_INPUT);
        assert_eq!(code("prost sim --nodes 2 --seed 1 --latency /no/such/matrix"), exit::NO_INPUT);
        assert_eq!(code("prost sim --seed 1 --scenario study --study /no/such/study"), exit::NO_INPUT);
        assert_eq!(code("prost sim --seed 1 --peerlet /no/such/package"), exit::NO_INPUT);
        assert_eq!(code("prost status --admin http://127.0.0.1:1"), exit::UNAVAILABLE);
        assert_eq!(code("prost health --admin http://127.0.0.1:1 --token-file /no/such/token"), exit::NO_INPUT);
    }
}
