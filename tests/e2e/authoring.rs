//! From nothing to an application that answers on a ring: what an author does, with nothing but the program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use prost_tests::{Output, prost};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// How long something may take that compiles: on a fresh machine, toolchain and standard library too.
const BUILD: Duration = Duration::from_secs(900);

/// The program in a directory, without settings from the environment, and without what cargo tells its own tests.
fn command(dir: &Path, line: &[&str]) -> Command {
    let mut command = Command::new(prost());
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        let ours = name.starts_with("PROST_") && name != "PROST_GUEST_TOOLCHAIN" && name != "PROST_RUSTUP_SECONDS";
        if ours || name == "LD_LIBRARY_PATH" || (name.starts_with("CARGO_") && name != "CARGO_HOME") {
            command.env_remove(&variable);
        }
    }
    command.args(line).current_dir(dir).stdin(Stdio::null());
    command
}

fn run(dir: &Path, line: &[&str]) -> Output {
    let said = command(dir, line).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code: said.status.code(), stdout: text(&said.stdout), stderr: text(&said.stderr) }
}

/// `prost peerlet dev`, and what it says.
struct Dev {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Dev {
    fn start(dir: &Path, more: &[&str]) -> Dev {
        let line = [&["peerlet", "dev"][..], more].concat();
        let mut child = command(dir, &line).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Dev { child, lines, said: Vec::new() }
    }

    /// Waits until it says a line with this in it.
    #[track_caller]
    fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + BUILD;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(error) => panic!("no '{text}' ({error}): {:#?}", self.said),
            }
        }
    }

    /// Ends it as Ctrl-C does, and waits until it has.
    fn end(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a peerlet, and gives its directory.
fn new(root: &Path, more: &[&str]) -> std::path::PathBuf {
    let line = [&["peerlet", "new", "greeter"][..], more].concat();
    assert!(run(root, &line).ok().contains("prost peerlet test"));
    root.join("greeter")
}

#[track_caller]
fn assert_tests_pass(dir: &Path) {
    let said = run(dir, &["peerlet", "test"]);
    let table: Vec<&str> = said.ok().lines().collect();
    assert_eq!(table.len(), 5, "{said:?}");
    for row in &table[1..] {
        let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let (asked, answered): (u64, u64) = (cells[1].parse().expect(row), cells[2].parse().expect(row));
        assert!(asked > 0 && answered * 10 >= asked * 9, "{row}");
        assert_eq!(cells[4], "0", "traps: {row}");
    }
}

#[test]
fn a_peerlet_is_made_tested_signed_and_run_and_each_save_upgrades_it() {
    let root = tempfile::tempdir().expect("room");
    let dir = new(root.path(), &[]);
    assert!(run(root.path(), &["peerlet", "new", "greeter"]).refused(73).contains("not empty"));

    assert_tests_pass(&dir);

    let provider = run(&dir, &["peerlet", "key"]).ok().trim().to_owned();
    let signed = run(&dir, &["peerlet", "sign"]);
    assert!(signed.ok().contains(&format!("greeter-0.1.0.prost  greeter@{provider}")), "{signed:?}");
    let says = run(&dir, &["peerlet", "inspect", "greeter-0.1.0.prost", "--json"]).json();
    assert_eq!(says["capabilities"]["storage"], "keeps the counts", "{says}");

    let source = dir.join("src/lib.rs");
    let first = fs::read_to_string(&source).expect("its source");
    let mut dev = Dev::start(&dir, &["--nodes", "3", "--everywhere"]);
    dev.wait_for("greeter 0.1.0 runs on 3 nodes");
    dev.wait_for("peerlet call greeter");
    let greet = |more: &[&str]| run(&dir, &[&["peerlet", "call", "greeter", "greet", "Ada"][..], more].concat());
    assert_eq!(greet(&[]).ok(), "Hello, Ada!");
    assert_eq!(greet(&["--node", "2"]).ok(), "Hello, Ada! That is greeting 2.");
    assert!(greet(&["--node", "3"]).refused(64).contains("0 to 2"));
    let wrong = run(&dir, &["peerlet", "call", "greeter", "sing"]);
    assert!(wrong.refused(1).contains("the only method is 'greet'"), "{wrong:?}");

    // What does not compile changes nothing.
    fs::write(&source, first.replace("Hello", "Good day") + "fn broken( {").expect("a save");
    dev.wait_for("error");
    dev.wait_for("the old version runs on");
    assert_eq!(greet(&[]).ok(), "Hello, Ada! That is greeting 3.");
    // The records of the old version are those of the new one.
    fs::write(&source, first.replace("Hello", "Good day")).expect("a save");
    dev.wait_for("greeter 0.1.0+save.2 runs on 3 nodes");
    assert_eq!(greet(&["--node", "1"]).ok(), "Good day, Ada! That is greeting 4.");

    let ring: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("target/prost-dev.json")).expect("a file")).expect("JSON");
    let data = Path::new(ring["nodes"][0]["token_file"].as_str().expect("a file")).parent().expect("a directory");
    let reachable: serde_json::Value =
        serde_json::from_slice(&fs::read(data.join("node.json")).expect("a file")).expect("JSON");
    let node = Pid::from_raw(i32::try_from(reachable["pid"].as_u64().expect("a number")).expect("a process"));
    let node = node.expect("a process");
    assert!(test_kill_process(node).is_ok());
    assert_eq!(dev.end(), Some(0));
    assert!(test_kill_process(node).is_err(), "no node is left");
    assert!(!data.exists() && !dir.join("target/prost-dev.json").exists(), "nor anything else");
    assert_eq!(run(&dir, &["peerlet", "call", "greeter", "greet", "--node", "0"]).code, Some(66));
}

#[test]
fn a_peerlet_that_traps_fails_its_tests() {
    let root = tempfile::tempdir().expect("room");
    let dir = new(root.path(), &["--dir", "greeter"]);
    let source = dir.join("src/lib.rs");
    let first = fs::read_to_string(&source).expect("its source");
    let traps = first.replace(
        "        let name = name(&question.body)?;",
        "        let name = name(&question.body)?;\n        assert!(!name.ends_with('7'));",
    );
    assert_ne!(first, traps);
    fs::write(&source, traps).expect("a save");
    let said = run(&dir, &["peerlet", "test", "--only", "quiet", "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.lines().last().is_some_and(|line| line.contains("it trapped")), "{said:?}");
    let results: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert!(results[0]["traps"].as_u64() > Some(0), "{results}");
}

/// Whether a tool can be had here. A test that goes without says so loudly; where `PROST_TEST_LANGUAGES` names the
/// language, as the repository's own checks do, going without is a failure.
fn can_have(language: &str, tool: &str, is_there: bool) -> bool {
    let wanted = std::env::var("PROST_TEST_LANGUAGES").unwrap_or_default();
    assert!(is_there || !wanted.split(',').any(|name| name == language), "{tool} cannot be had for {language}");
    if !is_there {
        eprintln!("\n*** NOT TESTED: peerlets in {language}, as {tool} cannot be had here ***\n");
    }
    is_there
}

/// Tests and runs a peerlet with an interpreter in it. A node compiles that for long, without optimisation in its compiler
/// above all: one node has to be enough, which is asked for what it is responsible for itself.
fn goes_all_the_way(language: &str) {
    let root = tempfile::tempdir().expect("room");
    let dir = new(root.path(), &["--lang", language]);
    let said = run(&dir, &["peerlet", "test", "--only", "quiet", "--json"]);
    let results: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!((said.code, &results[0]["traps"]), (Some(0), &0.into()), "{said:?}");

    let mut dev = Dev::start(&dir, &["--nodes", "2"]);
    dev.wait_for("peerlet call greeter");
    let ring: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("target/prost-dev.json")).expect("a file")).expect("JSON");
    let admin = ring["nodes"][0]["admin"].as_str().expect("an address").to_owned();
    let node = run(&dir, &["status", "--json", "--admin", &admin]).json()["id"].clone();
    let is_its_own = |name: &String| {
        let found = run(&dir, &["ring", "lookup", name, "--json", "--admin", &admin]).json();
        found.to_string().contains(node.as_str().expect("text")) && found["hops"] == 0
    };
    let name = (0..100).map(|number| format!("name-{number}")).find(is_its_own).expect("half of them are");
    let greet = || run(&dir, &["peerlet", "call", "greeter", "greet", &name]);
    assert_eq!(greet().ok(), format!("Hello, {name}!"));
    assert_eq!(greet().ok(), format!("Hello, {name}! That is greeting 2."));
    assert_eq!(dev.end(), Some(0));
}

/// Whether a peerlet in this language can be built here at all: the program fetches what it needs, or says that it cannot.
fn builds(language: &str) -> bool {
    let root = tempfile::tempdir().expect("room");
    let dir = new(root.path(), &["--lang", language]);
    let said = run(&dir, &["peerlet", "build"]);
    assert!(matches!(said.code, Some(0 | 69)), "{said:?}");
    said.code == Some(0)
}

#[test]
#[ignore = "minutes of an optimised program: make languages"]
fn a_peerlet_in_python_goes_all_the_way() {
    if can_have("python", "componentize-py", builds("python")) {
        goes_all_the_way("python");
    }
}

#[test]
#[ignore = "minutes of an optimised program: make languages"]
fn a_peerlet_in_javascript_goes_all_the_way() {
    if can_have("js", "jco", builds("js")) {
        goes_all_the_way("js");
    }
}
