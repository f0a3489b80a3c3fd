//! Node ids: where on the ring a key stands.

use crate::ed25519::{PublicKey, spki};

/// A node's id, big-endian: a point on the ring of 2^160.
pub type NodeIdBytes = [u8; 20];

/// Length of a [`Salt`] in bytes.
pub const SALT_LEN: usize = 16;

/// Random bytes that a ring's authority puts into a certificate, so that no node chooses its own place on the ring.
pub type Salt = [u8; SALT_LEN];

/// The id of the node with this key: the first 160 bits of BLAKE3, in its key-derivation mode under a context of our
/// own, over the key's 44-byte SubjectPublicKeyInfo (RFC 8410) followed by the salt.
///
/// `salt` is the authority's in a closed ring and none in an open one. The certificate itself does not enter: a node
/// whose certificate is renewed with the same key and salt keeps its id.
pub fn node_id(key: &PublicKey, salt: Option<&Salt>) -> NodeIdBytes {
    let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
    hasher.update(&spki(key));
    hasher.update(salt.map_or(&[], |salt| salt));
    let mut id = NodeIdBytes::default();
    hasher.finalize_xof().fill(&mut id);
    id
}

/// Separates node ids from every other use of BLAKE3. Another context is another ring.
const ID_CONTEXT: &str = "prost 2026 node id v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_depends_on_key_and_salt_and_nothing_else() {
        let key = [7; 32];
        let (one, other) = ([1; SALT_LEN], [2; SALT_LEN]);
        assert_eq!(node_id(&key, Some(&one)), node_id(&key, Some(&one)));
        assert_ne!(node_id(&key, None), node_id(&key, Some(&one)));
        assert_ne!(node_id(&key, Some(&one)), node_id(&key, Some(&other)));
        assert_ne!(node_id(&key, None), node_id(&[8; 32], None));
    }

    #[test]
    fn the_id_is_blake3_of_the_canonical_spki() {
        let key = [7; 32];
        let mut spki = hex::decode("302a300506032b6570032100").expect("the RFC 8410 prefix");
        spki.extend(key);
        assert_eq!(node_id(&key, None), blake3::derive_key("prost 2026 node id v1", &spki)[..20]);
    }
}
