//! Settings of how code is fetched from URLs. Which hosts may be asked is the policy's to say.

use std::net::SocketAddr;

use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::sources::Found;
use super::values;

/// Longest file with authorities, in bytes: several times what the web has.
const MAX_FILE: usize = 4 << 20;

/// A PEM file with certificates of authorities.
pub(super) fn authorities(found: &Found) -> Result<Vec<CertificateDer<'static>>, String> {
    let path = values::path(found)?;
    let text = values::read_file(&path, MAX_FILE)?;
    let mut roots = RootCertStore::empty();
    let mut authorities = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("{}: {error}", path.display()))?;
        roots.add(certificate.clone()).map_err(|error| format!("{}: {error}", path.display()))?;
        authorities.push(certificate);
    }
    if authorities.is_empty() { Err(format!("{} holds no certificate", path.display())) } else { Ok(authorities) }
}

/// An address that nothing but this machine can be at.
pub(super) fn test_address(found: &Found) -> Result<SocketAddr, String> {
    let address = values::socket_addr(found)?;
    if !address.ip().is_loopback() {
        return Err(format!("{address} is not on loopback; this setting is for tests alone"));
    }
    Ok(address)
}
