//! `prost peerlet inspect`: what a package says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use prost_contract::Capability;
use prost_package::Package;
use prost_package::manifest::Acknowledgement;
use serde::Serialize;

use super::super::failure::Failure;
use super::super::output;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct InspectArgs {
    /// The package.
    package: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What a package says of itself, and what its component imports.
#[derive(Debug, Serialize)]
struct Contents {
    app: String,
    name: String,
    provider: String,
    version: String,
    sequence: u64,
    world: String,
    digest: String,
    size: u64,
    capabilities: BTreeMap<Capability, String>,
    budgets: BTreeMap<&'static str, u64>,
    replicas: u8,
    acknowledgement: Acknowledgement,
    /// Seconds since 1970.
    expires: Option<u64>,
    imports: Imports,
}

#[derive(Debug, Serialize)]
struct Imports {
    capabilities: Vec<Capability>,
    wasi: Vec<String>,
    /// Why no node would run it.
    refused: Option<String>,
}

/// Prints it.
pub(super) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let contents = contents(&super::read_package(&args.package)?);
    if args.json { output::json(&contents) } else { print(&contents) }
}

fn contents(package: &Package) -> Contents {
    let manifest = package.manifest.manifest();
    let imports = match prost_sandbox::inspect(&package.component) {
        Ok(imports) => Imports {
            capabilities: imports.capabilities.into_iter().collect(),
            wasi: imports.wasi.into_iter().collect(),
            refused: None,
        },
        Err(error) => Imports { capabilities: Vec::new(), wasi: Vec::new(), refused: Some(error.to_string()) },
    };
    Contents {
        app: manifest.app().to_string(),
        name: manifest.name.to_string(),
        provider: hex::encode(manifest.provider),
        version: manifest.version.to_string(),
        sequence: manifest.sequence,
        world: manifest.world.clone(),
        digest: manifest.component.digest.to_hex(),
        size: manifest.component.size,
        capabilities: manifest.capabilities.clone(),
        budgets: manifest.budgets.named().into_iter().collect(),
        replicas: manifest.replicas,
        acknowledgement: manifest.acknowledgement,
        expires: manifest.expires,
        imports,
    }
}

fn print(contents: &Contents) -> Result<(), Failure> {
    output::line(format!("application  {} {} (sequence {})", contents.name, contents.version, contents.sequence))?;
    output::line(format!("provider     {}", contents.provider))?;
    output::line(format!("world        {}", contents.world))?;
    output::line(format!("component    blake3:{} ({})", contents.digest, output::size(contents.size)))?;
    output::line(format!("replicas     {}", contents.replicas))?;
    if let Some(expires) = contents.expires {
        output::line(format!("expires      {expires} s after 1970"))?;
    }
    for (capability, why) in &contents.capabilities {
        output::line(format!("asks for     {capability}: {why}"))?;
    }
    for (name, number) in &contents.budgets {
        output::line(format!("budget       {name} = {number}"))?;
    }
    for capability in &contents.imports.capabilities {
        output::line(format!("imports      {capability}"))?;
    }
    for interface in &contents.imports.wasi {
        output::line(format!("imports      {interface}"))?;
    }
    match &contents.imports.refused {
        Some(refused) => output::line(format!("refused      {refused}")),
        None => Ok(()),
    }
}
