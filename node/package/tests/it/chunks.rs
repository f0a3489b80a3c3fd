//! Components in chunks: every chunk can be checked by itself, and no wrong one passes.

use bytes::Bytes;
use proptest::prelude::*;
use prost_package::chunks::{CHUNK, Chunks, proven};
use prost_package::piece::{Content, chunk_key, head_key, on_shelf, shelf};
use prost_package::{ComponentRef, Digest, Piece, SignedManifest};

use crate::support::{key, manifest_of};

fn component(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251 + at) as u8).collect()
}

fn reference(component: &[u8]) -> ComponentRef {
    ComponentRef { digest: Digest::of(component), size: component.len() as u64 }
}

fn signed(component: &[u8]) -> SignedManifest {
    let mut manifest = manifest_of(&key(1));
    manifest.component = reference(component);
    SignedManifest::sign(manifest, &key(1)).unwrap()
}

/// Sizes around every shape of tree up to seventeen chunks.
fn sizes() -> impl Iterator<Item = usize> {
    (1..=17).flat_map(|chunks| [(chunks - 1) * CHUNK + 1, chunks * CHUNK - 1, chunks * CHUNK])
}

#[test]
fn the_values_of_the_chunks_of_every_size_lead_to_the_digest_and_each_proves_itself() {
    for size in sizes() {
        let (component, count) = (component(size), size.div_ceil(CHUNK));
        let (chunks, reference) = (Chunks::of(&component), reference(&component));
        assert_eq!(chunks.count(), count);
        assert_eq!(Chunks::verify(&chunks.encode(), &reference).as_ref(), Some(&chunks), "{size}");
        for (index, chunk) in component.chunks(CHUNK).enumerate() {
            assert!(chunks.is_chunk(index, chunk));
            let path = chunks.path(index);
            assert_eq!(proven(&reference, index, chunk, &path), chunks.value(index), "{index} of {size}");
            // Nowhere else, and not with less or more of the way.
            for other in (0..count + 2).filter(|other| *other != index) {
                assert!(!chunks.is_chunk(other, chunk) && proven(&reference, other, chunk, &path).is_none());
            }
            assert_eq!(proven(&reference, index, chunk, &[&path[..], &[0; 32]].concat()), None);
            if let Some(short) = path.len().checked_sub(32) {
                assert_eq!(proven(&reference, index, chunk, &path[..short]), None);
            }
        }
        assert!(!chunks.is_chunk(count, &[]) && chunks.path(count + 1).len() <= 32 * 8);
    }
}

#[test]
fn a_list_that_is_not_the_components_is_none() {
    let component = component(5 * CHUNK - 7);
    let (good, reference) = (Chunks::of(&component).encode(), reference(&component));
    for at in 0..good.len() {
        let mut list = good.clone();
        list[at] ^= 1;
        assert_eq!(Chunks::verify(&list, &reference), None);
    }
    let mut swapped = good.clone();
    swapped.rotate_left(32);
    let longer = [&good[..], &[0; 32]].concat();
    for list in [&good[..4 * 32], &good[1..], &longer, &[], &swapped] {
        assert_eq!(Chunks::verify(list, &reference), None);
    }
    // The same list under a size with which it would be cut otherwise, or could not be.
    for size in [0, 4 * CHUNK as u64, 6 * CHUNK as u64, u64::MAX] {
        assert_eq!(Chunks::verify(&good, &ComponentRef { size, ..reference.clone() }), None, "{size}");
    }
}

#[test]
fn a_piece_reads_as_it_was_written_and_says_where_it_belongs() {
    let component = component(3 * CHUNK + 5);
    let (chunks, manifest) = (Chunks::of(&component), signed(&component));
    let head = Piece::decode(&Piece::head(&manifest, &chunks)).unwrap();
    assert_eq!((&head.manifest, &head.content), (&manifest, &Content::Head(chunks.clone())));
    assert_eq!(head.key(), head_key(&Digest::of(&component)));
    for (index, bytes) in component.chunks(CHUNK).enumerate() {
        let written = Piece::chunk(&manifest, &chunks, &component, index).unwrap();
        assert!(written.len() <= Piece::MAX);
        assert_eq!(Piece::chunk_of(&written).as_deref(), Some(bytes));
        let (piece, value) = (Piece::decode(&written).unwrap(), chunks.value(index).unwrap());
        assert_eq!(piece.key(), chunk_key(&value));
        assert_eq!(piece.content, Content::Chunk { index, value, bytes: Bytes::copy_from_slice(bytes) });
    }
    assert_eq!(Piece::chunk(&manifest, &chunks, &component, 4), None);
}

#[test]
fn a_piece_in_which_any_byte_is_changed_is_none() {
    let component = component(CHUNK + 40);
    let (chunks, manifest) = (Chunks::of(&component), signed(&component));
    let pieces = [Piece::head(&manifest, &chunks), Piece::chunk(&manifest, &chunks, &component, 1).unwrap()];
    for good in pieces {
        let read = Piece::decode(&good).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[at] ^= 1;
            // Another spelling of the same is all that it can be.
            assert!(Piece::decode(&bytes).is_none_or(|other| other == read), "byte {at}");
        }
        for length in 0..good.len() {
            assert_eq!(Piece::decode(&good[..length]), None);
        }
    }
}

#[test]
fn the_shelf_of_an_application_is_no_packages_id_and_leads_back_to_it() {
    let mut manifest = manifest_of(&key(1));
    manifest.name = "a".repeat(64).parse().unwrap();
    let id = shelf(&manifest.app()).unwrap();
    assert_eq!(on_shelf(&id), Some(manifest.app()));
    assert_eq!((shelf(&id), on_shelf(&manifest.app())), (None, None));
    manifest.name = ".dht".parse().unwrap();
    assert!(SignedManifest::sign(manifest, &key(1)).is_err());
    assert!("a".repeat(65).parse::<prost_kbr::AppName>().is_err());
}

proptest! {
    #[test]
    fn rubbish_is_no_piece(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(Piece::decode(&bytes), None);
        prop_assert_eq!(Piece::chunk_of(&bytes), None);
    }
}
