//! `prost peerlet build`: a crate becomes a component.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;

use super::super::failure::Failure;
use super::super::output;
use crate::exit;

/// What components are compiled for.
const TARGET: &str = "wasm32-wasip2";

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct BuildArgs {
    /// Directory of the crate, a cdylib.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Copy the component to this file.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Compiles the crate, and prints where the component is.
pub(super) fn run(args: &BuildArgs) -> Result<(), Failure> {
    let manifest = args.dir.join("Cargo.toml");
    if !manifest.is_file() {
        return Err(Failure::new(exit::NO_INPUT, format!("there is no {}", manifest.display())));
    }
    check_target(&args.dir)?;
    let component = compile(&args.dir, &manifest)?;
    let Some(out) = &args.out else { return output::line(component.display()) };
    std::fs::copy(&component, out).map_err(|error| Failure::writing(out, &error))?;
    output::line(out.display())
}

/// Whether the compiler that the crate uses has the target's libraries.
fn check_target(dir: &Path) -> Result<(), Failure> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir);
    let said = rustc.output().map_err(|error| missing("rustc", &error))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
    if said.status.success() && libraries.is_dir() {
        return Ok(());
    }
    let failure = Failure::new(exit::UNAVAILABLE, format!("the Rust toolchain has no target {TARGET}"));
    Err(failure.hint(format!("run `rustup target add {TARGET}`")))
}

fn compile(dir: &Path, manifest: &Path) -> Result<PathBuf, Failure> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    // The file's directory is where cargo runs, for the sake of what it reads there.
    cargo.arg("--manifest-path").arg(std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned()));
    let said = cargo.current_dir(dir).stderr(Stdio::inherit()).output().map_err(|error| missing("cargo", &error))?;
    if !said.status.success() {
        return Err(Failure::new(exit::FAILED, "the crate does not compile").hint("see the messages above"));
    }
    let mut components = components(&said.stdout);
    match (components.pop(), components.is_empty()) {
        (Some(component), true) => Ok(component),
        (None, _) => Err(Failure::new(exit::DATA, "the crate makes no component")
            .hint("put crate-type = [\"cdylib\"] into the [lib] section of its Cargo.toml")),
        (Some(_), false) => Err(Failure::new(exit::DATA, "the workspace makes several components")
            .hint("name the directory of one of its crates")),
    }
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

fn missing(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(exit::UNAVAILABLE, format!("cannot run {program}: {error}")).hint("install Rust: https://rustup.rs")
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
    fn a_directory_without_a_crate_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let failure = run(&BuildArgs { dir: dir.path().to_owned(), out: None }).expect_err("nothing to build");
        assert_eq!(failure.code, exit::NO_INPUT);
    }
}
