//! A web server of the test's own: real TLS on loopback, and whatever the test has it say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// How long a connection may be silent: no test takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection, after its request was read.
pub(crate) type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server. It ends when it is dropped.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// The authority that has certified it, as files hold it.
    pub(crate) authority: String,
    requests: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicUsize>,
    listener: Listener,
}

impl Server {
    /// A server that is certified for these names, and says this on each connection, having heard the request.
    pub(crate) fn start(names: &[&str], say: impl Fn(&mut Stream, &str) + Send + Sync + 'static) -> Server {
        let (authority, config) = certify(names);
        let (requests, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (seen, done, say, config) = (requests.clone(), ended.clone(), Arc::new(say), Arc::new(config));
        let listener = Listener::start(move |stream| {
            let connection = ServerConnection::new(config.clone()).expect("a good configuration");
            let mut stream = StreamOwned::new(connection, stream);
            if let Some(request) = read_request(&mut stream) {
                seen.lock().expect("nobody panics with it").push(request.clone());
                say(&mut stream, &request);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            done.fetch_add(1, Ordering::SeqCst);
        });
        Server { addr: listener.addr, authority: authority.pem(), requests, ended, listener }
    }

    /// The heads of the requests that it was asked.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("nobody panics with it").clone()
    }

    /// Connections that were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.listener.connections()
    }

    /// Connections on which it has no more to say.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }

    /// Whom to trust.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.as_bytes()).expect("a certificate");
        roots.add(authority).expect("a good authority");
        roots
    }
}

/// Something that listens on loopback.
pub(crate) struct Listener {
    /// Where.
    pub(crate) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Does this with each connection, each on a thread of its own.
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it has one");
        let (connections, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ends, serve) = (connections.clone(), stop.clone(), Arc::new(serve));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let bounded = stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
                bounded.expect("a good time");
                let serve = serve.clone();
                thread::spawn(move || serve(stream));
            }
        });
        Listener { addr, connections, stop, thread: Some(thread) }
    }

    /// One that must not be connected to.
    pub(crate) fn canary() -> Listener {
        Listener::start(drop)
    }

    /// Connections that were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes it; where it has gone already, there is nothing to wake.
        let _ = TcpStream::connect(self.addr);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Waits until the other side has gone.
pub(crate) fn hang(stream: &mut impl Read) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).is_ok_and(|bytes| bytes > 0) {}
}

fn read_request(stream: &mut Stream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if request.len() > 8192 || !stream.read(&mut byte).is_ok_and(|bytes| bytes == 1) {
            return None;
        }
        request.push(byte[0]);
    }
    String::from_utf8(request).ok()
}

/// An authority, and a server that it has certified.
fn certify(names: &[&str]) -> (Certificate, ServerConfig) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let authority = params.self_signed(&key).expect("a certificate");
    let issuer = Issuer::new(params, key);

    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let params = CertificateParams::new(names).expect("good names");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").der().clone();
    let private = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has it")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], private)
        .expect("they belong together");
    (authority, config)
}
