//! Packages and the policies that let them run.

use bytes::Bytes;
use prost_contract::{CONTRACT, Capability};
use prost_kbr::AppName;
use prost_node::standard::DHT;
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, ProviderKey, Resources, SignedManifest};
use semver::Version;

/// Whom the rings of the tests trust.
pub fn provider() -> ProviderKey {
    ProviderKey::from_seed(&[7; 32])
}

/// A signed package of this component, which asks for these capabilities.
pub fn package(key: &ProviderKey, name: &str, component: Vec<u8>, capabilities: &[Capability]) -> Package {
    let component = Bytes::from(component);
    let manifest = Manifest {
        format: 1,
        name: AppName::try_from(name.to_owned()).expect("a proper name"),
        provider: key.public(),
        version: Version::new(1, 0, 0),
        sequence: 1,
        component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
        world: CONTRACT.to_owned(),
        capabilities: capabilities.iter().map(|asked| (*asked, "a test needs it".to_owned())).collect(),
        budgets: DHT.budgets(),
        replicas: 3,
        acknowledgement: Acknowledgement::Majority,
        expires: None,
    };
    let manifest = SignedManifest::sign(manifest, key).expect("a proper manifest");
    Package::new(manifest, component).expect("the manifest is of this component")
}

/// A policy under which everything of this provider may run, with these capabilities, and nothing of anyone else.
pub fn allow(provider: &ProviderKey, capabilities: &[Capability]) -> String {
    allow_within(provider, capabilities, &DHT.budgets())
}

/// The same, each within these budgets; nodes have room for several.
pub fn allow_within(provider: &ProviderKey, capabilities: &[Capability], budgets: &Budgets) -> String {
    let capabilities: Vec<String> = capabilities.iter().map(|name| format!("\"{name}\"")).collect();
    let totals =
        Resources { memory_bytes: 8 << 30, storage_bytes: 16 << 40, fuel_per_second: 1 << 40, applications: 64 };
    let totals: Vec<String> = totals.named().iter().map(|(name, number)| format!("{name} = {number}\n")).collect();
    let budgets: Vec<String> = budgets.named().iter().map(|(name, number)| format!("{name} = {number}\n")).collect();
    format!(
        "default = \"deny\"\n\n[node]\n{}\n[[rule]]\neffect = \"allow\"\nprovider = \"{}\"\napplication = \"*\"\n\
         capabilities = [{}]\n\n[rule.budgets]\n{}",
        totals.concat(),
        hex::encode(provider.public()),
        capabilities.join(", "),
        budgets.concat(),
    )
}

/// Budgets that a component which misbehaves has soon used up.
pub fn small_budgets() -> Budgets {
    Budgets { memory_bytes: 8 << 20, fuel_per_event: 20_000_000, ..DHT.budgets() }
}

/// A policy under which nothing may run.
pub fn deny() -> String {
    "default = \"deny\"\n".to_owned()
}
