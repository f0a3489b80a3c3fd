//! What a component is and what it asks for, read before any of it is compiled.

use std::collections::BTreeSet;

use prost_contract::{CONTRACT, Capability};
use prost_kbr::Refusal;
use wasmparser::{FuncValidatorAllocations, Parser, Payload, ValidPayload, Validator, WasmFeatures};

use crate::text::clean;
use crate::types::TypeCounter;

/// Bytes of a component. Peerlets in Python and JavaScript bring their interpreter along: about 18 and 12 MiB.
pub const COMPONENT_BYTES: usize = 24 << 20;

/// Bounds on what a compiler and an instance have to carry. They are far above what guest toolchains make and far below
/// what the WebAssembly specifications allow.
/// A component of componentize-py has 38: CPython and its libraries, and one in place of each WASI interface.
const MODULES: u64 = 48;
const COMPONENTS: u64 = 16;
/// Most are only bundles of exports, of which a component has one for each interface it imports; what an engine really
/// instantiates is bounded by [`MODULES`] and by the store's limiter.
const INSTANCES: u64 = 512;
const FUNCTIONS: u64 = 40_000;
const MEMORIES: u64 = 2;
const TABLES: u64 = 8;
const TYPES: u64 = 10_000;
/// Bytes of a name in an error.
const NAME_BYTES: usize = 128;

/// WASI interfaces that give a peerlet nothing which an event does not give it anyway: clocks and random numbers from
/// the event's context, a log as standard error, an empty environment and no file.
const INERT: [(&str, &[&str]); 5] = [
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stdin",
            "stdout",
            "stderr",
            "terminal-input",
            "terminal-output",
            "terminal-stdin",
            "terminal-stdout",
            "terminal-stderr",
        ],
    ),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:random", &["random", "insecure", "insecure-seed"]),
    ("wasi:filesystem", &["types", "preopens"]),
];

/// What a component imports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imports {
    /// The capabilities it asks for.
    pub capabilities: BTreeSet<Capability>,
    /// The inert WASI interfaces it uses, by their full names.
    pub wasi: BTreeSet<String>,
}

/// Why the bytes are not a component that a node would run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadComponent {
    /// More than [`COMPONENT_BYTES`].
    #[error("{size} bytes are too many for a component; the limit is {COMPONENT_BYTES}")]
    TooLarge {
        /// How many there are.
        size: usize,
    },
    /// Neither a component nor a core module.
    #[error("this is not a WebAssembly component")]
    NotAComponent,
    /// A core module, which has to be made a component first.
    #[error("this is a core WebAssembly module, not a component")]
    CoreModule,
    /// More of something than any toolchain makes.
    #[error("a component may have {limit} {what} at most")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// It imports what is neither part of the contract nor inert.
    #[error("the component imports {name}, which no node offers")]
    ForbiddenImport {
        /// The import's full name.
        name: String,
    },
    /// It does not export the handler.
    #[error("the component does not export the handler of {CONTRACT}")]
    NoHandler,
    /// It is not valid.
    #[error("the component is not valid: {0}")]
    Invalid(String),
}

impl BadComponent {
    /// What the node answers.
    pub fn refusal(&self) -> Refusal {
        match self {
            BadComponent::ForbiddenImport { .. } => Refusal::MissingCapability,
            BadComponent::TooLarge { .. }
            | BadComponent::NotAComponent
            | BadComponent::CoreModule
            | BadComponent::TooMany { .. }
            | BadComponent::NoHandler
            | BadComponent::Invalid(_) => Refusal::BadComponent,
        }
    }
}

/// Reads what a component imports, and refuses one that is too large, invalid, or asks for what no node offers.
///
/// Nothing is compiled. The time it takes is linear in the bytes.
pub fn inspect(component: &[u8]) -> Result<Imports, BadComponent> {
    if component.len() > COMPONENT_BYTES {
        return Err(BadComponent::TooLarge { size: component.len() });
    }
    if Parser::is_core_wasm(component) {
        return Err(BadComponent::CoreModule);
    }
    if !Parser::is_component(component) {
        return Err(BadComponent::NotAComponent);
    }
    let mut inspection = Inspection::default();
    for payload in Parser::new(0).parse_all(component) {
        inspection.on_payload(&payload.map_err(invalid)?, component)?;
    }
    if inspection.handler { Ok(inspection.imports) } else { Err(BadComponent::NoHandler) }
}

/// One walk over a component.
struct Inspection {
    validator: Validator,
    scratch: FuncValidatorAllocations,
    /// How deep the walk is: one in the outermost component, whose imports are the ones that a linker satisfies.
    depth: u32,
    counts: Counts,
    imports: Imports,
    handler: bool,
}

impl Default for Inspection {
    fn default() -> Inspection {
        Inspection {
            validator: Validator::new_with_features(features()),
            scratch: FuncValidatorAllocations::default(),
            depth: 0,
            counts: Counts::default(),
            imports: Imports::default(),
            handler: false,
        }
    }
}

impl Inspection {
    fn on_payload(&mut self, payload: &Payload<'_>, component: &[u8]) -> Result<(), BadComponent> {
        // Before the validator, which would already spend time and memory on them.
        self.counts.add(payload)?;
        self.counts.add_types(payload, component)?;
        match self.validator.payload(payload).map_err(invalid)? {
            ValidPayload::Func(function, body) => {
                let mut function = function.into_validator(core::mem::take(&mut self.scratch));
                function.validate(&body).map_err(invalid)?;
                self.scratch = function.into_allocations();
            }
            ValidPayload::Ok | ValidPayload::Parser(_) | ValidPayload::End(_) => {}
        }
        match payload {
            Payload::Version { .. } => self.depth += 1,
            Payload::End(_) => self.depth -= 1,
            Payload::ComponentImportSection(section) if self.depth == 1 => {
                for import in section.clone() {
                    self.on_import(import.map_err(invalid)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) if self.depth == 1 => {
                for export in section.clone() {
                    let name = export.map_err(invalid)?.name.name;
                    self.handler |= contract_interface(name) == Some("handler");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn on_import(&mut self, name: &str) -> Result<(), BadComponent> {
        if is_inert(name) {
            self.imports.wasi.insert(name.to_owned());
            return Ok(());
        }
        match contract_interface(name) {
            Some("types") => Ok(()),
            Some(interface) if let Ok(capability) = interface.parse() => {
                self.imports.capabilities.insert(capability);
                Ok(())
            }
            _ => Err(BadComponent::ForbiddenImport { name: clean(name, NAME_BYTES) }),
        }
    }
}

/// How many of each thing a component has, in all its nested parts together.
struct Counts {
    modules: u64,
    components: u64,
    instances: u64,
    functions: u64,
    memories: u64,
    tables: u64,
    types: TypeCounter,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            modules: 0,
            components: 0,
            instances: 0,
            functions: 0,
            memories: 0,
            tables: 0,
            types: TypeCounter::new(TYPES),
        }
    }
}

impl Counts {
    fn add(&mut self, payload: &Payload<'_>) -> Result<(), BadComponent> {
        let (count, more, what, limit) = match payload {
            Payload::ModuleSection { .. } => (&mut self.modules, 1, "modules", MODULES),
            Payload::ComponentSection { .. } => (&mut self.components, 1, "nested components", COMPONENTS),
            Payload::InstanceSection(section) => (&mut self.instances, section.count(), "instances", INSTANCES),
            Payload::ComponentInstanceSection(section) => {
                (&mut self.instances, section.count(), "instances", INSTANCES)
            }
            Payload::FunctionSection(section) => (&mut self.functions, section.count(), "functions", FUNCTIONS),
            Payload::ComponentCanonicalSection(section) => {
                (&mut self.functions, section.count(), "functions", FUNCTIONS)
            }
            Payload::MemorySection(section) => (&mut self.memories, section.count(), "memories", MEMORIES),
            Payload::TableSection(section) => (&mut self.tables, section.count(), "tables", TABLES),
            _ => return Ok(()),
        };
        *count += u64::from(more);
        if *count > limit { Err(BadComponent::TooMany { what, limit }) } else { Ok(()) }
    }

    fn add_types(&mut self, payload: &Payload<'_>, component: &[u8]) -> Result<(), BadComponent> {
        match payload {
            Payload::TypeSection(section) => self.types.module_section(section),
            Payload::CoreTypeSection(section) => {
                self.types.core_section(&component[section.range()], section.range().start)
            }
            Payload::ComponentTypeSection(section) => {
                self.types.section(&component[section.range()], section.range().start)
            }
            _ => Ok(()),
        }
    }
}

/// The interface of the contract that a name means; none where it is another package or a version that this node does
/// not speak: another minor version, or a newer patch.
fn contract_interface(name: &str) -> Option<&str> {
    let (package, ours) = CONTRACT.split_once('@')?;
    let (interface, version) = name.strip_prefix(package)?.strip_prefix('/')?.split_once('@')?;
    let (ours, theirs) = (parse_version(ours)?, parse_version(version)?);
    (theirs[..2] == ours[..2] && theirs[2] <= ours[2]).then_some(interface)
}

fn is_inert(name: &str) -> bool {
    let Some((path, version)) = name.split_once('@') else { return false };
    let Some((package, interface)) = path.split_once('/') else { return false };
    let known = INERT.iter().any(|(inert, interfaces)| *inert == package && interfaces.contains(&interface));
    known && parse_version(version).is_some_and(|version| version[..2] == [0, 2])
}

/// Three numbers; no prerelease, which would match nothing but itself.
fn parse_version(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let version = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(version)
}

/// What components may use: what current toolchains emit. The engine has all else switched off. References that a garbage
/// collector would have to follow, `externref` among them, are not among it, as no collector is there.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES)
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL
}

pub(crate) fn invalid(error: wasmparser::BinaryReaderError) -> BadComponent {
    BadComponent::Invalid(clean(&error.to_string(), NAME_BYTES * 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_this_node_speaks_are_the_contract() {
        assert_eq!(contract_interface("prost:peerlet/storage@0.1.0"), Some("storage"));
        for other in [
            "prost:peerlet/storage",
            "prost:peerlet/storage@0.1.1",
            "prost:peerlet/storage@0.2.0",
            "prost:peerlet/storage@0.1.0-draft",
            "prost:peerlets/storage@0.1.0",
            "storage",
        ] {
            assert_eq!(contract_interface(other), None, "{other}");
        }
    }

    #[test]
    fn inert_wasi_is_a_list_of_interfaces_of_one_version() {
        assert!(is_inert("wasi:cli/stderr@0.2.6"));
        for other in [
            "wasi:cli/stderr@0.3.0",
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/types@0.2.6",
            "wasi:cli/run@0.2.6",
            "wasi:cli/stderr",
        ] {
            assert!(!is_inert(other), "{other}");
        }
    }
}
