//! The program under test.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Output {
    /// Standard output, of a command that must have succeeded.
    ///
    /// # Panics
    ///
    /// Where it has not.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.stdout
    }

    /// Standard output as JSON, of a command that must have succeeded.
    ///
    /// # Panics
    ///
    /// Where it has not, or printed something else.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.ok()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The one line of a command that must have failed with this code.
    ///
    /// # Panics
    ///
    /// Where it ended otherwise, or said more or less than a line.
    #[track_caller]
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines: Vec<&str> = self.stderr.lines().collect();
        let [line] = lines[..] else { panic!("not one line: {self:?}") };
        assert!(line.starts_with("error: "), "{line}");
        line
    }
}

/// The program `prost`, built by cargo with the tests: they are in `target/PROFILE/deps`, it is in `target/PROFILE`.
///
/// # Panics
///
/// Where it is not there, as the caller is no test of this package.
pub fn prost() -> PathBuf {
    let test = env::current_exe().expect("this program has a path");
    let profile = test.parent().and_then(Path::parent).expect("tests are two levels below the target directory");
    let program = profile.join("prost-under-test");
    assert!(program.is_file(), "there is no {}", program.display());
    program
}

/// Runs a command of `prost` to its end, with nothing on its standard input and no settings from the environment.
pub fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let said = command().args(args).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { code: said.status.code(), stdout: text(&said.stdout), stderr: text(&said.stderr) }
}

/// A command of `prost` that takes no settings from the environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(prost());
    for (variable, _) in env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("PROST_")) {
            command.env_remove(variable);
        }
    }
    command
}
