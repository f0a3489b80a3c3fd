//! The Common API's questions, against a ring that is known whole.
use prost_kbr::{Id, Interval, NodeId, Peer, RingView};

/// Nodes at `count` points, evenly.
fn node(at: usize, count: usize) -> NodeId {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&((((at % count) as u64) << 32) / count as u64).to_be_bytes()[4..]);
    Id::from_bytes(bytes)
}

fn peer(id: NodeId) -> Peer {
    Peer { id, addr: ([10, 0, 0, 1], 4000).into() }
}

/// What the first of `count` nodes knows, with so many successors and predecessors at most.
fn view(count: usize, successors: usize, predecessors: usize) -> RingView {
    RingView {
        me: peer(node(0, count)),
        joined: true,
        predecessors: (1..=predecessors.min(count - 1)).map(|i| peer(node(count - i, count))).collect(),
        successors: (1..=successors.min(count - 1)).map(|i| peer(node(i, count))).collect(),
        fingers: Vec::new(),
        backpointers: Vec::new(),
        round_trips: Vec::new(),
    }
}

/// The nodes from the key's owner on.
fn ideal(count: usize, key: Id) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = (0..count).map(|at| node(at, count)).collect();
    nodes.sort_by_key(|node| key.distance_to(*node));
    nodes
}

#[test]
fn a_replica_set_is_right_or_says_that_it_is_not_whole() {
    for count in 1..14 {
        for lists in 1..5 {
            let view = view(count, lists, lists);
            for key in 0..4 * count {
                let key = node(key, 4 * count);
                for max in 0..=6 {
                    let ideal: Vec<NodeId> = ideal(count, key).into_iter().take(max).collect();
                    let replicas = view.replica_set(key, max);
                    if replicas.complete {
                        assert_eq!(replicas.nodes, ideal, "{max} for {key:?} in a ring of {count}, lists of {lists}");
                    } else {
                        assert!(replicas.nodes.len() < max.max(1) && ideal.starts_with(&replicas.nodes));
                    }
                }
            }
            // What must be known: the own range, with as many successors as are listed.
            let own = view.replica_set(view.me.id, lists + 1);
            assert!(own.complete);
        }
    }
}

#[test]
fn keys_that_the_lists_do_not_reach_have_no_set_here() {
    let view = view(20, 4, 4);
    assert_eq!(view.replica_set(node(10, 20), 3).nodes, []);
    assert!(!view.replica_set(node(10, 20), 3).complete);
    assert_eq!(view.replica_set(node(3, 20), 3).nodes, [node(3, 20), node(4, 20)]);
    assert_eq!(view.replica_set(node(18, 20), 2).nodes, [node(18, 20), node(19, 20)]);
    // The farthest predecessor's own range begins where the list ends.
    assert_eq!(view.replica_set(node(16, 20), 2).nodes, []);
}

#[test]
fn a_range_of_each_rank_is_what_the_replica_sets_say() {
    for count in 1..10 {
        let view = view(count, 4, 4);
        for at in 0..count {
            for rank in 0..6 {
                let of = node(at, count);
                let range = view.range(of, rank);
                if rank >= count {
                    assert_eq!(range, None);
                }
                let Some(range) = range else { continue };
                for key in 0..4 * count {
                    let key = node(key, 4 * count);
                    let is_replica = ideal(count, key).get(rank) == Some(&of);
                    assert_eq!(range.contains(key), is_replica, "{of:?} as {rank} of {count} for {key:?}");
                }
            }
        }
    }
}

#[test]
fn a_range_that_is_not_known_is_not_guessed() {
    let view = view(20, 4, 4);
    assert!(view.range(node(0, 20), 3).is_some());
    assert_eq!(view.range(node(0, 20), 4), None);
    assert_eq!(view.range(node(16, 20), 0), None);
    assert_eq!(view.range(node(10, 20), 0), None);
    assert_eq!(view.range(node(4, 20), 0), Some(Interval::open_closed(node(3, 20), node(4, 20))));
    let outside = RingView { joined: false, predecessors: Vec::new(), successors: Vec::new(), ..view };
    assert_eq!(outside.range(outside.me.id, 0), None);
    assert_eq!(outside.replica_set(outside.me.id, 1).nodes, []);
    assert_eq!(outside.local_lookup(outside.me.id, 1, false), []);
}

#[test]
fn alone_it_is_responsible_for_everything() {
    let view = view(1, 4, 4);
    let replicas = view.replica_set(node(1, 3), 4);
    assert_eq!((replicas.nodes, replicas.complete), (vec![view.me.id], true));
    assert_eq!(view.range(view.me.id, 0), Some(Interval::open_closed(view.me.id, view.me.id)));
    assert_eq!(view.range(view.me.id, 1), None);
    assert_eq!(view.local_lookup(node(1, 3), 3, false), [view.me.id]);
}

#[test]
fn neighbours_come_nearest_first_from_both_sides() {
    let view = view(20, 4, 4);
    let nearest = view.neighbour_set(4);
    assert_eq!(nearest.len(), 4);
    for near in [node(1, 20), node(19, 20), node(2, 20), node(18, 20)] {
        assert!(nearest.contains(&near));
    }
    assert_eq!(view.neighbour_set(99).len(), 8);
    assert_eq!(self::view(3, 4, 4).neighbour_set(99).len(), 2, "each once, though in both lists");
}

#[test]
fn a_local_lookup_gives_the_best_hop_first() {
    let mut view = view(40, 4, 4);
    view.fingers = vec![peer(node(8, 40)), peer(node(16, 40))];
    assert_eq!(view.local_lookup(node(20, 40), 3, false), [node(16, 40), node(8, 40), node(4, 40)]);
    assert_eq!(view.local_lookup(node(20, 40), 2, true), [node(4, 40), node(3, 40)]);
    // Within the lists the owner itself is known.
    assert_eq!(view.local_lookup(node(5, 80), 2, false), [node(3, 40), node(2, 40)]);
    assert_eq!(view.local_lookup(view.me.id, 3, false), [view.me.id]);
}
