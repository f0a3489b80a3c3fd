//! The paper's promises, on several nodes.

mod world;

use world::World;

use super::Cast;
use super::Refusal;

#[test]
fn every_member_gets_each_publication_once_whoever_publishes() {
    let mut world = World::new(40);
    world.join_all();
    world.assert_whole();
    let publishers: Vec<_> = world.ids().into_iter().step_by(13).collect();
    for (number, publisher) in publishers.iter().enumerate() {
        let asked = world.publish(*publisher, &[number as u8]);
        world.run(3);
        assert_eq!(world.tree(*publisher).app.ended[&asked], Ok(()));
        assert_eq!(world.heard(&[number as u8]), vec![1; 40]);
    }
}

#[test]
fn an_interior_node_dies_and_those_below_it_hear_what_came_meanwhile() {
    for unnoticed in [false, true] {
        let mut world = World::new(40);
        world.unnoticed = unnoticed;
        world.join_all();
        world.publish(world.root(), b"before");
        world.run(5);
        let group = world.group;
        let ids = world.ids();
        let interior =
            ids.iter().filter(|id| **id != world.root()).max_by_key(|id| world.tree(**id).children(group).len());
        let (interior, publisher) = (*interior.expect("one"), world.root());
        assert!(!world.tree(interior).children(group).is_empty());
        world.kill(interior);
        world.run(1);
        world.publish(publisher, b"meanwhile");
        world.run(20);
        assert_eq!(world.heard(b"meanwhile"), vec![1; 39]);
        world.run(60);
        world.assert_whole();
    }
}

#[test]
fn a_tenth_of_the_nodes_dies_at_once_and_all_others_hear_all() {
    let mut world = World::new(60);
    world.join_all();
    world.publish(world.root(), b"before");
    world.run(5);
    let root = world.root();
    for id in world.ids().into_iter().step_by(10).filter(|id| *id != root) {
        world.kill(id);
    }
    world.publish(root, b"meanwhile");
    world.run(20);
    let heard = world.heard(b"meanwhile");
    assert_eq!(heard, vec![1; heard.len()]);
    world.run(60);
    world.assert_whole();
}

#[test]
fn the_root_dies_and_the_next_one_knows_the_rules() {
    let mut world = World::new(40);
    let group = world.group;
    let creator = world.ids()[7];
    let asked = world.act(creator, |tree| tree.create(group, b"secret", b"")).expect("room");
    world.run(2);
    assert_eq!(world.tree(creator).app.ended[&asked], Ok(()));
    for id in world.ids() {
        world.act(id, |tree| tree.join(group, b"secret")).expect("room");
    }
    world.run(20);
    world.assert_whole();
    world.kill(world.root());
    world.run(30);
    world.assert_whole();
    let (first, last) = (world.ids()[0], world.ids()[30]);
    world.act(first, |tree| tree.leave(group));
    world.act(first, |tree| tree.join(group, b"wrong")).expect("room");
    let asked = world.act(last, |tree| tree.multicast(group, b"secret", b"after")).expect("room");
    world.run(20);
    assert_eq!(world.tree(first).app.refused, [Refusal::Forbidden]);
    assert_eq!(world.tree(last).app.ended[&asked], Ok(()));
    let heard = world.heard(b"after");
    assert_eq!(heard, vec![1; 38]);
}

#[test]
fn a_node_that_comes_to_be_the_root_takes_the_tree_over() {
    let mut world = World::new(40);
    world.join_all();
    let (old, group) = (world.root(), world.group);
    // Names until one is nearer after the key.
    let name = (0..).map(|number| format!("closer {number}"));
    let name = name.into_iter().find(|name| group.distance_to(crate::testing::node_id(name)) < group.distance_to(old));
    let new = world.add(&name.expect("there is one"));
    world.publish(old, b"in between");
    world.run(15);
    assert_eq!(world.root(), new);
    world.publish(old, b"after");
    world.run(15);
    assert_eq!(world.heard(b"in between"), vec![1; 40]);
    assert_eq!(world.heard(b"after"), vec![1; 40]);
    world.run(40);
    world.assert_whole();
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let mut world = World::new(40);
    world.join_all();
    let group = world.group;
    let stay = world.ids()[3];
    for id in world.ids().into_iter().filter(|id| *id != stay) {
        world.act(id, |tree| tree.leave(group));
    }
    world.run(10);
    world.assert_whole();
    world.act(stay, |tree| tree.leave(group));
    world.run(10);
    for id in world.ids() {
        assert_eq!(world.tree(id).groups(), [], "no node keeps an empty table");
    }
}

#[test]
fn messages_that_come_twice_or_overtake_each_other_do_no_harm() {
    let mut world = World::new(40);
    (world.twice, world.shuffled) = (20, true);
    world.join_all();
    let root = world.root();
    for number in 0..30u8 {
        world.publish(root, &[number]);
    }
    world.run(10);
    for number in 0..30u8 {
        assert_eq!(world.heard(&[number]), vec![1; 40]);
    }
    world.run(60);
    world.assert_whole();
}

#[test]
fn a_search_asks_members_until_one_takes_it() {
    let mut world = World::new(40);
    world.join_all();
    let group = world.group;
    let (asker, taker) = (world.ids()[5], world.ids()[35]);
    world.act(taker, |tree| tree.app.takes = true);
    let number = world.act(asker, |tree| tree.anycast(group, b"who?")).expect("room");
    world.run(14);
    assert_eq!(world.tree(asker).app.found[&number], Ok(taker));
    assert!(world.ids().into_iter().all(|id| world.tree(id).app.offered <= 1));
    world.act(taker, |tree| tree.app.takes = false);
    let number = world.act(asker, |tree| tree.anycast(group, b"who?")).expect("room");
    world.run(20);
    assert_eq!(world.tree(asker).app.found[&number], Err(Refusal::NoTaker));
}

#[test]
fn who_is_no_parent_is_not_heard_and_told_so() {
    let mut world = World::new(10);
    world.join_all();
    let group = world.group;
    let member = world.ids().into_iter().find(|id| *id != world.root()).expect("one");
    let stranger = world.ids().into_iter().find(|id| Some(*id) != world.tree(member).parent(group) && *id != member);
    let stranger = stranger.expect("one");
    let sequence = super::Sequence { epoch: 1, number: 1 };
    let frame = super::Frame { sequence, publisher: stranger, number: 1, data: b"false".to_vec() };
    let payload = super::wire::data(world::CHANNEL, group, &frame);
    let node = world.nodes.get_mut(&member).expect("it is there");
    node.effects();
    node.deliver(stranger, &payload).expect("handled");
    let leave = super::wire::control(world::CHANNEL, &super::wire::Control::Leave { group });
    let told = node.effects().into_iter().any(|effect| {
        matches!(effect, crate::testing::Effect::Send { to, payload, .. } if to == stranger && payload == leave)
    });
    assert!(told && world.heard(b"false").iter().all(|count| *count == 0));
}

#[test]
fn nodes_come_and_go_all_the_time_and_there_is_never_a_cycle() {
    let mut world = World::new(50);
    world.join_all();
    let group = world.group;
    for round in 0..30 {
        let ids = world.ids();
        let victim = ids[world.draw(ids.len() as u64) as usize];
        world.kill(victim);
        let new = world.add(&format!("new {round}"));
        world.act(new, |tree| tree.join(group, b"")).expect("room");
        world.run(1);
    }
    world.run(90);
    world.assert_whole();
    world.publish(world.root(), b"after");
    world.run(5);
    assert_eq!(world.heard(b"after"), vec![1; 50]);
}

#[test]
fn who_serves_nobody_is_passed_by() {
    let mut world = World::new(40);
    let group = world.group;
    let root = world.root();
    let selfish: Vec<_> = world.ids().into_iter().filter(|id| *id != root).step_by(2).collect();
    for id in &selfish {
        world.act(*id, |tree| tree.app.capacity = Some(0));
    }
    world.join_all();
    world.run(60);
    world.assert_whole();
    assert!(selfish.iter().all(|id| world.tree(*id).children(group).is_empty()));
    world.publish(root, b"all");
    world.run(5);
    assert_eq!(world.heard(b"all"), vec![1; 40]);
}
