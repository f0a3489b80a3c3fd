//! Connects to others.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use prost_kbr::{NodeId, Peer};
use quinn::{Connection, ConnectionError, RecvStream, SendStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use super::code::CloseCode;
use super::hello::Hello;
use super::inbox::Arrival;
use super::links::Shared;
use super::live::Greeted;
use super::outbox::{CLASSES, number};
use super::stats::Refused;

/// Dials a peer whose id is known, at that time, and sees it through to a connection or a failure.
pub(super) async fn dial_peer(shared: Rc<Shared>, peer: Peer, begins: Instant) {
    sleep_until(begins).await;
    let result = connect(&shared, peer.addr, Some(peer.id)).await;
    if let Err(DialError::Yielded(_)) = result {
        // The other connection is adopted, which ends this task, or it was a mistake.
        sleep(GRACE).await;
    }
    let result = result.and_then(|greeted| adopt(&shared, greeted));
    if let Err(error) = result {
        debug!(peer = %peer.id.short(), addr = %peer.addr, %error, "dial failed");
        shared.dial_failed(peer.id);
    }
}

/// Dials whoever is at an address.
pub(super) async fn dial_addr(shared: Rc<Shared>, addr: SocketAddr) {
    let result = connect(&shared, addr, None).await.and_then(|greeted| adopt(&shared, greeted));
    shared.dialled_addrs.borrow_mut().retain(|dialled| *dialled != addr);
    let Err(error) = result else { return };
    if let DialError::Yielded(id) = error {
        let until = Instant::now() + GRACE;
        while !shared.is_connected(id) && Instant::now() < until {
            sleep(GRACE / 20).await;
        }
        if shared.report_again(|peer| peer.id == id) {
            return;
        }
    }
    debug!(%addr, %error, "dial failed");
    shared.stats.dial_failures.count();
    shared.inbox.report(Arrival::DialFailed { addr });
}

/// Why a dial came to nothing.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the address is this node's own")]
    Oneself,
    #[error("there is another connection to {0}")]
    Yielded(NodeId),
    #[error(transparent)]
    Begin(#[from] quinn::ConnectError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("no answer in time")]
    Timeout,
    #[error("refused: {0}")]
    Refused(&'static str),
}

fn adopt(shared: &Rc<Shared>, greeted: Greeted) -> Result<(), DialError> {
    let (id, connection) = (greeted.peer.id, greeted.connection.clone());
    shared.adopt(greeted).map_err(|code| {
        code.close(&connection);
        refused(id, code)
    })
}

fn refused(id: NodeId, code: CloseCode) -> DialError {
    if code == CloseCode::Duplicate { DialError::Yielded(id) } else { DialError::Refused(code.name()) }
}

async fn connect(shared: &Rc<Shared>, addr: SocketAddr, expected: Option<NodeId>) -> Result<Greeted, DialError> {
    if addr == shared.me.addr || expected == Some(shared.me.id) {
        shared.stats.refuse(Refused::Oneself);
        return Err(DialError::Oneself);
    }
    let _turn = shared.dials.acquire().await.expect("nobody closes the semaphore");
    shared.stats.dials.count();
    let connecting = shared.endpoint.connect(addr, expected, &shared.stats)?;
    let connection = match timeout(shared.limits.handshake, connecting).await {
        Ok(result) => result.inspect_err(|error| count_failure(shared, error))?,
        Err(_) => return Err(DialError::Timeout),
    };
    let Some(id) = shared.endpoint.peer(&connection) else {
        CloseCode::Protocol.close(&connection);
        return Err(DialError::Refused(CloseCode::Protocol.name()));
    };
    if id == shared.me.id {
        shared.stats.refuse(Refused::Oneself);
        CloseCode::Oneself.close(&connection);
        return Err(DialError::Oneself);
    }
    if let Err(code) = shared.may_greet(Peer { id, addr }, &connection) {
        code.close(&connection);
        return Err(refused(id, code));
    }
    let guard = GreetingGuard { shared, id, connection: &connection, done: false };
    let result = timeout(shared.limits.greeting, greet(shared, id, &connection)).await;
    guard.finish(result)
}

/// Opens this side's streams, greets, and waits for the answer.
async fn greet(shared: &Shared, id: NodeId, connection: &Connection) -> Result<Greeted, DialError> {
    let [(mut control, first), messages, bulk] = open(shared, connection).await?;
    control.write_all(&first).await.map_err(|_| lost(id, connection))?;
    let (control_in, hello) = receive(shared, connection).await.map_err(|(code, reason)| {
        if connection.close_reason().is_some() {
            return lost(id, connection);
        }
        shared.stats.refuse(reason);
        code.close(connection);
        DialError::Refused(code.name())
    })?;
    let peer = Peer { id, addr: dialled_at(&hello, connection) };
    let sending = [(control, Vec::new()), messages, bulk];
    let (connection, incarnation) = (connection.clone(), hello.incarnation);
    Ok(Greeted { peer, connection, incarnation, sending, control: control_in, seat: None })
}

fn lost(id: NodeId, connection: &Connection) -> DialError {
    match connection.close_reason() {
        Some(error) if CloseCode::Duplicate.is(&error) => DialError::Yielded(id),
        // By the adoption of another.
        Some(ConnectionError::LocallyClosed) => DialError::Yielded(id),
        Some(error) => DialError::Connection(error),
        None => DialError::Refused(CloseCode::Protocol.name()),
    }
}

/// Opens a stream for each class, and says what each has to begin with: its class, and on the first one the greeting.
pub(super) async fn open(
    shared: &Shared,
    connection: &Connection,
) -> Result<[(SendStream, Vec<u8>); 3], ConnectionError> {
    let hello = Hello::new(connection, &shared.ring, shared.me.addr, shared.incarnation);
    let [control, messages, bulk] = CLASSES.map(|class| vec![number(class)]);
    let control = [control, hello.encode()].concat();
    let first = connection.open_uni().await?;
    // Acknowledgements and pings go before what they are about.
    let _ = first.set_priority(1);
    Ok([(first, control), (connection.open_uni().await?, messages), (connection.open_uni().await?, bulk)])
}

/// Waits for the peer's first stream and its greeting on it.
pub(super) async fn receive(
    shared: &Shared,
    connection: &Connection,
) -> Result<(RecvStream, Hello), (CloseCode, Refused)> {
    let broken = (CloseCode::Protocol, Refused::Greeting);
    let mut stream = connection.accept_uni().await.map_err(|_| broken)?;
    let mut class = [0];
    stream.read_exact(&mut class).await.map_err(|_| broken)?;
    if class[0] != number(CLASSES[0]) {
        return Err(broken);
    }
    let hello = Hello::receive(&mut stream, connection, &shared.ring).await?;
    Ok((stream, hello))
}

/// Where the peer can be dialled: where it says, or, if it does not know its own address, where it was seen.
pub(super) fn dialled_at(hello: &Hello, connection: &Connection) -> SocketAddr {
    let seen = connection.remote_address().ip().to_canonical();
    let said = hello.advertised;
    if said.ip().is_unspecified() { SocketAddr::new(seen, said.port()) } else { said }
}

/// Counts a handshake that this side ended.
pub(super) fn count_failure(shared: &Shared, error: &ConnectionError) {
    match error {
        ConnectionError::TransportError(error) => match u64::from(error.code) {
            // TLS alerts (RFC 9001, section 4.8).
            code @ 0x100..=0x1ff => {
                shared.stats.rejections().count_alert((code & 0xff) as u8);
            }
            _ => shared.stats.refuse(Refused::Handshake),
        },
        ConnectionError::VersionMismatch => shared.stats.refuse(Refused::Handshake),
        ConnectionError::TimedOut => shared.stats.refuse(Refused::HandshakeTimeout),
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => {}
    }
}

/// Takes the permission to greet back, also where the dial is given up halfway.
struct GreetingGuard<'a> {
    shared: &'a Rc<Shared>,
    id: NodeId,
    connection: &'a Connection,
    done: bool,
}

impl GreetingGuard<'_> {
    fn finish(
        mut self,
        result: Result<Result<Greeted, DialError>, tokio::time::error::Elapsed>,
    ) -> Result<Greeted, DialError> {
        let result = result.unwrap_or_else(|_| {
            self.shared.stats.refuse(Refused::GreetingTimeout);
            CloseCode::Timeout.close(self.connection);
            Err(DialError::Timeout)
        });
        self.done = result.is_ok();
        result
    }
}

impl Drop for GreetingGuard<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.shared.greeting_failed(self.id, self.connection);
        }
    }
}

/// How long a dial that yielded waits for the connection that it yielded to.
const GRACE: Duration = Duration::from_secs(2);
