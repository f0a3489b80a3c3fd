//! Who a node is: its key, its certificate, its id on the ring, and how two nodes prove themselves to each other.
//!
//! A node has one Ed25519 key and one X.509 certificate over it ([`Identity`]). Its id is a hash of the key, and in a
//! closed ring of a salt that the ring's [`CertificateAuthority`] chose ([`node_id`]). Connections are mutual TLS 1.3
//! ([`server_config`], [`client_config`]); what an [`Admission`] refuses is a [`Rejection`], counted in [`Rejections`].
//!
//! An id is believed only from the certificates of a live connection: see [`peer_id`].

mod admission;
mod authority;
mod certificate;
mod ed25519;
mod error;
mod files;
mod id;
mod identity;
mod issue;
mod rejection;
mod tls;
mod verifier;

pub use admission::{Admission, Authorities};
pub use authority::CertificateAuthority;
pub use certificate::{CLOCK_SKEW, MAX_CERTIFICATE, MAX_LIFETIME, peer_id, peer_public_key};
pub use ed25519::{BadSignature, PublicKey, SIGNATURE_LEN, verify};
pub use error::{IssueError, LoadError, SaveError};
pub use files::{CA_CERTIFICATE, CA_KEY, NODE_CERTIFICATE, NODE_KEY};
pub use id::{NodeIdBytes, SALT_LEN, Salt, node_id};
pub use identity::Identity;
pub use issue::{MAX_NAME, Validity};
pub use rejection::{Rejection, Rejections};
pub use rustls_pki_types::{CertificateDer, UnixTime};
pub use tls::{ALPN, SERVER_NAME, client_config, server_config};
