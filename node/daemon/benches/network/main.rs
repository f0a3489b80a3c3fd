//! What a node costs, against bare quinn on the same machine and in the same run.
//!
//! Each side of each measurement has a thread and a current-thread runtime of its own. The measurements take turns, so
//! that a slow moment of the machine meets all of them, and medians are shown. Processor time is that of the thread
//! named, system calls included; rates by the clock depend on how many cores the three threads share.

mod light;
mod nodes;
mod quic;
mod relay;
mod reply;
mod table;
mod worker;

use std::time::{Duration, Instant};

use light::Work;
use nodes::Trio;
use table::{Sample, Samples};
use worker::Placement;

/// Rounds, and with them samples for each median.
const ROUNDS: usize = 5;
/// No round begins later than this.
const BUDGET: Duration = Duration::from_secs(60);
/// Bytes of a message's payload.
const PAYLOAD: usize = 200;
/// Bytes of a request and of its response over bare quinn: about those of a lookup and of its outcome.
const REQUEST: usize = 96;
/// Forwarded messages whose outcome the sender waits for, at most.
const WINDOW: u64 = 4096;
/// Requests in flight where they are pipelined.
const PIPELINE: u64 = 64;

const FORWARDED: u64 = 200_000;
const RELAYED_STREAMS: u64 = 100_000;
const RELAYED_FRAMES: u64 = 600_000;
const SEQUENTIAL: u64 = 5_000;
const PIPELINED: u64 = 60_000;
const PIPELINED_FRAMES: u64 = 200_000;

fn main() {
    let begun = Instant::now();
    // `cargo bench` adds an option of its own; what else there is says which measurements to take.
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let trio = Trio::start();
    let relay = relay::Chain::start(PAYLOAD);
    let reply = reply::Pair::start(REQUEST);
    let mut samples = Samples::default();
    measure(&trio, &relay, &reply, &only, 10, |_, _| {});
    let mut rounds = 0;
    while rounds < ROUNDS && begun.elapsed() < BUDGET {
        measure(&trio, &relay, &reply, &only, 1, |name, sample| samples.add(name, sample));
        rounds += 1;
    }
    println!("medians of {rounds} interleaved rounds, loopback, {} cores", cores());
    println!("one way: {PAYLOAD} B payloads, the sender of the node's messages waits for outcomes beyond {WINDOW}");
    println!("requests: the node's are lookups of a key that the asked node owns, quinn's have {REQUEST} B each way\n");
    samples.print();
    println!("\n{}", trio.summary());
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
}

/// One round: each measurement whose name contains `only`, with a part of its messages.
fn measure(
    trio: &Trio,
    relay: &relay::Chain,
    reply: &reply::Pair,
    only: &str,
    part: u64,
    mut each: impl FnMut(&'static str, Sample),
) {
    let mut take = |name: &'static str, measure: &dyn Fn() -> Sample| {
        if name.contains(only) {
            each(name, measure());
        }
    };
    take(table::FORWARD, &|| trio.measure(Work::Forward, FORWARDED / part, WINDOW, Placement::Free));
    take(table::RELAY_STREAMS, &|| relay.measure(relay::How::StreamEach, RELAYED_STREAMS / part));
    take(table::RELAY_FRAMES, &|| relay.measure(relay::How::Frames, RELAYED_FRAMES / part));
    let (count, many, frames) = (SEQUENTIAL / part, PIPELINED / part, PIPELINED_FRAMES / part);
    for (names, placement) in [(table::TOGETHER, Placement::Together), (table::APART, Placement::Apart)] {
        take(names[0], &|| trio.measure(Work::Lookup, count, 1, placement));
        take(names[1], &|| reply.measure(reply::How::StreamEach, count, 1, placement));
        take(names[2], &|| reply.measure(reply::How::Frames, count, 1, placement));
    }
    let names = table::MANY;
    take(names[0], &|| trio.measure(Work::Lookup, frames, PIPELINE, Placement::Apart));
    take(names[1], &|| reply.measure(reply::How::StreamEach, many, PIPELINE, Placement::Apart));
    take(names[2], &|| reply.measure(reply::How::Frames, frames, PIPELINE, Placement::Apart));
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
