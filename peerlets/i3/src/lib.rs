//! i3, the Internet Indirection Infrastructure (Stoica, Adkins, Zhuang, Shenker and Surana, SIGCOMM 2002), as a peerlet.
//!
//! Packets go to ids, and triggers say who gets them. A trigger stays with the node responsible for the prefix of its id
//! ([`server`]) as long as whoever inserted it refreshes it ([`client`]). Senders learn that node and then send there in
//! one hop ([`sender`]); private ids are chosen so that it is near ([`sampler`]).

mod bucket;
mod client;
mod endpoints;
mod message;
mod nonce;
mod own;
mod peerlet;
mod reach;
mod sampler;
mod sender;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod times;

pub use peerlet::I3;
pub use times::{ACK_TIMEOUT, LIFETIME, REFRESH, TRIES};
