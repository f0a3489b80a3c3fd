//! One node: a process, its data directory and its administration interface.

use core::time::Duration;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use prost_kbr::NodeId;
use prost_node::admin::ask::Status;
use prost_node::admin_client::AdminClient;
use prost_node::config::ADMIN_TOKEN_FILE;
use prost_node::dht_client::DhtClient;
use prost_node::node::{NODE_FILE, Reachable};
use prost_package::Package;
use rustix::process::{Pid, Signal, kill_process};

use crate::binary::{self, Output};
use crate::http::http;
use crate::{PATIENCE, metrics, wait_until};

/// Name of the policy file in a node's directory.
pub(crate) const POLICY: &str = "policy.toml";
const LOG: &str = "node.log";
/// Most of a log's end that a message repeats, in lines.
const TAIL: usize = 12;

/// A node. Dropping it ends its process.
pub struct Node {
    /// Its data directory.
    pub dir: PathBuf,
    /// Its id.
    pub id: NodeId,
    /// Where other nodes dial it.
    pub listen: SocketAddr,
    /// Where its administration interface listens.
    pub admin_addr: SocketAddr,
    /// A client of it, with the token.
    pub admin: AdminClient,
    process: Process,
}

impl Node {
    /// Starts a node and waits until it says where it can be reached.
    ///
    /// # Panics
    ///
    /// Where it does not in time, or ends.
    #[track_caller]
    pub(crate) fn start(dir: &Path, args: &[OsString]) -> Node {
        Node::spawn(dir, args).up()
    }

    /// Starts a node's process, which may still refuse to run.
    pub(crate) fn spawn(dir: &Path, args: &[OsString]) -> Starting {
        let log = OpenOptions::new().create(true).append(true).open(dir.join(LOG)).expect("the directory is writable");
        let mut command = binary::command();
        command.arg("node").arg("--data-dir").arg(dir).args(args);
        if !args.iter().any(|arg| arg == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.args(["--admin-listen", "127.0.0.1:0", "--stop-with-stdin"]);
        let errors = log.try_clone().expect("a file has many handles");
        let child = command.stdin(Stdio::piped()).stdout(log).stderr(errors).spawn().expect("the program starts");
        Starting { dir: dir.to_owned(), process: Process(child) }
    }

    /// How it is.
    ///
    /// # Panics
    ///
    /// Where it does not answer.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.admin.status().unwrap_or_else(|error| panic!("{error}\n{}", self.tail()))
    }

    /// The text that Prometheus scrapes.
    #[track_caller]
    pub fn metrics(&self) -> String {
        http(self.admin_addr, "GET /metrics", &["Host: localhost"], b"").body
    }

    /// The sum of all samples of a series that have these labels; zero where there is none.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        metrics::sum(&self.metrics(), name, labels).unwrap_or(0.0)
    }

    /// Waits until the series is at least this.
    ///
    /// # Panics
    ///
    /// Where it is not in time.
    #[track_caller]
    pub fn until_metric(&self, name: &str, labels: &[(&str, &str)], least: f64) {
        let reached = wait_until(Duration::from_secs(20), || self.metric(name, labels) >= least);
        let is = self.metric(name, labels);
        assert!(reached, "{name} {labels:?} is {is}, not {least}\n{}", self.tail());
    }

    /// Runs a command of `prost` that asks this node.
    pub fn ask(&self, args: &[&str]) -> Output {
        let (url, token) = (self.admin.base_url().to_owned(), self.dir.join(ADMIN_TOKEN_FILE));
        let mut line: Vec<OsString> = args.iter().map(OsString::from).collect();
        line.extend(["--admin".into(), url.into(), "--token-file".into(), token.into()]);
        binary::run(line)
    }

    /// Installs a package that must be taken. Answered with the application's full id.
    ///
    /// # Panics
    ///
    /// Where it is not.
    #[track_caller]
    pub fn install(&self, package: &Package) -> String {
        self.admin.install(&package.encode()).unwrap_or_else(|error| panic!("{error}\n{}", self.tail()))
    }

    /// A client of the dht on this node.
    pub fn dht(&self) -> DhtClient {
        DhtClient::new(self.admin.clone())
    }

    /// The token of its administration interface.
    pub fn token(&self) -> String {
        fs::read_to_string(self.dir.join(ADMIN_TOKEN_FILE)).expect("a running node has a token").trim().to_owned()
    }

    /// Gives it another policy, and waits until it has read it.
    ///
    /// # Panics
    ///
    /// Where it does not in time.
    #[track_caller]
    pub fn set_policy(&self, policy: &str) {
        const READ: &str = "the policy has been read again";
        let before = self.log().matches(READ).count();
        fs::write(self.dir.join(POLICY), policy).expect("the directory is writable");
        self.signal(Signal::HUP);
        let read = wait_until(PATIENCE, || self.log().matches(READ).count() > before);
        assert!(read, "the policy was not read\n{}", self.tail());
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).expect("its process runs");
    }

    /// Ends its process without warning.
    pub fn kill(&mut self) {
        self.process.end();
    }

    /// Waits until its process has ended.
    ///
    /// # Panics
    ///
    /// Where it does not in time.
    #[track_caller]
    pub fn ended(&mut self, patience: Duration) -> ExitStatus {
        self.process.ended(patience).unwrap_or_else(|| panic!("it does not end\n{}", self.tail()))
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.0.try_wait(), Ok(None))
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        read_log(&self.dir)
    }

    /// What it logged last.
    pub fn tail(&self) -> String {
        tail(&self.dir)
    }
}

/// A process that may not be reachable yet.
pub struct Starting {
    dir: PathBuf,
    process: Process,
}

impl Starting {
    /// Waits until the node says where it can be reached.
    ///
    /// # Panics
    ///
    /// Where it does not in time, or ends.
    #[track_caller]
    pub fn up(mut self) -> Node {
        let mut reachable = None;
        let pid = self.process.0.id();
        let up = wait_until(PATIENCE, || {
            let said = fs::read(self.dir.join(NODE_FILE)).ok();
            let said = said.and_then(|said| serde_json::from_slice::<Reachable>(&said).ok());
            reachable = said.filter(|said| said.pid == pid);
            reachable.is_some() || !matches!(self.process.0.try_wait(), Ok(None))
        });
        let Some(reachable) = reachable.filter(|_| up) else {
            panic!("the node does not start\n{}", tail(&self.dir));
        };
        let token = fs::read_to_string(self.dir.join(ADMIN_TOKEN_FILE)).expect("a running node has a token");
        Node {
            dir: self.dir,
            id: reachable.id,
            listen: reachable.listen,
            admin_addr: reachable.admin,
            admin: AdminClient::new(&reachable.admin.to_string(), Some(token)),
            process: self.process,
        }
    }

    /// Waits until it has refused to run. Tells its exit code and the last line that it logged.
    ///
    /// # Panics
    ///
    /// Where it runs on.
    #[track_caller]
    pub fn refused(mut self) -> (Option<i32>, String) {
        let status = self.process.ended(PATIENCE).unwrap_or_else(|| panic!("it runs\n{}", tail(&self.dir)));
        (status.code(), read_log(&self.dir).lines().last().unwrap_or_default().to_owned())
    }
}

/// Ends with its owner, whatever becomes of that: its standard input is then closed.
struct Process(Child);

impl Process {
    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let mut status = None;
        wait_until(patience, || {
            status = self.0.try_wait().expect("it is a child of this process");
            status.is_some()
        });
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn read_log(dir: &Path) -> String {
    let mut log = Vec::new();
    // There is none before the first start.
    let _ = File::open(dir.join(LOG)).and_then(|mut file| std::io::Read::read_to_end(&mut file, &mut log));
    String::from_utf8_lossy(&log).into_owned()
}

pub(crate) fn tail(dir: &Path) -> String {
    let log = read_log(dir);
    let lines: Vec<&str> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    format!("--- {}\n{last}", dir.display())
}
