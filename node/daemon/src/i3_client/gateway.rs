//! Names as local UDP sockets: what an unmodified program sends there goes to the name, and answers come from there.
//!
//! The first packet goes to the name's public id and says the gateway's private one. The answer says the other side's, and
//! everything from then on goes from private id to private id (SIGCOMM 2002, section 4.1).

use core::time::Duration;
use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use prost_i3_api::{Datagram, I3Id};
use prost_peerlet::cbor::{self, Bytes};
use ring::rand::{SecureRandom, SystemRandom};

use super::{I3Client, I3Error, Listener, Wanted};

/// Conversations at once; the one that was silent for longest makes room.
const MOST: usize = 256;
/// After so many datagrams without an answer, and so long, the public id is tried again: the other side may have moved.
const UNANSWERED: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(3);
const LONGEST: usize = 65_535;

/// A name, and the local socket that stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerName {
    /// Its public id.
    pub id: I3Id,
    /// Where the socket is; port 0 for one that is free.
    pub local: SocketAddr,
}

/// Sockets that stand for names.
#[derive(Debug)]
pub struct Gateway {
    listener: Listener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: I3Client,
    /// Where answers come.
    private: I3Id,
    peers: Vec<(I3Id, UdpSocket)>,
    conversations: Mutex<HashMap<u64, Conversation>>,
}

/// A local program that talks to a name.
#[derive(Debug)]
struct Conversation {
    peer: usize,
    program: SocketAddr,
    /// What the other side said about where to send to.
    private: Option<I3Id>,
    unanswered: u32,
    heard: Instant,
    last: Instant,
}

impl Conversation {
    fn target(&self, public: I3Id) -> I3Id {
        let is_stale = self.unanswered > UNANSWERED && self.heard.elapsed() > PATIENCE;
        self.private.filter(|_| !is_stale).unwrap_or(public)
    }
}

impl Gateway {
    /// Binds the sockets, and listens to a private id near the node, the nearest of so many.
    ///
    /// # Errors
    ///
    /// [`I3Error`] where a socket cannot be had, or the node refuses.
    pub fn open(client: I3Client, names: &[PeerName], samples: u8) -> Result<Gateway, I3Error> {
        let bind = |name: &PeerName| match UdpSocket::bind(name.local) {
            Ok(socket) => Ok((name.id, socket)),
            Err(error) => Err(I3Error::socket(format_args!("cannot listen at UDP {}", name.local), &error)),
        };
        let peers = names.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let chosen = client.private(samples)?;
        let listener = Listener::open(client.clone(), vec![Wanted::new(chosen.id, chosen.secret)])?;
        let conversations = Mutex::default();
        let shared = Arc::new(Shared { client, private: chosen.id, peers, conversations });
        Ok(Gateway { listener, shared })
    }

    /// The sockets' addresses, in the order of the names.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        // A bound socket has an address.
        self.shared.peers.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect()
    }

    /// Passes datagrams on, both ways, until the node refuses for good.
    ///
    /// # Errors
    ///
    /// [`I3Error`]: why.
    pub fn run(&mut self) -> Result<(), I3Error> {
        for peer in 0..self.shared.peers.len() {
            let shared = self.shared.clone();
            thread::spawn(move || shared.send_all(peer));
        }
        loop {
            for received in self.listener.receive()? {
                if let Ok(datagram) = cbor::decode(&received.payload) {
                    self.shared.answer(datagram);
                }
            }
        }
    }
}

impl Shared {
    fn send_all(&self, peer: usize) {
        let (public, socket) = &self.peers[peer];
        let mut buffer = vec![0; LONGEST];
        loop {
            match socket.recv_from(&mut buffer) {
                Ok((length, program)) => {
                    let Some((session, to)) = self.conversation(peer, *public, program) else { continue };
                    let datagram =
                        Datagram { session, reply: Some(self.private), data: Bytes::from(&buffer[..length]) };
                    // As with UDP, what is lost is lost.
                    if let Err(error) = self.client.send_datagram(to, &datagram) {
                        tracing::debug!(%error, "a datagram could not be sent");
                    }
                }
                // A program that has closed its socket is told of by an error here (ICMP).
                Err(error) => tracing::debug!(%error, "nothing could be read"),
            }
        }
    }

    /// The conversation of a local program, and where its next datagram goes.
    fn conversation(&self, peer: usize, public: I3Id, program: SocketAddr) -> Option<(u64, I3Id)> {
        let mut conversations = self.lock();
        let known = conversations.iter_mut().find(|(_, known)| known.peer == peer && known.program == program);
        if let Some((session, known)) = known {
            known.unanswered += 1;
            known.last = Instant::now();
            return Some((*session, known.target(public)));
        }
        if conversations.len() >= MOST {
            let oldest = conversations.iter().min_by_key(|(_, known)| known.last).map(|(session, _)| *session)?;
            conversations.remove(&oldest);
        }
        let mut number = [0; 8];
        SystemRandom::new().fill(&mut number).ok()?;
        let session = u64::from_be_bytes(number);
        let (heard, last) = (Instant::now(), Instant::now());
        conversations.insert(session, Conversation { peer, program, private: None, unanswered: 1, heard, last });
        Some((session, public))
    }

    fn answer(&self, datagram: Datagram) {
        let Datagram { session, reply, data } = datagram;
        let mut conversations = self.lock();
        let Some(known) = conversations.get_mut(&session) else { return };
        known.unanswered = 0;
        known.heard = Instant::now();
        known.private = reply.or(known.private);
        let (_, socket) = &self.peers[known.peer];
        if let Err(error) = socket.send_to(&data, known.program) {
            tracing::debug!(%error, "an answer could not be handed on");
        }
    }

    /// What a thread that panicked left behind is as good as before.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Conversation>> {
        self.conversations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
