//! The operator's policy: who may run what, with which capabilities and how much.
//!
//! # The file
//!
//! ```
//! # let text = r#"
//! default = "deny"            # where no rule matches: "deny", which is the default, or "allow"
//! wasi = "inert"              # may WASI's inert interfaces be imported: "inert", the default, or "none"
//!
//! [locator]                   # what is fetched from elsewhere than other nodes
//! allow_hosts = ["code.example", "mirror.example:8443"]
//!
//! [node]                      # what all applications get together
//! memory_bytes = "8GiB"
//! storage_bytes = "100GiB"
//! fuel_per_second = 8_000_000_000
//! applications = 50
//!
//! [defaults]                  # for the default "allow", and for what an allow rule leaves out
//! capabilities = ["route", "storage", "timer", "client", "log"]
//!
//! [defaults.budgets]
//! memory_bytes = "32MiB"
//!
//! [[rule]]
//! effect = "allow"
//! provider = "9fae2c8f5ac4bd3ac5a1d0eb5f4cd2f7b8e8a7c5a3f1d2e4b6c8d0e2f4a6b8c0"
//! application = "dht"
//! capabilities = ["route", "storage", "timer", "client"]
//!
//! [rule.budgets]
//! storage_bytes = "1GiB"
//! messages_per_second = 2_000
//!
//! [[rule]]
//! effect = "deny"
//! provider = "*"
//! application = "miner*"
//!
//! [[rule]]
//! effect = "deny"
//! provider = "*"
//! application = "*"
//! versions = "<1.0"
//! asks_for = ["identity"]
//! # "#;
//! # prost_package::Policy::parse(text).unwrap();
//! ```
//!
//! A rule names an effect, a provider (a public key in hexadecimal, or `*` for all) and an application (a name, or
//! the beginning of names and one `*`). It may name a range of versions, as Cargo writes them; a version before a release
//! is allowed by name alone, and denied with its release. An allow rule for one version (`=1.2.0`) pins it:
//! [`Policy::pins`]. A deny rule may name capabilities: then it is about those alone that ask for one of them. An allow
//! rule may name the capabilities and some of the budgets that it grants; what it leaves out is taken from `[defaults]`,
//! and what that leaves out is every capability and [`Budgets::default`]. Budgets are whole numbers of at least 1; those
//! in bytes may also be text with a unit, `B`, `KiB`, `MiB`, `GiB` or `TiB`.
//!
//! `[node]` says what all applications get together; what it leaves out is as in [`Resources::default_totals`]. A budget
//! of which the file says nothing is at most that total.
//!
//! `[locator]` lists the hosts that code may be fetched from where a message names a URL and no node has it: names or
//! addresses, with a port where it is not 443. Without it there is none.
//!
//! # What it means
//!
//! 1. Where a deny rule matches, the answer is no, whatever else the file says and wherever the rule stands.
//! 2. Else the first allow rule that matches decides, with its grant alone: grants of several rules are not joined.
//! 3. Else the default decides.
//!
//! An application gets the capabilities that it asks for and that are granted, and of each budget the lower of what
//! it asks for and what is granted.
//!
//! # What is an error
//!
//! Unknown keys, capabilities and units; values out of range; a deny rule that grants; an event's fuel beyond what
//! ten seconds give; a budget beyond what the node gives all applications together; and an allow rule that can never decide because an earlier one matches all that it matches. A
//! deny rule may overrule any other: the operator who must stop something adds a rule and need not look for others.

mod file;
mod pattern;

use std::collections::BTreeSet;

use prost_contract::{Capability, Limits};
use prost_kbr::AppId;

use crate::manifest::{Budgets, Manifest};
use crate::resources::Resources;
use crate::url::{Authority, Url};
use pattern::{Subject, Versions};

/// The operator's policy. Deny beats allow beats the default. The [module](self) describes its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    allow_by_default: bool,
    wasi: bool,
    totals: Resources,
    hosts: BTreeSet<Authority>,
    defaults: Terms,
    rules: Vec<Rule>,
}

/// What a policy says of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may run, with this.
    Allow {
        /// What it gets.
        grant: Grant,
        /// The rule that decided: its number from 1 and its text, or `default`.
        rule: String,
    },
    /// It may not.
    Deny {
        /// The rule that decided: its number from 1 and its text, or `default`.
        rule: String,
    },
}

/// What an application gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its capabilities.
    pub capabilities: BTreeSet<Capability>,
    /// Its budgets: at most what it asked for.
    pub budgets: Budgets,
    /// Whether WASI's inert interfaces may be imported.
    pub wasi: bool,
}

impl Grant {
    /// A capability that an application asks for and does not get: it is not installed.
    pub fn missing(&self, manifest: &Manifest) -> Option<Capability> {
        manifest.capabilities.keys().copied().find(|asked| !self.capabilities.contains(asked))
    }

    /// The limits that the sandbox enforces for it. What no budget names is as in [`Limits::default`].
    pub fn limits(&self) -> Limits {
        Limits {
            fuel: self.budgets.fuel_per_event,
            memory_bytes: self.budgets.memory_bytes,
            storage_bytes: self.budgets.storage_bytes,
            ..Limits::default()
        }
    }
}

impl Policy {
    /// Longest policy file, in bytes.
    pub const MAX: usize = 1 << 20;
    /// Most rules.
    pub const MAX_RULES: usize = 1024;
    /// Most hosts that code may be fetched from.
    pub const MAX_HOSTS: usize = 64;

    /// Reads a policy file.
    pub fn parse(toml: &str) -> Result<Policy, PolicyError> {
        file::read(toml)
    }

    /// A policy without rules: everything is allowed, with all capabilities and the default budgets, or denied.
    pub fn default_only(allow: bool) -> Policy {
        let (totals, defaults) = (Resources::default_totals(), Terms::default());
        let hosts = BTreeSet::new();
        Policy { allow_by_default: allow, wasi: true, totals, hosts, defaults, rules: Vec::new() }
    }

    /// How many rules there are.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// What the node gives all applications together.
    pub fn totals(&self) -> Resources {
        self.totals
    }

    /// The hosts that code may be fetched from, with their ports, in a fixed order.
    pub fn hosts(&self) -> impl Iterator<Item = &Authority> {
        self.hosts.iter()
    }

    /// Whether code may be fetched from here: the host is listed, with this port.
    pub fn lists(&self, url: &Url) -> bool {
        self.hosts.contains(url.authority())
    }

    /// Whether what no rule matches is allowed.
    pub fn allows_by_default(&self) -> bool {
        self.allow_by_default
    }

    /// Whether there is anything at all that it may allow.
    pub fn allows_anything(&self) -> bool {
        self.allow_by_default || self.rules.iter().any(|rule| rule.effect == Effect::Allow)
    }

    /// What can be said before the manifest is there: a denial is final, an allowance is not. The grant is that of the
    /// first rule that may come to decide, and the most that it gives.
    pub fn decide_app(&self, app: &AppId) -> Decision {
        self.decide_by(|rule| rule.subject.matches(app) && (rule.effect == Effect::Allow || !rule.is_conditional()))
    }

    fn decide_by(&self, matches: impl Fn(&Rule) -> bool) -> Decision {
        let matching = |effect| {
            let mut rules = self.rules.iter().enumerate();
            let found = rules.find(|(_, rule)| rule.effect == effect && matches(rule));
            found.map(|(index, rule)| (format!("rule {}: {rule}", index + 1), &rule.terms))
        };
        if let Some((rule, _)) = matching(Effect::Deny) {
            return Decision::Deny { rule };
        }
        let default = || (format!("default: {}", Effect::Allow), &self.defaults);
        match matching(Effect::Allow).or_else(|| self.allow_by_default.then(default)) {
            Some((rule, terms)) => Decision::Allow { grant: terms.grant(self.wasi), rule },
            None => Decision::Deny { rule: format!("default: {}", Effect::Deny) },
        }
    }

    /// Whether the rule that allows this version allows it alone (`versions = "=1.2.0"`): the operator has pinned it. It
    /// may take the place of a later one, and no message brings a later one in its place.
    pub fn pins(&self, manifest: &Manifest) -> bool {
        let deciding = |effect| self.rules.iter().find(|rule| rule.effect == effect && rule.matches(manifest));
        let pinned = |rule: &Rule| rule.versions.as_ref().is_some_and(Versions::is_one);
        deciding(Effect::Deny).is_none() && deciding(Effect::Allow).is_some_and(pinned)
    }

    /// What is said of this version of an application.
    pub fn decide(&self, manifest: &Manifest) -> Decision {
        let mut decision = self.decide_by(|rule| rule.matches(manifest));
        if let Decision::Allow { grant, .. } = &mut decision {
            grant.capabilities.retain(|granted| manifest.capabilities.contains_key(granted));
            grant.budgets = grant.budgets.min(&manifest.budgets);
        }
        decision
    }
}

/// Why a policy file cannot be used: one line, with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct PolicyError {
    /// Line and key.
    pub at: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

impl core::fmt::Display for Effect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Effect::Allow => "allow",
            Effect::Deny => "deny",
        })
    }
}

/// What is granted. A deny rule has the defaults, which nobody gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    capabilities: BTreeSet<Capability>,
    budgets: Budgets,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms { capabilities: BTreeSet::from(Capability::ALL), budgets: Budgets::default() }
    }
}

impl Terms {
    /// What is granted where the file says nothing: never more than all applications get together.
    fn within(totals: &Resources) -> Terms {
        let mut terms = Terms::default();
        let budgets = &mut terms.budgets;
        budgets.memory_bytes = budgets.memory_bytes.min(totals.memory_bytes);
        budgets.storage_bytes = budgets.storage_bytes.min(totals.storage_bytes);
        budgets.fuel_per_second = budgets.fuel_per_second.min(totals.fuel_per_second);
        budgets.fuel_per_event = budgets.fuel_per_event.min(file::most_at_once(budgets.fuel_per_second));
        terms
    }

    fn grant(&self, wasi: bool) -> Grant {
        Grant { capabilities: self.capabilities.clone(), budgets: self.budgets.clone(), wasi }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    effect: Effect,
    subject: Subject,
    versions: Option<Versions>,
    /// Of a deny rule: it is about those alone that ask for one of these. Empty for all.
    asks_for: BTreeSet<Capability>,
    terms: Terms,
}

impl Rule {
    /// Whether it takes a manifest to know that it matches.
    fn is_conditional(&self) -> bool {
        self.versions.is_some() || !self.asks_for.is_empty()
    }

    fn matches(&self, manifest: &Manifest) -> bool {
        let versions = self.versions.as_ref().is_none_or(|range| match self.effect {
            Effect::Allow => range.matches(&manifest.version),
            Effect::Deny => range.touches(&manifest.version),
        });
        let asks = || self.asks_for.iter().any(|capability| manifest.capabilities.contains_key(capability));
        versions && self.subject.matches(&manifest.app()) && (self.asks_for.is_empty() || asks())
    }

    /// Whether it matches everything that the other does, both being allow rules.
    fn covers(&self, other: &Rule) -> bool {
        self.subject.covers(&other.subject) && (self.versions.is_none() || self.versions == other.versions)
    }
}

impl core::fmt::Display for Rule {
    /// In one line, as the file says it.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} {}", self.effect, self.subject)?;
        if let Some(versions) = &self.versions {
            write!(f, ", versions {versions}")?;
        }
        if !self.asks_for.is_empty() {
            let names: Vec<&str> = self.asks_for.iter().map(|capability| capability.name()).collect();
            write!(f, ", asking for {}", names.join(" or "))?;
        }
        Ok(())
    }
}
