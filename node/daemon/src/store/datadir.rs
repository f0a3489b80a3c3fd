//! The data directory: made, entered once, and locked.

use std::fs::{DirBuilder, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions, OpenOptionsExt};

use super::error::StoreError;

/// Whose lock it is that a process holds while it uses the directory.
const LOCK_FILE: &str = "lock";

/// A node's data directory, locked for this process as long as the value lives. All access is below it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    dir: Dir,
    /// Locked; the operating system releases it however the process ends.
    _lock: std::fs::File,
}

impl DataDir {
    /// Enters the directory, which is made with mode 0700 where it does not exist, and takes its lock.
    pub fn open(path: &Path) -> Result<DataDir, StoreError> {
        let cannot =
            |error: io::Error| StoreError::Directory { path: path.display().to_string(), cause: error.to_string() };
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(cannot)?;
        }
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(cannot)?;
        let mut lock = private_file(&dir, LOCK_FILE).map_err(cannot)?.into_std();
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: path.display().to_string(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        write_pid(&mut lock).map_err(cannot)?;
        Ok(DataDir { path: path.to_owned(), dir, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory as a capability.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// A file for reading and writing with mode 0600, made where it does not exist.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        private_file(&self.dir, name)
    }

    /// Writes a whole file with mode 0600: whoever reads it sees the old contents or the new, also after a crash.
    pub fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let temporary = format!("{name}.new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = self.dir.open_with(&temporary, &options)?;
        file.write_all(contents)?;
        file.sync_all()?;
        self.dir.rename(&temporary, &self.dir, name)?;
        self.sync()
    }

    /// Makes the directory's entries durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.dir.open(".")?.sync_all()
    }
}

fn private_file(dir: &Dir, name: &str) -> io::Result<File> {
    dir.open_with(name, OpenOptions::new().read(true).write(true).create(true).mode(0o600))
}

fn write_pid(lock: &mut std::fs::File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn read_pid(lock: &mut std::fs::File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
