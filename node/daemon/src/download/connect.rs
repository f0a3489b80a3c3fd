//! Where a connection may go.
//!
//! The name is resolved once. Where any of its addresses is not global, none is connected to: a name that leads to both
//! sides of a wall is there to be tried until it leads to the right one. What was checked is what is connected to, and the
//! server must prove that it is the host of that name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use prost_manager::DownloadFailure;
use prost_package::url::Host;
use prost_package::{Authority, address};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Settings;
use super::get::Failed;

/// Addresses of one name that are tried.
const MAX_TRIED: usize = 4;

/// How servers are made sure of: TLS 1.3, and no memory of earlier connections.
pub(super) fn tls(settings: &Settings) -> TlsConnector {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3");
    let mut config = builder.with_root_certificates(settings.roots.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// Connects to a host, within the time that its limits give for that.
pub(super) async fn connect(
    settings: &Settings,
    tls: &TlsConnector,
    authority: &Authority,
) -> Result<TlsStream<TcpStream>, Failed> {
    let late = |_| Failed::new(DownloadFailure::Connect, "it took too long");
    timeout(settings.limits.connect, reach(settings, tls, authority)).await.map_err(late)?
}

async fn reach(settings: &Settings, tls: &TlsConnector, to: &Authority) -> Result<TlsStream<TcpStream>, Failed> {
    let (addresses, name) = match &to.host {
        Host::Address(address) => (vec![*address], ServerName::IpAddress((*address).into())),
        Host::Name(name) => {
            let server = ServerName::try_from(name.clone());
            (resolve(settings, name.clone()).await?, server.map_err(|error| Failed::new(DownloadFailure::Tls, error))?)
        }
    };
    let addresses: Vec<SocketAddr> = addresses.into_iter().map(|address| SocketAddr::new(address, to.port)).collect();
    if let Some(address) = addresses.iter().find(|address| !may_reach(settings, **address)) {
        return Err(Failed::new(DownloadFailure::Address, address));
    }
    let stream = first(settings, &addresses[..addresses.len().min(MAX_TRIED)]).await?;
    tls.connect(name, stream).await.map_err(|error| Failed::new(DownloadFailure::Tls, error))
}

fn may_reach(settings: &Settings, address: SocketAddr) -> bool {
    address::is_global(address.ip()) || settings.test_address == Some(address)
}

async fn resolve(settings: &Settings, name: String) -> Result<Vec<IpAddr>, Failed> {
    let resolver = settings.resolver.clone();
    let found = tokio::task::spawn_blocking(move || resolver(&name)).await;
    let found = found.map_err(|error| Failed::new(DownloadFailure::Resolve, error))?;
    let addresses = found.map_err(|error| Failed::new(DownloadFailure::Resolve, error))?;
    if addresses.is_empty() { Err(Failed::new(DownloadFailure::Resolve, "it has no address")) } else { Ok(addresses) }
}

/// Connects to the first that answers; each has its share of the time.
async fn first(settings: &Settings, addresses: &[SocketAddr]) -> Result<TcpStream, Failed> {
    let share = settings.limits.connect / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = Failed::new(DownloadFailure::Connect, "it has no address");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Failed::new(DownloadFailure::Connect, error),
            Err(_) => last = Failed::new(DownloadFailure::Connect, "it took too long"),
        }
    }
    Err(last)
}
