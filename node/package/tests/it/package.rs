//! Package files.

use bytes::Bytes;
use prost_package::{ManifestError, Package, PackageError, SignedManifest};

use crate::support::{COMPONENT, signed};

fn file() -> Bytes {
    Package::new(signed(), COMPONENT.into()).unwrap().encode().into()
}

fn changed(position: usize, byte: u8) -> Bytes {
    let mut file = file().to_vec();
    file[position] = byte;
    file.into()
}

#[test]
fn a_package_is_read_back() {
    let package = Package::decode(file()).unwrap();
    assert_eq!(package.manifest, signed());
    assert_eq!(package.component, COMPONENT);
    assert_eq!(package.encode(), file());
}

#[test]
fn a_file_begins_as_documented() {
    let file = file();
    let envelope = signed().bytes().clone();
    assert_eq!(file[..8], *b"PROSTPKG");
    assert_eq!(file[8], 1);
    assert_eq!(file[9..13], (envelope.len() as u32).to_be_bytes());
    assert_eq!(file[13..13 + envelope.len()], envelope);
    assert_eq!(file[13 + envelope.len()..], *COMPONENT);
}

#[test]
fn a_file_cut_anywhere_or_with_a_tail_is_refused() {
    let file = file();
    for length in 0..file.len() {
        assert!(Package::decode(file.slice(..length)).is_err(), "cut after {length} bytes");
    }
    let expected = COMPONENT.len() as u64;
    let longer = [file.as_ref(), &[0]].concat();
    assert_eq!(Package::decode(longer.into()), Err(PackageError::SizeMismatch { expected, actual: expected + 1 }));
}

#[test]
fn every_changed_byte_is_noticed() {
    let good = file();
    for position in 0..good.len() {
        assert!(Package::decode(changed(position, good[position] ^ 1)).is_err(), "byte {position}");
    }
}

#[test]
fn each_part_has_its_error() {
    let last = file().len() - 1;
    assert!(matches!(Package::decode(Bytes::new()), Err(PackageError::Malformed(_))));
    assert!(matches!(Package::decode(changed(0, b'p')), Err(PackageError::Malformed(_))));
    assert!(matches!(Package::decode(changed(8, 2)), Err(PackageError::Malformed(_))));
    assert_eq!(Package::decode(changed(last, 0)), Err(PackageError::DigestMismatch));

    let declared = 0xff00_0000 | u32::from_be_bytes(file()[9..13].try_into().unwrap());
    let too_large = PackageError::Manifest(ManifestError::TooLarge(declared as usize));
    assert_eq!(Package::decode(changed(9, 0xff)), Err(too_large));
}

#[test]
fn an_envelope_that_claims_more_than_there_is_is_refused() {
    let mut file = file().to_vec();
    file[9..13].copy_from_slice(&(SignedManifest::MAX as u32).to_be_bytes());
    assert!(matches!(Package::decode(file.into()), Err(PackageError::Malformed(_))));
}

#[test]
fn the_envelope_is_there_as_soon_as_its_last_byte_is() {
    let file = file();
    let envelope = signed().bytes().clone();
    let end = Package::HEAD + envelope.len();
    for length in 0..end {
        assert_eq!(Package::envelope(&file[..length]), Ok(None), "{length} bytes");
    }
    for length in end..=file.len() {
        assert_eq!(Package::envelope(&file[..length]), Ok(Some(&envelope[..])), "{length} bytes");
    }
}

#[test]
fn what_does_not_begin_as_a_package_is_known_by_the_first_byte_that_differs() {
    for position in [0, 7, 8] {
        let file = changed(position, 0xff);
        assert_eq!(Package::envelope(&file[..position]), Ok(None));
        assert!(matches!(Package::envelope(&file[..=position]), Err(PackageError::Malformed(_))), "{position}");
    }
    let long = changed(9, 1);
    assert_eq!(Package::envelope(&long[..12]), Ok(None));
    let refused = Package::envelope(&long[..13]);
    assert!(matches!(refused, Err(PackageError::Manifest(ManifestError::TooLarge(_)))), "{refused:?}");
}

#[test]
fn a_file_beyond_the_limit_is_not_looked_at() {
    let longest = usize::try_from(Package::MAX).unwrap();
    let error = Package::decode(vec![0; longest + 1].into()).unwrap_err();
    assert!(error.to_string().contains("longer than any package"), "{error}");
}

#[test]
fn only_the_component_that_the_manifest_names_belongs_to_it() {
    let expected = COMPONENT.len() as u64;
    assert_eq!(Package::new(signed(), Bytes::new()), Err(PackageError::SizeMismatch { expected, actual: 0 }));
    let other = vec![0; COMPONENT.len()];
    assert_eq!(Package::new(signed(), other.into()), Err(PackageError::DigestMismatch));
}
