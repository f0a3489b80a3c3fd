//! `prost policy`: what a policy file says, without a node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use prost_contract::Capability;
use prost_kbr::{AppId, AppName};
use prost_package::{Decision, Grant, Package, Policy, Resources};
use serde::Serialize;

use super::failure::Failure;
use super::{output, peerlet};
use crate::exit;

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum PolicyCommand {
    /// Read a policy file, and say what is wrong with it.
    Check(CheckArgs),
    /// Say which rule decides about an application, and what it gets.
    Explain(ExplainArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct CheckArgs {
    /// The policy.
    policy: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ExplainArgs {
    /// The policy.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    #[command(flatten)]
    subject: Subject,
    /// The application's name.
    #[arg(long, value_name = "NAME", requires = "provider", conflicts_with = "package")]
    app: Option<AppName>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Whom it is about.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
struct Subject {
    /// A package: the answer is the one that a node with this policy gives.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// The provider's public key in hexadecimal. Without a package only what is sure before its manifest is known can be
    /// said: rules about versions and about what is asked for count where they may come to allow.
    #[arg(long, value_name = "KEY", requires = "app", value_parser = key)]
    provider: Option<[u8; 32]>,
}

/// What a policy file says in all.
#[derive(Debug, Serialize)]
struct Summary {
    rules: usize,
    allows_by_default: bool,
    /// What the node gives all applications together.
    node: Resources,
    /// Hosts that code may be fetched from.
    hosts: Vec<String>,
}

/// What it says of one application.
#[derive(Debug, Serialize)]
struct Explanation {
    app: String,
    allowed: bool,
    /// The rule that decides, or `default`.
    rule: String,
    /// Why a node would not install it, though the rule allows it.
    refused: Option<String>,
    /// What a node on which nothing else runs says to it.
    admission: Option<Admission>,
    /// Hosts that its code may be fetched from, where a message names a URL there; other nodes may give it in any case.
    hosts: Vec<String>,
    #[serde(flatten)]
    granted: Option<Granted>,
}

/// How often it would fit into an empty node, and what would run out then.
#[derive(Debug, Serialize)]
struct Admission {
    fits: u64,
    limited_by: &'static str,
}

#[derive(Debug, Serialize)]
struct Granted {
    capabilities: Vec<Capability>,
    budgets: BTreeMap<&'static str, u64>,
    wasi: &'static str,
}

/// Does it.
pub(super) fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Check(args) => check(args),
        PolicyCommand::Explain(args) => explain(args),
    }
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let policy = read_policy(&args.policy)?;
    let node = policy.totals();
    let summary =
        Summary { rules: policy.rules(), allows_by_default: policy.allows_by_default(), node, hosts: hosts(&policy) };
    if args.json {
        return output::json(&summary);
    }
    let default = if summary.allows_by_default { "allowed" } else { "denied" };
    output::line(format!("{}: good; rules: {}; what none matches is {default}", args.policy.display(), summary.rules))?;
    output::line(format!(
        "applications get together: memory {}, records {}, fuel {} a second, {} places",
        output::size(node.memory_bytes),
        output::size(node.storage_bytes),
        node.fuel_per_second,
        node.applications
    ))?;
    output::line(format!("code comes from other nodes{}", and_from(&summary.hosts)))
}

fn hosts(policy: &Policy) -> Vec<String> {
    policy.hosts().map(ToString::to_string).collect()
}

fn and_from(hosts: &[String]) -> String {
    if hosts.is_empty() { " alone".to_owned() } else { format!(", and from URLs at {}", hosts.join(", ")) }
}

fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let policy = read_policy(&args.policy)?;
    let explanation = match (&args.subject.package, args.subject.provider, &args.app) {
        (Some(path), ..) => of_package(&policy, &peerlet::read_package(path)?),
        (None, Some(provider), Some(name)) => {
            let app = AppId { provider, name: name.clone() };
            explanation(&policy, &app, policy.decide_app(&app))
        }
        _ => return Err(Failure::new(exit::USAGE, "name a package, or a provider and an application")),
    };
    if args.json {
        output::json(&explanation)?
    } else {
        print(&explanation)?
    }
    match &explanation {
        Explanation { refused: Some(reason), .. } => {
            let failure = Failure::new(exit::FAILED, format!("a node with this policy refuses it: {reason}"));
            Err(failure.hint("grant what is missing, or sign a package that asks for less"))
        }
        Explanation { allowed: false, rule, .. } => {
            let failure = Failure::new(exit::FAILED, format!("denied by {rule}"));
            Err(failure.hint("an allow rule decides only where no deny rule matches"))
        }
        _ => Ok(()),
    }
}

fn of_package(policy: &Policy, package: &Package) -> Explanation {
    let manifest = package.manifest.manifest();
    let decision = policy.decide(manifest);
    let refused = match &decision {
        Decision::Allow { grant, .. } => grant
            .missing(manifest)
            .map(|missing| format!("it asks for '{missing}', which is not granted"))
            .or_else(|| refused_imports(grant, package)),
        Decision::Deny { .. } => None,
    };
    Explanation { refused, ..explanation(policy, &manifest.app(), decision) }
}

/// Why the code could not be linked with this grant.
fn refused_imports(grant: &Grant, package: &Package) -> Option<String> {
    let imports = match prost_sandbox::inspect(&package.component) {
        Ok(imports) => imports,
        Err(error) => return Some(error.to_string()),
    };
    if let Some(missing) = imports.capabilities.iter().find(|imported| !grant.capabilities.contains(imported)) {
        return Some(format!("its code imports '{missing}', which it does not get"));
    }
    let wasi = imports.wasi.first().filter(|_| !grant.wasi);
    wasi.map(|interface| format!("its code imports {interface}, and the policy says wasi = \"none\""))
}

fn explanation(policy: &Policy, app: &AppId, decision: Decision) -> Explanation {
    let app = app.to_string();
    match decision {
        Decision::Allow { grant, rule } => {
            let admission = Some(admission(&policy.totals(), &grant));
            let granted = Some(granted(grant));
            Explanation { app, allowed: true, rule, refused: None, admission, hosts: hosts(policy), granted }
        }
        Decision::Deny { rule } => {
            Explanation { app, allowed: false, rule, refused: None, admission: None, hosts: Vec::new(), granted: None }
        }
    }
}

fn admission(totals: &Resources, grant: &Grant) -> Admission {
    let (fits, limit) = totals.room_for(&Resources::of(&grant.budgets));
    Admission { fits, limited_by: limit.name() }
}

fn granted(grant: Grant) -> Granted {
    Granted {
        budgets: grant.budgets.named().into_iter().collect(),
        capabilities: grant.capabilities.into_iter().collect(),
        wasi: if grant.wasi { "inert" } else { "none" },
    }
}

fn print(explanation: &Explanation) -> Result<(), Failure> {
    let verdict = if explanation.allowed { "allowed by" } else { "denied by" };
    output::line(format!("application   {}", explanation.app))?;
    output::line(format!("{verdict:<13} {}", explanation.rule))?;
    let Some(granted) = &explanation.granted else { return Ok(()) };
    let names: Vec<&str> = granted.capabilities.iter().map(|capability| capability.name()).collect();
    output::line(format!("capabilities  {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }))?;
    for (name, number) in &granted.budgets {
        output::line(format!("budget        {name} = {number}"))?;
    }
    output::line(format!("wasi          {}", granted.wasi))?;
    output::line(format!("code          from other nodes{}", and_from(&explanation.hosts)))?;
    let Some(Admission { fits, limited_by }) = &explanation.admission else { return Ok(()) };
    output::line(format!("admission     an empty node has room for {fits} like it; node.{limited_by} sets the limit"))
}

/// A policy file, checked.
fn read_policy(path: &Path) -> Result<Policy, Failure> {
    let bytes = peerlet::read(path, Policy::MAX as u64)?;
    let malformed = |problem: String| Failure::new(exit::DATA, format!("{}: {problem}", path.display()));
    let text = String::from_utf8(bytes).map_err(|error| malformed(error.utf8_error().to_string()))?;
    Policy::parse(&text).map_err(|error| malformed(error.to_string()).hint("docs/policy.md lists what may stand there"))
}

/// Reads a public key.
fn key(text: &str) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map(|()| key).map_err(|_| "must be 64 hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text).expect("it is right")
    }

    #[test]
    fn what_can_be_said_of_a_name_names_the_rule() {
        let text = "[[rule]]\neffect = \"allow\"\nprovider = \"*\"\napplication = \"d*\"\ncapabilities = [\"timer\"]\n";
        let app = |name: &str| AppId { provider: [7; 32], name: name.parse().expect("a name") };
        let said = |name| explanation(&policy(text), &app(name), policy(text).decide_app(&app(name)));
        let dht = said("dht");
        assert!(dht.allowed && dht.rule.starts_with("rule 1: allow provider *"), "{dht:?}");
        assert_eq!(dht.granted.map(|granted| granted.capabilities), Some(vec![Capability::Timer]));
        let other = said("other");
        assert_eq!((other.allowed, other.rule.as_str()), (false, "default: deny"));
        assert!(other.granted.is_none() && other.admission.is_none());
    }

    #[test]
    fn it_is_said_how_often_an_application_fits() {
        let text = "default = \"allow\"\n[node]\nmemory_bytes = 100\n[defaults.budgets]\nmemory_bytes = 30\n";
        let app = AppId { provider: [7; 32], name: "dht".parse().expect("a name") };
        let said = explanation(&policy(text), &app, policy(text).decide_app(&app)).admission.expect("it is allowed");
        assert_eq!((said.fits, said.limited_by), (3, "memory_bytes"));
    }

    #[test]
    fn it_is_said_where_code_may_come_from() {
        let text = "default = \"allow\"\n[locator]\nallow_hosts = [\"code.example\", \"mirror.example:8443\"]\n";
        let app = AppId { provider: [7; 32], name: "dht".parse().expect("a name") };
        let said = |text| explanation(&policy(text), &app, policy(text).decide_app(&app)).hosts;
        assert_eq!(said(text), ["code.example", "mirror.example:8443"]);
        assert_eq!(and_from(&said(text)), ", and from URLs at code.example, mirror.example:8443");
        assert_eq!(and_from(&said("default = \"allow\"")), " alone");
        assert!(said("[locator]\nallow_hosts = [\"code.example\"]").is_empty(), "it is denied");
    }

    #[test]
    fn a_key_is_64_digits() {
        assert_eq!(key(&"0f".repeat(32)), Ok([15; 32]));
        assert!(key("0f").is_err() && key(&"0g".repeat(32)).is_err());
    }
}
