//! What authors need of this repository, as this program carries it along: the SDK, templates, and how to build.

use std::fs;
use std::io;
use std::path::Path;

use toml::{Table, Value};

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/sources.rs"));
}

/// The contract.
const CONTRACT: &str = include_str!("../../../../../wit/peerlet.wit");
/// The workspace that the SDK is part of at home.
const WORKSPACE: &str = include_str!("../../../../../peerlets/Cargo.toml");
/// How a toolchain for guests is found.
const TOOLCHAIN: &str = include_str!("../../../../../peerlets/toolchain.sh");
/// What a template's file ends with whose name would mean something here.
const RENAMED: &str = ".in";

/// The files of a new peerlet in this language, with their names and texts in their places.
pub(super) fn template(language: &str, places: &[(&str, &str)]) -> Vec<(String, String)> {
    let fill = |text: &str| {
        places.iter().fold(text.to_owned(), |text, (place, value)| text.replace(&format!("{{{{{place}}}}}"), value))
    };
    let inside = |path: &&(&str, &str)| path.0.split_once('/').is_some_and(|(first, _)| first == language);
    let of_language = embedded::TEMPLATES.iter().filter(inside);
    let named = of_language.map(|(path, text)| {
        let path = path.split_once('/').map_or(*path, |(_, rest)| rest);
        (path.strip_suffix(RENAMED).unwrap_or(path).to_owned(), fill(text))
    });
    named.collect()
}

/// Writes the SDK as a crate of its own.
pub(super) fn write_sdk(dir: &Path) -> io::Result<()> {
    for (path, text) in embedded::SDK {
        if *path == "Cargo.toml" {
            let manifest = standing_alone(text, WORKSPACE).map_err(io::Error::other)?;
            write(&dir.join(path), &manifest)?;
        } else {
            write(&dir.join(path), text)?;
        }
    }
    Ok(())
}

/// Writes the contract for tools that make bindings of it.
pub(super) fn write_contract(dir: &Path) -> io::Result<()> {
    write(&dir.join("peerlet.wit"), CONTRACT)
}

/// Writes the scripts that build peerlets.
pub(super) fn write_guests(dir: &Path) -> io::Result<()> {
    write(&dir.join("toolchain.sh"), TOOLCHAIN)?;
    embedded::GUESTS.iter().try_for_each(|(path, text)| write(&dir.join(path), text))
}

/// Writes a file, and the directories above it.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

/// A crate's manifest with what it inherits from its workspace said in it.
fn standing_alone(manifest: &str, workspace: &str) -> Result<String, String> {
    let parse = |text: &str| text.parse::<Table>().map_err(|error| error.to_string());
    let (mut manifest, workspace) = (parse(manifest)?, parse(workspace)?);
    let common = |section: &str| workspace.get("workspace").and_then(|all| all.get(section)).cloned();
    if let (Some(Value::Table(package)), Some(inherited)) = (manifest.get_mut("package"), common("package")) {
        for (name, value) in package.iter_mut().filter(|(_, value)| inherits(value)) {
            *value = inherited.get(name).cloned().ok_or_else(|| format!("the workspace has no {name}"))?;
        }
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(Value::Table(dependencies)) = manifest.get_mut(section) else { continue };
        let inherited = common("dependencies").unwrap_or(Value::Table(Table::new()));
        for (name, value) in dependencies.iter_mut().filter(|(_, value)| inherits(value)) {
            let base = inherited.get(name).cloned().ok_or_else(|| format!("the workspace has no {name}"))?;
            let mut all = match base {
                Value::Table(table) => table,
                version => Table::from_iter([("version".to_owned(), version)]),
            };
            let own = value.as_table().into_iter().flatten().filter(|(key, _)| *key != "workspace");
            for (key, value) in own {
                match (all.get_mut(key), value) {
                    (Some(Value::Array(all)), Value::Array(more)) => all.extend(more.iter().cloned()),
                    _ => drop(all.insert(key.clone(), value.clone())),
                }
            }
            *value = Value::Table(all);
        }
    }
    // They are for those who change the crate.
    manifest.remove("lints");
    toml::to_string(&manifest).map_err(|error| error.to_string())
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crate_inherits_is_said_in_it() {
        let workspace = "[workspace.package]\nedition = \"2024\"\n[workspace.dependencies]\na = \"1\"\n\
                         b = { version = \"2\", features = [\"x\"] }\n";
        let manifest = "[package]\nname = \"c\"\nedition.workspace = true\n[lints]\nworkspace = true\n\
                        [dependencies]\na.workspace = true\nb = { workspace = true, optional = true, features = [\"y\"] }\n";
        let alone: Table = standing_alone(manifest, workspace).expect("it can").parse().expect("a manifest");
        let wanted = "[package]\nname = \"c\"\nedition = \"2024\"\n[dependencies]\na = { version = \"1\" }\n\
                      b = { version = \"2\", features = [\"x\", \"y\"], optional = true }\n";
        assert_eq!(alone, wanted.parse::<Table>().expect("a manifest"));
        assert!(standing_alone("[dependencies]\nz.workspace = true\n", workspace).is_err());
    }

    #[test]
    fn the_sdk_needs_nothing_of_this_repository() {
        let dir = tempfile::tempdir().expect("a directory");
        write_sdk(dir.path()).expect("room");
        let manifest = fs::read_to_string(dir.path().join("Cargo.toml")).expect("its manifest");
        assert!(!manifest.contains("workspace") && !manifest.contains("path ="), "{manifest}");
        assert_eq!(fs::read_to_string(dir.path().join("wit/peerlet.wit")).expect("the contract"), CONTRACT);
        let library = fs::read_to_string(dir.path().join("src/lib.rs")).expect("its source");
        assert!(!library.contains("../"), "it reads nothing outside");
    }

    #[test]
    fn each_template_is_whole_and_all_its_places_are_filled() {
        for language in ["rust", "python", "js"] {
            let files = template(language, &[("name", "greeter"), ("sdk", "{ path = \"sdk\" }"), ("crate", "greeter")]);
            let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            for wanted in ["peerlet.toml", "README.md", ".gitignore"] {
                assert!(names.contains(&wanted), "{language}: {names:?}");
            }
            assert!(names.iter().all(|name| !name.ends_with(RENAMED)), "{names:?}");
            for (name, text) in &files {
                assert!(!text.contains("{{"), "{language}/{name}");
            }
        }
        assert_eq!(template("cobol", &[]), []);
    }
}
