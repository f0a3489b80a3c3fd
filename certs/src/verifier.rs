//! The verifiers that rustls asks during a handshake.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::admission::Admission;
use crate::certificate::{Presented, Side};
use crate::id::NodeIdBytes;
use crate::rejection::{Rejection, Rejections};
use crate::tls::{ALPN, SERVER_NAME};

/// Judges the certificate of a peer, on either side of a connection.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    pub(crate) admission: Admission,
    /// The only id that will do, where the dialler knows whom it dials.
    pub(crate) expected: Option<NodeIdBytes>,
    pub(crate) rejections: Arc<Rejections>,
}

impl PeerVerifier {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), Error> {
        self.judge(certificate, rest, side, now).map_err(|rejection| self.refuse(rejection))
    }

    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        side: Side,
        now: UnixTime,
    ) -> Result<(), Rejection> {
        if !rest.is_empty() {
            return Err(Rejection::ExtraCertificate);
        }
        let presented = Presented::parse(certificate)?;
        presented.check(&self.admission, side, now)?;
        let id = presented.node_id(&self.admission)?;
        match self.expected {
            Some(expected) if expected != id => Err(Rejection::UnexpectedId),
            _ => Ok(()),
        }
    }

    /// The proof that the peer has the key: without it, anyone could show a certificate that it has seen.
    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &ED25519_ONLY)
            .map_err(|_| self.refuse(Rejection::HandshakeSignature))
    }

    fn refuse_tls12(&self) -> Error {
        self.rejections.count(Rejection::TlsVersion);
        Error::PeerIncompatible(PeerIncompatible::SupportedVersionsExtensionRequired)
    }

    fn refuse(&self, rejection: Rejection) -> Error {
        self.rejections.count(rejection);
        rejection.into()
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, Side::Server, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(self.refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// No hints: a node has one certificate to choose from, and the names need not be told to strangers.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, Side::Client, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(self.refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ED25519_ONLY.supported_schemes()
    }
}

/// Shows this node's certificate to diallers that speak our protocol, and to nobody else.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) rejections: Arc<Rejections>,
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // TLS itself lets a dialler pass that offers no protocol at all.
        let speaks_ours = hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ALPN));
        let refusal = if !speaks_ours {
            Rejection::Alpn
        } else if hello.server_name() != Some(SERVER_NAME) {
            Rejection::ServerName
        } else {
            return Some(self.certified.clone());
        };
        self.rejections.count(refusal);
        None
    }
}

static ED25519_ONLY: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};
