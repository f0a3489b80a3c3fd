//! A stream from one node to several, over real processes and real files.

use std::path::Path;
use std::thread;
use std::time::Duration;

use prost_contract::Capability;
use prost_node::standard::P2PTV;
use prost_p2ptv_api::{self as api, Look, Stats};
use prost_tests::{Node, Output, Plan, Ring, allow, provider};

/// Bits a second, and bytes of the file: twelve seconds.
const RATE: &str = "2M";
const BYTES: usize = 3_000_000;

fn ring(nodes: usize) -> Ring {
    let capabilities: Vec<Capability> = P2PTV.capabilities.iter().map(|(capability, _)| *capability).collect();
    let ring = Plan::of(nodes).policy(allow(&provider(), &capabilities)).start();
    ring.install(&P2PTV.package(&provider()));
    ring
}

/// Bytes in which no part is like another.
fn film() -> Vec<u8> {
    (0..BYTES as u64 / 8).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_be_bytes()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

/// How a node is part of the channel.
fn part(node: &Node, channel: &str) -> Stats {
    let look = api::encode(&Look { channel: api::channel(channel) });
    let answer = node.admin.call("p2ptv", api::STATS, &look).unwrap_or_else(|error| panic!("{error}\n{}", node.tail()));
    api::decode(&answer).expect("it speaks as this program does")
}

#[track_caller]
fn assert_whole(said: &Output, file: &Path, film: &[u8]) -> serde_json::Value {
    let summary = said.json();
    assert_eq!(
        (&summary["lost"], &summary["forged"], &summary["ended"]),
        (&0.into(), &0.into(), &true.into()),
        "{said:?}"
    );
    let first = summary["first"].as_u64().expect("something came") as usize;
    let shown = std::fs::read(file).expect("it was written");
    let (segment, _) = api::segment_size(2_000_000);
    assert!(shown == film[first * segment..], "{} bytes came from segment {first} on", shown.len());
    summary
}

#[test]
fn three_watchers_and_one_who_joins_late_have_every_byte_though_a_relay_is_killed() {
    let mut ring = ring(8);
    let film = film();
    let file = ring.path("film");
    std::fs::write(&file, &film).expect("room");
    // The relay that dies is the root, unless another passes the channel on: it is neither the source nor watches.
    let channel = ring.name_where(|ring, key| ring.replicas(key, 1)[0] == 7);
    let out: Vec<_> = (0..4).map(|number| ring.path(&format!("seen-{number}"))).collect();
    let watch = |node: &Node, out: &Path| node.ask(&["p2ptv", "watch", &channel, "-o", text(out), "--json"]);

    let mut victim = ring.take(7);
    let summaries = thread::scope(|scope| {
        let ring = &ring;
        let mut watching: Vec<_> = (1..4)
            .map(|number| {
                scope.spawn({
                    let out = &out[number - 1];
                    move || watch(&ring[number], out)
                })
            })
            .collect();
        ring.until("all three watch", Duration::from_secs(20), || {
            (1..4).all(|number| part(&ring[number], &channel).parent.is_some())
        });
        let serve = scope
            .spawn(|| ring[0].ask(&["p2ptv", "serve", text(&file), "--channel", &channel, "--rate", RATE, "--json"]));
        ring.until("the stream has begun", Duration::from_secs(20), || part(&ring[1], &channel).next > 10);
        assert!(part(&victim, &channel).children > 0, "the root passes it on");
        victim.kill();
        ring.until("the stream goes on", Duration::from_secs(20), || part(&ring[1], &channel).next > 25);
        watching.push(scope.spawn(|| watch(&ring[5], &out[3])));
        let served = serve.join().expect("it does not panic").json();
        assert_eq!(served["bytes"], film.len(), "{served}");
        let said: Vec<Output> = watching.into_iter().map(|watch| watch.join().expect("it does not panic")).collect();
        said.iter().zip(&out).map(|(said, out)| assert_whole(said, out, &film)).collect::<Vec<_>>()
    });
    for (number, summary) in summaries.iter().enumerate() {
        let began_late = summary["first"].as_u64() > Some(0);
        assert_eq!(began_late, number == 3, "{summary}");
        assert!(!began_late || summary["startup_seconds"].as_f64() < Some(10.0), "{summary}");
    }
}

#[test]
fn a_channel_is_of_its_first_source_and_what_is_wrong_is_said() {
    let ring = ring(3);
    let file = ring.path("small");
    std::fs::write(&file, "a few bytes").expect("room");
    let serve = |at: usize, channel: &str| ring[at].ask(&["p2ptv", "serve", text(&file), "--channel", channel]);

    let mine = ring.name_where(|ring, key| ring.replicas(key, 1)[0] == 0);
    assert!(serve(0, &mine).ok().starts_with("streamed 11 B in 1 segments"));
    assert!(serve(1, &mine).refused(1).contains("belongs to another source"));
    assert!(ring[1].ask(&["p2ptv", "watch", &mine, "--seconds", "1", "--json"]).json()["segments"].is_u64());
    let other = ring[1].id.to_string();
    let status = ring[0].ask(&["p2ptv", "status", &mine, "--json"]).json();
    assert_eq!(status["source"], ring[0].id.to_string(), "not {other}");

    assert!(ring[0].ask(&["p2ptv", "serve", "/no/such/file", "--channel", "x"]).refused(66).contains("cannot read"));
    ring[2].admin.remove("p2ptv").expect("it was installed");
    assert!(ring[2].ask(&["p2ptv", "watch", &mine, "--seconds", "1"]).refused(1).contains("prost peerlet install"));
}
