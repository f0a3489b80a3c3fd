//! The types of a component, counted with those inside them.
//!
//! An instance's type has types inside, which can be such types again. Parsers read them by recursion and keep all of
//! them, so that a few megabytes of them would exhaust a stack or a memory: they are walked here first.

use wasmparser::{BinaryReader, ComponentImport, ComponentType, CoreType, InstanceTypeDeclaration, TypeSectionReader};

use crate::inspect::{BadComponent, invalid};

/// Types in one another. Toolchains make three.
const DEPTH: u64 = 32;

/// Parameters and results of a function, together: a validator looks at all of them for each target of each branch.
const VALUES: usize = 128;

/// Counts the types of sections, up to a limit.
#[derive(Debug)]
pub(crate) struct TypeCounter {
    count: u64,
    limit: u64,
}

impl TypeCounter {
    pub(crate) fn new(limit: u64) -> TypeCounter {
        TypeCounter { count: 0, limit }
    }

    /// The types of a core module.
    pub(crate) fn module_section(&mut self, section: &TypeSectionReader<'_>) -> Result<(), BadComponent> {
        self.add(u64::from(section.count()))?;
        for function in section.clone().into_iter_err_on_gc_types() {
            let function = function.map_err(invalid)?;
            if function.params().len() + function.results().len() > VALUES {
                return Err(BadComponent::TooMany { what: "values of a function", limit: VALUES as u64 });
            }
        }
        Ok(())
    }

    fn add(&mut self, more: u64) -> Result<(), BadComponent> {
        self.count = self.count.saturating_add(more);
        if self.count > self.limit { Err(BadComponent::TooMany { what: "types", limit: self.limit }) } else { Ok(()) }
    }

    /// A section of core types, its bytes from the number of types on.
    pub(crate) fn core_section(&mut self, bytes: &[u8], offset: usize) -> Result<(), BadComponent> {
        let mut reader = BinaryReader::new(bytes, offset);
        for _ in 0..reader.read_var_u32().map_err(invalid)? {
            self.core_type(&mut reader)?;
        }
        Ok(())
    }

    /// A section of component types, its bytes from the number of types on.
    pub(crate) fn section(&mut self, bytes: &[u8], offset: usize) -> Result<(), BadComponent> {
        let mut reader = BinaryReader::new(bytes, offset);
        for _ in 0..reader.read_var_u32().map_err(invalid)? {
            self.component_type(&mut reader, 1)?;
        }
        Ok(())
    }

    fn core_type(&mut self, reader: &mut BinaryReader<'_>) -> Result<(), BadComponent> {
        match reader.read().map_err(invalid)? {
            CoreType::Rec(_) => self.add(1),
            CoreType::Module(declarations) => self.add(1 + declarations.len() as u64),
        }
    }

    fn component_type(&mut self, reader: &mut BinaryReader<'_>, depth: u64) -> Result<(), BadComponent> {
        self.add(1)?;
        if depth > DEPTH {
            return Err(BadComponent::TooMany { what: "types in one another", limit: DEPTH });
        }
        let is_component = match next(reader)? {
            0x41 => true,
            0x42 => false,
            // It has no type inside.
            _ => return reader.read::<ComponentType<'_>>().map(drop).map_err(invalid),
        };
        reader.read_u8().map_err(invalid)?;
        for _ in 0..reader.read_var_u32().map_err(invalid)? {
            self.declaration(reader, is_component, depth)?;
        }
        Ok(())
    }

    fn declaration(
        &mut self,
        reader: &mut BinaryReader<'_>,
        of_component: bool,
        depth: u64,
    ) -> Result<(), BadComponent> {
        match next(reader)? {
            0x00 => {
                reader.read_u8().map_err(invalid)?;
                self.core_type(reader)
            }
            0x01 => {
                reader.read_u8().map_err(invalid)?;
                self.component_type(reader, depth + 1)
            }
            0x03 if of_component => {
                reader.read_u8().map_err(invalid)?;
                reader.read::<ComponentImport<'_>>().map(drop).map_err(invalid)
            }
            _ => reader.read::<InstanceTypeDeclaration<'_>>().map(drop).map_err(invalid),
        }
    }
}

/// The next byte, which stays.
fn next(reader: &BinaryReader<'_>) -> Result<u8, BadComponent> {
    reader.clone().read_u8().map_err(invalid)
}
