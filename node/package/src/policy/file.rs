//! Reads a policy file.
//!
//! Works on TOML's own tree, whose keys and values know where they stand, so that every error can say its line.

mod hosts;

use core::ops::Range;
use std::collections::BTreeSet;

use prost_contract::Capability;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::pattern::{Application, Provider, Subject, Versions};
use super::{Effect, Policy, PolicyError, Rule, Terms};
use crate::manifest::Budgets;
use crate::resources::{Resource, Resources};

/// Seconds over which rates are measured.
const RATE_WINDOW: u64 = 10;

/// The fuel that can be burnt at once where this much a second is granted.
pub(super) fn most_at_once(fuel_per_second: u64) -> u64 {
    fuel_per_second.saturating_mul(RATE_WINDOW)
}

type Outcome<T> = Result<T, PolicyError>;

pub(super) fn read(text: &str) -> Outcome<Policy> {
    if text.len() > Policy::MAX {
        return Err(PolicyError {
            at: "the whole file".to_owned(),
            problem: format!("{} bytes are more than the {} allowed", text.len(), Policy::MAX),
        });
    }
    let source = Source(text);
    let tree = DeTable::parse(text).map_err(|error| {
        source.error(error.span().unwrap_or_default(), "", format!("not TOML: {}", error.message().escape_debug()))
    })?;
    let file = Table { source, path: String::new(), span: tree.span(), entries: tree.get_ref() };
    file.only(&["default", "wasi", "locator", "node", "defaults", "rule"])?;

    let allow_by_default = file.choice("default", [("deny", false), ("allow", true)])?.unwrap_or(false);
    let wasi = file.choice("wasi", [("inert", true), ("none", false)])?.unwrap_or(true);
    let hosts = hosts::read(&file)?;
    let totals = read_totals(&file)?;
    let mut defaults = Terms::within(&totals);
    if let Some(table) = file.table("defaults")? {
        table.only(&["capabilities", "budgets"])?;
        defaults = read_terms(&table, &defaults, &totals)?;
    }
    let rules = read_rules(&file.tables("rule")?, &defaults, &totals)?;
    Ok(Policy { allow_by_default, wasi, totals, hosts, defaults, rules })
}

/// Reads what the node gives all applications together; what is left out is as in [`Resources::default_totals`].
fn read_totals(file: &Table<'_>) -> Outcome<Resources> {
    let mut totals = Resources::default_totals();
    let Some(table) = file.table("node")? else { return Ok(totals) };
    table.only(&Resource::ALL.map(Resource::name))?;
    table.number(Resource::Memory.name(), true, &mut totals.memory_bytes)?;
    table.number(Resource::Storage.name(), true, &mut totals.storage_bytes)?;
    table.number(Resource::Fuel.name(), false, &mut totals.fuel_per_second)?;
    let key = Resource::Applications.name();
    table.number(key, false, &mut totals.applications)?;
    let most = Resources::MAX_APPLICATIONS;
    match table.value(key).filter(|_| totals.applications > most) {
        Some(value) => Err(table.error_at(value.span(), key, format!("must be 1 to {most}"))),
        None => Ok(totals),
    }
}

fn read_rules(tables: &[Table<'_>], defaults: &Terms, totals: &Resources) -> Outcome<Vec<Rule>> {
    let mut rules: Vec<Rule> = Vec::new();
    for table in tables {
        if rules.len() == Policy::MAX_RULES {
            return Err(table.error(format!("more than {} rules", Policy::MAX_RULES)));
        }
        let rule = read_rule(table, defaults, totals)?;
        let earlier = |other: &Rule| other.effect == Effect::Allow && other.covers(&rule);
        if rule.effect == Effect::Allow
            && let Some(index) = rules.iter().position(earlier)
        {
            let line = tables[index].source.line(tables[index].span.start);
            return Err(table.error(format!(
                "can never decide: rule {} in line {line} comes first and matches all that it does; put this one before it",
                index + 1
            )));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn read_rule(table: &Table<'_>, defaults: &Terms, totals: &Resources) -> Outcome<Rule> {
    table.only(&["effect", "provider", "application", "versions", "asks_for", "capabilities", "budgets"])?;
    let effect = table.choice("effect", [("allow", Effect::Allow), ("deny", Effect::Deny)])?;
    let effect = effect.ok_or_else(|| table.missing("effect", "\"allow\" or \"deny\""))?;
    let provider = table.required("provider", "64 hexadecimal digits, or \"*\" for all", Provider::parse)?;
    let names = "a name of a-z, 0-9, '.' and '-', at most 64 of them, or the beginning of names and one '*'";
    let application = table.required("application", names, Application::parse)?;
    if effect == Effect::Deny
        && let Some((key, _)) = ["capabilities", "budgets"].into_iter().find_map(|key| table.entry(key))
    {
        return Err(table.error_at(key.span(), key.get_ref(), "a deny rule grants nothing; leave this out".to_owned()));
    }
    let range = "a range of versions, like \">=1.2, <2\"";
    let versions = table.value("versions").map(|_| table.required("versions", range, Versions::parse)).transpose()?;
    let asks_for = match table.value("asks_for") {
        Some(value) if effect == Effect::Allow => {
            let problem = "an allow rule grants `capabilities`; leave this out".to_owned();
            return Err(table.error_at(value.span(), "asks_for", problem));
        }
        Some(value) => {
            let asks_for = read_capabilities(table, "asks_for", value)?;
            if asks_for.is_empty() {
                let problem = "names nothing, so that the rule could never match; leave it out".to_owned();
                return Err(table.error_at(value.span(), "asks_for", problem));
            }
            asks_for
        }
        None => BTreeSet::new(),
    };
    let terms = read_terms(table, defaults, totals)?;
    Ok(Rule { effect, subject: Subject { provider, application }, versions, asks_for, terms })
}

/// Reads `capabilities` and `budgets`; what they leave out is as in `base`.
fn read_terms(table: &Table<'_>, base: &Terms, totals: &Resources) -> Outcome<Terms> {
    let capabilities = match table.value("capabilities") {
        Some(value) => read_capabilities(table, "capabilities", value)?,
        None => base.capabilities.clone(),
    };
    let mut budgets = base.budgets.clone();
    if let Some(table) = table.table("budgets")? {
        read_budgets(&table, &mut budgets)?;
        check_totals(&table, &budgets, totals)?;
    }
    Ok(Terms { capabilities, budgets })
}

fn read_capabilities(table: &Table<'_>, key: &str, value: &Spanned<DeValue<'_>>) -> Outcome<BTreeSet<Capability>> {
    let names = Capability::ALL.map(Capability::name);
    let DeValue::Array(items) = value.get_ref() else {
        return Err(table.error_at(value.span(), key, "must be a list of names in quotes".to_owned()));
    };
    let mut capabilities = BTreeSet::new();
    for item in items.iter() {
        let DeValue::String(name) = item.get_ref() else {
            return Err(table.error_at(item.span(), key, "must be a list of names in quotes".to_owned()));
        };
        let capability: Capability = name.parse().map_err(|_| {
            let problem = format!("no capability is called {}; {}", quoted(name), suggestion(name, &names));
            table.error_at(item.span(), key, problem)
        })?;
        if !capabilities.insert(capability) {
            return Err(table.error_at(item.span(), key, format!("names {} twice", quoted(name))));
        }
    }
    Ok(capabilities)
}

fn read_budgets(table: &Table<'_>, budgets: &mut Budgets) -> Outcome<()> {
    table.only(&budgets.named().map(|(name, _)| name))?;
    let bytes = [
        ("memory_bytes", &mut budgets.memory_bytes),
        ("storage_bytes", &mut budgets.storage_bytes),
        ("bytes_per_second", &mut budgets.bytes_per_second),
        ("written_bytes_per_second", &mut budgets.written_bytes_per_second),
    ];
    for (key, budget) in bytes {
        table.number(key, true, budget)?;
    }
    let counts = [
        ("fuel_per_event", &mut budgets.fuel_per_event),
        ("fuel_per_second", &mut budgets.fuel_per_second),
        ("messages_per_second", &mut budgets.messages_per_second),
    ];
    for (key, budget) in counts {
        table.number(key, false, budget)?;
    }
    for (key, budget) in [("timers", &mut budgets.timers), ("queue", &mut budgets.queue)] {
        table.number(key, false, budget)?;
    }
    let most = most_at_once(budgets.fuel_per_second);
    if budgets.fuel_per_event > most {
        let problem = format!(
            "fuel_per_event is {}, but {RATE_WINDOW} seconds of fuel_per_second give {most}: no such event could run",
            budgets.fuel_per_event
        );
        return Err(table.error(problem));
    }
    Ok(())
}

/// Refuses a budget that no application could ever be given.
fn check_totals(table: &Table<'_>, budgets: &Budgets, totals: &Resources) -> Outcome<()> {
    let share = Resources::of(budgets);
    for resource in [Resource::Memory, Resource::Storage, Resource::Fuel] {
        let (key, most) = (resource.name(), totals.amount(resource));
        if let Some(value) = table.value(key).filter(|_| share.amount(resource) > most) {
            let problem = format!(
                "is {}, but all applications together get {most}: raise node.{key}, or lower this",
                share.amount(resource)
            );
            return Err(table.error_at(value.span(), key, problem));
        }
    }
    Ok(())
}

/// One table of the file: where it stands, and what is in it.
struct Table<'a> {
    source: Source<'a>,
    /// How messages call it; empty for the file itself.
    path: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Refuses other keys than these.
    fn only(&self, known: &[&str]) -> Outcome<()> {
        match self.entries.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => {
                let problem = format!("no such key; {}", suggestion(key.get_ref(), known));
                Err(self.error_at(key.span(), key.get_ref(), problem))
            }
        }
    }

    fn entry(&self, key: &str) -> Option<(&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>)> {
        self.entries.get_key_value(key)
    }

    fn value(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.entries.get(key)
    }

    /// A value out of a few words.
    fn choice<T: Copy>(&self, key: &str, choices: [(&str, T); 2]) -> Outcome<Option<T>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let word = text_of(value.get_ref());
        match choices.iter().find(|(name, _)| word == Some(*name)) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let problem = format!("must be \"{}\" or \"{}\"", choices[0].0, choices[1].0);
                Err(self.error_at(value.span(), key, problem))
            }
        }
    }

    /// A text that must be there.
    fn required<T>(&self, key: &str, wanted: &str, parse: fn(&str) -> Option<T>) -> Outcome<T> {
        let value = self.value(key).ok_or_else(|| self.missing(key, wanted))?;
        text_of(value.get_ref())
            .and_then(parse)
            .ok_or_else(|| self.error_at(value.span(), key, format!("must be {wanted}")))
    }

    fn table(&self, key: &str) -> Outcome<Option<Table<'a>>> {
        self.value(key).map(|value| self.inner(value, key, format!("[{}]", self.name_of(key)))).transpose()
    }

    fn tables(&self, key: &str) -> Outcome<Vec<Table<'a>>> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.error_at(value.span(), key, format!("must be written as [[{key}]]")));
        };
        items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let mut table = self.inner(item, key, format!("[[{key}]]"))?;
                table.path = format!("{key} {}", index + 1);
                Ok(table)
            })
            .collect()
    }

    fn inner(&self, value: &'a Spanned<DeValue<'a>>, key: &str, shape: String) -> Outcome<Table<'a>> {
        match value.get_ref() {
            DeValue::Table(entries) => {
                Ok(Table { source: self.source, path: self.name_of(key), span: value.span(), entries })
            }
            _ => Err(self.error_at(value.span(), key, format!("must be a table, written as {shape}"))),
        }
    }

    /// Reads a number of at least 1 into `place`, if it is there.
    fn number<T: TryFrom<u64>>(&self, key: &str, is_bytes: bool, place: &mut T) -> Outcome<()> {
        let Some(value) = self.value(key) else { return Ok(()) };
        let fail = |problem: String| self.error_at(value.span(), key, problem);
        let number = match value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix())
                .map_err(|_| fail(format!("must be 1 to {}, not {integer}", i64::MAX)))?,
            DeValue::String(text) if is_bytes => size(text).map_err(fail)?,
            _ if is_bytes => return Err(fail("must be a whole number of bytes, or text like \"64MiB\"".to_owned())),
            _ => return Err(fail("must be a whole number".to_owned())),
        };
        if number == 0 {
            return Err(fail("must be at least 1".to_owned()));
        }
        *place = T::try_from(number).map_err(|_| fail(format!("{number} is too large")))?;
        Ok(())
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn missing(&self, key: &str, wanted: &str) -> PolicyError {
        self.error(format!("has no {key}; it must be {wanted}"))
    }

    fn error(&self, problem: String) -> PolicyError {
        self.source.error(self.span.clone(), &self.path, problem)
    }

    fn error_at(&self, span: Range<usize>, key: &str, problem: String) -> PolicyError {
        self.source.error(span, &self.name_of(key), problem)
    }
}

/// The text of the file.
#[derive(Clone, Copy)]
struct Source<'a>(&'a str);

impl Source<'_> {
    /// The line of a place, from 1.
    fn line(self, offset: usize) -> usize {
        1 + self.0.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn error(self, span: Range<usize>, name: &str, problem: String) -> PolicyError {
        let line = self.line(span.start);
        let at = if name.is_empty() { format!("line {line}") } else { format!("line {line}, {}", shown(name)) };
        PolicyError { at, problem }
    }
}

fn text_of<'a>(value: &'a DeValue<'_>) -> Option<&'a str> {
    match value {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

/// Reads a number of bytes with a unit.
fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let wanted =
        || format!("{} is not a number of bytes; write it like \"64MiB\" (B, KiB, MiB, GiB, TiB)", quoted(text));
    let (digits, shift) =
        UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))).ok_or_else(wanted)?;
    let digits = digits.trim_end_matches(' ');
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wanted());
    }
    let number: Option<u64> = digits.parse().ok();
    number.and_then(|number| number.checked_mul(1 << shift)).ok_or_else(|| format!("{} is too large", quoted(text)))
}

/// The name that was probably meant, or all there are. Two slips are likely in any name, more in a long one.
fn suggestion(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (distance(name, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 2.max(known.len() / 4) => format!("did you mean \"{known}\"?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

/// Levenshtein's distance: insertions, deletions and replacements that make one name of the other. Of a long name
/// just the beginning is looked at, which is far from any known one.
fn distance(left: &str, right: &str) -> usize {
    const LOOKED_AT: usize = 64;
    let left: Vec<char> = left.chars().take(LOOKED_AT).collect();
    let mut above: Vec<usize> = (0..=left.len()).collect();
    for (row, right) in right.chars().enumerate() {
        let mut diagonal = above[0];
        above[0] = row + 1;
        for (column, left) in left.iter().enumerate() {
            let replaced = diagonal + usize::from(*left != right);
            diagonal = above[column + 1];
            above[column + 1] = replaced.min(above[column] + 1).min(diagonal + 1);
        }
    }
    above[left.len()]
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// A text of the file, short and on one line.
fn shown(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown: String = text.chars().take(MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX).is_some() {
        shown.push_str("...");
    }
    shown
}
