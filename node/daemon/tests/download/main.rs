//! Downloads from real servers, which keep the rules or break them.

mod client;
mod places;
mod server;
mod servers;
