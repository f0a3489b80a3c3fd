//! A disk that has no room left: refused in time, or the end of the store, but never a record in part.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use prost_contract::{Change, Kept, Place, Point, Version, record_bytes};
use prost_kbr::Id;
use prost_manager::Space;

use super::super::pending::State;
use super::super::space::Room;
use super::super::{Batch, DataDir, Store, StoreError};
use super::disk::Disk;
use super::support::{Harness, app, at, delete, key, node, put};

const MIB: u64 = 1 << 20;
/// Where the file system is that a test is given.
const SMALL_FILE_SYSTEM: &str = "PROST_TEST_SMALL_FILE_SYSTEM";
/// How long the writer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store on a disk of 100 GiB with so much room left, beside what others have on it.
fn store_with(available: u64) -> Harness {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put(at(1), b"a", &[1; 1000]), put(Place::Node, b"b", &[2; 1000])]);
    store.wait_for_all();
    look(&store, available);
    store
}

/// The disk is looked at, with so much room left.
fn look(store: &Harness, available: u64) {
    let room = Room { total: 100 << 30, available, allocated: 1024 };
    *store.room.lock().expect("no test panics here") = Some(room);
    let expected = room.left(store.used(&app("dht"))).space;
    store.wait_until(|store| store.space() == expected);
}

#[test]
fn a_nearly_full_disk_refuses_what_grows_and_takes_what_goes() {
    let store = store_with(10 * MIB);
    assert_eq!(store.space(), Space::Full);
    let dht = app("dht");
    let before = store.used(&dht);
    assert_eq!(store.try_submit(&dht, vec![put(at(2), b"a", b"new")]), Err(StoreError::Full));
    assert_eq!(store.try_submit(&dht, vec![put(at(1), b"a", &[1; 1001])]), Err(StoreError::Full));
    let mixed = vec![delete(Place::Node, b"b"), put(at(1), b"a", &[1; 9000])];
    assert_eq!(store.try_submit(&dht, mixed), Err(StoreError::Full), "not in part");
    assert_eq!(store.try_save_package(&dht, Bytes::from_static(b"package")), Err(StoreError::Full));
    assert_eq!((store.used(&dht), store.get(&dht, Place::Node, b"b")), (before, Some(vec![2; 1000])));
    // What is there may be replaced and removed, and that something was deleted is remembered.
    assert_eq!(store.try_submit(&dht, vec![put(at(1), b"a", &[3; 1000])]), Ok(()));
    assert_eq!(store.try_submit(&dht, vec![delete(Place::Node, b"b"), put(at(2), b"a", b"new")]), Ok(()));
    let tombstone = Kept { version: Version { at: 99, node: node(1) }, value: None, expires: Some(u64::MAX - 1) };
    let deletion = Change::Keep(Point { key: key(9), name: b"never seen".to_vec() }, tombstone);
    assert_eq!(store.try_change(&dht, vec![deletion]), Ok(()));
    store.remove_package(&dht);
    store.wait_for_all();
    look(&store, 50 << 30);
    assert_eq!(store.try_submit(&dht, vec![put(at(3), b"a", b"new")]), Ok(()));
    store.remove_app(&dht);
}

#[test]
fn what_waits_to_be_written_has_taken_its_room() {
    let mut state = State::default();
    state.set_room(Room { total: 100 << 30, available: 90 * MIB, allocated: 2 * MIB });
    let taken = (0..100).take_while(|_| state.take_room(MIB as i64).is_ok()).count();
    // 26 MiB beside the headroom, and half as much again for each.
    assert!((15..20).contains(&taken), "{taken}");
    assert_eq!(state.take_room(MIB as i64), Err(StoreError::Full));
    assert_eq!((state.take_room(0), state.take_room(-1)), (Ok(()), Ok(())));
}

/// Writes until the disk is full, and gives what was acknowledged.
fn write_all(store: &Harness) -> Result<u8, StoreError> {
    for number in 1..=6 {
        store
            .try_submit(&app("dht"), vec![put(at(number), b"a", &[number; 5000]), put(Place::Node, &[number], b"x")])?;
        if let Err(error) = store.wait_for_next() {
            assert!(error.is_fatal(), "{error}");
            assert_eq!(error.exit_code(), 70);
            return Ok(number - 1);
        }
    }
    Ok(6)
}

#[test]
fn a_disk_that_is_full_at_any_write_loses_nothing_that_was_acknowledged() {
    let base = Disk::new();
    Harness::on(base.clone()).submit(&app("old"), vec![put(at(1), b"a", b"old")]);
    let base = base.as_after_a_crash();
    let mut places = 0;
    for room in 0.. {
        let disk = base.as_after_a_crash();
        disk.fill_after(room);
        let acknowledged = match Harness::try_on(disk.clone()) {
            Ok(store) => write_all(&store).unwrap_or(0),
            Err(error) => {
                assert!(matches!(error, StoreError::Disk(_)), "{room}: {error:?}");
                0
            }
        };
        let ended = !disk.is_full();
        disk.heal();
        // As it stands, and as a crash would have left it.
        for disk in [disk.as_after_a_crash(), disk] {
            super::crash::check_books(&disk).expect("sound books");
            let store = Harness::on(disk);
            assert_eq!(store.get(&app("old"), at(1), b"a"), Some(b"old".to_vec()));
            for number in 1..=6_u8 {
                let there = store.get(&app("dht"), at(number), b"a") == Some(vec![number; 5000]);
                let whole = there == store.get(&app("dht"), Place::Node, &[number]).is_some();
                assert!(whole, "{room}: half of commit {number}");
                assert!(there || number > acknowledged, "{room}: commit {number} was acknowledged");
            }
            assert_eq!(store.try_submit(&app("dht"), vec![put(at(9), b"a", b"room again")]), Ok(()));
        }
        places += 1;
        if ended {
            break;
        }
    }
    assert!(places > 30, "the disk was full at {places} places");
}

/// An open store in a directory.
fn open(data: &DataDir) -> Result<(Store, Receiver<Batch>), StoreError> {
    let (sender, batches) = channel();
    // A store that is dropped has nobody who listens.
    let store = Store::open(data, node(1), Box::new(move |batch| drop(sender.send(batch))))?;
    Ok((store, batches))
}

fn keep(number: u32, fill: u8) -> Change {
    let point = Point { key: Id::hash(&number.to_be_bytes()), name: b"n".to_vec() };
    let version = Version { at: u64::from(fill), node: node(1) };
    Change::Keep(point, Kept { version, value: Some(Bytes::from(vec![fill; 8000])), expires: None })
}

/// The value of a record that `keep` wrote.
fn value(store: &Store, number: u32) -> Option<u8> {
    let records = store.records(&app("dht"), super::T0);
    let value = records.get(Place::At(Id::hash(&number.to_be_bytes())), b"n").expect("it can be read");
    value.map(|value| value[0])
}

/// What must hold on a file system that has a few MiB.
fn fill(dir: &Path) {
    let data = DataDir::open(&dir.join("data")).expect("a new directory");
    let (store, batches) = open(&data).expect("room for an empty store");
    let dht = app("dht");
    let acknowledged = |batches: &Receiver<Batch>| batches.recv_timeout(PATIENCE).expect("the writer answers").result;
    let mut count = 0;
    let refused = loop {
        match store.submit(&dht, 1, vec![keep(count, 1)]) {
            Ok(()) => assert_eq!(acknowledged(&batches), Ok(()), "refused before the disk is full"),
            Err(error) => break error,
        }
        count += 1;
        assert!(count < 10_000, "the file system has no end");
    };
    assert_eq!(refused, StoreError::Full);
    assert!(count > 100, "{count}");
    assert_eq!(value(&store, count - 1), Some(1));
    assert_eq!(store.used(&dht), u64::from(count) * record_bytes(1, 8000));
    // Removals make room.
    for number in 0..count / 2 {
        let point = Point { key: Id::hash(&number.to_be_bytes()), name: b"n".to_vec() };
        store.submit(&dht, 1, vec![Change::Drop(point, Version { at: 9, node: node(1) })]).expect("a removal");
        assert_eq!(acknowledged(&batches), Ok(()));
    }
    for number in 0..count / 8 {
        store.submit(&dht, 1, vec![keep(number, 2)]).expect("there is room again");
        assert_eq!(acknowledged(&batches), Ok(()));
    }
    // Someone else fills the disk to the last byte; the store goes on as long as it can, and then ends.
    let filler = dir.join("filler");
    let mut chunk = 1 << 20;
    let mut file = std::fs::File::create(&filler).expect("a file");
    while chunk > 0 {
        if std::io::Write::write_all(&mut file, &vec![0; chunk]).is_err() {
            chunk /= 2;
        }
    }
    let mut replaced = 0;
    for number in 0..count / 8 {
        if store.submit(&dht, 1, vec![keep(number, 3)]).is_err() {
            break;
        }
        match acknowledged(&batches) {
            Ok(()) => replaced = number + 1,
            Err(error) => {
                assert_eq!((error.is_fatal(), error.exit_code()), (true, 70), "{error}");
                break;
            }
        }
    }
    drop(store);
    drop(file);
    std::fs::remove_file(filler).expect("the filler goes");
    let (store, _batches) = open(&data).expect("a sound store");
    for number in 0..count {
        let least = if number < replaced {
            3
        } else if number < count / 8 {
            2
        } else {
            1
        };
        let gone = (count / 8..count / 2).contains(&number);
        let found = value(&store, number);
        assert!(if gone { found.is_none() } else { found >= Some(least) }, "{number} says {found:?}");
    }
}

#[test]
#[ignore = "is given a small file system by the test below"]
fn in_a_small_file_system() {
    let dir = std::env::var(SMALL_FILE_SYSTEM).expect("the test below says where");
    fill(Path::new(&dir));
}

#[test]
fn a_real_file_system_that_fills_up_refuses_in_time_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = std::env::current_exe().expect("this program has a path");
    let script = "mount -t tmpfs -o size=16m none \"$1\" && exec \"$2\" --ignored --exact --nocapture \
                  store::tests::full::in_a_small_file_system";
    let namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script, "sh"]).arg(dir.path()).arg(&program);
        command.env(SMALL_FILE_SYSTEM, dir.path());
        command.output()
    };
    // Where this user may make no file systems, the disk in memory that is full at every write stands for it.
    let may_mount = namespace("mount -t tmpfs -o size=16m none \"$1\"").is_ok_and(|output| output.status.success());
    if !may_mount {
        return a_disk_that_is_full_at_any_write_loses_nothing_that_was_acknowledged();
    }
    let output = namespace(script).expect("it worked a moment ago");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
