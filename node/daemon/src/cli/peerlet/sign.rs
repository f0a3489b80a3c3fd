//! `prost peerlet sign`: a component becomes a package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use prost_contract::{CONTRACT, Capability};
use prost_kbr::AppName;
use prost_package::manifest::{Acknowledgement, ComponentRef};
use prost_package::{Budgets, Digest, Manifest, Package, ProviderKey, SignedManifest};
use semver::Version;

use super::super::failure::Failure;
use super::super::output;
use crate::exit;

/// Why a capability is asked for where nothing else is said.
const DEFAULT_REASON: &str = "imported by the component";
const DAY_S: u64 = 24 * 60 * 60;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SignArgs {
    /// The component.
    component: PathBuf,
    /// The provider's private key, from `prost peerlet key`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Name of the application: a-z, 0-9, '.' and '-'.
    #[arg(long)]
    name: AppName,
    /// Version of the code, like 1.2.3.
    #[arg(long, value_name = "VERSION", default_value = "0.1.0")]
    app_version: Version,
    /// Rises with each release; a node never replaces a higher one by a lower.
    #[arg(long, default_value_t = 1)]
    sequence: u64,
    /// Why a capability is asked for, as CAPABILITY=REASON. Those asked for are those that the component imports.
    #[arg(long, value_name = "WHY")]
    reason: Vec<String>,
    /// A budget asked for, as NAME=NUMBER, e.g. storage_bytes=1000000.
    #[arg(long, value_name = "BUDGET")]
    budget: Vec<String>,
    /// Copies of each record, the owner's included.
    #[arg(long, default_value_t = 3)]
    replicas: u8,
    /// When a keyed write counts as done.
    #[arg(long, value_enum, default_value_t = Ack::Majority)]
    acknowledgement: Ack,
    /// Days after which it is not to be installed any more.
    #[arg(long, value_name = "DAYS")]
    expires_in: Option<u32>,
    /// File to write the package to [default: NAME-VERSION.prost].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ack {
    One,
    Majority,
    All,
}

impl From<Ack> for Acknowledgement {
    fn from(ack: Ack) -> Acknowledgement {
        match ack {
            Ack::One => Acknowledgement::One,
            Ack::Majority => Acknowledgement::Majority,
            Ack::All => Acknowledgement::All,
        }
    }
}

/// Signs, and prints the package's file and the application's id.
pub(super) fn run(args: &SignArgs) -> Result<(), Failure> {
    let key = super::key::read(&args.key)?;
    let component = Bytes::from(super::read(&args.component, Package::MAX_COMPONENT)?);
    let package = make(args, &key, component)?;
    let manifest = package.manifest.manifest();
    let default = || PathBuf::from(format!("{}-{}.prost", manifest.name, manifest.version));
    let out = args.out.clone().unwrap_or_else(default);
    write(&out, &package.encode())?;
    output::line(format!("{}  {}", out.display(), manifest.app()))
}

fn make(args: &SignArgs, key: &ProviderKey, component: Bytes) -> Result<Package, Failure> {
    let wrong = |error: String| Failure::new(exit::DATA, format!("{}: {error}", args.component.display()));
    let imports = prost_sandbox::inspect(&component)
        .map_err(|error| wrong(error.to_string()).hint("build components with `prost peerlet build`"))?;
    let manifest = Manifest {
        format: 1,
        name: args.name.clone(),
        provider: key.public(),
        version: args.app_version.clone(),
        sequence: args.sequence,
        component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
        world: CONTRACT.to_owned(),
        capabilities: capabilities(imports.capabilities, &args.reason)?,
        budgets: budgets(&args.budget)?,
        replicas: args.replicas,
        acknowledgement: args.acknowledgement.into(),
        expires: args.expires_in.map(|days| now_s() + u64::from(days) * DAY_S),
    };
    let manifest = SignedManifest::sign(manifest, key).map_err(|error| Failure::new(exit::USAGE, error))?;
    Package::new(manifest, component).map_err(|error| wrong(error.to_string()))
}

/// What is asked for, with the reasons that were given.
fn capabilities(
    imported: impl IntoIterator<Item = Capability>,
    reasons: &[String],
) -> Result<BTreeMap<Capability, String>, Failure> {
    let mut asked: BTreeMap<_, _> = imported.into_iter().map(|asked| (asked, DEFAULT_REASON.to_owned())).collect();
    for reason in reasons {
        let (name, why) = split(reason, "--reason")?;
        let capability: Capability = name.parse().map_err(|error| Failure::new(exit::USAGE, error))?;
        let Some(entry) = asked.get_mut(&capability) else {
            return Err(Failure::new(exit::USAGE, format!("the component does not import '{capability}'")));
        };
        *entry = why.to_owned();
    }
    Ok(asked)
}

fn budgets(given: &[String]) -> Result<Budgets, Failure> {
    let mut budgets = Budgets::default();
    for budget in given {
        let (name, number) = split(budget, "--budget")?;
        let wrong =
            || Failure::new(exit::USAGE, format!("--budget {name}: '{number}' is not a number that it can have"));
        let large = || number.parse::<u64>().map_err(|_| wrong());
        let small = || number.parse::<u32>().map_err(|_| wrong());
        match name {
            "memory_bytes" => budgets.memory_bytes = large()?,
            "storage_bytes" => budgets.storage_bytes = large()?,
            "fuel_per_event" => budgets.fuel_per_event = large()?,
            "fuel_per_second" => budgets.fuel_per_second = large()?,
            "messages_per_second" => budgets.messages_per_second = large()?,
            "bytes_per_second" => budgets.bytes_per_second = large()?,
            "written_bytes_per_second" => budgets.written_bytes_per_second = large()?,
            "timers" => budgets.timers = small()?,
            "queue" => budgets.queue = small()?,
            _ => {
                let known = budgets.named().map(|(name, _)| name).join(", ");
                return Err(Failure::new(exit::USAGE, format!("there is no budget '{name}'; there are {known}")));
            }
        }
    }
    Ok(budgets)
}

fn split<'a>(text: &'a str, flag: &str) -> Result<(&'a str, &'a str), Failure> {
    let missing = || Failure::new(exit::USAGE, format!("{flag} '{text}' has no '='"));
    text.split_once('=').ok_or_else(missing)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Writes the whole file or leaves it alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let temporary = path.with_extension("prost.new");
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| Failure::writing(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn capabilities_are_those_imported_with_the_reasons_given() {
        let asked = capabilities([Capability::Log, Capability::Route], &texts(&["route=finds owners"])).expect("fine");
        let asked: Vec<_> = asked.iter().map(|(asked, why)| (asked.name(), why.as_str())).collect();
        assert_eq!(asked, [("route", "finds owners"), ("log", DEFAULT_REASON)]);
        for wrong in ["storage=x", "magic=x", "route"] {
            assert_eq!(capabilities([Capability::Route], &texts(&[wrong])).map_err(|f| f.code), Err(exit::USAGE));
        }
    }

    #[test]
    fn every_budget_can_be_named() {
        let default = Budgets::default();
        for (name, _) in default.named() {
            let changed = budgets(&texts(&[&format!("{name}=7")])).expect("a number");
            assert!(changed.named().contains(&(name, 7)), "{name}");
        }
        for wrong in ["timers=5000000000", "queue=-1", "cheese=1", "queue"] {
            assert_eq!(budgets(&texts(&[wrong])).map_err(|failure| failure.code), Err(exit::USAGE), "{wrong}");
        }
    }
}
