//! The certificate authority of a closed ring.

use core::fmt;
use std::path::Path;

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::admission::Admission;
use crate::certificate::{Presented, salt_uri};
use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::identity::{Identity, node_params, one};
use crate::issue::{self, Validity};

/// The key that admits nodes to a closed ring, and the certificate that every node knows it by.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    ring_name: String,
    admission: Admission,
    certificate_pem: String,
    key_pem: Zeroizing<String>,
}

impl CertificateAuthority {
    /// A new authority for a ring of this name. Its validity is a note to its operator: nodes trust it as long as
    /// they are told to.
    pub fn generate(ring_name: &str, validity: Validity) -> Result<CertificateAuthority, IssueError> {
        let mut params = issue::params(ring_name, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = issue::new_key()?;
        let certificate = params.self_signed(&key).map_err(issue::library)?;
        let key_pem = Zeroizing::new(key.serialize_pem());
        CertificateAuthority::from_pem(&certificate.pem(), &key_pem)
            .map_err(|error| IssueError::Generate(error.to_string()))
    }

    /// From PEM: exactly one certificate, and exactly one private key in PKCS#8 that belongs to it.
    pub fn from_pem(certificate: &str, key: &str) -> Result<CertificateAuthority, LoadError> {
        let der = one(CertificateDer::pem_slice_iter(certificate.as_bytes()), LoadError::NoCertificate)?;
        let key_der = Zeroizing::new(one(PrivatePkcs8KeyDer::pem_slice_iter(key.as_bytes()), LoadError::NoKey)?);
        let presented = Presented::parse(&der).map_err(LoadError::Certificate)?;
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&key_der, &PKCS_ED25519).map_err(|_| LoadError::Key)?;
        if pair.public_key_raw() != presented.key {
            return Err(LoadError::Mismatch);
        }
        // What it issues must name it exactly as its certificate does.
        let ring_name = issue::common_name(presented.subject()).ok_or(LoadError::Authority)?.to_owned();
        let mut params = CertificateParams::default();
        params.distinguished_name = issue::distinguished_name(&ring_name).map_err(|_| LoadError::Authority)?;
        Ok(CertificateAuthority {
            issuer: Issuer::new(params, pair),
            ring_name,
            admission: Admission::closed(certificate)?,
            certificate_pem: certificate.to_owned(),
            key_pem: Zeroizing::new(key.to_owned()),
        })
    }

    /// From a file with the certificate and one with the key, which only its owner may be able to read.
    pub fn load(certificate: &Path, key: &Path) -> Result<CertificateAuthority, LoadError> {
        let key = files::read_key(key)?;
        CertificateAuthority::from_pem(&files::read(certificate)?, &key)
    }

    /// Writes both files; the key for its owner only. Neither may exist.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), SaveError> {
        files::write_pair((certificate, &self.certificate_pem), (key, &self.key_pem))
    }

    /// A new key, certified for the ring under a salt of the authority's choice: a node that may enter, at a place
    /// that nobody chose. `name` is for people only.
    pub fn issue(&self, name: &str, validity: Validity) -> Result<Identity, IssueError> {
        let mut params = node_params(name, validity)?;
        let salt = salt_uri(&issue::new_salt()?);
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(salt).map_err(issue::library)?)];
        let key = issue::new_key()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue::library)?;
        let identity = Identity::made(&certificate.pem(), Zeroizing::new(key.serialize_pem()))?;
        identity.check(&self.admission, validity.from).map_err(IssueError::Refused)?;
        Ok(identity)
    }

    /// The name of the ring.
    pub fn ring_name(&self) -> &str {
        &self.ring_name
    }

    /// The ring that this authority closes.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The certificate in PEM, to give to every node.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }
}

impl fmt::Debug for CertificateAuthority {
    /// Nothing of the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("ring_name", &self.ring_name).finish_non_exhaustive()
    }
}
