//! `prost peerlet build`: sources become a component.

mod run;

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::output;
use super::project::{self, Language, Project};
use super::sources;
use crate::exit;

pub(super) use run::{Ended, Stop, run_tool};

const AFTER_HELP: &str = "\
What the sources are written in is said in peerlet.toml, or seen from them: Cargo.toml, package.json or app.py. Tools
that are missing are fetched for this user where that can be done, and the command says so.
Ends with 1 where the sources do not compile, with 65 where no component comes of them, and with 69 where a tool is missing.";

#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct BuildArgs {
    /// Directory of the peerlet.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Copy the component to this file.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Compiles it, and prints where the component is.
pub(super) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let component = component(&args.dir, &Stop::never(), Said::Shown)?;
    let Some(out) = &args.out else { return output::line(component.display()) };
    fs::copy(&component, out).map_err(|error| Failure::writing(out, &error))?;
    output::line(out.display())
}

/// What becomes of what compilers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It is shown at once.
    Shown,
    /// It is shown where the build fails.
    Kept,
}

/// Builds the peerlet in a directory. Tells where the component is: in `target` there, under the application's name.
pub(super) fn component(dir: &Path, stop: &Stop, said: Said) -> Result<PathBuf, Failure> {
    let project = Project::find(dir)?;
    let language = project.as_ref().map_or_else(|| project::recognise(dir), Project::language);
    let Some(language) = language else {
        let gone = io::Error::from(io::ErrorKind::NotFound);
        let failure = Failure::reading(&dir.join("Cargo.toml"), &gone);
        return Err(failure.hint("name the directory of a peerlet, or make one with `prost peerlet new`"));
    };
    let at = |error: io::Error| Failure::reading(dir, &error);
    let dir = dir.canonicalize().map_err(at)?;
    let name = match &project {
        Some(project) => project.file.name.to_string(),
        None => dir.file_name().map_or_else(|| "peerlet".to_owned(), |name| name.to_string_lossy().into_owned()),
    };
    let build = Build { out: dir.join("target").join(format!("{name}.wasm")), dir, cache: cache()?, stop, said };
    build.make(language)?;
    Ok(build.out)
}

/// One build.
struct Build<'a> {
    dir: PathBuf,
    out: PathBuf,
    /// Where tools, and what they make for all peerlets, are kept.
    cache: PathBuf,
    stop: &'a Stop,
    said: Said,
}

impl Build<'_> {
    fn make(&self, language: Language) -> Result<(), Failure> {
        let scripts =
            tempfile::tempdir().and_then(|dir| sources::write_guests(dir.path()).map(|()| dir)).map_err(|error| {
                Failure::new(exit::CANNOT_CREATE, format!("cannot make a temporary directory: {error}"))
            })?;
        let script = match language {
            Language::Rust => "rust.sh",
            Language::Js => "js.sh",
            Language::Python => "python.sh",
        };
        // Two builds at once would take each other's tools and libraries away.
        let _lock = self.lock()?;
        let mut command = Command::new("sh");
        command.arg(scripts.path().join(script)).env("GUESTS", scripts.path());
        command.env("PEERLET_DIR", &self.dir).env("PEERLET_OUT", &self.out).env("PEERLET_CACHE", &self.cache);
        let ended = run_tool(&mut command, self.stop, self.said == Said::Kept).map_err(|error| {
            Failure::new(exit::UNAVAILABLE, format!("cannot run sh: {error}")).hint("install a shell")
        })?;
        self.judge(&ended)?;
        if language == Language::Rust {
            self.take_from_cargo(&ended.stdout)?;
        }
        if !self.out.is_file() {
            return Err(Failure::new(exit::DATA, format!("there is no {} after the build", self.out.display()))
                .hint("see the messages above"));
        }
        Ok(())
    }

    fn judge(&self, ended: &Ended) -> Result<(), Failure> {
        if ended.success {
            return Ok(());
        }
        if ended.stopped {
            return Err(Failure::new(exit::FAILED, "interrupted"));
        }
        // What was kept back is worth more than any line about it.
        eprint!("{}", String::from_utf8_lossy(&ended.stderr));
        if ended.code == Some(i32::from(exit::UNAVAILABLE)) {
            return Err(
                Failure::new(exit::UNAVAILABLE, "a tool that the build needs is missing").hint("see the message above")
            );
        }
        Err(Failure::new(exit::FAILED, "the sources do not compile").hint("see the messages above"))
    }

    fn take_from_cargo(&self, report: &[u8]) -> Result<(), Failure> {
        let mut components = components(report);
        let component = match (components.pop(), components.is_empty()) {
            (Some(component), true) => component,
            (None, _) => {
                return Err(Failure::new(exit::DATA, "the crate makes no component")
                    .hint("put crate-type = [\"cdylib\"] into the [lib] section of its Cargo.toml"));
            }
            (Some(_), false) => {
                return Err(Failure::new(exit::DATA, "the workspace makes several components")
                    .hint("name the directory of one of its crates"));
            }
        };
        let copied =
            fs::create_dir_all(self.out.parent().unwrap_or(&self.dir)).and_then(|()| fs::copy(&component, &self.out));
        copied.map(drop).map_err(|error| Failure::writing(&self.out, &error))
    }

    /// A lock for as long as the file is open.
    fn lock(&self) -> Result<File, Failure> {
        let path = self.cache.join("lock");
        let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| Failure::writing(&path, &error))
    }
}

/// This user's directory for what can be made again.
fn cache() -> Result<PathBuf, Failure> {
    let named = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let dir = base.unwrap_or_else(env::temp_dir).join("prost").join("guests");
    fs::create_dir_all(&dir).map_err(|error| Failure::writing(&dir, &error))?;
    Ok(dir)
}

/// One line of what cargo reports.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    #[serde(default)]
    target: Option<BuiltTarget>,
}

#[derive(Deserialize)]
struct BuiltTarget {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// The components that cargo says it has made.
fn components(report: &[u8]) -> Vec<PathBuf> {
    let report = String::from_utf8_lossy(report);
    let messages = report.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let artifacts = messages.filter(|message| message.reason == "compiler-artifact");
    let libraries = artifacts.filter(|message| {
        message.target.as_ref().is_some_and(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    });
    let files = libraries.flat_map(|message| message.filenames);
    files.filter(|file| file.extension().is_some_and(|extension| extension == "wasm")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_found_in_the_report() {
        let report = concat!(
            r#"{"reason":"compiler-artifact","target":{"crate_types":["lib"]},"filenames":["/t/libsdk.rlib"]}"#,
            "\nnoise\n",
            r#"{"reason":"compiler-artifact","target":{"crate_types":["cdylib"]},"filenames":["/t/dht.wasm","/t/dht.d"]}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(components(report.as_bytes()), [PathBuf::from("/t/dht.wasm")]);
    }

    #[test]
    fn a_directory_without_sources_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let failure = run(&BuildArgs { dir: dir.path().to_owned(), out: None }).expect_err("nothing to build");
        assert_eq!(failure.code, exit::NO_INPUT);
        assert!(failure.line().is_some_and(|line| line.contains("prost peerlet new")), "{failure:?}");
    }
}
