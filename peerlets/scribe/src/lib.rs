//! Scribe: group communication on a ring (Castro, Druschel, Kermarrec, Rowstron, JSAC 2002).
//!
//! The tree is the kit's ([`prost_peerlet::cast`]). Here is what makes it a service: groups with names, rules that their
//! creators have signed, messages that their publishers have signed, and subscriptions of local programs.

mod members;
mod rules;
mod scribe;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use rules::key;
pub use scribe::Scribe;

prost_peerlet::peerlet!(Scribe);
