//! An application goes where its messages go, and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use prost_contract::Event;
use prost_kbr::{Dispatch, Failure, Header, NodeId, Refusal};
use prost_manager::{Input, Source};
use prost_package::piece::head_key;

use crate::packages::{all_but, app_of, draft, plain};
use crate::world::{Ask, Code, Fate, RecordFrame, Seen, Step, World};

/// The handlers that ran, with the places where they did, without the calls of local programs.
fn steps(world: &World) -> Vec<(usize, &'static str)> {
    world.story(|seen| match seen {
        Seen::Ran(_, told @ (Event::Deliver(_) | Event::Forward { .. }), _) => Some(told.name()),
        _ => None,
    })
}

#[test]
fn the_root_of_a_message_installs_what_nobody_but_the_sender_has() {
    let mut world = World::ring(1, 24);
    let package = draft("echo").component(&[], 100_000).sign();
    let app = app_of(&package);
    world.publish(0, &package);
    world.route(0, "echo", 11, "put x");
    world.run_for(Duration::from_secs(5));

    assert!(world.host(11).has_record(&app, "x"));
    assert_eq!(steps(&world), [(11, "deliver")]);
    assert_eq!(world.places(|host| host.status(&app).is_some()), [0, 11]);
    assert_eq!(world.places(|host| host.compiled() == 1), [0, 11]);
    assert_eq!(world.places(|host| host.asked() > 0), [11], "nobody on the way fetched anything");
    let hops = world.host(11).events().into_iter().find_map(|(told, _)| match told {
        Event::Deliver(message) => Some(message.hops),
        _ => None,
    });
    assert!(hops.is_some_and(|hops| hops >= 2), "there was somebody on the way: {hops:?}");

    let installed = world.host(11).installations();
    assert_eq!(installed.len(), 1);
    assert_eq!((installed[0].source, installed[0].peer), (Source::Overlay, Some(world.id(0))), "the origin gave it");
    assert!(installed[0].bytes > 100_000);
    assert_eq!(world.host(11).seen(|seen| *seen == Seen::Saved(app.clone())), 1);
    // The next message finds it there.
    world.route(0, "echo", 11, "put y");
    world.run_for(Duration::from_secs(1));
    assert!(world.host(11).has_record(&app, "y"));
    assert_eq!(world.host(11).compiled(), 1);
}

#[test]
fn code_is_asked_for_on_the_way_of_its_message_then_in_the_ring_then_nearby() {
    const WANTS: usize = 11;
    let mut world = World::keeping(11, 24, 64 << 20);
    let package = plain("echo");
    world.publish(0, &package);
    world.meddler = Some(Box::new(|_, _, code| match code {
        Code::Manifest { request, .. } => {
            Fate::Says(Code::Manifest { request: *request, envelope: None, chunks: None })
        }
        _ => Fate::Arrives,
    }));
    world.steps.clear();
    world.route(0, "echo", WANTS, "put x");
    world.run_for(Duration::from_secs(10));
    let wants = world.id(WANTS);
    let way: Vec<NodeId> =
        world.steps.iter().filter(|(_, step)| *step == Step::Message).map(|(node, _)| *node).collect();
    let at = way.iter().position(|node| *node == wants).expect("it arrived");
    assert!(at >= 1, "there was somebody on the way");

    let head = head_key(&package.manifest.manifest().component.digest);
    let mut asked: Vec<Option<NodeId>> = Vec::new();
    for (_, seen) in &world.host(WANTS).journal {
        match seen {
            Seen::Asked(to, Code::GetManifest { .. }) => asked.push(Some(*to)),
            Seen::Records(_, RecordFrame::Ask { ask: Ask::Records { points, .. }, .. }) if points[0].key == head => {
                asked.push(None);
            }
            _ => {}
        }
    }
    asked.dedup();
    assert_eq!(asked[..3], [Some(way[at - 1]), Some(world.id(0)), None], "none stands for the ring");
    assert!(asked.len() > 5 && asked[3..].iter().all(Option::is_some), "{asked:?}");
}

#[test]
fn a_neighbour_that_sends_a_message_gives_the_code_too() {
    let mut world = World::ring(2, 8);
    world.publish(3, &plain("echo"));
    world.route(3, "echo", 4, "put x");
    world.run_for(Duration::from_secs(1));
    let installed = world.host(4).installations();
    assert_eq!(installed.len(), 1);
    assert_eq!((installed[0].source, installed[0].peer), (Source::PreviousHop, Some(world.id(3))));
}

#[test]
fn messages_that_wait_for_one_application_share_one_fetch_and_keep_their_order() {
    let mut world = World::ring(3, 8);
    world.publish(0, &plain("echo"));
    world.host_mut(4).compiler = Duration::from_secs(1);
    for number in 0..100 {
        world.route(0, "echo", 4, &format!("put m{number}"));
    }
    world.run_for(Duration::from_secs(5));
    let delivered: Vec<String> = world.host(4).handlers().into_iter().filter(|name| name != "init").collect();
    let expected: Vec<String> = (0..100).map(|number| format!("deliver put m{number}")).collect();
    assert_eq!(delivered, expected);
    assert_eq!(world.host(4).compiled(), 1);
    let manifests = |seen: &Seen| matches!(seen, Seen::Asked(_, Code::GetManifest { .. }));
    assert!(world.host(4).seen(manifests) <= 2, "the previous hop, and the origin where that is another");
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn messages_that_find_no_room_to_wait_go_to_the_next_replica() {
    let mut world = World::ring(4, 8);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    world.host_mut(0).sandbox = Duration::from_micros(10);
    let root = world.id(4);
    // Whoever the root asks is silent for long enough.
    world.meddler = Some(Box::new(move |from, _, _| if from == root { Fate::Lost } else { Fate::Arrives }));
    let calls: Vec<u64> = (0..1100)
        .map(|number| {
            let key = crate::guest::hex(world.key_of(4));
            world.start_call(0, "echo", &format!("reply; route {key} put m{number}"))
        })
        .collect();
    world.run_for(Duration::from_secs(1));
    assert!(calls.iter().all(|call| world.host(0).answer(*call).is_some()));
    assert_eq!(world.host(4).status(&app).map(|status| status.usage.queued), Some(1024));
    world.meddler = None;
    world.run_for(Duration::from_secs(10));

    assert_eq!(world.host(4).refusals(Refusal::QueueFull), 76);
    let delivered = |at: usize| world.host(at).handlers().iter().filter(|name| name.starts_with("deliver")).count();
    assert_eq!((delivered(4), delivered(5)), (1024, 76));
    assert!((0..1100).all(|number| {
        let name = format!("m{number}");
        world.host(4).has_record(&app, &name) != world.host(5).has_record(&app, &name)
    }));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn two_applications_come_from_one_node_at_once() {
    let mut world = World::ring(5, 8);
    let (one, other) = (draft("one").component(&[], 200_000).sign(), draft("other").component(&[], 200_000).sign());
    world.publish(0, &one);
    world.publish(0, &other);
    world.start_call(0, "one", &format!("route {} put x", crate::guest::hex(world.key_of(1))));
    world.start_call(0, "other", &format!("route {} put y", crate::guest::hex(world.key_of(1))));
    world.run_for(Duration::from_secs(1));
    assert!(world.host(1).has_record(&app_of(&one), "x"));
    assert!(world.host(1).has_record(&app_of(&other), "y"));
    let installed = world.host(1).installations();
    assert!(installed.iter().all(|one| one.peer == Some(world.id(0))));
}

#[test]
fn every_hop_of_a_type_0_message_runs_forward() {
    let mut world = World::ring(6, 24);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    world.pass(0, "echo", 11, "put x");
    world.run_for(Duration::from_secs(10));
    let steps = steps(&world);
    assert!(steps.len() >= 4, "{steps:?}");
    assert_eq!(steps[0], (0, "forward"));
    assert_eq!(steps.last(), Some(&(11, "deliver")));
    let (_, way) = steps.split_last().expect("some");
    assert!(way.iter().all(|(_, what)| *what == "forward"), "{steps:?}");
    let mut hops: Vec<usize> = steps.iter().map(|(at, _)| *at).collect();
    hops.sort_unstable();
    assert_eq!(world.places(|host| host.runs(&app)), hops, "each hop installed it, nobody else did");
    assert!(world.places(|host| host.compiled() > 1).is_empty());
    for hop in &hops[1..] {
        let installed = world.host(*hop).installations();
        assert_eq!(installed[0].source, Source::PreviousHop, "who came before has it by then");
    }
}

#[test]
fn hops_that_deny_the_application_pass_its_messages_on() {
    let mut world = World::ring(7, 24);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    let denying: Vec<usize> = (1..24).filter(|at| *at != 11).collect();
    denying.iter().for_each(|at| world.set_policy(*at, all_but("echo")));
    world.pass(0, "echo", 11, "put x");
    world.run_for(Duration::from_secs(10));

    assert!(world.host(11).has_record(&app, "x"));
    let hops: Vec<usize> = denying.into_iter().filter(|at| world.host(*at).refusals(Refusal::Denied) == 1).collect();
    assert!(hops.len() >= 2, "{hops:?}");
    for hop in &hops {
        assert_eq!(world.host(*hop).asked(), 0, "it asked for nothing");
        assert!(world.host(*hop).status(&app).is_none());
    }
    let ran: Vec<usize> = world
        .story(|seen| match seen {
            Seen::Ran(ran, Event::Deliver(_) | Event::Forward { .. }, _) if *ran == app => Some(()),
            _ => None,
        })
        .into_iter()
        .map(|(at, ())| at)
        .collect();
    assert_eq!(ran, [0, 11]);
}

#[test]
fn forward_can_end_a_message() {
    let mut world = World::ring(8, 8);
    let package = draft("wall").component(&[("forward", "stop")], 0).sign();
    world.publish(0, &package);
    world.pass(0, "wall", 4, "put x");
    world.run_for(Duration::from_secs(20));
    assert_eq!(steps(&world), [(0, "forward")]);
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_forward_that_traps_lets_the_message_pass() {
    let mut world = World::ring(9, 8);
    let package = draft("wall").component(&[("forward", "trap")], 0).sign();
    world.publish(0, &package);
    world.pass(0, "wall", 1, "put x");
    world.run_for(Duration::from_secs(5));
    assert!(world.host(1).has_record(&app_of(&package), "x"));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_message_to_a_dead_node_ends_in_a_failure() {
    let mut world = World::ring(10, 6);
    world.publish(0, &plain("echo"));
    let dead = world.id(3);
    world.crash(dead);
    let script = format!("reply; send {} put x", crate::guest::hex(dead));
    assert!(world.call(0, "echo", &script).is_ok());
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.host(0).failures(), [Failure::Unreachable]);
}

#[test]
fn a_program_sends_a_message_of_an_application_and_is_told_how_it_ended() {
    let mut world = World::ring(1, 24);
    let package = plain("echo");
    world.publish(0, &package);
    let header = Header { app: app_of(&package), locator: "blake3:".to_owned() };
    for (request, from) in [(1, 0), (2, 17)] {
        let (key, payload) = (world.key_of(11), Bytes::from(format!("put {request}")));
        let dispatch = Dispatch::EndNode;
        world.give(from, Input::Route { request, header: header.clone(), key, dispatch, payload });
        world.run_for(Duration::from_secs(5));
    }
    // The first finds the code at its origin, the second needs none of it there: the application runs at the root.
    let handled = world.story(|seen| match seen {
        Seen::Routed(request, outcome) => Some((*request, outcome.result.as_ref().map(|peer| peer.id).ok())),
        _ => None,
    });
    assert_eq!(handled, [(0, (1, Some(world.id(11)))), (17, (2, Some(world.id(11))))]);
    assert!(["1", "2"].iter().all(|name| world.host(11).has_record(&header.app, name)));
    assert_eq!(world.places(|host| host.status(&header.app).is_some()), [0, 11]);
}
