use prost_contract::Version;
use prost_kbr::{Id, Key, NodeId};

use super::*;

const NOW_MS: u64 = 1_800_000_000_000;

fn entry(key: u8, age_ms: u64) -> Entry {
    let mut bytes = [0; Id::LEN];
    bytes[0] = key;
    let version = Version { at: (NOW_MS - age_ms) << 16, node: Id::ZERO };
    Entry { point: Point { key: Key::from_bytes(bytes), name: b"piece".to_vec() }, version }
}

/// What a comparison of code does next, after both sides have said what they have, and whether this one takes more.
fn compared(takes: bool, theirs: Vec<Entry>, ours: Vec<Entry>) -> (Session, Do) {
    let shelf = AppId { provider: [1; 32], name: ".echo".parse().expect("a name") };
    let peer = Peer { id: NodeId::from_bytes([9; Id::LEN]), addr: ([127, 0, 0, 1], 1).into() };
    let range = Interval::open_closed(Id::ZERO, Id::ZERO);
    let (mut session, _) = Session::new(peer, range, Mode::BOTH, Some([shelf.clone()].into()));
    let sum = |count, digest| vec![(shelf.clone(), Sum { count, digest: [digest; 16] })];
    session.on(Got::Tell(Tell::Summary(sum(1, 1))), NOW_MS);
    let needed = session.on(Got::Found(Found::Summary(sum(1, 2))), NOW_MS);
    assert_eq!(needed, Do::Need(shelf.clone()));
    let asked = session.on(Got::Ready(takes), NOW_MS);
    assert!(matches!(asked, Do::Ask(Ask::Entries { .. })), "{asked:?}");
    session.on(Got::Tell(Tell::Entries { entries: theirs, more: false }), NOW_MS);
    let next = session.on(Got::Found(Found::Entries { entries: ours, more: false }), NOW_MS);
    (session, next)
}

#[test]
fn a_full_store_of_code_gives_what_it_has_and_takes_nothing() {
    let (mut session, next) = compared(false, vec![entry(1, 5)], vec![entry(2, 5)]);
    assert!(matches!(&next, Do::Look(Look::Records { points, .. }) if points[0] == entry(2, 5).point), "{next:?}");
    assert!(matches!(session.on(Got::Found(Found::Records(Vec::new())), NOW_MS), Do::End(true)));
    let (mut session, next) = compared(true, vec![entry(1, 5)], vec![entry(2, 5)]);
    assert!(matches!(next, Do::Look(_)));
    let next = session.on(Got::Found(Found::Records(Vec::new())), NOW_MS);
    assert!(matches!(&next, Do::Ask(Ask::Records { points, .. }) if points[0] == entry(1, 5).point), "{next:?}");
}

#[test]
fn of_code_that_is_a_day_old_nothing_moves() {
    let old = 24 * 3600 * 1000;
    let (_, next) = compared(true, vec![entry(1, old)], vec![entry(2, old)]);
    assert_eq!(next, Do::End(true));
    let (_, next) = compared(true, vec![entry(1, old - 1)], vec![entry(2, old)]);
    assert!(matches!(next, Do::Ask(Ask::Records { .. })), "{next:?}");
}
