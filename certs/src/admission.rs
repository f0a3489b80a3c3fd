//! Who may enter a ring.

use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::certificate::Presented;
use crate::error::LoadError;
use crate::files;

/// Which certificates admit a node to the ring. Every node of a ring has the same.
#[derive(Debug, Clone)]
pub enum Admission {
    /// Any self-signed certificate: whoever has a key may enter, and may make keys until one lands where it likes.
    Open,
    /// Certificates that one of these authorities issued, one step below it.
    Closed(Authorities),
}

impl Admission {
    /// A closed ring, from the PEM text of its authority's certificate. More than one, for a change of authority.
    pub fn closed(pem: &str) -> Result<Admission, LoadError> {
        Authorities::from_pem(pem).map(Admission::Closed)
    }

    /// A closed ring, from the file with its authority's certificate.
    pub fn load_closed(path: &Path) -> Result<Admission, LoadError> {
        Admission::closed(&files::read(path)?)
    }
}

/// The authorities of a closed ring: one or more. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<[TrustAnchor<'static>]>);

impl Authorities {
    /// From certificates in PEM. Their keys must be Ed25519; their dates are not checked, for it is the operator who
    /// says that they are trusted.
    pub fn from_pem(pem: &str) -> Result<Authorities, LoadError> {
        let mut anchors = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| LoadError::Pem)?;
            Presented::parse(&certificate).map_err(LoadError::Certificate)?;
            let anchor = webpki::anchor_from_trusted_cert(&certificate).map_err(|_| LoadError::Pem)?;
            anchors.push(anchor.to_owned());
        }
        if anchors.is_empty() { Err(LoadError::NoCertificate) } else { Ok(Authorities(anchors.into())) }
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.0
    }
}
