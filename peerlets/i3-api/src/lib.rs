//! Ids, triggers and packets of i3, the Internet Indirection Infrastructure (Stoica, Adkins, Zhuang, Shenker and Surana,
//! SIGCOMM 2002), and what a program asks the i3 peerlet.
//!
//! A request's method is the name of one of the constants of [`ask`], its body the CBOR of the type beside it, and the
//! answer's body the CBOR of the type that this one names. A request that comes to nothing is answered with text.

pub mod ask;
mod id;
mod name;
mod packet;
mod trigger;

pub use id::{HalfKey, I3Id, KEY_LEN, MIN_MATCH, is_nearer};
pub use name::{Name, NotAName};
pub use packet::{Address, Datagram, Hop, MAX_PAYLOAD, MAX_STACK};
pub use trigger::{Constraint, Rate, Target, Trigger, left_key, left_key_of_stack, right_key};
