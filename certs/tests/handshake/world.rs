//! Two ends of a handshake in memory, driven as quinn drives rustls: handshake bytes by hand, alerts by number.

use std::sync::Arc;
use std::time::Duration;

use prost_certs::{
    Admission, CertificateAuthority, CertificateDer, Identity, NodeIdBytes, Rejection, Rejections, SERVER_NAME,
    UnixTime, Validity, client_config, peer_id, server_config,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType,
};
use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// How a handshake ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// Both ends are through, and each took the other for this id.
    Both { dialled: NodeIdBytes, dialler: NodeIdBytes },
    /// The dialler gave up, for this reason.
    RefusedByDialler(Rejection),
    /// The end that was dialled gave up, for this reason.
    RefusedByDialled(Rejection),
}

/// One end: its settings and its counters.
pub(crate) struct End<C> {
    pub(crate) config: C,
    pub(crate) admission: Admission,
    pub(crate) rejections: Arc<Rejections>,
}

pub(crate) fn dialler(identity: &Identity, admission: &Admission) -> End<ClientConfig> {
    dialler_of(identity, admission, None)
}

pub(crate) fn dialler_of(
    identity: &Identity,
    admission: &Admission,
    expected: Option<NodeIdBytes>,
) -> End<ClientConfig> {
    let rejections = Rejections::new();
    End { config: client_config(identity, admission, expected, &rejections), admission: admission.clone(), rejections }
}

pub(crate) fn dialled(identity: &Identity, admission: &Admission) -> End<ServerConfig> {
    let rejections = Rejections::new();
    End { config: server_config(identity, admission, &rejections), admission: admission.clone(), rejections }
}

impl End<ClientConfig> {
    /// Shows these certificates and signs with this key, whatever the two have to do with each other.
    pub(crate) fn showing(mut self, certificates: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        self.config.client_auth_cert_resolver = Arc::new(liar(certificates, key));
        self
    }
}

impl End<ServerConfig> {
    /// Shows these certificates and signs with this key, whatever the two have to do with each other.
    pub(crate) fn showing(mut self, certificates: Vec<CertificateDer<'static>>, key: &KeyPair) -> Self {
        self.config.cert_resolver = Arc::new(liar(certificates, key));
        self
    }
}

/// Lets the two shake hands.
pub(crate) fn meet(dialler: End<ClientConfig>, dialled: End<ServerConfig>) -> Met {
    meet_as(SERVER_NAME, dialler, dialled)
}

/// Lets the two shake hands, the dialler asking for a server name of its own.
pub(crate) fn meet_as(server_name: &'static str, dialler: End<ClientConfig>, dialled: End<ServerConfig>) -> Met {
    meet_through(|_| (), server_name, dialler, dialled)
}

/// Lets the two shake hands, with somebody in between who rewrites what the dialled end says.
pub(crate) fn meet_through(
    rewrite: impl Fn(&mut Vec<u8>),
    server_name: &'static str,
    dialler: End<ClientConfig>,
    dialled: End<ServerConfig>,
) -> Met {
    let name = server_name.try_into().expect("a server name");
    let client = ClientConnection::new(dialler.config.into(), Version::V1, name, Vec::new()).expect("a client");
    let mut client = Connection::Client(client);
    let mut server = Connection::Server(server(dialled.config));

    while client.is_handshaking() || server.is_handshaking() {
        let moved = flights(&mut client);
        if moved.iter().any(|bytes| server.read_hs(bytes).is_err()) {
            return Met::RefusedByDialled(reason(&server, &dialled.rejections, &dialler.rejections));
        }
        let mut moved_back = flights(&mut server);
        moved_back.iter_mut().for_each(&rewrite);
        if moved_back.iter().any(|bytes| client.read_hs(bytes).is_err()) {
            return Met::RefusedByDialler(reason(&client, &dialler.rejections, &dialled.rejections));
        }
        assert!(!moved.is_empty() || !moved_back.is_empty(), "the handshake stands still");
    }
    for rejections in [&dialler.rejections, &dialled.rejections] {
        assert_eq!(total(rejections), 0, "counted a refusal of a handshake that went through");
    }
    Met::Both {
        dialled: peer_id(client.peer_certificates().expect("certificates"), &dialler.admission).expect("an id"),
        dialler: peer_id(server.peer_certificates().expect("certificates"), &dialled.admission).expect("an id"),
    }
}

pub(crate) fn server(config: ServerConfig) -> ServerConnection {
    ServerConnection::new(config.into(), Version::V1, Vec::new()).expect("a server")
}

/// The one thing that was counted, by the verifiers or from the alert; nothing at the other end.
pub(crate) fn reason(connection: &Connection, own: &Rejections, other: &Rejections) -> Rejection {
    let alert = connection.alert().expect("a failed handshake has an alert");
    own.count_alert(alert.into());
    assert_eq!((total(own), total(other)), (1, 0), "{own:?}");
    own.iter().find(|(_, count)| *count == 1).expect("one was counted").0
}

fn total(rejections: &Rejections) -> u64 {
    rejections.iter().map(|(_, count)| count).sum()
}

/// What the connection has to say, apart where the keys change in between.
fn flights(connection: &mut Connection) -> Vec<Vec<u8>> {
    let mut flights = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let keys = connection.write_hs(&mut bytes);
        if keys.is_none() && bytes.is_empty() {
            return flights;
        }
        flights.push(bytes);
    }
}

fn liar(certificates: Vec<CertificateDer<'static>>, key: &KeyPair) -> SingleCertAndKey {
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let key = rustls::crypto::ring::sign::any_eddsa_type(&key).expect("an Ed25519 key");
    SingleCertAndKey::from(CertifiedKey::new(certificates, key))
}

/// A year from now.
pub(crate) fn valid() -> Validity {
    Validity::days(UnixTime::now(), 365)
}

/// From some seconds before now until some seconds after; negative for the other side of now.
pub(crate) fn valid_around_now(before: i64, after: i64) -> Validity {
    let from = UnixTime::now().as_secs().checked_add_signed(-before).expect("a time");
    let lifetime = Duration::from_secs((before + after).try_into().expect("not empty"));
    Validity { from: UnixTime::since_unix_epoch(Duration::from_secs(from)), lifetime }
}

pub(crate) fn open_node() -> Identity {
    Identity::generate_open("node", valid()).expect("an identity")
}

pub(crate) fn authority() -> CertificateAuthority {
    CertificateAuthority::generate("ring", valid()).expect("an authority")
}

pub(crate) fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("a key")
}

/// What a node's certificate has, before a test spoils it.
pub(crate) fn node_params() -> CertificateParams {
    let now = time::OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "forged");
    params.not_before = now - time::Duration::DAY;
    params.not_after = now + time::Duration::DAY;
    params.is_ca = IsCa::NoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) const OPEN: Admission = Admission::Open;

pub(crate) const SALT: &str = "prost:salt:000102030405060708090a0b0c0d0e0f";

/// A closed ring whose authority does what a test wants.
pub(crate) struct TestRing {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) admission: Admission,
}

impl TestRing {
    pub(crate) fn new() -> TestRing {
        let (key, mut params) = (new_key(), node_params());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "test ring");
        let certificate = params.self_signed(&key).expect("a certificate");
        let admission = Admission::closed(&certificate.pem()).expect("an admission");
        TestRing { issuer: Issuer::new(params, key), certificate: certificate.into(), admission }
    }

    pub(crate) fn issue(&self, uris: &[&str]) -> (CertificateDer<'static>, KeyPair) {
        let (key, mut params) = (new_key(), node_params());
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
        (params.signed_by(&key, &self.issuer).expect("a certificate").into(), key)
    }
}
