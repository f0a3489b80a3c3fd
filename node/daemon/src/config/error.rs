//! What is wrong with a configuration.

use std::fmt;

use crate::exit;

/// What is wrong with a configuration: one line with where it is said, which setting, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// File and line, flag, or variable.
    pub origin: String,
    /// The setting, where the origin does not name it.
    pub key: Option<String>,
    /// What is wrong, and what would be right.
    pub cause: String,
    /// The exit code of a program that ends because of it.
    pub code: u8,
}

impl ConfigError {
    pub(super) fn new(origin: impl Into<String>, key: Option<&str>, cause: impl Into<String>) -> ConfigError {
        let (origin, cause) = (origin.into(), one_line(&cause.into()));
        ConfigError { origin, key: key.map(str::to_owned), cause, code: exit::CONFIG }
    }

    pub(super) fn with_code(self, code: u8) -> ConfigError {
        ConfigError { code, ..self }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}: {key}: {}", self.origin, self.cause),
            None => write!(f, "{}: {}", self.origin, self.cause),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The text without line breaks and control characters: it goes to a terminal, and part of it came from a file.
fn one_line(text: &str) -> String {
    let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
    spaced.chars().filter(|c| !c.is_control()).collect()
}
