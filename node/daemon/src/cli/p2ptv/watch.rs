//! `prost p2ptv watch`: a channel, and how it plays.

use core::time::Duration;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use clap::Args;
use prost_kbr::NodeId;
use prost_p2ptv_api::{
    self as api, Counts, LEAVE, Leave, Look, MAX_REWIND, NEXT, Next, Playback, Report, STATS, Segment, Stats, WATCH,
    Watch, Watching,
};
use prost_peerlet::inbox::Batch;
use prost_peerlet::{Id, Key};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::super::target::Target;
use super::{P2PTV, PATIENCE, PAUSE, ask, failure, name, wall_ms};
use crate::admin_client::{AdminClient, AdminError};
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  prost p2ptv watch news -o film.webm
  prost p2ptv watch news -o - | mpv -

Tells how it goes each second on standard error, and at the end in a summary on standard output, or on standard error
where that has the stream. Ends with 0 when the stream has ended and nothing of it was lost, with 1 otherwise.";

/// Between two looks at the clock, and between two lines about how it goes.
const LOOK: Duration = Duration::from_millis(50);
const LINE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct WatchArgs {
    /// Name of the channel.
    #[arg(value_parser = name)]
    channel: String,
    /// Write the stream to this file; - for standard output.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take the stream of this node only. By default it is whoever the channel belongs to.
    #[arg(long, value_name = "NODE")]
    source: Option<NodeId>,
    /// Begin so many segments before the newest, where the stream has begun already.
    #[arg(long, value_name = "SEGMENTS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_REWIND)))]
    rewind: u32,
    /// Play when so many segments are there.
    #[arg(long, value_name = "SEGMENTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    buffer: u32,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    #[command(flatten)]
    target: Target,
    /// The lines and the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// How it has gone, once a second and at the end.
#[derive(Debug, Serialize)]
struct Line {
    seconds: f64,
    /// From the command to the start of playback.
    startup_seconds: Option<f64>,
    buffered_seconds: f64,
    stalls: u64,
    stalled_seconds: f64,
    segments: u64,
    bytes: u64,
    lost: u64,
    late: u64,
    /// Segments that came to the node more than once, that it had to ask for, and that the source had not signed.
    duplicates: u64,
    repaired: u64,
    forged: u64,
    delay_p50_ms: u64,
    delay_p95_ms: u64,
    delay_p99_ms: u64,
    delay_max_ms: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    channel: String,
    stream: Option<u64>,
    /// The number of the first segment, and whether the last has come.
    first: Option<u64>,
    ended: bool,
    #[serde(flatten)]
    line: Line,
}

impl Line {
    fn new(start: Instant, report: &Report, counts: Counts) -> Line {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        Line {
            seconds: start.elapsed().as_secs_f64(),
            startup_seconds: report.startup_ms.map(seconds),
            buffered_seconds: seconds(report.buffered_ms),
            stalls: report.stalls,
            stalled_seconds: seconds(report.stalled_ms),
            segments: report.segments,
            bytes: report.bytes,
            lost: report.lost,
            late: report.late,
            duplicates: counts.duplicates,
            repaired: counts.repaired,
            forged: counts.forged,
            delay_p50_ms: report.delay_p50_ms,
            delay_p95_ms: report.delay_p95_ms,
            delay_p99_ms: report.delay_p99_ms,
            delay_max_ms: report.delay_max_ms,
        }
    }

    fn text(&self) -> String {
        let startup = self.startup_seconds.map_or_else(|| "not yet".to_owned(), |seconds| format!("{seconds:.2} s"));
        format!(
            "{:>5.0} s  {} segments, {}, {:.1} s buffered, start {startup}, {} stalls ({:.1} s), {} lost, {} late, \
             {} twice, {} repaired, delay {}/{}/{} ms",
            self.seconds,
            self.segments,
            output::size(self.bytes),
            self.buffered_seconds,
            self.stalls,
            self.stalled_seconds,
            self.lost,
            self.late,
            self.duplicates,
            self.repaired,
            self.delay_p50_ms,
            self.delay_p95_ms,
            self.delay_p99_ms,
        )
    }

    fn say(&self, as_json: bool) {
        match serde_json::to_string(self) {
            Ok(line) if as_json => eprintln!("{line}"),
            _ => eprintln!("{}", self.text()),
        }
    }
}

/// Watches until the stream ends.
pub(super) fn run(args: &WatchArgs) -> Result<(), Failure> {
    let start = Instant::now();
    let node = args.target.client()?;
    let to_stdout = args.out.as_deref() == Some(Path::new("-"));
    let out = args.out.as_deref().map(create).transpose()?;
    let watch = Watch {
        channel: api::channel(&args.channel),
        source: args.source.map(|source| Id::from_bytes(*source.as_bytes())),
        rewind: args.rewind,
    };
    let first: Watching = ask(&node, WATCH, &watch)?;
    let (send, receive) = sync_channel(16);
    let reader = Reader { node: node.clone(), watch: watch.clone(), watcher: first.watcher };
    thread::spawn(move || reader.read(&send));
    let mut screen = Screen {
        start,
        out,
        playback: Playback::new(0, args.buffer.into()),
        stream: None,
        first: None,
        next: 0,
        ended: false,
        watcher: first.watcher,
    };
    let played = screen.play(args, &node, watch.channel, &receive);
    let counts = counts(&node, watch.channel);
    // The node would find out by itself, later.
    let _ = node.call(P2PTV, LEAVE, &api::encode(&Leave { watcher: screen.watcher }));
    played?;
    let report = screen.playback.report();
    let summary = Summary {
        channel: args.channel.clone(),
        stream: screen.stream,
        first: screen.first,
        ended: screen.ended,
        line: Line::new(start, &report, counts),
    };
    match (to_stdout, args.json) {
        (true, _) => summary.line.say(args.json),
        (false, true) => output::json(&summary)?,
        (false, false) => output::line(summary.line.text())?,
    }
    if report.lost > 0 {
        return Err(Failure::new(exit::FAILED, format!("{} segments were lost", report.lost)));
    }
    if !screen.ended && args.seconds.is_none() {
        return Err(Failure::new(exit::FAILED, "the source began another stream").hint("watch again"));
    }
    Ok(())
}

fn create(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout()));
    }
    Ok(Box::new(File::create(path).map_err(|error| Failure::writing(path, &error))?))
}

fn counts(node: &AdminClient, channel: Key) -> Counts {
    ask::<Stats>(node, STATS, &Look { channel }).map(|stats| stats.counts).unwrap_or_default()
}

/// What comes: an answer of the node, or why there are none any more. With each the program's number there.
type Read = Result<(u64, Batch), Failure>;

/// Asks the node for what has come, on a thread of its own, as an answer may take a while.
struct Reader {
    node: AdminClient,
    watch: Watch,
    watcher: u64,
}

impl Reader {
    fn read(mut self, to: &SyncSender<Read>) {
        let mut from = 0;
        let mut answered = Instant::now();
        loop {
            match self.node.call(P2PTV, NEXT, &api::encode(&Next { watcher: self.watcher, from })) {
                Ok(answer) => {
                    let Ok(batch) = api::decode::<Batch>(&answer) else {
                        let _ = to.send(Err(Failure::new(exit::DATA, "the peerlet's answer makes no sense")));
                        return;
                    };
                    answered = Instant::now();
                    from = batch.first + batch.items.len() as u64;
                    if to.send(Ok((self.watcher, batch))).is_err() {
                        return;
                    }
                }
                // The node, or the peerlet on it, has started anew and does not know this program.
                Err(AdminError::Refused { status: 422, .. }) if answered.elapsed() < PATIENCE => {
                    thread::sleep(PAUSE);
                    self.watch.rewind = MAX_REWIND;
                    if let Ok(again) = ask::<Watching>(&self.node, WATCH, &self.watch) {
                        (self.watcher, from) = (again.watcher, 0);
                    }
                }
                Err(error) if error.is_transient() && answered.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(error) => {
                    let _ = to.send(Err(failure(error)));
                    return;
                }
            }
        }
    }
}

/// Where the stream is shown.
struct Screen {
    start: Instant,
    out: Option<Box<dyn Write>>,
    playback: Playback,
    stream: Option<u64>,
    first: Option<u64>,
    /// The next number.
    next: u64,
    ended: bool,
    watcher: u64,
}

impl Screen {
    /// Shows what comes until the stream ends, or another begins.
    fn play(
        &mut self,
        args: &WatchArgs,
        node: &AdminClient,
        channel: Key,
        receive: &Receiver<Read>,
    ) -> Result<(), Failure> {
        let mut said = Instant::now();
        let start = self.start;
        let is_over = || args.seconds.is_some_and(|seconds| start.elapsed() >= Duration::from_secs(seconds));
        while !is_over() {
            match receive.recv_timeout(LOOK) {
                Ok(read) => {
                    let (watcher, batch) = read?;
                    self.watcher = watcher;
                    if !self.show(&batch)? {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::new(exit::INTERNAL, "the reader is gone")),
            }
            self.playback.look(self.now());
            if said.elapsed() >= LINE {
                said += LINE;
                Line::new(self.start, &self.playback.report(), counts(node, channel)).say(args.json);
            }
        }
        Ok(())
    }

    /// Milliseconds since the command began.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// False where nothing more is to come of this stream.
    fn show(&mut self, batch: &Batch) -> Result<bool, Failure> {
        for item in &batch.items {
            let segment: Segment = api::decode(item)
                .map_err(|error| Failure::new(exit::DATA, format!("a segment makes no sense: {error}")))?;
            if *self.stream.get_or_insert(segment.stream) != segment.stream {
                return Ok(false);
            }
            // After the node has started anew, some come again.
            if segment.number < self.next {
                continue;
            }
            self.first.get_or_insert(segment.number);
            self.next = segment.number + 1;
            self.playback.arrived(self.now(), &segment, wall_ms().saturating_sub(segment.sent_ms));
            if let Some(out) = &mut self.out {
                out.write_all(&segment.data).and_then(|()| out.flush()).map_err(|error| match error.kind() {
                    io::ErrorKind::BrokenPipe => Failure::closed(),
                    _ => Failure::new(exit::CANNOT_CREATE, format!("cannot write the stream: {error}")),
                })?;
            }
            if segment.last {
                self.ended = true;
                return Ok(false);
            }
        }
        Ok(true)
    }
}
