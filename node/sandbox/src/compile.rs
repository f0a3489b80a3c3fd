//! A component, compiled against what it was granted.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_contract::Capability;
use prost_kbr::Refusal;
use wasmtime::component::{Component, Linker};

use crate::bindings::PeerletPre;
use crate::code::Code;
use crate::engine::Engine;
use crate::inspect::{BadComponent, Imports, inspect};
use crate::state::State;
use crate::text::clean;
use crate::{host, wasi};

/// Bytes of the compiler's message in an error.
const MESSAGE_BYTES: usize = 400;

/// Whether peerlets may import WASI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wasi {
    /// The inert interfaces only: clocks and random numbers from the event's context, what is printed goes to the log,
    /// and there is no environment, no file and no socket.
    Inert,
    /// None at all.
    None,
}

/// Why there is no compiled component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// No node would run it.
    #[error(transparent)]
    Bad(#[from] BadComponent),
    /// It asks for a capability that was not granted.
    #[error("the component imports '{name}', which was not granted")]
    MissingCapability {
        /// The first such capability.
        name: Capability,
    },
    /// It uses WASI, which this node does not offer.
    #[error("the component imports {name}, and this node offers no WASI")]
    NoWasi {
        /// The first such interface.
        name: String,
    },
    /// The compiler or the linker does not take it: a feature that is off, or a type that is not the contract's.
    #[error("the component does not compile: {0}")]
    Rejected(String),
}

impl CompileError {
    /// With what a compiler said, made fit for a log.
    pub fn rejected(said: &str) -> CompileError {
        CompileError::Rejected(clean(said, MESSAGE_BYTES))
    }

    /// What the node answers.
    pub fn refusal(&self) -> Refusal {
        match self {
            CompileError::Bad(bad) => bad.refusal(),
            CompileError::MissingCapability { .. } | CompileError::NoWasi { .. } => Refusal::MissingCapability,
            CompileError::Rejected(_) => Refusal::BadComponent,
        }
    }
}

/// A component that can be started on the engine that compiled it. A clone shares the code.
#[derive(Clone)]
pub struct Compiled {
    pre: PeerletPre<State>,
    imports: Imports,
}

impl Compiled {
    /// Inspects, compiles and links a component.
    ///
    /// Only the interfaces of `granted` capabilities are linked: what was not granted does not exist for the peerlet.
    /// Compiling takes tens of milliseconds for a small component and is bounded only by the bounds of
    /// [`inspect`](crate::inspect()), so do it one at a time, away from anything that must not wait.
    pub fn compile(
        engine: &Engine,
        component: &[u8],
        granted: &BTreeSet<Capability>,
        wasi: Wasi,
    ) -> Result<Compiled, CompileError> {
        let imports = admit(component, granted, wasi)?;
        let pre = guarded(|| link(engine, &Component::from_binary(engine.wasmtime(), component)?, granted, wasi))?;
        Ok(Compiled { pre, imports })
    }

    /// Inspects and links a component whose code comes from elsewhere: from a compiler in a process of its own, or from
    /// a disk. `code` is asked for the code of the component with this BLAKE3 digest, after the inspection.
    pub fn with_code<E: From<CompileError>>(
        engine: &Engine,
        component: &[u8],
        granted: &BTreeSet<Capability>,
        wasi: Wasi,
        code: impl FnOnce(&[u8; 32]) -> Result<Code, E>,
    ) -> Result<Compiled, E> {
        let imports = admit(component, granted, wasi)?;
        let digest = blake3::hash(component);
        let code = code(digest.as_bytes())?;
        if !code.fits(engine, digest.as_bytes()) {
            return Err(
                CompileError::Rejected("its code is of another component or for another engine".to_owned()).into()
            );
        }
        let pre = guarded(|| link(engine, &code.load(engine)?, granted, wasi))?;
        Ok(Compiled { pre, imports })
    }

    /// What the component imports.
    pub fn imports(&self) -> &Imports {
        &self.imports
    }

    pub(crate) fn pre(&self) -> &PeerletPre<State> {
        &self.pre
    }
}

/// What can be said of a component before it is compiled.
fn admit(component: &[u8], granted: &BTreeSet<Capability>, wasi: Wasi) -> Result<Imports, CompileError> {
    let imports = inspect(component)?;
    if let Some(name) = imports.capabilities.difference(granted).next() {
        return Err(CompileError::MissingCapability { name: *name });
    }
    if let (Wasi::None, Some(name)) = (wasi, imports.wasi.first()) {
        return Err(CompileError::NoWasi { name: name.clone() });
    }
    Ok(imports)
}

/// The compiler has panicked on valid components before; nothing of it is used again after that.
pub(crate) fn guarded<T>(compile: impl FnOnce() -> wasmtime::Result<T>) -> Result<T, CompileError> {
    match catch_unwind(AssertUnwindSafe(compile)) {
        Ok(compiled) => compiled.map_err(|error| CompileError::rejected(&format!("{error:#}"))),
        Err(_) => Err(CompileError::Rejected("the compiler failed".to_owned())),
    }
}

fn link(
    engine: &Engine,
    component: &Component,
    granted: &BTreeSet<Capability>,
    wasi: Wasi,
) -> wasmtime::Result<PeerletPre<State>> {
    let mut linker = Linker::new(engine.wasmtime());
    host::link_types(&mut linker)?;
    for capability in granted {
        host::link(&mut linker, *capability)?;
    }
    if wasi == Wasi::Inert {
        wasi::link(&mut linker)?;
    }
    PeerletPre::new(linker.instantiate_pre(component)?)
}
