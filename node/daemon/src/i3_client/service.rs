//! An unmodified UDP program behind a name: a socket of its own for each conversation, as behind a network address
//! translator.

use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use prost_i3_api::ask::Received;
use prost_i3_api::{Datagram, I3Id};
use prost_peerlet::cbor::{self, Bytes};

use super::{I3Client, I3Error};

/// Conversations at once; the one that was silent for longest makes room.
const MOST: usize = 256;
/// A conversation that was silent for so long is over.
const SILENT: Duration = Duration::from_secs(120);
/// How often a conversation's thread looks whether it is over.
const LOOK: Duration = Duration::from_secs(1);
/// The longest datagram.
const LONGEST: usize = 65_535;

/// Hands packets to a program at a UDP address, and its answers to whoever asked.
#[derive(Debug)]
pub struct UdpService {
    client: I3Client,
    program: SocketAddr,
    /// Where everything but a conversation's first packet is to go.
    private: I3Id,
    conversations: HashMap<(I3Id, u64), Conversation>,
}

#[derive(Debug)]
struct Conversation {
    socket: Arc<UdpSocket>,
    last: Instant,
}

impl UdpService {
    /// Answers will name `private`, an id that the same listener listens to.
    pub fn new(client: I3Client, program: SocketAddr, private: I3Id) -> UdpService {
        UdpService { client, program, private, conversations: HashMap::new() }
    }

    /// A packet for the program. What is no datagram of a gateway's goes to it as it is, and has no answer.
    ///
    /// # Errors
    ///
    /// [`I3Error::Socket`] where this machine gives no socket.
    pub fn take(&mut self, received: &Received) -> Result<(), I3Error> {
        let datagram = cbor::decode(&received.payload);
        let Datagram { session, reply, data } =
            datagram.unwrap_or_else(|_| Datagram { session: 0, reply: None, data: received.payload.clone() });
        let Some(reply) = reply else {
            let socket = connect(self.program)?;
            return sent(socket.send(&data));
        };
        self.conversations.retain(|_, conversation| conversation.last.elapsed() < SILENT);
        if !self.conversations.contains_key(&(reply, session)) {
            self.begin(reply, session)?;
        }
        let Some(conversation) = self.conversations.get_mut(&(reply, session)) else { return Ok(()) };
        conversation.last = Instant::now();
        sent(conversation.socket.send(&data))
    }

    fn begin(&mut self, reply: I3Id, session: u64) -> Result<(), I3Error> {
        if self.conversations.len() >= MOST {
            let oldest = self.conversations.iter().min_by_key(|(_, conversation)| conversation.last);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.conversations.remove(&key);
            }
        }
        let socket = Arc::new(connect(self.program)?);
        let answers = Answers { client: self.client.clone(), to: reply, session, private: self.private };
        let weak = Arc::downgrade(&socket);
        // The thread ends when the conversation is forgotten here.
        thread::spawn(move || {
            let mut buffer = vec![0; LONGEST];
            while let Some(socket) = weak.upgrade() {
                if let Ok(length) = socket.recv(&mut buffer) {
                    answers.send(&buffer[..length]);
                }
            }
        });
        self.conversations.insert((reply, session), Conversation { socket, last: Instant::now() });
        Ok(())
    }
}

/// Where the answers of one conversation go.
struct Answers {
    client: I3Client,
    to: I3Id,
    session: u64,
    private: I3Id,
}

impl Answers {
    /// As with UDP, what is lost is lost.
    fn send(&self, data: &[u8]) {
        let datagram = Datagram { session: self.session, reply: Some(self.private), data: Bytes::from(data) };
        if let Err(error) = self.client.send_datagram(self.to, &datagram) {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }
}

fn connect(program: SocketAddr) -> Result<UdpSocket, I3Error> {
    let any: SocketAddr = if program.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(program)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(socket)
    });
    socket.map_err(|error| I3Error::socket(format_args!("no UDP socket to {program}"), &error))
}

/// A program that is not there at the moment is no reason to end.
fn sent(result: io::Result<usize>) -> Result<(), I3Error> {
    if let Err(error) = result {
        tracing::debug!(%error, "a datagram could not be handed on");
    }
    Ok(())
}
