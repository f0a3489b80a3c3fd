//! Where settings are said, and which of several sayings counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;
use super::values;

/// The name of every setting.
pub const KEYS: [&str; 19] = [
    "admin_allow_remote",
    "admin_listen",
    "admin_token_file",
    "advertise",
    "bootstrap",
    "ca",
    "cert",
    "connections",
    "content_bytes",
    "data_dir",
    "key",
    "listen",
    "locator_ca",
    "locator_test_address",
    "log",
    "log_format",
    "policy",
    "ring",
    "successors",
];

/// Longest configuration file, in bytes.
const MAX_FILE: usize = 1 << 20;
/// Edits between a name and a known one up to which the known one is suggested.
const NEAR: usize = 2;

/// Settings given on the command line, by name.
pub type Flags = BTreeMap<&'static str, OsString>;

/// The value of a setting, as it was said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// On the command line or in a variable: text, which may mean anything.
    Loose(OsString),
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<String>),
    /// Of a type that no setting has.
    Other(&'static str),
}

/// A setting that was found, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) raw: Raw,
    origin: String,
    /// Whether the origin says which setting it is.
    named: bool,
    /// What a relative path is relative to; none for the working directory.
    pub(super) base: Option<PathBuf>,
}

/// All places that settings are said in.
pub struct Sources<'a> {
    flags: &'a Flags,
    env: &'a dyn Fn(&str) -> Option<OsString>,
    file: BTreeMap<&'static str, Found>,
}

impl<'a> Sources<'a> {
    /// Flags and variables alone.
    pub fn new(flags: &'a Flags, env: &'a dyn Fn(&str) -> Option<OsString>) -> Sources<'a> {
        Sources { flags, env, file: BTreeMap::new() }
    }

    /// And a file.
    pub fn with_file(mut self, path: &Path) -> Result<Sources<'a>, ConfigError> {
        let name = path.display().to_string();
        let text = values::read_file(path, MAX_FILE).map_err(|cause| ConfigError::new("--config", None, cause))?;
        let at = |offset: usize| format!("{name}:{}", 1 + text[..offset.min(text.len())].matches('\n').count());
        let table = DeTable::parse(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            ConfigError::new(at(start), None, error.message())
        })?;
        let base = path.parent().map(Path::to_owned);
        for (key, value) in table.get_ref() {
            let origin = at(key.span().start);
            let Some(known) = KEYS.into_iter().find(|known| **known == *key.get_ref()) else {
                return Err(ConfigError::new(origin, Some(&shown(key.get_ref())), unknown(key.get_ref())));
            };
            self.file.insert(known, Found { raw: raw(value), origin, named: false, base: base.clone() });
        }
        Ok(self)
    }

    /// A setting, parsed; none where it is not said.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&Found) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        parse(&found).map(Some).map_err(|cause| error_at(&found, key, cause))
    }

    /// An error of a setting, which names where it is said.
    pub(super) fn error(&self, key: &'static str, cause: impl Into<String>) -> ConfigError {
        match self.find(key) {
            Some(found) => error_at(&found, key, cause),
            None => ConfigError::new(key, None, cause),
        }
    }

    fn find(&self, key: &'static str) -> Option<Found> {
        debug_assert!(KEYS.contains(&key), "{key} is not in the list of settings");
        let loose = |text, origin| Found { raw: Raw::Loose(text), origin, named: true, base: None };
        if let Some(text) = self.flags.get(key) {
            return Some(loose(text.clone(), format!("--{}", key.replace('_', "-"))));
        }
        let variable = format!("PROST_{}", key.to_uppercase());
        if let Some(text) = (self.env)(&variable).filter(|text| !text.is_empty()) {
            return Some(loose(text, variable));
        }
        self.file.get(key).cloned()
    }
}

fn error_at(found: &Found, key: &'static str, cause: impl Into<String>) -> ConfigError {
    ConfigError::new(found.origin.clone(), (!found.named).then_some(key), cause)
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Raw::Number(number.as_str().to_owned()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            texts.map_or(Raw::Other("a list of other things than text"), Raw::List)
        }
        other => Raw::Other(other.type_str()),
    }
}

fn unknown(key: &str) -> String {
    match KEYS.into_iter().map(|known| (distance(key, known), known)).min() {
        Some((near, known)) if near <= NEAR => format!("there is no such setting; did you mean {known}?"),
        _ => format!("there is no such setting; there are {}", KEYS.join(", ")),
    }
}

/// A name from a file, short enough for one line.
fn shown(key: &str) -> String {
    const SHOWN: usize = 40;
    key.chars().take(SHOWN).collect()
}

/// Insertions, deletions and replacements that make one name of the other (Levenshtein), by rows of the edit table.
fn distance(name: &str, known: &str) -> usize {
    // Of a long name only the beginning counts: it is far from every known one.
    const LOOKED_AT: usize = 64;
    let name: Vec<char> = name.chars().take(LOOKED_AT).collect();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (deleted, wanted) in known.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], deleted + 1);
        for at in 0..name.len() {
            let replaced = corner + usize::from(name[at] != wanted);
            corner = row[at + 1];
            row[at + 1] = replaced.min(corner + 1).min(row[at] + 1);
        }
    }
    row[name.len()]
}
