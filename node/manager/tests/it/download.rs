//! Code that no node has, from the URL that a message names.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost_contract::Event;
use prost_kbr::{AppId, Dispatch, Failure, Header, Refusal};
use prost_manager::{AppState, DownloadFailure, Input, Source};
use prost_package::{Package, Policy};
use serde_bytes::ByteBuf;

use crate::packages::{app_of, draft, policy};
use crate::world::{Code, Fate, Page, Seen, World};

const URL: &str = "https://code.example/echo.prost";
/// Whose key the messages are for.
const WANTS: usize = 3;

/// Everything may run, and may come from these hosts.
fn listing(hosts: &str) -> Arc<Policy> {
    policy(&format!("default = \"allow\"\n[locator]\nallow_hosts = [{hosts}]\n"))
}

fn ring(seed: u64, count: usize) -> World {
    let mut world = World::ring(seed, count);
    for at in 0..count {
        world.set_policy(at, listing("'code.example', 'mirror.example'"));
    }
    world
}

/// A program on one node sends a message of an application to the node at `to`; the number of the request.
fn send(world: &mut World, from: usize, app: &AppId, to: usize, locator: &str, script: &str) -> u64 {
    let request = world.number();
    let header = Header { app: app.clone(), locator: locator.to_owned() };
    let (key, payload) = (world.key_of(to), Bytes::copy_from_slice(script.as_bytes()));
    world.give(from, Input::Route { request, header, key, dispatch: Dispatch::EndNode, payload });
    request
}

/// Where it was handled, or which reasons each node had.
fn ended(world: &World, at: usize, request: u64) -> Option<Result<usize, Vec<Refusal>>> {
    world.host(at).journal.iter().find_map(|(_, seen)| match seen {
        Seen::Routed(number, outcome) if *number == request => Some(match &outcome.result {
            Ok(peer) => Ok((0..world.hosts.len()).find(|at| world.id(*at) == peer.id).expect("a node")),
            Err(Failure::NoWillingNode(refusals)) => Err(refusals.iter().map(|(_, refusal)| *refusal).collect()),
            Err(other) => panic!("{other:?}"),
        }),
        _ => None,
    })
}

/// Sends it on the node itself, and says how it ended.
fn sent(world: &mut World, app: &AppId, locator: &str) -> Result<usize, Vec<Refusal>> {
    let request = send(world, 0, app, 0, locator, "put x");
    assert!(world.run_until(Duration::from_secs(30), |world| ended(world, 0, request).is_some()), "no end");
    ended(world, 0, request).expect("an end")
}

fn downloads(world: &World, at: usize) -> Vec<String> {
    let asked = |(_, seen): &(_, Seen)| match seen {
        Seen::Download(_, url) => Some(url.clone()),
        _ => None,
    };
    world.host(at).journal.iter().filter_map(asked).collect()
}

fn rests(world: &World, at: usize) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::DownloadRest(..)))
}

fn cancelled(world: &World, at: usize) -> usize {
    world.host(at).seen(|seen| matches!(seen, Seen::CancelDownload(_)))
}

fn echo() -> Package {
    draft("echo").component(&[], 100_000).sign()
}

#[test]
fn what_no_node_has_comes_from_the_url_after_all_nodes_were_asked() {
    let mut world = ring(1, 6);
    let (package, app) = (echo(), app_of(&echo()));
    world.pages.insert(URL.to_owned(), Page::of(&package));

    let request = send(&mut world, 0, &app, WANTS, URL, "put x");
    world.run_for(Duration::from_secs(5));

    assert_eq!(ended(&world, 0, request), Some(Ok(WANTS)));
    assert!(world.host(WANTS).has_record(&app, "x"));
    assert_eq!(world.places(|host| host.status(&app).is_some()), [WANTS], "nobody else needs it");
    let host = world.host(WANTS);
    let last_asked =
        host.journal.iter().rposition(|(_, seen)| matches!(seen, Seen::Asked(_, Code::GetManifest { .. })));
    let downloaded = host.when(|seen| matches!(seen, Seen::Download(..)));
    assert!(host.asked() >= 5 && last_asked < downloaded, "{last_asked:?}, {downloaded:?}");
    let installed = &host.installations()[0];
    assert_eq!((installed.source, installed.peer), (Source::Url, None));
    assert_eq!(host.status(&app).map(|status| status.usage.downloaded_bytes), Some(package.encode().len() as u64));
    assert_eq!(host.node.stats().downloads.get("ok"), Some(&1));
    assert_eq!((downloads(&world, WANTS).len(), rests(&world, WANTS), cancelled(&world, WANTS)), (1, 1, 0));
    // From here it goes from node to node.
    world.route(WANTS, "echo", 5, "put y");
    world.run_for(Duration::from_secs(2));
    assert!(world.host(5).has_record(&app, "y") && downloads(&world, 5).is_empty());
}

#[test]
fn where_a_node_has_the_code_the_url_is_not_asked() {
    let mut world = ring(2, 6);
    world.publish(1, &echo());
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    let request = send(&mut world, 0, &app_of(&echo()), WANTS, URL, "put x");
    world.run_for(Duration::from_secs(5));
    assert_eq!(ended(&world, 0, request), Some(Ok(WANTS)));
    assert_eq!((world.host(WANTS).installations()[0].source, downloads(&world, WANTS).len()), (Source::Overlay, 0));
}

#[test]
fn a_host_that_the_policy_does_not_list_is_never_asked() {
    let elsewhere = [
        "https://other.example/echo.prost",
        "https://code.example:8443/echo.prost",
        "https://www.code.example/echo.prost",
        "https://code.example.evil.example/",
        "https://10.0.0.1/echo.prost",
        "http://code.example/echo.prost",
        "https://user@code.example/echo.prost",
    ];
    for url in elsewhere {
        let mut world = ring(3, 1);
        world.pages.insert(url.to_owned(), Page::of(&echo()));
        assert_eq!(sent(&mut world, &app_of(&echo()), url), Err(vec![Refusal::FetchFailed]), "{url}");
        assert_eq!(downloads(&world, 0), [""; 0], "{url}");
    }
    let mut world = World::ring(3, 1);
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::FetchFailed]));
    assert_eq!(downloads(&world, 0), [""; 0], "without a list there is none");
}

#[test]
fn for_an_application_that_is_denied_nothing_is_fetched() {
    let mut world = World::ring(4, 1);
    let text =
        "default = 'allow'\n[locator]\nallow_hosts = ['code.example']\n[[rule]]\neffect = 'deny'\nprovider = '*'\n";
    world.set_policy(0, policy(&format!("{text}application = 'echo'\n")));
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::Denied]));
    assert_eq!(downloads(&world, 0), [""; 0]);

    // What only its manifest tells: that is all that is read.
    world.set_policy(0, policy(&format!("{text}application = 'echo'\nasks_for = ['route']\n")));
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::Denied]));
    assert_eq!((downloads(&world, 0).len(), rests(&world, 0), cancelled(&world, 0)), (1, 0, 1));
    assert_eq!(world.host(0).compiled(), 0);
}

#[test]
fn what_there_is_no_room_for_is_not_downloaded() {
    let mut world = World::ring(5, 1);
    let text = "default = 'allow'\n[locator]\nallow_hosts = ['code.example']\n[node]\nmemory_bytes = 1000000\n";
    world.set_policy(0, policy(&format!("{text}[defaults.budgets]\nmemory_bytes = 600000\n")));
    world.publish(0, &draft("first").sign());
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::OverBudget]));
    assert_eq!((rests(&world, 0), cancelled(&world, 0)), (0, 1));
}

#[test]
fn a_hundred_messages_at_once_make_one_download() {
    let mut world = ring(6, 4);
    let app = app_of(&echo());
    let mirror = "https://mirror.example/echo.prost";
    for url in [URL, mirror] {
        world.pages.insert(url.to_owned(), Page::of(&echo()).taking(Duration::from_secs(1), Duration::from_secs(2)));
    }
    let requests: Vec<(usize, u64)> = (0..100)
        .map(|number| {
            let url = if number % 2 == 0 { URL } else { mirror };
            (number % 3, send(&mut world, number % 3, &app, WANTS, url, &format!("put {number}")))
        })
        .collect();
    world.run_for(Duration::from_secs(6));
    for (from, request) in requests {
        assert_eq!(ended(&world, from, request), Some(Ok(WANTS)));
    }
    assert_eq!((downloads(&world, WANTS).len(), world.host(WANTS).compiled()), (1, 1));
}

#[test]
fn where_one_url_gives_nothing_the_next_that_was_named_is_asked() {
    let mut world = ring(7, 1);
    let app = app_of(&echo());
    let mirror = "https://mirror.example/echo.prost";
    world.pages.insert(URL.to_owned(), Page::failing(DownloadFailure::Status));
    world.pages.insert(mirror.to_owned(), Page::of(&echo()));
    let first = send(&mut world, 0, &app, 0, URL, "put x");
    let second = send(&mut world, 0, &app, 0, mirror, "put y");
    world.run_for(Duration::from_secs(2));
    assert_eq!((ended(&world, 0, first), ended(&world, 0, second)), (Some(Ok(0)), Some(Ok(0))));
    assert_eq!(downloads(&world, 0), [URL, mirror]);
}

#[test]
fn only_so_many_urls_are_tried_for_an_application() {
    let mut world = ring(21, 1);
    let urls: Vec<String> = (0..8).map(|number| format!("https://code.example/{number}")).collect();
    let requests: Vec<u64> = urls
        .iter()
        .map(|url| {
            world.pages.insert(url.clone(), Page::failing(DownloadFailure::Status));
            send(&mut world, 0, &app_of(&echo()), 0, url, "put x")
        })
        .collect();
    world.run_for(Duration::from_secs(5));
    assert_eq!(downloads(&world, 0), urls[..4]);
    assert!(requests.iter().all(|request| ended(&world, 0, *request) == Some(Err(vec![Refusal::FetchFailed]))));
}

#[test]
fn what_gave_nothing_is_left_alone_for_about_a_minute() {
    let mut world = ring(8, 1);
    let app = app_of(&echo());
    world.pages.insert(URL.to_owned(), Page::failing(DownloadFailure::Status));
    assert_eq!(sent(&mut world, &app, URL), Err(vec![Refusal::FetchFailed]));
    assert_eq!(downloads(&world, 0).len(), 1);
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    for _ in 0..4 {
        world.run_for(Duration::from_millis(10_900));
        assert_eq!(sent(&mut world, &app, URL), Err(vec![Refusal::FetchFailed]));
        assert_eq!(downloads(&world, 0).len(), 1, "45 seconds are not over");
    }
    world.run_for(Duration::from_secs(32));
    assert_eq!(sent(&mut world, &app, URL), Ok(0), "75 seconds are over");
    assert_eq!(downloads(&world, 0).len(), 2);
}

#[test]
fn nodes_do_not_come_back_to_a_url_together() {
    let spans: std::collections::BTreeSet<u128> = (0..8)
        .map(|seed| {
            let mut world = ring(900 + seed, 1);
            world.pages.insert(URL.to_owned(), Page::failing(DownloadFailure::Slow));
            let begun = world.now;
            while downloads(&world, 0).len() < 2 {
                let _ = sent(&mut world, &app_of(&echo()), URL);
                world.run_for(Duration::from_millis(500));
            }
            world.now.since(begun).as_millis() / 500
        })
        .collect();
    assert!(spans.len() > 2, "{spans:?}");
}

#[test]
fn a_host_that_cannot_be_reached_is_left_alone_whatever_is_wanted_from_it() {
    let other = "https://code.example/other.prost";
    let second = draft("other").sign();
    for (failure, asked) in [
        (DownloadFailure::Connect, 1),
        (DownloadFailure::Resolve, 1),
        (DownloadFailure::Address, 1),
        (DownloadFailure::Tls, 1),
        (DownloadFailure::Status, 2),
        (DownloadFailure::Slow, 2),
    ] {
        let mut world = ring(9, 1);
        world.pages.insert(URL.to_owned(), Page::failing(failure));
        world.pages.insert(other.to_owned(), Page::of(&second));
        assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::FetchFailed]));
        let result = sent(&mut world, &app_of(&second), other);
        assert_eq!((downloads(&world, 0).len(), result.is_ok()), (asked, asked == 2), "{failure:?}");
    }
}

#[test]
fn a_message_of_another_application_does_not_keep_a_url_from_its_own() {
    let mut world = ring(10, 1);
    world.pages.insert(URL.to_owned(), Page::of(&echo()));
    assert_eq!(sent(&mut world, &draft("other").app(), URL), Err(vec![Refusal::FetchFailed]));
    assert_eq!(rests(&world, 0), 0, "its manifest is not the other's");
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Ok(0));
}

#[test]
fn the_sender_learns_no_more_than_that_the_code_could_not_be_had() {
    let good = echo();
    let mut wrong_bytes = good.encode();
    *wrong_bytes.last_mut().expect("bytes") ^= 1;
    let mut forged = good.encode();
    forged[Package::HEAD + good.manifest.bytes().len() - 1] ^= 1;
    let mut old = draft("echo");
    old.manifest.expires = Some(1);
    let mut foreign = draft("echo");
    foreign.manifest.world = "prost:peerlet@9.0.0".to_owned();
    let stranger = draft("echo").provider(2).sign().encode();
    let files = [
        wrong_bytes,
        forged,
        old.sign().encode(),
        foreign.sign().encode(),
        stranger,
        good.encode()[..1000].to_vec(),
        [good.encode(), vec![0]].concat(),
        b"<html>not found</html>".to_vec(),
        Vec::new(),
    ];
    for (number, file) in files.into_iter().enumerate() {
        let mut world = ring(11, 1);
        world.pages.insert(URL.to_owned(), Page { file: file.into(), ..Page::of(&good) });
        assert_eq!(sent(&mut world, &app_of(&good), URL), Err(vec![Refusal::FetchFailed]), "{number}");
        assert_eq!((downloads(&world, 0).len(), world.host(0).compiled()), (1, 0), "{number}");
        assert_eq!(world.host(0).node.stats().refusals.get(&Refusal::BadPackage), None, "{number}");
    }
    for failure in [DownloadFailure::Connect, DownloadFailure::Address, DownloadFailure::TooLong] {
        let mut world = ring(12, 1);
        world.pages.insert(URL.to_owned(), Page::failing(failure));
        assert_eq!(sent(&mut world, &app_of(&good), URL), Err(vec![Refusal::FetchFailed]));
        let told = format!("no code from code.example: {failure}");
        assert_eq!(world.host(0).seen(|seen| *seen == Seen::Logged(told.clone())), 1, "the log says more");
        assert_eq!(world.host(0).node.stats().downloads.get(failure.name()), Some(&1));
    }
}

#[test]
fn a_message_that_would_wait_too_long_falls_over_and_the_download_goes_on() {
    let mut world = ring(13, 6);
    let app = app_of(&echo());
    // Its neighbour runs the application, but tells the node nothing of it.
    world.publish(WANTS + 1, &echo());
    world.meddler = Some(Box::new(|_, _, code| match code {
        Code::Manifest { request, .. } => {
            Fate::Says(Code::Manifest { request: *request, envelope: None, chunks: None })
        }
        _ => Fate::Arrives,
    }));
    world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(Duration::from_secs(1), Duration::from_secs(20)));
    let first = send(&mut world, 0, &app, WANTS, URL, "put x");
    world.run_for(Duration::from_secs(7));
    assert_eq!(ended(&world, 0, first), Some(Ok(WANTS + 1)));
    assert_eq!(world.host(WANTS).status(&app).map(|status| status.state), Some(AppState::Fetching));
    // What comes meanwhile does not wait at all.
    let second = send(&mut world, 0, &app, WANTS, URL, "put y");
    world.run_for(Duration::from_millis(500));
    assert_eq!(ended(&world, 0, second), Some(Ok(WANTS + 1)));

    world.run_for(Duration::from_secs(16));
    let third = send(&mut world, 0, &app, WANTS, URL, "put z");
    world.run_for(Duration::from_secs(1));
    assert_eq!(ended(&world, 0, third), Some(Ok(WANTS)));
    assert_eq!((downloads(&world, WANTS).len(), cancelled(&world, WANTS)), (1, 0));
}

#[test]
fn a_driver_that_answers_nothing_is_waited_for_only_so_long() {
    let mut world = ring(14, 1);
    let never = Duration::from_secs(100_000);
    world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(never, never));
    assert_eq!(sent(&mut world, &app_of(&echo()), URL), Err(vec![Refusal::FetchFailed]));
    world.run_for(Duration::from_secs(29));
    assert_eq!(cancelled(&world, 0), 0);
    world.run_for(Duration::from_secs(2));
    assert_eq!(cancelled(&world, 0), 1);
    let state = world.host(0).status(&app_of(&echo())).map(|status| status.state);
    assert_eq!(state, Some(AppState::Failed(Refusal::FetchFailed)));
}

#[test]
fn four_downloads_go_at_once_and_one_from_a_host() {
    let slow = |package: &Package| Page::of(package).taking(Duration::from_secs(1), Duration::from_secs(1));
    let names: Vec<String> = (0..10).map(|number| format!("app-{number}")).collect();
    let hosts: Vec<String> = names.iter().map(|name| format!("'{name}.example'")).collect();
    for (one_host, at_once, in_all, in_time) in [(false, 4, 8, 8), (true, 1, 3, 2)] {
        let mut world = World::ring(15, 1);
        world.set_policy(0, listing(&format!("'code.example', {}", hosts.join(", "))));
        let requests: Vec<u64> = names
            .iter()
            .map(|name| {
                let host = if one_host { "code" } else { name };
                let url = format!("https://{host}.example/{name}");
                let package = draft(name).sign();
                world.pages.insert(url.clone(), slow(&package));
                send(&mut world, 0, &app_of(&package), 0, &url, "put x")
            })
            .collect();
        world.run_for(Duration::from_millis(900));
        assert_eq!(downloads(&world, 0).len(), at_once);
        world.run_for(Duration::from_secs(8));
        // Of ten, eight have a turn; those whose turn has not come when they would have to wait too long have none.
        let good = requests.iter().filter(|request| ended(&world, 0, **request) == Some(Ok(0))).count();
        let failed = requests.iter().filter(|request| matches!(ended(&world, 0, **request), Some(Err(_)))).count();
        assert_eq!((good, good + failed, downloads(&world, 0).len()), (in_time, 10, in_all));
    }
}

#[test]
fn where_a_node_has_given_the_manifest_the_url_must_give_that_code() {
    for (release, good) in [(1, true), (2, false)] {
        let mut world = ring(16, 2);
        let package = draft("echo").component(&[], 400_000).sign();
        world.publish(1, &package);
        world.meddler = Some(Box::new(|_, _, code| match code {
            Code::Chunk { request, offset, .. } => {
                Fate::Says(Code::Chunk { request: *request, offset: *offset, bytes: None::<ByteBuf> })
            }
            _ => Fate::Arrives,
        }));
        let stands_there = draft("echo").release(release).component(&[], 400_000 + release as usize - 1).sign();
        world.pages.insert(URL.to_owned(), Page::of(&stands_there));
        let request = send(&mut world, 1, &app_of(&package), 0, URL, "put x");
        world.run_for(Duration::from_secs(5));
        let by = if good { 0 } else { 1 };
        assert_eq!(ended(&world, 1, request), Some(Ok(by)), "release {release}");
        assert_eq!((downloads(&world, 0).len(), rests(&world, 0)), (1, usize::from(good)), "release {release}");
    }
}

#[test]
fn a_policy_that_turns_against_a_download_ends_it_at_once() {
    let slow = Duration::from_secs(3);
    let denying = "default = 'deny'\n[locator]\nallow_hosts = ['code.example']\n";
    for (new, refusal) in [(listing("'mirror.example'"), Refusal::FetchFailed), (policy(denying), Refusal::Denied)] {
        for after in [1, 4] {
            let mut world = ring(17, 1);
            world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(slow, slow));
            let request = send(&mut world, 0, &app_of(&echo()), 0, URL, "put x");
            world.run_for(Duration::from_secs(after));
            assert_eq!(cancelled(&world, 0), 0);
            world.set_policy(0, new.clone());
            assert_eq!(cancelled(&world, 0), 1, "{refusal}, after {after} s");
            world.run_for(Duration::from_secs(10));
            assert_eq!(ended(&world, 0, request), Some(Err(vec![refusal])));
            assert_eq!(world.host(0).compiled(), 0);
        }
    }
}

#[test]
fn what_the_operator_installs_or_removes_ends_a_download() {
    let slow = Duration::from_secs(3);
    let mut world = ring(18, 1);
    let app = app_of(&echo());
    world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(slow, slow));
    let request = send(&mut world, 0, &app, 0, URL, "put x");
    world.run_for(Duration::from_secs(1));
    world.publish(0, &echo());
    assert_eq!((cancelled(&world, 0), ended(&world, 0, request)), (1, Some(Ok(0))));

    let mut world = ring(18, 1);
    world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(slow, slow));
    send(&mut world, 0, &app, 0, URL, "put x");
    world.run_for(Duration::from_secs(4));
    assert!(world.remove(0, &app.to_string()).is_ok());
    assert_eq!(cancelled(&world, 0), 1);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.host(0).compiled(), 0);
}

#[test]
fn answers_about_downloads_that_nobody_asked_for_change_nothing() {
    let mut world = ring(19, 1);
    let package = echo();
    let rubbish = [Bytes::new(), Bytes::from_static(b"\x1f"), package.manifest.bytes().clone()];
    let talk = |world: &mut World, numbers: std::ops::Range<u64>| {
        for download in numbers {
            for bytes in &rubbish {
                world.give(0, Input::DownloadHead { download, envelope: bytes.clone() });
                world.give(0, Input::Downloaded { download, bytes: u64::MAX, result: Ok(bytes.clone()) });
            }
            world.give(0, Input::Downloaded { download, bytes: 0, result: Err(DownloadFailure::Late) });
        }
    };
    talk(&mut world, 0..50);
    assert!(world.host(0).node.apps().is_empty());
    world.pages.insert(URL.to_owned(), Page::of(&package));
    let request = send(&mut world, 0, &app_of(&package), 0, URL, "put x");
    talk(&mut world, 1000..1050);
    world.run_for(Duration::from_secs(2));
    assert_eq!(ended(&world, 0, request), Some(Ok(0)));
    talk(&mut world, 0..50);
    let delivered = |(told, _): &(&Event, _)| matches!(told, Event::Deliver(_));
    assert_eq!(world.host(0).events().iter().filter(|event| delivered(event)).count(), 1);
    assert!(world.host(0).runs(&app_of(&package)));
}

#[test]
fn a_component_that_comes_before_its_manifest_was_judged_is_not_taken() {
    let mut world = ring(20, 1);
    let never = Duration::from_secs(100_000);
    world.pages.insert(URL.to_owned(), Page::of(&echo()).taking(never, never));
    let request = send(&mut world, 0, &app_of(&echo()), 0, URL, "put x");
    let number = world.host(0).journal.iter().find_map(|(_, seen)| match seen {
        Seen::Download(number, _) => Some(*number),
        _ => None,
    });
    let download = number.expect("it is asked for at once");
    world.give(0, Input::Downloaded { download, bytes: 1, result: Ok(echo().component) });
    assert_eq!((ended(&world, 0, request), world.host(0).compiled()), (Some(Err(vec![Refusal::FetchFailed])), 0));
}
