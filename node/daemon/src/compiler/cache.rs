//! Code on disk, so that a node that starts again compiles nothing.
//!
//! Each file is sealed with a key that comes from the node's private key: whoever can write here but has not that key
//! cannot make the node run what it did not compile. Such a key is kept nowhere, and who puts another node key into the
//! data directory has another node, whose database this is not. A file that is damaged, of another node or for another
//! engine is one that is not there.

use std::io::{self, BufReader, BufWriter, Write};
use std::time::SystemTime;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, File, OpenOptions, OpenOptionsExt};
use prost_certs::Identity;
use prost_sandbox::{Code, Engine, SealKey};

use crate::store::DataDir;

/// Its place in the data directory.
const DIRECTORY: &str = "compiled";
/// What the node's key signs to make the cache's key. Nothing else is ever signed under it.
const KEY_DOMAIN: &str = "prost compiled code key v1";
/// What that signature becomes a key by.
const KEY_CONTEXT: &str = "prost 2026 compiled code on disk v1";
/// What a file is called that is not whole yet.
const UNFINISHED: &str = ".new";

/// How much is kept. What was used longest ago goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Files; as many as there can be applications.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { files: 256, bytes: 512 << 20 }
    }
}

/// Code by the digests of components.
#[derive(Debug)]
pub struct Cache {
    dir: Dir,
    key: SealKey,
    limits: CacheLimits,
}

impl Cache {
    /// The cache of a node.
    pub fn open(data: &DataDir, identity: &Identity) -> io::Result<Cache> {
        // The signatures of Ed25519 are always the same (RFC 8032), and nobody has one of this domain.
        let secret = identity.sign(KEY_DOMAIN, b"");
        let key = SealKey::new(blake3::derive_key(KEY_CONTEXT, &secret));
        Cache::below(data.dir(), key, CacheLimits::default())
    }

    /// A cache in a directory below this one, with mode 0700 where it has to be made.
    pub fn below(dir: &Dir, key: SealKey, limits: CacheLimits) -> io::Result<Cache> {
        if let Err(error) = dir.create_dir_with(DIRECTORY, DirBuilder::new().mode(0o700))
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        Ok(Cache { dir: dir.open_dir(DIRECTORY)?, key, limits })
    }

    /// The code of a component.
    pub(super) fn get(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Code> {
        let name = hex::encode(digest);
        let file = self.dir.open(&name).ok()?.into_std();
        match Code::read(&self.key, engine, digest, self.limits.bytes, &mut BufReader::new(&file)) {
            Ok(code) => {
                // Without it, it only looks older than it is.
                let _ = file.set_modified(SystemTime::now());
                Some(code)
            }
            Err(error) => {
                tracing::debug!(%name, %error, "compiled code on disk is passed over");
                None
            }
        }
    }

    /// Keeps the code of a component, in the place of what is there. A disk that does not take it costs time at the next
    /// start and nothing else.
    pub(super) fn put(&self, digest: &[u8; 32], code: &Code) {
        if code.sealed_bytes() > self.limits.bytes {
            return;
        }
        let name = hex::encode(digest);
        if let Err(error) = self.write(&name, code).and_then(|()| self.shrink()) {
            tracing::warn!(%name, %error, "compiled code is not kept");
        }
    }

    /// Nothing waits for the disk: a file that a crash has left half written has a wrong seal.
    fn write(&self, name: &str, code: &Code) -> io::Result<()> {
        let unfinished = format!("{name}{UNFINISHED}");
        let written = self.create(&unfinished).and_then(|file| {
            let mut file = BufWriter::new(file);
            code.write(&self.key, &mut file)?;
            file.flush()?;
            self.dir.rename(&unfinished, &self.dir, name)
        });
        written.inspect_err(|_| {
            // There may be none.
            let _ = self.dir.remove_file(&unfinished);
        })
    }

    fn create(&self, name: &str) -> io::Result<File> {
        self.dir.open_with(name, OpenOptions::new().write(true).create(true).truncate(true).mode(0o600))
    }

    /// Whatever else is in the directory counts too, and ages.
    fn shrink(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in self.dir.entries()? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_file() {
                files.push((about.modified()?.into_std(), entry.file_name(), about.len()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(.., bytes)| bytes).sum();
        let mut count = files.len();
        for (_, name, size) in files {
            if count <= self.limits.files && bytes <= self.limits.bytes {
                break;
            }
            self.dir.remove_file(&name)?;
            bytes -= size;
            count -= 1;
        }
        Ok(())
    }
}
