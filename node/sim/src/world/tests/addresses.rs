//! What happens to connections when addresses change.

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
    run(&mut world, ms(29_000));
    assert!(world.connected(0, 1) && !nonces(&world, 1).contains(&5));
    run(&mut world, ms(1_100));
    assert!(!world.connected(0, 1));
    ping(&mut world, 0, 1, 6);
    run(&mut world, ms(2_000));
    assert!(world.connected(0, 1) && nonces(&world, 1).contains(&6));
}
