//! The files of a directory, and what of it is passed over.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::MAX_FILES;
use super::error::DemoError;
use crate::dht_client::MAX_SIZE;

/// One file to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// Where it is.
    pub(super) path: PathBuf,
    /// What it is stored under: its path below the directory.
    pub(super) name: Vec<u8>,
}

impl Input {
    /// The name for people.
    pub(super) fn shown(&self) -> String {
        shown(&self.name)
    }
}

/// Every file below the directory that can be read, in order of their names, and a line for each that cannot.
pub(super) fn files(root: &Path) -> Result<(Vec<Input>, Vec<String>), DemoError> {
    let cannot = |error| DemoError::Input { path: root.to_owned(), error };
    let mut found = Found { root, files: Vec::new(), passed_over: Vec::new(), directories: Vec::new() };
    // Errors of the directory itself are the user's to know; those of what is in it are only told.
    let first: Vec<fs::DirEntry> = fs::read_dir(root).map_err(cannot)?.collect::<Result<_, _>>().map_err(cannot)?;
    first.into_iter().for_each(|entry| found.entry(&entry));
    while let Some(directory) = found.directories.pop() {
        found.directory(&directory);
        if found.files.len() > MAX_FILES {
            return Err(DemoError::TooManyFiles { path: root.to_owned() });
        }
    }
    if found.files.is_empty() {
        return Err(DemoError::NoFiles(root.to_owned()));
    }
    found.files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    found.passed_over.sort_unstable();
    Ok((found.files, found.passed_over))
}

struct Found<'a> {
    root: &'a Path,
    files: Vec<Input>,
    passed_over: Vec<String>,
    /// Still to be looked into.
    directories: Vec<PathBuf>,
}

impl Found<'_> {
    fn directory(&mut self, path: &Path) {
        match fs::read_dir(path) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => self.entry(&entry),
                        Err(error) => self.pass_over(path, &error.to_string()),
                    }
                }
            }
            Err(error) => self.pass_over(path, &error.to_string()),
        }
    }

    fn entry(&mut self, entry: &fs::DirEntry) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => self.directories.push(path),
            Ok(kind) if kind.is_file() => match File::open(&path).and_then(|file| file.metadata()) {
                Ok(metadata) if metadata.len() > MAX_SIZE => self.pass_over(&path, "too large"),
                Ok(_) => {
                    let name = self.name(&path).to_owned();
                    self.files.push(Input { path, name });
                }
                Err(error) => self.pass_over(&path, &error.to_string()),
            },
            Ok(kind) if kind.is_symlink() => self.pass_over(&path, "a symbolic link"),
            Ok(_) => self.pass_over(&path, "neither file nor directory"),
            Err(error) => self.pass_over(&path, &error.to_string()),
        }
    }

    fn pass_over(&mut self, path: &Path, why: &str) {
        let line = format!("{}: {why}", shown(self.name(path)));
        self.passed_over.push(line);
    }

    fn name<'p>(&self, path: &'p Path) -> &'p [u8] {
        path.strip_prefix(self.root).unwrap_or(path).as_os_str().as_bytes()
    }
}

/// Names come from a disk and go to a terminal.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn files_are_found_at_every_depth_and_what_is_no_file_is_told() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("a/b")).expect("directories");
        fs::write(at("top"), "1").expect("a file");
        fs::write(at("a/b/deep"), "").expect("a file");
        symlink(at("top"), at("a/link")).expect("a link");
        symlink(root.path(), at("loop")).expect("a link");
        let _socket = UnixListener::bind(at("socket")).expect("a socket");

        let (files, passed_over) = files(root.path()).expect("there are files");

        let names: Vec<String> = files.iter().map(Input::shown).collect();
        assert_eq!(names, ["a/b/deep", "top"]);
        assert_eq!(
            passed_over,
            ["a/link: a symbolic link", "loop: a symbolic link", "socket: neither file nor directory"]
        );
    }

    #[test]
    fn a_directory_without_files_or_that_is_none_is_an_error() {
        let root = tempfile::tempdir().expect("a directory");
        assert!(matches!(files(root.path()), Err(DemoError::NoFiles(_))));
        assert!(matches!(files(&root.path().join("none")), Err(DemoError::Input { .. })));
    }
}
