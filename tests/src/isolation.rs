//! Tests that need a network of their own. Each is run once more, by a process of its own in namespaces that only this
//! process and its children see: the kernel removes them with the last of these processes, however that ends.

use core::time::Duration;
use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::slots::Slot;
use crate::wait_until;

/// Variable of the process inside.
const INSIDE: &str = "PROST_TESTS_INSIDE";
/// What to try, in this order: the first is for root, the second for everyone.
const WAYS: [&[&str]; 2] = [&["--mount", "--net"], &["--user", "--map-root-user", "--mount", "--net"]];
/// All that a test does inside needs no more than this does. `ip` keeps the names of namespaces below `/run`.
const PREPARE: &str = "mount -t tmpfs tmpfs /run && ip link set lo up && \
                       ip link add probe type bridge && ip netns add probe && ip netns delete probe && \
                       ip link delete probe";
/// What a machine needs.
const NEEDED: &str = "this test makes networks of its own: it needs `ip` (Debian: apt install iproute2), `unshare` \
                      (util-linux), the kernel's bridge and veth, and root with CAP_SYS_ADMIN or leave for everyone to \
                      make user namespaces (sysctl kernel.unprivileged_userns_clone=1, \
                      kernel.apparmor_restrict_unprivileged_userns=0; in a container: --privileged)";

/// Runs a test's body in a network namespace with nothing but loopback, as one who may change it.
///
/// `test` is the whole name of the calling test, which the second process is told to run.
///
/// # Panics
///
/// Where the body does, where it takes longer than it may, and where the machine gives no namespaces.
#[track_caller]
pub fn in_own_network(test: &str, patience: Duration, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_none() {
        let _slot = Slot::take();
        return run_inside(test, patience);
    }
    // Nobody waits for this process once the other one is gone.
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a signal is one");
    body();
}

#[track_caller]
fn run_inside(test: &str, patience: Duration) {
    let dir = tempfile::tempdir().expect("there is room for files");
    let log = dir.path().join("log");
    let file = File::create(&log).expect("the directory is writable");
    let errors = file.try_clone().expect("a file has many handles");
    let script = format!("{PREPARE} && exec \"$0\" \"$@\"");
    let program = env::current_exe().expect("this program has a path");
    let mut command = Command::new("unshare");
    command.args(way()).args(["sh", "-ec", &script]).arg(program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "1");
    // So that its files go with this directory, even where it has no time to remove them.
    command.env("TMPDIR", dir.path());
    let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn().expect("it has just started before");
    let mut inside = Inside(child);

    let status = inside.ended(patience);
    let said = read(&log);
    let status = status.unwrap_or_else(|| panic!("{test} has not ended after {patience:?}\n{said}"));
    assert!(status.success(), "inside, {test} failed: {status}\n{said}");
    // A name that fits no test is no failure for the process inside.
    assert!(said.contains("test result: ok. 1 passed"), "inside, there is no test {test}\n{said}");
    print!("{said}");
}

/// The flags of `unshare` with which this machine gives namespaces.
#[track_caller]
fn way() -> &'static [&'static str] {
    let mut failures = String::new();
    for flags in WAYS {
        let tried = Command::new("unshare").args(flags).args(["sh", "-ec", PREPARE]).stdin(Stdio::null()).output();
        let failure = match tried {
            Ok(output) if output.status.success() => return flags,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        failures += &format!("\nunshare {}: {}", flags.join(" "), failure.trim());
    }
    panic!("{NEEDED}{failures}");
}

/// The process inside. It ends with its owner, and its nodes with it.
struct Inside(Child);

impl Inside {
    fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(patience, || {
            status = self.0.try_wait().expect("it is a child of this process");
            status.is_some()
        });
        status
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
