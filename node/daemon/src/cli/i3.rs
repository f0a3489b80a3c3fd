//! `prost i3`: packets to names instead of addresses.

mod gateway;
mod listen;
mod names;
mod send;
mod trigger;

use clap::Subcommand;

use super::failure::Failure;
use crate::exit;
use crate::i3_client::I3Error;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum I3Command {
    /// Receive what is sent to a name.
    Listen(listen::ListenArgs),
    /// Send a packet to a name, or through several.
    Send(send::SendArgs),
    /// Insert, list and remove triggers.
    #[command(subcommand)]
    Trigger(trigger::TriggerCommand),
    /// Stand in for names with local UDP sockets, for programs that know nothing of i3.
    Gateway(gateway::GatewayArgs),
    /// Make a secret, so that nobody else can listen to a name.
    Key(names::KeyArgs),
}

/// Does it.
pub(super) fn run(command: &I3Command) -> Result<(), Failure> {
    match command {
        I3Command::Listen(args) => listen::run(args),
        I3Command::Send(args) => send::run(args),
        I3Command::Trigger(command) => trigger::run(command),
        I3Command::Gateway(args) => gateway::run(args),
        I3Command::Key(args) => names::make_key(args),
    }
}

impl From<I3Error> for Failure {
    fn from(error: I3Error) -> Failure {
        match error {
            I3Error::Admin(error) => Failure::from(error),
            I3Error::Refused(_) => Failure::new(exit::FAILED, error).hint("this is the application's own answer"),
            I3Error::Answer => Failure::new(exit::DATA, error).hint("is the node's i3 of another version?"),
            I3Error::Socket { .. } => Failure::new(exit::CANNOT_CREATE, error).hint("choose another address"),
        }
    }
}
