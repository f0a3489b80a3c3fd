//! What the disk of a simulated node promises.

use prost_contract::Kept;

use super::*;

fn app() -> AppId {
    AppId { provider: [7; 32], name: "dht".parse().unwrap() }
}

fn key(first: u8) -> Key {
    let mut bytes = [0; Id::LEN];
    bytes[0] = first;
    Id::from_bytes(bytes)
}

fn change(place: Place, name: &str, value: Option<&str>, expires: Option<u64>) -> Change {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    match place {
        Place::Node => Change::Node { name: name.as_bytes().to_vec(), value: value.map(|value| (value, expires)) },
        Place::At(key) => {
            let version = Version { at: 1, node: Id::ZERO };
            Change::Keep(Point { key, name: name.as_bytes().to_vec() }, Kept { version, value, expires })
        }
    }
}

fn put(store: &mut Store, at: u64, name: &str, value: Option<&str>) {
    store.submit(Time::from_micros(at), 0, &app(), vec![change(Place::Node, name, value, None)]);
}

fn get(store: &Store, name: &str) -> Option<Bytes> {
    store.records(&app(), 0).get(Place::Node, name.as_bytes()).unwrap()
}

#[test]
fn a_crash_takes_back_what_is_not_durable_and_nothing_else() {
    let mut store = Store::default();
    put(&mut store, 10, "a", Some("one"));
    put(&mut store, 20, "a", Some("two"));
    put(&mut store, 30, "b", Some("new"));
    put(&mut store, 30, "a", None);
    assert_eq!((get(&store, "a"), get(&store, "b")), (None, Some(Bytes::from_static(b"new"))));
    store.crash(Time::from_micros(20));
    assert_eq!((get(&store, "a"), get(&store, "b")), (Some(Bytes::from_static(b"two")), None));
    assert_eq!(store.used(&app()), record_bytes(1, 3));
    store.crash(Time::from_micros(99));
    assert_eq!(get(&store, "a"), Some(Bytes::from_static(b"two")));
}

#[test]
fn what_has_expired_is_not_seen_and_goes_with_the_next_write() {
    let mut store = Store::default();
    store.submit(Time::ZERO, 0, &app(), vec![change(Place::Node, "n", Some("v"), Some(1_000))]);
    let live = |now_ms| store.records(&app(), now_ms).get(Place::Node, b"n").unwrap().is_some();
    assert_eq!((live(999), live(1_000)), (true, false));
    assert_eq!(store.used(&app()), record_bytes(1, 1));
    store.submit(Time::ZERO, 1_000, &app(), vec![change(Place::Node, "m", Some("v"), None)]);
    assert_eq!(store.used(&app()), record_bytes(1, 1));
    assert_eq!(store.records(&app(), 0).names(Place::Node, b"", None, 9).unwrap(), [b"m".to_vec()]);
}

#[test]
fn names_come_in_order_and_in_pages() {
    let mut store = Store::default();
    ["b", "ab", "aa", "c", "ac"].iter().for_each(|name| put(&mut store, 0, name, Some("v")));
    let records = store.records(&app(), 0);
    let names = |prefix: &str, after: Option<&str>, max| {
        let names = records.names(Place::Node, prefix.as_bytes(), after.map(str::as_bytes), max).unwrap();
        names.into_iter().map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(names("a", None, 9), ["aa", "ab", "ac"]);
    assert_eq!(names("a", Some("aa"), 1), ["ab"]);
    assert_eq!(names("a", Some("b"), 9), Vec::<String>::new());
    assert_eq!(names("b", Some("a"), 9), ["b"]);
}

#[test]
fn keys_come_in_the_order_of_the_ring_as_a_naive_walk_gives_them() {
    let mut store = Store::default();
    let held = [3, 5, 7, 200, 250];
    let writes = held.iter().map(|first| change(Place::At(key(*first)), "n", Some("v"), None)).collect();
    store.submit(Time::ZERO, 0, &app(), writes);
    let records = store.records(&app(), 0);
    for (start, end) in (0..=255).step_by(3).flat_map(|start| (1..=255).step_by(7).map(move |end| (start, end))) {
        let range = Interval::open_closed(key(start), key(end));
        let walk = (1..=256).map(|step| (u16::from(start) + step) as u8).filter(|first| held.contains(first));
        let naive: Vec<Key> = walk.map(key).filter(|key| range.contains(*key)).collect();
        assert_eq!(records.keys(range, None, 99).unwrap(), naive, "({start}, {end}]");
        for (at, after) in naive.iter().enumerate() {
            assert_eq!(records.keys(range, Some(*after), 99).unwrap(), naive[at + 1..], "({start}, {end}]");
        }
        assert_eq!(records.keys(range, None, 2).unwrap(), naive[..naive.len().min(2)]);
    }
}
