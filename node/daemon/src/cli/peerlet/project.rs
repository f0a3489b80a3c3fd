//! `peerlet.toml`: what an author says of a peerlet once, so that no command has to be told again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use prost_contract::Capability;
use prost_kbr::AppName;
use prost_package::Budgets;
use prost_package::manifest::Acknowledgement;
use prost_sim::scenario::{Ask, Template};
use semver::Version;
use serde::Deserialize;

use super::super::failure::Failure;
use crate::exit;

/// Its name in the directory of a peerlet.
pub(super) const FILE: &str = "peerlet.toml";
/// Longest one, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What a peerlet is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Language {
    /// A crate.
    Rust,
    /// Modules for jco, which brings a JavaScript engine along.
    Js,
    /// Modules for componentize-py, which brings CPython along.
    Python,
}

/// A directory with a peerlet in it.
#[derive(Debug, Clone)]
pub(super) struct Project {
    pub(super) dir: PathBuf,
    pub(super) file: ProjectFile,
}

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectFile {
    pub(super) name: AppName,
    pub(super) version: Version,
    #[serde(default = "one")]
    pub(super) sequence: u64,
    pub(super) language: Option<Language>,
    /// The provider's private key, from the file's directory on.
    pub(super) key: Option<PathBuf>,
    pub(super) replicas: Option<u8>,
    pub(super) acknowledgement: Option<Acknowledgement>,
    pub(super) expires_in_days: Option<u32>,
    /// Why a capability is asked for, where the component imports it.
    #[serde(default)]
    pub(super) capabilities: BTreeMap<Capability, String>,
    /// What it asks for beyond or below the usual.
    #[serde(default)]
    pub(super) budgets: BTreeMap<String, u64>,
    #[serde(default)]
    pub(super) test: Tests,
}

/// What `prost peerlet test` does.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tests {
    /// Nodes of the simulated rings.
    pub(super) nodes: u32,
    /// Calls under each condition.
    pub(super) calls: u64,
    pub(super) seed: u64,
    /// Share of the calls that may fail, under any of the conditions.
    pub(super) failures: f64,
    /// Nodes that have it from the beginning.
    pub(super) installs: u32,
    /// What is asked, in turn.
    pub(super) call: Vec<Call>,
}

impl Default for Tests {
    fn default() -> Tests {
        Tests { nodes: 40, calls: 400, seed: 1, failures: 0.05, installs: 1, call: Vec::new() }
    }
}

/// One of the calls.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) method: String,
    #[serde(default = "nothing")]
    pub(super) body: Template,
}

impl Project {
    /// The peerlet in this directory; none where it has no such file.
    pub(super) fn find(dir: &Path) -> Result<Option<Project>, Failure> {
        let path = dir.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = super::read(&path, MAX_FILE)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(exit::DATA, format!("{} is not UTF-8", path.display())))?;
        let file: ProjectFile = toml::from_str(&text).map_err(|error| wrong(&path, &text, &error))?;
        if !(0.0..=1.0).contains(&file.test.failures) {
            let cause = format!("{}: test.failures is a share, 0 to 1", path.display());
            return Err(Failure::new(exit::DATA, cause).hint("say 0.05 for a twentieth of the calls"));
        }
        Ok(Some(Project { dir: dir.to_owned(), file }))
    }

    /// The same, where a peerlet must be.
    pub(super) fn open(dir: &Path) -> Result<Project, Failure> {
        Project::find(dir)?.ok_or_else(|| {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            Failure::reading(&dir.join(FILE), &missing).hint("make a peerlet with `prost peerlet new`")
        })
    }

    /// Where its component is once it has been built.
    pub(super) fn component(&self) -> PathBuf {
        self.dir.join("target").join(format!("{}.wasm", self.file.name))
    }

    /// The budgets that it asks for.
    pub(super) fn budgets(&self) -> Result<Budgets, Failure> {
        let mut budgets = Budgets::default();
        for (name, number) in &self.file.budgets {
            super::sign::set_budget(&mut budgets, name, *number).map_err(|reason| {
                Failure::new(exit::DATA, format!("{}: budgets.{name}: {reason}", self.dir.join(FILE).display()))
            })?;
        }
        Ok(budgets)
    }

    /// What is asked of it in tests.
    pub(super) fn asks(&self) -> Vec<Ask> {
        let asks = self.file.test.call.iter().cloned();
        asks.map(|Call { method, body }| Ask { method, body }).collect()
    }

    /// The language that the file names, or that the sources are in.
    pub(super) fn language(&self) -> Option<Language> {
        self.file.language.or_else(|| recognise(&self.dir))
    }
}

/// What the sources in a directory are written in.
pub(super) fn recognise(dir: &Path) -> Option<Language> {
    let marks = [("Cargo.toml", Language::Rust), ("package.json", Language::Js), ("app.py", Language::Python)];
    marks.into_iter().find(|(mark, _)| dir.join(mark).is_file()).map(|(_, language)| language)
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    Failure::new(exit::DATA, format!("{}:{line}: {}", path.display(), error.message())).hint("see docs/authoring.md")
}

fn one() -> u64 {
    1
}

fn nothing() -> Template {
    "".parse().expect("nothing makes no bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Result<Project, Failure> {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join(FILE), text).expect("a file");
        Project::open(dir.path())
    }

    #[test]
    fn what_is_left_out_is_the_usual() {
        let project = project("name = \"a\"\nversion = \"1.2.3\"\n").expect("a peerlet");
        assert_eq!((project.file.sequence, project.file.test.calls), (1, 400));
        assert_eq!(project.budgets(), Ok(Budgets::default()));
        assert_eq!(project.language(), None);
        assert!(project.component().ends_with("target/a.wasm"));
    }

    #[test]
    fn a_mistake_is_named_with_its_line() {
        let cases = [
            ("name = \"a\"\nversion = \"1.2.3\"\nspeed = 1\n", ":3:"),
            ("name = \"A b\"\nversion = \"1.2.3\"\n", ":1:"),
            ("name = \"a\"\nversion = \"1.2.3\"\n[capabilities]\nmagic = \"x\"\n", ":4:"),
            ("name = \"a\"\nversion = \"1.2.3\"\n[[test.call]]\nmethod = \"m\"\nbody = \"hex:0\"\n", ":5:"),
            ("name = \"a\"\nversion = \"1.2.3\"\n[test]\nfailures = 2.0\n", "failures"),
        ];
        for (text, place) in cases {
            let failure = project(text).expect_err(text);
            assert_eq!(failure.code, exit::DATA, "{text}");
            assert!(failure.line().is_some_and(|line| line.contains(place)), "{failure:?}");
        }
        let budget = project("name = \"a\"\nversion = \"1.2.3\"\n[budgets]\ncheese = 1\n").expect("a peerlet");
        assert_eq!(budget.budgets().map_err(|failure| failure.code), Err(exit::DATA));
        assert_eq!(Project::open(Path::new("/no/such/dir")).expect_err("nothing").code, exit::NO_INPUT);
    }

    #[test]
    fn calls_and_budgets_are_those_of_the_file() {
        let text = "name = \"a\"\nversion = \"1.2.3\"\n[budgets]\nqueue = 7\n[[test.call]]\nmethod = \"m\"\n\
                    [[test.call]]\nmethod = \"n\"\nbody = \"cbor:{}\"\n";
        let project = project(text).expect("a peerlet");
        assert_eq!(project.budgets().map(|budgets| budgets.queue), Ok(7));
        let asks: Vec<_> = project.asks().iter().map(|ask| (ask.method.clone(), ask.body.to_string())).collect();
        assert_eq!(asks, [("m".to_owned(), String::new()), ("n".to_owned(), "cbor:{}".to_owned())]);
    }
}
