//! Lets others in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use prost_kbr::Peer;
use quinn::{Connection, Incoming};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tracing::debug;

use super::code::CloseCode;
use super::dial::{count_failure, dialled_at, open, receive};
use super::links::Shared;
use super::live::Greeted;
use super::settings::Limits;
use super::stats::Refused;

/// Takes in whoever dials, until the endpoint closes.
pub(super) async fn accept(shared: Rc<Shared>) {
    while let Some(incoming) = shared.endpoint.quic.accept().await {
        let prefix = Prefix::of(incoming.remote_address().ip());
        let judged = shared.guests.borrow().judge(prefix, incoming.remote_address_validated(), &shared.limits);
        match judged {
            Entry::Open => {
                shared.stats.accepts.count();
                let seat = Seat::take(&shared.guests, prefix);
                spawn_local(welcome(shared.clone(), incoming, seat));
            }
            Entry::Proof => {
                shared.stats.retries.count();
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Entry::Closed(reason) => {
                shared.stats.refuse(reason);
                incoming.refuse();
            }
        }
    }
}

/// Sees one handshake and its greeting through.
async fn welcome(shared: Rc<Shared>, incoming: Incoming, seat: Seat) {
    let remote = incoming.remote_address();
    let Ok(connecting) = incoming.accept() else {
        shared.stats.refuse(Refused::Handshake);
        return;
    };
    let connection = match timeout(shared.limits.handshake, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            debug!(%remote, %error, "handshake failed");
            return count_failure(&shared, &error);
        }
        Err(_) => return shared.stats.refuse(Refused::HandshakeTimeout),
    };
    let (code, reason) = match timeout(shared.limits.greeting, greet(&shared, &connection, seat)).await {
        Ok(Ok(())) => return,
        Ok(Err(refusal)) => refusal,
        Err(_) => (CloseCode::Timeout, Some(Refused::GreetingTimeout)),
    };
    // What the peer ended by itself, for example because it has another connection, is no refusal.
    if let (None, Some(reason)) = (connection.close_reason(), reason) {
        debug!(%remote, reason = reason.name(), "refused");
        shared.stats.refuse(reason);
    }
    code.close(&connection);
}

/// Waits for the greeting and adopts the connection; else says how to close it, and why where that is not counted yet.
async fn greet(shared: &Rc<Shared>, connection: &Connection, seat: Seat) -> Result<(), (CloseCode, Option<Refused>)> {
    let id = shared.endpoint.peer(connection).ok_or((CloseCode::Protocol, Some(Refused::Handshake)))?;
    if id == shared.me.id {
        return Err((CloseCode::Oneself, Some(Refused::Oneself)));
    }
    let (control, hello) = receive(shared, connection).await.map_err(|(code, reason)| (code, Some(reason)))?;
    let peer = Peer { id, addr: dialled_at(&hello, connection) };
    let sending = open(shared, connection).await.map_err(|_| (CloseCode::Protocol, Some(Refused::Greeting)))?;
    // Who comes and goes faster than the driver can follow waits here.
    shared.inbox.room().await;
    let (connection, incarnation, seat) = (connection.clone(), hello.incarnation, Some(seat.settle()));
    shared.adopt(Greeted { peer, connection, incarnation, sending, control, seat }).map_err(|code| (code, None))
}

/// A network whose connections are counted together: an IPv4 /24 or an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix([u8; 6]);

impl Prefix {
    /// None for loopback: everyone on this machine is one operator's.
    fn of(ip: IpAddr) -> Option<Prefix> {
        match ip.to_canonical() {
            ip if ip.is_loopback() => None,
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                // No IPv6 address that is in use begins with 0xff, but multicast.
                Some(Prefix([0xff, a, b, c, 0, 0]))
            }
            IpAddr::V6(ip) => ip.octets().first_chunk().copied().map(Prefix),
        }
    }
}

/// Connections that others dialled, their handshakes included.
#[derive(Debug, Default)]
pub(super) struct Guests {
    seats: usize,
    greeting: usize,
    prefixes: BTreeMap<Prefix, usize>,
}

/// What to do with a handshake that begins.
#[derive(Debug, PartialEq, Eq)]
enum Entry {
    Open,
    /// The peer shall prove that it is where it says (RFC 9000, section 8.1.2).
    Proof,
    Closed(Refused),
}

impl Guests {
    fn judge(&self, prefix: Option<Prefix>, proven: bool, limits: &Limits) -> Entry {
        let from_prefix = prefix.and_then(|prefix| self.prefixes.get(&prefix)).copied().unwrap_or(0);
        // Well before the limit, so that nobody can fill it up in another's name.
        let crowded = self.greeting >= PROOF_ABOVE || (prefix.is_some() && 2 * from_prefix >= limits.per_prefix);
        if crowded && !proven {
            Entry::Proof
        } else if self.seats >= limits.inbound || self.greeting >= MAX_GREETING {
            Entry::Closed(Refused::Limit)
        } else if prefix.is_some() && from_prefix >= limits.per_prefix {
            Entry::Closed(Refused::PrefixLimit)
        } else {
            Entry::Open
        }
    }
}

/// A place among the guests, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    guests: Rc<RefCell<Guests>>,
    prefix: Option<Prefix>,
    greeting: bool,
}

impl Seat {
    fn take(guests: &Rc<RefCell<Guests>>, prefix: Option<Prefix>) -> Seat {
        let mut counts = guests.borrow_mut();
        counts.seats += 1;
        counts.greeting += 1;
        if let Some(prefix) = prefix {
            *counts.prefixes.entry(prefix).or_default() += 1;
        }
        Seat { guests: guests.clone(), prefix, greeting: true }
    }

    /// The greeting is over.
    fn settle(mut self) -> Seat {
        if std::mem::take(&mut self.greeting) {
            self.guests.borrow_mut().greeting -= 1;
        }
        self
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.guests.borrow_mut();
        counts.seats -= 1;
        counts.greeting -= usize::from(self.greeting);
        if let Some(prefix) = self.prefix
            && let Some(count) = counts.prefixes.get_mut(&prefix)
        {
            *count -= 1;
            if *count == 0 {
                counts.prefixes.remove(&prefix);
            }
        }
    }
}

/// With so many handshakes under way, the next must prove its address.
const PROOF_ABOVE: usize = 32;
/// With so many, the next is refused. Each costs about two milliseconds of CPU.
const MAX_GREETING: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(ip: &str) -> Option<Prefix> {
        Prefix::of(ip.parse().expect("an address"))
    }

    #[test]
    fn a_network_is_a_24_or_a_48_and_loopback_is_none() {
        assert_eq!(prefix("10.1.2.3"), prefix("10.1.2.200"));
        assert_eq!(prefix("10.1.2.3"), prefix("::ffff:10.1.2.3"));
        assert_ne!(prefix("10.1.2.3"), prefix("10.1.3.3"));
        assert_eq!(prefix("2001:db8:1:2::3"), prefix("2001:db8:1:9::3"));
        assert_ne!(prefix("2001:db8:1::"), prefix("2001:db8:2::"));
        assert_eq!((prefix("127.0.0.1"), prefix("::1")), (None, None));
    }

    #[test]
    fn a_network_that_has_its_share_is_refused_and_others_are_not() {
        let guests = Rc::new(RefCell::new(Guests::default()));
        let limits = Limits { per_prefix: 4, inbound: 8, ..Limits::default() };
        let judge = |ip, proven| guests.borrow().judge(prefix(ip), proven, &limits);
        let mut seats: Vec<_> = (0..2).map(|_| Seat::take(&guests, prefix("10.0.0.1"))).collect();
        assert_eq!(judge("10.0.0.9", false), Entry::Proof);
        assert_eq!(judge("10.0.0.9", true), Entry::Open);
        seats.extend((0..2).map(|_| Seat::take(&guests, prefix("10.0.0.2"))));
        assert_eq!(judge("10.0.0.9", true), Entry::Closed(Refused::PrefixLimit));
        assert_eq!(judge("10.0.1.9", true), Entry::Open);
        seats.extend((0..4).map(|_| Seat::take(&guests, prefix("127.0.0.1"))));
        assert_eq!(judge("127.0.0.1", true), Entry::Closed(Refused::Limit));
        seats.truncate(1);
        assert_eq!(judge("10.0.0.9", false), Entry::Open);
        drop(seats);
        assert_eq!((guests.borrow().seats, guests.borrow().greeting, guests.borrow().prefixes.len()), (0, 0, 0));
    }

    #[test]
    fn many_handshakes_at_once_must_prove_their_address() {
        let guests = Rc::new(RefCell::new(Guests::default()));
        let seats: Vec<_> = (0..PROOF_ABOVE).map(|_| Seat::take(&guests, None)).collect();
        let judge = |proven| guests.borrow().judge(None, proven, &Limits::default());
        assert_eq!((judge(false), judge(true)), (Entry::Proof, Entry::Open));
        let settled: Vec<_> = seats.into_iter().map(Seat::settle).collect();
        assert_eq!(judge(false), Entry::Open);
        assert_eq!(settled.len(), guests.borrow().seats);
    }
}
