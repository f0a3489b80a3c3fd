//! Bits that flip on the disk: the record is noticed, not served, not compared, and writable again.

use bytes::Bytes;
use prost_contract::{Change, Kept, Place, Point, Unavailable, Version};
use prost_kbr::{Id, Interval};

use super::disk::Disk;
use super::support::{Harness, app, at, key, node, put};

/// Bytes of a stored keyed record before its value: expiry, checksum, version, its node, and whether a value is there.
const HEAD: usize = 8 + 8 + 8 + 20 + 1;

fn whole() -> Interval {
    let highest = Id::from_bytes([u8::MAX; Id::LEN]);
    Interval::open_closed(highest, highest)
}

fn value(number: u8) -> Vec<u8> {
    vec![number ^ 0xa5; 300]
}

fn point(number: u8) -> Point {
    Point { key: key(number), name: b"a".to_vec() }
}

fn kept(at: u64, number: u8) -> Kept {
    Kept { version: Version { at, node: node(1) }, value: Some(Bytes::from(value(number))), expires: None }
}

/// A closed store with a few keyed records.
fn some() -> Disk {
    let store = Harness::new();
    for number in 1..=100 {
        let change = Change::Keep(point(number), kept(7, number));
        store.try_change(&app("dht"), vec![change]).expect("an open store");
    }
    store.disk().clone()
}

#[test]
fn a_flipped_bit_anywhere_in_a_keyed_record_is_noticed_and_a_copy_heals_it() {
    let whole_sum = Harness::on(some()).sum(whole());
    // Expiry, checksum, version, the version's node, the mark of deletion, the value.
    for place in [0, 7, 9, 17, 23, 30, HEAD - 1, HEAD, HEAD + 299] {
        let disk = some();
        assert!(disk.flip_a_bit_near(&value(50), place as isize - HEAD as isize) > 0, "the value is on the disk");
        let store = Harness::on(disk);
        assert_eq!(store.damaged(), [point(50)], "byte {place} is noticed at the start");
        assert_eq!(store.try_get(&app("dht"), at(50), b"a"), Err(Unavailable));
        assert_eq!(store.kept(&point(50)), None);
        assert_eq!(store.sum(whole()).count, 99);
        assert_eq!(store.entries(whole(), None, 200).len(), 99);
        assert_eq!(store.get(&app("dht"), at(51), b"a"), Some(value(51)));
        let used = store.used(&app("dht"));
        // An older version will do: what was here is lost.
        store.try_change(&app("dht"), vec![Change::Keep(point(50), kept(7, 50))]).expect("an open store");
        assert_eq!((store.damaged(), store.used(&app("dht"))), (vec![], used));
        assert_eq!(store.sum(whole()), whole_sum);
        store.wait_for_all();
        assert_eq!(store.get(&app("dht"), at(50), b"a"), Some(value(50)));
        assert_eq!(Harness::on(store.disk().as_after_a_crash()).damaged(), []);
    }
}

#[test]
fn a_bit_that_flips_while_the_store_is_open_is_found_by_whatever_reads_the_record() {
    type Read = fn(&Harness);
    let reads: [(&str, Read); 6] = [
        ("a handler", |store| drop(store.try_get(&app("dht"), at(50), b"a"))),
        ("a handler that lists names", |store| drop(store.try_names(at(50)))),
        ("a comparison record by record", |store| drop(store.entries(whole(), None, 200))),
        ("a comparison that cuts a leaf", |store| {
            store.sum(Interval::open_closed(key(49), key(51)));
        }),
        ("a copy", |store| drop(store.kept(&point(50)))),
        ("a check", |store| drop(store.check(None, 1000))),
    ];
    for (reader, read) in reads {
        let store = Harness::on(some());
        let before = store.sum(whole());
        store.corrupt(&point(50));
        assert_eq!(store.damaged(), [], "nobody has read it");
        assert_eq!(store.sum(whole()), before);
        read(&store);
        assert_eq!(store.damaged(), [point(50)], "{reader}");
        assert_eq!(store.sum(whole()).count, before.count - 1, "{reader}");
        assert_eq!(store.try_names(at(50)), Err(Unavailable), "{reader}");
    }
}

#[test]
fn a_write_over_a_damaged_record_that_nobody_has_read_leaves_right_sums() {
    let store = Harness::on(some());
    store.corrupt(&point(50));
    store.try_change(&app("dht"), vec![Change::Keep(point(50), kept(3, 50))]).expect("an open store");
    let expected = Harness::new();
    for number in 1..=100 {
        let at = if number == 50 { 3 } else { 7 };
        expected.try_change(&app("dht"), vec![Change::Keep(point(number), kept(at, number))]).expect("an open store");
    }
    assert_eq!(store.sum(whole()), expected.sum(whole()));
}

#[test]
fn a_record_that_was_written_in_the_place_of_another_is_damaged() {
    let store = Harness::on(some());
    store.misdirect(&point(51), &point(50));
    assert_eq!(store.try_get(&app("dht"), at(50), b"a"), Err(Unavailable));
    assert_eq!(store.damaged(), [point(50)]);
    assert_eq!(store.get(&app("dht"), at(51), b"a"), Some(value(51)));
}

#[test]
fn a_check_goes_through_all_records_in_pages() {
    let store = Harness::on(some());
    store.corrupt(&point(3));
    store.corrupt(&point(99));
    let (mut after, mut records, mut pages) = (None, 0, 0);
    loop {
        let checked = store.check(after.as_ref(), 30);
        (records, pages) = (records + checked.records, pages + 1);
        after = checked.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((records, pages), (100, 4));
    assert_eq!(store.damaged(), [point(3), point(99)]);
}

#[test]
fn a_damaged_record_of_the_node_alone_is_an_error_until_it_is_written_again() {
    let store = Harness::new();
    store.submit(&app("dht"), vec![put(Place::Node, b"a", &value(1)), put(Place::Node, b"b", b"fine")]);
    let disk = store.disk().clone();
    drop(store);
    assert!(disk.flip_a_bit_near(&value(1), 9) > 0, "the value is on the disk");
    let store = Harness::on(disk);
    assert_eq!(store.try_get(&app("dht"), Place::Node, b"a"), Err(Unavailable));
    assert_eq!(store.try_names(Place::Node), Err(Unavailable), "a list may not pass it over");
    assert_eq!(store.get(&app("dht"), Place::Node, b"b"), Some(b"fine".to_vec()));
    store.submit(&app("dht"), vec![put(Place::Node, b"a", b"new")]);
    assert_eq!(store.get(&app("dht"), Place::Node, b"a"), Some(b"new".to_vec()));
    assert_eq!(store.try_names(Place::Node), Ok(vec![b"a".to_vec(), b"b".to_vec()]));
}
