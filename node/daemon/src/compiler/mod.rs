//! How components become code that can run: in a process of its own, once for each component.
//!
//! A component is inspected here, its code is looked for in the [`Cache`], and only then is a [`ChildCompiler`] asked,
//! which gives up at its [`ChildLimits`]. What could not be compiled is not tried again for a while, whoever brings it.

mod cache;
mod child;
mod inside;
mod limits;
mod refused;

use std::time::{Duration, Instant};

use prost_kbr::Refusal;
use prost_package::Grant;
use prost_sandbox::{Code, CompileError, Compiled, Engine, Wasi};

pub use cache::{Cache, CacheLimits};
pub use child::{ChildCompiler, Stopped};
pub use inside::{InsideError, run_inside};
pub use limits::ChildLimits;

use refused::Refused;

/// Why a component cannot run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompilerError {
    /// Because of what it is.
    #[error(transparent)]
    Component(#[from] CompileError),
    /// Its compiler did not end well.
    #[error("the component does not compile: {0}")]
    Stopped(#[from] Stopped),
    /// This machine has no process for its compiler.
    #[error("the compiler could not be run: {0}")]
    NoProcess(String),
}

impl CompilerError {
    /// What the node answers.
    pub fn refusal(&self) -> Refusal {
        match self {
            CompilerError::Component(error) => error.refusal(),
            CompilerError::Stopped(_) => Refusal::BadComponent,
            CompilerError::NoProcess(_) => Refusal::OverBudget,
        }
    }
}

/// How a compiler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With code.
    Well,
    /// It does not take the component.
    Rejected,
    /// At a limit, or in some other way that no compiler should end.
    Stopped,
    /// There was no process for it.
    NoProcess,
}

impl Ended {
    /// All, in a fixed order: for metrics.
    pub const ALL: [Ended; 4] = [Ended::Well, Ended::Rejected, Ended::Stopped, Ended::NoProcess];

    /// The name, as in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Ended::Well => "ok",
            Ended::Rejected => "rejected",
            Ended::Stopped => "stopped",
            Ended::NoProcess => "no_process",
        }
    }
}

/// What was done for one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// It was refused by its looks or from memory.
    Nothing,
    /// Its code was in the cache.
    Cached,
    /// It was compiled, or not.
    Compiled {
        /// How that ended.
        ended: Ended,
        /// How long it took.
        took: Duration,
    },
}

impl Work {
    /// What the application is charged for it, in microseconds: what is remembered costs nothing.
    pub fn micros(&self) -> u64 {
        match self {
            Work::Nothing | Work::Cached => 0,
            Work::Compiled { took, .. } => u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Compiles one component at a time.
pub struct Compiler {
    place: Place,
    refused: Refused,
}

enum Place {
    Here,
    Child { child: ChildCompiler, cache: Option<Cache> },
}

impl Compiler {
    /// Compiles in the calling thread, without limits: for components that are trusted.
    pub fn here() -> Compiler {
        Compiler { place: Place::Here, refused: Refused::default() }
    }

    /// Compiles in a process of its own, and keeps the code where there is a cache.
    pub fn in_child(child: ChildCompiler, cache: Option<Cache>) -> Compiler {
        Compiler { place: Place::Child { child, cache }, refused: Refused::default() }
    }

    /// Inspects, compiles and links a component.
    pub fn compile(
        &mut self,
        engine: &Engine,
        component: &[u8],
        grant: &Grant,
    ) -> (Result<Compiled, CompilerError>, Work) {
        let wasi = if grant.wasi { Wasi::Inert } else { Wasi::None };
        let mut work = Work::Nothing;
        let code = |digest: &[u8; 32]| self.code(engine, component, digest, &mut work);
        let compiled = Compiled::with_code(engine, component, &grant.capabilities, wasi, code);
        (compiled, work)
    }

    fn code(
        &mut self,
        engine: &Engine,
        component: &[u8],
        digest: &[u8; 32],
        work: &mut Work,
    ) -> Result<Code, CompilerError> {
        if let Some(error) = self.refused.get(digest, Instant::now()) {
            return Err(error);
        }
        if let Some(code) = self.cache().and_then(|cache| cache.get(engine, digest)) {
            *work = Work::Cached;
            return Ok(code);
        }
        let start = Instant::now();
        let made = match &self.place {
            Place::Here => Code::compile(engine, component).map_err(CompilerError::from),
            Place::Child { child, .. } => child.compile(engine, component, digest),
        };
        *work = Work::Compiled { ended: ended(&made), took: start.elapsed() };
        match &made {
            Ok(code) => {
                if let Some(cache) = self.cache() {
                    cache.put(digest, code);
                }
            }
            Err(CompilerError::NoProcess(_)) => {}
            Err(error) => self.refused.put(*digest, error.clone(), Instant::now()),
        }
        made
    }

    fn cache(&self) -> Option<&Cache> {
        match &self.place {
            Place::Child { cache, .. } => cache.as_ref(),
            Place::Here => None,
        }
    }
}

fn ended(made: &Result<Code, CompilerError>) -> Ended {
    match made {
        Ok(_) => Ended::Well,
        Err(CompilerError::Component(_)) => Ended::Rejected,
        Err(CompilerError::Stopped(_)) => Ended::Stopped,
        Err(CompilerError::NoProcess(_)) => Ended::NoProcess,
    }
}
