//! The rules against hand-made pictures of rings, and the picture against a naive model.

use std::time::Duration;

use prost_kbr::{Envelope, Failure, Id, Interval, Message, NodeId, Outcome, Peer, Purpose, Routed, Time};
use prost_sim::Index;
use prost_sim::random::Random;
use prost_sim::rule::{Broken, Judge, Limits, Picture, Reason, SETTLED, Seat};
use prost_sim::world::Seen;

const LIMITS: Limits = Limits { successors: 2, predecessors: 2, max_hops: 8, deadline: Duration::from_secs(15) };

/// The id of a node: its number is its place on the ring.
fn id(place: u32) -> NodeId {
    let mut bytes = [0; Id::LEN];
    bytes[..4].copy_from_slice(&place.to_be_bytes());
    Id::from_bytes(bytes)
}

fn ids(places: &[u32]) -> Vec<NodeId> {
    places.iter().map(|place| id(*place)).collect()
}

/// An instant long after the ring of [`judge`] has settled.
fn at(seconds: u64) -> Time {
    Time::from_micros((seconds + 100) * 1_000_000)
}

fn seat(place: u32, predecessors: &[u32], successors: &[u32]) -> Seat {
    Seat {
        id: id(place),
        joined: true,
        successors: ids(successors),
        predecessors: ids(predecessors),
        ..Seat::default()
    }
}

/// The nodes' true seats in a ring of these places.
fn ideal(places: &[u32]) -> Vec<(Index, Option<Seat>)> {
    let count = places.len();
    let around = |at: usize, step: usize| {
        let far = (1..=2.min(count - 1)).map(move |far| (at + far * step) % count);
        far.map(|at| places[at]).collect::<Vec<u32>>()
    };
    let all = (0..count).map(|at| (places[at], Some(seat(places[at], &around(at, count - 1), &around(at, 1)))));
    all.collect()
}

const RING: [u32; 6] = [10, 20, 30, 40, 50, 60];

/// A judge that has seen the ideal ring of [`RING`] long ago.
fn judge() -> Judge {
    settled(LIMITS)
}

fn settled(limits: Limits) -> Judge {
    let mut judge = Judge::new(limits);
    judge.update(Time::ZERO, ideal(&RING), &[]);
    assert!(!judge.assumption().holds());
    judge.update(Time::ZERO + SETTLED, vec![], &[]);
    assert!(judge.assumption().holds() && judge.broken().is_empty());
    judge
}

/// The first part of the names of the rules that are broken.
fn broken(judge: &Judge) -> Vec<String> {
    let number = |broken: &Broken| broken.rule.split(' ').next().unwrap_or_default().to_owned();
    judge.broken().iter().map(number).collect()
}

fn set(judge: &mut Judge, seconds: u64, node: Index, seat: Seat) {
    judge.update(at(seconds), vec![(node, Some(seat))], &[]);
}

fn answer(request: u64, node: Index, owner: u32) -> Seen {
    let result = Ok(Peer { id: id(owner), addr: ([10, 0, 0, 1], 1).into() });
    let outcome = Outcome { result, hops: 1, ..Outcome::failed(request, Purpose::Lookup, Failure::Deadline) };
    Seen::LookedUp { node, request, outcome }
}

#[test]
fn an_ideal_ring_breaks_no_rule() {
    let mut judge = judge();
    judge.demand_ideal(Some(at(2)));
    judge.update(at(3), ideal(&RING), &[]);
    assert_eq!(broken(&judge), Vec::<String>::new());
    assert!(judge.is_ideal());
}

#[test]
fn lists_that_are_long_out_of_order_or_name_the_node_itself_are_not_well_formed() {
    let bad = [
        seat(10, &[60, 50], &[20, 30, 40]),
        seat(10, &[60, 50, 40], &[20, 30]),
        seat(10, &[60, 50], &[30, 20]),
        seat(10, &[60, 50], &[20, 20]),
        seat(10, &[50, 60], &[20, 30]),
        seat(10, &[60, 50], &[20, 10]),
    ];
    for seat in bad {
        let mut judge = judge();
        set(&mut judge, 2, 10, seat.clone());
        assert!(broken(&judge).contains(&"R1".to_owned()), "{seat:?}");
    }
}

#[test]
fn a_member_that_loses_its_live_successors_without_a_failure_breaks_a_rule() {
    let mut judge = judge();
    set(&mut judge, 2, 10, seat(10, &[60, 50], &[]));
    assert_eq!(broken(&judge), ["R2", "R10"]);
    assert_eq!(judge.broken()[0].node, Some(10));
}

#[test]
fn what_is_under_way_to_a_node_counts_as_what_it_has() {
    let judge = judge();
    assert!(judge.may_lose(&[20, 40], &[]));
    assert!(judge.may_lose(&[20, 40], &[(10, ids(&[20, 30]))]));
    assert!(!judge.may_lose(&[20, 40], &[(10, ids(&[20, 40]))]), "10 would have no one");
    assert!(judge.may_lose(&[10, 30, 50], &[]), "three are left, and nobody skips one");
    assert!(!judge.may_lose(&[10, 30, 50], &[(20, ids(&[30, 60]))]), "40 would be skipped");
}

#[test]
fn a_failure_that_takes_the_last_live_successor_breaks_the_assumption_and_no_rule() {
    let mut judge = judge();
    assert!(!judge.may_lose(&[20, 30], &[]) && judge.may_lose(&[20], &[]));
    judge.update(at(2), vec![(20, None), (30, None)], &[]);
    assert_eq!(broken(&judge), Vec::<String>::new());
    assert_eq!(judge.assumption().reason(), Some(Reason::Failures));
}

#[test]
fn lists_that_skip_too_many_members_leave_too_few_principals() {
    let mut judge = judge();
    set(&mut judge, 2, 10, seat(10, &[60, 50], &[30, 40]));
    set(&mut judge, 3, 20, seat(20, &[10, 60], &[40, 50]));
    set(&mut judge, 4, 30, seat(30, &[20, 10], &[50, 60]));
    assert_eq!((broken(&judge), judge.picture().principals()), (vec!["R10".to_owned()], 3));
    set(&mut judge, 5, 40, seat(40, &[30, 20], &[60, 10]));
    assert_eq!(broken(&judge), ["R10", "R3"]);
}

#[test]
fn a_live_member_that_is_declared_dead_breaks_the_assumption() {
    let mut judge = judge();
    let dropped = Seat { declared_dead: 1, ..seat(10, &[60, 50], &[30, 40]) };
    set(&mut judge, 2, 10, dropped);
    assert_eq!(judge.assumption().reason(), Some(Reason::FalseDeath));
    assert_eq!((judge.tally().false_deaths, judge.tally().held_us), (1, 87_000_000));
    judge.update(at(3), ideal(&RING), &[]);
    judge.update(at(10), ideal(&RING), &[]);
    assert!(!judge.assumption().holds(), "old news may still be under way");
    judge.update(at(18), vec![], &[]);
    assert!(judge.assumption().held_since(at(18)) && !judge.assumption().held_since(at(17)));
}

#[test]
fn a_ring_that_is_not_ideal_in_time_breaks_a_rule() {
    for flawed in [seat(10, &[60, 50], &[20]), seat(10, &[60], &[20, 30]), Seat { id: id(10), ..Seat::default() }] {
        let mut judge = judge();
        judge.demand_ideal(Some(at(5)));
        set(&mut judge, 4, 10, flawed.clone());
        assert_eq!(broken(&judge), Vec::<String>::new());
        judge.update(at(5), vec![], &[]);
        assert_eq!(broken(&judge), ["R4"], "{flawed:?}");
    }
}

#[test]
fn two_rings_side_by_side_are_not_one() {
    let mut judge = Judge::new(LIMITS);
    let both: Vec<_> = ideal(&[10, 30, 50, 70]).into_iter().chain(ideal(&[20, 40, 60, 80])).collect();
    judge.demand_ideal(Some(at(1)));
    judge.update(at(1), both, &[]);
    assert_eq!(broken(&judge), ["R4"]);
    assert!(!judge.assumption().holds());
}

#[test]
fn a_lookup_that_never_ends_breaks_a_rule_unless_its_node_dies_or_is_excused() {
    let mut judge = judge();
    judge.asked(at(1), 1, 10, id(15));
    judge.asked(at(1), 2, 20, id(15));
    judge.asked(at(1), 3, 30, id(15));
    judge.update(at(2), vec![(20, None)], &[answer(1, 10, 20)]);
    judge.excuse(30, at(25));
    judge.update(at(19), vec![], &[]);
    assert_eq!(broken(&judge), Vec::<String>::new());
    assert_eq!((judge.tally().orphaned, judge.tally().answered, judge.open_lookups()), (1, 1, 1));
    judge.update(at(43), vec![], &[]);
    assert_eq!(broken(&judge), ["R6"]);
}

#[test]
fn a_lookup_that_ends_twice_breaks_a_rule() {
    let mut judge = judge();
    judge.asked(at(1), 1, 10, id(15));
    judge.update(at(2), vec![], &[answer(1, 10, 20)]);
    assert_eq!(broken(&judge), Vec::<String>::new());
    judge.update(at(3), vec![], &[answer(1, 10, 20)]);
    assert_eq!(broken(&judge), ["R6"]);
}

#[test]
fn an_answer_that_was_never_true_breaks_a_rule() {
    let mut judge = judge();
    judge.asked(at(20), 1, 10, id(15));
    judge.update(at(21), vec![], &[answer(1, 10, 30)]);
    assert_eq!((broken(&judge), judge.tally().correct), (vec!["R7".to_owned()], 0));
}

#[test]
fn an_answer_may_name_the_owner_before_or_after_a_death() {
    for owner in [20, 30] {
        let mut judge = judge();
        judge.asked(at(20), 1, 10, id(15));
        judge.update(at(21), vec![(20, None)], &[]);
        judge.update(at(22), vec![], &[answer(1, 10, owner)]);
        assert_eq!((broken(&judge), judge.tally().correct), (vec![], 1));
    }
}

#[test]
fn an_answer_may_overlook_a_member_that_has_just_joined_and_longer_one_that_stands_still() {
    for (excused, known, overlooked) in [(false, 29, 31), (true, 79, 81)] {
        let mut judge = judge();
        set(&mut judge, 20, 17, seat(17, &[10, 60], &[20, 30]));
        if excused {
            judge.excuse(17, at(60));
        }
        judge.asked(at(known), 1, 10, id(15));
        judge.update(at(known + 1), vec![], &[answer(1, 10, 20)]);
        assert_eq!((broken(&judge), judge.tally().correct), (vec![], 0));
        judge.asked(at(overlooked), 2, 10, id(15));
        judge.update(at(overlooked + 1), vec![], &[answer(2, 10, 20)]);
        assert_eq!(broken(&judge), ["R7"]);
    }
}

#[test]
fn a_failed_lookup_is_no_wrong_answer() {
    let mut judge = judge();
    judge.asked(at(20), 1, 10, id(15));
    let outcome = Outcome::failed(1, Purpose::Lookup, Failure::Deadline);
    judge.update(at(35), vec![], &[Seen::LookedUp { node: 10, request: 1, outcome }]);
    assert_eq!((broken(&judge), judge.tally().failed), (vec![], 1));
}

#[test]
fn a_finger_or_predecessor_that_was_never_met_breaks_a_rule_at_once_and_a_successor_after_a_while() {
    for unmet in [40, 60] {
        let mut judge = judge();
        let stranger = Seat { fingers: ids(&[40]), unmet: ids(&[unmet]), ..seat(10, &[60, 50], &[20, 30]) };
        set(&mut judge, 2, 10, stranger);
        assert_eq!(broken(&judge), ["R8"]);
    }
    let mut judge = judge();
    let hearsay = Seat { unmet: ids(&[20]), ..seat(10, &[60, 50], &[20, 30]) };
    set(&mut judge, 2, 10, hearsay.clone());
    set(&mut judge, 32, 10, hearsay.clone());
    assert_eq!(broken(&judge), Vec::<String>::new());
    set(&mut judge, 33, 10, hearsay);
    assert_eq!(broken(&judge), ["R8"]);
}

#[test]
fn a_nearer_successor_that_was_never_met_breaks_a_rule_at_once() {
    let mut judge = judge();
    set(&mut judge, 2, 10, Seat { unmet: ids(&[15]), ..seat(10, &[60, 50], &[15, 20]) });
    assert_eq!(broken(&judge), ["R8"]);
}

#[test]
fn a_newcomer_with_a_list_of_one_breaks_a_rule() {
    for (successors, rules) in [(&[20, 30][..], &[][..]), (&[20], &["R1"])] {
        let mut judge = judge();
        set(&mut judge, 2, 17, seat(17, &[], successors));
        assert_eq!(broken(&judge), rules);
    }
}

#[test]
fn a_live_neighbour_is_given_up_for_a_nearer_one_alone_or_where_it_is_taken_for_dead() {
    let dead = Seat { declared_dead: 1, ..seat(10, &[50, 40], &[20, 30]) };
    let nearer = seat(10, &[65, 60], &[15, 20]);
    for (seat, rules) in [(seat(10, &[50, 40], &[20, 30]), &["R10"][..]), (nearer, &[]), (dead, &[])] {
        let mut judge = judge();
        set(&mut judge, 2, 10, seat);
        assert_eq!(broken(&judge), rules);
    }
}

#[test]
fn a_false_death_breaks_a_rule_where_nothing_is_disturbed() {
    for (calm, rules) in [(true, &["R9"][..]), (false, &[])] {
        let mut judge = judge();
        judge.calm(calm);
        judge.update(at(40), vec![], &[]);
        set(&mut judge, 41, 10, Seat { declared_dead: 1, ..seat(10, &[60, 50], &[30, 40]) });
        assert_eq!(broken(&judge), rules);
    }
}

#[test]
fn tables_beyond_their_bound_break_a_rule() {
    let mut judge = judge();
    set(&mut judge, 2, 10, Seat { connections: 1000, ..seat(10, &[60, 50], &[20, 30]) });
    assert_eq!(broken(&judge), ["H2"]);
}

fn hop(hops: u8) -> Message {
    let origin = Peer { id: id(10), addr: ([10, 0, 0, 1], 1).into() };
    let envelope = Envelope {
        id: 7,
        origin,
        key: Some(id(45)),
        purpose: Purpose::Lookup,
        hops,
        remaining_ms: 1000,
        refused: Vec::new(),
        via: Vec::new(),
        path: None,
    };
    Message::Route { seq: 1, routed: Routed { envelope, header: Default::default(), payload: Default::default() } }
}

/// What the judge says of these hops: from, to, and the count that the frame carries.
fn hops(ways: &[(Index, Index, u8)]) -> Vec<Broken> {
    let mut judge = judge();
    let mut observer = judge.observer();
    for (from, to, hops) in ways {
        observer(at(40), *from, *to, &hop(*hops));
    }
    judge.update(at(40), vec![], &[]);
    judge.broken().to_vec()
}

#[test]
fn a_message_may_take_a_hop_again_another_way_and_set_out_twice() {
    assert_eq!(hops(&[(10, 20, 1), (20, 30, 2), (20, 30, 2), (20, 40, 2), (10, 30, 1), (30, 40, 2)]), []);
}

#[test]
fn hops_that_do_not_rise_or_rise_too_far_break_a_rule() {
    for ways in [&[(10, 20, 1), (20, 30, 1)][..], &[(10, 20, 1), (20, 30, 3)], &[(10, 20, 9)]] {
        let broken = hops(ways);
        assert_eq!(broken.len(), 1, "{ways:?}");
        assert!(broken[0].rule.starts_with("R6"));
    }
}

#[test]
fn a_message_that_runs_in_circles_breaks_a_rule() {
    let circle =
        |end: u8| (1..=end).map(|at| if at % 2 == 1 { (10, 20, at) } else { (20, 10, at) }).collect::<Vec<_>>();
    // Eight hops reach the limit, four of them to one node.
    assert_eq!(hops(&circle(8)), []);
    let limits = Limits { max_hops: 64, ..LIMITS };
    let mut judge = settled(limits);
    judge.calm(true);
    let mut observer = judge.observer();
    for (from, to, hops) in circle(40) {
        observer(at(40), from, to, &hop(hops));
    }
    judge.update(at(40), vec![], &[]);
    assert_eq!(broken(&judge), ["R6"]);
}

#[test]
fn hops_that_are_made_again_break_a_rule_where_nothing_is_disturbed() {
    for (calm, rules) in [(true, &["R6"][..]), (false, &[])] {
        let mut judge = judge();
        judge.calm(calm);
        judge.update(at(40), vec![], &[]);
        let mut observer = judge.observer();
        (0..6).for_each(|_| observer(at(41), 10, 20, &hop(1)));
        judge.update(at(41), vec![], &[]);
        assert_eq!(broken(&judge), rules);
    }
}

/// Principals by the definition: members that lie strictly between no two adjacent entries of any extended list.
fn naive_principals(picture: &Picture) -> usize {
    let members: Vec<&Seat> = picture.seats().values().filter(|seat| seat.joined).collect();
    let skips = |by: &Seat, node: NodeId| {
        let mut before = by.id;
        by.successors.iter().any(|next| {
            let skips =
                node != before && node != *next && node != by.id && Interval::open(before, *next).contains(node);
            before = *next;
            skips
        })
    };
    members.iter().filter(|node| !members.iter().any(|by| skips(by, node.id))).count()
}

fn naive_stranded(picture: &Picture) -> Vec<Index> {
    let lives = |id: &NodeId| picture.seats().values().any(|seat| seat.joined && seat.id == *id);
    let stranded = picture.seats().iter().filter(|(_, seat)| seat.joined && !seat.successors.iter().any(lives));
    stranded.map(|(node, _)| *node).collect()
}

#[test]
fn the_picture_agrees_with_the_definitions_whatever_happens() {
    let mut random = Random::new(11);
    for _ in 0..40 {
        let mut picture = Picture::default();
        for step in 0..150 {
            let node = random.below(12) as u32;
            let mut list: Vec<u32> = (0..12).filter(|other| *other != node && random.below(4) == 0).collect();
            list.sort_by_key(|other| (other + 12 - node) % 12);
            let kind = random.below(8);
            let seat = seat(node * 10, &[], &list.iter().map(|other| other * 10).collect::<Vec<_>>());
            let seat = (kind > 0).then_some(Seat { joined: kind > 1, ..seat });
            picture.set(at(step), node, seat);
            assert_eq!(picture.principals(), naive_principals(&picture), "{picture:?}");
            assert_eq!(picture.stranded().iter().copied().collect::<Vec<_>>(), naive_stranded(&picture));
            let key = id(random.below(125) as u32);
            let naive = picture.members().keys().min_by_key(|member| key.distance_to(**member)).copied();
            assert_eq!(picture.owner(key), naive);
        }
    }
}
