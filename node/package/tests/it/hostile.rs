//! Bytes of any kind: an answer, never a panic.

use bytes::Bytes;
use proptest::prelude::*;
use prost_package::{Locator, ManifestError, Package, Policy, SignedManifest};

use crate::support::{COMPONENT, enveloped, key, manifest_of, payload_of, signed};

const POLICY: &str = r#"
default = "deny"
wasi = "none"
[defaults]
capabilities = ["route"]
[defaults.budgets]
memory_bytes = "64MiB"
[[rule]]
effect = "allow"
provider = "*"
application = "d*"
[rule.budgets]
timers = 0x10
"#;

/// Several pieces of `text`, each replaced by something else.
fn damaged(text: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let edit = (0..text.len(), 0..20_usize, proptest::collection::vec(any::<u8>(), 0..12));
    proptest::collection::vec(edit, 1..4).prop_map(move |edits| {
        edits.into_iter().fold(text.to_vec(), |mut text, (at, cut, put)| {
            let at = at.min(text.len());
            let end = (at + cut).min(text.len());
            text.splice(at..end, put);
            text
        })
    })
}

fn byte_string(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x59], &length[..], content].concat()
}

#[test]
fn headers_wrapped_in_headers_do_not_exhaust_the_stack() {
    // A header whose countersignature has a header whose countersignature has a header.
    let mut header = vec![0xa0];
    while header.len() < SignedManifest::MAX - 64 {
        header = [&[0xa1, 0x07, 0x83][..], &byte_string(&header), &[0xa0, 0x40]].concat();
    }
    let in_protected = [&[0xd2, 0x84][..], &byte_string(&header), &[0xa0, 0x40, 0x40]].concat();
    let in_unprotected = [&[0xd2, 0x84, 0x40][..], &header, &[0x40, 0x40]].concat();
    for envelope in [in_protected, in_unprotected] {
        assert!(envelope.len() > SignedManifest::MAX / 2 && envelope.len() <= SignedManifest::MAX);
        assert!(matches!(SignedManifest::verify(envelope.into()), Err(ManifestError::Malformed(_))));
    }
}

#[test]
fn deep_or_endless_cbor_is_refused_wherever_it_stands() {
    let good = signed().bytes().clone();
    let opening = good.slice(..43);
    for filler in [0x81, 0x9f, 0xbf, 0xd2, 0x5f, 0xa1] {
        let deep = vec![filler; 60_000];
        assert!(SignedManifest::verify(deep.clone().into()).is_err());
        assert!(SignedManifest::verify([opening.as_ref(), &deep].concat().into()).is_err(), "as payload: {filler:#x}");
        assert!(SignedManifest::verify(enveloped(deep)).is_err(), "signed: {filler:#x}");
    }
    for claim in [[0x9b; 9], [0xbb; 9], [0x5b; 9], [0x7b; 9]] {
        assert!(SignedManifest::verify(claim.to_vec().into()).is_err());
        assert!(SignedManifest::verify([opening.as_ref(), &claim].concat().into()).is_err());
        assert!(SignedManifest::verify(enveloped(claim.to_vec())).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_are_a_manifest_by_chance(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(SignedManifest::verify(bytes.into()).is_err());
    }

    #[test]
    fn no_signed_bytes_are_a_manifest_by_chance(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(SignedManifest::verify(enveloped(bytes)).is_err());
    }

    #[test]
    fn a_damaged_manifest_that_its_provider_signed_is_an_error_or_in_range(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut payload = payload_of(&manifest_of(&key(1)));
        let position = position.index(payload.len());
        payload[position] = byte;
        if let Ok(taken) = SignedManifest::verify(enveloped(payload)) {
            // What was taken can be said again.
            let again = SignedManifest::sign(taken.manifest().clone(), &key(1)).unwrap();
            prop_assert_eq!(again.manifest(), taken.manifest());
        }
    }

    #[test]
    fn no_bytes_are_a_package_by_chance(tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Package::decode(tail.clone().into()).is_err());
        let with_magic = [b"PROSTPKG\x01\0\0".as_slice(), &tail].concat();
        prop_assert!(Package::decode(with_magic.into()).is_err());
    }

    #[test]
    fn a_manifest_with_another_component_is_no_package(component in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assume!(component != COMPONENT);
        prop_assert!(Package::new(signed(), Bytes::from(component)).is_err());
    }

    #[test]
    fn a_locator_that_is_taken_is_written_as_it_was(
        text in prop_oneof![".{0,80}", "https://[a-z0-9.:/@#\\[\\]-]{0,40}/?.{0,20}", "blake3:[0-9a-f]{62,66}"],
    ) {
        if let Ok(locator) = Locator::parse(&text) {
            prop_assert_eq!(locator.to_string(), text);
        }
    }

    #[test]
    fn any_text_is_a_policy_or_an_error_of_one_line(bytes in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        damaged(POLICY.as_bytes()),
    ]) {
        if let Err(error) = Policy::parse(&String::from_utf8_lossy(&bytes)) {
            let line = error.to_string();
            prop_assert!(line.starts_with("line "), "{}", line);
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            prop_assert!(line.chars().count() < 1000, "{}", line);
        }
    }
}
