//! Gets package files from URLs, on a thread of its own, so that the driver never waits for a stranger's server.
//!
//! The manager decides which URL is asked and when; here is how. A URL comes from whoever sent a message, so the server
//! and the name's addresses are not to be trusted: see [`connect`](self) for where a connection may go, and `body` for
//! what may come over it. TLS 1.3 and HTTP/1.1 with one request, without redirects, proxies, cookies, credentials or
//! compression.

mod body;
mod connect;
mod get;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_manager::DownloadFailure;
use prost_package::Url;
use rustls::RootCertStore;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use get::Client;

/// Downloads at once. The manager asks for no more.
const AT_ONCE: usize = 4;
/// Commands that may wait for the thread: of each download there are three at most.
const COMMANDS: usize = 64;
/// Threads that wait for the system's resolver, which cannot be interrupted.
const RESOLVERS: usize = AT_ONCE;

/// How long a server may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To resolve its name, to connect, and to prove who it is, together.
    pub connect: Duration,
    /// To say anything at all.
    pub idle: Duration,
    /// For everything.
    pub total: Duration,
    /// Bytes a second that the file must come at, on average since its beginning.
    pub rate: u64,
    /// How long it may come more slowly at first.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let (connect, idle) = (Duration::from_secs(5), Duration::from_secs(5));
        Limits { connect, idle, total: Duration::from_secs(30), rate: 16 << 10, grace: Duration::from_secs(5) }
    }
}

/// Finds the addresses of a name; may block.
pub type Resolver = Arc<dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync>;

/// Settings of a [`Downloader`].
#[derive(Clone)]
pub struct Settings {
    /// How long a server may take.
    pub limits: Limits,
    /// Who finds addresses. Asked once a download; what it says is what is connected to.
    pub resolver: Resolver,
    /// Whom servers must be certified by.
    pub roots: RootCertStore,
    /// The one address that may be connected to although it is not global: for tests, on loopback.
    pub test_address: Option<SocketAddr>,
}

impl Settings {
    /// The system's resolver, the authorities of the web, no exception.
    pub fn web() -> Settings {
        let resolver: Resolver = Arc::new(|name: &str| {
            let found = (name, 0).to_socket_addrs()?;
            Ok(found.map(|address| address.ip()).collect())
        });
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Settings { limits: Limits::default(), resolver, roots, test_address: None }
    }
}

/// What the thread tells, with the number of the download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The file begins with this envelope, unchecked. Goes on with [`Downloader::go_on`].
    Head {
        /// Which.
        download: u64,
        /// The envelope.
        envelope: Bytes,
    },
    /// It has ended.
    End {
        /// Which.
        download: u64,
        /// Bytes of the file that came.
        bytes: u64,
        /// The component, unchecked; or why it did not come.
        result: Result<Bytes, DownloadFailure>,
    },
}

enum Command {
    Begin { download: u64, url: Url },
    GoOn { download: u64, bytes: u64 },
    Cancel(u64),
}

/// The thread. It ends when this is dropped, and every download with it.
#[derive(Debug)]
pub struct Downloader {
    commands: mpsc::Sender<Command>,
}

impl Downloader {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Where the system gives no thread or no runtime.
    pub fn start(settings: Settings, replies: mpsc::Sender<Reply>) -> io::Result<Downloader> {
        let (commands, queue) = mpsc::channel(COMMANDS);
        let client = Arc::new(Client::new(settings));
        let runtime = runtime::Builder::new_current_thread().enable_all().max_blocking_threads(RESOLVERS).build()?;
        std::thread::Builder::new().name("downloads".to_owned()).spawn(move || {
            runtime.block_on(serve(client, queue, replies));
            // A resolver that hangs is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Downloader { commands })
    }

    /// Begins a download; says whether there was room. What comes of it is told by [`Reply::Head`] and [`Reply::End`].
    pub fn begin(&self, download: u64, url: Url) -> bool {
        self.commands.try_send(Command::Begin { download, url }).is_ok()
    }

    /// The component is wanted: it has so many bytes.
    pub fn go_on(&self, download: u64, bytes: u64) {
        self.tell(Command::GoOn { download, bytes });
    }

    /// It is not wanted any more. An answer that is on its way may still come.
    pub fn cancel(&self, download: u64) {
        self.tell(Command::Cancel(download));
    }

    /// There is room for whatever is said of as many downloads as there can be; where not, each ends by its own limits.
    fn tell(&self, command: Command) {
        let _ = self.commands.try_send(command);
    }
}

/// A download under way.
struct UnderWay {
    task: AbortHandle,
    /// Where it is told how long the component is.
    size: Option<oneshot::Sender<u64>>,
}

async fn serve(client: Arc<Client>, mut queue: mpsc::Receiver<Command>, replies: mpsc::Sender<Reply>) {
    let mut under_way: BTreeMap<u64, UnderWay> = BTreeMap::new();
    let mut tasks: JoinSet<u64> = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = tasks.join_next() => {
                if let Ok(download) = ended {
                    under_way.remove(&download);
                }
            }
            command = queue.recv() => match command {
                // The node has ended; the tasks end with their set.
                None => return,
                Some(Command::Begin { download, .. }) if tasks.len() >= AT_ONCE => {
                    let result = Err(DownloadFailure::Overloaded);
                    // A driver that has gone needs no answer.
                    let _ = replies.send(Reply::End { download, bytes: 0, result }).await;
                }
                Some(Command::Begin { download, url }) => {
                    let (size, wanted) = oneshot::channel();
                    let task = tasks.spawn(client.clone().run(download, url, wanted, replies.clone()));
                    under_way.insert(download, UnderWay { task, size: Some(size) });
                }
                Some(Command::GoOn { download, bytes }) => {
                    if let Some(size) = under_way.get_mut(&download).and_then(|one| one.size.take()) {
                        // It may have ended by its own limits.
                        let _ = size.send(bytes);
                    }
                }
                Some(Command::Cancel(download)) => {
                    if let Some(one) = under_way.remove(&download) {
                        one.task.abort();
                    }
                }
            }
        }
    }
}
