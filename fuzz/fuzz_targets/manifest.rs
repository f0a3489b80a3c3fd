//! What travels to be installed, and the operator's policy: envelopes, packages and pieces of them from anyone, payloads from a
//! provider who signs anything, and text that is meant to be a policy.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost_fuzz::{manifests, plant, provider, sealed};
use prost_package::piece::{on_shelf, shelf};
use prost_package::{Package, Piece, Policy, SignedManifest};

fuzz_target!(init: plant(manifests()), |data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(manifest) = SignedManifest::verify(bytes.clone()) {
        assert_eq!(manifest.bytes(), &bytes);
    }
    if let Ok(package) = Package::decode(bytes) {
        assert_eq!(package.encode(), data);
    }
    if let Some(piece) = Piece::decode(data) {
        let (app, _) = (piece.manifest.manifest().app(), piece.key());
        assert_eq!(shelf(&app).and_then(|id| on_shelf(&id)), Some(app));
    }
    if let Ok(signed) = SignedManifest::verify(sealed(data)) {
        let again = SignedManifest::sign(signed.manifest().clone(), &provider()).expect("what verifies can be signed");
        assert_eq!(again.manifest(), signed.manifest());
        assert_eq!(SignedManifest::verify(again.bytes().clone()), Ok(again));
        let _ = Policy::default_only(true).decide(signed.manifest());
    }
    if let Ok(text) = core::str::from_utf8(data)
        && let Ok(policy) = Policy::parse(text)
    {
        let manifest = SignedManifest::verify(Bytes::from(manifests().swap_remove(0))).expect("a good manifest");
        let _ = policy.decide(manifest.manifest());
    }
});
