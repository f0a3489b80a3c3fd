//! A node that will not run an application passes its messages to the next of the replica set.

use std::time::Duration;

use prost_kbr::{Failure, Refusal};
use prost_manager::Search;

use crate::packages::{all_but, app_of, draft, plain};
use crate::world::{Code, Fate, Seen, World};

/// Asked nobody, compiled nothing, stopped nothing.
fn is_untouched(world: &World, at: usize) -> bool {
    let host = world.host(at);
    host.asked() == 0 && host.compiled() == 0 && host.seen(|seen| matches!(seen, Seen::Stop(_))) == 0
}

#[test]
fn denial_falls_over_in_the_order_of_the_replica_set() {
    let mut world = World::ring(1, 12);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    for at in [5, 6] {
        world.set_policy(at, all_but("echo"));
    }
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    assert!(world.host(7).has_record(&app, "x"));
    assert_eq!(world.places(|host| host.runs(&app)), [0, 7]);
    for at in [5, 6] {
        assert!(is_untouched(&world, at), "a node that denies never asks for the code");
        assert_eq!(world.host(at).refusals(Refusal::Denied), 1);
    }
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_fetch_that_fails_falls_over() {
    let mut world = World::ring(2, 12);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    let root = world.id(5);
    world.meddler = Some(Box::new(move |_, to, code| match code {
        Code::Manifest { request, .. } if to == root => {
            Fate::Says(Code::Manifest { request: *request, envelope: None, chunks: None })
        }
        _ => Fate::Arrives,
    }));
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(5).refusals(Refusal::FetchFailed), 1);
    assert!(world.host(6).has_record(&app, "x"));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_node_that_is_answered_by_nobody_gives_up_in_time_for_the_next() {
    let mut world = World::ring(3, 12);
    let package = plain("echo");
    let app = app_of(&package);
    world.publish(0, &package);
    let root = world.id(5);
    world.meddler = Some(Box::new(move |from, _, _| if from == root { Fate::Lost } else { Fate::Arrives }));
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(14));
    assert_eq!(world.host(5).refusals(Refusal::FetchFailed), 1);
    assert!(world.host(6).has_record(&app, "x"));
    world.run_for(Duration::from_secs(10));
    assert!(world.host(0).failures().is_empty());
}

#[test]
fn a_message_that_nobody_wants_comes_back_with_every_reason() {
    let mut world = World::ring(4, 12);
    world.publish(0, &plain("echo"));
    for at in [5, 6, 7, 8] {
        world.set_policy(at, all_but("echo"));
    }
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    let reasons = [5, 6, 7, 8].map(|at| (world.id(at), Refusal::Denied)).to_vec();
    assert_eq!(world.host(0).failures(), [Failure::NoWillingNode(reasons)]);
    for at in [5, 6, 7, 8] {
        assert!(is_untouched(&world, at));
        assert_eq!(world.host(at).refusals(Refusal::Denied), 1, "nobody is visited twice");
    }
    assert_eq!(world.places(|host| host.compiled() > 0), [0], "no one beyond them is asked");
    // The message is over: nothing more comes of it.
    world.run_for(Duration::from_secs(30));
    assert_eq!(world.host(0).failures().len(), 1);
}

#[test]
fn what_does_not_compile_or_start_is_refused_and_left_alone_for_a_while() {
    let mut world = World::ring(5, 6);
    let broken = draft("broken").bytes(b"no component at all".as_slice().into());
    let failing = draft("failing").component(&[("init", "put a; fail not\u{7} here")], 0);
    for (draft, refusal) in [(broken, Refusal::BadComponent), (failing, Refusal::InitFailed)] {
        let app = draft.app();
        let failure = world.install(0, &draft.clone().sign());
        assert!(matches!(failure, Err(prost_manager::InstallFailure::Refused { refusal: why, .. }) if why == refusal));
        assert!(!world.host(0).has_record(&app, "a"));
        assert_eq!(world.host(0).refusals(refusal), 1);
        let compiled = world.host(0).compiled();
        let call = world.call(0, &app.to_string(), "reply");
        assert_eq!(call, Err(prost_manager::CallFailure::Refused(refusal)));
        assert_eq!(world.host(0).compiled(), compiled, "it is not tried again");
        assert_eq!(world.host(0).asked(), 0);
        world.run_for(Duration::from_secs(10));
        let call = world.call(0, &app.to_string(), "reply");
        assert_eq!(call, Err(prost_manager::CallFailure::Refused(Refusal::FetchFailed)), "what never ran is not kept");
        assert_eq!(world.host(0).asked(), 5, "of every neighbour");
        world.run_for(Duration::from_secs(10));
        world.host_mut(0).journal.clear();
    }
}

#[test]
fn a_capability_that_is_not_granted_refuses_before_any_code_is_asked_for() {
    let mut world = World::ring(6, 12);
    world.publish(0, &plain("echo"));
    world.set_policy(5, crate::packages::policy("default = \"allow\"\n[defaults]\ncapabilities = [\"log\"]\n"));
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(5).refusals(Refusal::MissingCapability), 1);
    assert_eq!(world.host(5).compiled(), 0);
    assert_eq!(world.host(5).seen(|seen| matches!(seen, Seen::Asked(_, Code::GetChunk { .. }))), 0);
    assert!(world.host(6).runs(&crate::packages::draft("echo").app()));
}

#[test]
fn code_that_is_not_what_the_manifest_says_is_dropped_and_falls_over() {
    let mut world = World::ring(9, 12);
    let package = draft("echo").component(&[], 100_000).sign();
    let app = app_of(&package);
    world.publish(0, &package);
    world.meddler = Some(Box::new(|_, _, code| match code {
        Code::Chunk { request, offset, bytes: Some(bytes) } => {
            let rubbish = serde_bytes::ByteBuf::from(vec![0; bytes.len()]);
            Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: Some(rubbish) })
        }
        _ => Fate::Arrives,
    }));
    world.route(0, "echo", 5, "put x");
    world.run_for(Duration::from_secs(14));
    let reasons = [5, 6, 7, 8].map(|at| (world.id(at), Refusal::BadPackage)).to_vec();
    assert_eq!(world.host(0).failures(), [Failure::NoWillingNode(reasons)]);
    for at in [5, 6, 7, 8] {
        assert_eq!(world.host(at).compiled(), 0);
        let kept = world.host(at).seen(|seen| {
            matches!(
                seen,
                Seen::Saved(_)
                    | Seen::Asked(_, Code::Chunk { bytes: Some(_), .. } | Code::Manifest { envelope: Some(_), .. })
            )
        });
        assert_eq!(kept, 0, "nothing of it is kept or given to others");
        assert_eq!(world.host(at).status(&app).and_then(|status| status.version), None);
    }
}

#[test]
fn a_provider_who_is_denied_or_unknown_is_refused_before_anybody_is_asked() {
    let key = |number: u8| hex(&prost_package::ProviderKey::from_seed(&[number; 32]).public());
    let deny =
        format!("default = \"allow\"\n[[rule]]\neffect = \"deny\"\nprovider = \"{}\"\napplication = \"*\"\n", key(1));
    let know = format!("[[rule]]\neffect = \"allow\"\nprovider = \"{}\"\napplication = \"*\"\n", key(2));
    for text in [deny, know] {
        let mut world = World::ring(10, 12);
        let (denied, allowed) = (draft("echo").sign(), draft("echo").provider(2).sign());
        world.publish(0, &denied);
        world.publish(0, &allowed);
        world.set_policy(5, crate::packages::policy(&text));
        assert!(matches!(
            world.install(5, &denied),
            Err(prost_manager::InstallFailure::Refused { refusal: Refusal::Denied, .. })
        ));
        world.route(0, &app_of(&denied).to_string(), 5, "put x");
        world.run_for(Duration::from_secs(5));
        assert!(is_untouched(&world, 5));
        assert!(world.host(6).has_record(&app_of(&denied), "x"));
        // His name is not what he is denied for.
        world.route(0, &app_of(&allowed).to_string(), 5, "put y");
        world.run_for(Duration::from_secs(5));
        assert!(world.host(5).has_record(&app_of(&allowed), "y"));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn code_for_another_contract_is_refused_by_name_before_it_is_compiled() {
    let mut world = World::ring(11, 1);
    for contract in ["prost:peerlet@0.1.1", "prost:peerlet@0.2.0", "prost:peerlet", "wasi:cli@0.2.0"] {
        let mut foreign = draft("echo");
        foreign.manifest.world = contract.to_owned();
        let answer = world.install(0, &foreign.sign());
        let Err(prost_manager::InstallFailure::Refused { refusal: Refusal::BadPackage, detail }) = answer else {
            panic!("{answer:?}")
        };
        assert!(detail.contains(contract), "{detail}");
    }
    assert_eq!(world.host(0).compiled(), 0);
}

#[test]
fn a_header_that_names_no_application_is_refused_and_counted() {
    let mut world = World::ring(12, 12);
    let origin = world.host(4).peer;
    let good = prost_kbr::Header { app: draft("echo").app(), locator: String::new() }.encode();
    let name = |name: &str| {
        let at = good.windows(4).position(|window| window == b"echo").expect("its name") - 1;
        [&good[..at], &serde_cbor::to_vec(&name).expect("a text"), &good[at + 5..]].concat()
    };
    let long = "e".repeat(65);
    let names = ["", "Echo", "ECHO", "../echo", "echo\0", "\u{202e}ohce", "\u{435}cho", "*", "e*", "echo@x", &long];
    let mut headers: Vec<Vec<u8>> = names.map(name).to_vec();
    headers.extend([Vec::new(), vec![0xff], good[..good.len() - 1].to_vec(), [&good[..], &[0]].concat()]);
    let count = headers.len() as u64;
    for (number, header) in headers.into_iter().enumerate() {
        let envelope = prost_kbr::Envelope {
            id: 1_000 + number as u64,
            origin,
            key: Some(world.key_of(5)),
            purpose: prost_kbr::Purpose::App(prost_kbr::Dispatch::EndNode),
            hops: 1,
            remaining_ms: 15_000,
            refused: Vec::new(),
            via: vec![origin.id],
            path: None,
        };
        let routed = prost_kbr::Routed { envelope, header: header.into(), payload: bytes::Bytes::new() };
        let message = prost_kbr::Message::Route { seq: 1_000_000 + number as u64, routed };
        world.give(5, prost_manager::Input::Ring(prost_kbr::Input::Received { from: origin.id, message }));
    }
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.host(5).node.stats().bad_headers, count);
    assert_eq!(world.host(5).refusals(Refusal::BadPackage), count);
    assert!((5..9).all(|at| is_untouched(&world, at) && world.host(at).node.apps().is_empty()));
}

#[test]
fn a_node_that_leaves_takes_no_more_messages_and_answers_what_is_asked_of_it() {
    let mut world = World::ring(7, 6);
    let package = plain("echo");
    world.publish(0, &package);
    world.give(0, prost_manager::Input::Ring(prost_kbr::Input::Leave));
    let call = world.call(0, "echo", "reply");
    assert_eq!(call, Err(prost_manager::CallFailure::Refused(Refusal::Leaving)));
    let request = world.number();
    let key = world.key_of(3);
    world.give(0, prost_manager::Input::Lookup { request, key, search: Search::Owner });
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::LookedUp(request)), 1);
}

#[test]
fn a_lookup_is_answered_once() {
    let mut world = World::ring(8, 6);
    let request = world.number();
    let key = world.key_of(3);
    world.give(0, prost_manager::Input::Lookup { request, key, search: Search::Owner });
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.host(0).seen(|seen| *seen == Seen::LookedUp(request)), 1);
}
