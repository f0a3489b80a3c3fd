//! The greeting: the first thing either side says, on its control stream.
//!
//! A length (u16, big endian) and one CBOR map. It binds what the sender says of itself to this very TLS session.

use std::net::SocketAddr;

use quinn::{Connection, RecvStream};
use serde::{Deserialize, Serialize};

use super::code::CloseCode;
use super::stats::Refused;

/// Longest name of a ring, in bytes.
pub(super) const MAX_RING: usize = 64;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    version: u8,
    ring: String,
    /// Where the sender can be dialled. An unspecified address stands for the one that its packets come from.
    pub(super) advertised: SocketAddr,
    /// Drawn when the sender's process started: two connections with different numbers are to two lives of a node.
    pub(super) incarnation: u64,
    #[serde(with = "serde_bytes")]
    binding: [u8; 32],
}

/// The part that every version of the protocol has.
#[derive(Deserialize)]
struct Version {
    version: u8,
}

impl Hello {
    pub(super) fn new(connection: &Connection, ring: &str, advertised: SocketAddr, incarnation: u64) -> Hello {
        let (version, ring) = (VERSION, ring.to_owned());
        let binding = binding(connection, &ring);
        Hello { version, ring, advertised, incarnation, binding }
    }

    /// Length and body.
    pub(super) fn encode(&self) -> Vec<u8> {
        let body = serde_cbor::to_vec(self).expect("plain data, written to memory");
        let length = u16::try_from(body.len()).expect("every field is short");
        [&length.to_be_bytes()[..], &body].concat()
    }

    /// Reads what the peer says of itself.
    pub(super) async fn receive(
        stream: &mut RecvStream,
        connection: &Connection,
        ring: &str,
    ) -> Result<Hello, (CloseCode, Refused)> {
        let broken = (CloseCode::Protocol, Refused::Greeting);
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.map_err(|_| broken)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length > MAX_HELLO {
            return Err(broken);
        }
        let mut body = [0; MAX_HELLO];
        stream.read_exact(&mut body[..length]).await.map_err(|_| broken)?;
        Hello::accept(&body[..length], ring, &binding(connection, ring))
    }

    fn accept(body: &[u8], ring: &str, binding: &[u8; 32]) -> Result<Hello, (CloseCode, Refused)> {
        let broken = (CloseCode::Protocol, Refused::Greeting);
        let Version { version } = serde_cbor::from_slice(body).map_err(|_| broken)?;
        if version != VERSION {
            return Err((CloseCode::Version, Refused::Version));
        }
        let hello: Hello = serde_cbor::from_slice(body).map_err(|_| broken)?;
        if hello.ring != ring {
            return Err((CloseCode::WrongRing, Refused::WrongRing));
        }
        if hello.binding != *binding || hello.advertised.port() == 0 {
            return Err(broken);
        }
        Ok(hello)
    }
}

/// Keying material of the TLS session (RFC 5705) under a label of ours: whoever can say it is at the end of this session.
fn binding(connection: &Connection, ring: &str) -> [u8; 32] {
    let mut material = [0; 32];
    connection
        .export_keying_material(&mut material, BINDING_LABEL, ring.as_bytes())
        .expect("32 bytes are not too many to ask for");
    material
}

const VERSION: u8 = 1;
/// Longest greeting, in bytes.
const MAX_HELLO: usize = 1024;
const BINDING_LABEL: &[u8] = b"EXPORTER-prost-hello-v1";

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        let advertised = "10.0.0.7:4433".parse().expect("an address");
        Hello { version: VERSION, ring: "r".into(), advertised, incarnation: 5, binding: [7; 32] }
    }

    fn accept(hello: &Hello) -> Result<Hello, (CloseCode, Refused)> {
        Hello::accept(&hello.encode()[2..], "r", &[7; 32])
    }

    #[test]
    fn a_greeting_comes_through_as_it_was_said() {
        assert_eq!(accept(&hello()), Ok(hello()));
    }

    #[test]
    fn a_greeting_that_is_not_for_this_connection_is_refused() {
        let broken = Err((CloseCode::Protocol, Refused::Greeting));
        let of_ring = Hello { ring: "s".into(), ..hello() };
        assert_eq!(accept(&of_ring), Err((CloseCode::WrongRing, Refused::WrongRing)));
        let of_version = Hello { version: 2, ..hello() };
        assert_eq!(accept(&of_version), Err((CloseCode::Version, Refused::Version)));
        assert_eq!(accept(&Hello { binding: [8; 32], ..hello() }), broken);
        let port_zero = "10.0.0.7:0".parse().expect("an address");
        assert_eq!(accept(&Hello { advertised: port_zero, ..hello() }), broken);
        assert_eq!(Hello::accept(b"", "r", &[7; 32]), broken);
        assert_eq!(Hello::accept(b"\xa0", "r", &[7; 32]), broken);
    }

    #[test]
    fn the_longest_name_of_a_ring_fits() {
        let longest = Hello { ring: "r".repeat(MAX_RING), ..hello() };
        assert!(longest.encode().len() <= MAX_HELLO);
    }
}
