//! Runs a tool with all that it starts, and ends all of it where nobody wants it any more.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};

/// Between two looks at a tool that may have to be ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long a tool has to end by itself.
const LEAVE: Duration = Duration::from_secs(2);

/// Whether a tool shall go on. Clones are the same.
#[derive(Debug, Clone)]
pub(in crate::cli::peerlet) struct Stop(Option<Arc<AtomicBool>>);

impl Stop {
    /// Nobody ends the tool but the terminal.
    pub(in crate::cli::peerlet) fn never() -> Stop {
        Stop(None)
    }

    /// The tool, and all that it starts, ends once [`Stop::now`] is called.
    pub(in crate::cli::peerlet) fn when_told() -> Stop {
        Stop(Some(Arc::new(AtomicBool::new(false))))
    }

    /// Ends it.
    pub(in crate::cli::peerlet) fn now(&self) {
        if let Some(flag) = &self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }

    fn is_now(&self) -> bool {
        self.0.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

/// How a tool ended.
#[derive(Debug, Default)]
pub(in crate::cli::peerlet) struct Ended {
    pub(in crate::cli::peerlet) success: bool,
    pub(in crate::cli::peerlet) stopped: bool,
    pub(in crate::cli::peerlet) code: Option<i32>,
    pub(in crate::cli::peerlet) stdout: Vec<u8>,
    /// Empty where it was shown at once.
    pub(in crate::cli::peerlet) stderr: Vec<u8>,
}

/// Runs it to its end. What it says on standard error is kept, or shown at once.
pub(in crate::cli::peerlet) fn run_tool(command: &mut Command, stop: &Stop, keep: bool) -> io::Result<Ended> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(if keep { Stdio::piped() } else { Stdio::inherit() });
    if stop.0.is_some() {
        // A group of its own, so that what it has started can be ended with it.
        command.process_group(0);
    }
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take().map(read), child.stderr.take().map(read));
    let mut stopped = false;
    let status = loop {
        if stop.0.is_none() {
            break child.wait()?;
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if stop.is_now() {
            stopped = true;
            end(&mut child);
        }
        thread::sleep(LOOK);
    };
    let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|reader| reader.join().ok());
    let (stdout, stderr) = (text(stdout).unwrap_or_default(), text(stderr).unwrap_or_default());
    Ok(Ended { success: status.success() && !stopped, stopped, code: status.code(), stdout, stderr })
}

fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    // It may end just now.
    let _ = kill_process_group(group, Signal::TERM);
    let mut left = LEAVE;
    while matches!(child.try_wait(), Ok(None)) && !left.is_zero() {
        thread::sleep(LOOK);
        left = left.saturating_sub(LOOK);
    }
    let _ = kill_process_group(group, Signal::KILL);
}

fn read(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is what there is.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_a_tool_says_and_how_it_ends_is_told() {
        let ended = run_tool(&mut shell("echo out; echo err >&2; exit 3"), &Stop::never(), true).expect("a shell");
        assert_eq!((ended.success, ended.stopped, ended.code), (false, false, Some(3)));
        assert_eq!((&ended.stdout[..], &ended.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    }

    #[test]
    fn a_tool_ends_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let mark = dir.path().join("mark");
        let (stop, start) = (Stop::when_told(), Instant::now());
        let theirs = stop.clone();
        let script = format!("(sleep 2; touch {}) & wait", mark.display());
        let tool = thread::spawn(move || run_tool(&mut shell(&script), &theirs, true));
        thread::sleep(Duration::from_millis(300));
        stop.now();
        let ended = tool.join().expect("no panic").expect("a shell");
        assert!(ended.stopped && !ended.success);
        assert!(start.elapsed() < Duration::from_secs(2), "it did not wait for the sleeper");
        thread::sleep(Duration::from_secs(3));
        assert!(!mark.exists(), "the sleeper has ended too");
    }
}
