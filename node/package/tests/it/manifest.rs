//! The range of every field, at signing and at reading.

use prost_contract::{Capability, Limits};
use prost_package::{Budgets, Digest, Manifest, ManifestError, Package, SignedManifest};
use serde::Serialize;

use crate::support::{enveloped, key, manifest_of, payload_of};

/// The field that is refused, by the signer and by the reader alike.
fn refused(change: impl Fn(&mut Manifest)) -> &'static str {
    let mut manifest = manifest_of(&key(1));
    change(&mut manifest);
    let read = SignedManifest::verify(enveloped(payload_of(&manifest))).unwrap_err();
    let signed = SignedManifest::sign(manifest, &key(1)).unwrap_err();
    assert_eq!(read, signed);
    match read {
        ManifestError::Field { field, .. } => field,
        other => panic!("not a field's error: {other}"),
    }
}

fn taken(change: impl Fn(&mut Manifest)) -> SignedManifest {
    let mut manifest = manifest_of(&key(1));
    change(&mut manifest);
    let signed = SignedManifest::sign(manifest.clone(), &key(1)).unwrap();
    assert_eq!(SignedManifest::verify(signed.bytes().clone()).unwrap().manifest(), &manifest);
    signed
}

fn reason(text: &str) -> impl Fn(&mut Manifest) {
    let text = text.to_owned();
    move |manifest| drop(manifest.capabilities.insert(Capability::Log, text.clone()))
}

fn world(text: &str) -> impl Fn(&mut Manifest) {
    let text = text.to_owned();
    move |manifest| manifest.world.clone_from(&text)
}

#[test]
fn every_field_has_its_range() {
    for format in [0, 2, 255] {
        assert_eq!(refused(|manifest| manifest.format = format), "format");
    }
    for replicas in [0, 17, 255] {
        assert_eq!(refused(|manifest| manifest.replicas = replicas), "replicas");
    }
    for size in [0, Package::MAX_COMPONENT + 1, u64::MAX] {
        assert_eq!(refused(|manifest| manifest.component.size = size), "component");
    }
    for text in ["", "prost:peerlet@0.1.0\n", "Prost:peerlet", "prost peerlet", &"w".repeat(65)] {
        assert_eq!(refused(world(text)), "world");
    }
    for text in ["a\nb", "\u{1b}[2J", "\u{202e}gpj", &"r".repeat(257)] {
        assert_eq!(refused(reason(text)), "capabilities");
    }
    let long = format!("1.0.0-{}", "x".repeat(59));
    assert_eq!(refused(|manifest| manifest.version = long.parse().unwrap()), "version");
}

#[test]
fn the_ends_of_the_ranges_are_inside() {
    for replicas in [1, 16] {
        taken(|manifest| manifest.replicas = replicas);
    }
    for size in [1, Package::MAX_COMPONENT] {
        taken(|manifest| manifest.component.size = size);
    }
    taken(world(&"w".repeat(64)));
    taken(reason(""));
    taken(reason(&"r".repeat(256)));
    taken(reason("um Größe zu zeigen"));
    let long = format!("1.0.0-{}", "x".repeat(58));
    taken(|manifest| manifest.version = long.parse().unwrap());
    taken(|manifest| manifest.sequence = u64::MAX);
    taken(|manifest| manifest.expires = Some(u64::MAX));
    taken(|manifest| manifest.capabilities.clear());
    taken(|manifest| manifest.budgets.fuel_per_event = u64::MAX);
}

#[test]
fn no_budget_is_zero() {
    let zeroes: [fn(&mut Budgets); 9] = [
        |budgets| budgets.memory_bytes = 0,
        |budgets| budgets.storage_bytes = 0,
        |budgets| budgets.fuel_per_event = 0,
        |budgets| budgets.fuel_per_second = 0,
        |budgets| budgets.messages_per_second = 0,
        |budgets| budgets.bytes_per_second = 0,
        |budgets| budgets.written_bytes_per_second = 0,
        |budgets| budgets.timers = 0,
        |budgets| budgets.queue = 0,
    ];
    for zero in zeroes {
        assert_eq!(refused(|manifest| zero(&mut manifest.budgets)), "budgets");
    }
}

#[test]
fn the_longest_manifest_fits_its_envelope_and_a_piece() {
    let signed = taken(|manifest| {
        manifest.name = "n".repeat(64).parse().unwrap();
        manifest.world = "w".repeat(64);
        manifest.version = format!("1.0.0-{}", "x".repeat(58)).parse().unwrap();
        manifest.capabilities = Capability::ALL.into_iter().map(|asked| (asked, "r".repeat(256))).collect();
    });
    assert!(prost_package::Piece::fits(&signed), "{} bytes", signed.bytes().len());
}

#[test]
fn unknown_and_missing_and_doubled_fields_are_refused() {
    #[derive(Serialize)]
    struct More {
        #[serde(flatten)]
        manifest: serde_cbor::Value,
        more: u8,
    }
    let manifest = serde_cbor::value::to_value(manifest_of(&key(1))).unwrap();
    let more = serde_cbor::to_vec(&More { manifest: manifest.clone(), more: 1 }).unwrap();

    let serde_cbor::Value::Map(mut fields) = manifest else { panic!("a manifest is a map") };
    let name = serde_cbor::Value::Text("name".to_owned());
    assert!(fields.remove(&name).is_some());
    let fewer = serde_cbor::to_vec(&fields).unwrap();

    // A map with one entry more, the first of them twice.
    let mut doubled = payload_of(&manifest_of(&key(1)));
    assert_eq!(doubled[0], 0xac);
    doubled[0] += 1;
    doubled.splice(1..1, *b"\x66format\x01");

    let trailing = [payload_of(&manifest_of(&key(1))), vec![0]].concat();
    for payload in [more, fewer, doubled, trailing, Vec::new(), vec![0xf6], vec![0x9b; 9]] {
        let error = SignedManifest::verify(enveloped(payload)).unwrap_err();
        assert!(matches!(error, ManifestError::Malformed(_)), "{error}");
    }
}

#[test]
fn a_capability_asked_for_twice_is_refused() {
    let payload = payload_of(&manifest_of(&key(1)));
    let map = b"\x6ccapabilities\xa2";
    let at = payload.windows(map.len()).position(|window| window == map).unwrap() + map.len() - 1;
    let doubled = [&payload[..at], b"\xa3\x65route\x60", &payload[at + 1..]].concat();
    let error = SignedManifest::verify(enveloped(doubled)).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

/// The manifest of provider 1, with some of its bytes in place of others, and signed as it is.
fn refused_with(from: &[u8], to: &[u8]) -> ManifestError {
    let payload = payload_of(&manifest_of(&key(1)));
    let at = payload.windows(from.len()).position(|window| window == from).unwrap();
    let payload = [&payload[..at], to, &payload[at + from.len()..]].concat();
    SignedManifest::verify(enveloped(payload)).unwrap_err()
}

#[test]
fn a_name_that_is_not_one_and_a_capability_that_is_not_one_are_refused() {
    let long = "d".repeat(65);
    let ten_kib = "d".repeat(10 << 10);
    let names = [
        "",
        "*",
        "d*",
        "Dht",
        "DHT",
        "d\0t",
        "../",
        "../x",
        "d/t",
        "d t",
        "dht\n",
        "dht@",
        "d_t", // and others' letters:
        "\u{202e}thd",
        "d\u{200b}ht",
        "d\u{4bb}t",
        "\u{501}ht",
        "ｄht",
        &long,
        &ten_kib,
    ];
    for name in names {
        let encoded = serde_cbor::to_vec(&name).unwrap();
        let error = refused_with(b"\x63dht", &encoded);
        assert!(matches!(error, ManifestError::Malformed(_)), "{name:?}: {error}");
        assert!(error.to_string().len() < 300, "an error does not repeat what is long");
    }
    let error = refused_with(b"\x65route", b"\x65r\x1b[2J");
    assert!(matches!(error, ManifestError::Malformed(_)), "{error}");
    assert!(!error.to_string().contains('\x1b'), "an error never carries control characters");
    assert!(matches!(refused_with(b"\x65route", b"\x65Route"), ManifestError::Malformed(_)));
}

#[test]
fn a_digest_is_32_bytes_of_blake3_and_nothing_else() {
    let digest = manifest_of(&key(1)).component.digest;
    let field = [b"\x66digest\x58\x20".as_slice(), digest.as_bytes()].concat();
    let text = digest.to_hex();
    let other = |value: &[u8]| [b"\x66digest".as_slice(), value].concat();
    let wrong = [
        other(b"\x40"),
        other(&[&b"\x58\x1f"[..], &digest.as_bytes()[1..]].concat()),
        other(&[&b"\x58\x21\0"[..], digest.as_bytes()].concat()),
        other(&[&b"\x78\x40"[..], text.as_bytes()].concat()),
        other(b"\xf6"),
        other(b"\xa1\x66sha256\x41\0"),
    ];
    for digest in wrong {
        let error = refused_with(&field, &digest);
        assert!(matches!(error, ManifestError::Malformed(_)), "{digest:x?}: {error}");
    }
    // Another algorithm has no field to be named in.
    assert!(matches!(refused_with(b"\x66digest", b"\x66sha256"), ManifestError::Malformed(_)));
}

#[test]
fn releases_are_in_order_of_sequence_and_then_of_version() {
    let release = |sequence: u64, version: &str| {
        let mut manifest = manifest_of(&key(1));
        (manifest.sequence, manifest.version) = (sequence, version.parse().unwrap());
        manifest
    };
    let order = [(1, "1.0.0"), (1, "1.1.0-rc.1"), (1, "1.1.0"), (1, "1.10.0"), (2, "0.9.0"), (u64::MAX, "0.0.1")];
    let releases = order.map(|(sequence, version)| release(sequence, version));
    for (at, one) in releases.iter().enumerate() {
        for (other_at, other) in releases.iter().enumerate() {
            assert_eq!(one.is_before(other), at < other_at, "{one:?} {other:?}");
        }
    }
}

#[test]
fn one_version_is_one_code() {
    let one = manifest_of(&key(1));
    let mut other = one.clone();
    other.component.digest = Digest::of(b"other code");
    assert!(one.contradicts(&other) && other.contradicts(&one));
    other.sequence += 1;
    assert!(one.contradicts(&other), "whatever its sequence");
    for change in [
        (|manifest| manifest.version = "1.2.4".parse().unwrap()) as fn(&mut Manifest),
        |manifest| manifest.name = "dht2".parse().unwrap(),
        |manifest| manifest.provider = key(2).public(),
        |manifest| manifest.component.digest = manifest_of(&key(1)).component.digest,
    ] {
        let mut other = other.clone();
        change(&mut other);
        assert!(!one.contradicts(&other) && !other.contradicts(&one), "{other:?}");
    }
}

#[test]
fn it_expires_after_its_last_second() {
    let mut manifest = manifest_of(&key(1));
    assert!(!manifest.is_expired(u64::MAX));
    manifest.expires = Some(1_000);
    assert!(!manifest.is_expired(1_000));
    assert!(manifest.is_expired(1_001));
}

#[test]
fn the_default_budgets_are_what_the_sandbox_enforces_by_default() {
    let (budgets, limits) = (Budgets::default(), Limits::default());
    assert_eq!(
        (budgets.fuel_per_event, budgets.memory_bytes, budgets.storage_bytes),
        (limits.fuel, limits.memory_bytes, limits.storage_bytes)
    );
    taken(|manifest| manifest.budgets = Budgets::default());
}
