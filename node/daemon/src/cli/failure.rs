//! Why a command ends without having done what was asked.

use std::fmt;
use std::io;
use std::path::Path;

use crate::admin_client::AdminError;
use crate::config::ConfigError;
use crate::exit;
use crate::scribe_client::ScribeError;

/// One line for people, and an exit code for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What is wrong; none where whoever reads the output has had enough of it.
    cause: Option<String>,
    /// What to do next.
    next: Option<String>,
    pub(super) code: u8,
}

impl Failure {
    pub(super) fn new(code: u8, cause: impl fmt::Display) -> Failure {
        Failure { cause: Some(cause.to_string()), next: None, code }
    }

    /// With what to do next.
    pub(super) fn hint(self, next: impl Into<String>) -> Failure {
        Failure { next: Some(next.into()), ..self }
    }

    /// Standard output is closed: not an error.
    pub(super) fn closed() -> Failure {
        Failure { cause: None, next: None, code: exit::OK }
    }

    /// A file that cannot be read.
    pub(super) fn reading(path: &Path, error: &io::Error) -> Failure {
        let code = if error.kind() == io::ErrorKind::PermissionDenied { exit::NO_PERMISSION } else { exit::NO_INPUT };
        Failure::new(code, format!("cannot read {}: {error}", path.display()))
    }

    /// A file that cannot be written.
    pub(super) fn writing(path: &Path, error: &io::Error) -> Failure {
        Failure::new(exit::CANNOT_CREATE, format!("cannot write {}: {error}", path.display()))
    }

    /// The line to print; none where there is nothing to say.
    pub(super) fn line(&self) -> Option<String> {
        let cause = one_line(self.cause.as_ref()?);
        Some(match &self.next {
            Some(next) => format!("error: {cause}; {}", one_line(next)),
            None => format!("error: {cause}"),
        })
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(error.code, error)
    }
}

impl From<ScribeError> for Failure {
    fn from(error: ScribeError) -> Failure {
        match error {
            ScribeError::Admin(error) => error.into(),
            ScribeError::Answer => {
                Failure::new(exit::DATA, error).hint("is it of another version? see prost peerlet list")
            }
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Failure {
        let code = match &error {
            AdminError::Malformed(_) => exit::USAGE,
            AdminError::Unreachable { .. } | AdminError::TimedOut { .. } | AdminError::Unexpected { .. } => {
                exit::UNAVAILABLE
            }
            AdminError::Refused { status, .. } => refusal_code(*status),
        };
        let failure = Failure::new(code, &error);
        match error {
            AdminError::Refused { status: 401, .. } => {
                failure.hint("give the node's token with --token-file DATA_DIR/admin.token")
            }
            AdminError::Refused { hint: Some(hint), .. } => failure.hint(hint),
            AdminError::Unreachable { .. } => {
                failure.hint("is the node running? name it with --admin http://HOST:PORT")
            }
            _ => failure,
        }
    }
}

/// The exit code for an HTTP status.
fn refusal_code(status: u16) -> u8 {
    match status {
        400 | 413 | 415 => exit::DATA,
        401 | 403 => exit::NO_PERMISSION,
        502..=504 => exit::UNAVAILABLE,
        _ => exit::FAILED,
    }
}

/// On one line and without control characters: part of it may come from the network.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_the_next_step() {
        let failure = Failure::new(exit::DATA, "not a\npackage \x1b[31m").hint("sign it\nfirst");
        assert_eq!(failure.line().as_deref(), Some("error: not a package [31m; sign it first"));
        assert_eq!(Failure::closed().line(), None);
    }

    #[test]
    fn an_answer_of_the_node_decides_the_exit_code() {
        let refused = |status| AdminError::Refused { status, error: "no".to_owned(), hint: None };
        for (status, code) in [(401, 77), (403, 77), (404, 1), (409, 1), (413, 65), (415, 65), (503, 69), (504, 69)] {
            assert_eq!(Failure::from(refused(status)).code, code, "{status}");
        }
        let line = Failure::from(refused(401)).line();
        assert_eq!(line.as_deref(), Some("error: no; give the node's token with --token-file DATA_DIR/admin.token"));
    }
}
