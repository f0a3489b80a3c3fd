//! Triggers last as long as they are refreshed, and find whoever is responsible.

use prost_i3_api::ask::{CLOSE, Close, INSERT, Inserted, LIST, Listed, NEXT, Next, OPEN, Open, Opened, REMOVE, Remove};
use prost_i3_api::{I3Id, Name};
use prost_peerlet::NodeId;
use prost_peerlet::inbox::Batch;
use prost_peerlet::testing::node_id;

use super::world::{SECOND, World, host};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn nodes() -> (World, [NodeId; 5]) {
    (World::of(&NAMES), NAMES.map(node_id))
}

/// A name whose triggers are on neither of these nodes.
fn elsewhere(world: &World, not: &[NodeId]) -> Name {
    let names = (0..).map(|at| Name::open(&format!("name {at}")));
    names.into_iter().find(|name| !not.contains(&world.owner(&name.id))).expect("most are elsewhere")
}

fn kept(world: &mut World, node: NodeId) -> usize {
    world.ask::<_, Listed>(node, LIST, &()).expect("a list").kept.len()
}

#[test]
fn a_trigger_stays_while_its_program_is_there_and_goes_when_the_node_is_gone() {
    let (mut world, [a, b, ..]) = nodes();
    let name = elsewhere(&world, &[a, b]);
    world.listen(b, &name);
    world.run(SECOND * 300);
    assert_eq!(world.send(a, &[name.id], "still"), Some(1));
    world.crash(b);
    // It was refreshed twenty seconds ago at most.
    world.run(SECOND * 9);
    assert_eq!(world.send(a, &[name.id], "not yet"), Some(1));
    world.run(SECOND * 22);
    assert_eq!(world.send(a, &[name.id], "gone"), Some(0));
}

#[test]
fn a_program_that_ends_takes_its_triggers_along_at_once_also_the_copies() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    world.ask::<_, ()>(b, CLOSE, &Close { endpoint }).expect("it is there");
    assert_eq!(world.send(a, &[name.id], "gone"), Some(0));
    assert_eq!(NAMES.map(|node| kept(&mut world, node_id(node))), [0; 5]);
    assert!(world.ask::<_, Batch>(b, NEXT, &Next { endpoint, from: 0 }).is_err());
}

#[test]
fn an_endpoint_that_nobody_reads_is_closed() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let Opened { endpoint, .. } = world.ask(b, OPEN, &Open { lease: None }).expect("there is room");
    world.ask::<_, Inserted>(b, INSERT, &host(endpoint, &name)).expect("it is taken");
    // Who waits for packets reads.
    for _ in 0..4 {
        world.start(b, NEXT, &Next { endpoint, from: 0 });
        world.run(SECOND * 40);
    }
    assert_eq!(world.send(a, &[name.id], "read"), Some(1));
    world.run(SECOND * 75);
    assert_eq!(world.send(a, &[name.id], "nobody reads"), Some(0));
}

#[test]
fn a_trigger_is_removed_by_its_id() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("bob");
    let endpoint = world.listen(b, &name);
    let remove = Remove { endpoint: Some(endpoint), id: name.id };
    world.ask::<_, ()>(b, REMOVE, &remove).expect("it is there");
    assert_eq!(world.send(a, &[name.id], "gone"), Some(0));
    assert!(world.ask::<_, ()>(b, REMOVE, &remove).is_err());
}

#[test]
fn when_the_node_of_a_trigger_dies_the_next_has_a_copy_and_the_refresh_finds_it() {
    let (mut world, [a, b, ..]) = nodes();
    let name = elsewhere(&world, &[a, b]);
    let endpoint = world.listen(b, &name);
    let owner = world.owner(&name.id);
    world.crash(owner);
    assert_eq!(world.send(a, &[name.id], "at once"), Some(1));
    world.run(SECOND * 60);
    assert_eq!(world.send(a, &[name.id], "much later"), Some(1));
    assert_eq!(world.texts(b, endpoint), ["at once", "much later"]);
}

#[test]
fn a_host_that_moves_is_reached_where_it_is() {
    let (mut world, [a, b, c, ..]) = nodes();
    let name = Name::open("mobile");
    let before = world.listen(b, &name);
    world.send(a, &[name.id], "1");
    // It leaves, a packet is lost, and it is back elsewhere.
    world.ask::<_, ()>(b, REMOVE, &Remove { endpoint: Some(before), id: name.id }).expect("it is there");
    world.send(a, &[name.id], "2");
    let after = world.listen(c, &name);
    world.send(a, &[name.id], "3");
    assert_eq!((world.texts(b, before), world.texts(c, after)), (vec!["1".to_owned()], vec!["3".to_owned()]));
}

#[test]
fn all_triggers_of_a_prefix_are_on_one_node_before_and_after_a_join() {
    let (mut world, [a, b, ..]) = nodes();
    let name = Name::open("service");
    let listeners: Vec<(I3Id, u64)> = (0..10)
        .map(|at| Name { id: name.id.with_suffix(at << 40), ..name.clone() })
        .map(|at| (at.id, world.listen(b, &at)))
        .collect();
    let responsible = |world: &mut World| -> Vec<usize> {
        let nodes: Vec<NodeId> = NAMES.map(node_id).into_iter().collect();
        let lists = nodes.into_iter().map(|node| world.ask::<_, Listed>(node, LIST, &()).expect("a list").kept);
        lists.map(|kept| kept.iter().filter(|kept| kept.responsible).count()).filter(|count| *count > 0).collect()
    };
    assert_eq!(responsible(&mut world), [10]);
    let newcomer = (0..).map(|at| format!("new {at}")).find(|new| {
        let id = node_id(new);
        id >= name.id.ring_key() && id < world.owner(&name.id)
    });
    let newcomer = world.join(&newcomer.expect("some name falls between"));
    assert_eq!(responsible(&mut world), Vec::<usize>::new());
    let kept = world.ask::<_, Listed>(newcomer, LIST, &()).expect("a list").kept;
    assert_eq!(kept.iter().filter(|kept| kept.responsible).count(), 10);
    for (id, endpoint) in listeners {
        world.send(a, &[id], "found");
        assert_eq!(world.texts(b, endpoint), ["found"]);
    }
}
