mod net;

use core::time::Duration;

use prost_p2ptv_api::Segment;
use prost_peerlet::NodeId;

use crate::message::{CHANNEL, Repair};
use crate::segment::Signed;
use net::{Net, channel};

/// All nodes watch, the first of them streams. The source, and each receiver with its program.
fn all_watch(net: &mut Net) -> (NodeId, u64, Vec<(NodeId, u64)>) {
    let ids = net.ids();
    let watchers = ids.iter().map(|id| (*id, net.watch(*id, 1))).collect();
    net.run(seconds(3));
    // Not the root, so that the way there is part of what is tested.
    let source = ids.into_iter().find(|id| *id != net.owner(channel())).expect("more than one node");
    let opened = net.open(source).expect("opened");
    assert_eq!(opened.source, source);
    (source, opened.stream, watchers)
}

fn all(upto: u64) -> Vec<u64> {
    (0..upto).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn each_receiver_gets_each_segment_once_and_in_order() {
    let mut net = Net::of(12);
    let (source, stream, watchers) = all_watch(&mut net);
    net.stream(source, stream, 0..10, true);
    net.run(seconds(2));
    for (id, watcher) in watchers {
        assert_eq!(net.seen(id, watcher), all(10));
        let stats = net.stats(id);
        assert_eq!((stats.counts.segments, stats.counts.duplicates, stats.counts.lost), (10, 0, 0), "{stats:?}");
        assert!(stats.ended && stats.children <= 8);
        assert_eq!(stats.parent.is_none(), id == net.owner(channel()));
    }
}

#[test]
fn what_the_network_loses_is_asked_for_again() {
    let mut net = Net::of(12);
    let (source, stream, watchers) = all_watch(&mut net);
    let mut count = 0u32;
    // One of five messages of whatever kind.
    net.loses = Box::new(move |from, to, _| {
        count += u32::from(from != to);
        from != to && count.is_multiple_of(5)
    });
    net.stream(source, stream, 0..20, true);
    net.run(seconds(12));
    for (id, watcher) in watchers {
        assert_eq!(net.seen(id, watcher), all(20), "{:?}", net.stats(id));
        assert_eq!(net.stats(id).counts.lost, 0);
    }
}

#[test]
fn the_stream_goes_on_when_relays_die_and_when_the_root_does() {
    for kill_root in [false, true] {
        let mut net = Net::of(16);
        let (source, stream, mut watchers) = all_watch(&mut net);
        net.stream(source, stream, 0..6, false);
        let root = net.owner(channel());
        let is_relay = |id: &NodeId| *id != source && (*id == root) == kill_root && net.stats(*id).children > 0;
        let victim = net.ids().into_iter().find(is_relay).expect("somebody passes it on");
        net.kill(victim);
        watchers.retain(|(id, _)| *id != victim);
        net.stream(source, stream, 6..30, true);
        net.run(seconds(10));
        for (id, watcher) in watchers {
            assert_eq!(net.seen(id, watcher), all(30), "{id}: {:?}", net.stats(id));
        }
    }
}

#[test]
fn who_joins_late_begins_a_little_before_the_newest_and_who_leaves_is_forgotten() {
    let mut net = Net::of(12);
    let source = net.ids()[0];
    let opened = net.open(source).expect("opened");
    net.stream(source, opened.stream, 0..10, false);
    let late = net.ids()[5];
    let watcher = net.watch(late, 4);
    net.stream(source, opened.stream, 10..14, true);
    net.run(seconds(3));
    let seen = net.seen(late, watcher);
    assert!((6..=8).contains(&seen[0]), "{seen:?}");
    assert_eq!(seen, (seen[0]..14).collect::<Vec<_>>());
    let leave = prost_p2ptv_api::Leave { watcher };
    net.ask(late, prost_p2ptv_api::LEAVE, &prost_p2ptv_api::encode(&leave)).expect("it is taken");
    net.run(seconds(40));
    assert_eq!(net.stats(late).buffered, 0);
    for id in net.ids() {
        assert_eq!((net.stats(id).children, net.stats(id).parent), (0, None), "{id} is in the tree still");
    }
}

#[test]
fn a_channel_is_of_who_streams_first_and_what_another_makes_up_is_dropped() {
    let mut net = Net::of(8);
    let (source, stream, watchers) = all_watch(&mut net);
    net.stream(source, stream, 0..3, false);
    let other = net.ids().into_iter().find(|id| *id != source).expect("another");
    let refused = net.open(other).expect_err("it is another's");
    assert!(refused.contains("belongs to another source"), "{refused}");

    let (victim, watcher) = watchers[3];
    let before = net.stats(victim);
    for forged in forgeries(&mut net, other, source, stream) {
        let give = Repair::Give { channel: channel(), segment: forged.into() };
        let payload = [&[CHANNEL], prost_p2ptv_api::encode(&give).as_slice()].concat();
        net.nodes.get_mut(&victim).expect("it is there").deliver(other, &payload).expect("passed over");
    }
    let after = net.stats(victim);
    assert_eq!((after.counts.segments, after.counts.forged), (before.counts.segments, before.counts.forged + 3));
    net.stream(source, stream, 3..5, true);
    net.run(seconds(2));
    assert_eq!(net.seen(victim, watcher), all(5));
}

/// Segments that the source has not signed: another's, one that says to be the source's, one of another channel.
fn forgeries(net: &mut Net, other: NodeId, source: NodeId, stream: u64) -> Vec<Vec<u8>> {
    let segment = Segment { stream, number: 3, sent_ms: 0, duration_ms: 500, last: true, data: vec![1].into() };
    let node = net.nodes.get_mut(&other).expect("it is there");
    let mut forged =
        node.act(|_| vec![Signed::new(channel(), other, &segment), Signed::new(channel(), source, &segment)]);
    let elsewhere = prost_p2ptv_api::channel("another");
    forged.extend(net.nodes.get_mut(&source).map(|node| node.act(|_| Signed::new(elsewhere, source, &segment))));
    forged.iter().map(prost_p2ptv_api::encode).collect()
}

#[test]
fn a_new_stream_takes_the_place_of_the_old() {
    let mut net = Net::of(8);
    let (source, stream, watchers) = all_watch(&mut net);
    net.stream(source, stream, 0..4, true);
    let again = net.open(source).expect("opened again").stream;
    assert!(again > stream);
    net.stream(source, again, 0..3, true);
    net.run(seconds(3));
    for (id, watcher) in watchers {
        assert_eq!(net.seen(id, watcher), [all(4), all(3)].concat());
    }
}

#[test]
fn a_source_waits_while_the_root_takes_nothing() {
    let mut net = Net::of(8);
    let (source, stream, _) = all_watch(&mut net);
    net.loses = Box::new(move |from, to, payload| from == source && to != source && payload.len() > 500);
    let mut fed = 0;
    while fed < 60 && net.try_feed(source, stream, fed) {
        fed += 1;
    }
    assert!((20..40).contains(&fed), "{fed}");
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut net = Net::of(4);
    let (source, stream, watchers) = all_watch(&mut net);
    net.stream(source, stream, 0..3, false);
    let (id, watcher) = watchers[1];
    let many = Repair::Want { channel: channel(), stream, numbers: (0..100).collect(), from: None, rewind: 0 };
    let far =
        Repair::Want { channel: channel(), stream, numbers: vec![u64::MAX; 3], from: Some(u64::MAX), rewind: u32::MAX };
    let gone = Repair::Gone { channel: channel(), stream, numbers: vec![0, 1, u64::MAX] };
    let said = [many, far, gone].map(|said| [&[CHANNEL], prost_p2ptv_api::encode(&said).as_slice()].concat());
    let junk = [vec![], vec![CHANNEL], vec![CHANNEL, 0xff], vec![0; 9], vec![CHANNEL + 1], vec![CHANNEL + 2, 1]];
    for payload in said.iter().chain(&junk) {
        net.nodes.get_mut(&id).expect("it is there").deliver(source, payload).expect("passed over");
    }
    for (method, body) in [("feed", &b""[..]), ("next", b"\x81\x01"), ("fly", b""), ("open", b"\xff")] {
        net.ask(id, method, body).expect_err("it is no question");
    }
    net.stream(source, stream, 3..5, true);
    net.run(seconds(3));
    assert_eq!(net.seen(id, watcher), all(5));
}
