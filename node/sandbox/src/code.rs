//! Compiled code on its way from the process that compiled it to the one that runs it.
//!
//! An engine believes the code that it loads. So code comes with a seal, a keyed digest over the code, the component
//! that it was made of and the engine that it is for: what was cut short, made by another compiler or by someone without
//! the key is never loaded. Who has the key is believed, so a key is for one node's own compiler or its own disk.

use core::fmt;
use std::io::{self, Read, Write};

use wasmtime::component::Component;

use crate::compile::{CompileError, guarded};
use crate::engine::Engine;

/// What a file or a stream of sealed code starts with; another layout has another one.
const FORMAT: [u8; 16] = *b"prost code  v1\r\n";
/// Format, length, component, engine, seal.
const HEADER: usize = FORMAT.len() + 8 + 3 * DIGEST;
const DIGEST: usize = 32;

/// What code is sealed with.
#[derive(Clone)]
pub struct SealKey([u8; SealKey::LEN]);

impl SealKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// A key of random bytes, or of bytes that were derived from a secret.
    pub fn new(bytes: [u8; SealKey::LEN]) -> SealKey {
        SealKey(bytes)
    }

    /// The bytes, to hand them to a compiler.
    pub fn as_bytes(&self) -> &[u8; SealKey::LEN] {
        &self.0
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(…)")
    }
}

/// Why bytes are not taken for code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCode {
    /// They cannot be read.
    #[error("the code cannot be read: {0}")]
    Unreadable(io::ErrorKind),
    /// There are fewer or more of them than they say.
    #[error("the code is not as long as it says")]
    Length,
    /// They say that there are more of them than there may be.
    #[error("{0} bytes of code are too many")]
    TooLong(u64),
    /// They are something else, of another component or for another engine.
    #[error("the code is of another component or for another engine")]
    Foreign,
    /// They were not sealed with this key, or were changed afterwards.
    #[error("the seal of the code is wrong")]
    BadSeal,
}

/// Code of a component, for one engine. It was compiled here, or its seal was right.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    component: [u8; DIGEST],
    engine: [u8; DIGEST],
    bytes: Vec<u8>,
}

impl Code {
    /// Compiles a component that [`inspect`](crate::inspect()) has let pass. Nothing is loaded.
    pub fn compile(engine: &Engine, component: &[u8]) -> Result<Code, CompileError> {
        let bytes = guarded(|| engine.wasmtime().precompile_component(component))?;
        Ok(Code { component: *blake3::hash(component).as_bytes(), engine: *engine.fingerprint(), bytes })
    }

    /// Reads sealed code of the component with this BLAKE3 digest, to the end. Its length is looked at before there is
    /// room for it.
    pub fn read(
        key: &SealKey,
        engine: &Engine,
        component: &[u8; DIGEST],
        limit: u64,
        from: &mut impl Read,
    ) -> Result<Code, NotCode> {
        let mut header = [0; HEADER];
        from.read_exact(&mut header).map_err(|error| unreadable(&error))?;
        let (format, rest) = header.split_at(FORMAT.len());
        let (length, rest) = rest.split_at(8);
        let (made_of, rest) = rest.split_at(DIGEST);
        let (made_for, seal) = rest.split_at(DIGEST);
        if format != FORMAT || made_of != component || made_for != engine.fingerprint() {
            return Err(NotCode::Foreign);
        }
        let length = u64::from_le_bytes(length.try_into().expect("eight bytes"));
        let bytes = read_whole(from, length, limit)?;
        let code = Code { component: *component, engine: *engine.fingerprint(), bytes };
        let seal = blake3::Hash::from_bytes(seal.try_into().expect("a digest"));
        // The comparison takes the same time wherever they differ.
        if code.seal(key) == seal { Ok(code) } else { Err(NotCode::BadSeal) }
    }

    /// Writes the code with its seal.
    pub fn write(&self, key: &SealKey, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&FORMAT)?;
        to.write_all(&(self.bytes.len() as u64).to_le_bytes())?;
        to.write_all(&self.component)?;
        to.write_all(&self.engine)?;
        to.write_all(self.seal(key).as_bytes())?;
        to.write_all(&self.bytes)
    }

    /// Bytes that [`Code::write`] writes.
    pub fn sealed_bytes(&self) -> u64 {
        (HEADER + self.bytes.len()) as u64
    }

    /// Everything before the code has a fixed length, so that no two codes are the same bytes here.
    fn seal(&self, key: &SealKey) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&key.0);
        hasher.update(&FORMAT).update(&(self.bytes.len() as u64).to_le_bytes());
        hasher.update(&self.component).update(&self.engine).update(&self.bytes);
        hasher.finalize()
    }

    /// Whether this is code of the component with this digest, for this engine.
    pub(crate) fn fits(&self, engine: &Engine, component: &[u8; DIGEST]) -> bool {
        self.component == *component && self.engine == *engine.fingerprint()
    }

    /// Makes it executable.
    #[allow(unsafe_code, reason = "an engine cannot check what it loads")]
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: a `Code` is made in two places. In `compile` the bytes are what the compiler returned. In `read` they
        // are, bit for bit, what someone with the seal's key wrote by `write`, who had it from `compile`: the seal
        // covers all of them and their number. The fields are private and nothing changes them. wasmtime itself refuses
        // code for an engine with other settings.
        unsafe { Component::deserialize(engine.wasmtime(), &self.bytes) }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

fn read_whole(from: &mut impl Read, length: u64, limit: u64) -> Result<Vec<u8>, NotCode> {
    let room = usize::try_from(length).ok().filter(|_| length <= limit).ok_or(NotCode::TooLong(length))?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(room).map_err(|_| NotCode::TooLong(length))?;
    let read = from.by_ref().take(length).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    let after = from.take(1).read_to_end(&mut Vec::new()).map_err(|error| unreadable(&error))?;
    if read == room && after == 0 { Ok(bytes) } else { Err(NotCode::Length) }
}

fn unreadable(error: &io::Error) -> NotCode {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => NotCode::Length,
        kind => NotCode::Unreadable(kind),
    }
}

/// The digest of all that decides whether code for one engine is code for another.
pub(crate) fn fingerprint(engine: &wasmtime::Engine) -> [u8; DIGEST] {
    struct Digester(blake3::Hasher);

    impl core::hash::Hasher for Digester {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            let digest = self.0.finalize();
            u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("eight bytes"))
        }
    }

    let mut digester = Digester(blake3::Hasher::new());
    core::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut digester);
    *digester.0.finalize().as_bytes()
}
