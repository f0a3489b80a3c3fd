//! Keys and certificates as text and files, ids, and signed statements.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::slice::from_ref;

use prost_certs::{
    Admission, BadSignature, CA_CERTIFICATE, CA_KEY, CertificateAuthority, CertificateDer, Identity, IssueError,
    LoadError, MAX_LIFETIME, NODE_CERTIFICATE, NODE_KEY, Rejection, UnixTime, Validity, node_id, peer_id,
    peer_public_key, verify,
};

const OPEN: Admission = Admission::Open;

fn valid() -> Validity {
    Validity::days(UnixTime::now(), 365)
}

fn open_node() -> Identity {
    Identity::generate_open("node", valid()).expect("an identity")
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::generate("a ring", valid()).expect("an authority")
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o777
}

#[test]
fn an_identity_is_the_same_after_a_reload() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join(NODE_CERTIFICATE), dir.path().join(NODE_KEY));
    let authority = authority();
    for (node, admission) in
        [(open_node(), OPEN), (authority.issue("node", valid()).expect("an identity"), authority.admission().clone())]
    {
        node.save(&certificate, &key).expect("saved");
        let again = Identity::load(&certificate, &key).expect("loaded");
        assert_eq!(again.node_id(&admission), node.node_id(&admission));
        assert_eq!(again.public_key(), node.public_key());
        assert_eq!(again.name().as_deref(), Some("node"));
        assert_eq!(again.check(&admission, UnixTime::now()), Ok(()));
        fs::remove_file(&certificate).expect("removed");
        fs::remove_file(&key).expect("removed");
    }
}

#[test]
fn an_authority_goes_on_after_a_reload() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join(CA_CERTIFICATE), dir.path().join(CA_KEY));
    let made = authority();
    made.save(&certificate, &key).expect("saved");
    let loaded = CertificateAuthority::load(&certificate, &key).expect("loaded");
    assert_eq!(loaded.ring_name(), "a ring");
    let before = made.issue("before", valid()).expect("an identity");
    let after = loaded.issue("after", valid()).expect("an identity");
    let admission = Admission::load_closed(&certificate).expect("an admission");
    assert_eq!(before.check(&admission, UnixTime::now()), Ok(()));
    assert_eq!(after.check(&admission, UnixTime::now()), Ok(()));
    assert_eq!((mode(&key), mode(&certificate) & 0o022), (0o600, 0));
}

#[test]
fn the_salt_moves_a_node_on_the_ring() {
    let authority = authority();
    let node = authority.issue("node", valid()).expect("an identity");
    let salted = node.node_id(authority.admission()).expect("an id");
    let certificates = [node.certificate().clone()];
    assert_eq!(peer_id(&certificates, authority.admission()), Ok(salted));
    assert_eq!(peer_public_key(&certificates), Ok(*node.public_key()));
    // The same key without the salt, and with another.
    assert_ne!(salted, node_id(node.public_key(), None));
    assert_ne!(salted, node_id(node.public_key(), Some(&[0; 16])));
    assert_eq!(node.node_id(&OPEN), Ok(node_id(node.public_key(), None)));
}

#[test]
fn a_key_has_one_id_however_many_certificates_it_has() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let certificate = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        // A salt of one's own choice moves nobody in an open ring.
        let salt = format!("prost:salt:{}", hex::encode(blake3::hash(name.as_bytes()).as_bytes()[..16].as_ref()));
        params.subject_alt_names = vec![rcgen::SanType::URI(salt.try_into().expect("ASCII"))];
        CertificateDer::from(params.self_signed(&key).expect("a certificate"))
    };
    let (one, other) = (certificate("one"), certificate("other"));
    assert_ne!(one, other);
    assert_eq!(peer_id(from_ref(&one), &OPEN), peer_id(from_ref(&other), &OPEN));
    let closed = authority().admission().clone();
    assert_ne!(peer_id(from_ref(&one), &closed), peer_id(from_ref(&other), &closed));
}

#[test]
fn a_peer_has_exactly_one_certificate() {
    let certificate = open_node().certificate().clone();
    assert_eq!(peer_id(&[], &OPEN), Err(Rejection::NoCertificate));
    assert_eq!(peer_id(&[certificate.clone(), certificate], &OPEN), Err(Rejection::ExtraCertificate));
    assert_eq!(peer_id(&[CertificateDer::from(vec![1, 2, 3])], &OPEN), Err(Rejection::Malformed));
}

#[test]
fn a_key_file_that_others_can_use_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join(NODE_CERTIFICATE), dir.path().join(NODE_KEY));
    open_node().save(&certificate, &key).expect("saved");
    assert_eq!(mode(&key), 0o600);
    for open in [0o644, 0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&key, fs::Permissions::from_mode(open)).expect("chmod");
        let error = Identity::load(&certificate, &key).expect_err("an exposed key");
        assert!(matches!(&error, LoadError::KeyExposed { mode, .. } if *mode == open), "{error}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", key.display())), "{error}");
        let error = CertificateAuthority::load(&certificate, &key).expect_err("an exposed key");
        assert!(matches!(error, LoadError::KeyExposed { .. }), "{error}");
    }
    for closed in [0o600, 0o400] {
        fs::set_permissions(&key, fs::Permissions::from_mode(closed)).expect("chmod");
        Identity::load(&certificate, &key).expect("a key of one's own");
    }
}

#[test]
fn files_are_never_overwritten() {
    let dir = tempfile::tempdir().expect("a directory");
    let (certificate, key) = (dir.path().join(NODE_CERTIFICATE), dir.path().join(NODE_KEY));
    fs::write(&certificate, "mine").expect("written");
    let error = open_node().save(&certificate, &key).expect_err("the certificate exists");
    assert_eq!((error.path, error.source.kind()), (certificate.clone(), std::io::ErrorKind::AlreadyExists));
    assert_eq!(fs::read_to_string(&certificate).expect("read"), "mine");
    assert!(!key.exists(), "a key was left behind");
}

#[test]
fn text_that_is_no_identity_is_refused() {
    let (node, other) = (open_node(), open_node());
    let dir = tempfile::tempdir().expect("a directory");
    let text = |node: &Identity, n: u32| {
        let (certificate, key) = (dir.path().join(format!("{n}.pem")), dir.path().join(format!("{n}.key")));
        node.save(&certificate, &key).expect("saved");
        (fs::read_to_string(certificate).expect("read"), fs::read_to_string(key).expect("read"))
    };
    let ((certificate, key), (_, other_key)) = (text(&node, 1), text(&other, 2));
    let ecdsa = rcgen::KeyPair::generate().expect("a key").serialize_pem();

    let load = |certificate: &str, key: &str| Identity::from_pem(certificate, key).expect_err("not an identity");
    assert!(matches!(load("", &key), LoadError::NoCertificate));
    assert!(matches!(load(&certificate, ""), LoadError::NoKey));
    assert!(matches!(load(&certificate, &certificate), LoadError::NoKey));
    assert!(matches!(load(&certificate.replace("-----END", "-----AND"), &key), LoadError::Pem));
    assert!(matches!(load(&certificate.repeat(2), &key), LoadError::Several));
    assert!(matches!(load(&certificate, &key.repeat(2)), LoadError::Several));
    assert!(matches!(load(&certificate, &other_key), LoadError::Mismatch));
    assert!(matches!(load(&certificate, &ecdsa), LoadError::Key));
    assert!(matches!(
        load("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", &key),
        LoadError::Certificate(Rejection::Malformed)
    ));
    assert!(matches!(Admission::closed("no certificate").expect_err("no authority"), LoadError::NoCertificate));

    let long = dir.path().join("long.pem");
    fs::write(&long, vec![b'x'; 100_000]).expect("written");
    assert!(matches!(Admission::load_closed(&long).expect_err("too long"), LoadError::TooLong { .. }));
}

#[test]
fn names_and_dates_have_bounds() {
    for bad in ["", "a\nb", &"x".repeat(65)] {
        assert!(matches!(Identity::generate_open(bad, valid()), Err(IssueError::Name)), "{bad:?}");
        assert!(matches!(CertificateAuthority::generate(bad, valid()), Err(IssueError::Name)), "{bad:?}");
    }
    let longest = "é".repeat(32);
    assert_eq!(CertificateAuthority::generate(&longest, valid()).expect("an authority").ring_name(), longest);

    let now = UnixTime::now();
    for days in [0, 3661, u32::MAX] {
        assert!(matches!(Identity::generate_open("n", Validity::days(now, days)), Err(IssueError::Lifetime)), "{days}");
    }
    let longest = Validity { from: now, lifetime: MAX_LIFETIME };
    let node = Identity::generate_open("n", longest).expect("an identity");
    assert_eq!(node.check(&OPEN, UnixTime::now()), Ok(()));
}

#[test]
fn a_statement_is_signed_for_one_domain() {
    let (node, other) = (open_node(), open_node());
    let signature = node.sign("leave", b"statement");
    assert_eq!(verify(node.public_key(), "leave", b"statement", &signature), Ok(()));
    assert_eq!(verify(node.public_key(), "join", b"statement", &signature), Err(BadSignature));
    assert_eq!(verify(node.public_key(), "leave", b"statements", &signature), Err(BadSignature));
    assert_eq!(verify(other.public_key(), "leave", b"statement", &signature), Err(BadSignature));
    for bad in [&[][..], &signature[..63], &[&signature[..], &[0]].concat(), &[0; 64]] {
        assert_eq!(verify(node.public_key(), "leave", b"statement", bad), Err(BadSignature));
    }
    for bit in 0..8 * signature.len() {
        let mut flipped = signature;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify(node.public_key(), "leave", b"statement", &flipped), Err(BadSignature), "bit {bit}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let (node, authority) = (open_node(), authority());
    assert!(format!("{node:?}").starts_with("Identity { public_key: ["));
    assert!(format!("{authority:?}").starts_with("CertificateAuthority { ring_name: \"a ring\""));
    assert!(format!("{node:?}{authority:?}").len() < 400);
}
