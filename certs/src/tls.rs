//! The two ends of a connection: TLS 1.3, both ends certified, nothing remembered from one connection to the next.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use crate::admission::Admission;
use crate::id::NodeIdBytes;
use crate::identity::Identity;
use crate::rejection::Rejections;
use crate::verifier::{OwnCertificate, PeerVerifier};

/// The application protocol that both ends must offer (RFC 7301).
pub const ALPN: &[u8] = b"prost/1";

/// The server name to dial every node by. It says nothing: a node is known by its key. The ending is reserved for names
/// that never resolve (RFC 6761, section 6.4).
pub const SERVER_NAME: &str = "prost.invalid";

/// How this node answers. Whoever dials must prove a key that the admission accepts.
pub fn server_config(identity: &Identity, admission: &Admission, rejections: &Arc<Rejections>) -> ServerConfig {
    let verifier = PeerVerifier { admission: admission.clone(), expected: None, rejections: rejections.clone() };
    let certificate = OwnCertificate { certified: identity.certified(), rejections: rejections.clone() };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip the verifier, and early data can be replayed.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// How this node dials. Whoever answers must prove a key that the admission accepts and, where `expected` is given, be
/// the node with that id; only the first contact with a ring is made without.
///
/// The server name to dial is [`SERVER_NAME`].
pub fn client_config(
    identity: &Identity,
    admission: &Admission,
    expected: Option<NodeIdBytes>,
    rejections: &Arc<Rejections>,
) -> ClientConfig {
    let verifier = PeerVerifier { admission: admission.clone(), expected, rejections: rejections.clone() };
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has cipher suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}
