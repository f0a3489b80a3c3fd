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
use super::project::{self, Project};
use crate::exit;
use crate::standard::{STANDARD, Standard};

/// Why a capability is asked for where nothing else is said.
const DEFAULT_REASON: &str = "imported by the component";
const DAY_S: u64 = 24 * 60 * 60;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SignArgs {
    /// The component [default: what `prost peerlet build` has made in this directory].
    component: Option<PathBuf>,
    /// Sign the application of this name that the program has with it, with all that it needs: dht, cfs, i3, scribe or p2ptv.
    #[arg(long, value_name = "NAME", value_parser = standard, conflicts_with_all = [
        "component", "name", "app_version", "sequence", "reason", "budget", "replicas", "acknowledgement", "expires_in",
    ])]
    standard: Option<Standard>,
    /// The provider's private key, from `prost peerlet key` [default: the `key` of peerlet.toml].
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of the application: a-z, 0-9, '.' and '-' [default: that of peerlet.toml].
    #[arg(long)]
    name: Option<AppName>,
    /// Version of the code, like 1.2.3 [default: that of peerlet.toml, or 0.1.0].
    #[arg(long, value_name = "VERSION")]
    app_version: Option<Version>,
    /// Rises with each release; a node never replaces a higher one by a lower [default: that of peerlet.toml, or 1].
    #[arg(long)]
    sequence: Option<u64>,
    /// Why a capability is asked for, as CAPABILITY=REASON. Those asked for are those that the component imports.
    #[arg(long, value_name = "WHY")]
    reason: Vec<String>,
    /// A budget asked for, as NAME=NUMBER, e.g. storage_bytes=1000000.
    #[arg(long, value_name = "BUDGET")]
    budget: Vec<String>,
    /// Copies of each record, the owner's included [default: that of peerlet.toml, or 3].
    #[arg(long)]
    replicas: Option<u8>,
    /// When a keyed write counts as done [default: that of peerlet.toml, or majority].
    #[arg(long, value_enum)]
    acknowledgement: Option<Ack>,
    /// Days after which it is not to be installed any more.
    #[arg(long, value_name = "DAYS")]
    expires_in: Option<u32>,
    /// File to write the package to [default: NAME-VERSION.prost].
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn standard(name: &str) -> Result<Standard, String> {
    let names = || STANDARD.map(|standard| standard.name).join(", ");
    Standard::named(name).ok_or_else(|| format!("there is no such application; there are {}", names()))
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

/// What a provider says of a component; all else follows from the component and the key.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) name: AppName,
    pub(super) version: Version,
    pub(super) sequence: u64,
    /// Why the component needs what it imports.
    pub(super) reasons: BTreeMap<Capability, String>,
    pub(super) budgets: Budgets,
    pub(super) replicas: u8,
    pub(super) acknowledgement: Acknowledgement,
    /// Seconds since 1970.
    pub(super) expires: Option<u64>,
}

impl Release {
    fn named(name: AppName) -> Release {
        Release {
            name,
            version: Version::new(0, 1, 0),
            sequence: 1,
            reasons: BTreeMap::new(),
            budgets: Budgets::default(),
            replicas: 3,
            acknowledgement: Acknowledgement::Majority,
            expires: None,
        }
    }

    /// What a peerlet's file says.
    pub(super) fn of(project: &Project) -> Result<Release, Failure> {
        let file = &project.file;
        let usual = Release::named(file.name.clone());
        Ok(Release {
            version: file.version.clone(),
            sequence: file.sequence,
            reasons: file.capabilities.clone(),
            budgets: project.budgets()?,
            replicas: file.replicas.unwrap_or(usual.replicas),
            acknowledgement: file.acknowledgement.unwrap_or(usual.acknowledgement),
            expires: file.expires_in_days.map(in_days),
            ..usual
        })
    }

    /// The package of this component, which must be one that nodes run.
    pub(super) fn sign(&self, key: &ProviderKey, component: &Path) -> Result<Package, Failure> {
        self.package(key, Bytes::from(super::read(component, Package::MAX_COMPONENT)?), component)
    }

    fn package(&self, key: &ProviderKey, component: Bytes, path: &Path) -> Result<Package, Failure> {
        let wrong = |error: String| Failure::new(exit::DATA, format!("{}: {error}", path.display()));
        let imports = prost_sandbox::inspect(&component)
            .map_err(|error| wrong(error.to_string()).hint("build components with `prost peerlet build`"))?;
        let reason = |asked| self.reasons.get(&asked).cloned().unwrap_or_else(|| DEFAULT_REASON.to_owned());
        let manifest = Manifest {
            format: 1,
            name: self.name.clone(),
            provider: key.public(),
            version: self.version.clone(),
            sequence: self.sequence,
            component: ComponentRef { digest: Digest::of(&component), size: component.len() as u64 },
            world: CONTRACT.to_owned(),
            capabilities: imports.capabilities.into_iter().map(|asked| (asked, reason(asked))).collect(),
            budgets: self.budgets.clone(),
            replicas: self.replicas,
            acknowledgement: self.acknowledgement,
            expires: self.expires,
        };
        let manifest = SignedManifest::sign(manifest, key).map_err(|error| Failure::new(exit::USAGE, error))?;
        Package::new(manifest, component).map_err(|error| wrong(error.to_string()))
    }
}

/// Signs, and prints the package's file and the application's id.
pub(super) fn run(args: &SignArgs) -> Result<(), Failure> {
    if let Some(standard) = &args.standard {
        let key = args
            .key
            .as_deref()
            .ok_or_else(|| Failure::new(exit::USAGE, "nobody says whose key signs").hint("name its file with --key"))?;
        return save(args, &standard.package(&read_key(key)?));
    }
    // Who names a component and an application means these, whatever directory this is.
    let project = match (&args.component, &args.name) {
        (Some(_), Some(_)) => None,
        _ => Project::find(Path::new("."))?,
    };
    let missing = |what: &str, next: &str| {
        Failure::new(exit::USAGE, format!("nobody says {what}, and there is no {} here", project::FILE)).hint(next)
    };
    let release = release(args, project.as_ref())?;
    let component = args.component.clone().or_else(|| project.as_ref().map(Project::component));
    let component = component.ok_or_else(|| missing("which component is signed", "name its file"))?;
    if args.component.is_none() && !component.is_file() {
        let gone = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Failure::reading(&component, &gone).hint("make it with `prost peerlet build`"));
    }
    let file = project.as_ref().and_then(|project| Some(project.dir.join(project.file.key.as_ref()?)));
    let key = args.key.clone().or(file);
    let key = key.ok_or_else(|| missing("whose key signs", "name its file with --key"))?;
    let package = release.sign(&read_key(&key)?, &component)?;
    let manifest = package.manifest.manifest();
    let unasked = |reason: &&String| {
        let name = reason.split('=').next().unwrap_or_default();
        !manifest.capabilities.keys().any(|asked| asked.name() == name)
    };
    if let Some(reason) = args.reason.iter().find(unasked) {
        let cause = format!("--reason {reason}: the component does not import that capability");
        return Err(Failure::new(exit::USAGE, cause).hint("leave it out"));
    }
    save(args, &package)
}

fn read_key(path: &Path) -> Result<ProviderKey, Failure> {
    super::key::read(path).map_err(|failure| {
        let is_missing = failure.code == exit::NO_INPUT;
        if is_missing { failure.hint("make a key with `prost peerlet key`") } else { failure }
    })
}

/// Writes the package, and prints its file and the application's id.
fn save(args: &SignArgs, package: &Package) -> Result<(), Failure> {
    let manifest = package.manifest.manifest();
    let default = || PathBuf::from(format!("{}-{}.prost", manifest.name, manifest.version));
    let out = args.out.clone().unwrap_or_else(default);
    write(&out, &package.encode())?;
    output::line(format!("{}  {}", out.display(), manifest.app()))
}

/// What the peerlet's file says, and above it the command line.
fn release(args: &SignArgs, project: Option<&Project>) -> Result<Release, Failure> {
    let mut release = match (project, &args.name) {
        (Some(project), _) => Release::of(project)?,
        (None, Some(name)) => Release::named(name.clone()),
        (None, None) => {
            let cause = format!("nobody says what the application is called, and there is no {} here", project::FILE);
            return Err(Failure::new(exit::USAGE, cause).hint("name it with --name"));
        }
    };
    if let Some(name) = &args.name {
        release.name = name.clone();
    }
    if let Some(version) = &args.app_version {
        release.version = version.clone();
    }
    release.sequence = args.sequence.unwrap_or(release.sequence);
    release.replicas = args.replicas.unwrap_or(release.replicas);
    release.acknowledgement = args.acknowledgement.map_or(release.acknowledgement, Acknowledgement::from);
    release.expires = args.expires_in.map(in_days).or(release.expires);
    reasons(&mut release.reasons, &args.reason)?;
    budgets(&mut release.budgets, &args.budget)?;
    Ok(release)
}

fn in_days(days: u32) -> u64 {
    now_s() + u64::from(days) * DAY_S
}

/// Adds the reasons that were given.
fn reasons(all: &mut BTreeMap<Capability, String>, given: &[String]) -> Result<(), Failure> {
    for reason in given {
        let (name, why) = split(reason, "--reason")?;
        let capability: Capability = name.parse().map_err(|error| Failure::new(exit::USAGE, error))?;
        all.insert(capability, why.to_owned());
    }
    Ok(())
}

/// Changes the budgets that were given.
fn budgets(all: &mut Budgets, given: &[String]) -> Result<(), Failure> {
    for budget in given {
        let (name, text) = split(budget, "--budget")?;
        let wrong = |reason: &str| Failure::new(exit::USAGE, format!("--budget {name}: {reason}"));
        let number = text.parse().map_err(|_| wrong(&format!("'{text}' is not a number that it can have")))?;
        set_budget(all, name, number).map_err(|reason| wrong(&reason))?;
    }
    Ok(())
}

/// Changes one budget, or says why not.
pub(super) fn set_budget(budgets: &mut Budgets, name: &str, number: u64) -> Result<(), String> {
    let small = || u32::try_from(number).map_err(|_| format!("'{number}' is not a number that it can have"));
    match name {
        "memory_bytes" => budgets.memory_bytes = number,
        "storage_bytes" => budgets.storage_bytes = number,
        "fuel_per_event" => budgets.fuel_per_event = number,
        "fuel_per_second" => budgets.fuel_per_second = number,
        "messages_per_second" => budgets.messages_per_second = number,
        "bytes_per_second" => budgets.bytes_per_second = number,
        "written_bytes_per_second" => budgets.written_bytes_per_second = number,
        "timers" => budgets.timers = small()?,
        "queue" => budgets.queue = small()?,
        _ => {
            let known = budgets.named().map(|(name, _)| name).join(", ");
            return Err(format!("there is no such budget; there are {known}"));
        }
    }
    Ok(())
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
    fn reasons_are_those_given() {
        let mut all = BTreeMap::from([(Capability::Route, "once".to_owned())]);
        reasons(&mut all, &texts(&["route=finds owners", "log=a=b"])).expect("fine");
        let asked: Vec<_> = all.iter().map(|(asked, why)| (asked.name(), why.as_str())).collect();
        assert_eq!(asked, [("route", "finds owners"), ("log", "a=b")]);
        for wrong in ["magic=x", "route"] {
            assert_eq!(reasons(&mut all, &texts(&[wrong])).map_err(|f| f.code), Err(exit::USAGE));
        }
    }

    #[test]
    fn every_budget_can_be_named() {
        for (name, _) in Budgets::default().named() {
            let mut changed = Budgets::default();
            budgets(&mut changed, &texts(&[&format!("{name}=7")])).expect("a number");
            assert!(changed.named().contains(&(name, 7)), "{name}");
        }
        for wrong in ["timers=5000000000", "queue=-1", "cheese=1", "queue"] {
            let refused = budgets(&mut Budgets::default(), &texts(&[wrong]));
            assert_eq!(refused.map_err(|failure| failure.code), Err(exit::USAGE), "{wrong}");
        }
    }

    #[test]
    fn a_package_asks_for_what_its_component_imports_and_no_more() {
        let release = Release {
            reasons: BTreeMap::from([
                (Capability::Storage, "keeps the values".to_owned()),
                (Capability::Identity, "nothing of it is called".to_owned()),
            ]),
            ..Release::named("dht".parse().expect("a name"))
        };
        let component = Bytes::from_static(crate::standard::DHT.component);
        let package = release.package(&ProviderKey::from_seed(&[1; 32]), component, Path::new("c")).expect("it is one");
        let asked = &package.manifest.manifest().capabilities;
        assert_eq!(asked.get(&Capability::Storage).map(String::as_str), Some("keeps the values"));
        assert_eq!(asked.get(&Capability::Route).map(String::as_str), Some(DEFAULT_REASON));
        assert_eq!(asked.get(&Capability::Identity), None);
    }
}
