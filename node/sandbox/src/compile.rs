//! A component, compiled against what it was granted.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost_contract::Capability;
use prost_kbr::Refusal;
use wasmtime::component::{Component, Linker};

use crate::bindings::PeerletPre;
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
        let imports = inspect(component)?;
        if let Some(name) = imports.capabilities.difference(granted).next() {
            return Err(CompileError::MissingCapability { name: *name });
        }
        if let (Wasi::None, Some(name)) = (wasi, imports.wasi.first()) {
            return Err(CompileError::NoWasi { name: name.clone() });
        }
        // The compiler has panicked on valid components before; nothing of it is used again after that.
        let compiled = catch_unwind(AssertUnwindSafe(|| link(engine, component, granted, wasi)));
        match compiled {
            Ok(Ok(pre)) => Ok(Compiled { pre, imports }),
            Ok(Err(error)) => Err(CompileError::Rejected(clean(&format!("{error:#}"), MESSAGE_BYTES))),
            Err(_) => Err(CompileError::Rejected("the compiler failed".to_owned())),
        }
    }

    /// What the component imports.
    pub fn imports(&self) -> &Imports {
        &self.imports
    }

    pub(crate) fn pre(&self) -> &PeerletPre<State> {
        &self.pre
    }
}

fn link(
    engine: &Engine,
    component: &[u8],
    granted: &BTreeSet<Capability>,
    wasi: Wasi,
) -> wasmtime::Result<PeerletPre<State>> {
    let component = Component::from_binary(engine.wasmtime(), component)?;
    let mut linker = Linker::new(engine.wasmtime());
    host::link_types(&mut linker)?;
    for capability in granted {
        host::link(&mut linker, *capability)?;
    }
    if wasi == Wasi::Inert {
        wasi::link(&mut linker)?;
    }
    PeerletPre::new(linker.instantiate_pre(&component)?)
}
