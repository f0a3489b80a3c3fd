//! Keys, manifests and envelopes to test with.

use std::collections::BTreeMap;

use bytes::Bytes;
use coset::{CoseSign1, CoseSign1Builder, Header, HeaderBuilder, TaggedCborSerializable, iana};
use prost_contract::Capability;
use prost_package::{Acknowledgement, Budgets, ComponentRef, Digest, Manifest, ProviderKey, SignedManifest};
use ring::signature::Ed25519KeyPair;

pub(crate) const COMPONENT: &[u8] = b"what would be a component";
pub(crate) const DOMAIN: &[u8] = b"prost-peerlet-manifest-v1";

pub(crate) fn key(number: u8) -> ProviderKey {
    ProviderKey::from_seed(&[number; 32])
}

pub(crate) fn ring_key(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
}

pub(crate) fn manifest_of(provider: &ProviderKey) -> Manifest {
    Manifest {
        format: 1,
        name: "dht".parse().unwrap(),
        provider: provider.public(),
        version: "1.2.3".parse().unwrap(),
        sequence: 7,
        component: ComponentRef { digest: Digest::of(COMPONENT), size: COMPONENT.len() as u64 },
        world: "prost:peerlet@0.1.0".to_owned(),
        capabilities: BTreeMap::from([
            (Capability::Route, "to find the owner of a key".to_owned()),
            (Capability::Storage, "to keep values".to_owned()),
        ]),
        budgets: Budgets::default(),
        replicas: 3,
        acknowledgement: Acknowledgement::Majority,
        expires: None,
    }
}

pub(crate) fn signed() -> SignedManifest {
    SignedManifest::sign(manifest_of(&key(1)), &key(1)).unwrap()
}

/// The protected header that a manifest's envelope has.
pub(crate) fn header(key_id: &[u8]) -> Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::EdDSA).key_id(key_id.to_vec()).build()
}

/// Any payload, under any header, signed by the key of this number.
pub(crate) fn forge(header: Header, payload: Vec<u8>, signer: u8, domain: &[u8]) -> CoseSign1 {
    CoseSign1Builder::new()
        .protected(header)
        .payload(payload)
        .create_signature(domain, |message| ring_key(signer).sign(message).as_ref().to_vec())
        .build()
}

/// A payload in an envelope that is in order, by provider 1.
pub(crate) fn enveloped(payload: Vec<u8>) -> Bytes {
    tagged(forge(header(&key(1).public()), payload, 1, DOMAIN))
}

pub(crate) fn tagged(envelope: CoseSign1) -> Bytes {
    envelope.to_tagged_vec().unwrap().into()
}

pub(crate) fn payload_of(manifest: &Manifest) -> Vec<u8> {
    serde_cbor::to_vec(manifest).unwrap()
}
