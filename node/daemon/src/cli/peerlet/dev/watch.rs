//! Notices when sources are saved.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What builds write, and what is nobody's source. Names that begin with a dot are none either.
const NOT_SOURCES: [&str; 4] = ["target", "node_modules", "__pycache__", "Cargo.lock"];
/// Directories within each other that are looked into.
const MAX_DEPTH: u32 = 16;
/// Most files that are looked at.
const MAX_FILES: usize = 10_000;

type State = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// The files of a directory, as they were.
#[derive(Debug)]
pub(super) struct Watch {
    dir: PathBuf,
    known: State,
    /// What differed at the last look: whoever saves several files, or writes one in pieces, is given time to finish.
    seen: Option<State>,
}

impl Watch {
    pub(super) fn new(dir: &Path) -> Watch {
        Watch { dir: dir.to_owned(), known: state(dir), seen: None }
    }

    /// Whether something differs from what was last said, and has been still since the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = state(&self.dir);
        if now == self.known {
            self.seen = None;
            return false;
        }
        if self.seen.as_ref() != Some(&now) {
            self.seen = Some(now);
            return false;
        }
        self.seen = None;
        self.known = now;
        true
    }
}

fn state(dir: &Path) -> State {
    let mut state = State::new();
    look(dir, 0, &mut state);
    state
}

fn look(dir: &Path, depth: u32, state: &mut State) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || NOT_SOURCES.contains(&name.as_ref()) || state.len() >= MAX_FILES {
            continue;
        }
        // Not through links: they may lead round in a circle.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && depth < MAX_DEPTH {
            look(&entry.path(), depth + 1, state);
        } else if metadata.is_file() {
            state.insert(entry.path(), (metadata.modified().ok(), metadata.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_noticed_once_and_when_it_is_still() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("src/lib.rs");
        fs::create_dir(dir.path().join("src")).expect("a directory");
        fs::write(&source, "one").expect("a file");
        let mut watch = Watch::new(dir.path());
        assert!(!watch.has_changed());

        fs::write(&source, "another").expect("a save");
        assert!(!watch.has_changed(), "it may not be finished");
        fs::write(&source, "another one").expect("a save");
        assert!(!watch.has_changed());
        assert!(watch.has_changed());
        assert!(!watch.has_changed());

        fs::remove_file(&source).expect("it was there");
        assert!(!watch.has_changed() && watch.has_changed());
    }

    #[test]
    fn what_builds_write_is_no_save() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watch = Watch::new(dir.path());
        for name in ["target", "node_modules", ".git"] {
            fs::create_dir(dir.path().join(name)).expect("a directory");
            fs::write(dir.path().join(name).join("file"), "x").expect("a file");
        }
        fs::write(dir.path().join(".app.py.swp"), "x").expect("a file");
        assert!(!watch.has_changed() && !watch.has_changed());
    }
}
