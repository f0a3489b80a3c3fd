//! `prost peerlet new`: a directory with a small peerlet that builds, is tested and runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use prost_kbr::AppName;

use super::super::failure::Failure;
use super::super::output;
use super::project::Language;
use super::sources;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  prost peerlet new greeter
  prost peerlet new greeter --lang python --dir elsewhere

The directory must not be there, or be empty. Ends with 73 where it is neither, and with 66 where --sdk is no such crate.";

#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct NewArgs {
    /// Name of the application: a-z, 0-9, '.' and '-'.
    name: AppName,
    /// What it is written in.
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value_t = Language::Rust)]
    lang: Language,
    /// Directory to make [default: the name].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A checkout of Prost, or the URL of its Git repository, to take the Rust SDK from. By default this program brings its
    /// own.
    #[arg(long, value_name = "PATH|URL")]
    sdk: Option<String>,
}

/// Writes it, and says what to do next.
pub(super) fn run(args: &NewArgs) -> Result<(), Failure> {
    if args.name.is_reserved() {
        let cause = format!("'{}' begins with '.', as only the node's own applications do", args.name);
        return Err(Failure::new(exit::USAGE, cause).hint("choose another name"));
    }
    if args.sdk.is_some() && args.lang != Language::Rust {
        return Err(Failure::new(exit::USAGE, "--sdk is for Rust alone").hint("leave it out"));
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(args.name.as_str()));
    let sdk = sdk(args.sdk.as_deref())?;
    claim(&dir)?;
    let cannot = |error: io::Error| Failure::writing(&dir, &error);
    let (name, krate) = (args.name.as_str(), crate_name(args.name.as_str()));
    let places = [("name", name), ("crate", &krate), ("sdk", &sdk)];
    for (path, text) in sources::template(directory(args.lang), &places) {
        sources::write(&dir.join(path), &text).map_err(cannot)?;
    }
    match args.lang {
        Language::Rust if args.sdk.is_none() => sources::write_sdk(&dir.join("sdk")).map_err(cannot)?,
        Language::Rust => {}
        Language::Js | Language::Python => {
            sources::write_contract(&dir.join("wit/deps/prost-peerlet")).map_err(cannot)?
        }
    }
    output::line(format!("{} is there; next: cd {} && prost peerlet test", dir.display(), dir.display()))
}

/// The template's directory.
fn directory(language: Language) -> &'static str {
    match language {
        Language::Rust => "rust",
        Language::Js => "js",
        Language::Python => "python",
    }
}

/// Makes the directory, or takes one that is empty.
fn claim(dir: &Path) -> Result<(), Failure> {
    let taken = |cause: String| {
        Failure::new(exit::CANNOT_CREATE, cause).hint("nothing is overwritten: choose another directory with --dir")
    };
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(taken(format!("{} is not empty", dir.display()))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(|error| Failure::writing(dir, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(taken(format!("{} is there and no directory", dir.display())))
        }
        Err(error) => Err(Failure::writing(dir, &error)),
    }
}

/// The SDK, as a dependency in a manifest.
fn sdk(wanted: Option<&str>) -> Result<String, Failure> {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let Some(wanted) = wanted else { return Ok("{ path = \"sdk\" }".to_owned()) };
    if wanted.contains("://") {
        return Ok(format!("{{ git = {} }}", quoted(wanted)));
    }
    let root = Path::new(wanted);
    let is_sdk = |dir: &PathBuf| {
        let manifest = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "name = \"prost-peerlet\"")
    };
    let found = [root.to_owned(), root.join("peerlets/sdk")].into_iter().find(is_sdk);
    let found = found.and_then(|dir| dir.canonicalize().ok()).ok_or_else(|| {
        let failure = Failure::new(exit::NO_INPUT, format!("there is no crate prost-peerlet in {wanted}"));
        failure.hint("name a checkout of Prost, or leave --sdk out")
    })?;
    let path = found.to_str().ok_or_else(|| Failure::new(exit::USAGE, "the path of the SDK is not plain text"))?;
    Ok(format!("{{ path = {} }}", quoted(path)))
}

/// A crate's name has no dots, and begins with a letter.
fn crate_name(name: &str) -> String {
    let plain = name.replace('.', "-");
    let plain = plain.trim_matches('-');
    if plain.starts_with(|first: char| first.is_ascii_alphabetic()) {
        plain.to_owned()
    } else {
        format!("app-{plain}").trim_end_matches('-').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::project::{FILE, Project};
    use super::*;

    fn args(name: &str, dir: &Path) -> NewArgs {
        let name = name.parse().expect("a name");
        NewArgs { name, lang: Language::Rust, dir: Some(dir.to_owned()), sdk: None }
    }

    #[test]
    fn a_new_peerlet_is_one_that_other_commands_read() {
        let root = tempfile::tempdir().expect("a directory");
        for language in [Language::Rust, Language::Js, Language::Python] {
            let dir = root.path().join(directory(language));
            run(&NewArgs { lang: language, ..args("my.app", &dir) }).expect("it is made");
            let project = Project::open(&dir).expect("it is a peerlet");
            assert_eq!(project.file.name.as_str(), "my.app");
            assert_eq!(project.language(), Some(language));
            assert!(!project.asks().is_empty(), "its tests ask something");
            assert!(project.budgets().is_ok());
        }
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("notes.txt");
        fs::write(&file, "mine").expect("a file");
        for taken in [root.path(), &file] {
            let failure = run(&args("app", taken)).expect_err("it is taken");
            assert_eq!(failure.code, exit::CANNOT_CREATE);
        }
        assert_eq!(fs::read_to_string(&file).expect("the file"), "mine");
        assert!(!root.path().join(FILE).exists());

        let empty = root.path().join("empty");
        fs::create_dir(&empty).expect("a directory");
        run(&args("app", &empty)).expect("an empty one is fine");
        assert_eq!(run(&args("app", &empty)).expect_err("not twice").code, exit::CANNOT_CREATE);
    }

    #[test]
    fn the_sdk_comes_from_a_checkout_or_a_repository_where_one_is_named() {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = sdk(checkout.to_str()).expect("it is there");
        assert!(path.ends_with("/peerlets/sdk\" }"), "{path}");
        assert_eq!(sdk(Some("https://example.org/prost")), Ok("{ git = \"https://example.org/prost\" }".to_owned()));
        assert_eq!(sdk(Some("/no/such")).map_err(|failure| failure.code), Err(exit::NO_INPUT));
    }

    #[test]
    fn a_crate_has_a_name_that_cargo_takes() {
        let names = ["a-b", "my.app", "7up", "-x-", "7."].map(crate_name);
        assert_eq!(names, ["a-b", "my-app", "app-7up", "x", "app-7"]);
    }
}
