//! Code on disk: used while it is the node's own, and made again when it is not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use prost_certs::{Identity, UnixTime, Validity};
use prost_node::compiler::{Cache, CacheLimits, ChildCompiler, Compiler, Work};
use prost_node::store::DataDir;
use prost_sandbox::{Engine, EngineOptions, SealKey};
use tempfile::TempDir;

use crate::component::Peerlet;
use crate::support::{engine, grant, program, wide};

/// A directory with a cache in it.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new() -> Disk {
        Disk { dir: tempfile::tempdir().expect("a directory") }
    }

    fn cache(&self, key: u8, limits: CacheLimits) -> Cache {
        let dir = Dir::open_ambient_dir(self.dir.path(), ambient_authority()).expect("it is there");
        Cache::below(&dir, SealKey::new([key; 32]), limits).expect("room")
    }

    /// What a node that has just started does for a component. It may run afterwards in any case.
    #[track_caller]
    fn compile_on(&self, engine: &Engine, cache: Cache, component: &[u8]) -> bool {
        let mut compiler = Compiler::in_child(ChildCompiler::new(program(), wide()), Some(cache));
        let (compiled, work) = compiler.compile(engine, component, &grant());
        assert!(compiled.is_ok(), "{:?}", compiled.err());
        work == Work::Cached
    }

    #[track_caller]
    fn was_cached(&self, component: &[u8]) -> bool {
        self.compile_on(&engine(), self.cache(1, CacheLimits::default()), component)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path().join("compiled")).expect("it is there");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it is readable").path()).collect();
        files.sort();
        files
    }

    fn file(&self, component: &[u8]) -> PathBuf {
        self.dir.path().join("compiled").join(blake3::hash(component).to_hex().as_str())
    }
}

fn component(number: usize) -> Vec<u8> {
    Peerlet::new().module(&format!("(func (result i32) i32.const {number})")).build()
}

#[test]
fn a_component_is_compiled_once() {
    let (disk, component) = (Disk::new(), component(0));
    assert!(!disk.was_cached(&component));
    assert!(disk.was_cached(&component));
    assert_eq!(disk.files(), [disk.file(&component)]);
    let mode = |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(disk.file(&component)), mode(disk.dir.path().join("compiled"))), (0o600, 0o700));
}

#[test]
fn what_is_not_as_it_was_written_is_compiled_again_and_replaced() {
    let (disk, component) = (Disk::new(), component(0));
    disk.was_cached(&component);
    let file = disk.file(&component);
    let good = fs::read(&file).expect("it is there");
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut bad: Vec<Vec<u8>> = [0, 16, 24, 56, 88, 120, 5_000, good.len() - 1].map(flipped).into();
    bad.extend([0, 1, 119, 120, 121, 5_000, good.len() - 1].map(|length| good[..length].to_vec()));
    bad.push([&good[..], b"x"].concat());
    for (number, bytes) in bad.into_iter().enumerate() {
        fs::write(&file, bytes).expect("room");
        assert!(!disk.was_cached(&component), "{number}");
        assert!(disk.was_cached(&component), "{number}");
    }
}

#[test]
fn the_code_of_another_component_is_not_taken() {
    let (disk, one, other) = (Disk::new(), component(1), component(2));
    disk.was_cached(&one);
    fs::copy(disk.file(&one), disk.file(&other)).expect("room");
    assert!(!disk.was_cached(&other));
}

#[test]
fn the_code_of_another_node_or_for_another_engine_is_not_taken() {
    let (disk, component) = (Disk::new(), component(0));
    disk.was_cached(&component);
    assert!(!disk.compile_on(&engine(), disk.cache(2, CacheLimits::default()), &component));
    assert!(!disk.was_cached(&component), "the second has replaced it");

    let on_demand = Engine::new(EngineOptions { pooled_instances: 0, ..EngineOptions::default() }).expect("an engine");
    assert_ne!(on_demand.fingerprint(), engine().fingerprint());
    assert!(!disk.compile_on(&on_demand, disk.cache(1, CacheLimits::default()), &component));
    assert!(disk.compile_on(&on_demand, disk.cache(1, CacheLimits::default()), &component));
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let disk = Disk::new();
    let [a, b, c, d] = [0, 1, 2, 3].map(component);
    for (age, component) in [(40, &a), (30, &b), (20, &c)] {
        disk.was_cached(component);
        let file = fs::File::options().write(true).open(disk.file(component)).expect("it is there");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("it is ours");
    }
    assert!(disk.was_cached(&a), "which makes it the youngest");
    let limits = CacheLimits { files: 3, ..CacheLimits::default() };
    disk.compile_on(&engine(), disk.cache(1, limits), &d);
    assert_eq!([&a, &b, &c, &d].map(|component| disk.file(component).exists()), [true, false, true, true]);

    let size = fs::metadata(disk.file(&d)).expect("it is there").len();
    let limits = CacheLimits { bytes: size * 3 / 2, ..limits };
    disk.compile_on(&engine(), disk.cache(1, limits), &b);
    assert_eq!(disk.files(), [disk.file(&b)]);
    // What is too large alone is not kept, and what is there stays.
    let limits = CacheLimits { bytes: size / 2, ..limits };
    disk.compile_on(&engine(), disk.cache(1, limits), &a);
    assert_eq!(disk.files(), [disk.file(&b)]);
}

#[test]
fn a_disk_that_takes_nothing_costs_only_time() {
    let (disk, component) = (Disk::new(), component(0));
    let cache = disk.cache(1, CacheLimits::default());
    fs::remove_dir(disk.dir.path().join("compiled")).expect("it is empty");
    assert!(!disk.compile_on(&engine(), cache, &component));
}

#[test]
fn the_key_of_a_cache_is_the_nodes() {
    let data = tempfile::tempdir().expect("a directory");
    let data = DataDir::open(data.path()).expect("it is ours");
    let identity = |name| Identity::generate_open(name, Validity::days(UnixTime::now(), 1)).expect("a key");
    let (one, other, component, engine) = (identity("one"), identity("other"), component(0), engine());
    let was_cached = |identity| {
        let cache = Cache::open(&data, identity).expect("room");
        let mut compiler = Compiler::in_child(ChildCompiler::new(program(), wide()), Some(cache));
        compiler.compile(&engine, &component, &grant()).1 == Work::Cached
    };
    assert!(!was_cached(&one));
    assert!(was_cached(&one));
    assert!(!was_cached(&other));
}
