//! What the store promises, through its public face.

mod crash;
mod damage;
mod disk;
mod full;
mod model;
mod sums;
mod support;

use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;

use bytes::Bytes;
use prost_contract::{Change, Entry, Kept, Place, Point, TOMBSTONE_MS, Version, record_bytes};
use prost_kbr::{Id, Interval};

use super::{DataDir, MAX_QUEUED_WRITES, Store, StoreError};
use disk::Disk;
use support::{Harness, app, at, delete, key, node, put, put_until};

const T0: u64 = 1_000_000;

fn means() -> super::open::Means {
    super::open::Means { now_ms: Box::new(|| T0), gauge: Box::new(|| None), cache_bytes: 1 << 20 }
}

#[test]
fn a_write_is_seen_at_once_and_outlives_the_process() {
    let mut store = Harness::new();
    store.submit(&app("dht"), vec![put(at(1), b"a", b"one"), put(Place::Node, b"a", b"two")]);
    assert_eq!(store.get(&app("dht"), at(1), b"a"), Some(b"one".to_vec()));
    store.reopen();
    assert_eq!(store.get(&app("dht"), at(1), b"a"), Some(b"one".to_vec()));
    assert_eq!(store.get(&app("dht"), Place::Node, b"a"), Some(b"two".to_vec()));
    assert_eq!(store.get(&app("dht"), at(2), b"a"), None);
    assert_eq!(store.get(&app("other"), at(1), b"a"), None, "applications do not see each other's records");
}

#[test]
fn what_was_acknowledged_survives_a_crash() {
    let store = Harness::new();
    for number in 0..50 {
        store.submit(&app("dht"), vec![put(at(number), b"a", &[number; 100])]);
    }
    store.wait_for_all();
    let crashed = Harness::on(store.disk().as_after_a_crash());
    for number in 0..50 {
        assert_eq!(crashed.get(&app("dht"), at(number), b"a"), Some(vec![number; 100]));
    }
    assert_eq!(crashed.used(&app("dht")), 50 * record_bytes(1, 100));
}

#[test]
fn what_was_not_synced_is_lost_as_a_whole() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put(at(1), b"a", b"old"), put(at(1), b"b", b"old")]);
    store.wait_for_all();
    store.disk().stop_syncing();
    store.submit(&app("dht"), vec![put(at(1), b"a", b"new"), put(at(1), b"b", b"new")]);
    store.wait_for_all();
    let crashed = Harness::on(store.disk().as_after_a_crash());
    assert_eq!(crashed.get(&app("dht"), at(1), b"a"), Some(b"old".to_vec()));
    assert_eq!(crashed.get(&app("dht"), at(1), b"b"), Some(b"old".to_vec()));
}

#[test]
fn names_are_listed_by_prefix_and_page() {
    let mut store = Harness::new();
    let writes = [b"aa".as_slice(), b"ab", b"b", b"a"].map(|name| put(at(1), name, b"x"));
    store.submit(&app("dht"), writes.to_vec());
    store.wait_for_all();
    // One durable name goes, and one that is not durable comes.
    store.submit(&app("dht"), vec![delete(at(1), b"ab"), put(at(1), b"ac", b"x"), put(at(2), b"ad", b"x")]);
    for _ in 0..2 {
        assert_eq!(store.names(at(1), b"", None, 10), ["a", "aa", "ac", "b"]);
        assert_eq!(store.names(at(1), b"a", None, 10), ["a", "aa", "ac"]);
        assert_eq!(store.names(at(1), b"a", Some(b"a"), 1), ["aa"]);
        assert_eq!(store.names(at(1), b"a", Some(b"az"), 10), [""; 0]);
        assert_eq!(store.names(at(1), b"b", Some(b"a"), 10), ["b"]);
        assert_eq!(store.names(at(1), b"", None, 0), [""; 0]);
        store.reopen();
    }
}

#[test]
fn keys_come_in_ring_order_across_zero() {
    let mut store = Harness::new();
    let writes = [5, 10, 200, 250].map(|number| put(at(number), b"a", b"x"));
    store.submit(&app("dht"), writes.to_vec());
    store.submit(&app("dht"), vec![put(at(10), b"b", b"x"), put(Place::Node, b"a", b"x")]);
    let whole = Interval::open_closed(key(200), key(200));
    for _ in 0..2 {
        assert_eq!(store.keys(Interval::open_closed(key(5), key(200)), None, 9), [10, 200]);
        assert_eq!(store.keys(Interval::open(key(5), key(200)), None, 9), [10]);
        assert_eq!(store.keys(Interval::open_closed(key(200), key(5)), None, 9), [250, 5]);
        assert_eq!(store.keys(whole, None, 9), [250, 5, 10, 200]);
        assert_eq!(store.keys(whole, Some(key(250)), 2), [5, 10]);
        assert_eq!(store.keys(whole, Some(key(200)), 9), [0; 0]);
        assert_eq!(store.keys(Interval::open(key(200), key(200)), None, 9), [250, 5, 10]);
        assert_eq!(store.keys(Interval::open_closed(key(5), key(200)), Some(key(250)), 9), [0; 0]);
        assert_eq!(store.keys(whole, None, 0), [0; 0]);
        store.reopen();
    }
    let highest = Id::from_bytes([255; 20]);
    store.submit(&app("dht"), vec![put(Place::At(highest), b"a", b"x")]);
    assert_eq!(store.keys(Interval::open_closed(key(249), key(5)), None, 9), [250, 255, 5]);
}

#[test]
fn an_expired_record_is_not_seen_then_swept() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put_until(Place::Node, b"short", b"x", T0 + 10), put(Place::Node, b"long", b"x")]);
    store.wait_for_all();
    assert_eq!(store.get_at(T0 + 9, &app("dht"), Place::Node, b"short"), Some(b"x".to_vec()));
    assert_eq!(store.get_at(T0 + 10, &app("dht"), Place::Node, b"short"), None);
    assert_eq!(store.used(&app("dht")), record_bytes(5, 1) + record_bytes(4, 1));
    store.clock.store(T0 + 11, Ordering::SeqCst);
    store.wait_until(|store| store.used(&app("dht")) == record_bytes(4, 1));
    assert_eq!(store.get_at(T0, &app("dht"), Place::Node, b"short"), None, "it is gone, not only hidden");
    assert_eq!(store.get(&app("dht"), Place::Node, b"long"), Some(b"x".to_vec()));
}

#[test]
fn a_renewed_record_is_not_swept_at_its_old_expiry() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put_until(Place::Node, b"a", b"x", T0 + 10)]);
    store.submit(&app("dht"), vec![put_until(Place::Node, b"a", b"y", T0 + 1000)]);
    store.submit(&app("dht"), vec![put_until(Place::Node, b"b", b"x", T0 + 10)]);
    store.wait_for_all();
    store.clock.store(T0 + 11, Ordering::SeqCst);
    store.wait_until(|store| store.used(&app("dht")) == record_bytes(1, 1));
    assert_eq!(store.get_at(T0 + 11, &app("dht"), Place::Node, b"a"), Some(b"y".to_vec()));
}

#[test]
fn the_newest_version_of_a_keyed_record_stays_whatever_comes_in_which_order() {
    let mut store = Harness::new();
    let point = Point { key: key(1), name: b"a".to_vec() };
    let kept = |at: u64, node: u8, value: Option<&'static [u8]>| Kept {
        version: Version { at, node: self::node(node) },
        value: value.map(Bytes::from_static),
        expires: value.is_none().then_some(u64::MAX - 1),
    };
    let keep = |kept: &Kept| Change::Keep(point.clone(), kept.clone());
    let versions =
        [kept(5, 1, Some(b"five")), kept(3, 9, Some(b"three")), kept(5, 2, Some(b"other")), kept(4, 1, None)];
    store.try_change(&app("dht"), versions.iter().map(keep).collect()).expect("an open store");
    for _ in 0..2 {
        assert_eq!(store.kept(&point), Some(versions[2].clone()));
        assert_eq!(store.newest_version(), 5);
        store.reopen();
    }
    // A deletion that is newer hides the value, and is remembered.
    let deleted = kept(6, 1, None);
    store.try_change(&app("dht"), vec![keep(&deleted)]).expect("an open store");
    for _ in 0..2 {
        assert_eq!(store.get(&app("dht"), at(1), b"a"), None);
        assert_eq!((store.names(at(1), b"", None, 9), store.keys(whole(), None, 9)), (vec![], vec![]));
        assert_eq!(store.entries(whole(), None, 9), [Entry { point: point.clone(), version: deleted.version }]);
        assert_eq!(store.used(&app("dht")), record_bytes(1, 0));
        store.reopen();
    }
    // A copy goes where it is not newer than what the others have.
    let older = Change::Drop(point.clone(), versions[0].version);
    store.try_change(&app("dht"), vec![older]).expect("an open store");
    assert_eq!(store.kept(&point), Some(deleted.clone()));
    store.try_change(&app("dht"), vec![Change::Drop(point.clone(), deleted.version)]).expect("an open store");
    assert_eq!((store.kept(&point), store.used(&app("dht"))), (None, 0));
}

#[test]
fn a_keyed_record_that_expires_is_remembered_as_deleted_and_forgotten_later() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put_until(at(1), b"a", b"xyz", T0 + 10)]);
    store.wait_for_all();
    let point = Point { key: key(1), name: b"a".to_vec() };
    let version = store.kept(&point).expect("it is there").version;
    store.clock.store(T0 + 11, Ordering::SeqCst);
    store.wait_until(|store| store.used(&app("dht")) == record_bytes(1, 0));
    let expires = Some(T0 + 10 + TOMBSTONE_MS);
    assert_eq!(store.kept(&point), Some(Kept { version, value: None, expires }));
    store.clock.store(T0 + 11 + TOMBSTONE_MS, Ordering::SeqCst);
    store.wait_until(|store| store.used(&app("dht")) == 0);
    assert_eq!(store.kept(&point), None);
}

#[test]
fn entries_come_in_ring_order_and_in_pages_durable_or_not() {
    let store = Harness::new();
    let points: Vec<Point> = [(200, "b"), (200, "c"), (250, "a"), (5, "a"), (5, "b"), (100, "z")]
        .map(|(number, name)| Point { key: key(number), name: name.as_bytes().to_vec() })
        .to_vec();
    for point in points.iter().step_by(2) {
        store.submit(&app("dht"), vec![put(Place::At(point.key), &point.name, b"x")]);
    }
    store.wait_for_all();
    let stall = store.disk().stall();
    for point in points.iter().skip(1).step_by(2) {
        store.submit(&app("dht"), vec![put(Place::At(point.key), &point.name, b"x")]);
    }
    let found = |range, after: Option<&Point>, max| -> Vec<Point> {
        store.entries(range, after, max).into_iter().map(|entry| entry.point).collect()
    };
    let range = Interval::open_closed(key(150), key(100));
    assert_eq!(found(range, None, 99), points);
    for at in 0..points.len() {
        assert_eq!(found(range, Some(&points[at]), 99), points[at + 1..]);
        assert_eq!(found(range, Some(&points[at]), 1), points[at + 1..].iter().take(1).cloned().collect::<Vec<_>>());
    }
    assert_eq!(found(Interval::open_closed(key(199), key(249)), None, 99), points[..2]);
    assert_eq!(found(Interval::open_closed(key(5), key(5)), None, 99).len(), points.len());
    drop(stall);
}

fn whole() -> Interval {
    Interval::open_closed(key(0), key(0))
}

#[test]
fn used_bytes_follow_each_change() {
    let mut store = Harness::new();
    let dht = app("dht");
    store.submit(&dht, vec![put(at(1), b"a", &[0; 100]), put(at(1), b"a", &[0; 10])]);
    assert_eq!(store.used(&dht), record_bytes(1, 10));
    store.submit(&dht, vec![put(at(1), b"bb", &[0; 5]), delete(at(1), b"a"), delete(at(1), b"a")]);
    assert_eq!(store.used(&dht), record_bytes(2, 5));
    store.reopen();
    assert_eq!(store.used(&dht), record_bytes(2, 5));
    assert_eq!(store.used(&app("other")), 0);
}

#[test]
fn a_removed_application_leaves_nothing() {
    let mut store = Harness::new();
    let (dht, other) = (app("dht"), app("other"));
    for number in 0..200 {
        store.submit(&dht, vec![put_until(at(number), b"a", b"x", T0 + 5000), put(at(number), b"b", b"x")]);
    }
    store.submit(&other, vec![put(at(1), b"a", b"mine")]);
    store.remove_app(&dht);
    assert_eq!(store.get(&dht, at(1), b"a"), None);
    assert_eq!(store.used(&dht), 0);
    store.submit(&dht, vec![put(at(3), b"a", b"again")]);
    store.reopen();
    assert_eq!(store.get(&dht, at(3), b"a"), Some(b"again".to_vec()));
    assert_eq!(store.get(&dht, at(1), b"a"), None);
    assert_eq!(store.get(&other, at(1), b"a"), Some(b"mine".to_vec()));
    store.wait_until(|store| store.rows() == 2);
    assert_eq!(store.used(&dht) + store.used(&other), record_bytes(1, 5) + record_bytes(1, 4));
}

#[test]
fn packages_are_kept_and_forgotten() {
    let mut store = Harness::new();
    store.save_package(&app("dht"), b"first");
    store.save_package(&app("dht"), b"second");
    store.save_package(&app("chat"), b"third");
    store.wait_for_all();
    store.remove_package(&app("chat"));
    store.reopen();
    assert_eq!(store.packages(), vec![(app("dht"), Bytes::from_static(b"second"))]);
}

#[test]
fn beyond_its_bound_the_store_refuses_and_stays_whole() {
    let store = Harness::new();
    let stall = store.disk().stall();
    let writes: Vec<_> = (0..=u8::MAX).map(|number| put(at(number), b"a", b"x")).collect();
    let mut taken = 0;
    let refused = loop {
        match store.try_submit(&app("dht"), writes.clone()) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken <= 2 * MAX_QUEUED_WRITES / writes.len(), "the queue has no bound");
    };
    assert_eq!(refused, StoreError::Overloaded);
    // Another one still finds half of the room that is left, less what is being written.
    for _ in 0..taken / 3 {
        assert_eq!(store.try_submit(&app("chat"), writes.clone()), Ok(()));
    }
    drop(stall);
    store.wait_for_all();
    assert_eq!(store.used(&app("dht")), 256 * record_bytes(1, 1));
    assert_eq!(store.try_submit(&app("dht"), writes), Ok(()));
}

#[test]
fn a_failed_sync_makes_the_store_read_only_for_good() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put(at(1), b"a", b"old")]);
    store.wait_for_all();
    store.disk().fail_syncs();
    store.submit(&app("dht"), vec![put(at(1), b"a", b"new")]);
    let error = store.wait_for_failure();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(error.exit_code(), 70);
    assert_ne!(store.get(&app("dht"), at(1), b"a"), Some(b"new".to_vec()), "it never became durable");
    store.disk().heal();
    assert_eq!(store.try_submit(&app("dht"), vec![put(at(1), b"a", b"newer")]), Err(error));
    let after = Harness::on(store.disk().as_after_a_crash());
    assert_eq!(after.get(&app("dht"), at(1), b"a"), Some(b"old".to_vec()));
}

#[test]
fn a_disk_that_cannot_be_read_is_an_error_of_its_own_and_the_end_of_the_store() {
    let store = Harness::new();
    store.submit(&app("dht"), (0..=u8::MAX).map(|number| put(at(number), b"a", &[number; 3000])).collect());
    let disk = store.disk().clone();
    drop(store);
    let store = Harness::try_with(disk, 0).expect("a sound disk");
    assert_eq!(store.get(&app("dht"), at(1), b"a"), Some(vec![1; 3000]));
    store.disk().fail_reads();
    assert_eq!(store.try_get(&app("dht"), at(2), b"a"), Err(prost_contract::Unavailable));
    let error = store.wait_for_failure();
    assert!(error.is_fatal(), "{error}");
    assert_eq!(error.exit_code(), 70);
    assert_eq!(store.damaged(), [], "a disk that fails is no damaged record");
    let again = Harness::on(store.disk().as_after_a_crash());
    assert_eq!(again.get(&app("dht"), at(2), b"a"), Some(vec![2; 3000]));
}

#[test]
fn a_damaged_record_is_not_served() {
    let store = Harness::new();
    let value = [0xa5; 3000];
    store.submit(&app("dht"), vec![put(at(1), b"a", &value), put(at(2), b"a", b"fine")]);
    let disk = store.disk().clone();
    drop(store);
    assert!(disk.flip_a_bit_in(&value[..2900]) > 0, "the value is on the disk");
    // The database may notice by itself, or leave it to the record's checksum.
    if let Ok(store) = Harness::try_on(disk) {
        assert_eq!(store.try_get(&app("dht"), at(1), b"a"), Err(prost_contract::Unavailable));
    }
}

#[test]
fn another_nodes_directory_is_refused_by_name() {
    let disk = Disk::new();
    drop(Harness::on(disk.clone()));
    let error = Store::open_backend(disk, "/data", node(2), Box::new(|_| ()), means()).err();
    let error = error.expect("the store belongs to node 1");
    assert_eq!(error, StoreError::OtherNode { path: "/data".to_owned(), theirs: node(1), ours: node(2) });
    assert_eq!(error.exit_code(), 78);
    assert!(error.to_string().contains(&node(1).to_string()) && error.to_string().contains(&node(2).to_string()));
}

#[test]
fn a_newer_format_is_refused() {
    let disk = Disk::new();
    drop(Harness::on(disk.clone()));
    disk.set_format(7);
    let error = Harness::try_on(disk).err();
    assert_eq!(error, Some(StoreError::NewerFormat { found: 7, known: 2 }));
    assert_eq!(error.map(|error| error.exit_code()), Some(65));
}

#[test]
fn an_older_format_is_refused() {
    let disk = Disk::new();
    drop(Harness::on(disk.clone()));
    disk.set_format(1);
    let error = Harness::try_on(disk).err();
    assert_eq!(error, Some(StoreError::OlderFormat { found: 1, known: 2 }));
    assert_eq!(error.map(|error| error.exit_code()), Some(65));
}

#[test]
fn bytes_that_are_no_store_are_refused() {
    let disk = Disk::new();
    disk.overwrite(&[b'x'; 8192]);
    let error = Harness::try_on(disk).err();
    assert_eq!(error.map(|error| error.exit_code()), Some(65));
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("new/data");
    let data = DataDir::open(&path).expect("a new directory");
    let error = DataDir::open(&path).err();
    let expected = StoreError::Locked { path: path.display().to_string(), pid: Some(std::process::id()) };
    assert_eq!(error, Some(expected));
    assert_eq!(error.map(|error| error.exit_code()), Some(73));
    drop(data);
    let data = DataDir::open(&path).expect("the lock is free again");
    let (sender, commits) = channel();
    let on_commit = Box::new(move |batch: super::Batch| sender.send(batch).expect("the test listens"));
    let store = Store::open(&data, node(1), on_commit).expect("a new store");
    store
        .submit(
            &app("dht"),
            7,
            vec![Change::Node { name: b"a".to_vec(), value: Some((Bytes::from_static(b"x"), None)) }],
        )
        .expect("an open store");
    let batch = commits.recv().expect("the writer answers");
    assert_eq!((batch.commits, batch.result, batch.writes, batch.bytes), (vec![7], Ok(()), 1, 1));
}

#[test]
fn what_a_crash_has_left_of_a_new_store_is_made_anew() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = DataDir::open(dir.path()).expect("a new directory");
    std::fs::write(dir.path().join("store.redb.new"), [0; 70_000]).expect("a file");
    drop(Store::open(&data, node(1), Box::new(|_| ())).expect("nothing of it is used"));
    assert!(!dir.path().join("store.redb.new").exists());
    let error = Store::open(&data, node(2), Box::new(|_| ())).err();
    assert!(matches!(error, Some(StoreError::OtherNode { .. })), "{error:?}");
}

#[test]
fn the_directory_and_its_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("data");
    let data = DataDir::open(&path).expect("a new directory");
    drop(Store::open(&data, node(1), Box::new(|_| ())).expect("a new store"));
    data.write("secret", b"x").expect("a new file");
    data.write("secret", b"y").expect("an old file");
    assert_eq!(std::fs::read(path.join("secret")).ok(), Some(b"y".to_vec()));
    let mode = |path: &std::path::Path| std::fs::metadata(path).map(|found| found.permissions().mode() & 0o777).ok();
    assert_eq!(mode(&path), Some(0o700));
    for file in ["store.redb", "secret", "lock"] {
        assert_eq!(mode(&path.join(file)), Some(0o600), "{file}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let error = DataDir::open(std::path::Path::new("/proc/no/such")).err();
    assert_eq!(error.as_ref().map(StoreError::exit_code), Some(73));
    assert!(error.is_some_and(|error| error.to_string().contains("/proc/no/such")));
}
