//! Components that nobody wrote: modules made of random numbers, and real components with random damage. Whatever comes of
//! them, it is a typed refusal or a trap, the same each time, and within the limits.

mod support;

use std::collections::BTreeMap;

use arbitrary::Unstructured;
use prost_contract::{Capability, Execution, Limits, Outcome};
use prost_sandbox::{BadComponent, Compiled, Engine, Instance, Wasi, inspect};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use support::{OK, Peerlet, context, deliver, engine, granted, no_records};

/// Modules made of random numbers.
const MODULES: u64 = 150;
/// Damaged copies of a component.
const DAMAGED: u64 = 3000;

/// A peerlet whose `deliver` calls a function made of this seed. Some use what no node offers.
fn random(seed: u64) -> Peerlet {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; 3000];
    random.fill_bytes(&mut bytes);
    let wanted = r#"(module (func (export "run") (param i32 i64) (result i64) unreachable))"#;
    let config = wasm_smith::Config {
        exports: Some(wat::parse_str(wanted).expect("it is well-formed")),
        max_imports: 0,
        min_funcs: 1,
        allow_start_export: seed.is_multiple_of(3),
        simd_enabled: seed.is_multiple_of(4),
        memory64_enabled: seed % 17 == 1,
        threads_enabled: seed % 19 == 1,
        exceptions_enabled: seed % 23 == 1,
        gc_enabled: seed % 29 == 1,
        reference_types_enabled: seed.is_multiple_of(5),
        ..wasm_smith::Config::default()
    };
    let module = wasm_smith::Module::new(config, &mut Unstructured::new(&bytes)).expect("there are bytes enough");
    let text = wasmprinter::print_bytes(module.to_bytes()).expect("it is a module");
    let fields = text.trim().strip_prefix("(module").and_then(|text| text.strip_suffix(')')).expect("it is a module");
    Peerlet::new().beside(fields).deliver(&format!("(drop (call $run (i32.const 5) (i64.const -7))) {OK}"))
}

/// What came of a component.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Refused(BadComponent),
    NotCompiled(String),
    NotStarted(String),
    Ran(Execution),
}

impl End {
    fn kind(&self) -> String {
        match self {
            End::Refused(_) => "refused".to_owned(),
            End::NotCompiled(_) => "not compiled".to_owned(),
            End::NotStarted(_) => "not started".to_owned(),
            End::Ran(Execution { outcome: Outcome::Trapped(trap), .. }) => format!("{:?}", trap.kind),
            End::Ran(_) => "ran".to_owned(),
        }
    }
}

fn end(engine: &Engine, component: &[u8], limits: &Limits) -> End {
    if let Err(bad) = inspect(component) {
        return End::Refused(bad);
    }
    let compiled = match Compiled::compile(engine, component, &granted(&Capability::ALL), Wasi::Inert) {
        Ok(compiled) => compiled,
        Err(error) => return End::NotCompiled(error.to_string()),
    };
    let mut instance = match Instance::start(&compiled, limits.clone(), None, &context()) {
        Ok(instance) => instance,
        Err(error) => return End::NotStarted(error.to_string()),
    };
    let mut execution = instance.run(&deliver(b"payload"), &context(), &mut no_records());
    assert!(execution.receipt.memory_bytes <= limits.memory_bytes, "{execution:?}");
    assert!(execution.receipt.fuel <= limits.fuel, "{execution:?}");
    execution.receipt.micros = 0;
    End::Ran(execution)
}

#[test]
fn a_module_of_random_numbers_ends_the_same_way_on_two_engines_and_within_its_limits() {
    let limits = Limits { fuel: 300_000, memory_bytes: 4 << 20, ..Limits::default() };
    let (one, other) = (engine(), engine());
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..MODULES {
        let component = random(seed).build();
        let end_here = end(&one, &component, &limits);
        assert_eq!(end_here, end(&other, &component, &limits), "seed {seed}");
        *ends.entry(end_here.kind()).or_default() += 1;
    }
    // What random numbers make is worth nothing where it all ends at the first gate.
    let reached = |kind: &str| ends.get(kind).is_some_and(|count| *count >= 5);
    assert!(reached("ran") && reached("Fault") && reached("OutOfFuel") && reached("refused"), "{ends:?}");
}

#[test]
fn a_damaged_component_is_refused_or_still_one() {
    let whole = Peerlet::new().storage().route().log().deliver(OK).build();
    let imports = inspect(&whole).expect("it is whole");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut refused, mut passed) = (0, 0);
    for _ in 0..DAMAGED {
        let mut bytes = whole.clone();
        for _ in 0..=random.next_u32() % 3 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 4 {
                0 => bytes.truncate(at.max(1)),
                1 => drop(bytes.splice(at..at, [random.next_u32() as u8])),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << (random.next_u32() % 8),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        match inspect(&bytes) {
            Ok(found) => {
                assert!(found.capabilities.is_subset(&imports.capabilities), "{found:?}");
                passed += 1;
            }
            Err(bad) => {
                assert!(!bad.to_string().contains('\n'), "{bad}");
                refused += 1;
            }
        }
    }
    assert!(refused > DAMAGED / 2 && passed > 10, "{refused} refused, {passed} passed");
}
