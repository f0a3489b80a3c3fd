//! Compiles the standard peerlets and hands their components to the crate, which embeds them; and what authors of peerlets
//! need, who may have nothing of this repository but the program.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The crate reads the components with `include_bytes!` from the directory that this variable names.
const VARIABLE: &str = "PROST_PEERLETS_DIR";

fn main() -> ExitCode {
    match embed_peerlets().and_then(|()| embed_sources()) {
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

/// Writes a module with all files of these directories: their paths, and what is in them.
fn embed_sources() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo sets CARGO_MANIFEST_DIR")?).join("../..");
    let peerlets = root.canonicalize()?.join("peerlets");
    let mut module = String::new();
    for (name, about, directory) in [
        ("SDK", "The crate that peerlets in Rust are written with.", "sdk"),
        ("TEMPLATES", "New peerlets, each in a directory named after its language.", "templates"),
        ("GUESTS", "How a peerlet is built, a script for each language.", "guests"),
    ] {
        let mut found = Vec::new();
        let directory = peerlets.join(directory);
        walk(&directory, &mut found)?;
        found.sort();
        writeln!(module, "/// {about}\npub(super) const {name}: &[(&str, &str)] = &[")?;
        for path in found {
            let inside = path.strip_prefix(&directory)?.to_str().ok_or("a source has a plain name")?;
            println!("cargo::rerun-if-changed={}", path.display());
            writeln!(module, "    ({inside:?}, include_str!({path:?})),")?;
        }
        module.push_str("];\n");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("sources.rs"), module)?;
    Ok(())
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.file_name().and_then(OsStr::to_str) {
            // What tools leave behind.
            Some("target" | "node_modules" | "__pycache__" | "Cargo.lock") | None => {}
            Some(_) if path.is_dir() => walk(&path, found)?,
            Some(_) => found.push(path),
        }
    }
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
