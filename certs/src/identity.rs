//! A node's own key and certificate.

use core::fmt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use zeroize::Zeroizing;

use crate::admission::Admission;
use crate::certificate::{Presented, Side};
use crate::ed25519::{PublicKey, SIGNATURE_LEN, preimage};
use crate::error::{IssueError, LoadError, SaveError};
use crate::files;
use crate::id::NodeIdBytes;
use crate::issue::{self, Validity};
use crate::rejection::Rejection;

/// A node's key and the certificate over it.
pub struct Identity {
    signer: Ed25519KeyPair,
    public_key: PublicKey,
    certified: Arc<CertifiedKey>,
    certificate_pem: String,
    key_pem: Zeroizing<String>,
}

impl Identity {
    /// A new key under a self-signed certificate: an identity for an open ring. `name` is for people only.
    pub fn generate_open(name: &str, validity: Validity) -> Result<Identity, IssueError> {
        let params = node_params(name, validity)?;
        let key = issue::new_key()?;
        let certificate = params.self_signed(&key).map_err(issue::library)?;
        Identity::made(&certificate.pem(), Zeroizing::new(key.serialize_pem()))
    }

    /// From PEM: exactly one certificate, and exactly one private key in PKCS#8 that belongs to it.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Identity, LoadError> {
        let der = one(CertificateDer::pem_slice_iter(certificate.as_bytes()), LoadError::NoCertificate)?;
        let key_der = Zeroizing::new(one(PrivatePkcs8KeyDer::pem_slice_iter(key.as_bytes()), LoadError::NoKey)?);
        let public_key = Presented::parse(&der).map_err(LoadError::Certificate)?.key;
        let signer = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key_der.secret_pkcs8_der());
        let signer = signer.map_err(|_| LoadError::Key)?;
        if signer.public_key().as_ref() != public_key {
            return Err(LoadError::Mismatch);
        }
        let tls_key = any_eddsa_type(&key_der).map_err(|_| LoadError::Key)?;
        Ok(Identity {
            signer,
            public_key,
            certified: Arc::new(CertifiedKey::new(vec![der], tls_key)),
            certificate_pem: certificate.to_owned(),
            key_pem: Zeroizing::new(key.to_owned()),
        })
    }

    /// From a file with the certificate and one with the key, which only its owner may be able to read.
    pub fn load(certificate: &Path, key: &Path) -> Result<Identity, LoadError> {
        let key = files::read_key(key)?;
        Identity::from_pem(&files::read(certificate)?, &key)
    }

    /// Writes both files; the key for its owner only. Neither may exist.
    pub fn save(&self, certificate: &Path, key: &Path) -> Result<(), SaveError> {
        files::write_pair((certificate, &self.certificate_pem), (key, &self.key_pem))
    }

    /// This node's id in a ring with this admission.
    pub fn node_id(&self, admission: &Admission) -> Result<NodeIdBytes, Rejection> {
        Presented::parse(self.certificate())?.node_id(admission)
    }

    /// What the other nodes of a ring with this admission will say to this node's certificate at this time.
    pub fn check(&self, admission: &Admission, now: UnixTime) -> Result<(), Rejection> {
        let presented = Presented::parse(self.certificate())?;
        presented.node_id(admission)?;
        presented.check(admission, Side::Client, now)?;
        presented.check(admission, Side::Server, now)
    }

    /// The name in the certificate; none where another tool wrote it in another way.
    pub fn name(&self) -> Option<String> {
        let presented = Presented::parse(self.certificate()).ok()?;
        issue::common_name(presented.subject()).map(str::to_owned)
    }

    /// The public half of the key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certified.cert[0]
    }

    /// The certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Signs a statement. The domain says what kind of statement it is, so that none is taken for another.
    pub fn sign(&self, domain: &str, statement: &[u8]) -> [u8; SIGNATURE_LEN] {
        let signature = self.signer.sign(&preimage(domain, statement));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }

    /// Key and certificate as rustls takes them.
    pub(crate) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }

    /// An identity of text that was made a moment ago.
    pub(crate) fn made(certificate: &str, key: Zeroizing<String>) -> Result<Identity, IssueError> {
        Identity::from_pem(certificate, &key).map_err(|error| IssueError::Generate(error.to_string()))
    }
}

impl fmt::Debug for Identity {
    /// Nothing of the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

/// Parameters of a node's certificate, on both sides of a connection.
pub(crate) fn node_params(name: &str, validity: Validity) -> Result<rcgen::CertificateParams, IssueError> {
    let mut params = issue::params(name, validity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// The only item of PEM text.
pub(crate) fn one<T>(
    mut items: impl Iterator<Item = Result<T, rustls_pki_types::pem::Error>>,
    none: LoadError,
) -> Result<T, LoadError> {
    let first = items.next().ok_or(none)?.map_err(|_| LoadError::Pem)?;
    if items.next().is_some() { Err(LoadError::Several) } else { Ok(first) }
}
