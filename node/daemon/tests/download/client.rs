//! A downloader, and a manager's part played by the test.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use prost_manager::DownloadFailure;
use prost_node::download::{Downloader, Limits, Reply, Resolver, Settings};
use prost_node::standard::DHT;
use prost_package::{Package, ProviderKey, SignedManifest, Url};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::server::Server;

/// The name that servers are certified for, and that leads to loopback.
pub(crate) const NAME: &str = "code.example";
/// No download takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A package of some hundred kilobytes.
pub(crate) fn package() -> Package {
    DHT.package(&ProviderKey::from_seed(&[7; 32]))
}

/// A component, or why there is none; and how many bytes of the file came.
pub(crate) type Got = (Result<Bytes, DownloadFailure>, u64);

/// A downloader.
pub(crate) struct Client {
    pub(crate) downloader: Downloader,
    replies: mpsc::Receiver<Reply>,
    resolved: Arc<AtomicUsize>,
}

/// Limits that no server on this machine comes near.
pub(crate) fn patient() -> Limits {
    Limits { connect: PATIENCE, idle: PATIENCE, total: PATIENCE, rate: 1, grace: PATIENCE }
}

impl Client {
    /// One that finds this server under [`NAME`].
    pub(crate) fn of(server: &Server, limits: Limits) -> Client {
        let ip = server.addr.ip();
        Client::with(server, limits, move |_| Ok(vec![ip]))
    }

    /// One that finds this under any name.
    pub(crate) fn with(
        server: &Server,
        limits: Limits,
        resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Client {
        let resolved = Arc::new(AtomicUsize::new(0));
        let count = resolved.clone();
        let resolver: Resolver = Arc::new(move |name: &str| {
            count.fetch_add(1, Ordering::SeqCst);
            resolve(name)
        });
        let (sender, replies) = mpsc::channel(16);
        let settings = Settings { limits, resolver, roots: server.roots(), test_address: Some(server.addr) };
        Client { downloader: Downloader::start(settings, sender).expect("a thread"), replies, resolved }
    }

    /// How often a name was resolved.
    pub(crate) fn resolved(&self) -> usize {
        self.resolved.load(Ordering::SeqCst)
    }

    /// What comes next.
    pub(crate) async fn reply(&mut self) -> Reply {
        timeout(PATIENCE, self.replies.recv()).await.expect("it answers").expect("it lives")
    }

    /// What has come by now.
    pub(crate) fn replied(&mut self) -> Option<Reply> {
        self.replies.try_recv().ok()
    }

    /// Gets a URL; goes on with any manifest that is one.
    pub(crate) async fn get(&mut self, url: &str) -> Got {
        assert!(self.downloader.begin(1, Url::parse(url).expect("a URL")));
        loop {
            match self.reply().await {
                Reply::Head { download: 1, envelope } => {
                    let manifest = SignedManifest::verify(envelope).expect("the manifest of a package");
                    self.downloader.go_on(1, manifest.manifest().component.size);
                }
                Reply::End { download: 1, bytes, result } => return (result, bytes),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The URL of a server's package.
pub(crate) fn url(server: &Server) -> String {
    format!("https://{NAME}:{}/a/dht.prost?v=1", server.addr.port())
}
