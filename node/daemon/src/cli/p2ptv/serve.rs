//! `prost p2ptv serve`: a file at its rate.

use core::time::Duration;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use clap::Args;
use prost_p2ptv_api::{self as api, FEED, Fed, Feed, OPEN, Open, Opened, segment_size};
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;
use super::super::target::Target;
use super::{ask, ask_patiently, name};
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  prost p2ptv serve film.webm --channel news --rate 1M
  ffmpeg … | prost p2ptv serve - --channel news --rate 800k

The first node that streams on a channel has it: others are refused. Ends when the whole file has been taken by the
channel's root; this node goes on to serve what is missing for ten minutes.";

/// Between two lines about how it goes.
const LINE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct ServeArgs {
    /// The file; - for standard input.
    file: PathBuf,
    /// Name of the channel; its key is the SHA-1 of it.
    #[arg(long, value_name = "NAME", value_parser = name)]
    channel: String,
    /// Bits a second, with k or M for thousands or millions.
    #[arg(long, value_name = "BITS/S", default_value = "1M", value_parser = rate)]
    rate: u64,
    #[command(flatten)]
    target: Target,
    /// The summary as JSON.
    #[arg(long)]
    json: bool,
}

/// Slowest and fastest stream, in bits a second.
const RATES: core::ops::RangeInclusive<u64> = 1_000..=100_000_000;

fn rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1_000),
        Some(digits) => (digits, 1_000_000),
        None => (text, 1),
    };
    let rate = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    rate.filter(|rate| RATES.contains(rate)).ok_or_else(|| "a rate is from 1k to 100M bits a second".to_owned())
}

/// What was streamed.
#[derive(Debug, Serialize)]
struct Streamed {
    channel: String,
    source: String,
    stream: u64,
    segments: u64,
    segment_bytes: usize,
    segment_ms: u32,
    bytes: u64,
    seconds: f64,
    /// By how much the ring held the stream up, at the end.
    behind_seconds: f64,
}

/// Streams it to its end.
pub(super) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let mut input = open(&args.file)?;
    let node = args.target.client()?;
    let channel = api::channel(&args.channel);
    let opened: Opened = ask(&node, OPEN, &Open { channel })?;
    let (size, duration_ms) = segment_size(args.rate);
    eprintln!("streaming on '{}' as {}: {size} bytes every {duration_ms} ms", args.channel, opened.source);
    let start = Instant::now();
    let mut said = start;
    let (mut bytes, mut number) = (0, 0);
    let mut data = read(&mut input, size)?;
    loop {
        let next = read(&mut input, size)?;
        let last = next.is_empty();
        let due = Duration::from_millis(u64::from(duration_ms) * number);
        thread::sleep(due.saturating_sub(start.elapsed()));
        bytes += data.len() as u64;
        let feed = Feed { channel, stream: opened.stream, number, duration_ms, last, data: data.into() };
        let fed: Fed = ask_patiently(&node, FEED, &feed)?;
        if said.elapsed() >= LINE {
            said = Instant::now();
            let behind = start.elapsed().saturating_sub(due).as_secs_f64();
            let seconds = start.elapsed().as_secs();
            eprintln!(
                "{seconds:>5} s  segment {number}, {bytes} bytes, {} under way, {behind:.1} s behind",
                fed.waiting
            );
        }
        number += 1;
        if last {
            break;
        }
        data = next;
    }
    let due = Duration::from_millis(u64::from(duration_ms) * (number - 1));
    let streamed = Streamed {
        channel: args.channel.clone(),
        source: opened.source.to_string(),
        stream: opened.stream,
        segments: number,
        segment_bytes: size,
        segment_ms: duration_ms,
        bytes,
        seconds: start.elapsed().as_secs_f64(),
        behind_seconds: start.elapsed().saturating_sub(due).as_secs_f64(),
    };
    if args.json {
        return output::json(&streamed);
    }
    let Streamed { segments, seconds, behind_seconds, .. } = streamed;
    let bytes = output::size(bytes);
    output::line(format!("streamed {bytes} in {segments} segments and {seconds:.1} s, {behind_seconds:.1} s behind"))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::reading(path, &error))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Failure::new(exit::NO_INPUT, format!("{} is a directory", path.display())));
    }
    Ok(Box::new(file))
}

/// The next bytes, fewer only at the end.
fn read(input: &mut dyn Read, size: usize) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::with_capacity(size);
    let read = input.take(size as u64).read_to_end(&mut data);
    read.map_err(|error| Failure::new(exit::NO_INPUT, format!("cannot read on: {error}")))?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units_and_bounds() {
        assert_eq!(["1M", "800k", "64000"].map(rate), [Ok(1_000_000), Ok(800_000), Ok(64_000)]);
        for text in ["", "M", "0", "999", "1G", "101M", "-1", "99999999999999999999M"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pieces_are_whole_until_the_last() {
        let mut input = &[7; 10][..];
        let pieces: Vec<usize> = (0..4).map(|_| read(&mut input, 4).expect("it can be read").len()).collect();
        assert_eq!(pieces, [4, 4, 2, 0]);
    }
}
