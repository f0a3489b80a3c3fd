//! The nodes as processes of this machine, all of which end with the demo.

use core::time::Duration;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;
use std::{env, thread};

use prost_kbr::NodeId;
use rustix::process::{Pid, Signal, kill_process};

use super::RING;
use super::error::DemoError;
use super::interrupt::Interrupt;
use super::prepare::{self, POLICY};
use super::say::{Say, count};
use crate::admin_client::AdminClient;
use crate::config::ADMIN_TOKEN_FILE;
use crate::node::{NODE_FILE, Reachable};

/// How long a node may take until it can be reached.
const UP: Duration = Duration::from_secs(60);
/// How long the nodes may take to leave the ring and end.
const LEAVE: Duration = Duration::from_secs(10);
/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);
/// Most of a log's end that an error repeats, in bytes.
const LOG_END: u64 = 2000;
/// Variables that a node reads its settings from begin so. The demo's nodes get theirs on the command line, but for how
/// much they log.
const VARIABLES: &str = "PROST_";
const LOG_VARIABLE: &str = "PROST_LOG";

/// The running nodes. Dropping it ends every process.
pub(super) struct Processes {
    nodes: Vec<Process>,
    /// Directories of nodes that have not been started, with their numbers; the last is the next.
    spare: Vec<(usize, PathBuf)>,
    say: Say,
    interrupt: Interrupt,
}

/// One node.
pub(super) struct Process {
    /// What it is called.
    pub(super) name: String,
    /// Its data directory.
    pub(super) dir: PathBuf,
    /// Its id.
    pub(super) id: NodeId,
    /// A client of its administration interface, with its token.
    pub(super) admin: AdminClient,
    listen: SocketAddr,
    child: Child,
    /// The demo ended it, or told it to end.
    ended: bool,
}

impl Processes {
    /// Starts a node in each of so many directories: the first founds the ring, the others join it there, all at once. The
    /// other directories are for later.
    pub(super) fn start(
        dirs: Vec<PathBuf>,
        count: usize,
        say: Say,
        interrupt: &Interrupt,
    ) -> Result<Processes, DemoError> {
        let spare = dirs.iter().cloned().enumerate().skip(count).rev().collect();
        let mut processes = Processes { nodes: Vec::new(), spare, say, interrupt: interrupt.clone() };
        let Some((first, others)) = dirs[..count.min(dirs.len())].split_first() else { return Ok(processes) };
        let mut founding = Starting::spawn(0, first, None)?;
        let founder = founding.wait(interrupt)?;
        let bootstrap = founder.listen;
        processes.nodes.push(founder);
        let mut joining = Vec::new();
        for (i, dir) in others.iter().enumerate() {
            joining.push(Starting::spawn(i + 1, dir, Some(bootstrap))?);
        }
        for starting in &mut joining {
            processes.nodes.push(starting.wait(interrupt)?);
        }
        Ok(processes)
    }

    /// The nodes that the demo has not ended.
    pub(super) fn alive(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().filter(|node| !node.ended)
    }

    /// The node with this id.
    pub(super) fn get(&self, id: NodeId) -> Option<&Process> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// A node for people: its name and the beginning of its id.
    pub(super) fn called(&self, id: NodeId) -> String {
        let name = self.get(id).map_or("a stranger", |node| &node.name);
        format!("{name} ({})", id.short())
    }

    /// An error where a node ended by itself, or the demo was told to end.
    pub(super) fn check(&mut self) -> Result<(), DemoError> {
        self.interrupt.check()?;
        for node in self.nodes.iter_mut().filter(|node| !node.ended) {
            check_child(&mut node.child, &node.name, &node.dir)?;
        }
        Ok(())
    }

    /// Ends every node: all leave the ring at once.
    pub(super) fn end(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        if !nodes.is_empty() {
            let ended = end(nodes.iter_mut().map(|node| &mut node.child), &self.interrupt);
            self.say.line(ended.describe());
        }
    }

    /// Ends every node without warning: nobody needs what they have.
    pub(super) fn abandon(&mut self) {
        let mut nodes = std::mem::take(&mut self.nodes);
        for node in &mut nodes {
            // It may have ended by itself.
            let _ = node.child.kill();
        }
        let ended = nodes.iter_mut().filter_map(|node| node.child.wait().ok()).count();
        if ended > 0 {
            self.say.line(format!("{} ended", count(ended, "node")));
        }
    }

    /// Starts one more node, which joins through this one.
    pub(super) fn join(&mut self, through: NodeId) -> Result<NodeId, DemoError> {
        let no_room = || DemoError::System { what: "start a node", error: io::ErrorKind::NotFound.into() };
        let bootstrap = self.get(through).ok_or_else(no_room)?.listen;
        let (number, dir) = self.spare.pop().ok_or_else(no_room)?;
        let node = Starting::spawn(number, &dir, Some(bootstrap))?.wait(&self.interrupt)?;
        let id = node.id;
        self.nodes.push(node);
        Ok(id)
    }

    /// Tells a node to leave the ring, and waits until it has ended. Tells the seconds that it took.
    pub(super) fn leave(&mut self, id: NodeId) -> Result<f64, DemoError> {
        let interrupt = self.interrupt.clone();
        let Some(node) = self.nodes.iter_mut().find(|node| node.id == id) else { return Ok(0.0) };
        node.ended = true;
        let start = Instant::now();
        let cannot = |error: io::Error| DemoError::System { what: "tell a node to leave", error };
        kill_process(Pid::from_child(&node.child), Signal::TERM).map_err(|error| cannot(error.into()))?;
        loop {
            interrupt.sleep(LOOK)?;
            match node.child.try_wait().map_err(cannot)? {
                Some(status) if status.success() => return Ok(start.elapsed().as_secs_f64()),
                Some(status) => return Err(ended_by_itself(status, &node.name, &node.dir)),
                None if start.elapsed() > LEAVE => {
                    return Err(DemoError::Stays { node: node.name.clone(), seconds: LEAVE.as_secs() });
                }
                None => {}
            }
        }
    }

    /// Ends a node without warning.
    pub(super) fn kill(&mut self, id: NodeId) -> Result<(), DemoError> {
        let cannot = |error| DemoError::System { what: "kill a node", error };
        for node in self.nodes.iter_mut().filter(|node| node.id == id) {
            node.child.kill().map_err(cannot)?;
            node.child.wait().map_err(cannot)?;
            node.ended = true;
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that may not be reachable yet. Dropping it ends the process, where it has not become a [`Process`].
struct Starting {
    name: String,
    dir: PathBuf,
    child: Option<Child>,
}

impl Starting {
    fn spawn(i: usize, dir: &Path, bootstrap: Option<SocketAddr>) -> Result<Starting, DemoError> {
        let cannot = |error| DemoError::System { what: "start a node", error };
        let log = File::create(log_file(dir)).map_err(cannot)?;
        let mut command = Command::new(env::current_exe().map_err(cannot)?);
        command.args(["node", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ring", RING]);
        command.arg("--data-dir").arg(dir).arg("--policy").arg(dir.join(POLICY));
        if let Some(bootstrap) = bootstrap {
            command.arg("--bootstrap").arg(bootstrap.to_string());
        }
        for (variable, _) in env::vars_os() {
            let ours = variable.to_str().is_some_and(|name| name.starts_with(VARIABLES) && name != LOG_VARIABLE);
            if ours {
                command.env_remove(variable);
            }
        }
        // A log is read as a file, also by programs.
        command.env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(cannot)?).stderr(log);
        // A terminal's SIGINT is for the demo alone, which then ends its nodes itself.
        command.process_group(0);
        end_with_parent(&mut command);
        let child = command.spawn().map_err(cannot)?;
        Ok(Starting { name: prepare::name(i), dir: dir.to_owned(), child: Some(child) })
    }

    /// Waits until the node says where it can be reached.
    fn wait(&mut self, interrupt: &Interrupt) -> Result<Process, DemoError> {
        let start = Instant::now();
        loop {
            interrupt.sleep(LOOK)?;
            let child = self.child.as_mut().expect("it is waited for once");
            let said = fs::read(self.dir.join(NODE_FILE)).ok();
            if let Some(reachable) = said.and_then(|said| serde_json::from_slice::<Reachable>(&said).ok())
                && reachable.pid == child.id()
            {
                let child = self.child.take().expect("it is waited for once");
                return Ok(self.reached(child, &reachable));
            }
            check_child(child, &self.name, &self.dir)?;
            if start.elapsed() > UP {
                let (node, log) = (self.name.clone(), log_end(&self.dir));
                return Err(DemoError::NotUp { node, seconds: UP.as_secs(), log });
            }
        }
    }

    fn reached(&self, child: Child, reachable: &Reachable) -> Process {
        let token = fs::read_to_string(self.dir.join(ADMIN_TOKEN_FILE)).ok();
        Process {
            name: self.name.clone(),
            dir: self.dir.clone(),
            id: reachable.id,
            admin: AdminClient::new(&reachable.admin.to_string(), token),
            listen: reachable.listen,
            child,
            ended: false,
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It knows nobody yet who would miss it.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A node must not live on where the demo is ended without warning.
#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    let ask = || Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?);
    // SAFETY: between fork and exec only a system call is made, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}

/// How processes ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended {
    /// With success, after SIGTERM.
    well: usize,
    /// In another way.
    badly: usize,
    /// By SIGKILL, as they did not end in time.
    forced: usize,
}

impl Ended {
    fn describe(&self) -> String {
        let mut text = format!("{} left the ring and ended", count(self.well, "node"));
        if self.badly > 0 {
            text += &format!("; {} ended with an error", count(self.badly, "node"));
        }
        if self.forced > 0 {
            text += &format!("; {} had to be killed after {} s", count(self.forced, "node"), LEAVE.as_secs());
        }
        text
    }
}

/// Ends processes: SIGTERM to all, and SIGKILL to those that take too long, or when the demo is told to end once more.
fn end<'a>(children: impl Iterator<Item = &'a mut Child>, interrupt: &Interrupt) -> Ended {
    let mut ended = Ended::default();
    let mut running: Vec<&mut Child> = Vec::new();
    for child in children {
        // One that was waited for before has no number any more that would be its own.
        if let Ok(None) = child.try_wait() {
            // It may end just now.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            running.push(child);
        }
    }
    let (start, told) = (Instant::now(), interrupt.times());
    while !running.is_empty() && start.elapsed() < LEAVE && (told == interrupt.times()) {
        running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) if status.success() => {
                ended.well += 1;
                false
            }
            Ok(Some(_)) | Err(_) => {
                ended.badly += 1;
                false
            }
        });
        thread::sleep(LOOK);
    }
    ended.forced = running.len();
    for child in running {
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

fn check_child(child: &mut Child, name: &str, dir: &Path) -> Result<(), DemoError> {
    let status = child.try_wait().map_err(|error| DemoError::System { what: "look at a node", error })?;
    match status {
        None => Ok(()),
        Some(status) => Err(ended_by_itself(status, name, dir)),
    }
}

fn ended_by_itself(status: ExitStatus, name: &str, dir: &Path) -> DemoError {
    DemoError::NodeEnded { node: name.to_owned(), status: status.to_string(), log: log_end(dir) }
}

/// A node's log.
pub(super) fn log_file(dir: &Path) -> PathBuf {
    dir.join("node.log")
}

/// The last lines of a node's log.
fn log_end(dir: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log_file(dir))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
        let mut end = Vec::new();
        file.take(LOG_END).read_to_end(&mut end)?;
        Ok(end)
    };
    let end = read().unwrap_or_else(|error| format!("(it cannot be read: {error})").into_bytes());
    let text = String::from_utf8_lossy(&end);
    let whole_lines =
        if end.len() as u64 == LOG_END { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    whole_lines.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).spawn().expect("there is a shell")
    }

    #[test]
    fn processes_are_asked_to_end_and_told_apart_by_how_they_did() {
        let mut obeys = shell("trap 'exit 0' TERM; while :; do sleep 0.01; done");
        let mut fails = shell("trap 'exit 3' TERM; while :; do sleep 0.01; done");
        let mut gone = shell("exit 0");
        gone.wait().expect("it ends");
        // The traps must be set before the signals come.
        thread::sleep(Duration::from_millis(300));

        let ended = end([&mut obeys, &mut fails, &mut gone].into_iter(), &Interrupt::default());

        assert_eq!(ended, Ended { well: 1, badly: 1, forced: 0 });
        assert_eq!(ended.describe(), "1 node left the ring and ended; 1 node ended with an error");
    }

    #[test]
    fn the_end_of_a_log_has_whole_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(log_file(dir.path()), "first\nlast\n").expect("a log");
        assert_eq!(log_end(dir.path()), "first\nlast");
        let long: String = (0..1000).map(|i| format!("line {i}\n")).collect();
        fs::write(log_file(dir.path()), long).expect("a log");
        let end = log_end(dir.path());
        assert!(end.starts_with("line ") && end.ends_with("line 999"), "{end}");
        assert!(end.len() < LOG_END as usize);
    }
}
