//! Code that the ring keeps is there whole, on the nodes where it belongs, whatever else the ring does.

#[path = "support/keyed.rs"]
mod keyed;
mod support;

use std::time::Duration;

use bytes::Bytes;
use prost_contract::Place;
use prost_kbr::{Dispatch, Header, Key, NodeId};
use prost_manager::{Published, Source};
use prost_package::chunks::CHUNK;
use prost_package::piece::{chunk_key, head_key, shelf};
use prost_package::{Acknowledgement, Chunks, ComponentRef, Digest, Package, Piece, ProviderKey, SignedManifest};
use prost_sim::{Act, Applications, Index, Route, Seen, World, WorldConfig};

use keyed::Keyed;
use support::{config, grow, ideal, run, settle};

/// Copies of each piece.
const COPIES: usize = 3;

/// An application with code of so many bytes.
fn package(size: usize) -> Package {
    let key = ProviderKey::from_seed(&[9; 32]);
    let component: Bytes = (0..size).map(|at| (at / 977 + at) as u8).collect::<Vec<u8>>().into();
    let mut manifest = keyed::package(1, Acknowledgement::One).manifest.manifest().clone();
    manifest.component = ComponentRef { digest: Digest::of(&component), size: size as u64 };
    Package::new(SignedManifest::sign(manifest, &key).expect("a manifest"), component).expect("a package")
}

/// A ring in which a package was published that no node runs.
struct Kept {
    world: World,
    package: Package,
    /// Each piece's key.
    keys: Vec<Key>,
}

impl Kept {
    fn new(config: WorldConfig, count: u32) -> Kept {
        Kept::of(config, count, 24 * CHUNK - 5)
    }

    fn of(config: WorldConfig, count: u32, size: usize) -> Kept {
        let mut world = World::new(config);
        world.host_apps(Applications::new(Box::new(Keyed)));
        grow(&mut world, count);
        run(&mut world, Duration::from_millis(200) * count);
        assert!(settle(&mut world, Duration::from_secs(120)), "{:?}", ideal(&world));
        world.seen();
        let package = package(size);
        world.act(Act::Publish { node: 0, request: 1, package: Box::new(package.clone()) });
        run(&mut world, Duration::from_secs(20));
        let published = world.seen().into_iter().find_map(|seen| match seen {
            Seen::Published { request: 1, result, .. } => Some(result),
            _ => None,
        });
        let app = package.manifest.manifest().app();
        assert_eq!(published, Some(Ok(Published { app, pieces: size.div_ceil(CHUNK) + 1, copies: COPIES })));
        let chunks = Chunks::of(&package.component);
        let values = (0..chunks.count()).filter_map(|index| chunks.value(index));
        let head = head_key(&package.manifest.manifest().component.digest);
        let keys = values.map(|value| chunk_key(&value)).chain([head]).collect();
        Kept { world, package, keys }
    }

    /// The members, from the one responsible for a key on.
    fn order(&self, key: Key) -> Vec<(NodeId, Index)> {
        let mut order: Vec<(NodeId, Index)> = self.world.members().iter().map(|(id, node)| (*id, *node)).collect();
        order.sort_by_key(|(id, _)| key.distance_to(*id));
        order
    }

    /// Whether every piece is what it should be on the first nodes of its replica set, and nowhere else.
    fn check(&self) -> Result<(), String> {
        let shelf = shelf(&self.package.manifest.manifest().app()).expect("a package's id");
        for key in &self.keys {
            let order = self.order(*key);
            let kept: Vec<Option<Bytes>> =
                order.iter().map(|(_, node)| self.world.record(*node, &shelf, Place::At(*key), b"piece")).collect();
            let (here, elsewhere) = kept.split_at(COPIES.min(kept.len()));
            let good = |piece: &Option<Bytes>| {
                piece.as_deref().and_then(Piece::decode).is_some_and(|piece| piece.key() == *key)
            };
            if !here.iter().all(good) || elsewhere.iter().any(Option::is_some) {
                let held: Vec<bool> = kept.iter().map(Option::is_some).collect();
                return Err(format!("{key}: held {held:?}"));
            }
        }
        Ok(())
    }

    /// Waits until the ring is one again and every piece where it belongs.
    fn wait(&mut self, seconds: u64) {
        assert!(settle(&mut self.world, Duration::from_secs(120)), "{:?}", ideal(&self.world));
        for _ in 0..seconds {
            if self.check().is_ok() {
                return;
            }
            run(&mut self.world, Duration::from_secs(1));
        }
        panic!("after {seconds} s: {:?}", self.check());
    }

    /// The first nodes of a piece's replica set die at once, with their disks.
    fn lose(&mut self, piece: usize, count: usize) -> Vec<Index> {
        let dying: Vec<Index> = self.order(self.keys[piece]).iter().take(count).map(|(_, node)| *node).collect();
        for node in &dying {
            self.world.act(Act::Crash { node: *node });
            self.world.wipe(*node);
        }
        dying
    }

    fn contact(&self) -> Index {
        *self.world.members().iter().next().expect("a member").1
    }

    /// A message makes the node responsible for a key install the package.
    fn install(&mut self, from: Index, key: Key) -> Option<(Source, Index)> {
        let manifest = self.package.manifest.manifest();
        let header = Header { app: manifest.app(), locator: format!("blake3:{}", manifest.component.digest) };
        let payload = Bytes::from([&7u64.to_be_bytes()[..], b"put name value"].concat());
        let route = Route { header, key, dispatch: Dispatch::EndNode, payload };
        self.world.seen();
        self.world.act(Act::Route { node: from, request: 9, route: Box::new(route) });
        run(&mut self.world, Duration::from_secs(20));
        self.world.seen().into_iter().find_map(|seen| match seen {
            Seen::Runs { node, installation } => Some((installation.source, node)),
            _ => None,
        })
    }
}

#[test]
fn a_package_is_whole_after_crashes_with_wiped_disks_joins_and_leaves() {
    let mut kept = Kept::new(config(31), 12);
    kept.wait(1);
    for round in 0..3 {
        let dead = kept.lose(round * 7, COPIES - 1);
        kept.wait(150);
        let known = vec![kept.contact()];
        dead.into_iter().for_each(|node| kept.world.act(Act::Restart { node, known: known.clone() }));
        let joiner = kept.world.spawn();
        kept.world.act(Act::Start { node: joiner, known });
        run(&mut kept.world, Duration::from_secs(5));
        kept.wait(200);
        let leaver = kept.order(kept.keys[round * 5 + 1])[0].1;
        kept.world.act(Act::Leave { node: leaver });
        run(&mut kept.world, Duration::from_secs(10));
        assert!(!kept.world.is_alive(leaver), "ten seconds are enough for a farewell");
        kept.wait(200);
    }
    let (from, key) = (kept.contact(), Key::hash(b"wanted"));
    let root = kept.order(key)[0].1;
    assert_eq!(kept.install(from, key), Some((Source::ContentStore, root)));
}

#[test]
fn replicas_that_come_back_at_once_with_empty_disks_take_what_the_last_one_has() {
    for seed in 0..4 {
        // So few pieces that most nodes have none, and nobody comes by to bring some.
        let mut kept = Kept::of(config(60 + seed), 16, 1000);
        let dead = kept.lose(1, COPIES - 1);
        let known = vec![kept.contact()];
        dead.into_iter().for_each(|node| kept.world.act(Act::Restart { node, known: known.clone() }));
        kept.wait(150);
    }
}

#[test]
fn code_is_had_from_the_ring_while_two_of_three_replicas_are_dead_and_not_yet_missed() {
    for seed in 0..4 {
        let mut kept = Kept::new(config(40 + seed), 16);
        kept.lose(seed as usize, COPIES - 1);
        let key = Key::hash(&seed.to_be_bytes());
        let from = kept.contact();
        let (source, _) = kept.install(from, key).expect("it is installed somewhere");
        assert_eq!(source, Source::ContentStore);
    }
}

#[test]
fn code_of_which_all_replicas_of_one_piece_are_lost_at_once_is_not_installed() {
    let mut kept = Kept::new(config(50), 16);
    kept.lose(3, COPIES);
    assert!(settle(&mut kept.world, Duration::from_secs(120)), "{:?}", ideal(&kept.world));
    run(&mut kept.world, Duration::from_secs(150));
    assert!(kept.check().is_err());
    let (from, key) = (kept.contact(), Key::hash(b"wanted"));
    assert_eq!(kept.install(from, key), None);
}
