//! What is refused before anything runs, and with which words.

mod support;

use std::collections::BTreeSet;

use prost_contract::Capability;
use prost_kbr::Refusal;
use prost_sandbox::{BadComponent, COMPONENT_BYTES, CompileError, Compiled, Wasi, inspect};
use support::{Peerlet, engine, granted};

#[test]
fn the_imports_of_a_component_are_the_capabilities_it_asks_for() {
    let imports = inspect(&Peerlet::new().storage().log().build()).unwrap();
    assert_eq!(imports.capabilities, granted(&[Capability::Storage, Capability::Log]));
    assert_eq!(imports.wasi, BTreeSet::new());
}

#[test]
fn an_import_that_no_node_offers_is_refused_by_name() {
    for name in
        ["wasi:sockets/tcp@0.2.6", "wasi:http/outgoing-handler@0.2.0", "prost:peerlet/storage@0.2.0", "evil:x/y"]
    {
        let component = Peerlet::new().import(&format!("(import \"{name}\" (instance))")).build();
        let refused = inspect(&component).unwrap_err();
        assert_eq!(refused, BadComponent::ForbiddenImport { name: name.to_owned() });
        assert_eq!(refused.refusal(), Refusal::MissingCapability);
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[test]
fn a_bare_function_is_no_import_of_the_contract() {
    let component = Peerlet::new().import("(import \"system\" (func))").build();
    assert_eq!(inspect(&component), Err(BadComponent::ForbiddenImport { name: "system".to_owned() }));
}

#[test]
fn a_capability_that_was_not_granted_is_refused() {
    let component = Peerlet::new().storage().log().build();
    let refused = Compiled::compile(&engine(), &component, &granted(&[Capability::Log]), Wasi::Inert).err().unwrap();
    assert_eq!(refused, CompileError::MissingCapability { name: Capability::Storage });
    assert_eq!(refused.refusal(), Refusal::MissingCapability);
}

#[test]
fn a_node_can_refuse_wasi_altogether() {
    let name = "wasi:cli/environment@0.2.6";
    let component = Peerlet::new().import(&format!("(import \"{name}\" (instance))")).build();
    assert!(inspect(&component).unwrap().wasi.contains(name));
    assert!(Compiled::compile(&engine(), &component, &BTreeSet::new(), Wasi::Inert).is_ok());
    let refused = Compiled::compile(&engine(), &component, &BTreeSet::new(), Wasi::None).err();
    assert_eq!(refused, Some(CompileError::NoWasi { name: name.to_owned() }));
}

#[test]
fn what_is_not_a_component_is_refused_for_what_it_is() {
    let module = wat::parse_str("(module (func (export \"deliver\")))").unwrap();
    assert_eq!(inspect(&module), Err(BadComponent::CoreModule));
    assert_eq!(inspect(b""), Err(BadComponent::NotAComponent));
    assert_eq!(inspect(b"\x7fELF precompiled code"), Err(BadComponent::NotAComponent));
    assert_eq!(inspect(&vec![0; COMPONENT_BYTES + 1]), Err(BadComponent::TooLarge { size: COMPONENT_BYTES + 1 }));
}

#[test]
fn a_component_without_the_handler_is_refused() {
    let component = wat::parse_str("(component)").unwrap();
    assert_eq!(inspect(&component), Err(BadComponent::NoHandler));
}

#[test]
fn a_handler_of_another_shape_is_refused_by_the_linker() {
    let component =
        wat::parse_str(r#"(component (instance $handler) (export "prost:peerlet/handler@0.1.0" (instance $handler)))"#)
            .unwrap();
    assert!(inspect(&component).is_ok());
    let refused = Compiled::compile(&engine(), &component, &BTreeSet::new(), Wasi::Inert).err().unwrap();
    assert!(matches!(refused, CompileError::Rejected(_)), "{refused}");
    assert_eq!(refused.refusal(), Refusal::BadComponent);
}

#[test]
fn a_component_cut_short_anywhere_is_refused() {
    const CUSTOM_SECTION: u8 = 0;
    let component = Peerlet::new().storage().build();
    for length in 0..component.len() {
        match inspect(&component[..length]) {
            Err(refused) => assert_eq!(refused.refusal(), Refusal::BadComponent, "cut at {length}"),
            // Without the names at its end it is whole.
            Ok(_) => assert_eq!(component[length], CUSTOM_SECTION, "cut at {length}"),
        }
    }
}

#[test]
fn more_than_any_toolchain_makes_is_refused_before_it_is_compiled() {
    let modules = "(core module)".repeat(49);
    let too_many = [
        ("modules", format!("(component {modules})")),
        ("nested components", format!("(component {})", "(component)".repeat(17))),
        ("memories", format!("(component {})", "(core module (memory 1))".repeat(3))),
        ("tables", format!("(component (core module {}))", "(table 1 funcref)".repeat(9))),
        ("types", format!("(component (core module {}))", "(type (func))".repeat(10_001))),
        ("functions", format!("(component (core module {}))", "(func)".repeat(40_001))),
    ];
    for (what, text) in too_many {
        let refused = inspect(&wat::parse_str(text).unwrap()).unwrap_err();
        assert!(matches!(refused, BadComponent::TooMany { what: named, .. } if named == what), "{what}: {refused}");
    }
}

#[test]
fn features_that_are_off_are_refused() {
    for module in [
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (type (struct)))",
        "(module (tag))",
        "(module (func (param externref)))",
        "(module (table 1 externref))",
        "(module (func (drop (ref.null any))))",
        "(module (type $f (func)) (func (param (ref $f))))",
        "(module (memory 1) (memory 1))",
        "(module (func (result v128) v128.const i32x4 0 0 0 0 v128.const i32x4 0 0 0 0 i8x16.relaxed_swizzle))",
    ] {
        let component = wat::parse_str(format!("(component (core {})", &module[1..])).unwrap();
        let refused = inspect(&component).unwrap_err();
        assert!(matches!(refused, BadComponent::Invalid(_)), "{module}: {refused}");
    }
}
