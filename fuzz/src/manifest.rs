//! Signed manifests, packages and policies.

use std::collections::BTreeMap;

use bytes::Bytes;
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use prost_contract::Capability;
use prost_package::{
    Acknowledgement, Budgets, Chunks, ComponentRef, Digest, Manifest, Package, Piece, ProviderKey, SignedManifest,
};
use ring::signature::Ed25519KeyPair;

/// A component's bytes and a policy, the two pieces of the good inputs that are not made by code.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const POLICY: &str = "default = \"deny\"\n[[rule]]\neffect = \"allow\"\nprovider = \"*\"\napplication = \"d*\"\n\
                      [rule.budgets]\nmemory_bytes = \"32MiB\"\ntimers = 4\n";

/// The secret of a provider that signs whatever the fuzzer makes up.
const SEED: [u8; 32] = [7; 32];
/// External data of a manifest's signature.
const DOMAIN: &[u8] = b"prost-peerlet-manifest-v1";

/// That provider's key.
pub fn provider() -> ProviderKey {
    ProviderKey::from_seed(&SEED)
}

/// The payload in an envelope that verifies: what a malicious provider can send.
pub fn sealed(payload: &[u8]) -> Bytes {
    let key = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("every 32 bytes are a seed");
    let header = HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(provider().public().to_vec()).build();
    let envelope = CoseSign1Builder::new()
        .protected(header)
        .payload(payload.to_vec())
        .create_signature(DOMAIN, |message| key.sign(message).as_ref().to_vec())
        .build();
    envelope.to_tagged_vec().expect("an envelope is plain CBOR").into()
}

/// An envelope, its payload alone, a package file, the two pieces that it is kept in, and a policy.
pub fn manifests() -> Vec<Vec<u8>> {
    let manifest = SignedManifest::sign(manifest(), &provider()).expect("a manifest in range");
    let envelope = manifest.bytes().to_vec();
    let payload = CoseSign1::from_tagged_slice(&envelope).expect("an envelope").payload.expect("a payload");
    assert_eq!(sealed(&payload), envelope, "the harness seals as providers do");
    let chunks = Chunks::of(COMPONENT);
    let head = Piece::head(&manifest, &chunks).to_vec();
    let chunk = Piece::chunk(&manifest, &chunks, COMPONENT, 0).expect("the only chunk").to_vec();
    let package = Package::new(manifest, Bytes::from_static(COMPONENT)).expect("the manifest's own component");
    vec![envelope, payload, package.encode(), head, chunk, POLICY.into()]
}

fn manifest() -> Manifest {
    Manifest {
        format: 1,
        name: "dht".parse().expect("a name"),
        provider: provider().public(),
        version: semver::Version::new(1, 2, 3),
        sequence: 1,
        component: ComponentRef { digest: Digest::of(COMPONENT), size: COMPONENT.len() as u64 },
        world: "prost:peerlet@0.1.0".to_owned(),
        capabilities: BTreeMap::from([(Capability::Route, "to send".to_owned()), (Capability::Log, String::new())]),
        budgets: Budgets::default(),
        replicas: 3,
        acknowledgement: Acknowledgement::Majority,
        expires: Some(1 << 40),
    }
}
