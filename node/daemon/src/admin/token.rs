//! The token that changes need.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

use crate::config::ADMIN_TOKEN_FILE;
use crate::store::DataDir;

/// 256 random bits, as 64 hexadecimal digits.
#[derive(Clone)]
pub struct Token(String);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be written.
    #[error("the admin token cannot be written to {file}: {error}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// A token file that the operator named cannot be read.
    #[error("the admin token cannot be read from {file}: {error}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The operator's token is too short to be secret.
    #[error("the admin token in {file} has fewer than 16 characters; give a long random one")]
    Short {
        /// The file.
        file: String,
    },
}

impl Token {
    /// A new token, kept in the data directory with mode 0600.
    pub fn generate(data: &DataDir) -> Result<Token, TokenError> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
        let token = Token(hex::encode(bytes));
        let file = data.path().join(ADMIN_TOKEN_FILE).display().to_string();
        data.write(ADMIN_TOKEN_FILE, token.0.as_bytes()).map_err(|error| TokenError::Write { file, error })?;
        Ok(token)
    }

    /// The token in a file that the operator named.
    pub fn read(path: &std::path::Path) -> Result<Token, TokenError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| TokenError::Read { file: file.clone(), error })?;
        let token = text.trim();
        if token.len() < 16 { Err(TokenError::Short { file }) } else { Ok(Token(token.to_owned())) }
    }

    /// Whether this is the token. Compares digests, so that the time taken says nothing of where they differ.
    pub(super) fn is(&self, presented: &str) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(presented.as_bytes())
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Token {
        Token(text.to_owned())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
