//! What happens to connections when addresses change, and when two processes have one key.

use super::*;

#[test]
fn connections_survive_a_change_of_address_and_stand_still_for_the_validation() {
    let mut world = connected();
    world.act(Act::Rebind { node: 1 });
    ping(&mut world, 0, 1, 5);
    // A round trip, and the resend timeout of another one and a half.
    run(&mut world, ms(99));
    assert!(!nonces(&world, 1).contains(&5));
    run(&mut world, ms(2));
    assert!(nonces(&world, 1).contains(&5));
    assert!(world.connected(0, 1) && world.connected(1, 0));
}

#[test]
fn what_is_sent_on_a_half_open_connection_vanishes_until_its_idle_timeout() {
    let mut world = connected();
    world.act(Act::HalfOpen { node: 0, gone_at: 1 });
    assert!(world.connected(0, 1) && !world.connected(1, 0));
    ping(&mut world, 0, 1, 5);
    run(&mut world, ms(59_000));
    assert!(world.connected(0, 1) && !nonces(&world, 1).contains(&5));
    run(&mut world, ms(1_100));
    assert!(!world.connected(0, 1));
    ping(&mut world, 0, 1, 6);
    run(&mut world, ms(2_000));
    assert!(world.connected(0, 1) && nonces(&world, 1).contains(&6));
}

#[test]
fn two_processes_with_one_key_are_one_node_that_is_now_here_and_now_there() {
    let mut world = connected();
    let clone = world.clone_of(1);
    assert_eq!((world.clone_of(1), world.clone_of(clone), world.twin(clone)), (clone, clone, Some(1)));
    assert_eq!((world.peer(clone).id, world.index(world.peer(clone).id)), (world.peer(1).id, Some(1)));
    world.act(Act::Start { node: clone, known: Vec::new() });
    run(&mut world, ms(10));
    assert!(world.has_clones() && !world.members().values().any(|node| *node == clone));
    ping(&mut world, 0, clone, 5);
    run(&mut world, ms(1_000));
    assert!(world.connected(0, 1) && nonces(&world, 1).contains(&5), "there is a connection to this id already");
    ping(&mut world, clone, 0, 6);
    run(&mut world, ms(1_000));
    assert!(world.connected(0, clone) && !world.connected(0, 1) && !world.connected(1, 0));
    ping(&mut world, 0, 1, 7);
    run(&mut world, ms(1_000));
    assert!(nonces(&world, clone).contains(&7) && !nonces(&world, 1).contains(&7));
    world.act(Act::Crash { node: clone });
    run(&mut world, ms(70_000));
    assert!(!world.has_clones() && world.members().values().any(|node| *node == 1));
}
