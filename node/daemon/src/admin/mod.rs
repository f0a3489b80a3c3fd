//! The administration interface: HTTP on loopback, for local programs and for Prometheus.
//!
//! It has a thread and a runtime of its own. It asks the driver through a bounded channel ([`ask::Ask`]) and renders
//! metrics without it. What changes something, or asks an application, needs the token. See `guard` for what every
//! request must pass.

pub mod ask;
mod guard;
mod routes;
mod token;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use crate::metrics::Metrics;
use ask::Ask;

pub use token::{Token, TokenError};

/// Questions that may wait for the driver.
pub const QUEUE: usize = 256;

/// The interface's thread. Dropping it ends the interface.
pub struct Admin {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the interface needs.
pub struct Parts {
    /// Bound already, so that a port that is taken is an error of the start.
    pub listener: TcpListener,
    /// What changes need.
    pub token: Token,
    /// To the driver.
    pub asks: mpsc::Sender<Ask>,
    /// What a scrape renders.
    pub metrics: Arc<Metrics>,
    /// Whether names and addresses other than loopback may be asked for: the operator exposes the interface.
    pub remote: bool,
}

impl Admin {
    /// Serves until dropped.
    pub fn start(parts: Parts) -> std::io::Result<Admin> {
        let addr = parts.listener.local_addr()?;
        parts.listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(parts, stopped)) {
                tracing::error!(%error, "the administration interface has ended");
            }
        })?;
        Ok(Admin { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

async fn serve(parts: Parts, stopped: oneshot::Receiver<()>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(parts.listener)?;
    let service = routes::router(routes::Shared {
        token: parts.token,
        asks: parts.asks,
        metrics: parts.metrics,
        remote: parts.remote,
    });
    tokio::select! {
        served = async { axum::serve(listener, service).await } => served,
        _ = stopped => Ok(()),
    }
}
