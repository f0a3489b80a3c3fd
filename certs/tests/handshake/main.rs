//! Handshakes between real TLS ends: who gets in, and why the others do not.

mod certificates;
mod protocol;
mod world;
