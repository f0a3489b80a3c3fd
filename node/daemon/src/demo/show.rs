//! The demo from beginning to end.

use core::time::Duration;
use std::env;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::DemoError;
use super::input::{self, Input};
use super::interrupt::Interrupt;
use super::processes::Processes;
use super::report::Report;
use super::say::{Say, count};
use super::steps::Steps;
use super::{Options, ideal, prepare, sample};
use prost_package::ProviderKey;

use crate::config::ADMIN_TOKEN_FILE;
use crate::standard::DHT;

/// What the sample's files are made from.
const SEED: u64 = 160;
/// Most files that are named where they are passed over.
const MAX_NAMED: usize = 20;
/// Between two looks at a ring that runs on.
const LOOK: Duration = Duration::from_secs(1);

/// Shows it all.
pub(super) fn show(options: &Options, root: &Path, say: Say, interrupt: &Interrupt) -> Result<Report, DemoError> {
    let files = files(options, root, say)?;
    let provider = prepare::provider()?;
    // One more than the ring begins with: it joins later.
    let dirs = prepare::nodes(root, options.nodes + 1, &prepare::policy(&provider, &DHT))?;
    say.line(format!("made a certificate authority and {} in {}", count(dirs.len(), "certificate"), root.display()));
    let mut processes = Processes::start(dirs, options.nodes, say, interrupt)?;
    say.line(format!("{} started, each a process of its own", count(options.nodes, "node")));
    ideal::wait(&mut processes, say, interrupt)?;
    say.line("the ring is ideal");

    let mut steps = Steps::new(processes, say, interrupt.clone());
    let report = act(options, &mut steps, say, &files, &provider)?;
    print(&report, options.json)?;
    let wrong = report.wrong();
    if wrong > 0 {
        return Err(DemoError::Damaged { wrong, files: report.files });
    }
    steps.check_installs()?;
    if options.keep {
        keep(steps.into_processes(), say, interrupt)?;
    }
    Ok(report)
}

/// Everything that is done with a ring.
fn act(
    options: &Options,
    steps: &mut Steps,
    say: Say,
    files: &[Input],
    provider: &ProviderKey,
) -> Result<Report, DemoError> {
    let writer = steps.install(&DHT.package(provider).encode())?;
    let (stored, put_s) = steps.store(writer, files)?;
    let (hops, owners) = steps.look_up(writer, &stored)?;
    let reader = steps.choose_reader(writer)?;
    let (verified, get_s) = steps.read_back(reader, &stored)?;
    let once = steps.stored_once()?;
    let killed = steps.kill(writer, reader, &owners)?;
    let (verified_after_kill, get_after_kill_s) = steps.read_back(reader, &stored)?;
    let whole_after_kill_s = steps.wait_after_kill(&killed, once)?;
    let mut joined = steps.join(reader, once)?;
    joined.verified = steps.read_back(joined.node, &stored)?.0;
    let mut left = steps.leave(reader, joined.node, once)?;
    left.verified = steps.read_back(reader, &stored)?.0;
    let upgraded = steps.upgrade(reader, &DHT.next_package(provider), &stored)?;
    let installs = steps.installs();
    let alive = || steps.processes().alive();
    Ok(Report {
        nodes: options.nodes,
        files: stored.len(),
        bytes: stored.iter().map(|file| file.fingerprint.size).sum(),
        verified,
        verified_after_kill,
        killed: killed.node,
        whole_after_kill_s,
        joined,
        left,
        upgraded,
        installs,
        hops,
        put_s,
        get_s,
        healed_s: killed.healed_s,
        get_after_kill_s,
        elapsed_s: say.seconds(),
        first_message_s: steps.first_message_s(),
        retries: steps.retries(),
        admin: options.keep.then(|| alive().map(|node| node.admin.base_url().to_owned()).collect()),
        tokens: options.keep.then(|| alive().map(|node| node.dir.join(ADMIN_TOKEN_FILE)).collect()),
    })
}

/// The user's files, or a sample.
fn files(options: &Options, root: &Path, say: Say) -> Result<Vec<Input>, DemoError> {
    let directory = match &options.input {
        Some(directory) => directory.clone(),
        None => {
            let directory = root.join("sample");
            sample::write(&directory, SEED).map_err(|error| DemoError::System { what: "write the sample", error })?;
            directory
        }
    };
    let (files, passed_over) = input::files(&directory)?;
    say.line(format!("{} to store from {}", count(files.len(), "file"), directory.display()));
    for line in passed_over.iter().take(MAX_NAMED) {
        say.line(format!("passed over {line}"));
    }
    if passed_over.len() > MAX_NAMED {
        say.line(format!("passed over {} more", passed_over.len() - MAX_NAMED));
    }
    Ok(files)
}

fn print(report: &Report, json: bool) -> Result<(), DemoError> {
    let text = if json {
        serde_json::to_string(report).expect("numbers and text are always encoded")
    } else {
        report.to_string()
    };
    let mut stdout = io::stdout().lock();
    let printed = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    printed.map_err(|error| DemoError::System { what: "print the report", error })
}

/// Lets the ring run on until the demo is told to end.
fn keep(mut processes: Processes, say: Say, interrupt: &Interrupt) -> Result<(), DemoError> {
    say.line(format!("the ring runs on; Ctrl-C ends it. To talk to it:\n{}", how_to_talk(&processes)));
    loop {
        match interrupt.sleep(LOOK) {
            Err(DemoError::Interrupted) => return Ok(()),
            other => other?,
        }
        processes.check()?;
    }
}

fn how_to_talk(processes: &Processes) -> String {
    let mut text = String::new();
    for node in processes.alive() {
        let _ =
            writeln!(text, "  {:8} {}  {}  {}", node.name, node.id.short(), node.admin.base_url(), node.dir.display());
    }
    if let Some(node) = processes.alive().next() {
        let (url, token) = (node.admin.base_url(), node.dir.join(ADMIN_TOKEN_FILE));
        let program = env::args_os().next().map_or_else(|| "prost".into(), PathBuf::from);
        let (token, prost) = (token.display(), program.display());
        let _ = write!(
            text,
            "  export PROST_ADMIN={url} PROST_ADMIN_TOKEN_FILE={token}\n  {prost} ring show\n  \
             {prost} ring lookup some-name\n  echo hello | {prost} dht put some-name\n  {prost} dht get some-name\n  \
             curl {url}/metrics",
        );
    }
    text
}
