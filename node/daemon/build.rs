//! Compiles the standard peerlets and hands their components to the crate, which embeds them.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The crate reads the components with `include_bytes!` from the directory that this variable names.
const VARIABLE: &str = "PROST_PEERLETS_DIR";

fn main() -> ExitCode {
    match embed_peerlets() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn embed_peerlets() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?).join("../..");
    let embedded = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("peerlets");
    watch_sources(&root)?;
    fs::create_dir_all(&embedded)?;
    build(&root.join("peerlets/build.sh"))?;
    for component in files(&root.join("target/peerlets"), "wasm")? {
        fs::copy(&component, embedded.join(component.file_name().ok_or("a file has a name")?))?;
    }
    println!("cargo::rustc-env={VARIABLE}={}", embedded.display());
    Ok(())
}

/// Names what a component depends on, but not what the build itself writes.
fn watch_sources(root: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", root.join("wit/peerlet.wit").display());
    println!("cargo::rerun-if-env-changed=PROST_GUEST_TOOLCHAIN");
    for entry in fs::read_dir(root.join("peerlets"))? {
        let path = entry?.path();
        if path.file_name() != Some(OsStr::new("target")) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    Ok(())
}

fn build(script: &Path) -> Result<(), Box<dyn Error>> {
    let output =
        Command::new("sh").arg(script).output().map_err(|error| format!("sh {}: {error}", script.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}\n{} failed ({})", said.trim_end(), script.display(), output.status).into())
}

fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension() == Some(OsStr::new(extension)) {
            found.push(path);
        }
    }
    Ok(found)
}
